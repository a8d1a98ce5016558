"""Packs, requests and orders made up for the bench. Everything is drawn from one seed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from bench.zen_rows import DAYS, GROUPS, TIERS
from policy_engine.core.evaluation import Engine
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Usage, UsageQuestion
from policy_engine.core.request import Agent, DecisionRequest
from policy_engine.packs.files import PackFiles
from policy_engine.packs.loading import load
from policy_engine.rete import MatcherSetting, best_matcher
from policy_engine.wire.requests import AgentClaim, read_decision

AS_OF = datetime(2026, 6, 10, 12, tzinfo=UTC)
SHIPPED = Path(__file__).parent.parent / "policies"

_ROLES = "roles: {agent: {approver: supervisor, may: all}, supervisor: {may: all}}\n"
_CAPS = """caps:
  - {cap: order_total, scope: order, measure: value, limit: {percent: "100", of: order.goods_paid}}
  - {cap: customer_30d, scope: customer, measure: value, window: P30D, limit: {CNY: "500.00"}}
"""


def pack_of(files: dict[str, str]) -> Pack:
    """The pack of these files; an AssertionError with its problems if it has errors."""
    loaded = load(PackFiles({name: text.encode() for name, text in files.items()}))
    assert loaded.pack is not None, [str(problem) for problem in loaded.problems]
    return loaded.pack


class NothingGranted:
    """A UsagePort of a shop that has granted nothing yet."""

    def read(self, question: UsageQuestion) -> Usage:  # noqa: ARG002 - the port's signature
        return Usage()


@dataclass(frozen=True)
class Case:
    """An engine and a request that it is asked again and again."""

    engine: Engine
    requests: tuple[DecisionRequest, ...]

    def decide(self, number: int) -> object:
        return self.engine.evaluate(
            self.requests[number % len(self.requests)], AS_OF, NothingGranted()
        )


def case(pack: Pack, bodies: Iterator[dict[str, Any]], matcher: MatcherSetting) -> Case:
    """The bodies read under the pack, ready to be decided."""

    def named(claim: AgentClaim | None) -> Agent:
        assert claim is not None
        return Agent(claim.id, claim.role)

    read = (read_decision(body, pack, resolve_agent=named, now=AS_OF) for body in bodies)
    return Case(Engine(pack, best_matcher(matcher)), tuple(each.request for each in read))


# --- One table -----------------------------------------------------------------------------------


def table(rows: int) -> dict[str, str]:
    """A pack with one decision table: a derived fact of `rows` rules, the first that holds.

    Four columns, as in `zen_table.py`: a group, a tier, at least so many points and days.
    """
    rules = "".join(
        f"      - {{is: {row}, when: {_row(row)}}}\n" for row in reversed(range(1, rows + 1))
    )
    facts = f"{_table_facts()}  order.row:\n    type: integer\n    derive:\n{rules}"
    policy = """policy: table
title: {en: Table}
reason_code: TABLE
applies_to: [delay]
plans:
  - plan: coupon
    title: {en: Coupon}
    when: {fact: order.row, present: true}
    remedies: [{kind: coupon, amount: {CNY: "5.00"}}]
"""
    return {"roles.yaml": _ROLES, "caps.yaml": _CAPS, "facts.yaml": facts, "table.yaml": policy}


def plans_table(rows: int) -> dict[str, str]:
    """The same table as `rows` plans of one policy; the best three that hold are offered."""
    plans = "".join(
        f"  - plan: row_{row}\n    title: {{en: Row {row}}}\n    when: {_row(row)}\n"
        '    remedies: [{kind: coupon, amount: {CNY: "5.00"}}]\n'
        for row in range(1, rows + 1)
    )
    policy = (
        "policy: table\ntitle: {en: Table}\nreason_code: TABLE\napplies_to: [delay]\n"
        f"plans:\n{plans}"
    )
    facts = _table_facts()
    return {"roles.yaml": _ROLES, "caps.yaml": _CAPS, "facts.yaml": facts, "table.yaml": policy}


def _row(row: int) -> str:
    return (
        f"{{all: [{{fact: order.group, is: g{row % GROUPS}}}, "
        f"{{fact: order.tier, is: t{row % TIERS}}}, "
        f"{{fact: order.points, at_least: {row}}}, {{fact: order.days, at_least: {row % DAYS}}}]}}"
    )


def _table_facts() -> str:
    groups = ", ".join(f"g{number}" for number in range(GROUPS))
    tiers = ", ".join(f"t{number}" for number in range(TIERS))
    return (
        "facts:\n"
        f"  order.group: {{type: enum, from: request, values: [{groups}]}}\n"
        f"  order.tier: {{type: enum, from: request, values: [{tiers}]}}\n"
        "  order.points: {type: integer, from: request}\n"
        "  order.days: {type: integer, from: request}\n"
    )


def table_bodies(rows: int, count: int = 2_000) -> Iterator[dict[str, Any]]:
    """Requests that between them reach all of the table's rows."""
    random = Random(7)
    for number in range(count):
        facts = {
            "order.group": f"g{random.randrange(GROUPS)}",
            "order.tier": f"t{random.randrange(TIERS)}",
            "order.points": random.randrange(rows),
            "order.days": random.randrange(DAYS),
        }
        yield body(number, ["delay"], facts=facts)


