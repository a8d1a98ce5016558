"""Every state a grant can be in: the sum of its entries, which are never changed.

The moves between the states are in `grant_moves`. Amounts are minor units of the grant's
currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from policy_engine.core.decision import Share
from policy_engine.core.policy import MONEY_BACK, RemedyKind

REDEEMED_LATER = frozenset({RemedyKind.COUPON, RemedyKind.STORE_CREDIT})
"""What the customer uses later. Everything else counts as redeemed when it is granted."""


class GrantStatus(StrEnum):
    PENDING = "pending"
    PARTLY_PENDING = "partly_pending"
    GRANTED = "granted"
    REJECTED = "rejected"
    """Nothing was given: the approver refused."""
    LAPSED = "lapsed"
    """Nothing was given: nobody decided in time."""
    REVERSED = "reversed"
    """All that was given has been taken back."""


class Movement(StrEnum):
    RESERVE = "reserve"
    """Set aside for approval; holds its caps."""
    POST = "post"
    """Given, at once or by approval."""
    REJECT = "reject"
    """A reserve is given back by the approver."""
    LAPSE = "lapse"
    """A reserve is given back because nobody decided in time."""
    REDEEM = "redeem"
    REVERSE = "reverse"
    EXPIRE = "expire"
    FULFIL = "fulfil"
    """Reported carried out, with the shop's own reference."""
    FAIL = "fail"
    """Reported not carried out: it no longer counts as redeemed."""


@dataclass(frozen=True, slots=True)
class GrantRemedy:
    """One remedy of a grant: its id in the grant, what it is, and how long it can be used."""

    id: str
    kind: RemedyKind
    policy: str
    source: str
    valid_for: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of one remedy. `counted_at` is the instant in whose windows it counts."""

    remedy: str
    movement: Movement
    minor: int
    shares: tuple[Share, ...]
    at: datetime
    counted_at: datetime
    against: int | None = None
    """Position of the earlier entry that this one settles (a reserve) or takes from (a post)."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What an entry does to the caps: `minor` and `presence` in the windows of `counted_at`.

    A grant counts towards a count cap while its presences that pass the cap's filters add up
    to more than zero.
    """

    remedy: str
    minor: int
    presence: int
    counted_at: datetime


@dataclass(frozen=True, slots=True)
class Post:
    """What one entry gave of a remedy, less what was taken back of it or expired."""

    position: int
    """Of the entry in its grant."""
    counted_at: datetime
    left: int
    shares: tuple[Share, ...]
    """Where it falls, lines that bear nothing of it included."""
    failed: bool = False
    """Reported not carried out, and not reported done since. What was given later isn't."""


@dataclass(frozen=True, slots=True)
class RemedyState:
    """What has become of one remedy."""

    remedy: GrantRemedy
    pending: int = 0
    granted: int = 0
    redeemed: int = 0
    reversed: int = 0
    expired: int = 0
    waits: bool = False
    """A reserve is open (also one of an act, which is worth nothing)."""
    given: bool = False
    taken_back: bool = False
    """All that was given has been reversed."""
    refused: Movement | None = None
    """REJECT or LAPSE, where a reserve was given back."""
    granted_at: datetime | None = None
    posts: tuple[Post, ...] = ()

    @property
    def usable(self) -> int:
        """What could still be redeemed, reversed or expire."""
        if self.remedy.kind in REDEEMED_LATER:
            return self.granted - self.redeemed - self.reversed - self.expired
        return sum(post.left for post in self.posts if post.failed)

    @property
    def failed(self) -> bool:
        """Whether some of what was given was reported failed."""
        return any(post.failed for post in self.posts)

    @property
    def held(self) -> int:
        """What counts towards value caps."""
        return self.pending + self.granted - self.reversed - self.expired

    @property
    def counts(self) -> bool:
        """Whether it makes the grant count towards count caps; expiry does not undo that."""
        return self.waits or (self.given and not self.taken_back)

    @property
    def usable_until(self) -> datetime | None:
        if self.remedy.valid_for is None or self.granted_at is None:
            return None
        return self.granted_at + self.remedy.valid_for


@dataclass(frozen=True, slots=True)
class GrantState:
    """A grant as its entries leave it."""

    remedies: Mapping[str, RemedyState]
    entries: tuple[Entry, ...]
    pending_until: datetime | None

    @property
    def status(self) -> GrantStatus:
        states = self.remedies.values()
        waits = any(each.waits for each in states)
        stands = any(each.given and not each.taken_back for each in states)
        if waits:
            return GrantStatus.PARTLY_PENDING if stands else GrantStatus.PENDING
        if stands:
            return GrantStatus.GRANTED
        if any(each.given for each in states):
            return GrantStatus.REVERSED
        lapsed = any(each.refused is Movement.LAPSE for each in states)
        return GrantStatus.LAPSED if lapsed else GrantStatus.REJECTED

    @property
    def pending(self) -> int:
        return sum(each.pending for each in self.remedies.values())

    def open_reserves(self) -> list[tuple[int, Entry]]:
        """Reserves that nothing has resolved, with their positions."""
        resolved = {each.against for each in self.entries if each.movement in _SETTLES}
        return [
            (position, each)
            for position, each in enumerate(self.entries)
            if each.movement is Movement.RESERVE and position not in resolved
        ]


