"""Taking an offer: what is asked of it, and whether the caps of now still bear it.

The entitlement comes from the decision; the caps and their usage are those at the grant
(CONTRACT §4 (12)–(14)). Either all that is asked fits, or nothing is granted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from policy_engine.core.authority import Give, Walk, wanted
from policy_engine.core.caps import ScopeIds
from policy_engine.core.decision import CapReading, OfferedRemedy, RemedyStatus, Share
from policy_engine.core.entitlement import Entitled, RemedySource
from policy_engine.core.factbase import FactBase
from policy_engine.core.headroom import cap_readings, counters_of, line_room, scoped_caps
from policy_engine.core.money import split
from policy_engine.core.policy import WHOLE_ONLY, Floor, Pack, RemedyKind, RemedyRule, Role
from policy_engine.core.ports import UsagePort, UsageQuestion
from policy_engine.core.request import DecisionRequest


class AmountAboveOfferError(ValueError):
    """More is asked than the plan offers."""


@dataclass(frozen=True, slots=True)
class OfferPart:
    """One remedy of an offered plan, as the grant needs it. Minor units of the order's currency."""

    id: str
    """Names the remedy within its grant: its kind, with a number from the second of a kind on."""
    kind: RemedyKind
    source: str
    policy: str
    floor: Floor | None
    allowed: int
    pending: int
    gives: bool
    """Something of it is allowed (an act or something in kind: all of it)."""
    waits: bool
    """Something of it waits for approval."""
    shares: tuple[Share, ...]
    valid_for: timedelta | None = None

    @property
    def total(self) -> int:
        return self.allowed + self.pending


@dataclass(frozen=True, slots=True)
class CapShortfall:
    """Less is left than asked: what each remedy could still get, allowed and pending."""

    left: tuple[tuple[str, int, int], ...]
    """(remedy id, allowed, pending) in minor units."""
    binding_cap: str | None


@dataclass(frozen=True, slots=True)
class TakenPart:
    """What is granted of one remedy at once and what is set aside, with the lines it falls on."""

    part: OfferPart
    posted: int
    reserved: int
    posts: bool
    reserves: bool
    posted_shares: tuple[Share, ...]
    reserved_shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Taking:
    """A grant that the caps bear, with the caps as they stood before it."""

    parts: tuple[TakenPart, ...]
    approver: str | None
    """The lowest role that may approve what is pending."""
    readings: tuple[CapReading, ...]


def offer_parts(remedies: Sequence[OfferedRemedy]) -> tuple[OfferPart, ...]:
    """The remedies of an offered plan, named for the grant."""
    seen: dict[str, int] = {}
    parts: list[OfferPart] = []
    for remedy in remedies:
        kind = remedy.rule.kind
        seen[kind] = seen.get(kind, 0) + 1
        whole = kind in WHOLE_ONLY
        parts.append(
            OfferPart(
                id=kind.value if seen[kind] == 1 else f"{kind.value}-{seen[kind]}",
                kind=kind,
                source=remedy.source,
                policy=remedy.policy,
                floor=remedy.floor,
                allowed=remedy.allowed,
                pending=remedy.pending,
                gives=remedy.allowed > 0 or (whole and remedy.status is RemedyStatus.ALLOWED),
                waits=remedy.pending > 0 or (whole and remedy.status is RemedyStatus.PENDING),
                shares=remedy.shares,
                valid_for=remedy.rule.valid_for,
            )
        )
    return tuple(parts)


def asked_of(parts: Sequence[OfferPart], amount: int | None) -> tuple[OfferPart, ...]:
    """The parts cut down to `amount` minor units (None: everything offered).

    What may be given at once is taken first, in order, then what waits. Something in kind that
    does not fit whole ends the walk. Raises AmountAboveOfferError.
    """
    if amount is None:
        return tuple(parts)
    if amount < 0:
        raise ValueError(f"an amount is never negative: {amount}")
    if amount > sum(part.total for part in parts):
        raise AmountAboveOfferError
    allowed, left = _cut([(p, p.allowed, p.gives) for p in parts], amount)
    # An act waiting for approval is worth nothing; it is asked for only with the money beside it.
    more = left > 0 and [minor for minor, _ in allowed] == [part.allowed for part in parts]
    waiting = [(p, p.pending, p.waits and more) for p in parts]
    pending, _ = _cut(waiting, left)
    return tuple(
        replace(part, allowed=now, pending=later, gives=gives, waits=waits)
        for part, (now, gives), (later, waits) in zip(parts, allowed, pending, strict=True)
    )


