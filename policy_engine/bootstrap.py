"""The one composition root: settings in, services out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flask import Flask

from policy_engine import tracing
from policy_engine.core.evaluation import Engine
from policy_engine.core.policy import Pack
from policy_engine.core.semantics import current_engine
from policy_engine.ledger.errors import SchemaError, SecretError, UntrustedLogError
from policy_engine.ledger.ids import new_id
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.log.notes import SigningKey
from policy_engine.ledger.log.outside import CheckpointFile
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.packs.holder import ActivePack, PackState
from policy_engine.rete import best_matcher
from policy_engine.settings import Settings
from policy_engine.usecases import packs
from policy_engine.usecases.credentials import CredentialDoor
from policy_engine.usecases.following import PackFollower
from policy_engine.usecases.keeping import LogKeeper, LogState
from policy_engine.usecases.library import Library
from policy_engine.usecases.services import Services
from policy_engine.usecases.sweeping import Sweeper
from policy_engine.usecases.tokens import TokenDoor

if TYPE_CHECKING:
    from policy_engine.api.node import Node


def open_ledger(settings: Settings, *, create_secret: bool = False) -> Ledger:
    """The ledger of these settings; nothing is connected yet. SecretError, LedgerError.

    `create_secret`: a new instance may make its secret; otherwise the file must be there.
    """
    return Ledger.open(
        settings.database_url,
        instance_secret(settings, create=create_secret),
        timeout=settings.database_timeout,
        pool_size=settings.database_pool_size,
    )


def instance_secret(settings: Settings, *, create: bool = False) -> InstanceSecret:
    """From the setting, else from its file, else from a file beside the embedded database."""
    if settings.secret_key is not None:
        return InstanceSecret(settings.secret_key)
    path, database = settings.secret_path, settings.database_file
    if path is None:
        raise SecretError(
            "a database server needs a secret key; set `POLICY_ENGINE_SECRET_KEY_FILE` (or "
            "`POLICY_ENGINE_SECRET_KEY`), the same on every node"
        )
    # A database that is there has a secret already; a new one would only hide that it is lost.
    return InstanceSecret.from_file(path, create=create and not (database and database.exists()))


def open_log(settings: Settings, ledger: Ledger, by: str) -> SigningKey:
    """The key that signs the log. The first time its file is made and its public half recorded.

    Raises SecretError where the file is lost or is that of another log.
    """
    path = settings.log_key_path
    if path is None:
        return ledger.log.open_with(instance_secret(settings), by)
    return ledger.log.open_with(_log_secret(path, create=ledger.log.key() is None), by)


def check_log_key(settings: Settings, ledger: Ledger) -> None:
    """SecretError unless the log's key is at hand and the one that the log is signed with."""
    path = settings.log_key_path
    ledger.log.expect(instance_secret(settings) if path is None else _log_secret(path))


def _log_secret(path: Path, *, create: bool = False) -> InstanceSecret:
    return InstanceSecret.from_file(path, create=create, what="log's key")


def watch_log(settings: Settings, ledger: Ledger) -> None:
    """Lets nothing be written on a database that doesn't hold what the last checkpoint outside
    it says. A process that stays keeps the log instead (`log_keeper`)."""
    path = settings.checkpoint_path
    held = None if path is None else CheckpointFile(path).last()
    if held is None:
        return
    try:
        ledger.check_schema()
        ledger.log.witness(held)
    except SchemaError:
        return  # nothing can be written on it anyhow
    except UntrustedLogError as error:
        ledger.log.refuse_writing(str(error))


def log_keeper(
    settings: Settings, ledger: Ledger, told: Callable[[LogState], None] = lambda _state: None
) -> LogKeeper:
    """What keeps the log in this process; not started yet."""
    path = settings.checkpoint_path
    return LogKeeper(
        ledger,
        lambda: open_log(settings, ledger, by="first start"),
        None if path is None else CheckpointFile(path),
        settings.log_every,
        told,
    )


def build(settings: Settings, ledger: Ledger | None = None) -> Services:
    """The services of one process. Build them after a worker was forked: they hold threads."""
    matcher = best_matcher(settings.matcher)

    def engine(pack: Pack) -> Engine:
        return current_engine(pack, matcher)

    opened = ledger or open_ledger(settings)
    tokens = None if settings.jwt is None else TokenDoor(settings.jwt)
    return Services(
        settings=settings,
        ledger=opened,
        packs=ActivePack(engine),
        library=Library(opened.packs),
        credentials=CredentialDoor(opened.credentials, tokens),
        matcher_name=matcher.name,
        clock=lambda: datetime.now(UTC),
        new_id=new_id,
    )


def application(settings: Settings, node: Node | None = None) -> Flask:
    """The WSGI application of one worker, with its pack and whatever keeps it up to date.

    `node` is what it shares with other workers, made before they were forked.
    """
    from policy_engine.api import gauges, logs, metrics, traces
    from policy_engine.api.app import create_app

    logs.configure(settings.log_level, settings.log_json)
    if settings.tracing:
        tracing.start()
    services = build(settings, open_ledger(settings, create_secret=settings.dev))
    if settings.dev and settings.embedded_database:
        services.ledger.upgrade()
    services.ledger.check_schema()
    keeper = log_keeper(settings, services.ledger, gauges.LogGauges().show)
    # Before anything is written: on a restored backup nothing may be.
    keeper.start()
    activate_first(services)
    metrics.MATCHER_INFO.labels(services.matcher_name).set(1)
    follower = follow(services, gauges.PackGauges().show)
    sweeper = Sweeper(services)
    sweeper.start()
    app = create_app(services, node)
    load = gauges.LoadGauges(services.ledger, app.extensions["policy_engine.turns"])
    load.start()
    # A forked worker leaves without `atexit`; this is called there as in any other process.
    Finalize(None, _close, args=(services, follower, sweeper, load, keeper), exitpriority=10)
    if settings.tracing:
        traces.install(app)
    return app


def follow(services: Services, told: Callable[[PackState], None]) -> PackFollower:
    """Start following the active pack, and in development the pack's folder."""
    settings = services.settings
    folder = settings.pack_folder if settings.dev else None
    follower = PackFollower(services, settings.pack_poll, told, folder)
    follower.start()
    return follower


def activate_first(services: Services) -> None:
    """Where nothing was ever active, begin with the configured folder, or the pack that ships."""
    if services.ledger.packs.active() is None:
        packs.activate_folder(services, services.settings.pack_folder, by="first start")


class _Kept(Protocol):
    def stop(self) -> None: ...


def _close(services: Services, *threads: _Kept) -> None:
    for each in threads:
        each.stop()
    services.packs.close()
    services.ledger.close()
    tracing.stop()
