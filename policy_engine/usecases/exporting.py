"""Exports: the decisions and grant movements of a time, as the log has them.

An export is recorded first, and covers what the log holds before its own entry: one instant for
all of its files, which the checkpoint in its manifest proves.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from policy_engine import __version__
from policy_engine.core.money import format_minor
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.history import Place
from policy_engine.ledger.log.reading import LogEntry, StoredCheckpoint
from policy_engine.usecases.accounts import FIGURES, NOTHING, Balance, Decided, steps
from policy_engine.usecases.errors import NotReadyError, UseCaseError
from policy_engine.usecases.export_rows import Row, decision_row, movement_row
from policy_engine.usecases.services import Services
from policy_engine.usecases.wordings import Wordings

_SEQUENCED_WITHIN_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.05

_OF_DECISIONS: Final = ("entitled", "allowed", "pending", "uncovered")


class Totals:
    """What the rows of an export add up to, in minor units a currency."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.first_index: int | None = None
        self.last_index: int | None = None
        self._decided: dict[str, Counter[str]] = defaultdict(Counter)
        self._moved: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        self._changed: dict[str, Balance] = defaultdict(lambda: NOTHING)

    def decided(self, decided: Decided) -> None:
        self._count("decisions", decided.decision.place)
        self.outcomes[decided.evaluation["outcome"]] += 1
        plan = decided.recommended
        for name in _OF_DECISIONS:
            self._decided[decided.currency][name] += 0 if plan is None else plan[name]

    def moved(self, currency: str, movement: str, minor: int, change: Balance) -> None:
        moved = self._moved[currency][movement]
        moved["rows"] += 1
        moved["minor"] += minor
        self._changed[currency] += change

    def at(self, place: Place) -> None:
        self._count("grant_movements", place)

    def as_json(self) -> dict[str, Any]:
        """Currency → what was decided, moved, and changed by that in every state."""
        return {
            currency: {
                "decisions": {
                    name: _amount(self._decided[currency][name], currency) for name in _OF_DECISIONS
                },
                "movements": {
                    movement: {
                        "rows": counted["rows"],
                        **_amount(counted["minor"], currency),
                    }
                    for movement, counted in sorted(self._moved[currency].items())
                },
                "changes": {
                    name: _amount(getattr(self._changed[currency], name), currency)
                    for name in FIGURES
                },
            }
            for currency in sorted(self._decided.keys() | self._moved.keys())
        }

    def _count(self, table: str, place: Place) -> None:
        self.rows[table] += 1
        index = place.index
        if index is not None:
            first, last = self.first_index, self.last_index
            self.first_index = index if first is None else min(first, index)
            self.last_index = index if last is None else max(last, index)


@dataclass(frozen=True, slots=True)
class Export:
    """One export. Read `decisions` and `movements` to their ends, then `manifest`."""

    services: Services
    since: datetime
    until: datetime
    by: str
    entry: LogEntry
    """The record of the export itself."""
    checkpoint: StoredCheckpoint
    totals: Totals = field(default_factory=Totals)

    @property
    def below(self) -> int:
        """Entries of the log before this index are covered."""
        assert self.entry.index is not None
        return self.entry.index

    def decisions(self) -> Iterator[Row]:
        """Decisions made in the time, in that order."""
        wordings = Wordings(self.services.library)
        history = self.services.ledger.history
        for each in history.decisions(self.since, self.until, below=self.below):
            decided = Decided(each)
            self.totals.decided(decided)
            yield decision_row(decided, wordings)

    def movements(self) -> Iterator[Row]:
        """Entries made in the time, those of a grant together, by when it was granted."""
        wordings = Wordings(self.services.library)
        grants = self.services.ledger.history.grants(self.until, since=self.since, below=self.below)
        for grant in grants:
            decided = Decided(grant.decision)
            for step in steps(grant):
                if step.entry.at < self.since:
                    continue
                self.totals.at(step.recorded.place)
                self.totals.moved(
                    step.grant.currency, step.entry.movement.value, step.entry.minor, step.change
                )
                yield movement_row(step, decided, wordings)

    def manifest(self, files: list[Mapping[str, Any]]) -> dict[str, Any]:
        """What was exported. `files`: name, rows, bytes and sha256 of each."""
        totals = self.totals
        return {
            "export": self.entry.record_id,
            "digest": self.entry.digest,
            "exported_at": format_timestamp(self.entry.recorded_at),
            "by": self.by,
            "from": format_timestamp(self.since),
            "to": format_timestamp(self.until),
            "engine": __version__,
            "files": files,
            "rows": {name: totals.rows[name] for name in ("decisions", "grant_movements")},
            "outcomes": dict(sorted(totals.outcomes.items())),
            "totals": totals.as_json(),
            "log": {
                "first_index": totals.first_index,
                "last_index": totals.last_index,
                "covers_below": self.below,
                "checkpoint": self.checkpoint.note,
            },
        }


def begin(
    services: Services,
    *,
    since: datetime,
    until: datetime,
    output: str,
    by: str,
    within_seconds: float = _SEQUENCED_WITHIN_SECONDS,
) -> Export:
    """Records that `by` exports [since, until), and waits until that is in the log.

    UseCaseError for an empty time; NotReadyError while nobody gives records their places.
    """
    if until <= since:
        raise UseCaseError("EMPTY_TIME", "`to` must lie after `from`")
    fields = {"from": format_timestamp(since), "to": format_timestamp(until), "format": output}
    record_id = services.ledger.history.note("export", by, fields)
    give_up_at = time.monotonic() + within_seconds
    while True:
        entry = services.ledger.log.record(record_id)
        assert entry is not None
        if entry.index is not None:
            checkpoint = services.ledger.log.checkpoint()
            assert checkpoint is not None
            return Export(services, since, until, by, entry, checkpoint)
        if time.monotonic() > give_up_at:
            raise NotReadyError(
                "LOG_NOT_KEPT", "records wait for their place in the log; see `readyz`"
            )
        time.sleep(_PAUSE_SECONDS)


def _amount(minor: int, currency: str) -> dict[str, object]:
    return {"minor": minor, "amount": format_minor(minor, currency)}
