"""What `policy-engine doctor` looks at first: the machine, the database and the pack."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from policy_engine.cli.doctor_findings import Finding, Patient, State
from policy_engine.ledger.errors import LedgerError, SchemaError, UnavailableError
from policy_engine.packs.files import PackFiles, PackFilesError
from policy_engine.packs.loading import load
from policy_engine.packs.problems import Code, Severity
from policy_engine.rete import MatcherError, best_matcher

_CLOCK_APART = timedelta(seconds=2)
_BUILT_AFTER = datetime(2025, 1, 1, tzinfo=UTC)


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
        if patient.settings.embedded_database:
            advice = "check POLICY_ENGINE_DATABASE_URL, the folder's rights and the disk"
        told = error.told if isinstance(error, UnavailableError) else str(error)
        yield Finding("database", State.WRONG, told, advice)
        return
    yield Finding("database", State.OK, f"{kind} answers")


def check_migrations(patient: Patient) -> Iterator[Finding]:
    ledger = patient.answering
    if ledger is None:
        return
    try:
        ledger.check_schema()
    except SchemaError as error:
        text, _, advice = str(error).partition("; ")
        yield Finding("migrations", State.WRONG, text, advice or "see docs/operations.md")
        return
    yield Finding("migrations", State.OK, "the schema is the one this release needs")


def check_active_pack(patient: Patient) -> Iterator[Finding]:
    ledger = patient.upgraded
    if ledger is None:
        return
    active = ledger.packs.active()
    if active is None:
        detail = "no pack was ever activated; the first start takes the configured folder"
        yield Finding("active pack", State.WARNING, detail, "run `policy-engine pack activate DIR`")
        return
    try:
        files = PackFiles.from_archive(ledger.packs.archive(active.revision))
        loaded = load(files, with_suites=False)
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


def check_clock(patient: Patient) -> Iterator[Finding]:
    now = datetime.now(UTC)
    advice = "let NTP set the clock"
    if now < _BUILT_AFTER:
        yield Finding("clock", State.WRONG, f"it says {now:%Y-%m-%d}", advice)
        return
    ledger = patient.upgraded
    if ledger is None:
        return
    apart = abs(ledger.now() - datetime.now(UTC))
    if apart > _CLOCK_APART:
        detail = f"{apart.total_seconds():.1f} s apart from the database's clock"
        yield Finding("clock", State.WRONG, detail, advice)
        return
    active = ledger.packs.active()
    if active is not None and active.activated_at > now + _CLOCK_APART:
        detail = f"the last activation is at {active.activated_at:%Y-%m-%d %H:%M} UTC, ahead of it"
        yield Finding("clock", State.WRONG, detail, advice)
        return
    yield Finding("clock", State.OK, f"{now:%Y-%m-%d %H:%M:%S} UTC")
