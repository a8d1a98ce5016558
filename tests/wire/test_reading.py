"""What a request says arrives typed and whole; omitted and null stay apart."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from policy_engine.core.facts import ABSENT, UNKNOWN, FactType
from policy_engine.core.money import Money
from policy_engine.core.policy import Pack
from policy_engine.core.request import Agent, Evidence, Line
from policy_engine.wire.requests import AgentClaim, ReadRequest, RegisteredOrder, read_decision
from policy_engine.wire.schemas import DecisionRequestSchema
from tests.wire.conftest import NOW, as_named

Read = Callable[[object], ReadRequest]


def test_every_field_arrives_in_its_type(full: dict[str, Any], read: Read) -> None:
    answer = read(full)
    request = answer.request

    assert answer.as_of == datetime(2026, 6, 6, 16, 0, tzinfo=UTC)
    assert answer.locale == "zh-CN"
    assert (request.order_id, request.currency, request.customer_id) == ("SO-1", "CNY", "C-1")
    assert request.lines == (
        Line("1", Money(16800, "CNY"), Decimal(13), "TEA", 2),
        Line("2", Money(0, "CNY"), UNKNOWN, UNKNOWN, UNKNOWN),
    )
    assert request.agent == Agent("A-7", "agent")
    assert request.incident_types == {"shipping_delay"}
    assert request.incident_lines == {"1"}
    assert request.evidence == (Evidence("payment_proof", "TX-77", verified=True),)
    assert request.reference == {"ticket": "ZD-88"}
    assert request.facts == {
        "shop.campaign": True,
        "shop.pieces": ABSENT,
        "shop.weight": Decimal("12.5"),
        "shop.deposit": Money(4000, "CNY"),
        "shop.waited": timedelta(hours=36),
        "shop.called_at": datetime(2026, 6, 2, tzinfo=UTC),
        "shop.size": "large",
        "shop.tags": frozenset({"fragile", "gift"}),
        "shop.note": "left at the porter's",
    }
    assert request.fields == {
        "incident.evidence": frozenset({"payment_proof"}),
        "order.placed_at": datetime(2026, 5, 20, 2, 0, tzinfo=UTC),
        "order.paid_at": datetime(2026, 5, 20, 2, 1, tzinfo=UTC),
        "order.promised_dispatch_by": datetime(2026, 5, 22, 2, 0, tzinfo=UTC),
        "order.expected_dispatch_at": datetime(2026, 5, 22, 2, 0, tzinfo=UTC),
        "order.dispatched_at": ABSENT,
        "order.promised_delivery_by": datetime(2026, 5, 31, 16, 0, tzinfo=UTC),
        "order.last_tracking_at": datetime(2026, 5, 29, 16, 0, tzinfo=UTC),
        "order.delivered_at": ABSENT,
        "order.shipping_paid": Money(0, "CNY"),
        "order.express_cost": Money(2500, "CNY"),
        "incident.id": "INC-9",
        "incident.reported_at": datetime(2026, 6, 4, 16, 0, tzinfo=UTC),
        "incident.cause": "storm over the strait",
        "incident.trace_opened_at": ABSENT,
        "customer.tier": "gold",
        "customer.locale": "zh-CN",
        "customer.name": "王小明",
        "channel": "whatsapp",
    }


def test_every_field_of_the_schema_is_a_fact_the_engine_knows(
    full: dict[str, Any], read: Read, pack: Pack
) -> None:
    assert set(read(full).request.fields) == {
        name for name, spec in pack.facts.items() if spec.sent and spec.type is not FactType.SET
    } - {"order.id", "order.currency", "customer.id", "agent.id", "agent.role"} | {
        "incident.evidence"
    }


def test_a_money_object_serves_in_the_order_as_well(full: dict[str, Any], read: Read) -> None:
    full["order"]["shipping_paid"] = {"amount": "1.00", "currency": full["order"]["currency"]}
    assert read(full).request.fields["order.shipping_paid"] == Money(100, "CNY")


@pytest.mark.parametrize(
    ("sent", "known"), [({}, None), ({"evidence": None}, ABSENT), ({"evidence": []}, frozenset())]
)
def test_evidence_is_omitted_absent_or_none_at_all(
    full: dict[str, Any], read: Read, sent: dict[str, Any], known: object
) -> None:
    del full["incident"]["evidence"]
    full["incident"].update(sent)
    assert read(full).request.fields.get("incident.evidence") == known


def test_the_least_request_knows_nothing_it_was_not_told(read: Read) -> None:
    request = read(
        {
            "order": {"id": "1", "currency": "JPY", "lines": [{"id": "a"}]},
            "incident": {"types": ["oversold"]},
            "customer": {"id": "c"},
        }
    )

    assert request.as_of is None
    assert request.locale == "en"
    assert request.request.agent == Agent("A-0", "agent")
    assert request.request.lines == (Line("a"),)
    assert (request.request.fields, request.request.facts) == ({}, {})


def test_null_says_that_there_is_none(full: dict[str, Any], read: Read) -> None:
    full["order"]["lines"] = [
        {"id": "1", "paid": None, "tax_rate": None, "sku": None, "quantity": None}
    ]
    full["incident"] |= {"lines": None, "evidence": None, "reported_at": None}
    for name in ("agent", "channel", "reference", "facts", "as_of"):
        full[name] = None

    answer = read(full)

    assert answer.as_of is None
    assert answer.request.lines == (Line("1", ABSENT, ABSENT, ABSENT, ABSENT),)
    assert answer.request.fields["channel"] is ABSENT
    assert answer.request.fields["incident.reported_at"] is ABSENT
    assert answer.request.incident_lines == frozenset()
    assert answer.request.evidence == ()


def test_ids_may_be_any_text_of_up_to_128_bytes(full: dict[str, Any], read: Read) -> None:
    for text in ("x" * 128, "单" * 42, "../~/ ' \" ;--", "=1+1", "é"):
        full["order"]["id"] = text
        assert read(full).request.order_id == text


def test_now_bounds_the_report_where_no_time_was_chosen(full: dict[str, Any], read: Read) -> None:
    del full["as_of"]
    full["incident"]["reported_at"] = NOW.isoformat()

    assert read(full).request.fields["incident.reported_at"] == NOW


def test_the_agent_that_counts_is_the_credentials(full: dict[str, Any], pack: Pack) -> None:
    def resolve(claim: AgentClaim | None) -> Agent:
        assert claim == AgentClaim("A-7", "agent")
        return Agent("boss", "supervisor")

    request = read_decision(full, pack, resolve_agent=resolve, now=NOW).request

    assert request.agent == Agent("boss", "supervisor")


def test_a_registered_order_fills_in_what_is_left_out(full: dict[str, Any], pack: Pack) -> None:
    registered = RegisteredOrder(full["order"])
    full["order"] = {"id": "SO-1", "delivered_at": "2026-06-02T00:00:00Z"}

    read = read_decision(full, pack, resolve_agent=as_named, now=NOW, registered=registered)

    assert read.request.lines[0].paid == Money(16800, "CNY")
    assert read.request.fields["order.delivered_at"] == datetime(2026, 6, 2, tzinfo=UTC)
    assert "order.paid_at" in read.request.registered
    assert "order.delivered_at" not in read.request.registered
    again = read_decision(read.body, pack, resolve_agent=as_named, now=NOW).request
    assert replace(again, registered=read.request.registered) == read.request


def test_each_pack_reads_by_its_own_facts(full: dict[str, Any], pack: Pack) -> None:
    facts = {name: spec for name, spec in pack.facts.items() if name != "shop.size"}
    facts["shop.size"] = replace(pack.facts["shop.size"], values=("large", "huge"))
    other = replace(pack, facts=facts)
    full["facts"]["shop.size"] = "huge"

    read = read_decision(full, other, resolve_agent=as_named, now=NOW)

    assert read.request.facts["shop.size"] == "huge"


def test_the_document_says_of_each_field_what_is_read() -> None:
    spec = APISpec("t", "1", "3.1.0", plugins=[MarshmallowPlugin()])
    spec.components.schema("DecisionRequest", schema=DecisionRequestSchema)
    schemas = spec.to_dict()["components"]["schemas"]

    order = schemas["Order"]["properties"]
    assert order["placed_at"]["type"] == ["string", "null"]
    assert order["placed_at"]["format"] == "date-time"
    assert order["lines"]["maxItems"] == 200
    line = schemas["Line"]["properties"]
    assert line["paid"]["type"] == ["string", "object", "null"] and line["paid"]["pattern"]
    assert line["quantity"]["type"] == ["integer", "null"] and line["quantity"]["minimum"] == 1
    assert set(schemas["Order"]["required"]) == {"id", "currency", "lines"}
    assert schemas["Evidence"]["properties"]["verified"]["type"] == ["boolean", "null"]
    for schema in schemas.values():
        for name, shown in schema["properties"].items():
            assert {"description", "$ref", "anyOf", "allOf"} & set(shown), name
