"""The Python of a worker keeps to one processor.

It runs on one at a time, whichever of its threads it is. Left alone, its threads are spread over
all of them, and each hand-over from one to the next wakes another processor, whose caches are
cold. Other programs aren't kept away, and the kernel moves them to where there is room; so it does
with the server's own threads, which read and write connections beside Python.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import get_native_id
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

CLAIM = "\0policy-engine/processor/"
"""Of the name that a worker has while it keeps to the processor with the number at its end."""


def on_one(load: Callable[[], WSGIApplication]) -> WSGIApplication:
    """The application that `load` makes, kept to one processor of those that the process may use,
    with the threads that `load` starts: the one it runs on, unless another worker on this machine
    keeps to it. Without a change where that can't be: there is only one, or each has its worker,
    or the system doesn't let the process choose.
    """
    allowed = _allowed()
    processor = _claimed(allowed) if len(allowed) > 1 else None
    if processor is None:
        return load()
    try:
        return _OnOne(load(), processor)
    finally:
        os.sched_setaffinity(0, allowed)  # the server starts its threads from this one


class _OnOne:
    """WSGI: keeps each thread of the server that comes along to the processor."""

    def __init__(self, inside: WSGIApplication, processor: int) -> None:
        self._inside = inside
        self._processor = {processor}
        self._kept: set[int] = set()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        thread = get_native_id()
        if thread not in self._kept:
            self._kept.add(thread)
            with suppress(OSError):  # it may have been taken from the process by now
                os.sched_setaffinity(0, self._processor)
        return self._inside(environ, start_response)


def _allowed() -> set[int]:
    try:
        return os.sched_getaffinity(0)
    except (AttributeError, OSError):  # another system than Linux, or it is forbidden
        return set()


def _claimed(allowed: set[int]) -> int | None:
    """A processor that no other worker keeps to, which this thread now does."""
    try:
        current = _current()
        for processor in sorted(allowed, key=lambda each: each != current):
            if _kept_to(processor):
                return processor
    except (OSError, ValueError, IndexError):  # it is forbidden
        pass
    return None


def _kept_to(processor: int) -> bool:
    """False if another worker keeps to it. A name that one process at a time can have stands for
    it; the kernel takes it back when the process ends, however it does."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            claim.bind(f"{CLAIM}{processor}")
        except OSError:
            return False
        os.sched_setaffinity(0, {processor})
        claim.detach()  # open until the process ends
        return True
    finally:
        claim.close()


def _current() -> int:
    """Where this thread runs: the kernel has just put it where there was least to do."""
    stat = Path("/proc/thread-self/stat").read_text(encoding="ascii")
    return int(stat.rpartition(")")[2].split()[36])
