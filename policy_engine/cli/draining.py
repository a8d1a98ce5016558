"""What SIGTERM does to a serving node: unready at once, closed when nobody comes any more."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from policy_engine.api import logs
from policy_engine.api.node import Node


class Drain:
    """Between the signal and the end of the server, so that whoever looks at readiness sees it
    and sends nothing any more. Another signal ends the server at once."""

    def __init__(self, node: Node, seconds: float, end: Callable[[], None]) -> None:
        self._node = node
        self._seconds = seconds
        self._end = end

    def install(self) -> None:
        """Takes SIGTERM over; to be called in the main thread of the server's parent."""
        signal.signal(signal.SIGTERM, self._begin)

    def _begin(self, *_: object) -> None:
        if self._node.stopping or not self._seconds:
            self._end()
            return
        self._node.stop()
        logs.log.info("stopping", seconds=self._seconds)
        timer = threading.Timer(self._seconds, self._end)
        timer.daemon = True
        timer.start()
