"""Clients that go on sending decisions over connections that they keep, and note every answer."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from tests.api.conftest import late_order

BROKEN = 0
"""The status of a call whose connection ended before the answer."""


@dataclass(frozen=True)
class Call:
    key: str
    status: int
    code: str | None
    """Of a problem."""
    decision_id: str | None
    ended_at: float
    seconds: float
    retry_after: str | None
    closing: bool
    """Was the client asked to come back on another connection?"""


class Clients:
    """So many clients, one request each at a time, until they are told to stop.

    With `patient` each sends again under the same key until the decision is acknowledged, as
    the contract advises; every answer on the way is noted all the same.
    """

    def __init__(self, port: int, credential: str, count: int = 4, *, patient: bool = False):
        self._port = port
        self._credential = credential
        self._patient = patient
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self.calls: list[Call] = []
        self._threads = [
            threading.Thread(target=self._send, args=(number,), daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends after the calls that are under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), "a call was never answered"

    def wait_for(self, more: int = 20, status: int = 201, seconds: float = 60) -> None:
        """Until so many more calls were answered with a status."""
        with self._changed:
            wanted = self._count(status) + more
            assert self._changed.wait_for(lambda: self._count(status) >= wanted, seconds), (
                self.statuses()
            )

    def statuses(self) -> Counter[str]:
        return Counter(f"{call.status} {call.code or ''}".strip() for call in self.calls)

    @property
    def acknowledged(self) -> dict[str, str]:
        """Idempotency key → decision id."""
        return {call.key: call.decision_id for call in self.calls if call.decision_id is not None}

    def _count(self, status: int) -> int:
        return sum(call.status == status for call in self.calls)

    def _send(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        sent = 0
        while not self._stop.is_set():
            sent += 1
            self._decide(connection, f"{id(self)}-{number}-{sent}")
        connection.close()

    def _decide(self, connection: HTTPConnection, key: str) -> None:
        give_up_at = time.monotonic() + 80
        while True:
            call = self._once(connection, key)
            with self._changed:
                self.calls.append(call)
                self._changed.notify_all()
            if call.status == 201 or not self._patient or time.monotonic() > give_up_at:
                return
            time.sleep(0.05)

    def _once(self, connection: HTTPConnection, key: str) -> Call:
        headers = {
            "Authorization": f"Bearer {self._credential}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        began = time.monotonic()
        body, retry_after, closing = b"", None, False
        try:
            connection.request(
                "POST", "/v1/decisions", json.dumps(late_order(order__id=key)), headers
            )
            answer = connection.getresponse()
            retry_after = answer.getheader("Retry-After")
            closing = answer.will_close
            body, status = answer.read(), answer.status
        except (OSError, HTTPException):
            connection.close()
            status = BROKEN
        told = json.loads(body) if body.startswith(b"{") else {}
        now = time.monotonic()
        return Call(
            key,
            status,
            told.get("code"),
            told.get("decision_id") if status == 201 else None,
            now,
            now - began,
            retry_after,
            closing,
        )


@contextmanager
def sending(
    port: int, credential: str, count: int = 4, *, patient: bool = False
) -> Iterator[Clients]:
    clients = Clients(port, credential, count, patient=patient)
    clients.start()
    try:
        yield clients
    finally:
        clients.stop()
