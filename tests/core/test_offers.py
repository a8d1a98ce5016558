"""What may be offered, and who must approve the rest: CONTRACT §4 (9), (10), (14) and §2."""

from datetime import timedelta
from decimal import Decimal

import pytest

from policy_engine.core.caps import Calendar, CalendarUnit, PercentLimit, Rolling, Scope
from policy_engine.core.decision import AuthorityStatus, DecisionOutcome, OfferedPlan
from policy_engine.core.facts import ABSENT
from policy_engine.core.policy import (
    AddOn,
    EvidenceNeed,
    Floor,
    PackSettings,
    Policy,
    RemedyRule,
    Role,
)
from policy_engine.core.ports import Used
from policy_engine.core.request import Evidence
from tests.core.making import (
    DAY,
    NOW,
    Past,
    cap,
    codes,
    decide,
    fixed,
    is_,
    only_plan,
    pack,
    percent,
    plan,
    policy,
    refused,
    remedy,
    request,
    split_of,
)

COUPON = remedy("coupon", "40.00 CNY")
GIFT = remedy("gift", "25.00 CNY")
DISCOUNT = remedy("discount", "30.00 CNY")
ACT = remedy("keep_item")
GOLD = is_("customer.tier", "gold")


def late(*remedies: RemedyRule, **options: object) -> Policy:
    return policy("late", plan("only", *remedies, **options))


def each_split(offered: OfferedPlan) -> list[tuple[int, int, int, int]]:
    return [(one.entitled, one.allowed, one.pending, one.uncovered) for one in offered.remedies]


def statuses(offered: OfferedPlan) -> list[str]:
    return [one.status.value for one in offered.remedies]


# --- (9) give ----------------------------------------------------------------------------------


def test_the_walk_uses_up_a_cap_from_remedy_to_remedy() -> None:
    made = pack(late(COUPON, remedy("store_credit", "40.00 CNY")), caps=[cap("c", "50.00 CNY")])
    offered = only_plan(decide(made, request("99.00")))
    assert each_split(offered) == [(4000, 4000, 0, 0), (4000, 1000, 0, 3000)]
    assert offered.binding_cap == "c"
    assert statuses(offered) == ["allowed", "partial"]


def test_a_remedy_gets_the_least_headroom_of_the_caps_that_hold() -> None:
    caps = [cap("wide", "35.00 CNY"), cap("tight", "20.00 CNY", Scope.ORDER)]
    offered = only_plan(decide(pack(late(COUPON), caps=caps), request("99.00")))
    assert split_of(offered) == (4000, 2000, 0, 2000)
    assert offered.binding_cap == "tight"


def test_a_cap_of_another_kind_role_or_policy_does_not_bind() -> None:
    caps = [
        cap("gifts", "0.00 CNY", kinds=["gift"]),
        cap("bots", "0.00 CNY", roles=["bot"]),
        cap("lost", "0.00 CNY", policies=["lost"]),
    ]
    offered = only_plan(decide(pack(late(COUPON), caps=caps), request("99.00")))
    assert split_of(offered) == (4000, 4000, 0, 0)
    assert offered.binding_cap is None


def test_what_was_used_before_is_gone_and_headroom_is_never_below_zero() -> None:
    customer, agent = cap("customer", "50.00 CNY"), cap("agent", "50.00 CNY", Scope.AGENT)
    made = pack(late(COUPON), caps=[customer, agent])
    decision = decide(made, request("99.00"), Past(((customer, 1500), (agent, 9900))))
    assert [(each.limit, each.used, each.headroom) for each in decision.caps] == [
        (5000, 1500, 3500),
        (5000, 9900, 0),
    ]
    assert refused(decision).code == "CAP_EXHAUSTED"


@pytest.mark.parametrize(("used", "allowed"), [(0, 4000), (1, 4000), (2, None)])
def test_a_count_cap_lets_a_grant_through_until_it_is_full(used: int, allowed: int | None) -> None:
    once = cap("twice", 2)
    made = pack(late(COUPON, remedy("store_credit", "1.00 CNY")), caps=[once])
    decision = decide(made, request("99.00"), Past(((once, used),)))
    if allowed is None:
        assert refused(decision).code == "CAP_EXHAUSTED"
    else:
        assert split_of(only_plan(decision)) == (4100, 4100, 0, 0)


