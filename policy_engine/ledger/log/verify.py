"""Proving the whole log again, from the bytes that are stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from policy_engine.ledger.database import Database
from policy_engine.ledger.errors import LedgerError, TamperedError, UnavailableError
from policy_engine.ledger.log.findings import Check, Finding, Report, Severity
from policy_engine.ledger.log.notes import NoteError, VerifierKey
from policy_engine.ledger.log.reading import keys_of
from policy_engine.ledger.log.rows import any_text
from policy_engine.ledger.log.walk import Progress, Walk


def verify(
    database: Database,
    checks: Sequence[Check],
    held: Iterable[str],
    key: VerifierKey | None,
    progress: Progress,
) -> Report:
    """Verifies everything on one consistent state of the database.

    `held` are checkpoints (signed notes) that somebody keeps outside; `key` the log's key as they
    know it, without which the keys in the database are taken at their word.
    """
    report = Report()
    try:
        database.read(lambda connection: _verify(connection, checks, held, key, progress, report))
    except UnavailableError as error:
        report.add(Finding("-", None, str(error), severity=Severity.INCOMPLETE))
    except OperationalError as error:
        report.add(Finding("-", None, _one_line(error), severity=Severity.INCOMPLETE))
    except (DBAPIError, LedgerError) as error:
        report.add(Finding("-", None, f"the database can't be read: {_one_line(error)}"))
    return report


def _verify(
    connection: Connection,
    checks: Sequence[Check],
    held: Iterable[str],
    key: VerifierKey | None,
    progress: Progress,
    report: Report,
) -> None:
    with any_text(connection):
        keys = _keys(connection, key, report)
        walk = Walk(connection, keys, checks, report)
        walk.run(progress)
        for number, note in enumerate(held, 1):
            _hold(walk, note, keys, report)
            report.counts["held checkpoints"] = number


def _keys(
    connection: Connection, key: VerifierKey | None, report: Report
) -> tuple[VerifierKey, ...]:
    try:
        stored = keys_of(connection)
    except (NoteError, TamperedError) as error:
        report.add(Finding("log_key", None, str(error)))
        stored = ()
    if key is None:
        return stored
    if key not in stored:
        report.add(Finding("log_key", None, "the log is not signed with the key that was given"))
    return (key,)


def _hold(walk: Walk, note: str, keys: Sequence[VerifierKey], report: Report) -> None:
    reasons = []
    for key in keys:
        try:
            checkpoint = key.open(note)
        except NoteError as error:
            reasons.append(str(error))
            continue
        walk.held(checkpoint)
        return
    row = f"held checkpoint of {note.partition(chr(10))[0]}"
    report.add(Finding("-", row, "; ".join(reasons) or "there is no key to check it with"))


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
