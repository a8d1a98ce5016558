"""`policy-engine serve`: the HTTP service under granian."""

from __future__ import annotations

import errno
import os
import signal
import socket
import tempfile
from dataclasses import replace
from functools import partial
from math import ceil
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Any

import click

from policy_engine import bootstrap, tracing
from policy_engine.cli import connections
from policy_engine.cli.database import failures_told, opened, settings
from policy_engine.cli.development import Development, prepare_development
from policy_engine.cli.frame import CommandError, ExitCode, tell_failure, verb
from policy_engine.cli.processors import on_one
from policy_engine.settings import Settings

if TYPE_CHECKING:
    from policy_engine.api.node import Node

_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_STOP_SECONDS = 30
"""After SIGTERM the service is gone within this time, whatever is in flight."""
_CLOSE_SECONDS = 3
"""Of it, kept for what comes after the workers are killed."""
_SPARE_THREADS = 16
"""Beside those that work or wait: they refuse what is too much, and answer probes."""


@verb(
    """
    policy-engine serve --dev
    policy-engine serve --host 0.0.0.0 --port 8080 --workers 4
    """
)
@click.option("--dev", is_flag=True, help="Try it out: see below.")
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="The port.  [default: 8080]")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Worker processes; more than one needs PostgreSQL.  [default: 1]",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), help="Threads in each worker.  [default: 8]"
)
def serve(dev: bool, output: str, **chosen: Any) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C.

    Options win over the settings of docs/settings.md. Run `db upgrade` first.

    With --dev the embedded database is set up and upgraded by itself, the pack in
    POLICY_ENGINE_PACK_DIR (or the one that ships) is activated and followed as its files
    change, and a development key is printed with a first request to paste. The key may do
    anything, so keep --dev on your own machine.
    """
    del output  # there is no result: the service runs until it is stopped
    given = {name: value for name, value in chosen.items() if value is not None}
    configured = replace(settings(), dev=dev, **given)
    if dev:
        configured = replace(configured, workers=1, log_json=False)
    _check_workers(configured)
    _check_port(configured.host, configured.port)
    if configured.tracing:
        with failures_told():
            tracing.check()
    development = None
    if dev:
        development = prepare_development(configured)
    else:
        _check_ready(configured)
    with tempfile.TemporaryDirectory(prefix="policy-engine-") as folder:
        if configured.workers > 1:
            # Read by the metrics module of every worker when it is imported there.
            os.environ.setdefault(_METRICS_FOLDER, folder)
        _run(configured, development)


def _check_workers(configured: Settings) -> None:
    if configured.embedded_database and configured.workers > 1:
        raise CommandError(
            f"{configured.workers} workers can't share an embedded SQLite database",
            "use --workers 1, or set POLICY_ENGINE_DATABASE_URL to PostgreSQL",
            ExitCode.USAGE,
        )


def _check_port(host: str, port: int) -> None:
    """Say at once that the port is taken, instead of from the depths of a worker."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        raise CommandError(
            f"`{host}` is no address of this machine", "use --host 127.0.0.1 or 0.0.0.0"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"port {port} on {host} is taken",
                f"stop what listens there, or choose another: --port {port + 1}",
            ) from None
        reason = os.strerror(error.errno or 0).lower()
        raise CommandError(f"can't listen on {host}, port {port}: {reason}") from None


def _check_ready(configured: Settings) -> None:
    with opened(configured) as ledger:
        ledger.check_schema()


def _run(configured: Settings, development: Development | None) -> None:
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    from policy_engine.api import logs
    from policy_engine.api.node import Node
    from policy_engine.cli.draining import Drain

    logs.configure(configured.log_level, configured.log_json)
    logs.log.info("starting", address=_address(configured), workers=configured.workers)
    node = Node(configured)
    drain_seconds = configured.drain_time.total_seconds()
    server = Granian(
        "policy_engine",
        address=configured.host,
        port=configured.port,
        interface=Interfaces.WSGI,
        workers=configured.workers,
        blocking_threads=configured.threads + configured.queue + _SPARE_THREADS,
        **connections.bounds(configured),
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS - _CLOSE_SECONDS - ceil(drain_seconds),
        log_level=LogLevels.error,
        log_dictconfig=_SERVER_LOG,
    )
    connections.watch_bodies(configured)
    os.register_at_fork(after_in_child=_stop_at_once)
    server.on_startup(Drain(node, drain_seconds, server.signal_handler_interrupt).install)
    loader = partial(_load, configured, development, node)
    server.serve(target_loader=loader, wrap_loader=False)


def _stop_at_once() -> None:
    """Until a worker serves, SIGTERM ends it.

    It begins with the handlers of its parent, which only set a flag that nobody in the worker
    looks at: a stop while it still loads would be lost, and it would have to be killed.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


_SERVER_LOG: dict[str, Any] = {
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}
"""The server's own errors go where the log goes (`logs.configure`), in the same form; requests
are logged by the application."""


def _load(configured: Settings, development: Development | None, node: Node) -> Any:
    """Runs in each worker, after the fork: threads and connections must be its own."""
    build = partial(bootstrap.application, configured, node)
    try:
        with failures_told():
            app = on_one(build) if configured.pin_workers else build()
    except Exception as error:  # noqa: BLE001 - a worker's last words, in one line
        raise SystemExit(tell_failure(error)) from None
    if development is not None:
        address = _address(configured)
        Thread(target=_welcome, args=(address, development.welcome(address)), daemon=True).start()
    return app


def _welcome(address: str, text: str) -> None:
    """Show the first request once it can be sent."""
    from urllib.request import urlopen  # takes a while to import, and serves only here

    for _ in range(_STOP_SECONDS * 20):
        try:
            with urlopen(f"{address}/livez", timeout=2):  # noqa: S310 - our own address
                break
        except OSError:
            sleep(0.05)
    click.echo(text)


def _address(configured: Settings) -> str:
    host = f"[{configured.host}]" if ":" in configured.host else configured.host
    return f"http://{host}:{configured.port}"
