"""Explaining: every plan with its condition, what was observed, and what would change it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from policy_engine.packs.explain import explain
from policy_engine.packs.explanation import ALWAYS, ExplainedPlan, Explanation, Node
from policy_engine.packs.offline import OfflineEngine
from policy_engine.packs.show import condition_text, show
from policy_engine.rete import best_matcher
from tests.packs.made import WHOLE, earlier_grants, loaded

NOW = datetime(2026, 6, 7, tzinfo=UTC)
ORDER = {
    "id": "SO-1",
    "currency": "CNY",
    "promised_delivery_by": "2026-06-01T00:00:00Z",
    "shipping_paid": "0.00",
    "lines": [{"id": "1", "quantity": 1, "paid": "8000.00"}],
}
FILES = {
    "facts.yaml": """facts:
  incident.types: {type: set, values: [shipping_delay]}
  customer.tier: {type: enum, values: [standard, gold]}
  shop.campaign: {type: boolean, from: request, ask: {en: Was it a campaign order?}}
  case.severity:
    type: enum
    values: [low, high]
    derive:
      - {is: high, when: {fact: shipping.delay, over: P10D}}
      - {is: low}
""",
    "caps.yaml": """caps:
  - {cap: order_total, scope: order, measure: value, limit: {CNY: "500.00"}}
  - {cap: agent_order, scope: order, measure: value, roles: [agent], limit: {CNY: "300.00"}}
""",
    "shipping_delay.yaml": WHOLE["shipping_delay.yaml"]
    + """  - plan: severe
    title: {en: Severe}
    when: {all: [{fact: case.severity, is: high}, {not: {fact: customer.tier, is: gold}}]}
    remedies: [{kind: coupon, percent: "8", of: order.goods_paid}]
  - plan: campaign
    title: {en: Campaign}
    when: {fact: shop.campaign, is: true}
    evidence: [{kind: photo}]
    remedies: [{kind: coupon, amount: {CNY: "5.00"}}]
actions:
  - {action: trace, when: {fact: shipping.delay, over: P5D}, within: PT1H}
