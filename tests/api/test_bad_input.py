"""Bad input, one by one: the exact status, code and place of every refusal."""

# ruff: noqa: E501 -- a table: one case a line, whatever its length

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.api.conftest import Api, late_order

# (what it is, changes, pointer, code); all are 422 INVALID_REQUEST.
FIELDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("a number for an amount", {"order__shipping_paid": 5}, "/order/shipping_paid", "WRONG_TYPE"),
    ("an amount without decimals", {"order__shipping_paid": "5"}, "/order/shipping_paid", "WRONG_DECIMALS"),
    ("true for an amount", {"order__shipping_paid": True}, "/order/shipping_paid", "WRONG_TYPE"),
    ("1.0 for an amount", {"order__shipping_paid": 1.5}, "/order/shipping_paid", "WRONG_TYPE"),
    ("an exponent", {"order__shipping_paid": "1e3"}, "/order/shipping_paid", "NOT_AN_AMOUNT"),
    ("full-width digits", {"order__shipping_paid": "５.００"}, "/order/shipping_paid", "NOT_AN_AMOUNT"),
    ("5,000 digits", {"order__shipping_paid": "9" * 5000}, "/order/shipping_paid", "NOT_AN_AMOUNT"),
    ("spaces", {"order__shipping_paid": " 5.00 "}, "/order/shipping_paid", "NOT_AN_AMOUNT"),
    ("too many decimals", {"order__shipping_paid": "5.000"}, "/order/shipping_paid", "WRONG_DECIMALS"),
    ("decimals of yen", {"order__currency": "JPY", "order__shipping_paid": "5.00", "order__lines": [{"id": "1", "paid": "5"}]}, "/order/shipping_paid", "WRONG_DECIMALS"),
    ("a negative amount", {"order__shipping_paid": "-5.00"}, "/order/shipping_paid", "NOT_AN_AMOUNT"),
    ("more than is counted", {"order__shipping_paid": "99999999999999.00"}, "/order/shipping_paid", "AMOUNT_TOO_LARGE"),
    ("an unknown currency", {"order__currency": "XXX"}, "/order/currency", "UNKNOWN_CURRENCY"),
    ("a currency in small letters", {"order__currency": "cny"}, "/order/currency", "UNKNOWN_CURRENCY"),
    ("no lines", {"order__lines": []}, "/order/lines", "EMPTY"),
    ("201 lines", {"order__lines": [{"id": str(index)} for index in range(201)]}, "/order/lines", "TOO_MANY_LINES"),
    ("one line twice", {"order__lines": [{"id": "1"}, {"id": "1"}]}, "/order/lines/1/id", "DUPLICATE_LINE"),
    ("a line's amount", {"order__lines": [{"id": "1", "paid": "x"}]}, "/order/lines/0/paid", "NOT_AN_AMOUNT"),
    ("a quantity of 1.0", {"order__lines": [{"id": "1", "quantity": 1.5}]}, "/order/lines/0/quantity", "WRONG_TYPE"),
    ("a line that the order lacks", {"incident__lines": ["2"]}, "/incident/lines/0", "UNKNOWN_LINE"),
    ("an unknown field", {"order__colour": "red"}, "/order/colour", "UNKNOWN_FIELD"),
    ("an unknown field at the top", {"approved": True}, "/approved", "UNKNOWN_FIELD"),
    ("a time without an offset", {"order__paid_at": "2026-06-01T00:00:00"}, "/order/paid_at", "NOT_A_TIMESTAMP"),
    ("a date alone", {"order__paid_at": "2026-06-01"}, "/order/paid_at", "NOT_A_TIMESTAMP"),
    ("a time as a number", {"order__paid_at": 1780000000}, "/order/paid_at", "WRONG_TYPE"),
    ("no such day", {"order__paid_at": "2026-02-30T00:00:00Z"}, "/order/paid_at", "NOT_A_TIMESTAMP"),
    ("null where it must be", {"customer__id": None}, "/customer/id", "WRONG_TYPE"),
    ("an empty id", {"customer__id": ""}, "/customer/id", "EMPTY"),
    ("an id of 129 bytes", {"customer__id": "i" * 129}, "/customer/id", "TOO_LONG"),
    ("an id of 129 bytes in 43 characters", {"customer__id": "界" * 43}, "/customer/id", "TOO_LONG"),
    ("a line feed in an id", {"customer__id": "a\nb"}, "/customer/id", "CONTROL_CHARACTER"),
    ("a number for an id", {"customer__id": 5}, "/customer/id", "WRONG_TYPE"),
    ("a type the pack doesn't know", {"incident__types": ["weather"]}, "/incident/types/0", "NOT_IN_VALUES"),
    ("no incident type", {"incident__types": []}, "/incident/types", "EMPTY"),
    ("a tier the pack doesn't know", {"customer__tier": "iron"}, "/customer/tier", "NOT_IN_VALUES"),
    ("an undeclared fact", {"facts": {"weather": True}}, "/facts/weather", "UNKNOWN_FACT"),
    ("a computed fact", {"facts": {"shipping.delay": "P9D"}}, "/facts/shipping.delay", "UNKNOWN_FACT"),
    ("a fact of the wrong type", {"facts": {"shop.campaign": "true"}}, "/facts/shop.campaign", "WRONG_TYPE"),
    ("a role nobody has", {"agent__role": "wizard"}, "/agent/role", "UNKNOWN_ROLE"),
    ("reported before it was placed", {"order__placed_at": "2026-05-02T00:00:00Z", "incident__reported_at": "2026-05-01T00:00:00Z"}, "/incident/reported_at", "REPORTED_BEFORE_PLACED"),
    ("reported in the future", {"incident__reported_at": "2999-01-01T00:00:00Z"}, "/incident/reported_at", "IN_THE_FUTURE"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [row[1:] for row in FIELDS],
    ids=[row[0] for row in FIELDS],
)
def test_a_field_that_is_wrong(
    shared_api: Api, changes: dict[str, Any], pointer: str, code: str
) -> None:
    answer = shared_api.decide(shared_api.key(), late_order(**changes))
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    assert answer.json["code"] == "INVALID_REQUEST"
    assert (pointer, code) in {(each["pointer"], each["code"]) for each in answer.json["errors"]}
    assert {each["in"] for each in answer.json["errors"]} == {"body"}