def test_a_cap_without_the_orders_currency_leaves_nothing() -> None:
    made = pack(late(remedy("coupon", fixed("5.00 USD"))), caps=[cap("c", "50.00 CNY")])
    decision = decide(made, request("9.00", currency="USD"))
    assert refused(decision).code == "NO_LIMIT_FOR_CURRENCY"
    assert [(each.limit, each.headroom) for each in decision.caps] == [(None, 0)]


def test_something_in_kind_is_given_whole_or_ends_the_walk() -> None:
    caps = [cap("c", "50.00 CNY")]
    made = pack(late(COUPON, GIFT, remedy("store_credit", "5.00 CNY")), caps=caps)
    offered = only_plan(decide(made, request("99.00")))
    assert each_split(offered) == [(4000, 4000, 0, 0), (2500, 0, 0, 2500), (500, 0, 0, 500)]
    assert statuses(offered) == ["allowed", "uncovered", "uncovered"]


def test_money_after_a_remedy_that_a_cap_cut_is_still_given() -> None:
    caps = [cap("coupons", "10.00 CNY", kinds=["coupon"])]
    made = pack(late(COUPON, remedy("store_credit", "5.00 CNY"), GIFT), caps=caps)
    offered = only_plan(decide(made, request("99.00")))
    assert each_split(offered) == [(4000, 1000, 0, 3000), (500, 500, 0, 0), (2500, 2500, 0, 0)]


def test_an_act_is_in_kind_and_fits_where_nothing_is_left_but_a_full_count() -> None:
    value, count = cap("value", "0.00 CNY"), cap("count", 1)
    made = pack(late(ACT), caps=[value, count])
    offered = only_plan(decide(made, request("9.00")))
    assert (offered.status, statuses(offered)) == (AuthorityStatus.ALLOWED, ["allowed"])
    full = decide(made, request("9.00"), Past(((count, 1),)))
    assert refused(full).code == "CAP_EXHAUSTED"


def test_the_walk_ends_before_a_kind_that_the_role_may_not_issue() -> None:
    roles = [Role("agent", frozenset({"coupon", "keep_item"}))]
    made = pack(late(COUPON, DISCOUNT, ACT), roles=roles)
    offered = only_plan(decide(made, request("99.00")))
    assert each_split(offered) == [(4000, 4000, 0, 0), (3000, 0, 0, 3000), (0, 0, 0, 0)]
    assert statuses(offered) == ["allowed", "uncovered", "uncovered"]
    assert offered.binding_cap is None


def test_a_plan_that_no_role_up_the_chain_may_issue_is_role_forbidden() -> None:
    roles = [Role("agent", frozenset({"gift"}), "boss"), Role("boss", frozenset({"gift"}))]
    assert refused(decide(pack(late(COUPON), roles=roles), request("9.00"))).code == (
        "ROLE_FORBIDDEN"
    )


# --- (9) wanted, pending, approver -------------------------------------------------------------

AGENT_CAP = cap("agent_order", "10.00 CNY", Scope.ORDER, roles=["agent"])


def test_what_the_actor_may_not_give_waits_for_the_lowest_role_that_may() -> None:
    roles = [Role("agent", None, "lead"), Role("lead", None, "boss"), Role("boss")]
    lead = cap("lead_order", "25.00 CNY", Scope.ORDER, roles=["lead"])
    boss = cap("boss_order", "25.00 CNY", Scope.ORDER, roles=["boss"])
    made = pack(late(COUPON), caps=[AGENT_CAP, lead, boss], roles=roles)
    offered = only_plan(decide(made, request("99.00")))
    assert split_of(offered) == (4000, 1000, 1500, 1500)
    assert (offered.status, offered.approver) == (AuthorityStatus.PARTIAL, "lead")
    assert offered.binding_cap == "agent_order"


def test_the_largest_give_of_the_chain_is_wanted_even_beyond_the_next_role() -> None:
    lead = cap("lead_order", "25.00 CNY", Scope.ORDER, roles=["lead"])
    roles = [Role("agent", None, "lead"), Role("lead", None, "boss"), Role("boss")]
    made = pack(late(COUPON), caps=[AGENT_CAP, lead], roles=roles)
    offered = only_plan(decide(made, request("99.00")))
    assert split_of(offered) == (4000, 1000, 3000, 0)
    assert offered.approver == "boss"


