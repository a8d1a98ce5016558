"""A grant's states, the moves between them, and what they do to caps and lines: §4 (13)–(17)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from policy_engine.core.decision import Share
from policy_engine.core.grant_moves import (
    EXPIRY_GRACE,
    ImpossibleMoveError,
    approved,
    due,
    fulfilled,
    next_due,
    opened,
    redeemed,
    rejected,
    reversed_,
)
from policy_engine.core.granting import OfferPart, TakenPart, Taking
from policy_engine.core.grants import (
    Effect,
    Entry,
    GrantRemedy,
    GrantState,
    GrantStatus,
    Movement,
    effects,
    fold,
    money_back,
)
from policy_engine.core.policy import RemedyKind
from tests.core.making import DAY, NOW

LATER = NOW + timedelta(hours=5)
UNTIL = NOW + 3 * DAY


def taken(
    kind: str,
    posted: int | None = None,
    reserved: int | None = None,
    posted_on: Sequence[Share] = (),
    reserved_on: Sequence[Share] = (),
    id: str | None = None,  # noqa: A002 - it is the remedy's id
) -> TakenPart:
    """What is given at once and what is set aside; None: nothing of the sort, 0: an act."""
    part = OfferPart(
        id or kind,
        RemedyKind(kind),
        "late/only",
        "late",
        None,
        posted or 0,
        reserved or 0,
        posted is not None,
        reserved is not None,
        (),
        timedelta(days=90) if kind in ("coupon", "store_credit") else None,
    )
    return TakenPart(
        part,
        posted or 0,
        reserved or 0,
        posted is not None,
        reserved is not None,
        tuple(posted_on),
        tuple(reserved_on),
    )


def grant(*parts: TakenPart, now: datetime = NOW) -> GrantState:
    remedies = [
        GrantRemedy(each.part.id, each.part.kind, "late", "late/only", each.part.valid_for)
        for each in parts
    ]
    return fold(remedies, opened(Taking(parts, None, ()), now), UNTIL)


def after(state: GrantState, entries: Sequence[Entry]) -> GrantState:
    remedies = [each.remedy for each in state.remedies.values()]
    return fold(remedies, (*state.entries, *entries), state.pending_until)


def sums(state: GrantState, remedy: str) -> tuple[int, int, int, int, int]:
    """granted, pending, redeemed, reversed, expired"""
    each = state.remedies[remedy]
    return each.granted, each.pending, each.redeemed, each.reversed, each.expired


def movements(entries: Sequence[Entry]) -> list[tuple[str, str, int]]:
    return [(each.remedy, each.movement.value, each.minor) for each in entries]


def all_effects(state: GrantState) -> list[Effect]:
    remedies = [each.remedy for each in state.remedies.values()]
    return list(effects(fold(remedies, (), state.pending_until), state.entries))


def refusal(error: pytest.ExceptionInfo[ImpossibleMoveError]) -> str:
    return error.value.code


COUPON = taken("coupon", 4000)
WAITING = taken("coupon", None, 4000)
PARTLY = taken("coupon", 1000, 3000)


# --- opening -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([COUPON], GrantStatus.GRANTED),
        ([WAITING], GrantStatus.PENDING),
        ([PARTLY], GrantStatus.PARTLY_PENDING),
        ([taken("keep_item", 0)], GrantStatus.GRANTED),
        ([taken("keep_item", None, 0)], GrantStatus.PENDING),
        ([taken("keep_item", 0), WAITING], GrantStatus.PARTLY_PENDING),
    ],
)
def test_a_new_grant_has_the_status_of_what_it_took(
    parts: list[TakenPart], status: GrantStatus
) -> None:
    assert grant(*parts).status is status


def test_a_part_given_and_a_part_waiting_are_two_entries() -> None:
    state = grant(PARTLY)
    assert movements(state.entries) == [("coupon", "post", 1000), ("coupon", "reserve", 3000)]
    assert sums(state, "coupon") == (1000, 3000, 0, 0, 0)
    assert state.pending == 3000
    assert state.remedies["coupon"].held == 4000


def test_given_and_waiting_parts_are_present_in_the_window_of_the_grant() -> None:
    assert all_effects(grant(PARTLY)) == [
        Effect("coupon", 1000, 1, NOW),
        Effect("coupon", 3000, 1, NOW),
    ]


# --- approving ---------------------------------------------------------------------------------


def test_approval_gives_what_waits_and_counts_it_from_now() -> None:
    state = grant(PARTLY)
    moved = approved(state, LATER, None)
    assert movements(moved) == [("coupon", "post", 3000)]
    assert effects(state, moved) == (
        Effect("coupon", -3000, -1, NOW),
        Effect("coupon", 3000, 1, LATER),
    )
    done = after(state, moved)
    assert sums(done, "coupon") == (4000, 0, 0, 0, 0)
    assert done.status is GrantStatus.GRANTED
    assert done.open_reserves() == []


def test_a_smaller_approval_forfeits_the_rest() -> None:
    state = grant(WAITING)
    moved = approved(state, LATER, 1500)
    assert sum(each.minor for each in effects(state, moved)) == -2500
    done = after(state, moved)
    assert sums(done, "coupon") == (1500, 0, 0, 0, 0)
    assert done.status is GrantStatus.GRANTED


def test_an_approval_goes_through_the_remedies_in_order_and_rejects_what_is_left() -> None:
    state = grant(WAITING, taken("store_credit", None, 2000), taken("compensation", None, 500))
    moved = approved(state, LATER, 5000)
    assert movements(moved) == [
        ("coupon", "post", 4000),
        ("store_credit", "post", 1000),
        ("compensation", "reject", 0),
    ]
    done = after(state, moved)
    assert done.status is GrantStatus.GRANTED
    assert done.remedies["compensation"].refused is Movement.REJECT
    assert done.pending == 0


def test_something_in_kind_is_approved_whole_or_ends_the_approval() -> None:
    state = grant(WAITING, taken("gift", None, 2500), taken("store_credit", None, 100))
    moved = approved(state, LATER, 6400)
    assert movements(moved) == [
        ("coupon", "post", 4000),
        ("gift", "reject", 0),
        ("store_credit", "reject", 0),
    ]
    whole = approved(state, LATER, 6500)
    assert movements(whole)[1] == ("gift", "post", 2500)


def test_a_waiting_act_is_approved_without_an_amount() -> None:
    state = grant(taken("keep_item", None, 0))
    for amount in (None, 0):
        done = after(state, approved(state, LATER, amount))
        assert done.status is GrantStatus.GRANTED
        assert done.remedies["keep_item"].counts


@pytest.mark.parametrize("amount", [4001, 0, -1])
def test_an_approval_of_more_than_waits_or_of_nothing_is_refused(amount: int) -> None:
    with pytest.raises(ImpossibleMoveError) as error:
        approved(grant(WAITING), LATER, amount)
    assert refusal(error) == "AMOUNT_ABOVE_PENDING"


def test_one_minor_unit_is_approved_like_any_other_amount() -> None:
    assert movements(approved(grant(WAITING), LATER, 1)) == [("coupon", "post", 1)]


def test_an_approval_that_would_give_nothing_is_refused() -> None:
    with pytest.raises(ImpossibleMoveError) as error:
        approved(grant(taken("gift", None, 2500)), LATER, 2400)
    assert refusal(error) == "NOTHING_APPROVED"


@pytest.mark.parametrize("amount", [1, -1])
def test_an_approval_of_an_act_has_no_amount(amount: int) -> None:
    with pytest.raises(ImpossibleMoveError) as error:
        approved(grant(taken("keep_item", None, 0)), LATER, amount)
    assert refusal(error) == "AMOUNT_ABOVE_PENDING"


# --- rejecting and lapsing ---------------------------------------------------------------------


def test_rejection_gives_back_all_that_waits_in_its_own_window() -> None:
    state = grant(PARTLY, taken("gift", None, 2500))
    moved = rejected(state, LATER)
    assert effects(state, moved) == (
        Effect("coupon", -3000, -1, NOW),
        Effect("gift", -2500, -1, NOW),
    )
    assert after(state, moved).status is GrantStatus.GRANTED


def test_a_rejected_grant_counts_no_more() -> None:
    state = grant(WAITING)
    done = after(state, rejected(state, LATER))
    assert done.status is GrantStatus.REJECTED
    assert not done.remedies["coupon"].counts
    assert done.remedies["coupon"].held == 0


def test_what_nobody_decides_lapses_at_that_very_instant() -> None:
    state = grant(WAITING)
    assert due(state, UNTIL - timedelta(microseconds=1)) == ()
    moved = due(state, UNTIL)
    assert movements(moved) == [("coupon", "lapse", 0)]
    assert effects(state, moved) == (Effect("coupon", -4000, -1, NOW),)
    done = after(state, moved)
    assert done.status is GrantStatus.LAPSED
    assert due(done, UNTIL + DAY) == ()


def test_what_has_lapsed_can_be_neither_approved_nor_rejected_even_before_it_is_written() -> None:
    state = grant(WAITING)
    for move in (lambda: approved(state, UNTIL, None), lambda: rejected(state, UNTIL)):
        with pytest.raises(ImpossibleMoveError) as error:
            move()
        assert refusal(error) == "NOT_PENDING"
    assert approved(state, UNTIL - timedelta(microseconds=1), None)


@pytest.mark.parametrize("end", ["approve", "reject", "lapse"])
def test_only_one_of_approval_rejection_and_lapse_happens(end: str) -> None:
    state = grant(WAITING)
    first = {
        "approve": lambda: approved(state, LATER, None),
        "reject": lambda: rejected(state, LATER),
        "lapse": lambda: due(state, UNTIL),
    }[end]()
    done = after(state, first)
    for move in (lambda: approved(done, LATER, None), lambda: rejected(done, LATER)):
        with pytest.raises(ImpossibleMoveError, match=done.status.value) as error:
            move()
        assert refusal(error) == "NOT_PENDING"
    assert due(done, UNTIL) == ()


# --- redeeming and expiring --------------------------------------------------------------------


def test_a_coupon_is_used_bit_by_bit_and_no_further() -> None:
    state = grant(COUPON)
    for amount, used in ((1500, 1500), (2500, 4000)):
        moved = redeemed(state, "coupon", amount, LATER)
        assert effects(state, moved) == ()
        state = after(state, moved)
        assert sums(state, "coupon") == (4000, 0, used, 0, 0)
    with pytest.raises(ImpossibleMoveError) as error:
        redeemed(state, "coupon", 1, LATER)
    assert refusal(error) == "AMOUNT_ABOVE_LEFT"
    assert state.status is GrantStatus.GRANTED


@pytest.mark.parametrize("amount", [0, -1, 4001])
def test_nothing_and_too_much_are_not_redeemed(amount: int) -> None:
    with pytest.raises(ImpossibleMoveError) as error:
        redeemed(grant(COUPON), "coupon", amount, LATER)
    assert refusal(error) == "AMOUNT_ABOVE_LEFT"


def test_what_waits_can_not_be_redeemed() -> None:
    with pytest.raises(ImpossibleMoveError):
        redeemed(grant(PARTLY), "coupon", 1001, LATER)


@pytest.mark.parametrize("kind", ["refund", "discount", "waiver", "compensation", "gift"])
def test_what_counts_as_redeemed_when_granted_is_not_redeemed_again(kind: str) -> None:
    with pytest.raises(ImpossibleMoveError) as error:
        redeemed(grant(taken(kind, 2500)), kind, 100, LATER)
    assert refusal(error) == "NOT_REDEEMABLE"


def test_a_remedy_that_the_grant_lacks_is_named_as_such() -> None:
    with pytest.raises(ImpossibleMoveError, match="`coupon`") as error:
        redeemed(grant(COUPON), "gift", 100, LATER)
    assert refusal(error) == "UNKNOWN_REMEDY"


def test_a_coupon_expires_three_days_after_it_runs_out_and_gives_back_value_not_count() -> None:
    state = grant(COUPON)
    state = after(state, redeemed(state, "coupon", 1000, LATER))
    end = NOW + 90 * DAY + 3 * DAY
    assert due(state, end - timedelta(microseconds=1)) == ()
    assert next_due(state) == end
    moved = due(state, end)
    assert effects(state, moved) == (Effect("coupon", -3000, 0, NOW),)
    done = after(state, moved)
    assert sums(done, "coupon") == (4000, 0, 1000, 0, 3000)
    assert done.remedies["coupon"].held == 1000
    assert done.remedies["coupon"].counts
    assert done.status is GrantStatus.GRANTED
    assert due(done, end + DAY) == ()
    assert next_due(done) is None


def test_the_last_minor_unit_of_a_coupon_expires_like_any_other() -> None:
    state = grant(COUPON)
    state = after(state, redeemed(state, "coupon", 3999, LATER))
    assert next_due(state) == NOW + 93 * DAY
    assert movements(due(state, NOW + 93 * DAY)) == [("coupon", "expire", 1)]


@pytest.mark.parametrize("kind", ["refund", "gift", "compensation"])
def test_what_is_not_used_later_never_expires(kind: str) -> None:
    state = grant(taken(kind, 2500))
    lasting = replace(state.remedies[kind].remedy, valid_for=DAY)
    state = fold([lasting], state.entries, None)
    assert due(state, NOW + 1000 * DAY) == ()
    assert next_due(state) is None


def test_a_coupon_without_an_end_never_expires() -> None:
    state = grant(COUPON)
    endless = replace(state.remedies["coupon"].remedy, valid_for=None)
    assert due(fold([endless], state.entries, None), NOW + 10000 * DAY) == ()


def test_an_expired_coupon_can_not_be_used_or_taken_back() -> None:
    state = grant(COUPON)
    state = after(state, due(state, NOW + 90 * DAY + EXPIRY_GRACE))
    with pytest.raises(ImpossibleMoveError):
        redeemed(state, "coupon", 1, NOW + 100 * DAY)
    with pytest.raises(ImpossibleMoveError) as error:
        reversed_(state, None, None, NOW + 100 * DAY)
    assert refusal(error) == "NOT_REVERSIBLE"


def test_what_is_next_due_is_the_first_of_lapse_and_expiry() -> None:
    assert next_due(grant(PARTLY)) == UNTIL
    assert next_due(grant(COUPON)) == NOW + 93 * DAY
    assert next_due(grant(taken("refund", 100))) is None


def test_a_part_approved_later_starts_the_validity_of_the_coupon_anew() -> None:
    state = grant(PARTLY)
    state = after(state, approved(state, LATER, None))
    assert state.remedies["coupon"].usable_until == LATER + 90 * DAY


# --- reversing ---------------------------------------------------------------------------------


def test_a_reversal_gives_back_headroom_in_the_windows_it_was_held_in_newest_first() -> None:
    state = grant(PARTLY)
    state = after(state, approved(state, LATER, None))
    moved = reversed_(state, "coupon", 3500, LATER + DAY)
    assert effects(state, moved) == (
        Effect("coupon", -3000, -1, LATER),
        Effect("coupon", -500, 0, NOW),
    )
    state = after(state, moved)
    assert state.status is GrantStatus.GRANTED
    rest = reversed_(state, None, None, LATER + DAY)
    assert effects(state, rest) == (Effect("coupon", -500, -1, NOW),)
    done = after(state, rest)
    assert done.status is GrantStatus.REVERSED
    assert not done.remedies["coupon"].counts


def test_only_what_is_not_redeemed_can_be_reversed_and_the_rest_still_counts() -> None:
    state = grant(COUPON)
    state = after(state, redeemed(state, "coupon", 1000, LATER))
    with pytest.raises(ImpossibleMoveError) as error:
        reversed_(state, "coupon", 3001, LATER)
    assert refusal(error) == "NOT_REVERSIBLE"
    moved = reversed_(state, "coupon", None, LATER)
    assert effects(state, moved) == (Effect("coupon", -3000, 0, NOW),)
    done = after(state, moved)
    assert done.remedies["coupon"].counts
    assert done.status is GrantStatus.GRANTED
    with pytest.raises(ImpossibleMoveError):
        reversed_(done, None, None, LATER)


@pytest.mark.parametrize("kind", ["refund", "waiver", "gift", "keep_item"])
def test_what_is_carried_out_at_once_is_reversed_only_after_it_failed(kind: str) -> None:
    minor = 0 if kind == "keep_item" else 2500
    state = grant(taken(kind, minor))
    with pytest.raises(ImpossibleMoveError) as error:
        reversed_(state, None, None, LATER)
    assert refusal(error) == "NOT_REVERSIBLE"
    state = after(state, fulfilled(state, kind, False, LATER))
    assert state.status is GrantStatus.GRANTED
    moved = reversed_(state, None, None, LATER)
    assert effects(state, moved) == (Effect(kind, -minor, -1, NOW),)
    done = after(state, moved)
    assert done.status is GrantStatus.REVERSED
    assert done.remedies[kind].held == 0
    with pytest.raises(ImpossibleMoveError):
        reversed_(done, None, None, LATER)


def test_something_in_kind_is_reversed_whole_or_not_at_all() -> None:
    state = grant(taken("gift", 2500))
    state = after(state, fulfilled(state, "gift", False, LATER))
    with pytest.raises(ImpossibleMoveError) as error:
        reversed_(state, "gift", 1000, LATER)
    assert refusal(error) == "NOT_REVERSIBLE"
    assert movements(reversed_(state, "gift", 2500, LATER)) == [("gift", "reverse", 2500)]


def test_a_reversal_that_its_remedies_can_not_add_up_to_is_refused_whole() -> None:
    state = grant(taken("gift", 2500), taken("coupon", 1000))
    state = after(state, fulfilled(state, "gift", False, LATER))
    with pytest.raises(ImpossibleMoveError, match="in kind") as error:
        reversed_(state, None, 2000, LATER)
    assert refusal(error) == "NOT_REVERSIBLE"
    assert movements(reversed_(state, None, 2700, LATER)) == [
        ("gift", "reverse", 2500),
        ("coupon", "reverse", 200),
    ]


def test_the_last_minor_unit_is_reversed_like_any_other() -> None:
    state = grant(COUPON)
    state = after(state, reversed_(state, "coupon", 3999, LATER))
    for amount in (None, 1):
        assert movements(reversed_(state, "coupon", amount, LATER)) == [("coupon", "reverse", 1)]


@pytest.mark.parametrize("amount", [0, -1])
def test_nothing_and_less_are_not_reversed(amount: int) -> None:
    with pytest.raises(ImpossibleMoveError) as error:
        reversed_(grant(COUPON), "coupon", amount, LATER)
    assert refusal(error) == "NOT_REVERSIBLE"


def test_an_amount_taken_back_leaves_the_acts_alone() -> None:
    state = grant(taken("keep_item", 0), COUPON)
    state = after(state, fulfilled(state, "keep_item", False, LATER))
    assert movements(reversed_(state, None, 4000, LATER)) == [("coupon", "reverse", 4000)]
    assert movements(reversed_(state, None, None, LATER)) == [
        ("keep_item", "reverse", 0),
        ("coupon", "reverse", 4000),
    ]


def test_what_waits_is_rejected_not_reversed() -> None:
    with pytest.raises(ImpossibleMoveError, match="pending"):
        reversed_(grant(WAITING), None, None, LATER)
    state = grant(PARTLY)
    done = after(state, reversed_(state, None, None, LATER))
    assert sums(done, "coupon") == (1000, 3000, 0, 1000, 0)
    assert done.status is GrantStatus.PENDING
    given = after(done, approved(done, LATER, None))
    assert given.status is GrantStatus.GRANTED
    assert sums(given, "coupon") == (4000, 0, 0, 1000, 0)


def test_a_grant_whose_every_part_is_gone_says_how_it_went() -> None:
    state = grant(PARTLY)
    state = after(state, reversed_(state, None, None, LATER))
    assert after(state, rejected(state, LATER)).status is GrantStatus.REVERSED
    beside = grant(COUPON, taken("gift", None, 100))
    beside = after(beside, reversed_(beside, None, None, LATER))
    assert after(beside, rejected(beside, LATER)).status is GrantStatus.REVERSED
    two = grant(WAITING, taken("gift", None, 100))
    assert after(two, rejected(two, LATER)).status is GrantStatus.REJECTED


# --- fulfilment --------------------------------------------------------------------------------


def test_a_failure_is_undone_by_a_later_success() -> None:
    state = grant(taken("refund", 2500))
    failed = fulfilled(state, "refund", False, LATER)
    assert movements(failed) == [("refund", "fail", 0)]
    state = after(state, failed)
    assert state.remedies["refund"].usable == 2500
    state = after(state, fulfilled(state, "refund", True, LATER))
    assert state.remedies["refund"].usable == 0
    with pytest.raises(ImpossibleMoveError):
        reversed_(state, None, None, LATER)
    assert all_effects(state) == [Effect("refund", 2500, 1, NOW)]


def test_what_is_left_of_a_refund_is_carried_out_after_all() -> None:
    state = grant(taken("refund", 2500))
    state = after(state, fulfilled(state, "refund", False, LATER))
    state = after(state, reversed_(state, None, 1000, LATER))
    assert state.remedies["refund"].usable == 1500
    state = after(state, fulfilled(state, "refund", True, LATER))
    assert (state.remedies["refund"].usable, state.remedies["refund"].held) == (0, 1500)


def test_nothing_is_carried_out_that_was_not_given_or_was_taken_back() -> None:
    with pytest.raises(ImpossibleMoveError) as error:
        fulfilled(grant(WAITING), "coupon", True, LATER)
    assert refusal(error) == "NOT_GRANTED"
    state = grant(COUPON)
    state = after(state, reversed_(state, None, None, LATER))
    with pytest.raises(ImpossibleMoveError) as error:
        fulfilled(state, "coupon", True, LATER)
    assert refusal(error) == "NOT_GRANTED"
    with pytest.raises(ImpossibleMoveError) as error:
        fulfilled(state, "gift", True, LATER)
    assert refusal(error) == "UNKNOWN_REMEDY"


def test_a_coupon_that_was_used_can_not_have_failed() -> None:
    state = grant(COUPON)
    state = after(state, redeemed(state, "coupon", 1, LATER))
    with pytest.raises(ImpossibleMoveError) as error:
        fulfilled(state, "coupon", False, LATER)
    assert refusal(error) == "ALREADY_REDEEMED"
    assert fulfilled(state, "coupon", True, LATER)


# --- money back on lines -----------------------------------------------------------------------


def on(**lines: int) -> tuple[Share, ...]:
    """`shipping` is the shipping; the others are named `l1`, `l2`, …"""
    return tuple(
        Share(None if line == "shipping" else line[1:], minor) for line, minor in lines.items()
    )


def back(before: GrantState, moved: Sequence[Entry]) -> list[tuple[str | None, int]]:
    return [(share.line, share.minor) for _, share in money_back(before, moved)]


def test_money_back_falls_on_its_lines_also_while_it_waits() -> None:
    refund = taken("refund", 100, 300, on(l1=40, shipping=60), on(l1=200, shipping=100))
    state = grant(refund)
    start = fold([each.remedy for each in state.remedies.values()], (), UNTIL)
    assert back(start, state.entries) == [("1", 40), (None, 60), ("1", 200), (None, 100)]
    assert back(state, rejected(state, LATER)) == [("1", -200), (None, -100)]
    assert back(state, due(state, UNTIL)) == [("1", -200), (None, -100)]


def test_a_partial_approval_frees_the_lines_and_falls_on_them_by_largest_remainder() -> None:
    state = grant(taken("refund", None, 300, (), on(l1=200, l2=100)))
    moved = approved(state, LATER, 100)
    # 66.67 and 33.33: the cent that is left goes to the larger remainder.
    assert back(state, moved) == [("1", -200), ("2", -100), ("1", 67), ("2", 33)]


def test_a_failed_refund_taken_back_frees_its_lines() -> None:
    state = grant(taken("refund", 300, None, on(l1=200, l2=100)))
    state = after(state, fulfilled(state, "refund", False, LATER))
    moved = reversed_(state, None, 100, LATER)
    assert back(state, moved) == [("1", -67), ("2", -33)]
    state = after(state, moved)
    assert back(state, reversed_(state, None, None, LATER)) == [("1", -133), ("2", -67)]


@pytest.mark.parametrize("kind", ["coupon", "compensation", "gift"])
def test_what_is_no_money_back_falls_on_no_line(kind: str) -> None:
    state = grant(taken(kind, 300, None, on(l1=300)))
    start = fold([each.remedy for each in state.remedies.values()], (), UNTIL)
    assert back(start, state.entries) == []


def test_a_reversal_beside_an_open_reserve_frees_only_lines_that_money_was_given_on() -> None:
    # All that was given at once is on line 1, all that waits on line 2.
    state = grant(taken("refund", 100, 100, on(l1=100), on(l2=100)))
    state = after(state, fulfilled(state, "refund", False, LATER))
    moved = reversed_(state, None, 50, LATER)
    assert back(state, moved) == [("1", -50)]


def test_a_failure_covers_what_was_given_by_then_and_not_what_is_approved_later() -> None:
    state = grant(taken("refund", 1000, 1500, on(l1=1000), on(l2=1500)))
    state = after(state, fulfilled(state, "refund", False, LATER))
    state = after(state, approved(state, LATER, None))
    assert state.remedies["refund"].usable == 1000
    with pytest.raises(ImpossibleMoveError) as error:
        reversed_(state, None, 1001, LATER)
    assert refusal(error) == "NOT_REVERSIBLE"
    # It frees the lines that it was given on, and the headroom of its own window.
    moved = reversed_(state, None, None, LATER)
    assert [(each.minor, each.counted_at) for each in moved] == [(1000, NOW)]
    assert back(state, moved) == [("1", -1000)]
    state = after(state, moved)
    assert state.remedies["refund"].usable == 0
    # Reported failed as well, the rest can be taken back too; reported done, it can't.
    failed = after(state, fulfilled(state, "refund", False, LATER))
    assert back(failed, reversed_(failed, None, None, LATER)) == [("2", -1500)]
    done = after(failed, fulfilled(failed, "refund", True, LATER))
    with pytest.raises(ImpossibleMoveError):
        reversed_(done, None, None, LATER)
