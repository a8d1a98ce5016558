"""Everything that follows from the entries, computed again from them alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select

from policy_engine.core.caps import Rolling
from policy_engine.core.decision import Share
from policy_engine.core.grants import Effect, GrantState, effects, fold, money_back
from policy_engine.ledger.counting import CounterClass, Place, contributions
from policy_engine.ledger.grant_shapes import Grant
from policy_engine.ledger.grant_tables import GRANT, GRANT_ENTRY, GRANT_REMEDY
from policy_engine.ledger.grants import entry_of, grant_of, grouped


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One grant with all that its entries have moved, record by record."""

    grant: Grant
    state: GrantState
    effects: tuple[tuple[str, tuple[Effect, ...]], ...]
    """(record id, effects)."""
    lines: tuple[tuple[str, tuple[tuple[str, Share], ...]], ...]
    """(record id, (remedy, share)…)."""

    def counted(self, classes: Iterable[CounterClass]) -> dict[Place, int]:
        """What it comes to in counters that are kept."""
        kept = [each for each in classes if not isinstance(each.window, Rolling)]
        found = [effect for _, some in self.effects for effect in some]
        return contributions(self.grant.holder, found, kept, self.grant.granted_at)


def rebuilt(connection: Connection, after: str, limit: int) -> tuple[Rebuilt, ...]:
    """The first grants whose ids follow on `after`, in the order of their ids; () at the end."""
    query = select(GRANT).where(GRANT.c.id > after).order_by(GRANT.c.id).limit(limit)
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    remedies = grouped(connection, GRANT_REMEDY, ids)
    entries = grouped(connection, GRANT_ENTRY, ids)
    return tuple(_rebuilt(grant_of(row, remedies[row.id]), entries[row.id]) for row in rows)


def _rebuilt(grant: Grant, rows: Sequence[Any]) -> Rebuilt:
    state = fold(grant.remedies, (), grant.pending_until)
    moved: list[tuple[str, tuple[Effect, ...]]] = []
    lines: list[tuple[str, tuple[tuple[str, Share], ...]]] = []
    for record_id, some in groupby(rows, key=lambda row: str(row.record_id)):
        added = tuple(entry_of(row) for row in some)
        moved.append((record_id, effects(state, added)))
        lines.append((record_id, money_back(state, added)))
        state = fold(grant.remedies, (*state.entries, *added), grant.pending_until)
    return Rebuilt(grant, state, tuple(moved), tuple(lines))
