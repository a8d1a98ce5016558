"""The bad input of tests/api, row by row, sent to a real server."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.api.conftest import late_order
from tests.api.test_bad_input import BODIES, FIELDS, TEXT
from tests.hostile.conftest import Fortress
from tests.hostile.test_callers import pointers


@pytest.mark.parametrize(
    ("changes", "pointer", "code"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS]
)
def test_a_field_that_is_wrong(
    fortress: Fortress, changes: dict[str, Any], pointer: str, code: str
) -> None:
    reply = fortress.decide(**changes)
    assert (reply.status, reply.json["code"]) == (422, "INVALID_REQUEST")
    assert (pointer, code) in pointers(reply)


@pytest.mark.parametrize(
    ("body", "status", "code"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_a_body_that_is_none(fortress: Fortress, body: bytes, status: int, code: str) -> None:
    reply = fortress.send("POST", "/v1/decisions", fortress.key("decide"), body=body)
    assert (reply.status, reply.json["code"]) == (status, code)


@pytest.mark.parametrize("missing", ["order", "incident", "customer", "agent"])
def test_a_field_that_is_missing(fortress: Fortress, missing: str) -> None:
    body = late_order()
    del body[missing]
    reply = fortress.send("POST", "/v1/decisions", fortress.key("decide"), body=body)
    assert (reply.status, pointers(reply)) == (422, [(f"/{missing}", "MISSING_FIELD")])


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({"Content-Type": "text/plain"}, TEXT.encode(), "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Encoding": "gzip"}, gzip.compress(TEXT.encode()), "UNSUPPORTED_ENCODING"),
    ],
    ids=["text", "gzip"],
)
def test_a_media_type_that_is_not_taken(
    fortress: Fortress, headers: dict[str, str], body: bytes, code: str
) -> None:
    key = fortress.key("decide")
    reply = fortress.send("POST", "/v1/decisions", key, body=body, headers=headers)
    assert (reply.status, reply.json["code"]) == (415, code)


def test_no_credential_no_answer(fortress: Fortress) -> None:
    for key in (None, "", "x", "pe_0123456789abcdef_" + "A" * 43):
        reply = fortress.send("GET", "/v1/pack", key)
        assert (reply.status, reply.json["code"]) == (401, "UNAUTHENTICATED")
