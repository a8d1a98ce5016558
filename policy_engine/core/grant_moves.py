"""Every move between the states of a grant, in one place.

Each function says which entries a move would add, or raises ImpossibleMoveError with the
state that forbids it. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from policy_engine.core.decision import Share
from policy_engine.core.granting import Taking
from policy_engine.core.grants import (
    REDEEMED_LATER,
    Entry,
    GrantRemedy,
    GrantState,
    Movement,
    RemedyState,
)
from policy_engine.core.money import Money, split
from policy_engine.core.policy import WHOLE_ONLY

EXPIRY_GRACE = timedelta(days=3)
"""How long after `valid_for` a late report of a redemption is still taken."""


class ImpossibleMoveError(Exception):
    """The grant's present state forbids the move; `code` is stable, the text says the state."""

    def __init__(self, code: str, detail: str, minor: int | None = None) -> None:
        """`minor`: an amount that the text leaves room for, as `{}`."""
        super().__init__(detail)
        self.code = code
        self._detail = detail
        self._minor = minor

    def told(self, currency: str) -> str:
        """The text, with its amount in the currency of the grant."""
        if self._minor is None:
            return self._detail
        return self._detail.replace("{}", str(Money(self._minor, currency)), 1)


def opened(taking: Taking, now: datetime) -> tuple[Entry, ...]:
    """The entries of a new grant: a post and a reserve for each remedy, as far as it has them."""
    entries: list[Entry] = []
    for part in taking.parts:
        if part.posts:
            entries.append(
                Entry(part.part.id, Movement.POST, part.posted, part.posted_shares, now, now)
            )
        if part.reserves:
            entries.append(
                Entry(part.part.id, Movement.RESERVE, part.reserved, part.reserved_shares, now, now)
            )
    return tuple(entries)


def granted_remedies(taking: Taking) -> tuple[GrantRemedy, ...]:
    """The remedies of a new grant, as they were offered."""
    offered = [each.part for each in taking.parts]
    return tuple(
        GrantRemedy(part.id, part.kind, part.policy, part.source, part.valid_for)
        for part in offered
    )


def approved(state: GrantState, now: datetime, amount: int | None) -> tuple[Entry, ...]:
    """Give what waits, up to `amount` in order; the rest of it is rejected.

    What is approved counts from now; what is not goes back to the window it was held in.
    """
    reserves = _waiting(state, now)
    least = 1 if state.pending else 0
    if amount is not None and not least <= amount <= state.pending:
        raise ImpossibleMoveError(
            "AMOUNT_ABOVE_PENDING", "{} waits; approve that or a part of it", state.pending
        )
    left, ended = state.pending if amount is None else amount, False
    entries: list[Entry] = []
    for position, reserve in reserves:
        whole = state.remedies[reserve.remedy].remedy.kind in WHOLE_ONLY
        ended = ended or (whole and reserve.minor > left)
        given = 0 if ended else min(left, reserve.minor)
        left -= given
        if ended or (given == 0 and not whole):
            entries.append(_settled(reserve, position, Movement.REJECT, now))
        else:
            shares = cut_shares(given, reserve.shares)
            entries.append(Entry(reserve.remedy, Movement.POST, given, shares, now, now, position))
    if all(entry.movement is Movement.REJECT for entry in entries):
        raise ImpossibleMoveError(
            "NOTHING_APPROVED", "something in kind is approved whole or not at all"
        )
    return tuple(entries)


def rejected(state: GrantState, now: datetime) -> tuple[Entry, ...]:
    """Give back everything that waits."""
    return tuple(
        _settled(reserve, position, Movement.REJECT, now)
        for position, reserve in _waiting(state, now)
    )


def due(state: GrantState, now: datetime) -> tuple[Entry, ...]:
    """What time alone has brought: lapsed reserves, expired coupons. Empty when nothing has."""
    entries: list[Entry] = []
    if state.pending_until is not None and now >= state.pending_until:
        entries += [
            _settled(reserve, position, Movement.LAPSE, now)
            for position, reserve in state.open_reserves()
        ]
    for each in state.remedies.values():
        until = each.usable_until
        if each.remedy.kind not in REDEEMED_LATER or until is None or each.usable <= 0:
            continue
        if now >= until + EXPIRY_GRACE:
            entries += _taken_from(each, Movement.EXPIRE, each.usable, now)
    return tuple(entries)


def next_due(state: GrantState) -> datetime | None:
    """When `due` will next have something to say; None: time alone changes nothing any more."""
    times = [
        until + EXPIRY_GRACE
        for each in state.remedies.values()
        if each.remedy.kind in REDEEMED_LATER
        and each.usable > 0
        and (until := each.usable_until) is not None
    ]
    if state.pending_until is not None and state.open_reserves():
        times.append(state.pending_until)
    return min(times, default=None)


