"""The API over each database, with keys for every kind of caller."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from policy_engine import bootstrap
from policy_engine.api.app import create_app
from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.settings import JwtSettings, Settings
from policy_engine.usecases import packs
from policy_engine.usecases.services import Services

PACK = Path(__file__).parent / "pack"
SECRET = "a secret of the tests, long enough"

LATE_ORDER: dict[str, Any] = {
    "order": {
        "id": "SO-1",
        "currency": "CNY",
        "promised_delivery_by": "2026-06-01T00:00:00+08:00",
        "shipping_paid": "0.00",
        "lines": [{"id": "1", "quantity": 1, "paid": "800.00"}],
    },
    "incident": {"types": ["shipping_delay"]},
    "customer": {"id": "C-1", "tier": "standard"},
    "agent": {"id": "A-7", "role": "agent"},
}


def late_order(**changes: Any) -> dict[str, Any]:
    """An order that is late; dotted names set what lies deeper: `order__id="SO-2"`."""
    body = copy.deepcopy(LATE_ORDER)
    for name, value in changes.items():
        *path, last = name.split("__")
        at = body
        for step in path:
            at = at.setdefault(step, {})
        at[last] = value
    return body


@dataclass
class Api:
    """The app with its services, and a client that sends what it is told and nothing else."""

    app: Flask
    services: Services

    def key(
        self,
        *scopes: str,
        client: str = "helpdesk",
        ceiling: str | None = "supervisor",
        person: Agent | None = None,
        roster: dict[str, str] | None = None,
    ) -> str:
        terms = CredentialTerms(
            client=client,
            scopes=frozenset(scopes or ("decide",)),
            person=person,
            ceiling=None if person else ceiling,
            roster=roster,
        )
        return self.services.ledger.credentials.create(terms, "tests").key

    def send(
        self,
        method: str,
        path: str,
        credential: str | None = None,
        *,
        idempotency_key: str | None = "fresh",
        headers: dict[str, str] | None = None,
        **what: Any,
    ) -> TestResponse:
        sent = dict(headers or {})
        if credential is not None:
            sent.setdefault("Authorization", f"Bearer {credential}")
        if method == "POST" and idempotency_key is not None:
            fresh = idempotency_key == "fresh"
            sent.setdefault("Idempotency-Key", str(uuid4()) if fresh else idempotency_key)
        answer = self.app.test_client().open(path, method=method, headers=sent, **what)
        self._check(method, path, answer)
        return answer

    def decide(self, credential: str, body: Any = None, **options: Any) -> TestResponse:
        body = late_order() if body is None else body
        return self.send("POST", "/v1/decisions", credential, json=body, **options)

    def _check(self, method: str, path: str, answer: TestResponse) -> None:
        """Every JSON answer of the suite is as the API document says."""
        if answer.status_code >= 400:
            assert answer.mimetype in ("application/problem+json", "application/json")
        if not answer.mimetype.endswith("json") or method == "HEAD":
            return
        operation = self._operation(method, path.partition("?")[0])
        if operation is None:
            return
        document = self.app.extensions["api"].spec.to_dict()
        status = str(answer.status_code)
        assert status in operation["responses"], f"{method} {path} answered {status}"
        described = operation["responses"][status]
        if "$ref" in described:
            described = document["components"]["responses"][described["$ref"].split("/")[-1]]
        schema = described["content"][answer.mimetype]["schema"]
        jsonschema.validate(
            answer.json,
            {**schema, "components": document["components"]},
            cls=jsonschema.Draft202012Validator,
        )

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        paths = self.app.extensions["api"].spec.to_dict()["paths"]
        steps = path.split("/")
        for known, item in sorted(paths.items()):
            template = known.split("/")
            if len(template) == len(steps) and all(
                wanted.startswith("{") or wanted == step
                for wanted, step in zip(template, steps, strict=True)
            ):
                exact = paths.get(path, item)
                found: dict[str, Any] | None = exact.get(method.lower())
                return found
        return None


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One API for a module of tests that don't look at what others did."""
    file = tmp_path_factory.mktemp("api") / "policy-engine.db"
    settings = Settings(database_url=f"sqlite:///{file}", secret_key=SECRET)
    services = bootstrap.build(settings)
    services.ledger.upgrade()
    packs.activate_folder(services, PACK, by="tests")
    keeper = bootstrap.log_keeper(settings, services.ledger)
    keeper.start()
    yield Api(create_app(services), services)
    keeper.stop()
    services.packs.close()
    services.ledger.close()


@pytest.fixture
def make_api() -> Iterator[Callable[..., Api]]:
    """Makes the API over a database, as one node of several would."""
    made: list[Api] = []

    def make(url: str, *, jwt: JwtSettings | None = None, pack: Path | None = PACK) -> Api:
        settings = Settings(database_url=url, secret_key=SECRET, jwt=jwt)
        services = bootstrap.build(settings)
        services.ledger.upgrade()
        if pack is not None and services.ledger.packs.active() is None:
            packs.activate_folder(services, pack, by="tests")
        packs.follow(services)
        made.append(Api(create_app(services), services))
        return made[-1]

    yield make
    for each in made:
        each.services.packs.close()
        each.services.ledger.close()


@pytest.fixture
def api(make_api: Callable[..., Api], sqlite_url: str) -> Api:
    """The API over the embedded database: for what doesn't depend on the database."""
    return make_api(sqlite_url)


@pytest.fixture
def api_on_both(make_api: Callable[..., Api], database_url: str) -> Api:
    """The API over each database in turn."""
    return make_api(database_url)
