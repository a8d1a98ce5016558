"""Counters, movements and states as stored, against what the entries come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from policy_engine.core.grant_moves import next_due
from policy_engine.core.headroom import line_key
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.counting import FOR_EVER, Place, counter_id, described
from policy_engine.ledger.grant_tables import (
    CAP_MOVEMENT,
    GRANT,
    GRANT_STATE,
    LIMIT_COUNTER,
    LINE_MOVEMENT,
    ORDER_PIN,
)
from policy_engine.ledger.rebuilding import Rebuilt, kept_classes, rebuilt
from policy_engine.ledger.tables import instant


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
    sums: dict[Place, int] = {}
    first_grants: dict[str, str] = {}
    grants = set()
    for each in rebuilt(connection):
        grants.add(each.grant.id)
        first_grants.setdefault(each.grant.order_id, each.grant.id)
        for place, amount in each.counted(kept).items():
            sums[place] = sums.get(place, 0) + amount
        yield from _movements(connection, each)
        yield from _state(connection, each)
        progress(len(grants), total)
    yield from _strays(connection, grants)
    yield from _counters(connection, sums, {each.id for each in kept})
    yield from _pins(connection, first_grants)


def _movements(connection: Connection, each: Rebuilt) -> Iterator[Difference]:
    caps = {
        (record_id, position): (
            effect.remedy,
            *each.grant.holder.remedies[effect.remedy],
            effect.minor,
            effect.presence,
            effect.counted_at,
            each.grant.order_id,
            each.grant.customer,
            each.grant.agent.id,
            each.grant.currency,
        )
        for record_id, some in each.effects
        for position, effect in enumerate(some)
    }
    query = select(CAP_MOVEMENT).where(CAP_MOVEMENT.c.grant_id == each.grant.id)
    stored = {
        (row.record_id, row.position): (
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
        for row in connection.execute(query)
    }
    yield from _compared("cap_movement", caps, stored)
    lines = {
        (record_id, position): (remedy, line_key(share.line), share.minor, each.grant.order_id)
        for record_id, some in each.lines
        for position, (remedy, share) in enumerate(some)
    }
    query = select(LINE_MOVEMENT).where(
        LINE_MOVEMENT.c.order_id == each.grant.order_id,
        LINE_MOVEMENT.c.grant_id == each.grant.id,
    )
    found = {
        (row.record_id, row.position): (row.remedy, row.line, row.minor, row.order_id)
        for row in connection.execute(query)
    }
    yield from _compared("line_movement", lines, found)


def _state(connection: Connection, each: Rebuilt) -> Iterator[Difference]:
    query = select(GRANT_STATE).where(GRANT_STATE.c.grant_id == each.grant.id)
    row = connection.execute(query).one_or_none()
    expected = {each.grant.id: (each.state.status.value, next_due(each.state))}
    stored = {} if row is None else {each.grant.id: (row.status, row.due_at_us)}
    yield from _compared("grant_state", expected, stored)


def _strays(connection: Connection, grants: set[str]) -> Iterator[Difference]:
    """Rows of grants that there are none of."""
    for table in (CAP_MOVEMENT, LINE_MOVEMENT, GRANT_STATE):
        query = select(table.c.grant_id).distinct()
        for grant_id in connection.execute(query).scalars():
            if grant_id not in grants:
                yield Difference(table.name, f"grant {grant_id}", "no such grant", "rows")


def _counters(
    connection: Connection, sums: Mapping[Place, int], kept: set[str]
) -> Iterator[Difference]:
    expected = {
        (counter_id(place.key), place.period_us): (described(place.key), amount)
        for place, amount in sums.items()
    }
    query = select(LIMIT_COUNTER, LIMIT_COUNTER.c["class"].label("of"))
    for row in connection.execute(query):
        key = (row.counter, row.period_us)
        text, amount = expected.pop(key, (row.described, 0))
        if row.of not in kept:
            continue
        if amount != row.amount or text != row.described:
            where = _counter(row.described, row.period_us)
            yield Difference("limit_counter", where, str(amount), str(row.amount))
    for (_, period_us), (text, amount) in expected.items():
        if amount:
            where = _counter(text, period_us)
            yield Difference("limit_counter", where, str(amount), "no row")


def _counter(text: str, period_us: int) -> str:
    """A counter in words; of a calendar window also the period that it stands for."""
    return text if period_us == FOR_EVER else f"{text} from {format_timestamp(instant(period_us))}"


def _pins(connection: Connection, first: Mapping[str, str]) -> Iterator[Difference]:
    stored = {row.order_id: row.first_grant_id for row in connection.execute(select(ORDER_PIN))}
    for order_id, grant_id in first.items():
        if stored.get(order_id) is None:
            found = "no pin" if order_id not in stored else "nothing granted"
            yield Difference("order_pin", f"order {order_id}", f"granted by {grant_id}", found)


def _compared(
    table: str, expected: Mapping[Any, Any], stored: Mapping[Any, Any]
) -> Iterator[Difference]:
    for key in dict.fromkeys((*expected, *stored)):
        if expected.get(key) != stored.get(key):
            yield Difference(table, str(key), str(expected.get(key)), str(stored.get(key)))
