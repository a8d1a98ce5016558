"""What a decision comes to, clause by clause of CONTRACT §4 (1)-(8): money, time, conditions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from policy_engine.core.caps import PercentLimit, Scope
from policy_engine.core.conditions import All, Any, Comparison, Not, Op
from policy_engine.core.decision import DecisionOutcome, OfferedPlan
from policy_engine.core.facts import ABSENT, FactSpec, FactType, Source, Value
from policy_engine.core.money import Money, MoneyError
from policy_engine.core.policy import (
    Action,
    AddOn,
    DateBy,
    DerivedFact,
    DerivedRule,
    EvidenceNeed,
    Milestone,
    Pack,
    PackSettings,
    Per,
    RemedyRule,
    Worth,
)
from policy_engine.core.request import Evidence
from tests.core.making import (
    DAY,
    NOW,
    amounts,
    cap,
    codes,
    decide,
    fixed,
    is_,
    only_plan,
    over,
    pack,
    percent,
    plan,
    policy,
    refused,
    remedy,
    request,
    split_of,
)

GOLD = is_("customer.tier", "gold")
RICH = Comparison("order.goods_paid", Op.OVER, FactType.MONEY, tuple(amounts("5.00 CNY").values()))


def of_remedies(*remedies: RemedyRule, **options: object) -> Pack:
    return pack(policy("late", plan("only", *remedies, **options)))


def coupon_minor(worth: Worth, *paid: str, currency: str = "CNY", **options: object) -> int:
    """What one coupon is worth in minor units."""
    made = pack(policy("late", plan("only", remedy("coupon", worth, **options))))
    return only_plan(decide(made, request(*paid, currency=currency))).entitled


# --- (1) money ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paid", "currency", "minor"),
    [
        ("800.00", "CNY", 4000),
        ("12330", "JPY", 617),  # 616.5
        ("12.330", "KWD", 617),  # 616.5
        ("0.10", "CNY", 1),  # 0.5
    ],
)
def test_five_percent_is_rounded_half_up_to_the_currencys_minor_unit(
    paid: str, currency: str, minor: int
) -> None:
    assert coupon_minor(percent("5"), paid, currency=currency) == minor


def test_a_remedy_is_rounded_once_after_its_periods_and_not_before() -> None:
    per = Per("order.quantity", 1)
    spec = FactSpec("order.quantity", FactType.INTEGER, from_request=True)
    made = pack(
        policy("late", plan("only", remedy("coupon", percent("0.5"), per=per))), facts=[spec]
    )
    asked = request("1.01", facts={"order.quantity": 3})
    assert only_plan(decide(made, asked)).entitled == 2  # 1.515, and not 3 times 1


def test_rounding_to_a_unit_does_not_round_to_the_minor_unit_first() -> None:
    unit = amounts("0.10 CNY")
    assert coupon_minor(percent("1"), "64.90", round_to=unit) == 60  # 64.9, and not 65 → 70
    assert coupon_minor(percent("1"), "65.00", round_to=unit) == 70


@pytest.mark.parametrize(("paid", "minor"), [("100.00", 1000), ("400.00", 2000), ("900.00", 3000)])
def test_a_remedy_lies_between_its_min_and_max(paid: str, minor: int) -> None:
    least, most = amounts("10.00 CNY"), amounts("30.00 CNY")
    assert coupon_minor(percent("5"), paid, least=least, most=most) == minor


def test_a_percentage_limit_is_rounded_down() -> None:
    limit = PercentLimit(Decimal(50), "order.goods_paid")
    half = cap("half", limit, Scope.ORDER)
    made = pack(policy("late", plan("only", remedy("coupon", percent("100")))), caps=[half])
    decision = decide(made, request("1.01"))
    assert decision.caps[0].limit == 50
    assert split_of(only_plan(decision)) == (101, 50, 0, 51)


def test_more_than_the_engine_counts_is_an_error_and_no_wrong_amount() -> None:
    per = Per("order.age", DAY)
    made = pack(policy("late", plan("only", remedy("coupon", "1000000000000.00 CNY", per=per))))
    with pytest.raises(MoneyError):
        decide(made, request("1.00", order__placed_at=NOW - 11 * DAY))
    ten_days = request("1.00", order__placed_at=NOW - 10 * DAY)
    assert only_plan(decide(made, ten_days)).entitled == 10**15


def test_currencies_are_never_converted() -> None:
    made = pack(policy("late", plan("only", remedy("coupon", "20.00 CNY"))))
    assert refused(decide(made, request("5.00", currency="USD"))).code == "NO_AMOUNT_FOR_CURRENCY"


# --- (2) sums, nulls, lines, tax ---------------------------------------------------------------


def refund(of: str) -> RemedyRule:
    return remedy("refund", percent("100", of))


@pytest.mark.parametrize(
    ("of", "minor"),
    [
        ("order.goods_paid", 15000),
        ("order.total_paid", 16200),
        ("order.shipping_paid", 1200),
        ("incident.lines_paid", 5000),
    ],
)
def test_the_sums_of_an_order(of: str, minor: int) -> None:
    asked = request("100.00", "50.00", shipping="12.00", lines=["2"])
    assert only_plan(decide(of_remedies(refund(of)), asked)).entitled == minor


def test_total_paid_is_unknown_while_the_shipping_is_omitted() -> None:
    decision = decide(of_remedies(refund("order.total_paid")), request("100.00"))
    assert refused(decision).code == "FACTS_MISSING"
    assert decision.facts_needed == ("order.shipping_paid",)
    assert decision.outcome is DecisionOutcome.FACTS_NEEDED


def test_null_money_is_zero() -> None:
    asked = request("100.00", None, shipping=None)
    assert only_plan(decide(of_remedies(refund("order.total_paid")), asked)).entitled == 10000


def test_a_null_money_fact_gives_nothing_and_asks_for_nothing() -> None:
    made = of_remedies(remedy("shipping_upgrade", "order.express_cost"))
    decision = decide(made, request("100.00", order__express_cost=ABSENT))
    assert refused(decision).code == "NOTHING_LEFT"
    assert decision.facts_needed == ()
    assert decision.outcome is DecisionOutcome.NOTHING_DUE


@pytest.mark.parametrize(
    ("age", "minor"),
    [(timedelta(days=3, hours=23), 600), (timedelta(days=1), 200)],
)
def test_an_amount_per_period_counts_whole_periods(age: timedelta, minor: int) -> None:
    made = of_remedies(remedy("coupon", "2.00 CNY", per=Per("order.age", DAY)))
    asked = request("100.00", order__placed_at=NOW - age)
    assert only_plan(decide(made, asked)).entitled == minor


@pytest.mark.parametrize("placed_at", [ABSENT, NOW, NOW + DAY, NOW - DAY / 2])
def test_no_whole_period_a_null_or_a_negative_one_is_worth_nothing(placed_at: Value) -> None:
    made = of_remedies(remedy("coupon", "2.00 CNY", per=Per("order.age", DAY)))
    decision = decide(made, request("100.00", order__placed_at=placed_at))
    assert refused(decision).code == "NOTHING_LEFT"


def test_periods_of_an_omitted_fact_are_asked_for() -> None:
    made = of_remedies(remedy("coupon", "2.00 CNY", per=Per("order.age", DAY)))
    decision = decide(made, request("100.00"))
    assert refused(decision).code == "FACTS_MISSING"
    assert decision.facts_needed == ("order.placed_at",)


def test_without_named_lines_the_incident_is_about_all() -> None:
    made = of_remedies(refund("incident.lines_paid"))
    assert only_plan(decide(made, request("100.00", "50.00"))).entitled == 15000


def shares(offered: OfferedPlan) -> dict[str | None, int]:
    return {share.line: share.minor for share in offered.remedies[0].shares}


def test_a_share_over_lines_is_split_by_largest_remainder() -> None:
    made = of_remedies(remedy("discount", percent("10")))
    offered = only_plan(decide(made, request("0.33", "0.33", "0.34", "0.04")))
    assert offered.entitled == 10  # 10.4 over 33, 33, 34, 4: 3.17, 3.17, 3.27, 0.38
    assert shares(offered) == {"1": 3, "2": 3, "3": 3, "4": 1}


def test_tax_and_net_follow_line_by_line() -> None:
    made = of_remedies(remedy("discount", percent("20")))
    offered = only_plan(decide(made, request("113.00", "106.00", tax=("13", "6"))))
    (only,) = offered.remedies
    assert (only.allowed, only.tax, only.net) == (4380, 260 + 120, 4000)


def test_there_is_no_tax_where_a_line_concerned_has_no_rate() -> None:
    made = of_remedies(remedy("discount", percent("20")))
    (only,) = only_plan(decide(made, request("113.00", "106.00", tax=("13", None)))).remedies
    assert (only.tax, only.net) == (None, None)


def test_a_line_that_is_not_concerned_needs_no_rate() -> None:
    made = of_remedies(remedy("waiver", percent("100", "incident.lines_paid")))
    asked = request("113.00", "106.00", tax=("13", None), lines=["1"])
    (only,) = only_plan(decide(made, asked)).remedies
    assert (only.tax, only.net) == (1300, 10000)


def test_tax_is_of_what_is_allowed() -> None:
    made = pack(
        policy("late", plan("only", remedy("discount", percent("50")))),
        caps=[cap("few", "11.30 CNY")],
    )
    (only,) = only_plan(decide(made, request("113.00", tax=("13",)))).remedies
    assert (only.entitled, only.allowed, only.tax, only.net) == (5650, 1130, 130, 1000)


# --- (3) ---------------------------------------------------------------------------------------


def test_eight_tenths_of_the_price_is_twenty_percent_off() -> None:
    made = of_remedies(remedy("discount", percent("20")))
    assert only_plan(decide(made, request("400.00"))).entitled == 8000


# --- remaining ---------------------------------------------------------------------------------


def test_remaining_is_what_the_money_back_before_it_leaves_of_the_goods() -> None:
    made = of_remedies(
        remedy("discount", percent("20")),
        remedy("coupon", "50.00 CNY"),
        remedy("refund", percent("50", "remaining")),
        remedy("waiver", percent("100", "remaining")),
    )
    offered = only_plan(decide(made, request("400.00")))
    assert [each.entitled for each in offered.remedies] == [8000, 5000, 16000, 16000]


def test_remaining_is_less_by_a_refund_whose_lines_cost_nothing() -> None:
    made = of_remedies(
        remedy("refund", "30.00 CNY"), remedy("discount", percent("10", "remaining"))
    )
    offered = only_plan(decide(made, request("100.00", None, lines=["2"])))
    assert [each.entitled for each in offered.remedies] == [3000, 700]


def test_remaining_is_never_below_zero() -> None:
    made = of_remedies(
        remedy("refund", percent("100", "order.total_paid")),
        remedy("refund", percent("100", "remaining")),
        remedy("keep_item"),
    )
    offered = only_plan(decide(made, request("400.00", shipping="20.00")))
    assert [each.entitled for each in offered.remedies] == [42000, 0, 0]


# --- (4) time ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late_by", "code"),
    [(5 * DAY, "CONDITION_FALSE"), (5 * DAY + timedelta(seconds=1), None)],
)
def test_over_five_days_is_strict_and_a_day_is_24_hours(
    late_by: timedelta, code: str | None
) -> None:
    made = of_remedies(remedy("coupon", "5.00 CNY"), when=over("shipping.delay", 5))
    decision = decide(made, request("9.00", order__promised_delivery_by=NOW - late_by))
    assert codes(decision) == ({"late/only": code} if code else {})


@pytest.mark.parametrize(
    ("at", "plans"),
    [
        (NOW - timedelta(microseconds=1), ["late/old"]),
        (NOW, ["late/new"]),
        (NOW + DAY - timedelta(microseconds=1), ["late/new"]),
        (NOW + DAY, []),
    ],
)
def test_a_version_is_effective_from_its_first_instant_until_before_its_last(
    at: datetime, plans: list[str]
) -> None:
    coupon = remedy("coupon", "5.00 CNY")
    made = pack(
        policy("late", plan("old", coupon), effective_until=NOW),
        policy("late", plan("new", coupon), effective_from=NOW, effective_until=NOW + DAY),
    )
    decision = decide(made, request("9.00"), as_of=at)
    assert [each.plan for each in decision.plans] == plans
    wanted = {} if plans else {"late/old": "NOT_EFFECTIVE", "late/new": "NOT_EFFECTIVE"}
    assert codes(decision) == wanted


def test_a_policy_dated_by_the_incident_goes_by_reported_at() -> None:
    coupon = remedy("coupon", "5.00 CNY")
    by = {"date_by": DateBy.INCIDENT}
    made = pack(
        policy("late", plan("old", coupon), effective_until=NOW, **by),
        policy("late", plan("new", coupon), effective_from=NOW, **by),
    )
    before = request("9.00", incident__reported_at=NOW - timedelta(seconds=1))
    assert only_plan(decide(made, before, as_of=NOW + DAY)).plan == "late/old"
    missing = decide(made, request("9.00"))
    assert codes(missing) == {"late/old": "FACTS_MISSING", "late/new": "FACTS_MISSING"}
    assert missing.facts_needed == ("incident.reported_at",)
    assert missing.outcome is DecisionOutcome.FACTS_NEEDED


def test_a_policy_for_other_incidents_has_no_part_in_the_decision() -> None:
    made = pack(
        policy("late", plan("a", remedy("coupon", "5.00 CNY"))),
        policy("lost", plan("b", remedy("coupon", "5.00 CNY")), applies_to=frozenset({"lost"})),
    )
    assert only_plan(decide(made, request("9.00"))).plan == "late/a"
    both = decide(made, request("9.00", types=["late", "lost"]))
    assert [each.plan for each in both.plans] == ["late/a", "lost/b"]


# --- (5) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channel", "minutes"), [("whatsapp", 5), ("shop_chat", 15), (None, 15)])
def test_an_offer_expires_after_its_channels_time(channel: str | None, minutes: int) -> None:
    lifetimes = {"default": timedelta(minutes=15), "whatsapp": timedelta(minutes=5)}
    made = pack(
        policy("late", plan("only", remedy("coupon", "5.00 CNY"))),
        settings=PackSettings(offer_valid_for=lifetimes),
    )
    asked = request("9.00") if channel is None else request("9.00", channel=channel)
    assert decide(made, asked).expires_at == NOW + timedelta(minutes=minutes)


# --- (6) conditions, facts needed --------------------------------------------------------------

DELAY_PLAN = plan("only", remedy("coupon", "5.00 CNY"), when=over("shipping.delay", 5))
DELAY_PACK = pack(policy("late", DELAY_PLAN))


def test_an_omitted_fact_is_asked_for_by_the_name_a_caller_can_send() -> None:
    decision = decide(DELAY_PACK, request("9.00"))
    assert refused(decision).code == "FACTS_MISSING"
    assert decision.facts_needed == ("order.promised_delivery_by",)
    assert decision.outcome is DecisionOutcome.FACTS_NEEDED


def test_a_null_fact_makes_the_condition_false_and_nothing_is_asked() -> None:
    decision = decide(DELAY_PACK, request("9.00", order__promised_delivery_by=ABSENT))
    assert refused(decision).code == "CONDITION_FALSE"
    assert decision.facts_needed == ()
    assert decision.outcome is DecisionOutcome.NOTHING_DUE


@pytest.mark.parametrize(
    ("delivered", "offered"),
    [
        ({}, True),
        ({"order__delivered_at": ABSENT}, True),
        ({"order__delivered_at": NOW}, True),
        ({"order__delivered_at": NOW - 3 * DAY}, False),
    ],
)
def test_an_end_that_is_null_or_omitted_means_now(
    delivered: dict[str, Value], offered: bool
) -> None:
    asked = request("9.00", order__promised_delivery_by=NOW - 6 * DAY, **delivered)
    assert bool(decide(DELAY_PACK, asked).plans) is offered


@pytest.mark.parametrize(
    ("fact", "sent", "days", "holds"),
    [
        ("order.age", {"order__placed_at": NOW - 2 * DAY}, 1, True),
        ("order.age", {"order__placed_at": NOW - 2 * DAY}, 2, False),
        ("shipping.silent_for", {"order__last_tracking_at": NOW - 8 * DAY}, 7, True),
        ("dispatch.delay", {"order__promised_dispatch_by": NOW - 3 * DAY}, 2, True),
        (
            "dispatch.delay",
            {
                "order__promised_dispatch_by": NOW - 3 * DAY,
                "order__dispatched_at": NOW - 2 * DAY,
            },
            2,
            False,
        ),
        ("dispatch.due_in", {"order__promised_dispatch_by": NOW + 3 * DAY}, 2, True),
        ("dispatch.due_in", {"order__promised_dispatch_by": NOW - 3 * DAY}, -4, True),
    ],
)
def test_the_built_in_durations(fact: str, sent: dict[str, Value], days: int, holds: bool) -> None:
    made = of_remedies(remedy("coupon", "5.00 CNY"), when=over(fact, days))
    assert bool(decide(made, request("9.00", **sent)).plans) is holds


def test_not_of_an_unknown_condition_is_unknown_and_not_offered() -> None:
    made = of_remedies(remedy("coupon", "5.00 CNY"), when=Not(over("shipping.delay", 5)))
    assert refused(decide(made, request("9.00"))).code == "FACTS_MISSING"


def test_what_decides_alone_leaves_nothing_to_ask() -> None:
    late = over("shipping.delay", 5)
    for condition, tier in ((Any((late, GOLD)), "gold"), (All((late, GOLD)), "silver")):
        made = of_remedies(remedy("coupon", "5.00 CNY"), when=condition)
        decision = decide(made, request("9.00", customer__tier=tier))
        assert decision.facts_needed == ()
        assert bool(decision.plans) is (tier == "gold")


def test_facts_needed_are_sorted_and_named_whatever_the_outcome() -> None:
    sure = plan("sure", remedy("coupon", "5.00 CNY"))
    tiered = plan("tiered", remedy("coupon", "5.00 CNY"), when=GOLD)
    express = plan("express", remedy("shipping_upgrade", "order.express_cost"))
    made = pack(policy("late", sure, DELAY_PLAN, tiered, express))
    decision = decide(made, request("9.00"))
    assert decision.outcome is DecisionOutcome.OFFER
    assert decision.facts_needed == (
        "customer.tier",
        "order.express_cost",
        "order.promised_delivery_by",
    )


def test_a_plan_whose_condition_is_false_asks_for_nothing() -> None:
    express = remedy("shipping_upgrade", "order.express_cost")
    made = of_remedies(express, when=GOLD, evidence=(EvidenceNeed("photo"),))
    assert decide(made, request("9.00", customer__tier="silver")).facts_needed == ()


def test_an_undecided_plan_asks_for_its_condition_its_amount_its_evidence_and_its_limit() -> None:
    """Asked one after the other, a caller would have to come four times."""
    limit = PercentLimit(Decimal(100), "order.shipping_paid")
    only = plan(
        "only",
        remedy("shipping_upgrade", "order.express_cost"),
        when=GOLD,
        evidence=(EvidenceNeed("photo", ("reference",)),),
    )
    made = pack(policy("late", only), caps=[cap("of_shipping", limit, Scope.ORDER)])
    decision = decide(made, request("9.00"))
    assert refused(decision).code == "FACTS_MISSING"
    assert decision.facts_needed == (
        "customer.tier",
        "incident.evidence.photo",
        "order.express_cost",
        "order.shipping_paid",
    )


def test_add_ons_ask_for_what_they_lack_and_actions_never_do() -> None:
    add_on = AddOn("extra", {}, (remedy("gift", "order.express_cost"),), when=GOLD)
    action = Action("open_trace", {}, when=over("shipping.silent_for", 7))
    only = plan("only", remedy("coupon", "5.00 CNY"))
    made = pack(policy("late", only, add_ons=(add_on,), actions=(action,)))
    decision = decide(made, request("9.00"))
    assert decision.outcome is DecisionOutcome.OFFER
    assert decision.facts_needed == ("customer.tier", "order.express_cost")
    assert decision.actions == ()


def test_money_compared_without_a_literal_in_its_currency_is_no_missing_fact() -> None:
    coupon = remedy("coupon", fixed("5.00 CNY", "1.00 USD"))
    decision = decide(of_remedies(coupon, when=RICH), request("9.00", currency="USD"))
    assert refused(decision).code == "NO_AMOUNT_FOR_CURRENCY"
    assert decision.facts_needed == ()
    assert decision.outcome is DecisionOutcome.NOTHING_DUE


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        (All((RICH, GOLD)), DecisionOutcome.NOTHING_DUE),
        (Any((RICH, GOLD)), DecisionOutcome.FACTS_NEEDED),
        (All((Any((RICH, GOLD)), GOLD)), DecisionOutcome.FACTS_NEEDED),
        (All((Not(RICH), Not(GOLD))), DecisionOutcome.NOTHING_DUE),
    ],
)
def test_facts_are_needed_only_where_they_could_settle_the_condition(
    condition: All | Any, outcome: DecisionOutcome
) -> None:
    coupon = remedy("coupon", fixed("5.00 CNY", "1.00 USD"))
    decision = decide(of_remedies(coupon, when=condition), request("9.00", currency="USD"))
    assert refused(decision).code == "FACTS_MISSING"
    assert decision.facts_needed == ("customer.tier",)
    assert decision.outcome is outcome


@pytest.mark.parametrize("bound", ["least", "most", "round_to"])
def test_a_bound_without_the_orders_currency_refuses_the_plan(bound: str) -> None:
    coupon = remedy("coupon", percent("5"), **{bound: amounts("5.00 CNY")})
    decision = decide(of_remedies(coupon), request("9.00", currency="USD"))
    assert refused(decision).code == "NO_AMOUNT_FOR_CURRENCY"


def test_because_names_what_was_observed_and_required() -> None:
    asked = request("9.00", order__promised_delivery_by=NOW - 6 * DAY)
    (because,) = only_plan(decide(DELAY_PACK, asked)).because
    assert because.comparison.fact == "shipping.delay"
    assert because.observed == 6 * DAY
    assert because.comparison.required() == "over P5D"
    assert because.outcome is True


# --- evidence ----------------------------------------------------------------------------------

PROOF = EvidenceNeed("payment_proof", ("reference", "verified"))


@pytest.mark.parametrize(
    ("shown", "enough"),
    [
        ((), False),
        ((Evidence("photo", "R1", True),), False),
        ((Evidence("payment_proof"),), False),
        ((Evidence("payment_proof", "R1"),), False),
        ((Evidence("payment_proof", None, True),), False),
        ((Evidence("payment_proof", "R1"), Evidence("payment_proof", None, True)), False),
        ((Evidence("photo"), Evidence("payment_proof", "R1", True)), True),
    ],
)
def test_evidence_must_fill_every_named_field_in_one_piece(
    shown: tuple[Evidence, ...], enough: bool
) -> None:
    made = of_remedies(remedy("coupon", "5.00 CNY"), evidence=(PROOF,))
    decision = decide(made, request("9.00", evidence=shown))
    assert bool(decision.plans) is enough
    if not enough:
        assert refused(decision).code == "EVIDENCE_MISSING"
        assert decision.facts_needed == ("incident.evidence.payment_proof",)
        assert decision.outcome is DecisionOutcome.FACTS_NEEDED


def test_evidence_of_the_policy_is_needed_for_each_of_its_plans() -> None:
    a, b = (plan(name, remedy("coupon", "5.00 CNY")) for name in "ab")
    made = pack(policy("late", a, b, evidence=(EvidenceNeed("photo"),)))
    assert set(codes(decide(made, request("9.00"))).values()) == {"EVIDENCE_MISSING"}
    assert len(decide(made, request("9.00", evidence=(Evidence("photo"),))).plans) == 2


# --- (7) derived facts -------------------------------------------------------------------------

SEVERITY = FactSpec("case.severity", FactType.STRING, derived=True)


def severity_pack(*rules: DerivedRule) -> Pack:
    only = plan("only", remedy("coupon", "5.00 CNY"), when=is_("case.severity", "high"))
    return pack(
        policy("late", only),
        facts=[SEVERITY],
        derived=((DerivedFact("case.severity", rules),),),
    )


LATE, HIGH, ELSE = (
    over("shipping.delay", 10),
    DerivedRule("high", GOLD),
    DerivedRule("low"),
)
VERY_LATE: dict[str, Value] = {"order__promised_delivery_by": NOW - 11 * DAY}
ON_TIME: dict[str, Value] = {"order__promised_delivery_by": NOW}


@pytest.mark.parametrize(
    ("rules", "sent", "value"),
    [
        ((DerivedRule("high", LATE), ELSE), VERY_LATE, "high"),
        ((DerivedRule("high", LATE), ELSE), ON_TIME, "low"),
        ((DerivedRule("high", LATE), DerivedRule("mid", GOLD), ELSE), VERY_LATE, "high"),
        ((DerivedRule("high", LATE),), ON_TIME, ABSENT),
    ],
)
def test_the_first_rule_that_is_true_gives_the_derived_fact(
    rules: tuple[DerivedRule, ...], sent: dict[str, Value], value: Value
) -> None:
    decision = decide(severity_pack(*rules), request("9.00", **sent))
    assert decision.derived == {"case.severity": value}
    assert decision.facts["case.severity"] == (value, Source.DERIVED)


def test_an_unknown_rule_before_a_true_one_leaves_the_fact_unknown_and_is_asked_for() -> None:
    made = severity_pack(DerivedRule("high", LATE), DerivedRule("mid", GOLD), ELSE)
    decision = decide(made, request("9.00", customer__tier="gold"))
    assert refused(decision).code == "FACTS_MISSING"
    assert decision.facts_needed == ("order.promised_delivery_by",)


def test_only_the_first_unknown_rule_of_a_derived_fact_is_asked_for() -> None:
    made = severity_pack(DerivedRule("high", LATE), DerivedRule("mid", GOLD), ELSE)
    assert decide(made, request("9.00")).facts_needed == ("order.promised_delivery_by",)


def test_a_derived_fact_that_is_absent_makes_is_not_true() -> None:
    only = plan("only", remedy("coupon", "5.00 CNY"), when=Not(is_("case.severity", "high")))
    made = pack(
        policy("late", only),
        facts=[SEVERITY],
        derived=((DerivedFact("case.severity", (DerivedRule("high", LATE),)),),),
    )
    assert decide(made, request("9.00", **ON_TIME)).plans


def test_derived_facts_chain_through_layers_and_ask_through_them() -> None:
    urgent = FactSpec("case.urgent", FactType.BOOLEAN, derived=True)
    chained = DerivedFact(
        "case.urgent", (DerivedRule(True, is_("case.severity", "high")), DerivedRule(False))
    )
    only = plan("only", remedy("coupon", "5.00 CNY"), when=is_("case.urgent", True))
    severity = DerivedFact("case.severity", (DerivedRule("high", LATE), ELSE))
    made = pack(policy("late", only), facts=[SEVERITY, urgent], derived=((severity,), (chained,)))
    assert only_plan(decide(made, request("9.00", **VERY_LATE))).plan == "late/only"
    assert refused(decide(made, request("9.00", **ON_TIME))).code == "CONDITION_FALSE"
    assert decide(made, request("9.00")).facts_needed == ("order.promised_delivery_by",)


# --- declared facts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "default", "code", "source"),
    [
        ({"shop.campaign": True}, False, None, Source.ASSERTED),
        ({"shop.campaign": False}, True, "CONDITION_FALSE", Source.ASSERTED),
        ({}, True, None, Source.DEFAULTED),
        ({}, False, "CONDITION_FALSE", Source.DEFAULTED),
        ({"shop.campaign": ABSENT}, True, "CONDITION_FALSE", Source.ASSERTED),
    ],
)
def test_a_fact_from_the_request_falls_back_on_its_default_only_where_it_is_omitted(
    sent: dict[str, Value], default: bool, code: str | None, source: Source
) -> None:
    spec = FactSpec("shop.campaign", FactType.BOOLEAN, default=default, from_request=True)
    only = plan("only", remedy("coupon", "5.00 CNY"), when=is_("shop.campaign", True))
    decision = decide(pack(policy("late", only), facts=[spec]), request("9.00", facts=sent))
    assert codes(decision) == ({"late/only": code} if code else {})
    assert decision.facts["shop.campaign"][1] is source


@pytest.mark.parametrize(
    ("currency", "sent", "allowed", "needed"),
    [
        ("CNY", {}, 200, ()),
        ("JPY", {}, 30, ()),
        ("USD", {}, None, ("shop.deposit",)),
        ("USD", {"shop.deposit": Money(7, "USD")}, 7, ()),
        ("CNY", {"shop.deposit": Money(7, "CNY")}, 7, ()),
    ],
)
def test_a_default_of_money_stands_in_only_for_orders_in_its_currencies(
    currency: str, sent: dict[str, Value], allowed: int | None, needed: tuple[str, ...]
) -> None:
    default = (Money(200, "CNY"), Money(30, "JPY"))
    spec = FactSpec("shop.deposit", FactType.MONEY, default=default, from_request=True)
    made = pack(policy("late", plan("only", remedy("coupon", "shop.deposit"))), facts=[spec])
    decision = decide(made, request(None, currency=currency, facts=sent))
    assert [each.allowed for each in decision.plans] == ([] if allowed is None else [allowed])
    assert decision.facts_needed == needed


def test_a_declared_duration_runs_from_its_start_and_asks_for_it() -> None:
    spec = FactSpec("trace.age", FactType.DURATION, since="incident.trace_opened_at")
    only = plan("only", remedy("reship", "20.00 CNY"), when=over("trace.age", 2))
    made = pack(policy("late", only), facts=[spec])
    assert decide(made, request("9.00")).facts_needed == ("incident.trace_opened_at",)
    asked = request("9.00", incident__trace_opened_at=NOW - 2 * DAY)
    assert refused(decide(made, asked)).code == "CONDITION_FALSE"
    later = decide(made, asked, as_of=NOW + timedelta(seconds=1))
    assert only_plan(later).allowed == 2000


# --- guidance ----------------------------------------------------------------------------------


def test_actions_milestones_and_due_times_are_counted_from_the_decision() -> None:
    hour = timedelta(hours=1)
    actions = (
        Action("always", {}),
        Action("trace", {}, when=over("shipping.silent_for", 7), within=hour),
        Action("never", {}, when=over("shipping.silent_for", 30)),
    )
    milestones = (
        Milestone("first_reply", 5 * hour),
        Milestone("first_reply", hour, channel="whatsapp"),
        Milestone("solved", 9 * hour),
        Milestone("calm", hour, channel="shop_chat"),
    )
    only = plan("only", remedy("reship", "5.00 CNY", within=2 * hour))
    made = pack(policy("late", only, actions=actions), settings=PackSettings(milestones=milestones))
    asked = request("9.00", channel="whatsapp", order__last_tracking_at=NOW - 8 * DAY)
    decision = decide(made, asked)
    assert [(each.what.name, each.due_at) for each in decision.actions] == [
        ("always", None),
        ("trace", NOW + hour),
    ]
    assert sorted((each.what.name, each.due_at) for each in decision.milestones) == [
        ("first_reply", NOW + hour),
        ("solved", NOW + 9 * hour),
    ]
    assert only_plan(decision).remedies[0].due_at == NOW + 2 * hour


def test_the_request_and_the_instant_are_all_that_a_decision_depends_on() -> None:
    asked = request("9.00", order__promised_delivery_by=datetime(2026, 6, 1, tzinfo=UTC))
    first, again = decide(DELAY_PACK, asked), decide(DELAY_PACK, replace(asked))
    assert first == again
    assert first.as_of == NOW
