"""What `policy-engine doctor` looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from policy_engine.ledger.errors import LedgerError
from policy_engine.ledger.ledger import Ledger
from policy_engine.settings import Settings


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `advice` says what to do where it is not ok."""

    check: str
    state: State
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What the checks look at. `ledger` is None where it can't be opened."""

    settings: Settings
    ledger: Ledger | None

    @property
    def answering(self) -> Ledger | None:
        """The ledger, if its database is there and answers."""
        file = self.settings.database_file
        if self.ledger is None or (file is not None and not file.exists()):
            return None
        try:
            self.ledger.ping()
        except LedgerError:
            return None
        return self.ledger

    @property
    def upgraded(self) -> Ledger | None:
        """The ledger, if its schema is the one that this release needs."""
        ledger = self.answering
        if ledger is None:
            return None
        try:
            ledger.check_schema()
        except LedgerError:
            return None
        return ledger


Check = Callable[[Patient], Iterator[Finding]]
"""Says nothing where it can't look: whoever looks at what it stands on says that."""
