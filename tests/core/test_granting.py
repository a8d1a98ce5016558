"""What is asked of an offer, and whether the caps of now still bear it: §4 (9), (11)–(14)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from policy_engine.core.caps import Cap, PercentLimit, Scope
from policy_engine.core.decision import Share
from policy_engine.core.facts import ABSENT, SHIPPING, FactSpec, FactType, Value
from policy_engine.core.grant_moves import opened
from policy_engine.core.granting import (
    AmountAboveOfferError,
    CapShortfall,
    OfferPart,
    Taking,
    asked_of,
    offer_parts,
    take,
)
from policy_engine.core.money import MoneyError, parse_money
from policy_engine.core.policy import Floor, Pack, RemedyKind, Role
from policy_engine.core.ports import Used
from tests.core.making import (
    DAY,
    NOW,
    ROLES,
    Past,
    cap,
    decide,
    only_plan,
    pack,
    plan,
    policy,
    refused,
    remedy,
    request,
)


def part(
    kind: str,
    allowed: int | None = None,
    pending: int | None = None,
    shares: Sequence[Share] = (),
    *,
    id: str | None = None,  # noqa: A002 - it is the remedy's id
    floor: Floor | None = None,
) -> OfferPart:
    """None: nothing of the sort; 0: an act."""
    return OfferPart(
        id or kind,
        RemedyKind(kind),
        "late/only",
        "late",
        floor,
        allowed or 0,
        pending or 0,
        allowed is not None,
        pending is not None,
        tuple(shares),
    )


def amounts(parts: Sequence[OfferPart]) -> list[tuple[int | None, int | None]]:
    return [
        (each.allowed if each.gives else None, each.pending if each.waits else None)
        for each in parts
    ]


def taking(
    of: Pack,
    asked: Sequence[OfferPart],
    past: Past | None = None,
    role: str = "agent",
    paid: Sequence[str] = ("800.00",),
    **options: str,
) -> Taking:
    found = take(of, request(*paid, role=role, **options), NOW, asked, past or Past())
    assert isinstance(found, Taking), found
    return found


def shortfall(
    of: Pack,
    asked: Sequence[OfferPart],
    past: Past | None = None,
    role: str = "agent",
    paid: Sequence[str] = ("800.00",),
) -> CapShortfall:
    found = take(of, request(*paid, role=role), NOW, asked, past or Past())
    assert isinstance(found, CapShortfall), found
    return found


def used(of: Cap, amount: int) -> Past:
    return Past(((of, amount),))


LATE = policy("late", plan("only", remedy("coupon", "40.00 CNY")))
ACT = part("keep_item", 0)


# --- the parts of an offer ---------------------------------------------------------------------


def test_remedies_of_one_kind_are_numbered_from_the_second_on() -> None:
    coupon, gift = remedy("coupon", "1.00 CNY"), remedy("gift", "2.00 CNY")
    offered = only_plan(
        decide(pack(policy("late", plan("only", coupon, gift, coupon, coupon))), request("9.00"))
    )
    assert [each.id for each in offer_parts(offered.remedies)] == [
        "coupon",
        "gift",
        "coupon-2",
        "coupon-3",
    ]


def test_an_offer_says_of_each_remedy_what_is_given_and_what_waits() -> None:
    small = cap("agent_order", "30.00 CNY", Scope.ORDER, roles=["agent"])
    remedies = [
        remedy("keep_item"),
        remedy("coupon", "40.00 CNY"),
        remedy("gift", "25.00 CNY"),
        remedy("priority_dispatch"),
    ]
    made = pack(policy("late", plan("only", *remedies)), caps=[small])
    parts = offer_parts(only_plan(decide(made, request("99.00"))).remedies)
    assert amounts(parts) == [(0, None), (3000, 1000), (None, 2500), (None, 0)]


@pytest.mark.parametrize(("limit", "split"), [("0.01", (1, 3999)), ("39.99", (3999, 1))])
def test_one_minor_unit_is_a_part_like_any_other(limit: str, split: tuple[int, int]) -> None:
    made = pack(LATE, caps=[cap("a", f"{limit} CNY", roles=["agent"])])
    parts = offer_parts(only_plan(decide(made, request("99.00"))).remedies)
    assert amounts(parts) == [split]


# --- amount ------------------------------------------------------------------------------------

COUPON_AND_GIFT = (part("coupon", 4000), part("gift", 2500))
GIFT_AND_COUPON = (part("gift", 2500), part("coupon", 4000))
SPLIT = (part("coupon", 1000, 3000), part("store_credit", 500, 500))


@pytest.mark.parametrize(
    ("parts", "amount", "asked"),
    [
        (COUPON_AND_GIFT, None, [(4000, None), (2500, None)]),
        (COUPON_AND_GIFT, 6500, [(4000, None), (2500, None)]),
        # 24.99 is left for a gift of 25.00: it ends the walk.
        (COUPON_AND_GIFT, 6499, [(4000, None), (None, None)]),
        (COUPON_AND_GIFT, 1, [(1, None), (None, None)]),
        (GIFT_AND_COUPON, 2500, [(2500, None), (None, None)]),
        (GIFT_AND_COUPON, 2600, [(2500, None), (100, None)]),
        # Nothing comes after what ended the walk.
        (GIFT_AND_COUPON, 2499, [(None, None), (None, None)]),
        # What may be given at once comes first, across all remedies; then what waits.
        (SPLIT, 1500, [(1000, None), (500, None)]),
        (SPLIT, 1501, [(1000, 1), (500, None)]),
        (SPLIT, 4600, [(1000, 3000), (500, 100)]),
        (SPLIT, 999, [(999, None), (None, None)]),
        ((part("coupon", None, 4000),), 100, [(None, 100)]),
        # In kind and waiting: whole or not at all.
        ((part("coupon", 4000), part("gift", None, 2500)), 6499, [(4000, None), (None, None)]),
        ((part("coupon", 4000), part("gift", None, 2500)), 6500, [(4000, None), (None, 2500)]),
        # An act is worth nothing, so it fits into any amount that its turn comes in.
        ((ACT, part("coupon", 4000)), 100, [(0, None), (100, None)]),
        ((part("coupon", 4000), ACT), 100, [(100, None), (0, None)]),
        # A waiting act comes with waiting money, and never alone.
        ((part("coupon", 4000), part("keep_item", None, 0)), 4000, [(4000, None), (None, None)]),
        (
            (part("coupon", 1000, 3000), part("keep_item", None, 0)),
            1001,
            [(1000, 1), (None, 0)],
        ),
    ],
)
def test_an_amount_takes_what_is_free_first_then_what_waits(
    parts: Sequence[OfferPart], amount: int | None, asked: list[tuple[int | None, int | None]]
) -> None:
    assert amounts(asked_of(parts, amount)) == asked


def test_more_than_the_offer_can_not_be_asked() -> None:
    with pytest.raises(AmountAboveOfferError):
        asked_of(SPLIT, 5001)
    with pytest.raises(AmountAboveOfferError):
        asked_of((ACT,), 1)


def test_a_negative_amount_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="-1"):
        asked_of(SPLIT, -1)


def test_what_is_asked_keeps_everything_but_the_amounts() -> None:
    whole = OfferPart(
        "coupon-2",
        RemedyKind.COUPON,
        "late/extra",
        "late",
        Floor.GOODWILL,
        100,
        50,
        True,
        True,
        (Share("1", 150),),
        DAY,
    )
    (cut,) = asked_of([whole], 120)
    assert cut == OfferPart(
        "coupon-2",
        RemedyKind.COUPON,
        "late/extra",
        "late",
        Floor.GOODWILL,
        100,
        20,
        True,
        True,
        (Share("1", 150),),
        DAY,
    )


# --- take: the caps of now ---------------------------------------------------------------------

ORDER = cap("order", "50.00 CNY", Scope.ORDER)
AGENT = cap("agent_order", "30.00 CNY", Scope.ORDER, roles=["agent"])
BOSS = cap("boss_order", "100.00 CNY", Scope.ORDER, roles=["supervisor"])


def test_everything_is_taken_while_the_caps_bear_it() -> None:
    found = taking(pack(LATE, caps=[ORDER]), [part("coupon", 4000)], used(ORDER, 1000))
    assert [(each.posted, each.reserved) for each in found.parts] == [(4000, 0)]
    assert found.approver is None
    assert [(each.cap.name, each.used, each.headroom) for each in found.readings] == [
        ("order", 1000, 4000)
    ]


def test_one_minor_unit_less_and_nothing_is_taken_but_what_is_left_is_said() -> None:
    found = shortfall(pack(LATE, caps=[ORDER]), [part("coupon", 4000)], used(ORDER, 1001))
    assert found == CapShortfall((("coupon", 3999, 0),), "order")


def test_caps_that_shrank_in_a_new_revision_bind_the_offer_of_the_old_one() -> None:
    shrunken = cap("order", "39.99 CNY", Scope.ORDER)
    found = shortfall(pack(LATE, caps=[shrunken]), [part("coupon", 4000)])
    assert found == CapShortfall((("coupon", 3999, 0),), "order")


def test_a_new_revision_without_an_amount_in_the_currency_leaves_nothing() -> None:
    dollars = cap("order", "99.00 USD", Scope.ORDER)
    found = shortfall(pack(LATE, caps=[dollars]), [part("coupon", 4000)])
    assert found == CapShortfall((("coupon", 0, 0),), "order")


BASE = FactSpec("shop.base", FactType.MONEY, from_request=True)
QUARTER = cap("quarter", PercentLimit(Decimal(25), "shop.base"), Scope.ORDER)


def test_a_share_of_a_fact_is_that_of_the_decisions_request() -> None:
    made = pack(LATE, caps=[QUARTER], facts=[BASE])
    said = {"shop.base": parse_money("160.01", "CNY")}
    asked = request("800.00", facts=said)
    assert isinstance(take(made, asked, NOW, [part("coupon", 4000)], Past()), Taking)
    more = take(made, asked, NOW, [part("coupon", 4001)], Past())
    assert more == CapShortfall((("coupon", 4000, 0),), "quarter")


@pytest.mark.parametrize(
    "said",
    [{}, {"shop.base": ABSENT}, {"shop.base": parse_money("999.00", "USD")}, {"shop.base": "999"}],
)
def test_a_share_of_a_fact_that_the_decision_did_not_know_leaves_nothing(
    said: dict[str, Value],
) -> None:
    # As in a new revision, whose cap is a share of something that nobody asked for then.
    made = pack(LATE, caps=[QUARTER], facts=[BASE])
    found = take(made, request("800.00", facts=said), NOW, [part("coupon", 1)], Past())
    assert found == CapShortfall((("coupon", 0, 0),), "quarter")


def test_a_share_of_a_fact_with_a_default_is_that_of_the_default_in_the_orders_currency() -> None:
    default = (parse_money("9.00", "USD"), parse_money("160.00", "CNY"))
    made = pack(LATE, caps=[QUARTER], facts=[replace(BASE, default=default)])
    found = take(made, request("800.00"), NOW, [part("coupon", 4001)], Past())
    assert found == CapShortfall((("coupon", 4000, 0),), "quarter")


def test_a_role_that_a_new_revision_lacks_takes_nothing() -> None:
    roles = [Role("supervisor")]
    found = shortfall(pack(LATE, roles=roles), [part("coupon", 4000)])
    assert found == CapShortfall((("coupon", 0, 0),), None)


def test_a_kind_that_a_new_revision_forbids_the_role_is_not_taken() -> None:
    roles = [Role("agent", frozenset({"gift"}))]
    found = shortfall(pack(LATE, roles=roles), [part("coupon", 4000)])
    assert found.left == (("coupon", 0, 0),)


def test_a_full_count_cap_leaves_nothing_to_take_not_even_an_act() -> None:
    once = cap("once", 1, Scope.CLAIM)
    made = pack(LATE, caps=[once])
    assert taking(made, [part("coupon", 4000), ACT])
    found = shortfall(made, [part("coupon", 4000), ACT], used(once, 1))
    assert found == CapShortfall((("coupon", 0, 0), ("keep_item", 0, 0)), "once")
    assert shortfall(made, [ACT], used(once, 1)).binding_cap == "once"


def test_something_in_kind_that_fits_no_more_is_not_taken() -> None:
    found = shortfall(pack(LATE, caps=[ORDER]), [part("gift", 2500)], used(ORDER, 2501))
    assert found == CapShortfall((("gift", 0, 0),), "order")


def test_a_floor_is_taken_whatever_the_caps_say_and_uses_them_up() -> None:
    parts = [part("refund", 4000, None, [Share("1", 4000)], floor=Floor.STATUTORY)]
    made = pack(LATE, caps=[ORDER])
    assert taking(made, parts, used(ORDER, 5000))
    beside = [*parts, part("coupon", 1001)]
    assert taking(made, [*parts, part("coupon", 1000)])
    assert shortfall(made, beside).left == (("refund", 4000, 0), ("coupon", 1000, 0))


def test_two_remedies_share_one_cap() -> None:
    parts = [part("coupon", 3000), part("store_credit", 2001)]
    found = shortfall(pack(LATE, caps=[ORDER]), parts)
    assert found.left == (("coupon", 3000, 0), ("store_credit", 2000, 0))
    found = shortfall(pack(LATE, caps=[ORDER]), [part("coupon", 5000), part("store_credit", 1)])
    assert found.left == (("coupon", 5000, 0), ("store_credit", 0, 0))


# --- take: what waits --------------------------------------------------------------------------


def test_what_waits_needs_an_approver_whose_caps_bear_all_of_it() -> None:
    made = pack(LATE, caps=[AGENT, BOSS])
    found = taking(made, [part("coupon", 3000, 1000)])
    assert found.approver == "supervisor"
    assert [(each.posted, each.reserved) for each in found.parts] == [(3000, 1000)]
    left = shortfall(made, [part("coupon", 3000, 1000)], Past(((BOSS, 6001),)))
    # Both caps are read from one counter: the agent has nothing left, the supervisor 39.99.
    assert left == CapShortfall((("coupon", 0, 3999),), "agent_order")


def test_what_waits_holds_the_caps_of_everybody() -> None:
    made = pack(LATE, caps=[AGENT, ORDER])
    assert taking(made, [part("coupon", 3000, 2000)])
    found = shortfall(made, [part("coupon", 3000, 2001)])
    assert found.left == (("coupon", 3000, 2000),)


def test_a_higher_role_approves_where_the_next_one_can_not() -> None:
    roles = [
        Role("bot", approver="agent"),
        Role("agent", approver="supervisor"),
        Role("supervisor"),
    ]
    bot = cap("bot_order", "10.00 CNY", Scope.ORDER, roles=["bot"])
    made = pack(LATE, caps=[bot, AGENT], roles=roles)
    assert taking(made, [part("coupon", 1000, 2000)], role="bot").approver == "agent"
    assert taking(made, [part("coupon", 1000, 2001)], role="bot").approver == "supervisor"


def test_what_waits_is_never_left_to_the_role_that_asked() -> None:
    # Since the decision the agent's own cap has grown: the agent could give all of it now, but
    # what the decision makes wait is for somebody above.
    wide = cap("agent_order", "99.00 CNY", Scope.ORDER, roles=["agent"])
    found = taking(pack(LATE, caps=[wide]), [part("coupon", 3000, 1000)])
    assert found.approver == "supervisor"


def test_what_waits_has_nobody_to_go_to_once_the_chain_ends() -> None:
    roles = [Role("agent")]
    found = shortfall(pack(LATE, roles=roles), [part("coupon", 3000, 1000)])
    assert found.left == (("coupon", 4000, 0),)


def test_a_waiting_act_needs_a_role_that_may_issue_it() -> None:
    asked = [part("coupon", 4000), part("keep_item", None, 0)]
    assert taking(pack(LATE), asked, role="bot").approver == "agent"
    roles = [*ROLES[:1], Role("agent", frozenset({"coupon"}), approver="supervisor"), ROLES[2]]
    assert taking(pack(LATE, roles=roles), asked, role="bot").approver == "supervisor"


def test_headroom_that_came_back_to_one_remedy_takes_nothing_from_the_next() -> None:
    # Offered when coupons had 10.00 left and the order 30.00: 10.00 + 20.00 at once. Now coupons
    # have 40.00 again; the agent still takes 10.00 + 20.00, and that still fits.
    made = pack(LATE, caps=[AGENT])
    found = taking(made, [part("coupon", 1000, 3000), part("store_credit", 2000)])
    assert [(each.posted, each.reserved) for each in found.parts] == [(1000, 3000), (2000, 0)]
    assert found.approver == "supervisor"


# --- take: lines -------------------------------------------------------------------------------


def fall(found: Taking) -> list[tuple[dict[str | None, int], dict[str | None, int]]]:
    return [
        (
            {share.line: share.minor for share in each.posted_shares},
            {share.line: share.minor for share in each.reserved_shares},
        )
        for each in found.parts
    ]


def back(**lines: int) -> Mapping[str, int]:
    return {
        (SHIPPING if line == "shipping" else f"line:{line[1:]}"): minor
        for line, minor in lines.items()
    }


def test_both_pieces_of_money_back_fall_on_the_lines_as_the_whole_does() -> None:
    # 5.00 over 3.00 and 4.00: 214.29 and 285.71; of it 2.00 at once: 85.6 and 114.4.
    refund = part("refund", 200, 300, [Share("1", 300), Share("2", 400)])
    found = taking(pack(LATE), [refund], paid=("3.00", "4.00"))
    assert fall(found) == [({"1": 86, "2": 114}, {"1": 128, "2": 172})]


def test_money_back_needs_room_on_its_own_lines() -> None:
    refund = part("refund", 400, None, [Share("1", 200), Share("2", 200)])
    made = pack(LATE)
    assert taking(made, [refund], Past(money_back=back(l1=100)), paid=("3.00", "9.00"))
    # One fen less on line 1; the room on line 2 is no help.
    found = shortfall(made, [refund], Past(money_back=back(l1=101)), paid=("3.00", "9.00"))
    assert found == CapShortfall((("refund", 399, 0),), None)


def test_money_back_on_the_shipping_needs_room_there() -> None:
    refund = part("refund", 400, None, [Share(None, 400)])
    made = pack(LATE)
    assert taking(made, [refund], paid=("9.00",), shipping="4.00")
    past = Past(money_back=back(shipping=1))
    found = take(made, request("9.00", shipping="4.00"), NOW, [refund], past)
    assert isinstance(found, CapShortfall)
    found = take(made, request("9.00"), NOW, [refund], Past())
    assert isinstance(found, CapShortfall), "shipping that nobody named was paid for"


def test_two_remedies_share_the_room_of_a_line() -> None:
    refund = part("refund", 500, None, [Share("1", 500)])
    discount = part("discount", 401, None, [Share("1", 401)])
    found = shortfall(pack(LATE), [refund, discount], paid=("9.00",))
    assert found.left == (("refund", 500, 0), ("discount", 400, 0))


def test_floors_do_not_go_beyond_what_was_paid_either() -> None:
    refund = part("refund", 901, None, [Share("1", 901)], floor=Floor.STATUTORY)
    assert shortfall(pack(LATE), [refund], paid=("9.00",)).left == (("refund", 900, 0),)


def test_a_coupon_is_no_money_back_and_needs_no_room() -> None:
    coupon = part("coupon", 400, None, [Share("1", 400)])
    assert taking(pack(LATE), [coupon], Past(money_back=back(l1=900)), paid=("9.00",))


def test_money_back_on_a_line_that_the_order_lacks_is_not_given() -> None:
    refund = part("refund", 5, None, [Share("9", 5)])
    assert shortfall(pack(LATE), [refund]).left == (("refund", 0, 0),)


def test_the_last_minor_unit_of_a_cap_is_given() -> None:
    assert taking(pack(LATE, caps=[ORDER]), [part("coupon", 1)], used(ORDER, 4999))


def test_money_back_that_falls_on_no_line_is_not_given() -> None:
    assert shortfall(pack(LATE), [part("refund", 400)]).left == (("refund", 0, 0),)


# --- opening what was taken --------------------------------------------------------------------


def test_the_entries_of_a_grant_are_what_was_taken() -> None:
    made = pack(LATE, caps=[AGENT])
    now = NOW + timedelta(seconds=1)
    asked = [part("keep_item", 0), part("coupon", 3000, 1000)]
    entries = opened(taking(made, asked), now)
    assert [(each.remedy, each.movement.value, each.minor) for each in entries] == [
        ("keep_item", "post", 0),
        ("coupon", "post", 3000),
        ("coupon", "reserve", 1000),
    ]
    assert {each.at for each in entries} == {each.counted_at for each in entries} == {now}


def test_usage_is_asked_once_and_of_every_counter_that_could_bind() -> None:
    asked_past = Past(((ORDER, Used(1000)),))
    taking(pack(LATE, caps=[ORDER, AGENT, BOSS]), [part("coupon", 1000)], asked_past)
    (question,) = asked_past.asked
    # The three caps count the same: one counter.
    assert len(question.counters) == 1
    assert question.order_id == "O1"


# --- offers that grants are made of ---------------------------------------------------------------


def test_an_act_that_the_role_may_not_give_waits_even_where_all_the_money_is_given() -> None:
    made = pack(policy("late", plan("only", remedy("coupon", "40.00 CNY"), remedy("keep_item"))))
    offered = only_plan(decide(made, request("99.00", role="bot")))
    assert amounts(offer_parts(offered.remedies)) == [(4000, None), (None, 0)]
    assert offered.approver == "agent"


def test_a_cap_that_left_nothing_is_the_reason_before_the_kind_that_ended_the_walk() -> None:
    remedies = [remedy("coupon", "40.00 CNY"), remedy("refund", "40.00 CNY")]
    made = pack(
        policy("late", plan("only", *remedies)),
        caps=[cap("none", "0.00 CNY")],
        roles=[Role("bot", frozenset({"coupon"}))],
    )
    assert refused(decide(made, request("99.00", role="bot"))).code == "CAP_EXHAUSTED"


def test_a_role_that_gives_less_of_one_remedy_is_not_waited_for_to_give_more_of_another() -> None:
    coupons = cap("boss_coupons", "30.00 CNY", roles=["supervisor"], kinds=["coupon"])
    credit = cap("agent_credit", "1.00 CNY", roles=["agent"], kinds=["store_credit"])
    remedies = [remedy("coupon", "40.00 CNY"), remedy("store_credit", "100.00 CNY")]
    made = pack(policy("late", plan("only", *remedies)), caps=[coupons, credit])
    offered = only_plan(decide(made, request("999.00")))
    assert amounts(offer_parts(offered.remedies)) == [(4000, None), (100, None)]
    assert offered.approver is None


@pytest.mark.parametrize(
    ("text", "currency", "places"),
    [("1.5", "JPY", "no decimals"), ("1.5", "CNY", "exactly 2 decimals")],
)
def test_a_wrong_amount_is_told_how_many_decimals_its_currency_has(
    text: str, currency: str, places: str
) -> None:
    with pytest.raises(MoneyError, match=places):
        parse_money(text, currency)


def test_a_refund_that_a_cap_has_cut_falls_on_its_lines_in_the_same_proportion() -> None:
    small = cap("small", "1.00 CNY", Scope.ORDER)
    made = pack(policy("late", plan("only", remedy("refund", "order.goods_paid"))), caps=[small])
    (refund,) = only_plan(decide(made, request("3.00", "4.00"))).remedies
    # 42.86 and 57.14 of 1.00.
    assert refund.shares == (Share("1", 43), Share("2", 57))
