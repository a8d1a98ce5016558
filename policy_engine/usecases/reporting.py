"""The report of a month: what was given, what became of it, what is still owed, and why not more.

Everything is counted in one pass over decisions and grants, by the figures of `accounts`, in
minor units. What it says of the month is what happened in it, whenever the grant was made.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final

from policy_engine import __version__
from policy_engine.core.grants import fold
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.history import RecordedGrant
from policy_engine.usecases.accounts import (
    NOTHING,
    Balance,
    Decided,
    Step,
    balance,
    steps,
)
from policy_engine.usecases.approvals import Approvals
from policy_engine.usecases.services import Services
from policy_engine.usecases.wordings import Wordings

MOST: Final = 10
"""How many customers and agents are listed."""
NO_CHANNEL: Final = "(none)"
NO_REASON: Final = "(unknown)"
_AGES: Final = ((30, "up to 30 days"), (60, "31 to 60 days"), (90, "61 to 90 days"))
_OLDEST: Final = "over 90 days"
_TALLIES: Final = ("policy", "remedy", "role", "reason", "channel")


@dataclass(frozen=True, slots=True)
class Span:
    """Days [first, after) of a zone, as instants [since, until)."""

    first: date
    after: date
    zone: tzinfo

    @property
    def since(self) -> datetime:
        return self._midnight(self.first)

    @property
    def until(self) -> datetime:
        return self._midnight(self.after)

    def weeks(self) -> list[tuple[date, datetime]]:
        """(first day, end) of each calendar week, Mondays first, as far as it is in the span."""
        found, day = [], self.first
        while day < self.after:
            end = min(day + timedelta(days=7 - day.weekday()), self.after)
            found.append((day, self._midnight(end)))
            day = end
        return found

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone).astimezone(UTC)


class _Tally:
    """Rows by a key: how many grants, what happened in the month, what is outstanding after it."""

    def __init__(self) -> None:
        self.grants: dict[str, int] = defaultdict(int)
        self.changes: dict[str, Balance] = defaultdict(lambda: NOTHING)
        self.owed: dict[str, int] = defaultdict(int)

    def rows(self, most: int | None = None) -> list[dict[str, Any]]:
        """The most given first; rows in which nothing happened and nothing is owed are left out."""
        keys = sorted(
            {key for key, each in self.changes.items() if each != NOTHING}
            | {key for key, minor in self.owed.items() if minor}
            | self.grants.keys(),
            key=lambda key: (-self.changes[key].granted, key),
        )
        return [
            {
                "key": key,
                "grants": self.grants[key],
                **_happened(self.changes[key]),
                "outstanding": self.owed[key],
            }
            for key in keys[:most]
        ]


@dataclass(slots=True)
class _Week:
    change: Balance = NOTHING
    grants: int = 0


class _Currency:
    """All figures of one currency."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.grants = 0
        self.opening = NOTHING
        self.change = NOTHING
        self.tallies = {name: _Tally() for name in (*_TALLIES, "customer", "agent")}
        self.ages: Counter[str] = Counter()
        self.aged: Counter[str] = Counter()
        self.caps: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.weeks = [(first, end, _Week()) for first, end in span.weeks()]

    def grant(self, at: datetime) -> None:
        self.grants += 1
        self._week(at).grants += 1

    def step(self, step: Step, keys: Mapping[str, str]) -> None:
        if step.entry.at < self.span.since:
            self.opening += step.change
            return
        self.change += step.change
        for name, tally in self.tallies.items():
            tally.changes[keys[name]] += step.change
        self._week(step.entry.at).change += step.change

    def owe(self, minor: int, age: timedelta, keys: Mapping[str, str]) -> None:
        bucket = next((name for days, name in _AGES if age <= timedelta(days=days)), _OLDEST)
        self.ages[bucket] += minor
        self.aged[bucket] += 1
        for name, tally in self.tallies.items():
            tally.owed[keys[name]] += minor

    def as_json(self) -> dict[str, Any]:
        closing = self.opening + self.change
        return {
            "grants": self.grants,
            "opening": {"pending": self.opening.pending, "outstanding": self.opening.outstanding},
            "happened": _happened(self.change),
            "closing": {"pending": closing.pending, "outstanding": closing.outstanding},
            "by": {name: self.tallies[name].rows() for name in _TALLIES},
            "liability": [
                {"age": name, "remedies": self.aged[name], "outstanding": self.ages[name]}
                for name in (*(name for _, name in _AGES), _OLDEST)
            ],
            "caps": [
                {"cap": cap, "scope": scope, **counted}
                for (cap, scope), counted in sorted(
                    self.caps.items(), key=lambda each: (-each[1]["held_back"], each[0])
                )
            ],
            "customers": self.tallies["customer"].rows(MOST),
            "agents": self.tallies["agent"].rows(MOST),
            "weeks": list(self._weeks()),
        }

    def _week(self, at: datetime) -> _Week:
        return next(week for _, end, week in self.weeks if at < end)

    def _weeks(self) -> Iterator[dict[str, Any]]:
        running = self.opening
        for first, end, week in self.weeks:
            running += week.change
            last = (end.astimezone(self.span.zone) - timedelta(microseconds=1)).date()
            yield {
                "from": first.isoformat(),
                "to": last.isoformat(),
                "grants": week.grants,
                **_happened(week.change),
                "outstanding": running.outstanding,
            }


