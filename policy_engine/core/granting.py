"""Taking an offer: what is asked of it, and whether the caps of now still bear it.

The entitlement comes from the decision; the caps and their usage are those at the grant
(CONTRACT §4 (12)–(14)). Either all that is asked fits, or nothing is granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from policy_engine.core.authority import Give, Walk, wanted
from policy_engine.core.caps import ScopeIds
from policy_engine.core.decision import CapReading, OfferedRemedy, RemedyStatus, Share
from policy_engine.core.entitlement import Entitled, RemedySource
from policy_engine.core.factbase import FactBase
from policy_engine.core.headroom import cap_readings, counters_of, line_room, scoped_caps
from policy_engine.core.money import split
from policy_engine.core.policy import WHOLE_ONLY, Floor, Pack, RemedyKind, RemedyRule
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
    if amount > sum(part.total for part in parts):
        raise AmountAboveOfferError
    allowed, left = _cut([(p, p.allowed, p.gives) for p in parts], amount)
    # An act waiting for approval is worth nothing; it is asked for only with the money beside it.
    more = left > 0 and [minor for minor, _ in allowed] == [part.allowed for part in parts]
    waiting = [(p, p.pending, p.waits and more) for p in parts]
    pending, _ = _cut(waiting, left)
    return tuple(
        OfferPart(
            p.id,
            p.kind,
            p.source,
            p.policy,
            p.floor,
            now,
            later,
            gives,
            waits,
            p.shares,
            p.valid_for,
        )
        for p, (now, gives), (later, waits) in zip(parts, allowed, pending, strict=True)
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
    walk, readings = walk_now(pack, request, now, asked, usage_port)
    gives = [walk.give(role) for role in chain]
    needed = tuple((part.allowed, part.gives) for part in asked)
    in_all = tuple((part.total, part.gives or part.waits) for part in asked)
    waits = any(part.waits for part in asked)
    approver = next((give for give in gives if _bears(give, in_all)), None)
    if not gives or not _bears(gives[0], needed) or approver is None:
        return _shortfall(asked, gives)
    return Taking(tuple(_taken(part) for part in asked), approver.role if waits else None, readings)


def walk_now(
    pack: Pack,
    request: DecisionRequest,
    now: datetime,
    asked: Sequence[OfferPart],
    usage_port: UsagePort,
) -> tuple[Walk, tuple[CapReading, ...]]:
    """The asked parts before the caps of `pack` as they stand at `now`, for any of its roles."""
    ids = ScopeIds(request.order_id, request.customer_id, request.agent.id)
    caps = scoped_caps(pack, tuple(pack.roles.values()), {part.policy for part in asked})
    counters = counters_of(caps, ids, request.currency)
    usage = usage_port.read(UsageQuestion(counters, request.order_id, ()))
    facts = FactBase(pack.facts, request, now)
    readings = cap_readings(caps, ids, facts, usage)
    entitled = [
        Entitled(
            RemedySource(RemedyRule(part.kind), part.source, part.policy, part.floor),
            part.total,
            _scaled(part.total, part.shares),
        )
        for part in asked
    ]
    return Walk(entitled, readings, line_room(facts, usage)), readings


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
