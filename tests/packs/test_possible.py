"""Which outcomes a condition can have, worked out from packs as people write them."""

from __future__ import annotations

import pytest

from policy_engine.core.policy import Pack
from policy_engine.packs.possible import Possible
from tests.packs.made import WHOLE, loaded

FACTS = """facts:
  incident.types: {type: set, values: [shipping_delay, oversold]}
  customer.tier: {type: enum, values: [standard, gold]}
  shop.campaign: {type: boolean, from: request, default: false}
  shop.note: {type: string, from: request}
  shop.weight: {type: decimal, from: request}
  shop.deposit: {type: money, from: request, default: {CNY: "1.00"}}
  shop.marks: {type: set, from: request, default: [vip]}
  case.severity:
    type: enum
    values: [low, high]
    derive:
      - {is: high, when: {fact: shop.campaign, is: true}}
      - {is: low}
  case.gap:
    type: enum
    values: [some]
    derive:
      - {is: some, when: {fact: customer.tier, is: gold}}
"""


def pack_with(when: str) -> Pack:
    policy = WHOLE["shipping_delay.yaml"].replace("{fact: shipping.delay, over: P5D}", when)
    found = loaded({"facts.yaml": FACTS, "shipping_delay.yaml": policy})
    assert found.pack is not None, [str(each) for each in found.problems]
    return found.pack


def words(when: str) -> str:
    pack = pack_with(when)
    condition = pack.policies[0].plans[0].when
    assert condition is not None
    outcomes = Possible(pack).outcomes(condition, pack.policies[0].applies_to)
    letters = {True: "T", False: "F", None: "U"}
    return "".join(letters[each] for each in (True, False, None) if each in outcomes)


@pytest.mark.parametrize(
    ("when", "possible"),
    [
        # What is omitted is unknown; null and values are true or false.
        ("{fact: shipping.delay, over: P5D}", "TFU"),
        ("{fact: customer.tier, is: gold}", "TFU"),
        # A default stands in for what is omitted.
        ("{fact: shop.campaign, is: true}", "TF"),
        ("{fact: shop.note, present: true}", "TFU"),
        # A default of money stands in only for orders in its currencies.
        ("{fact: shop.deposit, present: true}", "TFU"),
        ("{fact: shop.marks, present: true}", "TF"),
        # What every request has is never unknown or absent.
        ("{fact: order.id, present: true}", "T"),
        ("{fact: agent.role, is: boss}", "TF"),
        ("{fact: order.goods_paid, absent: true}", "FU"),
        # The policy applies to one type alone, so a request with another has this one too.
        ("{fact: incident.types, contains: shipping_delay}", "T"),
        ("{fact: incident.types, contains: oversold}", "TF"),
        # Derived facts are as known as their rules; the else keeps one from being absent.
        ("{fact: case.severity, is: high}", "TF"),
        ("{fact: case.severity, absent: true}", "F"),
        ("{fact: case.gap, absent: true}", "TFU"),
        # Comparisons of one fact are seen together.
        ("{any: [{fact: order.age, over: P3D}, {fact: order.age, at_most: P3D}]}", "TFU"),
        ("{all: [{fact: order.age, over: P3D}, {fact: order.age, under: P1D}]}", "FU"),
        ("{all: [{fact: order.age, over: P3D}, {fact: shop.campaign, is: true}]}", "TFU"),
        ("{not: {fact: shop.campaign, is: true}}", "TF"),
        # An amount in no currency that the condition names leaves it unknown.
        ('{fact: order.goods_paid, over: {CNY: "10.00"}}', "TFU"),
        ("{fact: incident.evidence, contains: photo}", "TFU"),
    ],
)
def test_outcomes(when: str, possible: str) -> None:
    assert words(when) == possible


@pytest.mark.parametrize(
    ("when", "possible"),
    [
        ('{fact: shop.weight, over: "1234.5"}', "TFU"),
        ('{all: [{fact: shop.weight, over: "9999999999.5"}]}', "TFU"),
        # Beside the ends of the calendar there is nothing.
        ('{fact: order.paid_at, at_least: "0001-01-01T00:00:00Z"}', "TFU"),
        ('{fact: order.paid_at, at_most: "9999-12-31T23:59:59.999999Z"}', "TFU"),
        ("{fact: agent.role, is: nobody}", "F"),
        ("{fact: agent.role, in: [agent, boss]}", "T"),
    ],
)
def test_every_literal_has_values_beside_it(when: str, possible: str) -> None:
    assert words(when) == possible


def test_a_set_in_which_many_values_are_looked_for_may_hold_them_all() -> None:
    looked_for = ", ".join(f"{{fact: incident.evidence, contains: e{n}}}" for n in range(9))
    assert words(f"{{all: [{looked_for}]}}") == "TFU"


def test_where_there_are_too_many_combinations_nothing_possible_is_left_out() -> None:
    names = [
        "order.placed_at", "order.paid_at", "order.promised_dispatch_by", "order.dispatched_at",
        "order.expected_dispatch_at", "order.promised_delivery_by", "order.last_tracking_at",
        "order.delivered_at", "incident.reported_at", "incident.trace_opened_at",
    ]  # fmt: skip
    parts = ", ".join(f"{{fact: {name}, present: true}}" for name in names)
    assert words(f"{{all: [{parts}]}}") == "TFU"
    assert words(f"{{any: [{parts}, {{fact: order.id, present: true}}]}}") == "T"
