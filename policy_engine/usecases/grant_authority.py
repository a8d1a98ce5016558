"""What a grant's record says of caps, role and approver, against what they come to again.

Each function says in words what does not hold; nothing when all does. What the counters had come
to is taken from the record here: `ledger.log.cap_history` proves it, over all records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from policy_engine.core.caps import CounterKey, Scope
from policy_engine.core.factbase import FactBase
from policy_engine.core.grant_moves import (
    ImpossibleMoveError,
    approved,
    granted_remedies,
    opened,
    rejected,
    reversed_,
)
from policy_engine.core.granting import CapShortfall, asked_of, caps_now, take
from policy_engine.core.grants import Entry, Movement
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Usage, UsageQuestion, Used
from policy_engine.core.request import DecisionRequest
from policy_engine.core.times import parse_timestamp
from policy_engine.ledger.counting import Place, period_of
from policy_engine.ledger.grant_shapes import Grant
from policy_engine.ledger.log.cap_history import Moved
from policy_engine.usecases.approving import given_parts, held_by
from policy_engine.usecases.cap_states import CapStates
from policy_engine.usecases.grant_bodies import cap_records
from policy_engine.usecases.recorded_offers import parts_of

_UNCOMPARED: Final = "resets_at"
"""Of a cap: it hangs on data of time zones, which change."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one record did to a grant, with all that it went by."""

    moved: Moved
    pack: Pack
    """The pack that the record names."""
    request: DecisionRequest
    """Of its decision, with any text where something personal was."""
    states: CapStates
    """The caps that a record of this grant has to speak of."""
    counters: tuple[CounterKey, ...]
    """Of each of them."""

    @classmethod
    def of(cls, moved: Moved, pack: Pack, request: DecisionRequest) -> Recorded:
        kinds = moved.grant.holder.remedies.values()
        states = CapStates.of(pack, request, moved.at, kinds)
        return cls(moved, pack, request, states, states.counters)

    @property
    def document(self) -> Mapping[str, Any]:
        return self.moved.document

    @property
    def grant(self) -> Grant:
        return self.moved.grant

    @property
    def at(self) -> datetime:
        return self.moved.at

    @property
    def facts(self) -> FactBase:
        return FactBase(self.pack.facts, self.request, self.at)

    def used(self, when: str) -> Usage:
        """What the record says that had been used, `before` or `after` it. ValueError where it
        doesn't speak of the caps of its pack, KeyError where it speaks of none."""
        caps = zip(self.counters, self.document["caps"][when], strict=True)
        return Usage({key: Used(each["used"]) for key, each in caps})

    def place(self, key: CounterKey) -> Place:
        """Where the ledger counts what a cap of the request is read from."""
        if key.scope is Scope.CUSTOMER:
            key = replace(key, key=(self.grant.customer,))
        return Place(key, period_of(key.window, self.at))


class StatedUsage:
    """A UsagePort that answers what a record says; money back on lines is proved elsewhere."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def read(self, question: UsageQuestion) -> Usage:
        del question
        return self._usage


def wrong_caps(recorded: Recorded) -> Iterator[str]:
    """Limits and headroom are not those of the pack."""
    for when in ("before", "after"):
        stated = recorded.document["caps"][when]
        computed = cap_records(recorded.states.readings(recorded.used(when)))
        for says, should in zip(stated, computed, strict=True):
            for name in should:
                if name != _UNCOMPARED and says[name] != should[name]:
                    yield (
                        f"cap `{should['cap']}` {when} it: says {name} {says[name]}, under its "
                        f"pack {should[name]}"
                    )


def wrong_offer(recorded: Recorded) -> Iterator[str]:
    """What was taken was no offer any more, none to be taken, or somebody else's."""
    decision, grant, request = recorded.moved.decision, recorded.grant, recorded.request
    offered = (request.order_id, request.currency, decision["sealed"]["subject"])
    if (grant.order_id, grant.currency, grant.customer) != offered:
        yield "is for another order, customer or currency than the decision"
    if grant.agent != request.agent:
        yield "was asked by another agent, or in another role, than the decision"
    if decision["request"].get("as_of") is not None:
        yield "takes an offer that was made to look, not to be taken"
    expires_at = decision["evaluation"]["expires_at"]
    if expires_at is None or parse_timestamp(expires_at) <= recorded.at:
        yield "takes an offer that had expired"


