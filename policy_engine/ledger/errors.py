"""What the ledger refuses, told apart by type."""

from __future__ import annotations


class LedgerError(Exception):
    """Any refusal of the ledger."""


class UnavailableError(LedgerError):
    """The database didn't answer in time, is locked, full or away. Nothing was acknowledged.

    If the connection broke during the commit, what was asked may have happened all the same:
    asking again under the same idempotency key tells.
    """

    def __init__(self, detail: str, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds

    @property
    def told(self) -> str:
        """What it says, and what the driver said: for whoever runs the service, not for callers."""
        said = str(getattr(self.__cause__, "orig", None) or "").strip().splitlines()
        return f"{self} ({said[0]})" if said else str(self)


class UntrustedLogError(UnavailableError):
    """The log in the database is not the one that a checkpoint held outside it speaks of.

    A restored backup would hand out spent headroom again, so nothing is written on it.
    """


class StillRunningError(LedgerError):
    """A call under the same idempotency key has not ended yet."""

    def __init__(self, retry_after_seconds: int = 1) -> None:
        super().__init__("a call with this idempotency key is still running; try again later")
        self.retry_after_seconds = retry_after_seconds


class IdempotencyMismatchError(LedgerError):
    """The key was used before for another call (method, path, query, agent or body differ)."""

    def __init__(self) -> None:
        super().__init__("this idempotency key was used for another call; use a new key")


class ErasedError(LedgerError):
    """What is asked for was personal, and its subject has been erased."""


class TamperedError(LedgerError):
    """Stored bytes are not those that were written: they don't open under their key."""


class CursorError(LedgerError):
    """A cursor that this instance didn't hand out for this list."""

    def __init__(self) -> None:
        super().__init__("not a cursor of this list; start again without one")


class UnknownRevisionError(LedgerError):
    """No pack of this revision is stored."""


class UnknownCredentialError(LedgerError):
    """No credential has this id."""


class SchemaError(LedgerError):
    """The database is not at the schema this release needs, or is set up with another secret."""


class SecretError(LedgerError):
    """The instance's secret can't be read or used."""