""",
}


def explained(
    grants: tuple[dict[str, str], ...] = (),
    changed: dict[str, str | None] | None = None,
    **change: object,
) -> Explanation:
    pack = loaded({**FILES, **(changed or {})}).pack
    assert pack is not None
    request = {
        "order": ORDER,
        "incident": {"types": ["shipping_delay"]},
        "customer": {"id": "C1", "tier": "standard"},
        "agent": {"id": "A1", "role": "agent"},
        "as_of": "2026-06-07T00:00:00Z",
        **change,
    }
    with OfflineEngine(pack, best_matcher("interpreter")) as engine:
        answer = engine.decide(request, NOW, earlier_grants(*grants))
    return explain(pack, answer, "en")


def plan(explanation: Explanation, name: str, policy: str = "shipping_delay") -> ExplainedPlan:
    return next(each for each in explanation.plans if each.plan == f"{policy}/{name}")


def test_every_plan_is_there_offered_or_not() -> None:
    verdicts = {each.plan: each.verdict for each in explained().plans}
    assert verdicts == {
        "shipping_delay/coupon": "offered",
        "shipping_delay/gift": "offered",
        "shipping_delay/severe": "CONDITION_FALSE",
        "shipping_delay/campaign": "FACTS_MISSING",
    }


def test_an_offered_plan_says_what_was_given_what_bound_it_and_who_can_give_more() -> None:
    coupon = plan(explained(), "coupon")
    (remedy,) = coupon.remedies
    assert (remedy.entitled, remedy.allowed, remedy.pending, remedy.uncovered) == (
        "400.00 CNY",
        "300.00 CNY",
        "100.00 CNY",
        "0.00 CNY",
    )
    assert (coupon.binding_cap, coupon.approver, coupon.recommended) == (
        "agent_order",
        "boss",
        True,
    )
    assert coupon.would_change == (
        "cap `agent_order` (order) leaves 300.00 CNY of 300.00 CNY, 0.00 CNY used",
        "`boss` can approve 100.00 CNY more",
    )


def test_a_condition_is_a_tree_of_what_was_observed_and_required() -> None:
    node = plan(explained(), "severe").condition
    assert node is not None
    assert (node.text, node.outcome) == ("all of", "false")
    severity, negation = node.parts
    assert (severity.fact, severity.observed, severity.required, severity.outcome) == (
        "case.severity",
        "low",
        "is high",
        "false",
    )
    assert (negation.text, negation.outcome) == ("not", "true")
    assert negation.parts[0].outcome == "false"


def test_a_false_condition_says_what_would_have_to_be() -> None:
    assert plan(explained(), "severe").would_change == (
        "`case.severity` is low; required: is high",
    )


def test_a_missing_fact_is_asked_for_in_the_packs_words() -> None:
    explanation = explained()
    assert (
        "send `shop.campaign`: Was it a campaign order?"
        in plan(explanation, "campaign").would_change
    )
    assert ("shop.campaign", "Was it a campaign order?") in explanation.facts_needed
    node = plan(explanation, "campaign").condition
    assert node is not None
    assert (node.outcome, node.observed) == ("unknown", "not sent")


def test_missing_evidence_is_asked_for() -> None:
    with_fact = explained(facts={"shop.campaign": True})
    campaign = plan(with_fact, "campaign")
    assert campaign.verdict == "EVIDENCE_MISSING"
    assert campaign.would_change[0].startswith("send `incident.evidence.photo`")


def test_an_exhausted_cap_is_named_with_what_is_used() -> None:
    used = {
        "customer": "C1",
        "order": "SO-1",
        "at": "2026-06-06T00:00:00Z",
        "value": "500.00",
        "currency": "CNY",
    }
    coupon = plan(explained((used,)), "coupon")
    assert coupon.verdict == "CAP_EXHAUSTED"
    assert (
        "cap `order_total` (order) leaves 0.00 CNY of 500.00 CNY, 500.00 CNY used"
        in coupon.would_change
    )


TWO_POLICIES: dict[str, str | None] = {
    "caps.yaml": """caps:
  - {cap: once, scope: claim, measure: count, limit: 1}
  - {cap: refunds, scope: customer, measure: value, kinds: [refund], limit: {CNY: "1.00"}}
  - {cap: gifts, scope: order, measure: value, kinds: [gift], limit: {CNY: "20.00"}}
""",
    "m3.yaml": """policy: m3
title: {en: Three}
reason_code: M3
applies_to: [shipping_delay]
plans:
  - plan: coupon
    title: {en: Coupon}
    remedies: [{kind: coupon, amount: {CNY: "5.00"}}]
""",
}
GRANT = {
    "customer": "C1",
    "order": "SO-1",
    "at": "2026-06-06T00:00:00Z",
    "value": "10.00",
    "currency": "CNY",
}


def test_only_the_caps_over_a_plan_are_named_and_each_of_them_once() -> None:
    explanation = explained(({**GRANT, "kind": "coupon"},), TWO_POLICIES)
    once = "leaves 0 of 1, 1 used"
    assert plan(explanation, "coupon").would_change == (
        f"cap `once` (claim shipping_delay) {once}",
    )
    assert plan(explanation, "coupon", "m3").would_change == (f"cap `once` (claim m3) {once}",)


def test_a_cap_that_leaves_too_little_for_a_gift_is_named() -> None:
    caps = {"caps.yaml": (TWO_POLICIES["caps.yaml"] or "").replace("limit: 1}", "limit: 9}")}
    explanation = explained(({**GRANT, "kind": "gift"},), caps)
    gift = plan(explanation, "gift")
    assert gift.verdict == "CAP_EXHAUSTED"
    assert gift.would_change == (
        "cap `gifts` (order) leaves 10.00 CNY of 20.00 CNY, 10.00 CNY used",
    )


def test_the_binding_cap_is_the_one_over_the_plans_own_policy() -> None:
    caps = """caps:
  - {cap: each, scope: claim, measure: value, limit: {CNY: "3.00"}}