@pytest.mark.parametrize(
    ("missing", "pointer"),
    [
        ("order", "/order"),
        ("incident", "/incident"),
        ("customer", "/customer"),
        ("order.id", "/order/id"),
        ("order.currency", "/order/currency"),
        ("order.lines", "/order/lines"),
        ("incident.types", "/incident/types"),
        ("customer.id", "/customer/id"),
        ("agent", "/agent"),
        ("agent.role", "/agent/role"),
    ],
)
def test_a_field_that_is_missing(shared_api: Api, missing: str, pointer: str) -> None:
    body = late_order()
    *path, last = missing.split(".")
    at = body
    for step in path:
        at = at[step]
    del at[last]
    answer = shared_api.decide(shared_api.key(), body)
    assert answer.status_code == 422
    (error,) = answer.json["errors"]
    assert (error["pointer"], error["code"]) == (pointer, "MISSING_FIELD")


def test_every_problem_is_named_at_once(shared_api: Api) -> None:
    body = late_order(order__currency="XXX", customer__id="", more=1)
    errors = shared_api.decide(shared_api.key(), body).json["errors"]
    assert [each["pointer"] for each in errors] == ["/customer/id", "/more", "/order/currency"]


def test_a_free_line_is_fine(shared_api: Api) -> None:
    lines = [{"id": "1", "paid": "0.00"}, {"id": "2", "paid": "800.00"}]
    assert shared_api.decide(shared_api.key(), late_order(order__lines=lines)).status_code == 201