def test_nothing_pending_needs_no_approver() -> None:
    offered = only_plan(decide(pack(late(COUPON), caps=[cap("c", "9.00 CNY")]), request("99.00")))
    assert split_of(offered) == (4000, 900, 0, 3100)
    assert (offered.status, offered.approver) == (AuthorityStatus.ALLOWED, None)


def test_a_role_that_gives_some_remedy_less_than_the_actor_is_not_wanted() -> None:
    roles = [Role("agent", None, "boss"), Role("boss")]
    caps = [AGENT_CAP, cap("boss_gifts", "0.00 CNY", roles=["boss"], kinds=["store_credit"])]
    made = pack(late(remedy("store_credit", "5.00 CNY"), COUPON), caps=caps, roles=roles)
    offered = only_plan(decide(made, request("99.00")))
    assert each_split(offered) == [(500, 500, 0, 0), (4000, 500, 0, 3500)]
    assert (offered.status, offered.approver) == (AuthorityStatus.ALLOWED, None)


def test_pending_is_kept_per_remedy() -> None:
    made = pack(late(DISCOUNT, GIFT), caps=[cap("c", "40.00 CNY", roles=["agent"])])
    offered = only_plan(decide(made, request("99.00")))
    assert each_split(offered) == [(3000, 3000, 0, 0), (2500, 0, 2500, 0)]
    assert statuses(offered) == ["allowed", "pending"]
    assert (offered.status, offered.approver) == (AuthorityStatus.PARTIAL, "supervisor")


def test_all_that_can_be_had_waiting_is_approval_required() -> None:
    decision = decide(pack(late(DISCOUNT)), request("99.00", role="bot"))
    offered = only_plan(decision)
    assert split_of(offered) == (3000, 0, 3000, 0)
    assert (offered.status, offered.approver) == (AuthorityStatus.APPROVAL_REQUIRED, "agent")
    assert decision.outcome is DecisionOutcome.APPROVAL_REQUIRED


def test_a_pending_act_counts_as_pending() -> None:
    offered = only_plan(decide(pack(late(COUPON, ACT)), request("99.00", role="bot")))
    assert split_of(offered) == (4000, 4000, 0, 0)
    assert statuses(offered) == ["allowed", "pending"]
    assert (offered.status, offered.approver) == (AuthorityStatus.PARTIAL, "agent")


def test_an_act_alone_that_the_actor_may_not_issue_waits() -> None:
    offered = only_plan(decide(pack(late(ACT)), request("99.00", role="bot")))
    assert statuses(offered) == ["pending"]
    assert (offered.status, offered.approver) == (AuthorityStatus.APPROVAL_REQUIRED, "agent")


def test_a_cap_on_the_approver_role_bounds_what_is_pending() -> None:
    boss = cap("boss", "25.00 CNY", Scope.ORDER, roles=["supervisor"])
    offered = only_plan(decide(pack(late(COUPON), caps=[AGENT_CAP, boss]), request("99.00")))
    assert split_of(offered) == (4000, 1000, 1500, 1500)


def test_the_binding_cap_is_the_least_headroom_that_cut_and_ties_go_by_file_order() -> None:
    caps = [cap("first", "20.00 CNY", Scope.ORDER), cap("second", "20.00 CNY")]
    assert only_plan(decide(pack(late(COUPON), caps=caps), request("99.00"))).binding_cap == (
        "first"
    )
    caps = [cap("unhurt", "40.00 CNY", Scope.ORDER), cap("cuts", "39.99 CNY")]
    assert only_plan(decide(pack(late(COUPON), caps=caps), request("99.00"))).binding_cap == (
        "cuts"
    )


# --- (10) limits, floors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shipping", "code", "needed"),
    [("", "FACTS_MISSING", ("order.shipping_paid",)), ("5.00", None, ())],
)
def test_a_percentage_limit_of_an_unknown_fact_asks_for_the_fact(
    shipping: str, code: str | None, needed: tuple[str, ...]
) -> None:
    total = cap("total", PercentLimit(Decimal(100), "order.total_paid"), Scope.ORDER)
    decision = decide(pack(late(COUPON), caps=[total]), request("99.00", shipping=shipping))
    assert codes(decision) == ({"late/only": code} if code else {})
    assert decision.facts_needed == needed


