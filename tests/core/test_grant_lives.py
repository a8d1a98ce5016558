"""Whatever happens to a grant, in whatever order: what it holds adds up, to the minor unit."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import assume, event, given
from hypothesis import strategies as st

from policy_engine.core.decision import Share
from policy_engine.core.grant_moves import (
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
from policy_engine.core.granting import (
    AmountAboveOfferError,
    OfferPart,
    Taking,
    asked_of,
    take,
)
from policy_engine.core.grants import (
    REDEEMED_LATER,
    Entry,
    GrantRemedy,
    GrantState,
    Movement,
    effects,
    fold,
    money_back,
)
from policy_engine.core.headroom import line_key
from policy_engine.core.money import format_minor, split
from policy_engine.core.policy import MONEY_BACK, WHOLE_ONLY, RemedyKind
from tests.core.making import DAY, NOW, Past, pack, plan, policy, remedy, request

PACK = pack(policy("late", plan("only", remedy("coupon", "1.00 CNY"))))
NOTHING = frozenset({RemedyKind.KEEP_ITEM, RemedyKind.PRIORITY_DISPATCH})
MOVES = ("approve", "reject", "due", "redeem", "reverse", "done", "failed")


@st.composite
def parts(draw: st.DrawFn, lines: list[int]) -> tuple[OfferPart, ...]:
    """An offer whose money back stays within what was paid for each line."""
    room = list(lines)
    made: list[OfferPart] = []
    for number in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(RemedyKind))
        shares: tuple[Share, ...] = ()
        total = 0 if kind in NOTHING else draw(st.integers(1, 300))
        if kind in MONEY_BACK:
            total = min(total, sum(room))
            parts = split(total, room)
            room = [left - part for left, part in zip(room, parts, strict=True)]
            shares = tuple(Share(str(i), part) for i, part in enumerate(parts, 1))
        if kind in WHOLE_ONLY:
            at_once = draw(st.sampled_from([0, total]))
            gives = draw(st.booleans()) if total == 0 else at_once > 0
            waits = not gives
        else:
            at_once = draw(st.integers(0, total))
            gives, waits = at_once > 0, at_once < total
        valid_for = draw(st.sampled_from([None, DAY, 2 * DAY]))
        made.append(
            OfferPart(
                f"r{number}",
                kind,
                "late/only",
                "late",
                None,
                at_once,
                total - at_once,
                gives,
                waits,
                shares,
                valid_for,
            )
        )
    return tuple(made)


@dataclass
class Ledger:
    """What the effects of a grant have come to, kept apart from its state."""

    value: Counter[tuple[str, datetime]]
    presence: Counter[tuple[str, datetime]]
    lines: Counter[str | None]

    def add(self, before: GrantState, added: tuple[Entry, ...]) -> None:
        for effect in effects(before, added):
            self.value[effect.remedy, effect.counted_at] += effect.minor
            self.presence[effect.remedy, effect.counted_at] += effect.presence
        for _, share in money_back(before, added):
            self.lines[share.line] += share.minor


def check(state: GrantState, ledger: Ledger, offer: tuple[OfferPart, ...], paid: list[int]) -> None:
    offered = {part.id: part.total for part in offer}
    for name, each in state.remedies.items():
        quantities = (each.granted, each.pending, each.redeemed, each.reversed, each.expired)
        assert min(*quantities, each.usable) >= 0
        assert each.granted + each.pending <= offered[name]
        assert each.redeemed + each.reversed + each.expired <= each.granted
        assert each.held == sum(v for (r, _), v in ledger.value.items() if r == name)
        present = sum(v for (r, _), v in ledger.presence.items() if r == name)
        assert (present > 0) == each.counts
        assert sum(post.left for post in each.posts) == (
            each.granted - each.reversed - each.expired
        )
        if each.remedy.kind in MONEY_BACK:
            shares = [share for post in each.posts for share in post.shares]
            assert sum(share.minor for share in shares) == each.granted - each.reversed
            assert all(share.minor >= 0 for share in shares)
        if each.remedy.kind not in REDEEMED_LATER:
            assert each.redeemed == each.expired == 0
            assert each.usable == given_before_a_failure(state, name) - each.reversed
    assert min(ledger.value.values(), default=0) >= 0, "a window went below zero"
    assert min(ledger.presence.values(), default=0) >= 0
    for line, minor in enumerate(paid, 1):
        assert 0 <= ledger.lines[str(line)] <= minor, "money back beyond its line"


def given_before_a_failure(state: GrantState, name: str) -> int:
    """All that was ever given of a remedy by the time that it was last reported failed and has
    not been reported done since; what was taken back before counts as well."""
    given = failed = 0
    reversed_done = 0
    for entry in state.entries:
        if entry.remedy != name:
            continue
        if entry.movement is Movement.POST:
            given += entry.minor
        elif entry.movement is Movement.FAIL:
            failed = given
        elif entry.movement is Movement.FULFIL:
            failed = reversed_done
        elif entry.movement is Movement.REVERSE:
            reversed_done += entry.minor
    return failed


def moved(state: GrantState, move: str, draw: st.DrawFn, now: datetime) -> tuple[Entry, ...]:
    amount = draw(st.one_of(st.none(), st.integers(0, 200)))
    name = draw(st.sampled_from(sorted(state.remedies)))
    calls: dict[str, Callable[[], tuple[Entry, ...]]] = {
        "approve": lambda: approved(state, now, amount),
        "reject": lambda: rejected(state, now),
        "due": lambda: due(state, now),
        "redeem": lambda: redeemed(state, name, amount or 0, now),
        "reverse": lambda: reversed_(state, draw(st.sampled_from([None, name])), amount, now),
        "done": lambda: fulfilled(state, name, True, now),
        "failed": lambda: fulfilled(state, name, False, now),
    }
    return calls[move]()


def is_in_order(before: GrantState, move: str, added: tuple[Entry, ...], now: datetime) -> None:
    if move == "due":
        comes = next_due(before)
        assert bool(added) == (comes is not None and comes <= now)
    else:
        assert added, "a move without an entry leaves no trace"
    for entry in added:
        assert entry.at == now
        if entry.against is None:
            assert entry.counted_at == now
        else:
            # What is approved counts from now; all else where it was held.
            earlier = before.entries[entry.against]
            assert entry.remedy == earlier.remedy
            approval = entry.movement is Movement.POST
            assert entry.counted_at == (now if approval else earlier.counted_at)


@given(st.data())
def test_a_grant_adds_up_through_its_whole_life(data: st.DataObject) -> None:
    paid = data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=4))
    offer = data.draw(parts(paid))
    amount = data.draw(st.one_of(st.none(), st.integers(0, 500)))
    try:
        asked = asked_of(offer, amount)
    except AmountAboveOfferError:
        return
    if amount is not None:
        assert sum(part.total for part in asked) <= amount
    asked = tuple(part for part in asked if part.gives or part.waits)
    if not asked:
        return
    order = request(*(format_minor(each, "CNY") for each in paid), role="agent")
    taken = take(PACK, order, NOW, asked, Past())
    assert isinstance(taken, Taking), taken
    remedies = [GrantRemedy(p.id, p.kind, p.policy, p.source, p.valid_for) for p in asked]
    now = NOW
    pending_until = now + 3 * DAY
    state = fold(remedies, (), pending_until)
    ledger = Ledger(Counter(), Counter(), Counter())
    added = opened(taken, now)
    for _ in range(data.draw(st.integers(1, 12))):
        ledger.add(state, added)
        state = fold(remedies, (*state.entries, *added), pending_until)
        check(state, ledger, offer, paid)
        now += data.draw(st.sampled_from([timedelta(), timedelta(hours=1), DAY, 3 * DAY]))
        move = data.draw(st.sampled_from(MOVES))
        try:
            added = moved(state, move, data.draw, now)
        except ImpossibleMoveError:
            added = ()
            continue
        event(move)
        is_in_order(state, move, added, now)


@given(st.data())
def test_what_is_asked_is_never_more_than_the_offer_and_as_much_as_fits(
    data: st.DataObject,
) -> None:
    offer = data.draw(parts([1000]))
    total = sum(part.total for part in offer)
    amount = data.draw(st.integers(0, total))
    asked = asked_of(offer, amount)
    for part, cut in zip(offer, asked, strict=True):
        assert 0 <= cut.allowed <= part.allowed
        assert 0 <= cut.pending <= part.pending
        if part.kind in WHOLE_ONLY:
            assert cut.total in (0, part.total)
        assert cut == replace(
            part, allowed=cut.allowed, pending=cut.pending, gives=cut.gives, waits=cut.waits
        )
        assert part.gives or not cut.gives
        assert part.waits or not cut.waits
    if not any(part.kind in WHOLE_ONLY for part in offer):
        assert sum(part.total for part in asked) == amount
        if any(part.pending for part in asked):
            assert [part.allowed for part in asked] == [part.allowed for part in offer]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=5), st.data())
def test_repeated_parts_of_a_refund_never_exceed_the_whole_on_any_line(
    whole: list[int], data: st.DataObject
) -> None:
    """Given in part, approved in part, failed and taken back bit by bit."""
    total = sum(whole)
    assume(total)
    at_once = data.draw(st.integers(0, total))
    part = OfferPart(
        "refund",
        RemedyKind.REFUND,
        "late/only",
        "late",
        None,
        at_once,
        total - at_once,
        at_once > 0,
        at_once < total,
        tuple(Share(str(i), minor) for i, minor in enumerate(whole, 1)),
    )
    order = request(*(format_minor(each, "CNY") for each in whole), role="agent")
    taken = take(PACK, order, NOW, [part], Past())
    assert isinstance(taken, Taking)
    remedies = [GrantRemedy("refund", RemedyKind.REFUND, "late", "late/only")]
    state = fold(remedies, (), NOW + DAY)
    lines: Counter[str] = Counter()

    def go(added: tuple[Entry, ...]) -> None:
        nonlocal state
        for _, share in money_back(state, added):
            lines[line_key(share.line)] += share.minor
        state = fold(remedies, (*state.entries, *added), state.pending_until)
        for line, minor in enumerate(whole, 1):
            assert 0 <= lines[f"line:{line}"] <= minor

    go(opened(taken, NOW))
    for move in data.draw(st.permutations(["approve", "failed", "reverse", "reverse", "reverse"])):
        try:
            go(moved(state, move, data.draw, NOW))
        except ImpossibleMoveError:
            continue
    if state.open_reserves():
        go(rejected(state, NOW))
