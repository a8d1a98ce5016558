"""What the ledger asks of a database, whichever it is, and how its failures are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from policy_engine.ledger.errors import LedgerError, UnavailableError, UntrustedLogError

T = TypeVar("T")

Job = Callable[[Connection], T]
"""Work on one connection, inside a transaction that the database opens and ends."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a writing call begins: ledger time, and what is kept under its idempotency key."""

    now: datetime
    kept: tuple[bytes, bytes] | None = None
    """(fingerprint, answer_sealed) of an earlier call under the same key."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a process keeps its database, at one instant."""

    connections: int
    """Connections that are in use."""
    connections_limit: int
    calls: int
    """Calls that use a connection or wait for one."""


class Database(Protocol):
    """SQLite or PostgreSQL. Every method raises UnavailableError when the database fails."""

    @property
    def engine(self) -> Engine: ...

    def write(self, job: Job[T]) -> T:
        """Runs the job in a transaction of its own; returns only after the commit is durable.

        UntrustedLogError while writing is refused. An exception of the job rolls back all it
        wrote and is raised here. The job may run on another thread.
        """
        ...

    def write_first(self, jobs: Sequence[Job[T]]) -> tuple[list[T], Exception | None]:
        """Runs the jobs in order, each rolled back by itself, until one raises: the results of
        those before it, as durable as `write` makes them, and what was raised. A commit may be
        shared, and then its failure is all that is handed back."""
        ...

    def read(self, job: Job[T]) -> T:
        """Runs the job on one consistent snapshot; it must not write."""
        ...

    def claim(self, key_hash: bytes | None) -> AbstractContextManager[None]:
        """Holds an idempotency key while a call runs; StillRunningError if another holds it."""
        ...

    def open(self, connection: Connection, key_hash: bytes | None) -> Opening:
        """The first step inside a writing job. StillRunningError as for `claim`."""
        ...

    def now(self, connection: Connection) -> datetime:
        """Ledger time."""
        ...

    def load(self) -> Load:
        """How busy it is; asks nothing of it and waits for nothing."""
        ...

    def refuse(self, because: str | None) -> None:
        """From now on nothing is written; None: from now on it is again."""
        ...

    def forget(self) -> None:
        """Leaves no copy of what was deleted in files that the database writes ahead."""
        ...

    def close(self) -> None: ...


class Gate:
    """Lets calls in until it is closed, and is closed when the last of them has left."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False
        self.refusal: str | None = None
        """Why no call that writes is let in."""

    @property
    def calls(self) -> int:
        """How many are inside."""
        return self._inside

    @contextmanager
    def writing(self) -> Iterator[None]:
        """As `inside`, for a call that writes. UntrustedLogError."""
        if self.refusal is not None:
            raise UntrustedLogError(self.refusal)
        with self.inside():
            yield

    @contextmanager
    def inside(self) -> Iterator[None]:
        with self._changed:
            if self._closed:
                raise UnavailableError("the ledger is closed")
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def close(self) -> bool:
        """Waits for those inside; False when it was closed before."""
        with self._changed:
            first, self._closed = not self._closed, True
            self._changed.wait_for(lambda: self._inside == 0)
            return first


def load_of(gate: Gate, *engines: Engine) -> Load:
    """What passes the gate, and what the engines' pools hold."""
    pools = [engine.pool for engine in engines if isinstance(engine.pool, QueuePool)]
    return Load(
        sum(pool.checkedout() for pool in pools), sum(pool.size() for pool in pools), gate.calls
    )


@contextmanager
def failures_told() -> Iterator[None]:
    """Turns what a database or its pool raises when it can't serve into UnavailableError."""
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("every database connection is in use") from error
    except (OperationalError, InterfaceError, InternalError) as error:
        raise UnavailableError("the database can't serve at the moment") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise UnavailableError("the connection to the database broke") from error
        if type(error) is DatabaseError:  # of SQLite, whose file isn't one or can't be read
            raise LedgerError(f"the database is damaged, or is none: {error.orig}") from error
        raise


def kind_of(url: str) -> str:
    """`sqlite` or `postgresql`; LedgerError for any other database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise LedgerError("the database URL can't be read; see docs/storage.md") from error
    kind = parsed.get_backend_name()
    if kind == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise LedgerError("an SQLite database needs a file, such as `sqlite:///policy-engine.db`")
    if kind not in ("sqlite", "postgresql"):
        raise LedgerError(f"no database of kind `{kind}`; use `sqlite` or `postgresql+psycopg`")
    return kind
