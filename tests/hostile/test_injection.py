"""Text that means something to somebody further on: SQL, templates, logs, spreadsheets, headers."""


# ruff: noqa: E501 -- a table: one case a line, whatever its length

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.hostile.conftest import Fortress
from tests.hostile.test_callers import pointers

SQL = [
    "' OR '1'='1",
    "'; DROP TABLE decision; --",
    '" UNION SELECT secret_hash FROM credential --',
    "\\'; SELECT pg_sleep(10); --",
    "%' ESCAPE '!",
    "1) OR (1=1",
    "_%",
    "$1 :id ?",
]


@pytest.mark.parametrize("text", SQL)
def test_sql_in_ids_is_an_id_like_any_other(fortress: Fortress, text: str) -> None:
    key = fortress.key("decide", "audit", client=f"shop {uuid4()}"[:40])
    order, customer = f"{text}{uuid4()}"[-128:], text
    decision = fortress.decided(key, order__id=order, customer__id=customer)
    by = {"order": order, "customer": customer, "policy": text, "reference": text, "agent": text}
    for name, value in by.items():
        path = f"/v1/decisions?{name}={quote(value, safe='')}"
        if name != "order":
            path += f"&order={quote(order, safe='')}"
        found = [each["decision_id"] for each in fortress.send("GET", path, key).json["decisions"]]
        assert found == ([decision["decision_id"]] if name in ("order", "customer") else []), name
    for path in ("decisions", "grants", "policies", "orders", "log/records"):
        reply = fortress.send("GET", f"/v1/{path}/{quote(text, safe='')}", fortress.key("audit"))
        assert reply.status in (404, 422), (path, reply.body)


