"""Bodies that come too slowly: the caller is answered before the body is whole.

The server hands a call to a thread as soon as its headers are there, and the thread then waits
for the body as long as the client pleases. So every wait is watched: one that takes too long is
answered with 408, the server closes the connection, and the thread is free again. Only clients
with a valid credential get this far; everybody else is refused without reading their body.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, Protocol

import orjson
import structlog

from policy_engine.api.problems import MEDIA_TYPE, Problem

_KEY: Final = "policy_engine.slow_bodies"
_LOOK_EVERY_SECONDS: Final = 0.25
_SLOW_SECONDS: Final = 1.0
"""What takes longer than that may hold only some of the threads."""
_SENT_SECONDS: Final = 0.25
"""By then what was said is on its way, and the connection may end."""

TOO_SLOW: Final = Problem(
    408, "BODY_TOO_SLOW", "the body didn't come in time; send the call again with the same key"
)

log = structlog.stdlib.get_logger("policy_engine")


class Connection(Protocol):
    """The server's side of one call; the first answer to it is the one that is sent."""

    def response_iter(
        self, status: int, headers: list[tuple[str, str]], body: Iterator[bytes]
    ) -> None: ...


ServeCall = Callable[[Connection, MutableMapping[str, Any]], Any]


class SlowBodies:
    """Watches the bodies that a process is reading."""

    def __init__(self, allowed_seconds: float, most: int) -> None:
        """`most`: so many slow ones at once; of more, the oldest are answered at once."""
        self._allowed_seconds = allowed_seconds
        self._most = most
        self._waits: dict[int, Wait] = {}
        self._watching = threading.Lock()

    def around(self, serve_call: ServeCall) -> ServeCall:
        """The server's own function for a call, with what it takes to answer early."""

        def served(connection: Connection, environ: MutableMapping[str, Any]) -> Any:
            environ[_KEY] = (self, connection)
            return serve_call(connection, environ)

        return served

    def begin(self, wait: Wait) -> None:
        self._waits[id(wait)] = wait
        # Started by the first wait: a thread of the parent wouldn't survive the fork.
        if self._watching.acquire(blocking=False):
            threading.Thread(target=self._watch, name="slow-bodies", daemon=True).start()

    def end(self, wait: Wait) -> bool:
        """True for the one that ends it, its own thread or the watching one; else False."""
        return self._waits.pop(id(wait), None) is not None

    def _watch(self) -> None:
        while True:
            sleep(_LOOK_EVERY_SECONDS)
            if self._waits:
                self._look()

    def _look(self) -> None:
        now = monotonic()
        waits = sorted(self._waits.copy().values(), key=lambda each: each.began_at)
        slow = [each for each in waits if now - each.began_at > _SLOW_SECONDS]
        too_many = max(0, len(slow) - self._most)
        for place, wait in enumerate(slow):
            over = place < too_many or now - wait.began_at > self._allowed_seconds
            if over and self.end(wait):
                threading.Thread(target=wait.answer, name="slow-body", daemon=True).start()


class Wait:
    """A thread that reads a body: a context manager. `over`: the caller has been answered."""

    __slots__ = ("_connection", "_request_id", "_watch", "began_at", "over")

    def __init__(self, environ: Mapping[str, Any], request_id: str) -> None:
        self._watch: SlowBodies | None
        # Only our own server can answer early; under another one there is nothing to watch.
        self._watch, self._connection = environ.get(_KEY, (None, None))
        self._request_id = request_id
        self.began_at = monotonic()
        self.over = False

    def __enter__(self) -> Wait:
        if self._watch is not None:
            self._watch.begin(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._watch is not None:
            self.over = not self._watch.end(self)

    def answer(self) -> None:
        """408, and an end to the connection.

        The server reads on as long as somebody waits for the body, whatever was answered. What
        ends it is an answer that breaks off: this one says to be one byte longer than it is.
        """
        body = orjson.dumps(TOO_SLOW.body(self._request_id))
        headers = [
            ("Content-Type", MEDIA_TYPE),
            ("Content-Length", str(len(body) + 1)),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
            ("X-Request-Id", self._request_id),
        ]
        assert self._connection is not None
        self._connection.response_iter(TOO_SLOW.status, headers, _broken_off(body))
        log.info("body too slow", request_id=self._request_id)


def _broken_off(body: bytes) -> Iterator[bytes]:
    yield body
    sleep(_SENT_SECONDS)
