"""Servers as a user starts them: this service, the bare echo, and Cerbos."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench import made

_READY_SECONDS = 60
THREADS = 8
"""Of our server and of the echo."""


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
    """This service on an embedded database of its own, set up through the command line."""

    folder: Path
    key: str

    @property
    def environment(self) -> dict[str, str]:
        return _environment(self.folder)

    @contextmanager
    def serving(self) -> Iterator[Running]:
        """`policy-engine serve` with its defaults: one worker, eight threads, full sync."""
        port = _free_port()
        command = [sys.executable, "-m", "policy_engine", "serve", "--port", str(port)]
        command += ["--threads", str(THREADS)]
        with _running(command, self.environment, self.folder / "serve.log", port, "/readyz") as up:
            yield up

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def set_up(folder: Path, pack: Path) -> Service:
    """A database with the pack active and a key that may decide."""
    folder.mkdir(parents=True, exist_ok=True)
    _command(folder, "db", "upgrade")
    _command(folder, "pack", "activate", str(pack))
    key = _command(
        folder, "keys", "create", "--client", "bench", "--scope", "decide", "--act-for", "agent"
    )
    return Service(folder, key.strip().splitlines()[-1])


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


def _command(folder: Path, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "policy_engine", *arguments],
        env=_environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if ran.returncode != 0:
        raise ServerFailedError(f"policy-engine {' '.join(arguments)}: {ran.stderr.strip()}")
    return ran.stdout


def _environment(folder: Path) -> dict[str, str]:
    own = ("POLICY_ENGINE_", "PROMETHEUS_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return inherited | {
        "POLICY_ENGINE_DATABASE_URL": f"sqlite:///{folder / 'bench.db'}",
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