def month_report(services: Services, first: date, after: date, zone: tzinfo) -> dict[str, Any]:
    """The report of the days [first, after), as JSON; amounts are minor units.

    A month that is not over is reported as far as it has come.
    """
    now = services.ledger.now()
    span = Span(first, after, zone)
    pages = _Pages(span, min(now, span.until), Wordings(services.library))
    for decision in services.ledger.history.decisions(span.since, span.until):
        pages.decided(Decided(decision))
    for grant in services.ledger.history.grants(span.until):
        pages.granted(grant)
    return {
        "from": first.isoformat(),
        "to": (after - timedelta(days=1)).isoformat(),
        "zone": str(zone),
        "since": format_timestamp(span.since),
        "until": format_timestamp(span.until),
        "made_at": format_timestamp(now),
        "complete": now >= span.until,
        "engine": __version__,
        **pages.as_json(),
    }


class _Pages:
    """What the pass over the ledger has counted so far."""

    def __init__(self, span: Span, as_of: datetime, wordings: Wordings) -> None:
        self._span = span
        self._as_of = as_of
        """The end of the time, or now while it isn't over."""
        self._wordings = wordings
        self._currencies: dict[str, _Currency] = defaultdict(lambda: _Currency(span))
        self._outcomes: Counter[str] = Counter()
        self._approvals = Approvals(span.since)

    def decided(self, decided: Decided) -> None:
        self._outcomes[decided.evaluation["outcome"]] += 1
        plan = decided.recommended
        if plan is None or plan["binding_cap"] is None:
            return
        held_back = plan["entitled"] - plan["allowed"]
        scopes = {cap["cap"]: cap["scope"] for cap in decided.evaluation["caps"]}
        cap = plan["binding_cap"]
        counted = self._currencies[decided.currency].caps[(cap, scopes.get(cap, ""))]
        counted["decisions"] += 1
        counted["held_back"] += held_back
        counted["for_approval"] += plan["pending"]
        counted["refused"] += plan["uncovered"]

    def granted(self, grant: RecordedGrant) -> None:
        decided = Decided(grant.decision)
        currency = self._currencies[grant.grant.currency]
        keys = {each.id: self._keys(grant, each.id, decided) for each in grant.grant.remedies}
        if grant.grant.granted_at >= self._span.since:
            currency.grant(grant.grant.granted_at)
            for name, tally in currency.tallies.items():
                for key in {of[name] for of in keys.values()}:
                    tally.grants[key] += 1
        for step in steps(grant):
            currency.step(step, keys[step.entry.remedy])
        self._approvals.add(grant)
        state = fold(
            grant.grant.remedies, [each.entry for each in grant.entries], grant.grant.pending_until
        )
        for remedy, each in state.remedies.items():
            owed = balance(each).outstanding
            if owed and each.granted_at is not None:
                currency.owe(owed, self._as_of - each.granted_at, keys[remedy])

    def as_json(self) -> dict[str, Any]:
        return {
            "decisions": {
                "count": sum(self._outcomes.values()),
                "outcomes": dict(sorted(self._outcomes.items())),
            },
            "approvals": self._approvals.as_json(),
            "currencies": {
                name: self._currencies[name].as_json() for name in sorted(self._currencies)
            },
        }

    def _keys(self, grant: RecordedGrant, remedy: str, decided: Decided) -> Mapping[str, str]:
        what = next(each for each in grant.grant.remedies if each.id == remedy)
        return {
            "policy": what.policy,
            "remedy": what.kind.value,
            "role": grant.grant.agent.role,
            "reason": self._wordings.reason_code(decided, what.policy) or NO_REASON,
            "channel": decided.channel or NO_CHANNEL,
            "customer": grant.grant.customer,
            "agent": grant.grant.agent.id,
        }


def _happened(change: Balance) -> dict[str, int]:
    return {name: getattr(change, name) for name in ("granted", "redeemed", "reversed", "expired")}
