"""Counters, movements and states as stored, against what the entries come to.

Grants are read a page at a time, and sums are kept on disk, so memory grows with neither.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, exists, func, or_, select

from policy_engine.core.grant_moves import next_due
from policy_engine.core.headroom import line_key
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.building import KeptClass, kept_classes
from policy_engine.ledger.counting import FOR_EVER, CounterClass, Place
from policy_engine.ledger.grant_tables import (
    CAP_MOVEMENT,
    GRANT,
    GRANT_ENTRY,
    GRANT_REMEDY,
    GRANT_STATE,
    LIMIT_COUNTER,
    LINE_MOVEMENT,
    ORDER_PIN,
)
from policy_engine.ledger.rebuilding import Rebuilt, rebuilt
from policy_engine.ledger.sums import Sums
from policy_engine.ledger.tables import instant

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """Something stored that isn't what the entries come to; `where` says which."""

    table: str
    where: str
    expected: str
    stored: str

    def __str__(self) -> str:
        return f"{self.table}: {self.where}: expected {self.expected}, stored {self.stored}"


Progress = Callable[[int, int], None]
"""Told how many grants were looked at, and how many there are."""


def differences(
    connection: Connection, progress: Progress = lambda _done, _total: None
) -> Iterator[Difference]:
    """All of them, on one consistent view; none means that every counter is right."""
    total = connection.execute(select(func.count()).select_from(GRANT)).scalar_one()
    kept = kept_classes(connection)
    with Sums() as sums:
        done, last = 0, ""
        while page := rebuilt(connection, last, _PAGE):
            sums.add(_counted(page, kept))
            yield from _movements(connection, page)
            yield from _states(connection, page)
            done, last = done + len(page), page[-1].grant.id
            progress(done, total)
        yield from _strays(connection)
        yield from _counters(connection, sums, {each.of.id for each in kept})
    yield from _pins(connection)


def _counted(page: Sequence[Rebuilt], kept: Iterable[KeptClass]) -> Iterator[tuple[Place, int]]:
    """What grants add to each counter; one that is still being built has those up to a point."""
    for each in page:
        yield from each.counted(_having(each.grant.id, kept)).items()


def _having(grant_id: str, kept: Iterable[KeptClass]) -> list[CounterClass]:
    return [each.of for each in kept if each.built_to is None or grant_id <= each.built_to]


def _movements(connection: Connection, page: Sequence[Rebuilt]) -> Iterator[Difference]:
    by_grant = _by_grant(connection, CAP_MOVEMENT, page)
    lines_by_grant = _by_grant(connection, LINE_MOVEMENT, page, by_order=True)
    for each in page:
        caps = {(row.record_id, row.position): _cap(row) for row in by_grant[each.grant.id]}
        yield from _compared("cap_movement", _caps(each), caps)
        lines = {
            (row.record_id, row.position): (row.remedy, row.line, row.minor, row.order_id)
            for row in lines_by_grant[each.grant.id]
        }
        yield from _compared("line_movement", _lines(each), lines)


def _caps(each: Rebuilt) -> dict[tuple[str, int], Any]:
    grant = each.grant
    return {
        (record_id, position): (
            effect.remedy,
            *grant.holder.remedies[effect.remedy],
            effect.minor,
            effect.presence,
            effect.counted_at,
            grant.order_id,
            grant.customer,
            grant.agent.id,
            grant.currency,
        )
        for record_id, some in each.effects
        for position, effect in enumerate(some)
    }


def _cap(row: Any) -> tuple[Any, ...]:
    return (
        row.remedy,
        row.kind,
        row.policy,
        row.minor,
        row.presence,
        row.counted_at_us,
        row.order_id,
        row.customer,
        row.agent_id,
        row.currency,
    )


def _lines(each: Rebuilt) -> dict[tuple[str, int], Any]:
    return {
        (record_id, position): (remedy, line_key(share.line), share.minor, each.grant.order_id)
        for record_id, some in each.lines
        for position, (remedy, share) in enumerate(some)
    }


def _states(connection: Connection, page: Sequence[Rebuilt]) -> Iterator[Difference]:
    by_grant = _by_grant(connection, GRANT_STATE, page)
    for each in page:
        expected = {each.grant.id: (each.state.status.value, next_due(each.state))}
        stored = {row.grant_id: (row.status, row.due_at_us) for row in by_grant[each.grant.id]}
        yield from _compared("grant_state", expected, stored)


def _by_grant(
    connection: Connection, table: Table, page: Sequence[Rebuilt], *, by_order: bool = False
) -> Mapping[str, list[Row[Any]]]:
    """The rows of some grants. `by_order`: the table is indexed by the order alone."""
    query = select(table).where(table.c.grant_id.in_([each.grant.id for each in page]))
    if by_order:
        query = query.where(table.c.order_id.in_({each.grant.order_id for each in page}))
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.grant_id].append(row)
    return found


def _strays(connection: Connection) -> Iterator[Difference]:
    """Rows of grants that there are none of."""
    for table in (CAP_MOVEMENT, LINE_MOVEMENT, GRANT_STATE, GRANT_ENTRY, GRANT_REMEDY):
        missing = ~exists().where(GRANT.c.id == table.c.grant_id)
        for row in _streamed(connection, select(table.c.grant_id).where(missing).distinct()):
            yield Difference(table.name, f"grant {row.grant_id}", "no such grant", "rows")


def _counters(connection: Connection, sums: Sums, kept: set[str]) -> Iterator[Difference]:
    query = select(LIMIT_COUNTER).where(LIMIT_COUNTER.c["class"].in_(kept))
    rows = _streamed(connection, query)
    sums.compare((row.counter, row.period_us, row.described, row.amount) for row in rows)
    for described, period_us, expected, stored in sums.differing():
        where = described
        if period_us != FOR_EVER:
            where += f" from {format_timestamp(instant(period_us))}"
        found = "no row" if stored is None else str(stored)
        yield Difference("limit_counter", where, str(expected), found)


def _pins(connection: Connection) -> Iterator[Difference]:
    """Orders that something was granted on, and whose pin doesn't say so."""
    pinned = ORDER_PIN.c
    query = (
        select(GRANT.c.order_id, func.min(GRANT.c.id).label("first"), pinned.order_id.label("pin"))
        .outerjoin(ORDER_PIN, pinned.order_id == GRANT.c.order_id)
        .where(or_(pinned.order_id.is_(None), ~_grant_of_the_order()))
        .group_by(GRANT.c.order_id, pinned.order_id)
    )
    for row in _streamed(connection, query):
        found = "no pin" if row.pin is None else "nothing of that order granted"
        yield Difference("order_pin", f"order {row.order_id}", f"granted by {row.first}", found)


def _grant_of_the_order() -> Any:
    first = GRANT.alias("first_grant")
    return exists().where(
        first.c.id == ORDER_PIN.c.first_grant_id, first.c.order_id == ORDER_PIN.c.order_id
    )


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    """Rows as they come, a thousand at a time; also when nobody wants the rest."""
    with connection.execute(query, execution_options={"yield_per": 1_000}) as rows:
        yield from rows


def _compared(
    table: str, expected: Mapping[Any, Any], stored: Mapping[Any, Any]
) -> Iterator[Difference]:
    for key in dict.fromkeys((*expected, *stored)):
        if expected.get(key) != stored.get(key):
            yield Difference(table, str(key), str(expected.get(key)), str(stored.get(key)))
