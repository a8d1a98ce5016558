"""A small load generator for machines without wrk: one loop, plain sockets, keep-alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from statistics import quantiles
from urllib.parse import urlsplit


async def run(
    url: str, body: str, headers: Mapping[str, str], seconds: float, connections: int, name: str
) -> tuple[float, float, int]:
    """Answers a second, 99th percentile in ms, and how many weren't a 2xx."""
    until = time.perf_counter() + seconds
    began = time.perf_counter()
    told = await asyncio.gather(
        *(_one(url, body, headers, until, f"{name}-{each}") for each in range(connections))
    )
    spent = time.perf_counter() - began
    latencies = [each for latencies, _ in told for each in latencies]
    p99 = quantiles(latencies, n=100)[98] if len(latencies) > 1 else 0.0
    return len(latencies) / spent, p99 * 1000, sum(failed for _, failed in told)


async def _one(
    url: str, body: str, headers: Mapping[str, str], until: float, name: str
) -> tuple[list[float], int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    fixed = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    latencies: list[float] = []
    failed = number = 0
    try:
        while time.perf_counter() < until:
            number += 1
            data = body.replace("@ID@", f"{name}-{number}").encode()
            head = (
                f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fixed}"
                f"Idempotency-Key: {name}-{number}\r\nContent-Length: {len(data)}\r\n\r\n"
            )
            began = time.perf_counter()
            writer.write(head.encode() + data)
            failed += not await _answered(reader)
            latencies.append(time.perf_counter() - began)
    finally:
        writer.close()
    return latencies, failed


async def _answered(reader: asyncio.StreamReader) -> bool:
    """Reads one answer with a Content-Length; was it a 2xx?"""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(
        int(line.partition(":")[2])
        for line in head.split("\r\n")
        if line.startswith("content-length")
    )
    await reader.readexactly(length)
    return head.split(" ", 2)[1].startswith("2")
