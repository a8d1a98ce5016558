"""`policy-engine doctor`: looks at everything the service needs, and says what to do."""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import click

from policy_engine import bootstrap
from policy_engine.cli.frame import ExitCode, show_json, show_table, verb
from policy_engine.ledger.errors import LedgerError, SchemaError, SecretError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.log.outside import CheckpointFile
from policy_engine.packs.files import PackFiles, PackFilesError
from policy_engine.packs.loading import load
from policy_engine.packs.problems import Code, Severity
from policy_engine.rete import MatcherError, best_matcher
from policy_engine.settings import Settings, SettingsError, read_settings

_CLOCK_APART = timedelta(seconds=2)
_LONGEST_DELAY = timedelta(seconds=30)
_BUILT_AFTER = datetime(2025, 1, 1, tzinfo=UTC)
_LEAST_FREE_BYTES = 200 * 2**20


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


Check = Callable[[Patient], Iterator[Finding]]


@verb("policy-engine doctor")
@click.pass_context
def doctor(ctx: click.Context, output: str) -> None:
    """Check configuration, secret key, database, migrations, active pack, log, clock and matcher.

    Exits 1 when something is wrong; a warning alone is no failure.
    """
    findings = list(examine())
    if output == "json":
        show_json([asdict(finding) for finding in findings])
    else:
        marks = {State.OK: "✓", State.WARNING: "!", State.WRONG: "✗"}
        show_table(
            ("", "check", "finding", "what to do"),
            [(marks[each.state], each.check, each.detail, each.advice or "-") for each in findings],
        )
    if any(finding.state is State.WRONG for finding in findings):
        ctx.exit(ExitCode.FAILURE)


def examine() -> Iterator[Finding]:
    """Every check in turn; one that can't go on says so and the next begins."""
    try:
        configured = read_settings()
    except SettingsError as error:
        yield Finding("configuration", State.WRONG, str(error), "see docs/settings.md")
        return
    yield Finding("configuration", State.OK, "every setting is known and usable")
    ledger = None
    try:
        ledger = bootstrap.open_ledger(configured)
    except SecretError as error:
        yield Finding("secret key", State.WRONG, str(error), "restore it, or run `db upgrade`")
    except LedgerError as error:
        yield Finding("database", State.WRONG, str(error), "set POLICY_ENGINE_DATABASE_URL")
    try:
        for check in CHECKS:
            yield from _tried(check, Patient(configured, ledger))
    finally:
        if ledger is not None:
            ledger.close()


def _tried(check: Check, patient: Patient) -> Iterator[Finding]:
    try:
        yield from check(patient)
    except Exception as error:  # noqa: BLE001 - a doctor who faints helps nobody
        name = check.__name__.removeprefix("check_").replace("_", " ")
        detail = f"{type(error).__name__}: {error}"
        yield Finding(name, State.WRONG, detail, "policy-engine db check shows more")


def check_matcher(patient: Patient) -> Iterator[Finding]:
    wanted = patient.settings.matcher
    try:
        matcher = best_matcher(wanted)
    except MatcherError as error:
        yield Finding("matcher", State.WRONG, str(error), "set POLICY_ENGINE_MATCHER=auto")
        return
    if wanted == "auto" and matcher.name == "interpreter" and sys.version_info < (3, 13):
        yield Finding(
            "matcher",
            State.WARNING,
            "durable_rules can't be imported, so the interpreter answers",
            "install a C compiler and Python's headers, then install again",
        )
        return
    yield Finding("matcher", State.OK, f"{matcher.name} answers")


def check_secret_key(patient: Patient) -> Iterator[Finding]:
    path = patient.settings.secret_path
    if patient.settings.secret_key is not None:
        yield Finding("secret key", State.OK, "taken from the environment")
    elif path is not None and path.exists():
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            detail = f"others can read `{path}` (mode {mode:04o})"
            yield Finding("secret key", State.WRONG, detail, f"chmod 600 {path}")
        else:
            yield Finding("secret key", State.OK, f"`{path}`, for its owner alone")


def check_database(patient: Patient) -> Iterator[Finding]:
    if patient.ledger is None:
        return
    kind = "embedded SQLite" if patient.settings.embedded_database else "PostgreSQL"
    file = patient.settings.database_file
    if file is not None and not file.exists():
        yield Finding("database", State.WRONG, f"no `{file}` yet", "run `policy-engine db upgrade`")
        return
    try:
        patient.ledger.ping()
    except LedgerError as error:
        advice = "start it, and check POLICY_ENGINE_DATABASE_URL and the network"
        yield Finding("database", State.WRONG, str(error), advice)
        return
    yield Finding("database", State.OK, f"{kind} answers")
    if file is not None:
        free = shutil.disk_usage(file.resolve().parent).free
        if free < _LEAST_FREE_BYTES:
            detail = f"{free // 2**20} MiB left beside `{file}`"
            yield Finding("disk", State.WARNING, detail, "make room: a full disk stops decisions")


