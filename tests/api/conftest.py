"""The API over each database, with keys for every kind of caller."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from policy_engine import bootstrap
from policy_engine.api.app import _receive, create_app
from policy_engine.api.node import Node
from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.settings import JwtSettings, Settings
from policy_engine.usecases import packs
from policy_engine.usecases.services import Services
from tests.ready import SECRET

PACK = Path(__file__).parent / "pack"

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
        template = _template(method, path.partition("?")[0])
        if template is not None:
            _answers(method, template, answer.status_code, answer.mimetype).validate(answer.json)


@cache
def _whole() -> Flask:
    """An app without services: routes, and the document of the API."""
    return create_app(None)


def app_over(services: Services) -> Flask:
    """What `create_app` makes of these services, but for the document of the API, which is the
    same for all and takes longest to write: it is that of the first app."""
    app = copy.copy(_whole())
    app.extensions = {**app.extensions, "policy_engine": services}
    _receive(app, services.settings, Node(services.settings))
    return app


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = _whole().extensions["api"].spec.to_dict()
    return document


@cache
def _answers(method: str, template: str, status: int, media_type: str) -> Draft202012Validator:
    """What the document says of one answer of a call."""
    document = _document()
    described = document["paths"][template][method.lower()]["responses"].get(str(status))
    assert described is not None, f"{method} {template} answered {status}"
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].split("/")[-1]]
    schema = {
        **described["content"][media_type]["schema"],
        "components": {"schemas": document["components"]["schemas"]},
    }
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@cache
def _template(method: str, path: str) -> str | None:
    """The path of the document that this one is an example of."""
    paths = _document()["paths"]
    steps = path.split("/")
    for known in (path, *sorted(paths)):
        template = known.split("/")
        if (
            method.lower() in paths.get(known, {})
            and len(template) == len(steps)
            and all(
                wanted.startswith("{") or wanted == step
                for wanted, step in zip(template, steps, strict=True)
            )
        ):
            return known
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
        if pack is not None and services.ledger.packs.active() is None:
            packs.activate_folder(services, pack, by="tests")
        packs.follow(services)
        made.append(Api(app_over(services), services))
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
