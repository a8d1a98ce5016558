"""What a verification finds, and what a check of records has to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from sqlalchemy import Connection

MISFORMED: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What reading something raises that has not the form it should have."""

MOST_KEPT: Final = 200
"""Findings that are kept; of the others only the number."""


class Severity(StrEnum):
    BROKEN = "broken"
    """Stored bytes are not those that were recorded."""
    INCOMPLETE = "incomplete"
    """Something could not be looked at, so nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Where something is wrong: a table, a row of it, and the place in the log if it has one."""

    table: str
    row: str | None
    message: str
    index: int | None = None
    severity: Severity = Severity.BROKEN


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """A record whose bytes were found to be those of its leaf."""

    index: int | None
    """None while it waits for its place."""
    id: str
    kind: str
    content: bytes
    document: dict[str, Any]


class Check(Protocol):
    """One kind of thing that must hold. It sees every record once, in the order of the log, and
    then whatever is left of its own tables; it keeps nothing that grows with the log."""

    def batch(
        self, connection: Connection, records: Sequence[CheckedRecord]
    ) -> Iterator[Finding]: ...

    def end(self, connection: Connection) -> Iterator[Finding]: ...

    @property
    def counts(self) -> dict[str, int]:
        """What was looked at, for the report."""
        ...


@dataclass(slots=True)
class Report:
    """What a verification comes to."""

    findings: list[Finding] = field(default_factory=list)
    found: Counter[Severity] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=dict)
    size: int = 0
    """Entries of the log that was verified."""
    root: bytes = b""

    def add(self, finding: Finding) -> None:
        self.found[finding.severity] += 1
        if len(self.findings) < MOST_KEPT:
            self.findings.append(finding)

    @property
    def verdict(self) -> str:
        """`good`, `broken`, or `incomplete`: nothing is broken as far as could be seen."""
        if self.found[Severity.BROKEN]:
            return Severity.BROKEN.value
        return Severity.INCOMPLETE.value if self.found[Severity.INCOMPLETE] else "good"
