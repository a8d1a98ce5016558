"""What a role may give of a plan, and who must approve the rest (CONTRACT §4 (9), (10), (14)).

`give` walks the remedies in order. Each gets the least headroom left in the caps that hold
for the role, its kind and the policy it comes from, and uses that up. The walk ends before
a kind that the role may not issue, and before something in kind or an act that does not
fit whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from policy_engine.core.caps import Measure
from policy_engine.core.decision import CapReading, Share
from policy_engine.core.entitlement import Entitled
from policy_engine.core.money import split
from policy_engine.core.policy import MONEY_BACK, WHOLE_ONLY, Role

LineRoom = Mapping[str | None, int]
"""Line id (None: shipping) → what was paid for it and has not been given back, minor units."""


class Obstacle(StrEnum):
    """Why a role gives nothing of a plan."""

    ROLE = "role"
    CURRENCY = "currency"
    CAP = "cap"


@dataclass(frozen=True, slots=True)
class Part:
    """What one remedy got: minor units, its lines, and whether anything was given at all."""

    minor: int = 0
    shares: tuple[Share, ...] = ()
    given: bool = False


@dataclass(frozen=True, slots=True)
class Give:
    """One role's walk over a plan's remedies, a part for each."""

    role: str
    parts: tuple[Part, ...]
    binding_cap: str | None
    obstacle: Obstacle | None
    """Set when nothing is given."""

    @property
    def anything(self) -> bool:
        return any(part.given for part in self.parts)

    @property
    def size(self) -> tuple[int, int]:
        """What `largest` compares: minor units, then the number of remedies given."""
        return sum(part.minor for part in self.parts), sum(part.given for part in self.parts)

    @property
    def amounts(self) -> tuple[tuple[int, bool], ...]:
        return tuple((part.minor, part.given) for part in self.parts)

    def covers(self, other: Give) -> bool:
        """Gives no remedy less than `other` does."""
        return all(
            mine.minor >= theirs.minor and mine.given >= theirs.given
            for mine, theirs in zip(self.parts, other.parts, strict=True)
        )


Bounds = dict[tuple[str, str, str], tuple[int, ...]]
"""Role, kind and policy → the caps that hold for them, by position among the readings."""


class Walk:
    """One plan's remedies before the caps, ready to be walked by any role.

    `bounds` may be shared by walks over readings of the same caps.
    """

    def __init__(
        self,
        remedies: Sequence[Entitled],
        readings: Sequence[CapReading],
        line_room: LineRoom,
        bounds: Bounds | None = None,
    ) -> None:
        self._remedies = remedies
        self._readings = readings
        self._line_room = line_room
        self._known_bounds: Bounds = {} if bounds is None else bounds

    def give(self, role: Role) -> Give:
        """What `role` can give now."""
        left = [reading.headroom for reading in self._readings]
        line_room = Counter(self._line_room)
        cuts: list[tuple[int, int]] = []
        parts: list[Part] = []
        forbidden = False
        for entitled in self._remedies:
            kind = entitled.of.rule.kind
            if not role.may_issue(kind):
                forbidden = True
                break
            bounds = self._bounds(role.name, entitled)
            most, shares = _fits_lines(entitled, line_room)
            # A full count cap leaves nothing, not even an act: giving one would be one grant
            # more than the cap counts.
            cutting = [
                i
                for i in (() if entitled.of.floor is not None else bounds)
                if left[i] < (1 if self._counts(i) else most)
            ]
            cuts += [(left[i], i) for i in cutting]
            minor = min([most, *(left[i] for i in cutting)])
            if kind in WHOLE_ONLY and (cutting or minor < entitled.minor):
                break
            part = _part(minor, shares, whole=kind in WHOLE_ONLY)
            parts.append(part)
            for i in bounds:
                if not self._counts(i):
                    left[i] = max(0, left[i] - minor)
            if kind in MONEY_BACK:
                for share in part.shares:
                    line_room[share.line] -= share.minor
        parts += [Part()] * (len(self._remedies) - len(parts))
        binding = self._readings[min(cuts)[1]].cap.name if cuts else None
        return Give(role.name, tuple(parts), binding, self._obstacle(parts, cuts, forbidden))

    def _obstacle(
        self, parts: list[Part], cuts: list[tuple[int, int]], forbidden: bool
    ) -> Obstacle | None:
        if any(part.given for part in parts):
            return None
        if forbidden and not cuts:
            return Obstacle.ROLE
        if any(self._readings[i].limit is None for _, i in cuts):
            return Obstacle.CURRENCY
        return Obstacle.CAP

    def _bounds(self, role: str, entitled: Entitled) -> tuple[int, ...]:
        """The caps that hold, by position."""
        kind, policy = entitled.of.rule.kind, entitled.of.policy
        found = self._known_bounds.get((role, kind, policy))
        if found is None:
            found = tuple(
                i
                for i, reading in enumerate(self._readings)
                if reading.cap.holds_for(role, kind, policy) and reading.policy in (None, policy)
            )
            self._known_bounds[role, kind, policy] = found
        return found

    def _counts(self, reading: int) -> bool:
        return self._readings[reading].cap.measure is Measure.COUNT

    def gives_all(self, give: Give) -> bool:
        """Is everything given, so that nobody can give more?"""
        return all(
            part.minor == entitled.minor
            and (part.given or not (entitled.minor or entitled.of.rule.kind in WHOLE_ONLY))
            for part, entitled in zip(give.parts, self._remedies, strict=True)
        )

    def unlimited(self) -> int:
        """What would be given without caps and roles: only what was paid bounds money back."""
        line_room = Counter(self._line_room)
        total = 0
        for entitled in self._remedies:
            most, shares = _fits_lines(entitled, line_room)
            total += most
            if entitled.of.rule.kind in MONEY_BACK:
                for share in shares:
                    line_room[share.line] -= share.minor
        return total


def _fits_lines(
    entitled: Entitled, line_room: Mapping[str | None, int]
) -> tuple[int, tuple[Share, ...]]:
    """The most of a remedy that its lines still bear, and how it falls on them."""
    if entitled.of.rule.kind not in MONEY_BACK:
        return entitled.minor, entitled.shares
    shares = tuple(
        Share(share.line, min(share.minor, line_room.get(share.line, 0)))
        for share in entitled.shares
    )
    return sum(share.minor for share in shares), shares


def _part(minor: int, shares: tuple[Share, ...], *, whole: bool) -> Part:
    weights = [share.minor for share in shares]
    if sum(weights) != minor:
        parts = zip(shares, split(minor, weights), strict=True)
        shares = tuple(Share(share.line, part) for share, part in parts)
    return Part(minor, shares, given=whole or minor > 0)


def wanted(gives: Sequence[Give]) -> Give:
    """The largest give among the actor (first) and those up the chain that cover the actor's.

    The lowest role wins a tie, so its role is also the approver.
    """
    actor = gives[0]
    covering = [give for give in gives if give.covers(actor)]
    largest = max(covering, key=lambda give: give.size)
    return next(give for give in gives if give.amounts == largest.amounts)
