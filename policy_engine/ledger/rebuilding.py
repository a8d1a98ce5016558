"""Everything that follows from the entries, computed again from them alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from policy_engine.core.caps import Rolling
from policy_engine.core.decision import Share
from policy_engine.core.grants import Effect, GrantState, effects, fold, money_back
from policy_engine.ledger.counting import (
    CounterClass,
    Place,
    class_of,
    contributions,
    counter_id,
    described,
    rank,
)
from policy_engine.ledger.grant_shapes import Grant
from policy_engine.ledger.grant_tables import (
    GRANT,
    GRANT_ENTRY,
    GRANT_REMEDY,
    LIMIT_CLASS,
    LIMIT_COUNTER,
)
from policy_engine.ledger.grants import entry_of, grant_of, grouped

_PAGE = 500


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


def rebuilt(connection: Connection) -> Iterator[Rebuilt]:
    """Every grant, in pages."""
    last = ""
    while True:
        query = select(GRANT).where(GRANT.c.id > last).order_by(GRANT.c.id).limit(_PAGE)
        rows = connection.execute(query).all()
        if not rows:
            return
        ids = [row.id for row in rows]
        remedies = grouped(connection, GRANT_REMEDY, ids)
        entries = grouped(connection, GRANT_ENTRY, ids)
        for row in rows:
            yield _rebuilt(grant_of(row, remedies[row.id]), entries[row.id])
        last = ids[-1]


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


def kept_classes(connection: Connection) -> tuple[CounterClass, ...]:
    """The classes whose counters every grant adds to."""
    query = select(LIMIT_CLASS.c.described).order_by(LIMIT_CLASS.c["class"])
    return tuple(
        CounterClass.from_description(text) for text in connection.execute(query).scalars()
    )


def keep_classes(connection: Connection, wanted: Iterable[CounterClass]) -> None:
    """From now on exactly these are kept; those that weren't are built from the entries.

    Nobody else may move a grant meanwhile.
    """
    kept = {each.id for each in kept_classes(connection)}
    now = {each.id: each for each in wanted}
    new = [each for each in now.values() if each.id not in kept]
    gone = kept - now.keys()
    if gone:
        connection.execute(delete(LIMIT_CLASS).where(LIMIT_CLASS.c["class"].in_(gone)))
    if not new:
        return
    build(connection, new)
    rows = [{"class": each.id, "described": each.described} for each in new]
    connection.execute(insert(LIMIT_CLASS), rows)


def build(connection: Connection, classes: Sequence[CounterClass]) -> None:
    """The counters of some classes, anew."""
    ids = [each.id for each in classes]
    connection.execute(delete(LIMIT_COUNTER).where(LIMIT_COUNTER.c["class"].in_(ids)))
    sums: dict[Place, int] = {}
    for each in rebuilt(connection):
        for place, amount in each.counted(classes).items():
            sums[place] = sums.get(place, 0) + amount
    rows = [counter_row(place, amount) for place, amount in sums.items()]
    for first in range(0, len(rows), _PAGE):
        connection.execute(insert(LIMIT_COUNTER), rows[first : first + _PAGE])


def counter_row(place: Place, amount: int) -> dict[str, Any]:
    """A row of `limit_counter`."""
    return {
        "counter": counter_id(place.key),
        "period_us": place.period_us,
        "class": class_of(place.key).id,
        "rank": rank(place.key),
        "described": described(place.key),
        "amount": amount,
    }