def test_a_percentage_limit_of_a_null_fact_is_zero() -> None:
    express = cap("express", PercentLimit(Decimal(100), "order.express_cost"), Scope.ORDER)
    decision = decide(
        pack(late(COUPON), caps=[express]), request("99.00", order__express_cost=ABSENT)
    )
    assert refused(decision).code == "CAP_EXHAUSTED"


def test_a_percentage_limit_that_does_not_bind_the_plan_asks_for_nothing() -> None:
    total = cap(
        "total", PercentLimit(Decimal(100), "order.total_paid"), Scope.ORDER, kinds=["refund"]
    )
    assert only_plan(decide(pack(late(COUPON), caps=[total]), request("99.00"))).allowed == 4000


@pytest.mark.parametrize("floor", Floor)
def test_a_floor_frees_its_own_remedies_of_caps(floor: Floor) -> None:
    total = cap("total", PercentLimit(Decimal(100), "order.total_paid"), Scope.ORDER)
    caps = [cap("none", "0.00 CNY"), cap("full", 0), total]
    decision = decide(pack(late(COUPON, GIFT, floor=floor), caps=caps), request("9.00"))
    offered = only_plan(decision)
    assert split_of(offered) == (6500, 6500, 0, 0)
    assert offered.binding_cap is None
    assert [one.floor for one in offered.remedies] == [floor, floor]


def test_a_floor_does_not_free_of_roles() -> None:
    offered = only_plan(
        decide(pack(late(DISCOUNT, floor=Floor.STATUTORY)), request("99.00", role="bot"))
    )
    assert (offered.status, offered.approver) == (AuthorityStatus.APPROVAL_REQUIRED, "agent")


def test_what_a_floor_gives_counts_against_the_caps_of_the_add_ons_after_it() -> None:
    made = pack(
        policy(
            "late",
            plan("only", COUPON, floor=Floor.GOODWILL),
            add_ons=(AddOn("extra", {}, (remedy("store_credit", "20.00 CNY"),)),),
        ),
        caps=[cap("c", "50.00 CNY")],
    )
    offered = only_plan(decide(made, request("99.00")))
    assert each_split(offered) == [(4000, 4000, 0, 0), (2000, 1000, 0, 1000)]
    assert [one.floor for one in offered.remedies] == [Floor.GOODWILL, None]


# --- (10) add-ons ------------------------------------------------------------------------------


def extra(name: str, minor: str = "5.00", **options: object) -> AddOn:
    return AddOn(name, {}, (remedy("gift", f"{minor} CNY"),), **options)


def sources(offered: OfferedPlan) -> list[str]:
    return [one.source for one in offered.remedies]


def test_add_ons_of_every_policy_are_appended_by_policy_id_and_file_order() -> None:
    made = pack(
        policy("early", plan("a", COUPON), add_ons=(extra("z"), extra("b"))),
        policy("late", plan("c", COUPON), add_ons=(extra("a"),)),
    )
    first, second = decide(made, request("99.00")).plans
    after = ["early/z", "early/b", "late/a"]
    assert sources(first) == ["early/a", *after]
    assert sources(second) == ["late/c", *after]
    assert first.entitled == 5500


def test_an_add_on_stays_away_where_its_condition_its_evidence_or_the_plan_says_so() -> None:
    needing = extra("proven", evidence=(EvidenceNeed("photo"),))
    add_ons = (extra("gold", when=GOLD), needing, extra("always"))
    made = pack(
        policy("late", plan("takes", COUPON), plan("plain", COUPON, takes_add_ons=False)),
        policy("side", add_ons=add_ons),
    )

    def taken(**sent: object) -> list[str]:
        asked = request("99.00", **sent)
        found = {each.plan: sources(each) for each in decide(made, asked).plans}
        assert found["late/plain"] == ["late/plain"]
        return found["late/takes"][1:]

    assert taken(customer__tier="silver") == ["side/always"]
    assert taken(customer__tier="gold") == ["side/gold", "side/always"]
    assert taken() == ["side/always"]
    photo = (Evidence("photo"),)
    assert taken(customer__tier="silver", evidence=photo) == ["side/proven", "side/always"]