def body(number: int, types: list[str], **more: Any) -> dict[str, Any]:
    """A request about one order of one line."""
    return {
        "order": {
            "id": f"SO-{number}",
            "currency": "CNY",
            "placed_at": "2026-05-20T08:00:00Z",
            "promised_delivery_by": "2026-06-01T00:00:00Z",
            "delivered_at": None,
            "lines": [{"id": "1", "sku": "TEA", "quantity": 2, "paid": "168.00"}],
        },
        "incident": {"types": types},
        "customer": {"id": f"C-{number}", "tier": "gold"},
        "agent": {"id": "A-7", "role": "agent"},
        **more,
    }


# --- Many policies -------------------------------------------------------------------------------


def many_policies(rules: int) -> dict[str, str]:
    """`rules` rules, ten a policy; ten policies apply to `delay`, every other to a type of its own.

    The shape of a real pack that grows: more policies, and no more of them about one incident.
    """
    files = {"roles.yaml": _ROLES, "caps.yaml": _CAPS}
    for policy in range(rules // 10):
        plans = "".join(
            f"  - plan: p{rule}\n    title: {{en: Plan {rule}}}\n"
            f"    when: {{all: [{{fact: shipping.delay, over: PT{policy * 10 + rule + 1}H}}, "
            f"{{fact: customer.tier, is: tier_{(policy + rule) % 40}}}]}}\n"
            '    remedies: [{kind: coupon, percent: "5", of: order.goods_paid}]\n'
            for rule in range(10)
        )
        concerns = "delay" if policy < 10 else f"other_{policy}"
        files[f"policy_{policy}.yaml"] = (
            f"policy: policy_{policy}\ntitle: {{en: Policy {policy}}}\nreason_code: R{policy}\n"
            f"applies_to: [{concerns}]\nplans:\n{plans}"
        )
    return files


def delay_bodies(count: int = 200) -> Iterator[dict[str, Any]]:
    """Incidents about which ten policies of `many_policies` have something to say."""
    for number in range(count):
        made = body(number, ["delay"])
        made["customer"]["tier"] = f"tier_{number % 40}"
        made["order"]["promised_delivery_by"] = f"2026-06-{1 + number % 9:02d}T00:00:00Z"
        yield made


# --- Fifty questions, two rules each, also asked of Cerbos ---------------------------------------

QUESTIONS = 50
TYPES = 25


@dataclass(frozen=True)
class Question:
    """May this plan be had? Either of two rules lets it."""

    number: int

    @property
    def incident(self) -> str:
        return f"incident_{self.number // 2}"

    @property
    def plan(self) -> str:
        return f"plan_{self.number % 2}"

    @property
    def delay_days(self) -> int:
        return 1 + self.number % 7

    @property
    def goods(self) -> int:
        return 50 + self.number


def questions() -> list[Question]:
    return [Question(number) for number in range(QUESTIONS)]


def fifty_questions() -> dict[str, str]:
    """100 rules: 25 incident types with a policy of two plans, and two rules a plan."""
    files = {"roles.yaml": _ROLES, "caps.yaml": _CAPS}
    for first in range(0, QUESTIONS, 2):
        plans = "".join(_question_plan(Question(number)) for number in (first, first + 1))
        incident = Question(first).incident
        files[f"{incident}.yaml"] = (
            f"policy: {incident}\ntitle: {{en: Incident, zh-CN: 事件}}\n"
            f"reason_code: R{first}\napplies_to: [{incident}]\nplans:\n{plans}"
        )
    return files


def _question_plan(question: Question) -> str:
    return (
        f"  - plan: {question.plan}\n    title: {{en: Plan}}\n    when:\n      any:\n"
        f"        - {{all: [{{fact: shipping.delay, over: P{question.delay_days}D}}, "
        f'{{fact: order.goods_paid, at_least: {{CNY: "{question.goods}.00"}}}}]}}\n'
        f"        - {{all: [{{fact: customer.tier, is: gold}}, "
        f"{{fact: shipping.delay, over: PT{question.delay_days * 12}H}}]}}\n"
        '    remedies: [{kind: coupon, percent: "5", of: order.goods_paid, valid_for: P90D}]\n'
    )


def cerbos_policy() -> str:
    """The fifty questions as actions of one resource, with the same hundred rules."""
    rules = []
    for each in questions():
        name = f"{each.incident}:{each.plan}"
        late = f"request.resource.attr.delay_hours > {each.delay_days * 24}"
        worth = f"request.resource.attr.goods_minor >= {each.goods * 100}"
        gold = 'request.resource.attr.tier == "gold"'
        half = f"request.resource.attr.delay_hours > {each.delay_days * 12}"
        this = f'"{each.incident}" in request.resource.attr.types'
        rules += [_cerbos_rule(name, this, late, worth), _cerbos_rule(name, this, gold, half)]
    policy = {"version": "default", "resource": "order", "rules": rules}
    return json.dumps({"apiVersion": "api.cerbos.dev/v1", "resourcePolicy": policy})


def _cerbos_rule(action: str, *conditions: str) -> dict[str, Any]:
    return {
        "actions": [action],
        "effect": "EFFECT_ALLOW",
        "roles": ["agent"],
        "condition": {"match": {"all": {"of": [{"expr": each} for each in conditions]}}},
    }


def cerbos_body(actions: int) -> dict[str, Any]:
    """A check of the first `actions` questions, about the order that `question_body` is about."""
    names = [f"{each.incident}:{each.plan}" for each in questions()[:actions]]
    attributes = {"types": ["incident_0"], "delay_hours": 132, "goods_minor": 16800, "tier": "gold"}
    return {
        "requestId": "@ID@",
        "principal": {"id": "A-7", "roles": ["agent"]},
        "resources": [
            {"actions": names, "resource": {"kind": "order", "id": "SO-@ID@", "attr": attributes}}
        ],
    }


def question_body(types: int = 1) -> dict[str, Any]:
    """An incident of the first `types` types: two questions each."""
    made = body(0, [f"incident_{number}" for number in range(types)])
    late = (datetime.now(UTC) - timedelta(hours=132)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made["order"] |= {"id": "SO-@ID@", "promised_delivery_by": late}
    made["customer"]["id"] = "C-@ID@"
    return made


# --- Orders for the shipped pack -----------------------------------------------------------------


def orders(count: int) -> Iterator[dict[str, Any]]:
    """Requests for the shipped pack: mostly late parcels, and some of every other trouble."""
    random = Random(11)
    for number in range(count):
        yield _order(number, random)


def _order(number: int, random: Random) -> dict[str, Any]:
    kind = random.choices(
        ["shipping_delay", "not_dispatched", "oversold", "wrong_item", "foreseen_delay"],
        weights=[70, 12, 8, 6, 4],
    )[0]
    asked = AS_OF - timedelta(minutes=random.randrange(40_000))
    placed = asked - timedelta(days=random.randrange(4, 30), minutes=random.randrange(1440))
    promised = placed + timedelta(days=random.randrange(5, 12))
    sent = kind in ("shipping_delay", "wrong_item")
    arrived = sent and random.random() < 0.5
    lines = [
        {"id": str(line), "sku": f"S{random.randrange(900)}", "quantity": random.randrange(1, 4),
         "paid": f"{random.randrange(900, 60_000) / 100:.2f}"}
        for line in range(1, random.choice((2, 2, 2, 3, 4)))
    ]  # fmt: skip
    return {
        "order": {
            "id": f"SO-{number}",
            "currency": "CNY",
            "placed_at": _at(placed),
            "paid_at": _at(placed + timedelta(minutes=random.randrange(1, 90))),
            "promised_dispatch_by": _at(placed + timedelta(days=2)),
            "expected_dispatch_at": None if sent else _at(asked + timedelta(days=1)),
            "dispatched_at": _at(placed + timedelta(days=1)) if sent else None,
            "promised_delivery_by": _at(promised),
            "last_tracking_at": _at(asked - timedelta(days=random.randrange(9))) if sent else None,
            "delivered_at": _at(asked - timedelta(hours=3)) if arrived else None,
            "shipping_paid": f"{random.randrange(0, 2_500) / 100:.2f}",
            "express_cost": "25.00",
            "lines": lines,
        },
        "incident": {"types": [kind], "reported_at": _at(asked), "trace_opened_at": None},
        "customer": {
            "id": f"C-{random.randrange(1_000_000)}",
            "name": f"Customer {number}",
            "locale": random.choice(("zh-CN", "en")),
        },
        "agent": {"id": f"A-{random.randrange(30)}", "role": "agent"},
        "channel": random.choice(("whatsapp", "shop_chat")),
        "facts": {"stock.available": True},
        "as_of": _at(asked),
    }


def _at(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