TEXT = json.dumps(late_order())
BODIES: list[tuple[str, bytes, int, str]] = [
    ("no JSON", b"{", 400, "MALFORMED_JSON"),
    ("nothing", b"", 400, "MALFORMED_JSON"),
    ("NaN", TEXT.replace('"0.00"', "NaN").encode(), 400, "MALFORMED_JSON"),
    ("Infinity", TEXT.replace('"0.00"', "-Infinity").encode(), 400, "MALFORMED_JSON"),
    ("a key twice", TEXT.replace('"id": "C-1"', '"id": "C-1", "id": "C-2"').encode(), 400, "DUPLICATE_KEY"),
    ("nesting 20,000 deep", b"[" * 20_000 + b"]" * 20_000, 400, "TOO_DEEP"),
    ("nesting 17 deep", b"[" * 17 + b"]" * 17, 400, "TOO_DEEP"),
    ("invalid UTF-8", TEXT.replace("C-1", "\udcff").encode("utf-8", "surrogateescape"), 400, "NOT_UTF8"),
    ("UTF-16", TEXT.encode("utf-16"), 400, "NOT_UTF8"),
    ("a byte order mark", b"\xef\xbb\xbf" + TEXT.encode(), 400, "MALFORMED_JSON"),
    ("a lone surrogate", TEXT.replace("C-1", "\\ud800").encode(), 400, "FORBIDDEN_CHARACTER"),
    ("U+0000", TEXT.replace("C-1", "a\\u0000b").encode(), 400, "FORBIDDEN_CHARACTER"),
    ("one byte too much", TEXT.encode() + b" " * (65_537 - len(TEXT)), 413, "BODY_TOO_LARGE"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "code"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_a_body_that_is_none(shared_api: Api, body: bytes, status: int, code: str) -> None:
    answer = shared_api.send(
        "POST",
        "/v1/decisions",
        shared_api.key(),
        data=body,
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.mimetype == "application/problem+json"


def test_a_body_that_just_fits(shared_api: Api) -> None:
    body = TEXT.encode() + b" " * (65_536 - len(TEXT))
    headers = {"Content-Type": "application/json"}
    answer = shared_api.send("POST", "/v1/decisions", shared_api.key(), data=body, headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"x"'])
def test_json_that_is_no_object(shared_api: Api, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shared_api.send("POST", "/v1/decisions", shared_api.key(), data=body, headers=headers)
    assert answer.status_code == 422
    assert (answer.json["errors"][0]["pointer"], answer.json["errors"][0]["code"]) == (
        "",
        "WRONG_TYPE",
    )


@pytest.mark.parametrize(
    ("headers", "data", "code"),
    [
        ({"Content-Type": "text/plain"}, TEXT, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, TEXT, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Type": "application/json; charset=utf-16"}, TEXT, "UNSUPPORTED_MEDIA_TYPE"),
        ({}, TEXT, "UNSUPPORTED_MEDIA_TYPE"),
        (
            {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            gzip.compress(TEXT.encode()),
            "UNSUPPORTED_ENCODING",
        ),
    ],
    ids=["text", "a form", "another charset", "no type", "gzip"],
)
def test_a_media_type_that_is_not_taken(
    shared_api: Api, headers: dict[str, str], data: Any, code: str
) -> None:
    answer = shared_api.send("POST", "/v1/decisions", shared_api.key(), data=data, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (415, code)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=UTF-8"])
def test_json_in_utf_8_is_taken(shared_api: Api, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    answer = shared_api.send("POST", "/v1/decisions", shared_api.key(), data=TEXT, headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("path", "pointer", "code"),
    [
        ("/v1/decisions?colour=red", "/colour", "UNKNOWN_PARAMETER"),
        ("/v1/decisions?limit=0", "/limit", "OUT_OF_RANGE"),
        ("/v1/decisions?limit=101", "/limit", "OUT_OF_RANGE"),
        ("/v1/decisions?limit=%EF%BC%95", "/limit", "NOT_A_NUMBER"),
        ("/v1/decisions?limit=x", "/limit", "NOT_A_NUMBER"),
        ("/v1/decisions?limit=1&limit=2", "/limit", "DUPLICATE_PARAMETER"),
        ("/v1/decisions?outcome=great", "/outcome", "NOT_IN_VALUES"),
        ("/v1/decisions?from=yesterday", "/from", "NOT_A_TIMESTAMP"),
        ("/v1/decisions?order=", "/order", "EMPTY"),
        ("/v1/pack?x=1", "/x", "UNKNOWN_PARAMETER"),
    ],
)
def test_a_query_that_is_wrong(shared_api: Api, path: str, pointer: str, code: str) -> None:
    answer = shared_api.send("GET", path, shared_api.key())
    assert (answer.status_code, answer.json["code"]) == (422, "INVALID_REQUEST")
    (error,) = answer.json["errors"]
    assert (error["in"], error["pointer"], error["code"]) == ("query", pointer, code)


@pytest.mark.parametrize("query", ["dry_run=yes", "dry_run=1", "dry_run=", "dry_run=TRUE"])
def test_a_flag_is_true_or_false(shared_api: Api, query: str) -> None:
    answer = shared_api.send("POST", f"/v1/decisions?{query}", shared_api.key(), json=late_order())
    assert answer.status_code == 422
    assert answer.json["errors"][0]["code"] == "NOT_A_FLAG"


def test_what_nobody_asks_for_is_refused_by_name(shared_api: Api) -> None:
    key = shared_api.key()
    for method, path, status, code in (
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/v1/decisions/", 404, "NOT_FOUND"),
        ("GET", "//v1/decisions", 404, "NOT_FOUND"),
        ("PUT", "/v1/decisions", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/v1/pack", 405, "METHOD_NOT_ALLOWED"),
        ("BREW", "/v1/pack", 405, "METHOD_NOT_ALLOWED"),
    ):
        answer = shared_api.send(method, path, key)
        assert (answer.status_code, answer.json["code"]) == (status, code), (method, path)
    assert (
        shared_api.send("PUT", "/v1/decisions", key).headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    )


def test_an_answer_that_the_caller_cant_read(shared_api: Api) -> None:
    key = shared_api.key()
    for accept in ("text/html", "application/xml", "application/json;q=0"):
        answer = shared_api.decide(key, headers={"Accept": accept})
        assert (answer.status_code, answer.json["code"]) == (406, "NOT_ACCEPTABLE")
    refused = shared_api.decide(key, headers={"Accept": "application/json; a=b; q=0, */*"})
    assert refused.status_code == 406
    for accept in (
        "*/*",
        "application/*",
        "text/html, application/json;q=0.5",
        "application/json; charset=utf-8",
        "Application/JSON;charset=utf-8;q=0.5",
        "",
    ):
        assert shared_api.decide(key, headers={"Accept": accept}).status_code == 201


def test_head_and_options_are_sane(shared_api: Api) -> None:
    key = shared_api.key()
    head = shared_api.send("HEAD", "/v1/pack", key)
    assert (head.status_code, head.data) == (200, b"")
    assert shared_api.send("HEAD", "/v1/pack").status_code == 401
    options = shared_api.send("OPTIONS", "/v1/decisions")
    assert options.status_code == 200
    assert "POST" in options.headers["Allow"]


def test_a_fault_of_ours_shows_nothing_of_the_inside(
    shared_api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(shared_api.services.ledger.packs, "revisions", broken)
    answer = shared_api.send("GET", "/v1/revisions", shared_api.key("packs"))
    assert (answer.status_code, answer.json["code"]) == (500, "INTERNAL_ERROR")
    assert "1234" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