def test_add_ons_of_a_policy_that_does_not_apply_or_is_not_effective_stay_away() -> None:
    made = pack(
        policy("late", plan("only", COUPON)),
        policy("lost", add_ons=(extra("a"),), applies_to=frozenset({"lost"})),
        policy("over", add_ons=(extra("b"),), effective_until=NOW),
    )
    assert sources(only_plan(decide(made, request("99.00")))) == ["late/only"]


def test_an_add_on_without_an_amount_is_left_out_and_the_plan_stays() -> None:
    dollars = AddOn("dollars", {}, (remedy("gift", "5.00 USD"),))
    express = AddOn("express", {}, (remedy("shipping_upgrade", "order.express_cost"),))
    made = pack(policy("late", plan("only", COUPON), add_ons=(dollars, express, extra("z"))))
    decision = decide(made, request("99.00"))
    assert sources(only_plan(decision)) == ["late/only", "late/z"]
    assert decision.facts_needed == ("order.express_cost",)


def test_add_ons_meet_the_caps_of_the_policy_they_come_from() -> None:
    made = pack(
        policy("late", plan("only", COUPON)),
        policy("side", add_ons=(AddOn("more", {}, (remedy("coupon", "9.00 CNY"),)),)),
        caps=[cap("side", "4.00 CNY", policies=["side"])],
    )
    offered = only_plan(decide(made, request("99.00")))
    assert each_split(offered) == [(4000, 4000, 0, 0), (900, 400, 0, 500)]


def test_a_claim_cap_counts_each_policy_by_itself() -> None:
    once = cap("once", 1, Scope.CLAIM)
    made = pack(
        policy("late", plan("only", COUPON)),
        policy("lost", plan("only", COUPON)),
        caps=[once],
    )
    decision = decide(made, request("99.00"), Past(((once, 1),), policy="late"))
    assert [each.plan for each in decision.plans] == ["lost/only"]
    assert codes(decision) == {"late/only": "CAP_EXHAUSTED"}


# --- (10) fallback, ranking, at most -----------------------------------------------------------


@pytest.mark.parametrize(("tier", "plans"), [("gold", ["late/main"]), ("silver", ["late/rest"])])
def test_a_fallback_is_for_where_no_other_plan_of_the_policy_can_be_had(
    tier: str, plans: list[str]
) -> None:
    main = plan("main", remedy("coupon", "1.00 CNY"), when=GOLD)
    made = pack(policy("late", main, plan("rest", COUPON, fallback=True)))
    decision = decide(made, request("99.00", customer__tier=tier))
    assert [each.plan for each in decision.plans] == plans
    assert decision.plans[0].recommended
    if tier == "gold":
        assert codes(decision) == {"late/rest": "FALLBACK_NOT_NEEDED"}


def test_a_fallback_steps_in_where_a_cap_takes_the_other_plans() -> None:
    main = plan("main", remedy("refund", "5.00 CNY"))
    made = pack(
        policy("late", main, plan("rest", COUPON, fallback=True)),
        caps=[cap("none", "0.00 CNY", kinds=["refund"])],
    )
    assert [each.plan for each in decide(made, request("99.00")).plans] == ["late/rest"]


def test_plans_of_another_policy_do_not_replace_a_fallback() -> None:
    made = pack(
        policy("late", plan("rest", COUPON, fallback=True)), policy("lost", plan("x", COUPON))
    )
    assert len(decide(made, request("99.00")).plans) == 2


def test_plans_are_ranked_by_rank_allowed_pending_and_id() -> None:
    plans = [
        plan("f", remedy("coupon", "1.00 CNY"), rank=1),
        plan("e", remedy("coupon", "9.00 CNY")),
        plan("d", remedy("coupon", "8.00 CNY"), remedy("refund", "3.00 CNY")),
        plan("c", remedy("coupon", "8.00 CNY"), remedy("refund", "2.00 CNY")),
        plan("b", remedy("coupon", "8.00 CNY")),
        plan("a", remedy("coupon", "8.00 CNY")),
    ]
    decision = decide(pack(policy("late", *plans)), request("99.00", role="bot"))
    assert "".join(each.plan[-1] for each in decision.plans) == "fedcab"
    assert [each.recommended for each in decision.plans] == [True, *[False] * 5]


