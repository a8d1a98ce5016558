"""Grants as double entries: what each entry moves between a few accounts.

An amount that is granted is an expense, and a liability until the customer has used it, it is
taken back, or it expires; what expires is income (breakage). What is only set aside for approval
moves nothing. The parts of a transaction always add up to zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from policy_engine.core.grants import fold
from policy_engine.ledger.history import History, RecordedGrant
from policy_engine.usecases.accounts import Step, balance, steps


class AccountType(StrEnum):
    EXPENSE = "expense"
    """By policy and kind of remedy; the other accounts are by kind alone."""
    LIABILITY = "liability"
    SETTLEMENT = "settlement"
    """What was used or carried out: the shop's sales and cash accounts go on from here."""
    BREAKAGE = "breakage"
    OPENING = "opening"


@dataclass(frozen=True, slots=True, order=True)
class Account:
    type: AccountType
    kind: str
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Posting:
    """`minor` units of the transaction's currency; what is owed or earned is negative."""

    account: Account
    minor: int


@dataclass(frozen=True, slots=True)
class Transaction:
    at: datetime
    text: str
    currency: str
    postings: tuple[Posting, ...]
    step: Step | None = None
    """None: the balances that the journal begins with."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What the liability of a kind must come to when all is posted."""

    account: Account
    currency: str
    minor: int


def transactions(history: History, since: datetime, until: datetime) -> Iterator[Transaction]:
    """What was carried forward, then the entries made in [since, until), grant by grant."""
    yield from _opening(history, since)
    for grant in history.grants(until, since=since):
        for step in steps(grant):
            postings = _postings(step)
            if step.entry.at >= since and postings:
                yield Transaction(
                    step.entry.at,
                    f"{step.entry.movement} {step.remedy.kind} {step.grant.plan}",
                    step.grant.currency,
                    postings,
                    step,
                )


def closings(history: History, until: datetime) -> list[Closing]:
    """The liabilities at `until`, from the states of the grants and not from what was posted."""
    return [
        Closing(account, currency, -minor)
        for (account, currency), minor in sorted(_owed(history.grants(until)).items())
    ]


def _opening(history: History, since: datetime) -> Iterator[Transaction]:
    for (account, currency), minor in sorted(_owed(history.grants(since)).items()):
        if minor:
            postings = (
                Posting(account, -minor),
                Posting(Account(AccountType.OPENING, account.kind), minor),
            )
            yield Transaction(since, f"carried forward: {account.kind}", currency, postings)


def _owed(grants: Iterator[RecordedGrant]) -> dict[tuple[Account, str], int]:
    owed: dict[tuple[Account, str], int] = defaultdict(int)
    for each in grants:
        grant = each.grant
        state = fold(grant.remedies, [one.entry for one in each.entries], grant.pending_until)
        for of in state.remedies.values():
            account = Account(AccountType.LIABILITY, of.remedy.kind.value)
            owed[(account, grant.currency)] += balance(of).outstanding
    return owed


def _postings(step: Step) -> tuple[Posting, ...]:
    change, kind = step.change, step.remedy.kind.value
    moved = (
        (Account(AccountType.EXPENSE, kind, step.remedy.policy), change.granted - change.reversed),
        (Account(AccountType.LIABILITY, kind), -change.outstanding),
        (Account(AccountType.SETTLEMENT, kind), -change.redeemed),
        (Account(AccountType.BREAKAGE, kind), -change.expired),
    )
    return tuple(Posting(account, minor) for account, minor in moved if minor)
