"""A server process that may be attacked, and everybody who is served by it."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import CredentialTerms
from tests.api.conftest import late_order
from tests.api.serving import Reply, Server
from tests.api.test_credentials import AUDIENCE, ISSUER
from tests.api.test_credentials import jwks as published
from tests.grants.conftest import COUPON, PACK
from tests.hostile.raw import Said, conversation

SECONDS = 2.0
"""What the attacked server allows a connection for a head, and a call for its body."""

VARIABLES = {
    "RATE_LIMIT": "0",
    "RATE_LIMIT_ANONYMOUS": "0",
    "IDLE_TIMEOUT": f"PT{SECONDS}S",
    "BODY_TIMEOUT": f"PT{SECONDS}S",
    "JWT_ISSUER": ISSUER,
    "JWT_AUDIENCE": AUDIENCE,
}


@dataclass
class Fortress:
    """A running server with keys for two clients that have nothing to do with each other."""

    server: Server
    log_file: Path
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def key(self, *scopes: str, client: str = "helpdesk", person: Agent | None = None) -> str:
        """The key of a client, for a person or (without one) for whom the body names."""
        name = f"{client} {person} {scopes}"
        if name not in self.keys:
            ledger = self.server.ledger()
            try:
                ceiling = None if person else "supervisor"
                terms = CredentialTerms(
                    client=client, scopes=frozenset(scopes), person=person, ceiling=ceiling
                )
                self.keys[name] = ledger.credentials.create(terms, "tests").key
            finally:
                ledger.close()
        return self.keys[name]

    def send(self, method: str, path: str, key: str | None = None, **what: Any) -> Reply:
        """`body`, `headers`: as `Server.send` takes them."""
        return self.server.send(method, path, key, **what)

    def decide(self, key: str | None = None, headers: Any = None, **changes: Any) -> Reply:
        key = key or self.key("decide")
        return self.send("POST", "/v1/decisions", key, body=late_order(**changes), headers=headers)

    def decided(self, key: str | None = None, **changes: Any) -> dict[str, Any]:
        changes.setdefault("order__id", str(uuid4()))
        changes.setdefault("customer__id", str(uuid4()))
        reply = self.decide(key, **changes)
        assert reply.status == 201, reply.body
        decision: dict[str, Any] = reply.json
        return decision

    def granted(self, key: str, **changes: Any) -> dict[str, Any]:
        decision = self.decided(key, **changes)
        body = {"decision_id": decision["decision_id"], "plan": COUPON}
        if "agent" in changes:
            body["agent"] = changes["agent"]
        reply = self.send("POST", "/v1/grants", key, body=body)
        assert reply.status == 201, reply.body
        grant: dict[str, Any] = reply.json
        return grant

    def talk(self, *pieces: bytes, **how: Any) -> Said:
        """What the server says to these bytes on one connection, until it closes or is silent."""
        return conversation(self.port, *pieces, **how)

    def head(self, *lines: str, key: str | None = None, body: bytes | None = None) -> bytes:
        """The head of a decision's request: usual headers, then these lines."""
        key = key or self.key("decide")
        usual = [
            "POST /v1/decisions HTTP/1.1",
            "Host: shop",
            f"Authorization: Bearer {key}",
            f"Idempotency-Key: {uuid4()}",
            "Content-Type: application/json",
        ]
        if body is not None:
            usual.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*usual, *lines, "", ""]).encode("latin-1")

    def is_well(self) -> None:
        """Somebody who means well is served."""
        assert self.decide(order__id=str(uuid4())).status == 201


def order_bytes(**changes: Any) -> bytes:
    return json.dumps(late_order(**{"order__id": str(uuid4()), **changes})).encode()


def talkative_pack(folder: Path) -> Path:
    """The pack of the grants' tests, with a fact of the caller's and a script that repeats."""
    shutil.copytree(PACK, folder)
    with (folder / "facts.yaml").open("a") as facts:
        facts.write("  shop.note: {type: string, from: request}\n")
        facts.write("  shop.campaign: {type: boolean, from: request}\n")
    with (folder / "shipping_delay.yaml").open("a") as policy:
        policy.write("message: hello\n")
    (folder / "messages").mkdir()
    opening = "Dear {{ customer_name }}, about {{ order_id }}:"
    script = f'scripts:\n  hello:\n    offer:\n      opening: "{opening}"\n'
    (folder / "messages" / "en.yaml").write_text(script)
    return folder


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    """One server for a module of attacks; each test leaves it well."""
    folder = tmp_path_factory.mktemp("fortress")
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps(published()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(
        f"sqlite:///{folder / 'policy-engine.db'}",
        port,
        folder,
        pack=talkative_pack(folder / "pack"),
        variables={**VARIABLES, "JWT_JWKS_FILE": str(jwks)},
    )
    with server:
        yield Fortress(server, folder / "server.log")


@pytest.fixture(autouse=True)
def no_fault_of_ours(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever was tried: nothing unexpected happened inside, and the server goes on serving."""
    if "fortress" not in request.fixturenames:
        yield
        return
    attacked: Fortress = request.getfixturevalue("fortress")
    before = len(attacked.log)
    yield
    said = attacked.log[before:]
    for trace in ("unexpected error", "Traceback", "panicked", "INTERNAL_ERROR"):
        assert trace not in said, said[-3000:]
    attacked.is_well()
