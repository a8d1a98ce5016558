"""Counters of caps that are new: built from the entries, page by page, while grants go on.

`limit_class` names what grants add to. A class that is new is built in the order of the grants'
ids, and its `built_to` says how far. Each step holds the activation alone, so no grant moves
during it; between two steps grants go on. What then happens to a grant that was passed, or that
is new and sorts before, adds to these counters at once; what happens to a later one is found when
its page comes. Nobody decides by a counter before its class is complete.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, insert, select, update

from policy_engine.core.caps import Rolling
from policy_engine.ledger import counters
from policy_engine.ledger.counting import CounterClass, Place
from policy_engine.ledger.grant_tables import LIMIT_CLASS, LIMIT_COUNTER
from policy_engine.ledger.rebuilding import rebuilt

_PAGE = 100
"""Grants that one statement reads; the least that a step builds."""
_LEFT_OVER = 1_000
"""Counters of an earlier time that one statement deletes."""

_ALL = "z"
"""`built_to` of what is complete and waits for its activation; sorts after every id."""

ANY_BUILDING = exists(select(LIMIT_CLASS.c["class"]).where(LIMIT_CLASS.c.built_to.is_not(None)))


@dataclass(frozen=True, slots=True)
class KeptClass:
    """A class whose counters are kept. `built_to` None: those of the active pack; otherwise they
    hold the grants whose ids come up to it."""

    of: CounterClass
    built_to: str | None


def kept_classes(connection: Connection) -> tuple[KeptClass, ...]:
    """The classes whose counters grants add to."""
    query = select(LIMIT_CLASS).order_by(LIMIT_CLASS.c["class"])
    return tuple(
        KeptClass(CounterClass.from_description(row.described), row.built_to)
        for row in connection.execute(query)
    )


def built_past(connection: Connection, grant_id: str) -> tuple[CounterClass, ...]:
    """The classes of packs to come that have this grant in their counters."""
    query = select(LIMIT_CLASS.c.described).where(LIMIT_CLASS.c.built_to >= grant_id)
    found = connection.execute(query).scalars()
    return tuple(CounterClass.from_description(each) for each in found)


def build(
    connection: Connection, wanted: Iterable[CounterClass], seconds: float | None = None
) -> bool:
    """Builds what is wanted and isn't complete, for so many seconds and the rest of a page.

    True once all of it is complete. Nobody else may move a grant meanwhile.
    """
    classes = tuple(wanted)
    give_up_at = None if seconds is None else time.monotonic() + seconds
    while not _step(connection, classes):
        if give_up_at is not None and time.monotonic() >= give_up_at:
            return False
    return True


def keep_only(connection: Connection, wanted: Iterable[CounterClass]) -> None:
    """From now on these, which are complete, are the active pack's, and grants add to no others.
    The counters of others stay, and are worth nothing."""
    ids = [each.id for each in wanted]
    of = LIMIT_CLASS.c["class"]
    connection.execute(delete(LIMIT_CLASS).where(of.not_in(ids)))
    active = update(LIMIT_CLASS).where(LIMIT_CLASS.c.built_to.is_not(None))
    connection.execute(active.values(built_to=None))


def _step(connection: Connection, wanted: Sequence[CounterClass]) -> bool:
    """True when there was nothing left to do."""
    kept = {each.of.id: each for each in kept_classes(connection)}
    new = next((each for each in wanted if each.id not in kept), None)
    if new is not None:
        _begin(connection, new)
        return False
    waiting = [kept[each.id] for each in wanted if kept[each.id].built_to not in (None, _ALL)]
    if not waiting:
        return True
    first = waiting[0].built_to
    assert first is not None
    _page(connection, first, [each.of for each in waiting if each.built_to == first])
    return False


def _begin(connection: Connection, new: CounterClass) -> None:
    row = {"class": new.id, "described": new.described, "built_to": _ALL}
    if not isinstance(new.window, Rolling):  # what rolls is summed from the movements
        if _left_over(connection, new):
            return
        row["built_to"] = ""
    connection.execute(insert(LIMIT_CLASS), row)


def _left_over(connection: Connection, of: CounterClass) -> bool:
    """Deletes some counters from when the class was kept before; False when there were none."""
    some = select(LIMIT_COUNTER.c.counter).where(LIMIT_COUNTER.c["class"] == of.id)
    deleted = delete(LIMIT_COUNTER).where(LIMIT_COUNTER.c.counter.in_(some.limit(_LEFT_OVER)))
    return connection.execute(deleted).rowcount > 0


def _page(connection: Connection, after: str, classes: Sequence[CounterClass]) -> None:
    sums: dict[Place, int] = {}
    page = rebuilt(connection, after, _PAGE)
    for each in page:
        for place, amount in each.counted(classes).items():
            sums[place] = sums.get(place, 0) + amount
    counters.add(connection, sums)
    built_to = page[-1].grant.id if len(page) == _PAGE else _ALL
    ids = [each.id for each in classes]
    connection.execute(
        update(LIMIT_CLASS).where(LIMIT_CLASS.c["class"].in_(ids)).values(built_to=built_to)
    )
