"""What `policy-engine doctor` looks at besides: the log, its key, and what waits."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import time

from policy_engine import bootstrap
from policy_engine.cli.doctor_findings import Finding, Patient, State
from policy_engine.core.grants import GrantStatus
from policy_engine.core.times import format_duration
from policy_engine.ledger.errors import LedgerError, SecretError
from policy_engine.ledger.grant_shapes import GrantFilter, GrantView
from policy_engine.ledger.log.notes import NoteError
from policy_engine.ledger.log.outside import CheckpointFile

_SECOND = timedelta(seconds=1)
_LONGEST_DELAY = timedelta(seconds=30)
_LONGEST_OVERDUE = timedelta(minutes=1)
_MOST_COUNTED = 1000


def check_log(patient: Patient) -> Iterator[Finding]:
    ledger = patient.upgraded
    if ledger is None:
        return
    path = patient.settings.checkpoint_path
    if path is None:
        detail = "checkpoints are kept nowhere outside the database"
        advice = "set POLICY_ENGINE_CHECKPOINT_FILE, on another disk"
        yield Finding("log", State.WARNING, detail, advice)
    try:
        held = None if path is None else CheckpointFile(path).last()
        ledger.log.witness(held)
        status = ledger.log.status()
    except LedgerError as error:
        text, _, advice = str(error).partition("; ")
        yield Finding("log", State.WRONG, text, advice or "see docs/record.md")
        return
    if status.delay > _LONGEST_DELAY:
        detail = f"{status.waiting} records have waited up to {status.delay // _SECOND} s"
        advice = "see that the service runs and its log says nothing of the log's key"
        yield Finding("log", State.WARNING, detail, advice)
        return
    yield Finding("log", State.OK, f"{status.size} entries, {status.waiting} waiting")


def check_checkpoints(patient: Patient) -> Iterator[Finding]:
    """Is the file of checkpoints kept up? Where it isn't, it would not show a rolled-back log."""
    path = patient.settings.checkpoint_path
    ledger = patient.upgraded
    if path is None or ledger is None:
        return
    log = ledger.log
    # In this order: the file is written after the database, so it is behind only if it stays so.
    latest, key = log.checkpoint(), log.key()
    if latest is None or key is None:
        return
    try:
        held = CheckpointFile(path).last()
        size = 0 if held is None else key.open(held).size
    except (LedgerError, NoteError):
        return  # said by `check_log`
    if size < latest.size:
        yield Finding(
            "checkpoints",
            State.WARNING,
            f"`{path}` ends at {size} of {latest.size} signed entries, {_age(path)}",
            "see that the service runs here and may write it",
        )
        return
    yield Finding("checkpoints", State.OK, f"`{path}` is up to date, {_age(path)}")


def _age(path: Path) -> str:
    try:
        written = path.stat().st_mtime
    except FileNotFoundError:
        return "and was never written"
    age = timedelta(seconds=max(0, round(time() - written)))
    return f"written {format_duration(age)} ago"


def check_log_key(patient: Patient) -> Iterator[Finding]:
    path = patient.settings.log_key_path
    ledger = patient.upgraded
    if ledger is None:
        return
    if ledger.log.key() is None:
        advice = "run `policy-engine db upgrade`"
        yield Finding("log key", State.WARNING, "the log has no key yet", advice)
        return
    try:
        bootstrap.check_log_key(patient.settings, ledger)
    except SecretError as error:
        text, _, advice = str(error).partition("; ")
        yield Finding("log key", State.WRONG, text, advice)
        return
    if path is None:
        detail = "derived from the secret key, and the one that the log is signed with"
        yield Finding("log key", State.OK, detail)
    elif stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("log key", State.WRONG, f"others can read `{path}`", f"chmod 600 {path}")
    else:
        yield Finding("log key", State.OK, f"`{path}`, for its owner alone")


def check_grants(patient: Patient) -> Iterator[Finding]:
    ledger = patient.upgraded
    if ledger is None:
        return
    grants = ledger.grants
    overdue = len(grants.due(_MOST_COUNTED, since=_LONGEST_OVERDUE))
    if overdue:
        more = " or more" if overdue == _MOST_COUNTED else ""
        detail = f"{overdue}{more} have run out, and nobody has written that down"
        advice = "see that the service runs; `policy-engine grants list` writes it down as well"
        yield Finding("grants", State.WARNING, detail, advice)
        return
    waiting = grants.list(GrantFilter(status=GrantStatus.PENDING), GrantView(everything=True), 1)
    if not waiting.grants:
        yield Finding("grants", State.OK, "none waits for approval")
        return
    oldest = waiting.grants[0].grant
    detail = f"the oldest that waits was asked for at {oldest.granted_at:%Y-%m-%d %H:%M} UTC"
    yield Finding("grants", State.OK, f"{detail}, for `{oldest.approver}` to approve")