def redeemed(state: GrantState, remedy: str, amount: int, now: datetime) -> tuple[Entry, ...]:
    """The customer used `amount` of a coupon or store credit."""
    each = _remedy(state, remedy)
    if each.remedy.kind not in REDEEMED_LATER:
        raise ImpossibleMoveError(
            "NOT_REDEEMABLE", f"a {each.remedy.kind} counts as redeemed when it is granted"
        )
    _enough(each, amount)
    return (_movement(each, Movement.REDEEM, amount, now),)


def reversed_(
    state: GrantState, remedy: str | None, amount: int | None, now: datetime
) -> tuple[Entry, ...]:
    """Take back what has not been redeemed: of one remedy or of all, whole or in part."""
    named = [_remedy(state, remedy)] if remedy is not None else list(state.remedies.values())
    able = [each for each in named if reversible(each)]
    most = sum(each.usable for each in able)
    if not able or (amount is not None and not 0 < amount <= most):
        raise ImpossibleMoveError(
            "NOT_REVERSIBLE", f"{{}} can be reversed; the grant is `{state.status}`", most
        )
    left = most if amount is None else amount
    entries: list[Entry] = []
    for each in able:
        taken = min(left, each.usable)
        whole = each.remedy.kind in WHOLE_ONLY
        if (whole and taken < each.usable) or (taken == 0 and not (whole and amount is None)):
            continue
        left -= taken
        entries += _taken_from(each, Movement.REVERSE, taken, now)
    if left or not entries:
        raise ImpossibleMoveError(
            "NOT_REVERSIBLE", "something in kind is reversed whole or not at all"
        )
    return tuple(entries)


def reversible(state: RemedyState) -> bool:
    """Given, not yet taken back, and neither used up nor carried out."""
    if not state.given or state.taken_back:
        return False
    return state.usable > 0 or (state.failed and state.granted == 0)


def fulfilled(state: GrantState, remedy: str, done: bool, now: datetime) -> tuple[Entry, ...]:
    """The shop reports a remedy carried out (`done`) or failed."""
    each = _remedy(state, remedy)
    if not each.given or each.taken_back:
        raise ImpossibleMoveError("NOT_GRANTED", f"`{remedy}` stands for nothing in this grant now")
    if not done and each.redeemed:
        raise ImpossibleMoveError("ALREADY_REDEEMED", f"`{remedy}` has been redeemed")
    movement = Movement.FULFIL if done else Movement.FAIL
    return (_movement(each, movement, 0, now),)


def _waiting(state: GrantState, now: datetime) -> list[tuple[int, Entry]]:
    lapsed = state.pending_until is not None and now >= state.pending_until
    reserves = state.open_reserves()
    if not reserves or lapsed:
        raise ImpossibleMoveError("NOT_PENDING", f"nothing waits; the grant is `{state.status}`")
    return reserves


def _settled(reserve: Entry, position: int, movement: Movement, now: datetime) -> Entry:
    return Entry(reserve.remedy, movement, 0, (), now, reserve.counted_at, position)


def _movement(state: RemedyState, movement: Movement, minor: int, now: datetime) -> Entry:
    return Entry(state.remedy.id, movement, minor, (), now, now)


def _taken_from(state: RemedyState, movement: Movement, minor: int, now: datetime) -> list[Entry]:
    """Entries that take `minor` from the posts, the newest first, each in its own window."""
    entries: list[Entry] = []
    left, later = minor, state.remedy.kind in REDEEMED_LATER
    for post in reversed([each for each in state.posts if later or each.failed]):
        taken = min(left, post.left)
        if taken == 0 and (left or entries):
            continue
        fallen = cut_shares(taken, post.shares) if movement is Movement.REVERSE else ()
        entries.append(
            Entry(state.remedy.id, movement, taken, fallen, now, post.counted_at, post.position)
        )
        left -= taken
    return entries


def _remedy(state: GrantState, remedy: str) -> RemedyState:
    if remedy not in state.remedies:
        raise ImpossibleMoveError(
            "UNKNOWN_REMEDY", f"the grant has {', '.join(f'`{each}`' for each in state.remedies)}"
        )
    return state.remedies[remedy]


def _enough(state: RemedyState, amount: int) -> None:
    if amount <= 0 or amount > state.usable:
        raise ImpossibleMoveError(
            "AMOUNT_ABOVE_LEFT", f"{{}} is left of `{state.remedy.id}`", state.usable
        )


def cut_shares(minor: int, shares: Sequence[Share]) -> tuple[Share, ...]:
    """The shares of a part of an amount; never more on a line than the whole has there."""
    parts = split(minor, [share.minor for share in shares])
    return tuple(Share(share.line, part) for share, part in zip(shares, parts, strict=True))
