"""The journal as text for plain-text accounting: hledger and beancount.

Both end with what the liabilities must come to, which the tools check: it is taken from the
states of the grants, not from what was posted.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Final

from policy_engine.core.money import format_minor
from policy_engine.usecases.journal import (
    Account,
    AccountType,
    Closing,
    Transaction,
)

_PLAIN: Final = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*", re.ASCII)


class JournalFormat(ABC):
    """How one tool writes accounts, transactions and what balances must be."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def lines(
        self,
        transactions: Iterable[Transaction],
        closings: Iterable[Closing],
        since: datetime,
        until: datetime,
    ) -> Iterator[str]:
        """The text, a transaction at a time; dates are those of the zone."""
        yield f"; grants from {self._date(since)} until {self._date(until)}, {self._zone}\n\n"
        for transaction in transactions:
            yield "\n".join(self.transaction(transaction, since)) + "\n\n"
        for line in self.closing(closings, until):
            yield line + "\n"

    @abstractmethod
    def transaction(self, of: Transaction, since: datetime) -> Iterator[str]: ...

    @abstractmethod
    def closing(self, closings: Iterable[Closing], until: datetime) -> Iterator[str]: ...

    def _date(self, at: datetime) -> str:
        return at.astimezone(self._zone).date().isoformat()

    def _after(self, until: datetime) -> str:
        """The first day on which all that was before `until` is over."""
        last = (until - timedelta(microseconds=1)).astimezone(self._zone).date()
        return (last + timedelta(days=1)).isoformat()


class Hledger(JournalFormat):
    """hledger (and ledger): https://hledger.org."""

    _ROOTS: Final[Mapping[AccountType, str]] = {
        AccountType.EXPENSE: "expenses:compensation",
        AccountType.LIABILITY: "liabilities:compensation",
        AccountType.SETTLEMENT: "assets:settlement",
        AccountType.BREAKAGE: "revenues:breakage",
        AccountType.OPENING: "equity:opening",
    }

    def transaction(self, of: Transaction, since: datetime) -> Iterator[str]:
        del since
        yield f"{self._date(of.at)} {of.text}"
        for name, value in _proof(of):
            yield f"    ; {name}: {value}"
        for posting in of.postings:
            amount = f"{format_minor(posting.minor, of.currency)} {of.currency}"
            yield f"    {self._account(posting.account)}  {amount}"

    def closing(self, closings: Iterable[Closing], until: datetime) -> Iterator[str]:
        yield f"{self._after(until)} what is owed"
        for each in closings:
            owed = f"{format_minor(each.minor, each.currency)} {each.currency}"
            yield f"    {self._account(each.account)}  0 {each.currency} = {owed}"

    def _account(self, account: Account) -> str:
        return ":".join(filter(None, (self._ROOTS[account.type], account.policy, account.kind)))


class Beancount(JournalFormat):
    """beancount: https://beancount.github.io."""

    _ROOTS: Final[Mapping[AccountType, str]] = {
        AccountType.EXPENSE: "Expenses:Compensation",
        AccountType.LIABILITY: "Liabilities:Compensation",
        AccountType.SETTLEMENT: "Assets:Settlement",
        AccountType.BREAKAGE: "Income:Breakage",
        AccountType.OPENING: "Equity:Opening",
    }

    def __init__(self, zone: tzinfo) -> None:
        super().__init__(zone)
        self._opened: set[Account] = set()

    def transaction(self, of: Transaction, since: datetime) -> Iterator[str]:
        for posting in of.postings:
            yield from self._open(posting.account, since)
        yield f"{self._date(of.at)} * {_quoted(of.text)}"
        for name, value in _proof(of):
            yield f"  {name}: {_quoted(value)}"
        for posting in of.postings:
            amount = f"{format_minor(posting.minor, of.currency)} {of.currency}"
            yield f"  {self._account(posting.account)}  {amount}"

    def closing(self, closings: Iterable[Closing], until: datetime) -> Iterator[str]:
        for each in closings:
            if each.account in self._opened:
                # To the minor unit: without a tolerance of its own, one more would pass.
                owed = f"{format_minor(each.minor, each.currency)} ~ 0 {each.currency}"
                yield f"{self._after(until)} balance {self._account(each.account)}  {owed}"

    def _open(self, account: Account, since: datetime) -> Iterator[str]:
        if account not in self._opened:
            self._opened.add(account)
            yield f"{self._date(since)} open {self._account(account)}"

    def _account(self, account: Account) -> str:
        policy = None if account.policy is None else _component(account.policy)
        parts = (self._ROOTS[account.type], policy, _component(account.kind))
        return ":".join(filter(None, parts))


JOURNALS: Final[Mapping[str, Callable[[tzinfo], JournalFormat]]] = {
    "hledger": Hledger,
    "beancount": Beancount,
}


def _proof(of: Transaction) -> Iterator[tuple[str, str]]:
    if of.step is None:
        return
    place = of.step.recorded.place
    yield "grant", of.step.grant.id
    yield "record", place.record_id
    yield "digest", place.digest
    if place.index is not None:
        yield "log-index", str(place.index)


def _component(name: str) -> str:
    """A part of an account's name, another one for another name: `late_parcel` → `Late-Parcel`."""
    shown = "-".join(part.capitalize() for part in re.split("[^A-Za-z0-9]+", name) if part)
    if _PLAIN.fullmatch(name):
        return shown
    digest = f"X{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{shown}-{digest}" if shown else digest


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