def test_no_more_plans_are_offered_than_the_pack_says() -> None:
    plans = [plan(name, remedy("coupon", f"{name}.00 CNY")) for name in "1234"]
    settings = PackSettings(offer_at_most=3)
    decision = decide(pack(policy("late", *plans), settings=settings), request("99.00"))
    assert [each.plan for each in decision.plans] == ["late/4", "late/3", "late/2"]
    assert codes(decision) == {"late/1": "BEYOND_OFFER_AT_MOST"}


# --- (14) money back ---------------------------------------------------------------------------

REFUND = remedy("refund", percent("100"))


def test_money_already_given_back_on_a_line_is_not_there_again() -> None:
    past = Past(money_back={"line:1": 9000})
    offered = only_plan(decide(pack(late(REFUND)), request("100.00", "50.00"), past))
    assert split_of(offered) == (15000, 6000, 0, 9000)
    assert offered.binding_cap is None


def test_a_floor_and_a_supervisor_give_no_more_than_was_paid_either() -> None:
    past = Past(money_back={"line:1": 9000, "shipping": 500})
    made = pack(late(remedy("refund", percent("100", "order.total_paid")), floor=Floor.STATUTORY))
    asked = request("100.00", shipping="5.00", role="supervisor")
    assert split_of(only_plan(decide(made, asked, past))) == (10500, 1000, 0, 9500)


def test_two_remedies_of_a_plan_do_not_give_the_same_money_back_twice() -> None:
    made = pack(late(remedy("discount", percent("60")), remedy("waiver", percent("60"))))
    offered = only_plan(decide(made, request("100.00")))
    assert each_split(offered) == [(6000, 6000, 0, 0), (6000, 4000, 0, 2000)]


def test_a_fixed_discount_is_never_more_than_the_lines_it_is_for() -> None:
    made = pack(late(DISCOUNT))
    offered = only_plan(decide(made, request("100.00", "12.00", lines=["2"])))
    assert split_of(offered) == (3000, 1200, 0, 1800)


def test_where_everything_was_given_back_there_is_nothing_left() -> None:
    past = Past(money_back={"line:1": 10000})
    decision = decide(pack(late(REFUND)), request("100.00"), past)
    assert refused(decision).code == "NOTHING_LEFT"
    assert decision.outcome is DecisionOutcome.NOTHING_DUE


def test_a_coupon_is_not_bound_by_what_was_paid() -> None:
    past = Past(money_back={"line:1": 900})
    assert only_plan(decide(pack(late(COUPON)), request("9.00"), past)).allowed == 4000


def test_tax_follows_the_lines_that_the_allowed_amount_falls_on() -> None:
    """Line 1 was given back already: all that is left is on line 2, at its rate."""
    past = Past(money_back={"line:1": 11300})
    asked = request("113.00", "106.00", tax=("13", "6"))
    (only,) = only_plan(decide(pack(late(REFUND)), asked, past)).remedies
    assert only.allowed == 10600
    assert (only.tax, only.net) == (600, 10000)


# --- evidence that served already --------------------------------------------------------------


def test_evidence_that_served_another_order_proves_nothing_here() -> None:
    made = pack(late(COUPON, evidence=(EvidenceNeed("proof", ("reference",)),)))
    asked = request("9.00", evidence=(Evidence("proof", "R1"),))
    assert only_plan(decide(made, asked)).allowed == 4000
    spent = Past(spent=frozenset({("proof", "R1")}))
    assert refused(decide(made, asked, spent)).code == "EVIDENCE_MISSING"
    assert spent.asked[0].evidence == (("proof", "R1"),)


# --- the code that holds first -----------------------------------------------------------------

