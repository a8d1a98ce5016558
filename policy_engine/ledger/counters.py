"""The rows of `limit_counter`: one sum each. Everybody touches them in one order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, select

from policy_engine.core.caps import CounterKey
from policy_engine.ledger.counting import (
    FOR_EVER,
    Place,
    class_of,
    counter_id,
    described,
    rank,
)
from policy_engine.ledger.grant_tables import LIMIT_COUNTER
from policy_engine.ledger.prepared import Prepared
from policy_engine.ledger.writing import insert_absent, insert_into, numbered, parameters_of


def lock(connection: Connection, keys: Iterable[CounterKey]) -> None:
    """Locks counters until the transaction ends, those that aren't there yet inserted first.

    `keys` hold pseudonyms of customers.
    """
    wanted = sorted({(rank(key), counter_id(key)): key for key in keys}.items())
    if not wanted:
        return
    insert_absent(connection, LIMIT_COUNTER, [_row(Place(key), 0) for _, key in wanted])
    counters = [{"counter": counter} for (_, counter), _ in wanted]
    _locked(len(counters)).run(connection, numbered(counters))


def add(connection: Connection, changes: Mapping[Place, int]) -> dict[Place, int]:
    """Adds to counters; returns what each of them comes to."""
    if not changes:
        return {}
    places = sorted(
        changes, key=lambda each: (rank(each.key), counter_id(each.key), each.period_us)
    )
    rows = [_row(place, changes[place]) for place in places]
    added = _added(connection.dialect.name, frozenset(rows[0]), len(rows))
    found = {
        (counter, period_us): amount
        for counter, period_us, amount in added.run(connection, numbered(rows))
    }
    return {place: found[counter_id(place.key), place.period_us] for place in places}


def _row(place: Place, amount: int) -> dict[str, Any]:
    return {
        "counter": counter_id(place.key),
        "period_us": place.period_us,
        "class": class_of(place.key).id,
        "rank": rank(place.key),
        "described": described(place.key),
        "amount": amount,
    }


@lru_cache(maxsize=256)
def _locked(count: int) -> Prepared:
    counters = [
        parameters_of(LIMIT_COUNTER, ("counter",), number)["counter"] for number in range(count)
    ]
    return Prepared(
        select(LIMIT_COUNTER.c.counter)
        .where(LIMIT_COUNTER.c.counter.in_(counters), LIMIT_COUNTER.c.period_us == FOR_EVER)
        .order_by(LIMIT_COUNTER.c.rank, LIMIT_COUNTER.c.counter)
        .with_for_update()
    )


@lru_cache(maxsize=256)
def _added(kind: str, columns: frozenset[str], count: int) -> Prepared:
    rows = [parameters_of(LIMIT_COUNTER, columns, number) for number in range(count)]
    statement = insert_into(kind, LIMIT_COUNTER).values(rows)
    return Prepared(
        statement.on_conflict_do_update(
            index_elements=[LIMIT_COUNTER.c.counter, LIMIT_COUNTER.c.period_us],
            set_={"amount": LIMIT_COUNTER.c.amount + statement.excluded.amount},
        ).returning(LIMIT_COUNTER.c.counter, LIMIT_COUNTER.c.period_us, LIMIT_COUNTER.c.amount)
    )