"""
    explanation = explained((), {**TWO_POLICIES, "caps.yaml": caps})
    assert plan(explanation, "coupon", "m3").would_change == (
        "cap `each` (claim m3) leaves 3.00 CNY of 3.00 CNY, 0.00 CNY used",
        "nobody up the approver chain can give the other 2.00 CNY",
    )


ADD_ONS = """add_ons:
  - {add_on: sure, remedies: [{kind: gift, amount: {CNY: "1.00"}}]}
  - {add_on: proven, evidence: [{kind: photo}], remedies: [{kind: gift, amount: {CNY: "1.00"}}]}
  - {add_on: foreign, remedies: [{kind: gift, amount: {USD: "1.00"}}]}
  - {add_on: asked, when: {fact: shop.campaign, is: true}, remedies: [{kind: keep_item}]}
  - {add_on: late, when: {fact: shipping.delay, over: P9D}, remedies: [{kind: keep_item}]}
"""


def add_ons(explanation: Explanation) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {
        each.name.partition("/")[2]: (each.verdict, each.would_change)
        for each in explanation.add_ons
    }


def test_an_add_on_that_joins_no_plan_says_what_it_lacks() -> None:
    policy = {"shipping_delay.yaml": FILES["shipping_delay.yaml"] + ADD_ONS}
    explanation = explained((), policy)
    assert add_ons(explanation) == {
        "sure": ("appended", ()),
        "proven": (
            "not appended",
            ("send `incident.evidence.photo`: Please provide evidence of this kind: photo.",),
        ),
        "foreign": ("not appended", ("the policy names no amount in CNY",)),
        "asked": ("not appended", ("send `shop.campaign`: Was it a campaign order?",)),
        "late": ("not appended", ()),
    }
    proven = next(each for each in explanation.add_ons if each.name.endswith("/proven"))
    assert [(each.outcome, each.fact, each.observed) for each in proven.evidence] == [
        ("false", "incident.evidence.photo", "not sent")
    ]


def test_an_add_on_without_a_plan_to_join_says_so() -> None:
    policy = {"shipping_delay.yaml": FILES["shipping_delay.yaml"] + ADD_ONS}
    spent = {**GRANT, "value": "500.00"}
    assert add_ons(explained((spent,), policy))["sure"] == (
        "not appended",
        ("it stacks on a plan, and no plan that takes add-ons is offered",),
    )


REFUND = """  - plan: refund
    title: {en: Refund}
    remedies: [{kind: refund, percent: "%s", of: order.goods_paid}]
"""


def refunding(percent: str, limit: str = "90000.00") -> dict[str, str | None]:
    policy = FILES["shipping_delay.yaml"].replace("actions:", REFUND % percent + "actions:")
    caps = f'caps: [{{cap: total, scope: order, measure: value, limit: {{CNY: "{limit}"}}}}]'
    return {"shipping_delay.yaml": policy, "caps.yaml": caps}


RETURNED = {**GRANT, "value": "7900.00", "kind": "refund"}


def test_what_was_given_back_already_is_told_apart_from_what_nobody_may_give() -> None:
    returned = "7900.00 CNY was already given back on this order, "
    refund = plan(explained((RETURNED,), refunding("50")), "refund")
    assert refund.would_change == (returned + "which leaves 3900.00 CNY less to give",)
    refund = plan(explained((RETURNED,), refunding("50", "7930.00")), "refund")
    assert refund.would_change == (
        "cap `total` (order) leaves 30.00 CNY of 7930.00 CNY, 7900.00 CNY used",
        returned + "which leaves 3900.00 CNY less to give",
        "nobody up the approver chain can give the other 70.00 CNY",
    )


def test_more_than_was_paid_is_told() -> None:
    refund = plan(explained((), refunding("110")), "refund")
    assert refund.would_change == ("800.00 CNY of it is more than was paid",)


def test_where_nothing_is_left_it_says_why() -> None:
    spent = {**RETURNED, "value": "8000.00"}
    assert plan(explained((spent,), refunding("50")), "refund").would_change == (
        "all that was paid for it is already given back (8000.00 CNY)",
    )
    assert plan(explained((), refunding("0")), "refund").would_change == ("it comes to zero",)


def test_a_plan_without_a_condition_shows_that_and_the_evidence_it_lacks() -> None:
    proof = """  - plan: proof
    title: {en: Proof}
    evidence: [{kind: photo, needs: [reference]}]
    remedies: [{kind: keep_item}]
