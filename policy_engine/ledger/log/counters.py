"""Counters, movements and states: what they hold, and what they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import DBAPIError

from policy_engine.core.caps import SCOPE_ORDER, Scope
from policy_engine.ledger.counter_check import differences
from policy_engine.ledger.counting import CounterClass, hashed
from policy_engine.ledger.log import rows
from policy_engine.ledger.log.findings import MISFORMED, CheckedRecord, Finding


class CounterCheck:
    """Counters, movements and states come to what the entries say."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        del connection, records
        return iter(())

    def end(self, connection: Connection) -> Iterator[Finding]:
        try:
            for each in differences(connection):
                message = f"expected {each.expected}, stored {each.stored}"
                yield Finding(each.table, each.where, message)
        except DBAPIError:
            raise
        except MISFORMED as error:
            message = f"grants can't be added up any more ({error!r})"
            yield Finding("grant_entry", None, message)


class LimitCheck:
    """What the active pack's caps count is counted, and every counter, and every class of them,
    is stored under what it says that it counts."""

    def __init__(self, active: Callable[[], Iterable[CounterClass]]) -> None:
        self._active = active
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        del connection, records
        return iter(())

    def end(self, connection: Connection) -> Iterator[Finding]:
        wanted = {each.id: each for each in self._active()}
        for page in rows.pages(connection, "limit_class", "class"):
            for row in page:
                # What a pack to come counts is built up to somewhere; what the active one counts
                # is there whole.
                if (wanted.pop(row["class"], None) is None) != (row["built_to"] is not None):
                    message = "is built otherwise than the active pack needs it"
                    yield Finding("limit_class", str(row["class"]), message)
                if not _holds(_class_fits, row):
                    message = "does not count what it says that it counts"
                    yield Finding("limit_class", str(row["class"]), message)
        for lost in wanted.values():
            message = "a cap of the active pack counts this, and no counter does"
            yield Finding("limit_class", lost.described, message)
        for page in rows.pages(connection, "limit_counter", "counter", "period_us"):
            for row in page:
                if not _holds(_counter_fits, row):
                    message = "is not the counter of what it says that it counts"
                    yield Finding("limit_counter", str(row["described"]), message)


def _class_fits(row: RowMapping) -> bool:
    described = CounterClass.from_description(row["described"])
    return (row["class"], row["described"]) == (described.id, described.described)


def _counter_fits(row: RowMapping) -> bool:
    scope, _key, window, measure, kinds, policies, _currency = json.loads(row["described"])
    of = CounterClass.from_description(json.dumps([scope, window, measure, kinds, policies]))
    expected = (hashed(row["described"]), of.id, SCOPE_ORDER.index(Scope(scope)))
    return (row["counter"], row["class"], row["rank"]) == expected


def _holds(fits: Any, row: RowMapping) -> bool:
    try:
        return bool(fits(row))
    except MISFORMED:
        return False
