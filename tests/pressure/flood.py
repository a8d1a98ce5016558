"""An open loop: decisions are sent at a steady rate, whatever comes back, as a crowd would.

Runs as a process of its own, so that it isn't slowed down by what it measures. A request that
finds no idle connection opens one more, up to a maximum; beyond that it counts as unsent.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_TICK_SECONDS = 0.004
_ENDS_AFTER_SECONDS = 15.0
"""So long the last answers are waited for."""


@dataclass(frozen=True)
class Flood:
    """What is sent: `body` with `@ID@` replaced by a number of its own in each request."""

    port: int
    key: str
    body: str
    rate: float
    """Requests a second."""
    seconds: float
    name: str
    connections: int = 800


@dataclass
class Outcome:
    """What came back."""

    sent: int = 0
    unsent: int = 0
    broken: int = 0
    """Connections that ended before the answer."""
    unanswered: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    """Of problems."""
    without_retry_after: int = 0
    """Answers with 429 or 503 that don't say when to come back."""
    goodput: float = 0.0
    """Acknowledged decisions a second, of the time that was flooded."""
    good_ms: list[float] = field(default_factory=list)
    """How long acknowledged decisions took: median and 99th percentile."""
    refused_ms: list[float] = field(default_factory=list)
    """The same for those refused."""
    acknowledged: list[str] = field(default_factory=list)


def flooded(flood: Flood) -> Outcome:
    """Carries it out in another process."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.pressure.flood"],
        input=json.dumps(asdict(flood)),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=flood.seconds + _ENDS_AFTER_SECONDS + 60,
    )
    return Outcome(**json.loads(ran.stdout))


class _Connection(asyncio.Protocol):
    def __init__(self, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._transport: Any = None
        self._got = bytearray()
        self._began = 0.0
        self._waiting: bytes | None = None
        self.busy = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._waiting is not None:
            transport.write(self._waiting)

    def send(self, request: bytes) -> None:
        self.busy, self._began = True, time.perf_counter()
        if self._transport is None:
            self._waiting = request
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head = self._got.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._got.lower().find(b"content-length:", 0, head)
        length = int(self._got[at + 15 : self._got.find(b"\r\n", at)])
        if len(self._got) < head + 4 + length:
            return
        headers, body = bytes(self._got[:head]), bytes(self._got[head + 4 :])
        self._got.clear()
        self.busy = False
        self._crowd.answered(headers, body, time.perf_counter() - self._began)
        if b"connection: close" in headers.lower():
            self._transport.close()
        else:
            self._crowd.idle.append(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._crowd.lost(self)


class _Crowd:
    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self.idle: deque[_Connection] = deque()
        self._open = 0
        self._next = 0
        self._until = 0.0
        self.outcome = Outcome()
        self._statuses: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._good: list[float] = []
        self._refused: list[float] = []
        self._in_time = 0

    async def run(self) -> Outcome:
        began = time.perf_counter()
        self._until = began + self._flood.seconds
        while (now := time.perf_counter()) < self._until:
            due = int((now - began) * self._flood.rate) - self._next
            for _ in range(due):
                self._send_one()
            await asyncio.sleep(_TICK_SECONDS)
        give_up_at = time.perf_counter() + _ENDS_AFTER_SECONDS
        while self._pending() and time.perf_counter() < give_up_at:  # noqa: ASYNC110 -- a tool
            await asyncio.sleep(0.02)
        return self._told()

    def _pending(self) -> int:
        return self.outcome.sent - self._statuses.total() - self.outcome.broken

    def _send_one(self) -> None:
        self._next += 1
        while self.idle:
            connection = self.idle.pop()
            if not connection._transport.is_closing():
                break
        else:
            if self._open >= self._flood.connections:
                self.outcome.unsent += 1
                return
            connection = self._connect()
        self.outcome.sent += 1
        connection.send(self._request())

    def _connect(self) -> _Connection:
        connection = _Connection(self)
        self._open += 1
        loop = asyncio.get_running_loop()
        opening = loop.create_task(
            loop.create_connection(lambda: connection, "127.0.0.1", self._flood.port)
        )
        opening.add_done_callback(lambda done: self._opened(done, connection))
        return connection

    def _opened(self, done: asyncio.Task[Any], connection: _Connection) -> None:
        if done.exception() is not None:
            self.lost(connection)

    def lost(self, connection: _Connection) -> None:
        self._open -= 1
        if connection.busy:
            connection.busy = False
            self.outcome.broken += 1

    def _request(self) -> bytes:
        flood = self._flood
        body = flood.body.replace("@ID@", f"{flood.name}-{self._next}").encode()
        return (
            f"POST /v1/decisions HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {flood.key}\r\n"
            f"Idempotency-Key: {flood.name}-{self._next}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def answered(self, headers: bytes, body: bytes, seconds: float) -> None:
        status = headers[9:12].decode()
        self._statuses[status] += 1
        if status == "201":
            at = body.index(b'"decision_id":"') + 15
            self.outcome.acknowledged.append(body[at : body.index(b'"', at)].decode())
            self._good.append(seconds)
            self._in_time += time.perf_counter() <= self._until
            return
        self._codes[json.loads(body)["code"]] += 1
        self._refused.append(seconds)
        if status in ("429", "503") and b"\r\nretry-after:" not in headers.lower():
            self.outcome.without_retry_after += 1

    def _told(self) -> Outcome:
        outcome = self.outcome
        outcome.unanswered = self._pending()
        outcome.statuses, outcome.codes = dict(self._statuses), dict(self._codes)
        outcome.goodput = self._in_time / self._flood.seconds
        outcome.good_ms, outcome.refused_ms = _percentiles(self._good), _percentiles(self._refused)
        return outcome


def _percentiles(seconds: list[float]) -> list[float]:
    if not seconds:
        return []
    ordered = sorted(seconds)
    return [round(ordered[int(len(ordered) * part)] * 1000, 1) for part in (0.5, 0.99)]


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_Crowd(Flood(**json.loads(sys.stdin.read()))).run()))))  # noqa: T201 -- the answer to the parent
