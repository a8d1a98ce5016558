"""The entrance: before a request is even looked at, is there room for it?

What can't be served in time is refused here, for a fraction of what an answer costs, so that
however many come, those inside are served as fast as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication

import orjson
import structlog

from policy_engine.api import logs, metrics
from policy_engine.api.node import Node
from policy_engine.api.problems import MEDIA_TYPE, OVERLOADED, PHRASES
from policy_engine.api.slow_bodies import Wait
from policy_engine.api.turns import Turns
from policy_engine.wire.strict_json import MAX_BYTES

PROBES: Final = frozenset({"/livez", "/readyz"})
"""Answered whatever happens: whoever runs the service must see how it is."""
_ID: Final = "@"
_CLOSE: Final = ("Connection", "close")
_TOLD_EVERY_SECONDS: Final = 1.0
_READING_AT_MOST: Final = 8

log = structlog.stdlib.get_logger("policy_engine")


class Entrance:
    """WSGI: lets as many requests in as there are turns."""

    def __init__(
        self,
        inside: WSGIApplication,
        turns: Turns,
        node: Node,
        headers: Sequence[tuple[str, str]],
    ) -> None:
        self._inside = inside
        self._turns = turns
        self._node = node
        # Whatever is the same in each refusal is made once.
        self._counter = metrics.PROBLEMS.labels(str(OVERLOADED.status), OVERLOADED.code)
        body = orjson.dumps(OVERLOADED.body(_ID)).partition(_ID.encode())
        self._before_id, _, self._after_id = body
        self._status = f"{OVERLOADED.status} {PHRASES[OVERLOADED.status]}"
        self._headers = [
            ("Content-Type", MEDIA_TYPE),
            ("Cache-Control", "no-store"),
            *OVERLOADED.headers.items(),
            *headers,
        ]
        self._added = tuple((name, value, name.lower()) for name, value in headers)
        self._readers: SimpleQueue[None] = SimpleQueue()
        for _ in range(_READING_AT_MOST):
            self._readers.put(None)
        self._refused = 0
        self._told_at = 0.0

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ[logs.CAME_AT] = perf_counter()
        if environ["PATH_INFO"] in PROBES:
            return self._inside(environ, self._with_headers(start_response))
        if not self._turns.take():
            return self._refuse(environ, start_response)
        try:
            return self._inside(environ, self._with_headers(start_response))
        finally:
            self._turns.give_back()

    def _with_headers(self, start_response: StartResponse) -> StartResponse:
        """Adds what every answer has, unless it says otherwise itself. While the node stops, the
        caller is asked to come back on another connection, where another node may answer."""

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            said = {name.lower() for name, _ in headers}
            added = [(name, value) for name, value, key in self._added if key not in said]
            if self._node.stopping and "connection" not in said:
                added.append(_CLOSE)
            return start_response(status, headers + added, exc_info)

        return start

    def _refuse(self, environ: Mapping[str, Any], start_response: StartResponse) -> list[bytes]:
        request_id = logs.an_id(environ.get("HTTP_X_REQUEST_ID", ""))
        self._counter.inc()
        self._tell()
        body = self._before_id + request_id.encode() + self._after_id
        sent = [*self._headers, ("X-Request-Id", request_id), ("Content-Length", str(len(body)))]
        taken_in = self._taken_in(environ, request_id)
        if self._node.stopping or not taken_in:
            sent.append(_CLOSE)
        start_response(self._status, sent)
        return [body]

    def _taken_in(self, environ: Mapping[str, Any], request_id: str) -> bool:
        """Reads a small body to its end, so that the connection can be kept: whoever comes too
        often shouldn't have to connect again each time. Only a few wait for one that isn't there
        yet; otherwise the caller is told that the connection ends."""
        length = environ.get("CONTENT_LENGTH") or "0"
        if "HTTP_TRANSFER_ENCODING" in environ or not length.isdecimal():
            return False
        many = int(length)
        if not 0 < many <= MAX_BYTES:
            return not many
        try:
            self._readers.get_nowait()
        except Empty:
            return False
        try:
            with Wait(environ, request_id):
                environ["wsgi.input"].read(many)
        finally:
            self._readers.put(None)
        return True

    def _tell(self) -> None:
        """One line a second, however many are refused: lines cost more than refusals."""
        self._refused += 1
        now = monotonic()
        if now - self._told_at > _TOLD_EVERY_SECONDS:
            self._told_at = now
            refused, self._refused = self._refused, 0
            log.warning("more calls than can be served", refused=refused)
