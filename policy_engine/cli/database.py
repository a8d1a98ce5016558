"""Opens the service's database for a verb, and tells what is wrong with it in a line."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

import click

from policy_engine import bootstrap
from policy_engine.cli.frame import CommandError, ExitCode
from policy_engine.ledger.errors import (
    IdempotencyMismatchError,
    LedgerError,
    StillRunningError,
    UnavailableError,
    UntrustedLogError,
)
from policy_engine.ledger.ledger import Ledger
from policy_engine.packs.holder import NoPackError
from policy_engine.rete import MatcherError
from policy_engine.settings import Settings, SettingsError, read_settings
from policy_engine.tracing import TracingError
from policy_engine.usecases import packs
from policy_engine.usecases.errors import UseCaseError
from policy_engine.usecases.services import Services

by_option = click.option(
    "--by",
    metavar="WHO",
    default=getpass.getuser,
    show_default="the user of this machine",
    help="Who does this, for the record.",
)


def settings() -> Settings:
    """The settings of this process; CommandError names what is wrong with them."""
    try:
        return read_settings()
    except SettingsError as error:
        raise CommandError(
            str(error), "docs/settings.md lists every setting", ExitCode.USAGE
        ) from None


@contextmanager
def failures_told() -> Iterator[None]:
    """What the rooms below refuse, as one line with a hint."""
    try:
        yield
    except UntrustedLogError as error:
        raise CommandError(
            f"nothing is written on this database: {error}",
            "docs/record.md says how to go on after a restore",
        ) from error
    except UnavailableError as error:
        raise CommandError(
            error.told, "check POLICY_ENGINE_DATABASE_URL; `policy-engine doctor` looks closer"
        ) from error
    except (IdempotencyMismatchError, StillRunningError) as error:
        raise CommandError(str(error)) from error
    except LedgerError as error:
        raise CommandError(str(error), "`policy-engine doctor` looks closer") from error
    except UseCaseError as error:
        raise CommandError(f"{error.detail} [{error.code}]", _more(error)) from error
    except NoPackError as error:
        raise CommandError(str(error), "run `policy-engine pack activate DIR`") from error
    except MatcherError as error:
        raise CommandError(str(error)) from error
    except TracingError as error:
        text, _, advice = str(error).partition("; ")
        raise CommandError(text, advice) from error


def _more(error: UseCaseError) -> str | None:
    """What a program is told besides, in words."""
    return "; ".join(_named(name, value) for name, value in error.more.items()) or None


def _named(name: str, value: object) -> str:
    return f"{name.replace('_', ' ')} {_in_words(value)}"


def _in_words(value: object) -> str:
    match value:
        case {"amount": amount, "currency": currency}:
            return f"{amount} {currency}"
        case dict():
            return ", ".join(_named(name, each) for name, each in value.items())
        case list():
            return " / ".join(_in_words(each) for each in value)
        case _:
            return "none" if value is None else f"`{value}`"


@contextmanager
def opened(configured: Settings, *, create_secret: bool = False) -> Iterator[Ledger]:
    """The ledger of these settings, closed afterwards."""
    with failures_told():
        ledger = bootstrap.open_ledger(configured, create_secret=create_secret)
        try:
            bootstrap.watch_log(configured, ledger)
            yield ledger
        finally:
            ledger.close()


@contextmanager
def opened_ledger(*, create_secret: bool = False) -> Iterator[Ledger]:
    """The ledger of this process's settings, closed afterwards."""
    with opened(settings(), create_secret=create_secret) as ledger:
        yield ledger


@contextmanager
def opened_services(*, with_pack: bool = False) -> Iterator[Services]:
    """The services over an up-to-date database, closed afterwards; `with_pack`: they use the
    active pack, as a node that serves does."""
    with failures_told():
        configured = settings()
        services = bootstrap.build(configured)
        try:
            services.ledger.check_schema()
            bootstrap.watch_log(configured, services.ledger)
            if with_pack:
                packs.follow(services)
            yield services
        finally:
            services.packs.close()
            services.ledger.close()


@contextmanager
def keeping_log(services: Services) -> Iterator[None]:
    """Meanwhile records get their places in the log, also where no service runs."""
    keeper = bootstrap.log_keeper(services.settings, services.ledger)
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()
