"""The books: what every entry of a grant does to what was granted, used, taken back and owed.

Exports, reports, the journal and statements all count by these few figures, so they can't
disagree. Amounts are minor units of the grant's currency.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import orjson

from policy_engine.core.decision import Share
from policy_engine.core.grants import (
    Entry,
    GrantRemedy,
    GrantStatus,
    Movement,
    RemedyState,
    fold,
)
from policy_engine.core.money import parse_decimal, tax_inside
from policy_engine.ledger.grant_shapes import Grant
from policy_engine.ledger.history import RecordedDecision, RecordedEntry, RecordedGrant


@dataclass(frozen=True, slots=True)
class Balance:
    """Of one remedy, or of many added up. granted = redeemed + reversed + expired + outstanding."""

    granted: int = 0
    pending: int = 0
    """Set aside for approval; not yet granted."""
    redeemed: int = 0
    """Used by the customer; whatever is no coupon or store credit counts when it is granted,
    until it is reported failed."""
    reversed: int = 0
    expired: int = 0
    outstanding: int = 0
    """Granted and neither used, taken back nor expired: what is still owed."""

    def __add__(self, other: Balance) -> Balance:
        return Balance(*(getattr(self, each) + getattr(other, each) for each in FIGURES))

    def __sub__(self, other: Balance) -> Balance:
        return Balance(*(getattr(self, each) - getattr(other, each) for each in FIGURES))


FIGURES = tuple(each.name for each in fields(Balance))
NOTHING = Balance()


def balance(state: RemedyState) -> Balance:
    """Where a remedy stands."""
    outstanding = state.usable
    redeemed = state.granted - state.reversed - state.expired - outstanding
    return Balance(
        state.granted, state.pending, redeemed, state.reversed, state.expired, outstanding
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One entry, and what it did to its remedy."""

    of: RecordedGrant
    position: int
    remedy: GrantRemedy
    before: Balance
    after: Balance
    status: GrantStatus
    """Of the whole grant, afterwards."""
    shares: tuple[Share, ...] = ()
    """Of the post that a reversal takes from, as they were before it."""
    shares_left: tuple[Share, ...] = ()
    """The same afterwards."""

    @property
    def grant(self) -> Grant:
        return self.of.grant

    @property
    def recorded(self) -> RecordedEntry:
        return self.of.entries[self.position]

    @property
    def entry(self) -> Entry:
        return self.recorded.entry

    @property
    def change(self) -> Balance:
        return self.after - self.before


def steps(of: RecordedGrant) -> Iterator[Step]:
    """The entries of a grant, one by one."""
    grant = of.grant
    remedies = {each.id: each for each in grant.remedies}
    entries = [each.entry for each in of.entries]
    before = dict.fromkeys(remedies, NOTHING)
    shares: dict[int, tuple[Share, ...]] = {}
    for position, entry in enumerate(entries):
        state = fold(grant.remedies, entries[: position + 1], grant.pending_until)
        remedy = state.remedies[entry.remedy]
        after = balance(remedy)
        left = {post.position: post.shares for post in remedy.posts}
        of_post = -1 if entry.against is None else entry.against
        yield Step(
            of,
            position,
            remedies[entry.remedy],
            before[entry.remedy],
            after,
            state.status,
            shares.get(of_post, ()),
            left.get(of_post, ()),
        )
        before[entry.remedy] = after
        shares |= left


class Decided:
    """What the record of a decision says, for whoever needs more than its columns."""

    def __init__(self, decision: RecordedDecision) -> None:
        self.decision = decision
        self.record: Mapping[str, Any] = orjson.loads(decision.content)

    @property
    def evaluation(self) -> Mapping[str, Any]:
        evaluation: Mapping[str, Any] = self.record["evaluation"]
        return evaluation

    @property
    def currency(self) -> str:
        return str(self.evaluation["currency"])

    @property
    def channel(self) -> str | None:
        channel: str | None = self.record["request"].get("channel")
        return channel

    @property
    def recommended(self) -> Mapping[str, Any] | None:
        """The plan that was recommended; None where none was offered."""
        plans = self.evaluation["plans"]
        return plans[0] if plans else None

    @cached_property
    def _rates(self) -> Mapping[str, str]:
        lines = self.record["request"]["order"].get("lines") or ()
        return {line["id"]: line["tax_rate"] for line in lines if line.get("tax_rate")}

    def tax(self, step: Step) -> int | None:
        """The tax inside what an entry moves on lines; None unless every line has a rate. Of a
        reversal, by how much less is left inside: so all of them add up to what was given."""
        if step.entry.movement is not Movement.REVERSE:
            return self._tax_inside(step.entry.shares)
        before, after = self._tax_inside(step.shares), self._tax_inside(step.shares_left)
        return None if before is None or after is None else before - after

    def _tax_inside(self, shares: Sequence[Share]) -> int | None:
        rates = [self._rates.get(share.line or "") for share in shares]
        if not rates or None in rates:
            return None
        return sum(
            tax_inside(share.minor, parse_decimal(rate))
            for share, rate in zip(shares, rates, strict=True)
            if rate is not None
        )
