"""Warnings: said only where they are sure, and then where the cause stands."""

from __future__ import annotations

import pytest

from tests.packs.broken import cap, fact, policy, remedy, when
from tests.packs.made import WHOLE, found, in_plan, loaded

POLICY = WHOLE["shipping_delay.yaml"]
Files = dict[str, "str | None"]
Where = tuple[str, int, int, str]

SEVERITY = """  case.severity: {type: enum, values: [low, medium, high], derive: [
    {is: high, when: {fact: shipping.delay, over: P9D}}, {is: low}]}
"""


def severity(rest: str) -> Files:
    return {"facts.yaml": WHOLE["facts.yaml"] + SEVERITY, **when(rest)}


def version(name: str, start: int, end: int) -> Files:
    span = f'{{from: "{start}-01-01T00:00:00Z", until: "{end}-01-01T00:00:00Z"}}'
    return {name: POLICY + f"effective: {span}\n"}


HI = "scripts: {hi: {offer: {}}}"

WARNED: list[tuple[Files, Where]] = [
    (policy("parameters: {a: x}"), ("p.yaml", 4, 14, "UNUSED_PARAMETER")),
    (
        policy("parameters: {a: hi}\nmessage: $a\nunconfirmed: [a]") | {"messages/en.yaml": HI},
        ("p.yaml", 4, 14, "UNCONFIRMED_PARAMETER"),
    ),
    (fact("{type: boolean, from: request}"), ("facts.yaml", 4, 3, "UNUSED_FACT")),
    (fact("{type: duration, since: order.paid_at}"), ("facts.yaml", 4, 3, "UNUSED_FACT")),
    (
        fact(
            "{type: boolean, derive: "
            "[{is: true, when: {all: [{fact: channel, is: a}, {fact: channel, is: b}]}}]}"
        ),
        ("facts.yaml", 4, 3, "FACT_NEVER_SUPPLIED"),
    ),
    (
        severity("{fact: case.severity, is: high}"),
        ("facts.yaml", 4, 3, "VALUE_NEVER_DERIVED"),
    ),
    (
        severity("{fact: case.severity, is: medium}"),
        ("shipping_delay.yaml", 13, 24, "NEVER_TRUE"),
    ),
    (
        when("{all: [{fact: shipping.delay, over: P5D}, {fact: shipping.delay, at_most: P5D}]}"),
        ("shipping_delay.yaml", 13, 24, "NEVER_TRUE"),
    ),
    (
        when("{all: [{fact: customer.tier, is: gold}, {fact: customer.tier, absent: true}]}"),
        ("shipping_delay.yaml", 13, 24, "NEVER_TRUE"),
    ),
    (
        when(
            "{any: [{fact: customer.tier, in: [gold, standard]}, "
            "{fact: customer.tier, absent: true}]}"
        ),
        ("shipping_delay.yaml", 13, 24, "ALWAYS_TRUE"),
    ),
    (
        when("{fact: incident.types, contains: shipping_delay}"),
        ("shipping_delay.yaml", 13, 24, "ALWAYS_TRUE"),
    ),
    (
        in_plan('title: {en: M}, remedies: [{kind: refund, percent: "5", of: order.goods_paid}]')
        | {"roles.yaml": "roles: {agent: {may: [coupon, gift]}}"},
        ("shipping_delay.yaml", 13, 12, "PLAN_NOBODY_CAN_GIVE"),
    ),
    (
        cap('{cap: no, scope: order, measure: value, kinds: [gift], limit: {CNY: "0.00"}}'),
        ("shipping_delay.yaml", 10, 11, "PLAN_NOBODY_CAN_GIVE"),
    ),
    (
        cap("{cap: no, scope: claim, measure: count, kinds: [gift], limit: 0}"),
        ("shipping_delay.yaml", 10, 11, "PLAN_NOBODY_CAN_GIVE"),
    ),
    (
        remedy('{kind: gift, amount: {USD: "1.00"}}'),
        ("shipping_delay.yaml", 13, 12, "PLAN_NOBODY_CAN_GIVE"),
    ),
    (
        remedy('{kind: gift, amount: {USD: "1.00"}}'),
        ("shipping_delay.yaml", 13, 50, "CURRENCY_MISSING"),
    ),
    (
        when('{fact: order.goods_paid, over: {USD: "1.00"}}'),
        ("shipping_delay.yaml", 13, 24, "CURRENCY_MISSING"),
    ),
    (
        remedy(
            '{kind: coupon, percent: "5", of: order.goods_paid, min_spend: {USD: "1.00"}, '
            "valid_for: P9D}"
        ),
        ("shipping_delay.yaml", 13, 91, "CURRENCY_MISSING"),
    ),
    (
        fact('{type: money, from: request, default: {USD: "1.00"}}'),
        ("facts.yaml", 4, 44, "CURRENCY_MISSING"),
    ),
    (
        version("shipping_delay.yaml", 2026, 2027) | version("z.yaml", 2028, 2029),
        ("z.yaml", 1, 9, "GAP_BETWEEN_VERSIONS"),
    ),
    ({"caps.yaml": "caps: []"}, ("roles.yaml", 2, 3, "ROLE_WITHOUT_VALUE_CAP")),
    (
        {"caps.yaml": "caps: [{cap: a, scope: order, measure: count, limit: 1}]"},
        ("roles.yaml", 2, 3, "ROLE_WITHOUT_VALUE_CAP"),
    ),
    (
        in_plan("title: {en: M}, remedies: [{kind: keep_item}]")
        | cap("{cap: no, scope: claim, measure: count, kinds: [keep_item], limit: 0}"),
        ("shipping_delay.yaml", 13, 12, "PLAN_NOBODY_CAN_GIVE"),
    ),
    (
        {"caps.yaml": WHOLE["caps.yaml"].replace("measure", "roles: [agent], measure")},
        ("roles.yaml", 3, 3, "ROLE_WITHOUT_VALUE_CAP"),
    ),
    (
        cap("{cap: no, scope: claim, measure: count, kinds: [refund], limit: 1}"),
        ("caps.yaml", 3, 11, "CAP_NEVER_REACHED"),
    ),
    (
        {
            "facts.yaml": "facts:\n  incident.types: {type: set, values: [shipping_delay, lost]}\n"
            "  customer.tier: {type: enum, values: [standard, gold]}\n"
        },
        ("facts.yaml", 2, 3, "FEW_PLANS"),
    ),
    (in_plan("remedies: [{kind: keep_item}]"), ("shipping_delay.yaml", 13, 12, "MISSING_TITLE")),
    (
        {"messages/en.yaml": HI, "messages/zh-CN.yaml": HI},
        ("shipping_delay.yaml", 2, 8, "MISSING_TRANSLATION"),
    ),
    (
        policy("message: hi") | {"messages/en.yaml": HI, "messages/zh-CN.yaml": "scripts: {}"},
        ("p.yaml", 4, 10, "MISSING_TRANSLATION"),
    ),
    ({"messages/en.yaml": "scripts: {hi: {}}"}, ("messages/en.yaml", 1, 11, "MISSING_SCRIPT")),
]


