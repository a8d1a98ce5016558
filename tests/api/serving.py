"""A real server process on a free loopback port, and what a client of it needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

from policy_engine import bootstrap
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.settings import Settings
from tests.api.conftest import PACK, SECRET


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ServerEndedError(Exception):
    """The server ended before it was ready; the text is its log."""


class Server:
    """`policy-engine serve` as a user starts it. Use it as a context manager."""

    def __init__(
        self,
        url: str,
        port: int,
        folder: Path,
        *,
        workers: int = 1,
        pack: Path = PACK,
        variables: Mapping[str, str] | None = None,
    ):
        """`variables`: further settings, by their names after `POLICY_ENGINE_`."""
        self.url = url
        self.port = port
        self._folder = folder
        self._workers = workers
        self._pack = pack
        self._variables = dict(variables or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return Settings(database_url=self.url, secret_key=SECRET)

    def ledger(self) -> Ledger:
        return bootstrap.open_ledger(self.settings)

    def key(self, *scopes: str, ceiling: str = "supervisor") -> str:
        ledger = self.ledger()
        try:
            terms = CredentialTerms("helpdesk", frozenset(scopes), ceiling=ceiling)
            return ledger.credentials.create(terms, "tests").key
        finally:
            ledger.close()

    def __enter__(self) -> Server:
        ledger = self.ledger()
        ledger.upgrade()
        ledger.close()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("POLICY_ENGINE_", "PROMETHEUS_"))
        }
        environment |= {
            "POLICY_ENGINE_DATABASE_URL": self.url,
            "POLICY_ENGINE_SECRET_KEY": SECRET,
            "POLICY_ENGINE_PACK_DIR": str(self._pack),
            # One client of a test calls as often as a hundred real ones.
            "POLICY_ENGINE_RATE_LIMIT": "0",
            # Killed, it can't clear its own folder away; there it goes with the test's.
            "TMPDIR": str(self._folder),
        }
        environment |= {f"POLICY_ENGINE_{name}": text for name, text in self._variables.items()}
        command = [sys.executable, "-m", "policy_engine", "serve", "--port", str(self.port)]
        with (self._folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--workers", str(self._workers)],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_ready()

    def workers(self) -> list[int]:
        """The processes that answer, as the kernel knows them."""
        assert self.process is not None
        number = self.process.pid
        children = Path(f"/proc/{number}/task/{number}/children")
        return [int(each) for each in children.read_text().split()]

    def comes_back(self) -> bool:
        """Waits until it serves again after its workers were killed. It gives up where they die
        again and again within seconds: then it is started anew, and False."""
        assert self.process is not None
        try:
            self._wait_until_ready()
        except ServerEndedError:
            self.process.wait()
            self.start()
            return False
        return True

    def kill(self) -> None:
        """SIGKILL to the server and all its workers at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def send(
        self,
        method: str,
        path: str,
        credential: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        sent = {"Idempotency-Key": str(uuid4())} if method == "POST" else {}
        if credential is not None:
            sent["Authorization"] = f"Bearer {credential}"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, data, sent | dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def _wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + 30
        while True:
            assert self.process is not None
            log = self._folder / "server.log"
            if self.process.poll() is not None:
                raise ServerEndedError(log.read_text())
            try:
                if self.send("GET", "/readyz").status == 200:
                    return
            except OSError:
                pass
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.05)