def _cut(
    parts: Sequence[tuple[OfferPart, int, bool]], amount: int
) -> tuple[list[tuple[int, bool]], int]:
    """(minor units, whether anything) for each part, and what is left of the amount."""
    cut: list[tuple[int, bool]] = []
    left, ended = amount, False
    for part, minor, present in parts:
        whole = part.kind in WHOLE_ONLY
        ended = ended or (present and whole and minor > left)
        taken = min(minor, left) if present and not ended else 0
        left -= taken
        cut.append((taken, present and not ended and (whole or taken > 0)))
    return cut, left


def take(
    pack: Pack,
    request: DecisionRequest,
    now: datetime,
    asked: Sequence[OfferPart],
    usage_port: UsagePort,
) -> Taking | CapShortfall:
    """Meet the caps of `pack` with what has been used by `now`.

    `usage_port` must answer from inside the transaction that writes the entries, after
    locking the counters.
    """
    chain = [pack.roles[name] for name in pack.approver_chain(request.agent.role)]
    caps = caps_now(pack, request, now, asked, usage_port)
    gives = [caps.walk(asked).give(role) for role in chain]
    if not gives or not _bears_at_once(caps, chain[0], asked):
        return _shortfall(asked, gives)
    if not any(part.waits for part in asked):
        return Taking(tuple(_taken(part) for part in asked), None, caps.readings)
    # What waits is for somebody above, also where the actor's own caps have grown since.
    in_all = [(part.total, part.gives or part.waits) for part in asked]
    approver = next((give.role for give in gives[1:] if _bears(give, in_all)), None)
    if approver is None:
        return _shortfall(asked, gives)
    return Taking(tuple(_taken(part) for part in asked), approver, caps.readings)


@dataclass(frozen=True, slots=True)
class CapsNow:
    """The caps that bound some parts, and the lines' room, as they stand at one instant."""

    readings: tuple[CapReading, ...]
    room: Mapping[str | None, int]

    def walk(self, parts: Sequence[OfferPart]) -> Walk:
        """These parts, allowed and pending together, before the caps, for any role."""
        entitled = [
            Entitled(
                RemedySource(RemedyRule(part.kind), part.source, part.policy, part.floor),
                part.total,
                _scaled(part.total, part.shares),
            )
            for part in parts
        ]
        return Walk(entitled, self.readings, self.room)


def caps_now(
    pack: Pack,
    request: DecisionRequest,
    now: datetime,
    asked: Sequence[OfferPart],
    usage_port: UsagePort,
) -> CapsNow:
    """The caps of `pack` that bound the asked parts for any of its roles, read at `now`."""
    ids = ScopeIds(request.order_id, request.customer_id, request.agent.id)
    caps = scoped_caps(pack, tuple(pack.roles.values()), {part.policy for part in asked})
    counters = counters_of(caps, ids, request.currency)
    usage = usage_port.read(UsageQuestion(counters, request.order_id, ()))
    # What limits are a share of is money of the decision's request. Money is never derived, so
    # no rule has to be matched; and what the request didn't say leaves no headroom.
    facts = FactBase(pack.facts, request, now)
    return CapsNow(cap_readings(caps, ids, facts, usage), line_room(facts, usage))


def _bears_at_once(caps: CapsNow, actor: Role, asked: Sequence[OfferPart]) -> bool:
    """The actor's own caps bear what is given at once, whatever has come back to them since."""
    at_once = [
        replace(part, pending=0, waits=False, shares=_taken(part).posted_shares)
        for part in asked
        if part.gives
    ]
    return _bears(caps.walk(at_once).give(actor), [(part.allowed, True) for part in at_once])


def _bears(give: Give, needed: Sequence[tuple[int, bool]]) -> bool:
    return all(
        part.minor >= minor and (part.given or not given)
        for part, (minor, given) in zip(give.parts, needed, strict=True)
    )


def _shortfall(asked: Sequence[OfferPart], gives: Sequence[Give]) -> CapShortfall:
    if not gives:
        return CapShortfall(tuple((part.id, 0, 0) for part in asked), None)
    want = wanted(gives)
    left = tuple(
        (part.id, mine.minor, most.minor - mine.minor)
        for part, mine, most in zip(asked, gives[0].parts, want.parts, strict=True)
    )
    return CapShortfall(left, gives[0].binding_cap or want.binding_cap)


def _taken(part: OfferPart) -> TakenPart:
    """Both pieces together fall on the lines exactly as the whole would."""
    whole = _scaled(part.total, part.shares)
    posted = _scaled(part.allowed, whole)
    reserved = tuple(
        Share(all_.line, all_.minor - now.minor) for all_, now in zip(whole, posted, strict=True)
    )
    return TakenPart(part, part.allowed, part.pending, part.gives, part.waits, posted, reserved)


def _scaled(minor: int, shares: Sequence[Share]) -> tuple[Share, ...]:
    parts = split(minor, [share.minor for share in shares])
    return tuple(Share(share.line, cut) for share, cut in zip(shares, parts, strict=True))