def fold(
    remedies: Iterable[GrantRemedy], entries: Sequence[Entry], pending_until: datetime | None
) -> GrantState:
    """The state that the entries, in order, come to."""
    states = {remedy.id: RemedyState(remedy) for remedy in remedies}
    for position, entry in enumerate(entries):
        states[entry.remedy] = _after(states[entry.remedy], position, entries)
    return GrantState(states, tuple(entries), pending_until)


def settled_minor(entry: Entry, entries: Sequence[Entry]) -> int | None:
    """What was set aside and doesn't wait any more since this entry; None where it settles none.
    More than the entry's own amount where only a part was approved, or nothing."""
    if entry.movement in _SETTLES and entry.against is not None:
        return entries[entry.against].minor
    return None


def _after(state: RemedyState, position: int, entries: Sequence[Entry]) -> RemedyState:
    entry = entries[position]
    settled = settled_minor(entry, entries)
    if settled is not None:
        state = replace(state, pending=state.pending - settled, waits=False)
    match entry.movement:
        case Movement.RESERVE:
            return replace(state, pending=state.pending + entry.minor, waits=True)
        case Movement.POST:
            return replace(
                state,
                granted=state.granted + entry.minor,
                given=True,
                taken_back=False,
                granted_at=entry.at,
                posts=(
                    *state.posts,
                    Post(position, entry.counted_at, entry.minor, entry.shares),
                ),
            )
        case Movement.REJECT | Movement.LAPSE:
            return replace(state, refused=entry.movement)
        case Movement.REDEEM:
            return replace(state, redeemed=state.redeemed + entry.minor)
        case Movement.REVERSE:
            back = state.reversed + entry.minor
            return replace(
                state,
                reversed=back,
                taken_back=back == state.granted,
                posts=_less(state.posts, entry),
            )
        case Movement.EXPIRE:
            expired = state.expired + entry.minor
            return replace(state, expired=expired, posts=_less(state.posts, entry))
        case Movement.FULFIL | Movement.FAIL:
            failed = entry.movement is Movement.FAIL
            return replace(
                state, posts=tuple([replace(post, failed=failed) for post in state.posts])
            )


_SETTLES = frozenset({Movement.POST, Movement.REJECT, Movement.LAPSE})
"""Movements whose `against`, where they have one, is the reserve they settle."""


def _less(posts: Iterable[Post], entry: Entry) -> tuple[Post, ...]:
    """The posts after an entry has taken from one of them."""
    gone = {share.line: share.minor for share in entry.shares}
    return tuple(
        post
        if post.position != entry.against
        else replace(
            post,
            left=post.left - entry.minor,
            shares=tuple(
                Share(share.line, share.minor - gone.get(share.line, 0)) for share in post.shares
            ),
        )
        for post in posts
    )


def effects(before: GrantState, added: Sequence[Entry]) -> tuple[Effect, ...]:
    """What entries added to a grant do to the caps, each in the window it belongs to.

    A post is present until a reversal has taken all of it back; expiry leaves it present.
    """
    entries = (*before.entries, *added)
    states = dict(before.remedies)
    found: list[Effect] = []
    for position in range(len(before.entries), len(entries)):
        entry = entries[position]
        state = states[entry.remedy] = _after(states[entry.remedy], position, entries)
        if entry.movement in _SETTLES and entry.against is not None:
            reserve = entries[entry.against]
            found.append(Effect(entry.remedy, -reserve.minor, -1, reserve.counted_at))
        if entry.movement in (Movement.RESERVE, Movement.POST):
            found.append(Effect(entry.remedy, entry.minor, 1, entry.counted_at))
        elif entry.movement is Movement.REVERSE:
            left = sum(post.left for post in state.posts if post.position == entry.against)
            presence = -1 if left == 0 else 0
            found.append(Effect(entry.remedy, -entry.minor, presence, entry.counted_at))
        elif entry.movement is Movement.EXPIRE:
            found.append(Effect(entry.remedy, -entry.minor, 0, entry.counted_at))
    return tuple(found)


def money_back(before: GrantState, added: Sequence[Entry]) -> tuple[tuple[str, Share], ...]:
    """(remedy, share) for what entries give back of a line, or free on it again (negative)."""
    entries = (*before.entries, *added)
    found: list[tuple[str, Share]] = []
    for entry in added:
        if before.remedies[entry.remedy].remedy.kind not in MONEY_BACK:
            continue
        if entry.movement in _SETTLES and entry.against is not None:
            reserve = entries[entry.against]
            found += [(entry.remedy, Share(each.line, -each.minor)) for each in reserve.shares]
        sign = -1 if entry.movement is Movement.REVERSE else 1
        found += [(entry.remedy, Share(each.line, sign * each.minor)) for each in entry.shares]
    return tuple((remedy, share) for remedy, share in found if share.minor)
