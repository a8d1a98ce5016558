"""Each grant against the caps of its moment: what they had come to, what they were, who could give.

The records are followed in the order of the log, and what each of them does to which counter is
noted; at the end the counters are followed one by one (`running`). What a pack makes of a record is
asked of a `CapJudge`.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import orjson
from sqlalchemy import Connection, select, text

from policy_engine.core.caps import Measure, Rolling
from policy_engine.core.grants import Entry, GrantState, effects, fold, money_back
from policy_engine.core.headroom import line_key
from policy_engine.core.times import parse_timestamp
from policy_engine.ledger.counting import CounterClass, Place
from policy_engine.ledger.grant_shapes import Grant
from policy_engine.ledger.grant_tables import GRANT, GRANT_ENTRY, GRANT_REMEDY
from policy_engine.ledger.granting import changes_of
from policy_engine.ledger.grants import entry_of, grant_of, grouped
from policy_engine.ledger.log import rows
from policy_engine.ledger.log.checks import NotReplayableError
from policy_engine.ledger.log.findings import MISFORMED, CheckedRecord, Finding, Severity
from policy_engine.ledger.log.running import Counter, RunningSums, Said, Step

_KINDS: Final = ("grant", "grant_move")
_HOLDS_NOTHING: Final = frozenset({"redeem", "fulfil", "fail"})
"""Movements that change no cap: what is said of caps with them was read without holding them."""
_ACTIVATED: Final = text("SELECT DISTINCT revision FROM activation")


@dataclass(frozen=True, slots=True)
class Moved:
    """What one record did to a grant, with what it refers to."""

    id: str
    index: int | None
    """Its place in the log; None while it waits."""
    document: Mapping[str, Any]
    grant: Grant
    before: GrantState
    added: tuple[Entry, ...]
    at: datetime
    decision: Mapping[str, Any]
    """The record of the decision that the grant takes an offer of."""
    key: Mapping[str, Any] | None
    """The row of the credential that it was done with; None for a token."""

    def step(self, counter: Counter, **does: Any) -> Step:
        """What it does to a counter; see `Step`."""
        return Step(counter, self.at, self.grant.id, self.id, self.index, **does)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a record comes to under the pack that it names."""

    wrong: tuple[str, ...] = ()
    """What does not hold of it by itself."""
    said: Mapping[Place, Said] = field(default_factory=dict)
    """What it says of counters that it held."""
    paid: Mapping[str | None, int] = field(default_factory=dict)
    """Line id (None: shipping) → what was paid for it, minor units."""


class CapJudge(Protocol):
    """Knows packs."""

    def classes(self, revision: str) -> tuple[CounterClass, ...]:
        """What the caps of a pack count. NotReplayableError."""
        ...

    def judged(self, moved: Moved) -> Judged:
        """NotReplayableError where this release can't tell; `MISFORMED` where the record does not
        go with its pack or its decision."""
        ...


class CapHistoryCheck:
    """Grants and their moves against caps, roles and people, as they were then."""

    def __init__(self, judge: CapJudge) -> None:
        self._judge = judge
        self._sums = RunningSums()
        self._classes: tuple[CounterClass, ...] | None = None
        self.counts = {"grants against caps": 0}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        found = [each for each in records if each.kind in _KINDS and _holds(each)]
        if not found:
            return
        page = _Page(connection, found)
        for each in found:
            try:
                moved = page.moved(each)
            except MISFORMED as error:
                yield _finding(each, f"can't be followed ({error!r})")
                continue
            self._sums.saw(moved.at)
            judged = yield from self._judged(each, moved)
            steps = _steps(moved, self._counted(connection), judged.said)
            self._sums.note((*steps, *_line_steps(moved, judged.paid)))

    def end(self, connection: Connection) -> Iterator[Finding]:
        del connection
        for each in self._sums.untrue():
            message = (
                f"grant {each.grant_id}: {each.what} {each.when} it: says {each.stated}, all that "
                f"was granted comes to {each.recomputed}"
            )
            yield Finding("record", each.record_id, message, each.index)
        self._sums.close()

    def _judged(self, record: CheckedRecord, moved: Moved) -> Generator[Finding, None, Judged]:
        self.counts["grants against caps"] += 1
        try:
            judged = self._judge.judged(moved)
        except NotReplayableError as error:
            message = f"its caps can't be computed again ({error})"
            yield _finding(record, message, Severity.INCOMPLETE)
        except MISFORMED as error:
            yield _finding(record, f"does not go with the caps of its moment ({error!r})")
        else:
            for wrong in judged.wrong:
                yield _finding(record, f"grant {moved.grant.id}: {wrong}")
            return judged
        return Judged()

    def _counted(self, connection: Connection) -> tuple[CounterClass, ...]:
        """What the caps of any pack count that was active once, each once."""
        if self._classes is None:
            found: dict[CounterClass, None] = {}
            for revision in connection.execute(_ACTIVATED).scalars():
                try:
                    found |= dict.fromkeys(self._judge.classes(str(revision)))
                except NotReplayableError:
                    continue  # said of every record that names it
            self._classes = tuple(found)
        return self._classes


