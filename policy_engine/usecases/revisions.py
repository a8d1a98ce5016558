"""Packs by revision inside a ledger's transaction, where nothing may be waited for.

A pack that isn't at hand can't be loaded there: loading reads from the database as well. So the
work is given up, the pack is loaded, and the work begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from policy_engine.core.policy import Pack
from policy_engine.ledger.errors import UnavailableError
from policy_engine.usecases.services import Services

T = TypeVar("T")

_ATTEMPTS: Final = 5


class _NotAtHandError(Exception):
    def __init__(self, revision: str) -> None:
        super().__init__(revision)
        self.revision = revision


class PacksAtHand:
    """The active pack as far as this process knows, and others once they were asked for."""

    def __init__(self, pack: Pack) -> None:
        self.active = pack
        """What the work takes for the active pack; `expect` makes sure of it."""
        self._packs = {pack.revision: pack}

    def get(self, revision: str) -> Pack:
        """A pack of any revision."""
        if revision not in self._packs:
            raise _NotAtHandError(revision)
        return self._packs[revision]

    def expect(self, revision: str | None) -> None:
        """Goes on only if this is the active pack; otherwise the work begins again with it."""
        if revision is None or revision == self.active.revision:
            return
        self.active = self.get(revision)
        raise _NotAtHandError(revision)

    def put(self, pack: Pack) -> None:
        self._packs[pack.revision] = pack


def with_packs(services: Services, work: Callable[[PacksAtHand], T]) -> T:
    """Runs `work`, again for each pack that it turns out to need. NoPackError."""
    with services.packs.use() as (pack, _):
        packs = PacksAtHand(pack)
        for _ in range(_ATTEMPTS):
            try:
                return work(packs)
            except _NotAtHandError as missing:
                packs.put(services.library.engine(missing.revision).pack)
    raise UnavailableError("the active pack keeps changing")
