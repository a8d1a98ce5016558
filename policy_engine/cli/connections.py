"""What one connection, and all of them together, may take of the HTTP server."""

from __future__ import annotations

import resource
from math import ceil
from typing import Any, Final

from policy_engine.api.slow_bodies import SlowBodies
from policy_engine.settings import Settings

_BACKLOG: Final = 2048
"""Connections that the kernel holds until a worker takes them."""
_HEAD_BYTES: Final = 16_384
"""Request line and headers together; a token alone may have 8 KiB."""
_SPARE_FILES: Final = 256
"""Open files of a worker that are no connections: database, log, pack, libraries."""


def bounds(settings: Settings) -> dict[str, Any]:
    """Granian's options. HTTP/1.1 alone: what nobody needs can't be attacked.

    A connection on which nothing is going on costs a few kilobytes and no thread; it may wait for
    `idle_timeout` for its next request to be there, headers and all.
    """
    from granian.constants import HTTPModes
    from granian.http import HTTP1Settings

    return {
        "http": HTTPModes.http1,
        "websockets": False,
        "backlog": _BACKLOG,
        "backpressure": _connections(settings.connections),
        "http1_settings": HTTP1Settings(
            header_read_timeout=ceil(settings.idle_timeout.total_seconds() * 1000),
            max_buffer_size=_HEAD_BYTES,
        ),
    }


def watch_bodies(settings: Settings) -> None:
    """From here on the workers answer bodies that come too slowly. Call it before they are forked.

    Granian has no such bound, so its function for a call gets one around it.
    """
    from granian.server import mp

    slow = SlowBodies(settings.body_timeout.total_seconds(), max(1, settings.threads // 2))
    inside = vars(mp)
    wrap = inside["_wsgi_call_wrap"]

    def wrapped(*given: Any) -> Any:
        return slow.around(wrap(*given))

    inside["_wsgi_call_wrap"] = wrapped


def _connections(wanted: int) -> int:
    """As many as wanted, or as this process may have files open, whichever is less."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, hard - _SPARE_FILES))
