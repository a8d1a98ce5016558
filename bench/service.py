"""Servers as a user starts them: this service, the bare echo, and Cerbos."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine

from bench import made

_READY_SECONDS = 60
_SETTLE_SECONDS = 120
THREADS = 8
"""Of our server and of the echo."""
WORKERS = 2
"""Of our server on PostgreSQL, as docs/operations.md says for two processors."""


class ServerFailedError(Exception):
    """A server that didn't come up; the message ends with its last log line."""


@dataclass(frozen=True)
class Running:
    """A server that answers on 127.0.0.1."""

    port: int
    process: subprocess.Popen[bytes]
    ready_seconds: float

    def worker_kib(self) -> int:
        """What the worker (or, without one, the server) holds in memory: resident KiB."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        workers = [int(each) for each in children.read_text().split()] or [self.process.pid]
        return max(_resident_kib(worker) for worker in workers)


@dataclass(frozen=True)
class Service:
    """This service on a database of its own, set up through the command line."""

    folder: Path
    database: str
    """Its SQLAlchemy URL."""
    key: str

    @contextmanager
    def serving(self, module: str = "policy_engine", *, pinned: bool = True) -> Iterator[Running]:
        """`policy-engine serve` with eight threads a worker: one worker on SQLite, two on
        PostgreSQL. `module` is run in its place. Of two servers that are compared side by side
        neither may be pinned: the first would leave the other no processor."""
        port = _free_port()
        command = [sys.executable, "-m", module, "serve", "--port", str(port)]
        command += ["--threads", str(THREADS)]
        command += [] if self.database.startswith("sqlite") else ["--workers", str(WORKERS)]
        environment = _environment(self.folder, self.database)
        environment["POLICY_ENGINE_PIN_WORKERS"] = str(pinned).lower()
        with _running(command, environment, self.folder / "serve.log", port, "/readyz") as up:
            yield up

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def command(self, *arguments: str) -> str:
        """What `policy-engine` prints; ServerFailedError unless it ends well."""
        return _command(self.folder, self.database, *arguments)

    def column(self, statement: str) -> list[Any]:
        """What a query of one column gives, past the service."""
        engine = create_engine(self.database, poolclass=NullPool)
        with engine.connect() as connection:
            return list(connection.exec_driver_sql(statement).scalars())

    def ask(self, statement: str) -> int:
        """The one number that a query gives; nothing counts as 0."""
        return int(self.column(statement)[0] or 0)

    def waiting(self) -> int:
        """Records that have no place in the log yet."""
        return self.ask("SELECT count(*) FROM outbox")

    def settle(self) -> None:
        """Wait until the log has caught up, so that no work of one measurement is left for the
        next."""
        until = time.perf_counter() + _SETTLE_SECONDS
        while self.waiting():
            if time.perf_counter() > until:
                raise ServerFailedError(f"the log is behind after {_SETTLE_SECONDS} s")
            time.sleep(0.1)


def set_up(
    folder: Path, pack: Path, database: str | None = None, scopes: Sequence[str] = ("decide",)
) -> Service:
    """A database (else an SQLite file) with the pack active, and a key of these scopes."""
    folder.mkdir(parents=True, exist_ok=True)
    database = database or f"sqlite:///{folder / 'bench.db'}"
    _command(folder, database, "db", "upgrade")
    _command(folder, database, "pack", "activate", str(pack))
    words = ["--client", "bench", "--act-for", "agent"]
    words += [word for scope in scopes for word in ("--scope", scope)]
    key = _command(folder, database, "keys", "create", *words)
    return Service(folder, database, key.strip().splitlines()[-1])


def pack_folder(folder: Path, files: dict[str, str]) -> Path:
    """The files as a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@contextmanager
def echo(folder: Path) -> Iterator[Running]:
    """The bare echo under the same server with the same settings."""
    port = _free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bench.echo", str(port), str(THREADS)]
    with _running(command, dict(os.environ), folder / "echo.log", port, "/") as up:
        yield up


@contextmanager
def cerbos(binary: Path, folder: Path) -> Iterator[Running]:
    """Cerbos with its decision log in a file and no log of requests."""
    port = _free_port()
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    (policies / "order.json").write_text(made.cerbos_policy())
    configuration = {
        "server": {
            "httpListenAddr": f"127.0.0.1:{port}",
            "grpcListenAddr": f"127.0.0.1:{_free_port()}",
        },
        "storage": {"driver": "disk", "disk": {"directory": str(policies)}},
        "telemetry": {"disabled": True},
        "audit": {
            "enabled": True,
            "accessLogsEnabled": False,
            "decisionLogsEnabled": True,
            "backend": "file",
            "file": {"path": str(folder / "decisions.log")},
        },
    }
    file = folder / "cerbos.json"
    file.write_text(json.dumps(configuration))
    command = [str(binary), "server", f"--config={file}", "--log-level=error"]
    log = folder / "cerbos.log"
    with _running(command, dict(os.environ), log, port, "/_cerbos/health") as up:
        yield up


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], log: Path, port: int, ready: str
) -> Iterator[Running]:
    began = time.perf_counter()
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            _wait(process, port, ready, log)
            yield Running(port, process, time.perf_counter() - began)
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], port: int, ready: str, log: Path) -> None:
    until = time.perf_counter() + _READY_SECONDS
    while time.perf_counter() < until and process.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", ready)
            if connection.getresponse().status < 400:
                return
        except (OSError, HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.01)
    raise ServerFailedError("\n".join(log.read_text().splitlines()[-5:]) or "no word of it")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL for whatever of it is left after ten seconds."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _command(folder: Path, database: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "policy_engine", *arguments],
        env=_environment(folder, database),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if ran.returncode != 0:
        raise ServerFailedError(f"policy-engine {' '.join(arguments)}: {ran.stderr.strip()}")
    return ran.stdout


def _environment(folder: Path, database: str) -> dict[str, str]:
    own = ("POLICY_ENGINE_", "PROMETHEUS_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return inherited | {
        "POLICY_ENGINE_DATABASE_URL": database,
        "POLICY_ENGINE_SECRET_KEY_FILE": str(folder / "secret.key"),
        "POLICY_ENGINE_CHECKPOINT_FILE": str(folder / "checkpoints"),
        # No proxy has to notice that a server of the bench stops.
        "POLICY_ENGINE_DRAIN": "PT0S",
        # One client sends as much as the service can take.
        "POLICY_ENGINE_RATE_LIMIT": "0",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _resident_kib(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