def wrong_grant(recorded: Recorded) -> Iterator[str]:
    """The caps of its moment do not bear it for the role that asked, or for its approver."""
    document, grant = recorded.document, recorded.grant
    offered = asked_of(_offered(recorded), document["asked"])
    asked = tuple(part for part in offered if part.gives or part.waits)
    usage = StatedUsage(recorded.used("before"))
    taking = take(recorded.pack, recorded.request, recorded.at, asked, usage)
    if isinstance(taking, CapShortfall):
        by = "" if taking.binding_cap is None else f"; cap `{taking.binding_cap}` cuts it"
        left = sum(allowed + pending for _, allowed, pending in taking.left)
        given = sum(each.minor for each in recorded.moved.added)
        yield f"gives {given} where the caps left `{grant.agent.role}` and above {left}{by}"
        return
    waits = any(part.reserves for part in taking.parts)
    approver = taking.approver if waits else None
    if approver != grant.approver:
        yield f"waits for `{grant.approver}`, where its caps ask for `{approver}`"
    until = recorded.at + recorded.pack.settings.pending_for if waits else None
    if until != grant.pending_until:
        yield "waits for longer, or shorter, than its pack says"
    if granted_remedies(taking) != grant.remedies:
        yield "gives something else, or from elsewhere, than the decision offers"
    if opened(taking, recorded.at) != recorded.moved.added:
        yield "gives, or sets aside, something else than its caps bore"


def wrong_answer(recorded: Recorded) -> Iterator[str]:
    """What was approved or rejected could not be, by this role, under the caps of its moment."""
    document, grant = recorded.document, recorded.grant
    role = document["actor"]["role"]
    if grant.approver is None or role not in recorded.pack.approver_chain(grant.approver):
        yield f"`{role}` decided on it, which waits for `{grant.approver}` or a role above"
        return
    if document["move"] == "reject":
        if _moved(recorded, None) != recorded.moved.added:
            yield "rejects something else than what waited"
        return
    given = sum(each.minor for each in recorded.moved.added if each.movement is Movement.POST)
    # Where an act alone was approved, any amount that something in kind doesn't fit comes to it.
    least = 1 if recorded.moved.before.pending else 0
    if _moved(recorded, max(given, least)) != recorded.moved.added:
        yield "approves something else than what waited"
    asked = given_parts(recorded.moved.decision, grant.plan, recorded.moved.added)
    usage = StatedUsage(_without_own(recorded))
    caps = caps_now(recorded.pack, recorded.request, recorded.at, asked, usage)
    give = caps.walk(asked).give(recorded.pack.roles[role])
    for part, most in zip(asked, give.parts, strict=True):
        if most.minor < part.allowed or not most.given:
            yield (
                f"approves {part.allowed} of `{part.id}`, where the caps left `{role}` "
                f"{most.minor}; cap `{give.binding_cap}` cuts it"
            )


def wrong_reversal(recorded: Recorded) -> Iterator[str]:
    """What was taken back could not be: it had been used, or was carried out."""
    added = recorded.moved.added
    if not any(_reverses(recorded, remedy, amount) for remedy, amount in _asked_back(added)):
        yield "takes back something else than could be"


def _offered(recorded: Recorded) -> Sequence[Any]:
    plans = {each["plan"]: each for each in recorded.moved.decision["evaluation"]["plans"]}
    return parts_of(plans[recorded.grant.plan])


def _moved(recorded: Recorded, amount: int | None) -> tuple[Entry, ...] | None:
    """The entries that the move should have; None where the grant's state forbids it."""
    try:
        if amount is None:
            return rejected(recorded.moved.before, recorded.at)
        return approved(recorded.moved.before, recorded.at, amount)
    except ImpossibleMoveError:
        return None


def _asked_back(added: Sequence[Entry]) -> Iterator[tuple[str | None, int | None]]:
    """What a reversal can have asked for; its record only says what it came to."""
    remedies = {each.remedy for each in added}
    amounts = (None, sum(each.minor for each in added))
    for remedy in (None, *remedies) if len(remedies) == 1 else (None,):
        for amount in amounts:
            yield remedy, amount


def _reverses(recorded: Recorded, remedy: str | None, amount: int | None) -> bool:
    """Whether this, asked for at its moment, comes to the record's entries."""
    moved = recorded.moved
    try:
        return reversed_(moved.before, remedy, amount, recorded.at) == moved.added
    except ImpossibleMoveError:
        return False


def _without_own(recorded: Recorded) -> Usage:
    """What the record says that had been used, without what the grant itself holds."""
    own = held_by(recorded.grant, recorded.moved.before, recorded.pack, recorded.at)
    used = {
        key: Used(each.amount - own.get(recorded.place(key), 0))
        for key, each in recorded.used("before").used.items()
    }
    return Usage(used)