@pytest.mark.parametrize("case", WARNED, ids=lambda case: f"{case[1][3]}-{case[1][1]}")
def test_the_warning_is_given_and_the_pack_still_loads(case: tuple[Files, Where]) -> None:
    changed, where = case
    result = loaded(changed)
    assert result.pack is not None
    assert where in found(result), "\n".join(map(str, result.problems))


@pytest.mark.parametrize(
    "condition",
    [
        "{all: [{fact: shipping.delay, at_least: P5D}, {fact: shipping.delay, at_most: P5D}]}",
        "{any: [{fact: shipping.delay, over: P5D}, {fact: shipping.delay, at_most: P5D}]}",
        "{not: {fact: customer.tier, in: [gold, standard]}}",
        "{fact: order.delivered_at, absent: true}",
        '{fact: order.goods_paid, at_least: {CNY: "0.01"}}',
        "{all: [{fact: channel, is_not: a}, {fact: channel, is_not: b}]}",
    ],
)
def test_what_can_be_true_and_false_is_not_warned_of(condition: str) -> None:
    result = loaded(
        in_plan(f"title: {{en: M}}, when: {condition}, remedies: [{{kind: keep_item}}]")
    )
    assert found(result) == []


def test_a_missing_currency_says_what_becomes_of_orders_in_it() -> None:
    coupon = '{kind: coupon, percent: "5", of: order.goods_paid, min_spend: {USD: "1.00"}}'
    (told,) = [each for each in loaded(remedy(coupon)).problems if each.code == "CURRENCY_MISSING"]
    assert told.message == (
        "no amount in `CNY`, which the caps have; coupons in it have no minimum, so add one"
    )


def test_a_floor_needs_no_room_under_caps() -> None:
    shut = cap('{cap: no, scope: order, measure: value, kinds: [gift], limit: {CNY: "0.00"}}')
    floor = POLICY.replace("  - plan: gift\n", "  - plan: gift\n    floor: goodwill\n")
    assert found(loaded({**shut, "shipping_delay.yaml": floor})) == []


def test_a_plan_that_begins_with_what_a_role_may_give_is_given_in_part() -> None:
    roles = {"roles.yaml": "roles: {agent: {may: [coupon, gift]}}"}
    mixed = in_plan(
        'title: {en: M}, remedies: [{kind: coupon, percent: "5", of: order.goods_paid}, '
        '{kind: refund, percent: "5", of: order.goods_paid}]'
    )
    assert found(loaded({**roles, **mixed})) == []


def test_a_fact_that_only_a_script_shows_is_used() -> None:
    changed = fact("{type: string, from: request}")
    changed["facts.yaml"] = (changed["facts.yaml"] or "").replace("  x:", "  shop.note:")
    assert [each[3] for each in found(loaded(changed))] == ["UNUSED_FACT"]
    changed["messages/en.yaml"] = "scripts: {hi: {offer: {opening: \"{{ facts['shop.note'] }}\"}}}"
    assert "UNUSED_FACT" not in [each[3] for each in found(loaded(changed))]


def test_a_pack_with_an_error_gives_no_warning_about_the_whole() -> None:
    result = loaded({"caps.yaml": WHOLE["caps.yaml"].replace("scope: order", "scope: ordr")})
    assert [each[3] for each in found(result)] == ["UNKNOWN_VALUE"]