def check_migrations(patient: Patient) -> Iterator[Finding]:
    if not _answers(patient):
        return
    assert patient.ledger is not None
    try:
        patient.ledger.check_schema()
    except SchemaError as error:
        text, _, advice = str(error).partition("; ")
        yield Finding("migrations", State.WRONG, text, advice or "see docs/operations.md")
        return
    yield Finding("migrations", State.OK, "the schema is the one this release needs")


def check_active_pack(patient: Patient) -> Iterator[Finding]:
    if not _upgraded(patient):
        return
    assert patient.ledger is not None
    active = patient.ledger.packs.active()
    if active is None:
        detail = "no pack was ever activated; the first start takes the configured folder"
        yield Finding("active pack", State.WARNING, detail, "run `policy-engine pack activate DIR`")
        return
    try:
        loaded = load(PackFiles.from_archive(patient.ledger.packs.archive(active.revision)))
    except (LedgerError, PackFilesError) as error:
        yield Finding("active pack", State.WRONG, str(error), "activate another revision")
        return
    if loaded.pack is None:
        first = next(each for each in loaded.problems if each.severity is Severity.ERROR)
        advice = "activate a pack that this release loads"
        yield Finding("active pack", State.WRONG, f"it can't be loaded: {first}", advice)
        return
    yield Finding("active pack", State.OK, f"{active.revision[:19]}… by {active.activated_by}")
    unset = sum(each.code is Code.UNCONFIRMED_PARAMETER for each in loaded.problems)
    if unset:
        detail = f"{unset} parameters hold example values"
        advice = "set them in the pack, and take them out of `unconfirmed`"
        yield Finding("active pack", State.WARNING, detail, advice)


def check_log(patient: Patient) -> Iterator[Finding]:
    if not _upgraded(patient):
        return
    assert patient.ledger is not None
    path = patient.settings.checkpoint_path
    if path is None:
        detail = "checkpoints are kept nowhere outside the database"
        advice = "set POLICY_ENGINE_CHECKPOINT_FILE, on another disk"
        yield Finding("log", State.WARNING, detail, advice)
    try:
        held = None if path is None else CheckpointFile(path).last()
        patient.ledger.log.witness(held)
        status = patient.ledger.log.status()
    except LedgerError as error:
        text, _, advice = str(error).partition("; ")
        yield Finding("log", State.WRONG, text, advice or "see docs/record.md")
        return
    if status.delay > _LONGEST_DELAY:
        detail = f"{status.waiting} records have waited up to {status.delay.seconds} s"
        advice = "see that the service runs and its log says nothing of the log's key"
        yield Finding("log", State.WARNING, detail, advice)
        return
    yield Finding("log", State.OK, f"{status.size} entries, {status.waiting} waiting")


def check_log_key(patient: Patient) -> Iterator[Finding]:
    path = patient.settings.log_key_path
    if path is None or not _upgraded(patient):
        return
    assert patient.ledger is not None
    if not path.exists():
        opened = patient.ledger.log.key() is not None
        state = State.WRONG if opened else State.WARNING
        advice = "restore it from a backup" if opened else "run `policy-engine db upgrade`"
        yield Finding("log key", state, f"no `{path}`", advice)
    elif stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("log key", State.WRONG, f"others can read `{path}`", f"chmod 600 {path}")
    else:
        yield Finding("log key", State.OK, f"`{path}`, for its owner alone")


def check_clock(patient: Patient) -> Iterator[Finding]:
    now = datetime.now(UTC)
    advice = "let NTP set the clock"
    if now < _BUILT_AFTER:
        yield Finding("clock", State.WRONG, f"it says {now:%Y-%m-%d}", advice)
        return
    if not _upgraded(patient):
        return
    assert patient.ledger is not None
    apart = abs(patient.ledger.now() - datetime.now(UTC))
    if apart > _CLOCK_APART:
        detail = f"{apart.total_seconds():.1f} s apart from the database's clock"
        yield Finding("clock", State.WRONG, detail, advice)
        return
    active = patient.ledger.packs.active()
    if active is not None and active.activated_at > now + _CLOCK_APART:
        detail = f"the last activation is at {active.activated_at:%Y-%m-%d %H:%M} UTC, ahead of it"
        yield Finding("clock", State.WRONG, detail, advice)
        return
    yield Finding("clock", State.OK, f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _answers(patient: Patient) -> bool:
    file = patient.settings.database_file
    if patient.ledger is None or (file is not None and not file.exists()):
        return False
    try:
        patient.ledger.ping()
    except LedgerError:
        return False
    return True


def _upgraded(patient: Patient) -> bool:
    if not _answers(patient):
        return False
    assert patient.ledger is not None
    try:
        patient.ledger.check_schema()
    except LedgerError:
        return False
    return True


CHECKS: tuple[Check, ...] = (
    check_matcher,
    check_secret_key,
    check_database,
    check_migrations,
    check_active_pack,
    check_log,
    check_log_key,
    check_clock,
)
"""Add a check by writing a function and naming it here."""
