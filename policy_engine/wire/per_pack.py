"""Things that are built once a pack and then used by every request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final, Generic, TypeVar

from policy_engine.core.policy import Pack

Built = TypeVar("Built")

_KEPT: Final = 16
"""The active pack, the one before it, and some that are being checked."""


class PerPack(Generic[Built]):
    """`PerPack(build)(pack)`: what `build` made of this very pack. Safe from several threads."""

    def __init__(self, build: Callable[[Pack], Built]) -> None:
        self._build = build
        self._kept: OrderedDict[int, tuple[Pack, Built]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, pack: Pack) -> Built:
        # By identity: comparing packs takes longer than a request. The entry holds its pack, so
        # the number can't come to mean another one while the entry is there.
        kept = self._kept.get(id(pack))
        if kept is not None:
            return kept[1]
        built = self._build(pack)
        with self._lock:
            self._kept[id(pack)] = (pack, built)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return built
