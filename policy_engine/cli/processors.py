"""A worker keeps to one processor.

It computes on one at a time, whichever of its threads it is. Left alone, its threads are spread
over all of them, and each hand-over from one to the next wakes another processor, whose caches
are cold. Other programs aren't kept away, and the kernel moves them to where there is room.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

CLAIM = "\0policy-engine/processor/"
"""Of the name that a worker has while it keeps to the processor with the number at its end."""


def keep_to_one() -> int | None:
    """Keeps the calling thread, and all it starts from now on, to one of the processors that the
    process may use, and returns its number: the one it runs on, unless another worker on this
    machine keeps to it. None where that can't be: there is only one, or each has its worker, or
    the system doesn't let the process choose.
    """
    try:
        allowed = os.sched_getaffinity(0)
        if len(allowed) == 1:
            return None
        current = _current()
        for processor in sorted(allowed, key=lambda each: each != current):
            if _kept_to(processor):
                return processor
    except (AttributeError, OSError, ValueError, IndexError):
        pass  # another system than Linux, or it is forbidden
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
