"""A small load generator for machines without wrk: one loop, plain sockets, keep-alive."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import quantiles
from urllib.parse import urlsplit


@dataclass
class _Client:
    """One connection, and what came of it."""

    name: str
    wanted: str
    """Of the answers that are kept; empty: none is."""
    latencies: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    failed: int = 0

    def hear(self, answer: bytes | None) -> None:
        """An answer's body, None unless it was a 2xx."""
        if answer is None:
            self.failed += 1
        elif self.wanted:
            self.told.append(str(json.loads(answer)[self.wanted]))


async def run(
    url: str,
    body: str,
    headers: Mapping[str, str],
    seconds: float,
    connections: int,
    name: str,
    lines: Iterator[str],
    wanted: str,
) -> tuple[float, float, int, tuple[str, ...]]:
    """Answers a second, 99th percentile in ms, how many weren't a 2xx, and what the others said
    in the field `wanted`."""
    clients = [_Client(f"{name}-{each}", wanted) for each in range(connections)]
    until = time.perf_counter() + seconds
    began = time.perf_counter()
    await asyncio.gather(*(_send(client, url, body, headers, until, lines) for client in clients))
    spent = time.perf_counter() - began
    latencies = [each for client in clients for each in client.latencies]
    p99 = quantiles(latencies, n=100)[98] if len(latencies) > 1 else 0.0
    told = tuple(each for client in clients for each in client.told)
    return len(latencies) / spent, p99 * 1000, sum(client.failed for client in clients), told


async def _send(
    client: _Client,
    url: str,
    body: str,
    headers: Mapping[str, str],
    until: float,
    lines: Iterator[str],
) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    fixed = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    number = 0
    try:
        while time.perf_counter() < until:
            number += 1
            key = f"{client.name}-{number}"
            text = body.replace("@ID@", key)
            if "@LINE@" in text:
                text = text.replace("@LINE@", next(lines, ""))
            data = text.encode()
            head = (
                f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fixed}"
                f"Idempotency-Key: {key}\r\nContent-Length: {len(data)}\r\n\r\n"
            )
            began = time.perf_counter()
            writer.write(head.encode() + data)
            answer = await _answered(reader)
            client.latencies.append(time.perf_counter() - began)
            client.hear(answer)
    finally:
        writer.close()


async def _answered(reader: asyncio.StreamReader) -> bytes | None:
    """Reads one answer with a Content-Length: its body, or None unless it is a 2xx."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(
        int(line.partition(":")[2])
        for line in head.split("\r\n")
        if line.startswith("content-length")
    )
    body = await reader.readexactly(length)
    return body if head.split(" ", 2)[1].startswith("2") else None
