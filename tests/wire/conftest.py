"""A small pack made of core objects, a request that uses every field, and a way to read it."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from policy_engine.core.caps import Cap, Measure, PercentLimit, Rolling, Scope
from policy_engine.core.conditions import Comparison, Op
from policy_engine.core.facts import BUILT_IN, FactSpec, FactType
from policy_engine.core.money import Money
from policy_engine.core.policy import (
    Action,
    DerivedFact,
    DerivedRule,
    EvidenceNeed,
    FollowUp,
    ForbiddenPhrase,
    Milestone,
    Pack,
    PackSettings,
    PercentOf,
    Plan,
    Policy,
    RemedyKind,
    RemedyRule,
    Role,
)
from policy_engine.core.request import Agent
from policy_engine.wire.problems import InvalidInputError
from policy_engine.wire.requests import AgentClaim, ReadRequest, read_decision

NOW = datetime(2026, 6, 7, 4, 0, tzinfo=UTC)


def _facts() -> dict[str, FactSpec]:
    declared = [
        FactSpec("incident.types", FactType.SET, values=("shipping_delay", "oversold"), sent=True),
        FactSpec("customer.tier", FactType.ENUM, values=("standard", "gold"), sent=True),
        FactSpec(
            "shop.campaign",
            FactType.BOOLEAN,
            from_request=True,
            default=False,
            ask={"en": "Was it a campaign order?", "zh-CN": "是否活动订单？"},
        ),
        FactSpec("shop.pieces", FactType.INTEGER, from_request=True),
        FactSpec("shop.weight", FactType.DECIMAL, from_request=True),
        FactSpec("shop.deposit", FactType.MONEY, from_request=True),
        FactSpec("shop.waited", FactType.DURATION, from_request=True),
        FactSpec("shop.called_at", FactType.TIMESTAMP, from_request=True),
        FactSpec("shop.size", FactType.ENUM, values=("small", "large"), from_request=True),
        FactSpec("shop.tags", FactType.SET, from_request=True),
        FactSpec("shop.note", FactType.STRING, from_request=True),
        FactSpec("case.urgent", FactType.BOOLEAN, derived=True),
    ]
    return {**BUILT_IN, **{spec.name: spec for spec in declared}}


def _policy() -> Policy:
    late = Comparison("shipping.delay", Op.OVER, FactType.DURATION, timedelta(days=5))
    named = Comparison("incident.cause", Op.IS, FactType.STRING, "storm")
    return Policy(
        id="shipping_delay",
        title={"en": "Shipping delay"},
        reason_code="SHIPPING_DELAY",
        applies_to=frozenset({"shipping_delay"}),
        plans=(
            Plan(
                "delay_coupon",
                {"en": "Coupon for the wait", "zh-CN": "延迟补偿券"},
                (
                    RemedyRule(
                        RemedyKind.COUPON,
                        PercentOf(Decimal(5), "order.goods_paid"),
                        valid_for=timedelta(days=90),
                        min_spend={"CNY": Money(10000, "CNY")},
                    ),
                ),
                when=late,
                follow_ups=(FollowUp("check_in", "redeemed", timedelta(days=1)),),
            ),
            Plan(
                "refund",
                {"en": "Part of the money back"},
                (
                    RemedyRule(
                        RemedyKind.REFUND,
                        PercentOf(Decimal(10), "order.goods_paid"),
                        within=timedelta(hours=1),
                    ),
                ),
            ),
            Plan(
                "storm",
                {"en": "For the storm"},
                (RemedyRule(RemedyKind.COUPON, PercentOf(Decimal(1), "order.goods_paid")),),
                when=named,
            ),
            Plan(
                "proven",
                {"en": "On proof"},
                (RemedyRule(RemedyKind.COUPON, PercentOf(Decimal(1), "order.goods_paid")),),
                evidence=(EvidenceNeed("photo"),),
            ),
            Plan(
                "unknown",
                {"en": "Needs a fact"},
                (RemedyRule(RemedyKind.COUPON, PercentOf(Decimal(1), "order.goods_paid")),),
                when=Comparison("shop.pieces", Op.OVER, FactType.INTEGER, 3),
            ),
        ),
        actions=(Action("open_trace", {"en": "Open a trace"}, within=timedelta(hours=1)),),
        follow_ups=(FollowUp("say_sorry", "granted"),),
    )


def _pack() -> Pack:
    return Pack(
        revision="sha256:" + "0" * 64,
        roles={
            "agent": Role("agent", approver="supervisor"),
            "supervisor": Role("supervisor"),
        },
        caps=(
            Cap(
                "order_total",
                Scope.ORDER,
                Measure.VALUE,
                PercentLimit(Decimal(100), "order.total_paid"),
            ),
            Cap(
                "agent_order",
                Scope.ORDER,
                Measure.VALUE,
                {"CNY": Money(500, "CNY")},
                roles=frozenset({"agent"}),
            ),
            Cap("once", Scope.CLAIM, Measure.COUNT, 1),
            Cap(
                "customer_30d",
                Scope.CUSTOMER,
                Measure.VALUE,
                {"CNY": Money(45000, "CNY")},
                window=Rolling(timedelta(days=30)),
            ),
            Cap("budget", Scope.PACK, Measure.VALUE, {"CNY": Money(5000000, "CNY")}),
        ),
        policies=(_policy(),),
        facts=_facts(),
        derived=(
            (
                DerivedFact(
                    "case.urgent",
                    (
                        DerivedRule(
                            True, Comparison("customer.tier", Op.IS, FactType.ENUM, "gold")
                        ),
                        DerivedRule(False),
                    ),
                ),
            ),
        ),
        settings=PackSettings(milestones=(Milestone("first_reply", timedelta(minutes=5)),)),
        never_say=(
            ForbiddenPhrase("快了快了", "zh-CN", "fob-off", "给出明确时间"),
            ForbiddenPhrase("be patient", "en", "fob-off", "name a time"),
        ),
    )


@pytest.fixture(scope="session")
def pack() -> Pack:
    return _pack()


_FULL: dict[str, Any] = {
    "order": {
        "id": "SO-1",
        "currency": "CNY",
        "placed_at": "2026-05-20T10:00:00+08:00",
        "paid_at": "2026-05-20T10:01:00+08:00",
        "promised_dispatch_by": "2026-05-22T10:00:00+08:00",
        "expected_dispatch_at": "2026-05-22T10:00:00+08:00",
        "dispatched_at": None,
        "promised_delivery_by": "2026-06-01T00:00:00+08:00",
        "last_tracking_at": "2026-05-30T00:00:00+08:00",
        "delivered_at": None,
        "shipping_paid": "0.00",
        "express_cost": "25.00",
        "lines": [
            {"id": "1", "sku": "TEA", "quantity": 2, "paid": "168.00", "tax_rate": "13"},
            {"id": "2", "paid": "0.00"},
        ],
    },
    "incident": {
        "types": ["shipping_delay"],
        "id": "INC-9",
        "reported_at": "2026-06-05T00:00:00+08:00",
        "cause": "storm over the strait",
        "lines": ["1"],
        "trace_opened_at": None,
        "evidence": [{"kind": "payment_proof", "reference": "TX-77", "verified": True}],
    },
    "customer": {"id": "C-1", "tier": "gold", "locale": "zh-CN", "name": "王小明"},
    "agent": {"id": "A-7", "role": "agent"},
    "channel": "whatsapp",
    "reference": {"ticket": "ZD-88"},
    "facts": {
        "shop.campaign": True,
        "shop.pieces": None,
        "shop.weight": "12.5",
        "shop.deposit": {"amount": "40.00", "currency": "CNY"},
        "shop.waited": "PT36H",
        "shop.called_at": "2026-06-02T00:00:00Z",
        "shop.size": "large",
        "shop.tags": ["fragile", "gift"],
        "shop.note": "left at the porter's",
    },
    "as_of": "2026-06-07T00:00:00+08:00",
}


@pytest.fixture
def full() -> dict[str, Any]:
    """A body with every field of the contract, the test's own to change."""
    return copy.deepcopy(_FULL)


def as_named(claim: AgentClaim | None) -> Agent:
    return Agent(claim.id, claim.role) if claim else Agent("A-0", "agent")


@pytest.fixture
def read(pack: Pack) -> Callable[[object], ReadRequest]:
    """Read a body; its agent counts as named."""
    return lambda data: read_decision(data, pack, resolve_agent=as_named, now=NOW)


@pytest.fixture
def refused(read: Callable[[object], ReadRequest]) -> Callable[[object], list[tuple[str, str]]]:
    """(pointer, code) of every problem of a body that is refused."""

    def problems(data: object) -> list[tuple[str, str]]:
        with pytest.raises(InvalidInputError) as caught:
            read(data)
        return [(each.pointer, each.code) for each in caught.value.problems]

    return problems