class _Page:
    """What a page of records refers to."""

    def __init__(self, connection: Connection, found: Sequence[CheckedRecord]) -> None:
        ids = sorted({_grant_id(each) for each in found})
        self._grants = {
            row.id: row for row in connection.execute(select(GRANT).where(GRANT.c.id.in_(ids)))
        }
        self._remedies = grouped(connection, GRANT_REMEDY, ids)
        self._entries = grouped(connection, GRANT_ENTRY, ids)
        decisions = sorted({row.decision_id for row in self._grants.values()})
        self._decisions = rows.by_key(connection, "record", "id", decisions)
        self._credentials = rows.by_key(connection, "credential", "id", _credentials(found))

    def moved(self, record: CheckedRecord) -> Moved:
        """What a record did to its grant."""
        document = record.document
        row = self._grants[_grant_id(record)]
        grant = grant_of(row, self._remedies[row.id])
        first = min(each["position"] for each in document["entries"])
        stored = self._entries[row.id]
        before = [entry_of(each) for each in stored if each.position < first]
        added = tuple(entry_of(each) for each in stored if each.record_id == record.id)
        state = fold(grant.remedies, before, grant.pending_until)
        return Moved(
            id=record.id,
            index=record.index,
            document=document,
            grant=grant,
            before=state,
            added=added,
            at=parse_timestamp(document["at"]),
            decision=self._decision(grant.decision_id),
            key=self._credential((document.get("actor") or document).get("credential")),
        )

    def _decision(self, decision_id: str) -> Mapping[str, Any]:
        """The record of a decision."""
        document: Mapping[str, Any] = orjson.loads(self._decisions[decision_id][0]["content"])
        return document

    def _credential(self, credential_id: object) -> Mapping[str, Any] | None:
        """A key; None for a token, of which nothing is stored."""
        found = self._credentials.get(str(credential_id))
        return None if found is None else dict(found[0])


def _holds(record: CheckedRecord) -> bool:
    """Whether it changes what is held of caps; where that can't be told, it is looked at."""
    try:
        return not {each["movement"] for each in record.document["entries"]} <= _HOLDS_NOTHING
    except MISFORMED:
        return True


def _grant_id(record: CheckedRecord) -> str:
    return str(record.document["id" if record.kind == "grant" else "grant"])


def _credentials(found: Iterable[CheckedRecord]) -> list[str]:
    by = (each.document.get("actor") or each.document for each in found)
    return sorted({str(each.get("credential")) for each in by})


def _steps(
    moved: Moved, classes: Sequence[CounterClass], said: Mapping[Place, Said]
) -> Iterator[Step]:
    """What a record does to each counter, and says of it."""
    grant = moved.grant
    kept = [each for each in classes if not isinstance(each.window, Rolling)]
    changes = changes_of(grant, moved.before, moved.added, kept, moved.at)
    rolled: dict[Place, list[tuple[datetime, int]]] = {}
    for each in classes:
        if not isinstance(each.window, Rolling):
            continue
        for effect in effects(moved.before, moved.added):
            kind, policy = grant.holder.remedies[effect.remedy]
            if each.takes(kind, policy):
                amount = effect.minor if each.measure is Measure.VALUE else effect.presence
                place = Place(grant.holder.key(each, policy))
                rolled.setdefault(place, []).append((effect.counted_at, amount))
    for place in dict.fromkeys((*changes, *rolled, *said)):
        yield moved.step(
            Counter.of(place),
            change=changes.get(place, 0),
            moved=tuple(rolled.get(place, ())),
            said=said.get(place),
        )


def _line_steps(moved: Moved, paid: Mapping[str | None, int]) -> Iterator[Step]:
    """Money back on each line of the order, which never comes to more than was paid for it."""
    changes: dict[str | None, int] = {}
    for _, share in money_back(moved.before, moved.added):
        changes[share.line] = changes.get(share.line, 0) + share.minor
    for line, change in changes.items():
        name = line_key(line)
        counter = Counter(json.dumps(["money back", moved.grant.order_id, name]))
        most = paid.get(line, 0) if paid and change > 0 else None
        yield moved.step(counter, change=change, most=most, what=f"money back on `{name}`")


def _finding(record: CheckedRecord, message: str, severity: Severity = Severity.BROKEN) -> Finding:
    return Finding("record", record.id, message, record.index, severity)