TEMPLATES = [
    "{{ 7 * 7 }}",
    "{% for a in range(9) %}x{% endfor %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "${7*7} #{7*7} <%= 7*7 %>",
    "%(customer_name)s {0.__class__} %n%n%s",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("text", TEMPLATES)
def test_a_template_in_a_name_is_said_as_it_was_written(fortress: Fortress, text: str) -> None:
    order = f"{uuid4()} {text}"
    decision = fortress.decided(order__id=order, customer__name=text, customer__locale="en")
    assert decision["guidance"]["script"]["opening"] == f"Dear {text}, about {order}:"


@pytest.mark.parametrize(
    "text",
    ['\n{"event": "forged"}', "\r\nforged", "\x1b[2Jforged", "\u2028forged", "\x00forged"],
    ids=["a line", "CRLF", "a terminal's escape", "a line separator", "a NUL"],
)
def test_nobody_writes_lines_of_the_log(fortress: Fortress, text: str) -> None:
    """Whatever it is sent as; and ids and names never get into it at all."""
    before = len(fortress.log)
    key = fortress.key("decide")
    secret = str(uuid4())
    fortress.decide(order__id=secret + text, customer__id=secret + text)
    fortress.decide(order__id=secret, customer__name=secret + text, reference={"note": secret})
    for path in ("/v1/decisions/", "/v1/orders/", "/v1/decisions?order=", "/v1/caps?customer="):
        fortress.send("GET", path + quote(secret + text, safe=""), key)
    raw = text.encode("utf-8")
    fortress.talk(b"GET /livez HTTP/1.1\r\nHost: shop\r\nX-Request-Id: a" + raw + b"\r\n\r\n")
    fortress.talk(b"GET /livez HTTP/1.1\r\nHost: shop\r\nUser-Agent: a" + raw + b"\r\n\r\n")
    written = fortress.log[before:]
    assert "forged" not in written
    assert secret not in written
    lines = [json.loads(line) for line in written.splitlines()]
    assert {line["event"] for line in lines} <= {"request", "credential refused"}


FORMULAS = ["=cmd|'/C calc'!A0", "+1+1", "-1+1", "@SUM(1)", '=HYPERLINK("http://evil.example")']


def test_no_cell_of_an_export_is_a_formula(fortress: Fortress) -> None:
    key = fortress.key("decide", "grant", "audit")
    agent = {"id": "=A-7", "role": "agent"}
    for formula in FORMULAS:
        order = f"{formula} {uuid4()}"
        fortress.granted(
            key, order__id=order, agent=agent, channel=formula, reference={"ticket": formula}
        )
    wait_for_the_log(fortress, key)
    since = quote((datetime.now(UTC) - timedelta(hours=1)).isoformat())
    reply = fortress.send("GET", f"/v1/log/export?format=csv&from={since}", key)
    assert reply.status == 200
    seen = 0
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        for name in archive.namelist():
            if not name.endswith(".csv"):
                continue
            text = archive.read(name).decode("utf-8-sig")
            for cell in (cell for row in csv.reader(io.StringIO(text)) for cell in row):
                assert cell[:1] not in ("=", "@", "\t", "\r", "+"), cell
                assert cell[:1] != "-" or cell[1:].replace(".", "").isdigit(), cell
                seen += cell.startswith(tuple(f"'{each}" for each in FORMULAS))
    assert seen >= 2 * len(FORMULAS), "the order and the channel of each are there, as text"


def wait_for_the_log(fortress: Fortress, key: str) -> None:
    """Until every decision has its place in the log: exports show no others."""
    last = fortress.decided(key)["audit"]["record"]
    for _ in range(100):
        if fortress.send("GET", f"/v1/log/records/{last}", key).json.get("index") is not None:
            return


HEADERS = ["a\r\nSet-Cookie: x=1", "a\nSet-Cookie: x=1", "a\rSet-Cookie: x=1", "a\u010aSet-Cookie"]


@pytest.mark.parametrize("text", HEADERS)
def test_no_id_becomes_a_header(fortress: Fortress, text: str) -> None:
    key = fortress.key("decide", "orders", "audit", "grant")
    order = {"id": text, "currency": "CNY", "lines": [{"id": "1", "paid": "1.00"}]}
    body = {"order": order, "customer": {"id": "C-1"}}
    sent = quote(text, safe="")
    idempotent = {"Idempotency-Key": str(uuid4())}
    replies = [
        fortress.send("PUT", f"/v1/orders/{sent}", key, body=body, headers=idempotent),
        fortress.send("GET", f"/v1/orders/{sent}", key),
        fortress.send("GET", f"/v1/decisions/{sent}", key),
        fortress.send("GET", f"/v1/grants/{sent}", key),
        fortress.send("GET", f"/v1/decisions?order={sent}", key),
        fortress.send("GET", f"/v1/customers/{sent}/statement", key),
        fortress.decide(key, order__id=text),
        fortress.decide(key, customer__id=text),
    ]
    for reply in replies:
        assert "set-cookie" not in {name.lower() for name in reply.headers}
        control = not text.isprintable()
        assert not control or reply.status in (404, 422), reply.body


def test_ids_are_compared_byte_by_byte(fortress: Fortress) -> None:
    """What looks the same is not the same: no normal form, no case, no width."""
    key = fortress.key("decide", "audit")
    alike = ["caf\u00e9", "cafe\u0301", "CAF\u00c9", "\uff43afe", "cafe ", "cafe\u200b"]
    made = {name: fortress.decided(key, order__id=name)["decision_id"] for name in alike}
    for name, decision_id in made.items():
        path = f"/v1/decisions?order={quote(name, safe='')}"
        found = fortress.send("GET", path, key).json["decisions"]
        assert [each["decision_id"] for each in found] == [decision_id], name


MANY: list[tuple[str, dict[str, Any], str, str]] = [
    ("201 lines", {"order__lines": [{"id": str(n)} for n in range(201)]}, "/order/lines", "TOO_MANY_LINES"),
    ("2,000 lines", {"order__lines": [{"id": str(n)} for n in range(2000)]}, "/order/lines", "TOO_MANY_LINES"),
    ("101 facts", {"facts": {f"f.{n}": True for n in range(101)}}, "/facts", "TOO_MANY_FACTS"),
    ("2,000 facts", {"facts": {f"f.{n}": True for n in range(2000)}}, "/facts", "TOO_MANY_FACTS"),
    ("101 incident types", {"incident__types": [f"t{n}" for n in range(101)]}, "/incident/types", "TOO_MANY_ITEMS"),
    ("51 proofs", {"incident__evidence": [{"kind": f"k{n}"} for n in range(51)]}, "/incident/evidence", "TOO_MANY_ITEMS"),
    ("21 references", {"reference": {f"r{n}": "x" for n in range(21)}}, "/reference", "TOO_MANY_REFERENCES"),
    ("a name of 20,000 characters", {"customer__name": "x" * 20_000}, "/customer/name", "TOO_LONG"),
    ("a fact of 20,000 characters", {"facts": {"shop.note": "x" * 20_000}}, "/facts/shop.note", "TOO_LONG"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "pointer", "code"), [row[1:] for row in MANY], ids=[row[0] for row in MANY]
)
def test_too_much_of_anything_is_refused_by_name(
    fortress: Fortress, changes: dict[str, Any], pointer: str, code: str
) -> None:
    reply = fortress.decide(**changes)
    assert reply.status == 422
    assert (pointer, code) in pointers(reply)


def test_two_hundred_lines_are_decided(fortress: Fortress) -> None:
    lines = [{"id": str(number), "quantity": 1, "paid": "1.00"} for number in range(200)]
    assert fortress.decide(order__id=str(uuid4()), order__lines=lines).status == 201


def test_a_batch_has_five_hundred_requests_at_most(fortress: Fortress) -> None:
    reply = fortress.send(
        "POST", "/v1/decisions/batch", fortress.key("decide"), body={"decisions": [{}] * 501}
    )
    assert (reply.status, pointers(reply)) == (422, [("/decisions", "TOO_MANY_ITEMS")])