NO_FACT = remedy("coupon", "order.express_cost")
NO_CURRENCY = remedy("coupon", "5.00 USD")
ZERO = remedy("coupon", "0.00 CNY")
PHOTO = {"evidence": (EvidenceNeed("photo"),)}


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (policy("late", plan("only", NO_FACT, when=GOLD), effective_until=NOW), "NOT_EFFECTIVE"),
        (late(NO_FACT, when=GOLD, **PHOTO), "CONDITION_FALSE"),
        (late(NO_FACT, **PHOTO), "FACTS_MISSING"),
        (late(NO_FACT, NO_CURRENCY), "FACTS_MISSING"),
        (late(NO_CURRENCY, **PHOTO), "EVIDENCE_MISSING"),
        (late(ZERO, **PHOTO), "EVIDENCE_MISSING"),
        (late(ZERO, NO_CURRENCY), "NO_AMOUNT_FOR_CURRENCY"),
        (late(ZERO), "NOTHING_LEFT"),
        (late(remedy("refund", "0.00 CNY")), "NOTHING_LEFT"),
        (late(remedy("refund", "1.00 CNY")), "ROLE_FORBIDDEN"),
        (late(remedy("store_credit", "1.00 CNY")), "NO_LIMIT_FOR_CURRENCY"),
        (late(COUPON), "CAP_EXHAUSTED"),
        (late(COUPON, fallback=True), "CAP_EXHAUSTED"),
    ],
)
def test_the_code_is_the_first_that_holds(made: Policy, code: str) -> None:
    roles = [Role("agent", frozenset({"coupon", "store_credit"}))]
    caps = [cap("dollars", "5.00 USD", kinds=["store_credit", "refund"]), cap("c", "0.00 CNY")]
    asked = request("9.00", customer__tier="silver")
    decision = decide(pack(made, caps=caps, roles=roles), asked)
    assert refused(decision).code == code


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        ([late(COUPON)], DecisionOutcome.OFFER),
        ([late(DISCOUNT)], DecisionOutcome.APPROVAL_REQUIRED),
        ([late(DISCOUNT), policy("x", plan("y", NO_FACT))], DecisionOutcome.APPROVAL_REQUIRED),
        ([late(NO_FACT)], DecisionOutcome.FACTS_NEEDED),
        ([late(COUPON, **PHOTO)], DecisionOutcome.FACTS_NEEDED),
        ([late(NO_FACT, NO_CURRENCY)], DecisionOutcome.NOTHING_DUE),
        ([late(ZERO)], DecisionOutcome.NOTHING_DUE),
        ([late(COUPON, when=GOLD)], DecisionOutcome.NOTHING_DUE),
    ],
)
def test_the_outcome_of_a_decision(made: list[Policy], outcome: DecisionOutcome) -> None:
    asked = request("99.00", role="bot", customer__tier="silver")
    assert decide(pack(*made), asked).outcome is outcome


# --- caps shown --------------------------------------------------------------------------------


def test_caps_say_when_they_come_back() -> None:
    rolling = cap("rolling", "50.00 CNY", window=Rolling(30 * DAY))
    fresh = cap("fresh", "50.00 CNY", Scope.ORDER, window=Rolling(30 * DAY))
    month = Calendar(CalendarUnit.MONTH, "Asia/Shanghai")
    budget = cap("budget", "50.00 CNY", Scope.PACK, window=month)
    ever = cap("ever", "50.00 CNY", Scope.AGENT)
    made = pack(late(COUPON), caps=[rolling, fresh, budget, ever])
    past = Past(((rolling, Used(100, NOW - 10 * DAY)),))
    shown = {each.cap.name: each.resets_at for each in decide(made, request("9.00"), past).caps}
    assert shown == {
        "rolling": NOW + 20 * DAY,
        "fresh": None,
        "budget": NOW.replace(month=6, day=30, hour=16),
        "ever": None,
    }


def test_usage_is_asked_once_a_decision_and_for_each_counter_once() -> None:
    again = cap("again", "70.00 CNY")
    made = pack(late(COUPON), caps=[cap("c", "50.00 CNY"), again, AGENT_CAP])
    past = Past(((again, 2000),))
    decision = decide(made, request("99.00"), past)
    assert len(past.asked) == 4  # twice under each of two matchers
    assert [each.scope for each in past.asked[0].counters] == [Scope.CUSTOMER, Scope.ORDER]
    assert [each.used for each in decision.caps] == [2000, 2000, 0]


def test_nothing_offered_has_no_expiry() -> None:
    decision = decide(pack(late(ZERO)), request("9.00"))
    assert decision.expires_at is None
    assert decide(pack(late(COUPON)), request("9.00")).expires_at == NOW + timedelta(minutes=15)
