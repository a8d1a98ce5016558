"""`policy-engine doctor`: looks at everything the service needs, and says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from policy_engine import bootstrap
from policy_engine.cli import doctor_ledger, doctor_machine, doctor_service
from policy_engine.cli.doctor_findings import Check, Finding, Patient, State
from policy_engine.cli.frame import ExitCode, show_json, show_table, verb
from policy_engine.ledger.errors import LedgerError, SecretError
from policy_engine.settings import SettingsError, read_settings


@verb("policy-engine doctor")
@click.pass_context
def doctor(ctx: click.Context, output: str) -> None:
    """Check whether the service can run here, and say what to do where it can't.

    Looks at the configuration, the matcher, the secret key, who can change files, free disk, the
    database, its migrations, its server and the role, the active pack, the log with its
    checkpoints and key, grants that wait, API keys, the tokens' issuer, tracing and the clock.
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


CHECKS: tuple[Check, ...] = (
    doctor_service.check_matcher,
    doctor_service.check_secret_key,
    doctor_machine.check_files,
    doctor_machine.check_disk,
    doctor_service.check_database,
    doctor_service.check_migrations,
    doctor_machine.check_server,
    doctor_service.check_active_pack,
    doctor_ledger.check_log,
    doctor_ledger.check_checkpoints,
    doctor_ledger.check_log_key,
    doctor_ledger.check_grants,
    doctor_machine.check_keys,
    doctor_machine.check_issuer,
    doctor_machine.check_tracing,
    doctor_service.check_clock,
)
"""Add a check by writing a function and naming it here."""
