"""The API document: valid, as checked in, as the code answers, and readable offline."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from policy_engine.api.app import create_app
from policy_engine.api.documents import document_text
from tests.api.conftest import Api

CHECKED_IN = Path(__file__).parents[2] / "openapi.yaml"


@cache
def document() -> Any:
    # Tests change nothing in it. In C, because it is long and every worker reads it.
    return yaml.load(CHECKED_IN.read_text(), yaml.CSafeLoader)


METHODS = {"get", "post", "put", "delete"}
OPERATIONS = [
    item[method]["operationId"]
    for item in document()["paths"].values()
    for method in sorted(item.keys() & METHODS)
]


def test_the_checked_in_document_is_the_codes() -> None:
    text = document_text(create_app(None).extensions["api"])
    assert text == CHECKED_IN.read_text(), "run `make openapi`"


def test_it_is_a_valid_openapi_3_1_document() -> None:
    assert document()["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document()).validate()


def test_every_call_and_every_field_is_described() -> None:
    for path, item in document()["paths"].items():
        for method in item.keys() & METHODS:
            assert item[method].get("summary"), f"{method} {path}"
            assert item[method]["operationId"]
    for name, schema in document()["components"]["schemas"].items():
        if name == "Script":
            continue
        for field, described in schema.get("properties", {}).items():
            if "$ref" not in str(described):
                assert described.get("description"), f"{name}.{field}"


def test_the_running_service_serves_it(shared_api: Api) -> None:
    served = shared_api.send("GET", "/openapi.yaml")
    assert served.mimetype == "application/yaml"
    assert served.text == CHECKED_IN.read_text()


def test_the_docs_page_shows_every_call_and_loads_nothing(shared_api: Api) -> None:
    page = shared_api.send("GET", "/docs").text
    for path in document()["paths"]:
        assert f"<code>{path}</code>" in page
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import|https?://", page)


SCOPES = ("decide", "audit", "packs", "simulate", "admin")


WITHOUT_INPUT = {"live", "ready", "docs", "read_metrics"}


@pytest.fixture(scope="module")
def operations(shared_api: Api) -> dict[str, Any]:
    """The operations of the document as it is served, by their ids."""
    schema = schemathesis.openapi.from_wsgi("/openapi.yaml", shared_api.app)
    found = [each.ok() for each in schema.get_all_operations()]
    return {each.definition.raw["operationId"]: each for each in found}


@pytest.mark.parametrize("operation_id", [each for each in OPERATIONS if each != "openapi_yaml"])
def test_made_up_requests_meet_no_fault_and_no_undocumented_answer(
    shared_api: Api, operations: dict[str, Any], operation_id: str
) -> None:
    """A short run of made-up calls, sane and otherwise."""
    key = shared_api.key(*SCOPES)
    operation = operations[operation_id]
    modes = [GenerationMode.POSITIVE]
    if operation_id not in WITHOUT_INPUT:
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:

        @settings(
            max_examples=10,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def explore(case: schemathesis.Case) -> None:
            sent = {"Authorization": f"Bearer {key}", "Idempotency-Key": str(uuid4())}
            # What a schema can't say (a currency's decimals, a pack's values) is refused too.
            case.call_and_validate(headers=sent, excluded_checks=[positive_data_acceptance])

        explore()