actions:"""
    policy = FILES["shipping_delay.yaml"].replace("actions:", proof)
    unproven = plan(explained((), {"shipping_delay.yaml": policy}), "proof")
    assert unproven.verdict == "EVIDENCE_MISSING"
    assert unproven.condition == ALWAYS
    photo = "incident.evidence.photo"
    assert unproven.evidence == (
        Node(
            "false",
            "evidence photo with reference",
            photo,
            "not sent",
            "sent with reference",
        ),
    )
    incident = {"types": ["shipping_delay"], "evidence": [{"kind": "photo", "reference": "p1"}]}
    proven = plan(explained((), {"shipping_delay.yaml": policy}, incident=incident), "proof")
    assert proven.verdict == "offered"
    assert [(each.outcome, each.observed) for each in proven.evidence] == [("true", "sent")]


def test_derived_facts_show_which_rule_decides() -> None:
    (severity,) = explained().derived
    assert (severity.fact, severity.value) == ("case.severity", "low")
    assert [(rule.name, rule.verdict) for rule in severity.rules] == [
        ("is high", "does not hold"),
        ("is low", "decides"),
    ]


def test_actions_say_when_they_are_due() -> None:
    (action,) = explained().actions
    assert (action.name, action.verdict) == (
        "shipping_delay/trace",
        "due by 2026-06-07T01:00:00Z",
    )


def test_an_explanation_is_plain_data() -> None:
    data = asdict(explained())
    assert data["outcome"] == "offer"
    assert data["caps"][0]["headroom"] == "500.00 CNY"


def test_showing_a_pack_says_what_each_plan_gives() -> None:
    pack = loaded(
        {
            **FILES,
            "shipping_delay.yaml": FILES["shipping_delay.yaml"]
            .replace("plans:", 'parameters: {percent: "5"}\nunconfirmed: [percent]\nplans:', 1)
            .replace('percent: "5", of', "percent: $percent, of", 1),
        }
    ).pack
    assert pack is not None
    shown = show(pack)
    (policy,) = shown.policies
    assert [(each.name, each.value, each.confirmed) for each in policy.parameters] == [
        ("percent", "5", False)
    ]
    assert policy.plans[0].when == "shipping.delay over P5D"
    assert policy.plans[0].gives == ("coupon: 5 % of order.goods_paid",)
    assert policy.plans[2].when == "case.severity is high and not (customer.tier is gold)"
    assert [(cap.cap, cap.limit, cap.holds_for) for cap in shown.caps] == [
        ("order_total", "500.00 CNY", "all"),
        ("agent_order", "300.00 CNY", "roles agent"),
    ]
    assert [(role.role, role.approver) for role in shown.roles] == [("agent", "boss"), ("boss", "")]


def test_a_condition_on_one_line_keeps_its_meaning() -> None:
    policy = WHOLE["shipping_delay.yaml"].replace(
        "{fact: shipping.delay, over: P5D}",
        "{any: [{fact: order.age, over: P1D}, {all: [{fact: order.age, under: PT1H}, "
        "{any: [{fact: customer.tier, is: gold}, {fact: customer.tier, absent: true}]}]}]}",
    )
    pack = loaded({"shipping_delay.yaml": policy}).pack
    assert pack is not None
    assert condition_text(pack.policies[0].plans[0].when) == (
        "order.age over P1D or (order.age under PT1H and "
        "(customer.tier is gold or customer.tier absent))"
    )
