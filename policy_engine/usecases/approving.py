"""Approving and rejecting what waits: by another person, whose own caps are met once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson

from policy_engine.core.caps import Measure
from policy_engine.core.grant_moves import approved, rejected
from policy_engine.core.granting import OfferPart, caps_now
from policy_engine.core.grants import Entry, GrantState, Movement, effects, fold
from policy_engine.core.headroom import line_key
from policy_engine.core.money import Money
from policy_engine.core.policy import MONEY_BACK, Pack
from policy_engine.ledger.counting import Place, classes_of, contributions
from policy_engine.ledger.grant_shapes import Grant
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.usecases.cap_states import CapStates, GrantUsage
from policy_engine.usecases.errors import ConflictError, ForbiddenError, GoneError
from policy_engine.usecases.moving import Moving, Said, Written, move
from policy_engine.usecases.principals import Principal
from policy_engine.usecases.recorded_offers import parts_of
from policy_engine.usecases.services import Services
from policy_engine.wire.decisions import money_body
from policy_engine.wire.problems import InputProblem, InvalidInputError

_GIVES: Final = Movement.POST


def approve(
    services: Services,
    caller: Principal,
    grant_id: str,
    key: IdempotencyKey,
    *,
    amount: Money | None,
    note: str,
) -> Answer:
    """Give what waits, or as much of it as `amount`; the rest is rejected. Raises as `move`."""

    def act(moving: Moving) -> Written:
        said = _by(caller, moving, {"note": note})
        minor = _minor(amount, moving)
        added = approved(moving.state, moving.now, minor)
        usage = _met(moving, added, said.role or "")
        return moving.write("approve", added, said, usage)

    return move(services, caller, key, grant_id, act)


def reject(
    services: Services, caller: Principal, grant_id: str, key: IdempotencyKey, *, reason: str
) -> Answer:
    """Give back everything that waits. Raises as `move`."""

    def act(moving: Moving) -> Written:
        said = _by(caller, moving, {"reason": reason})
        return moving.write("reject", rejected(moving.state, moving.now), said)

    return move(services, caller, key, grant_id, act)


def _by(caller: Principal, moving: Moving, texts: dict[str, str | None]) -> Said:
    """Who decides, once it is sure that they may. ForbiddenError, ConflictError."""
    person, grant = caller.person, moving.grant
    if person is None:
        raise ForbiddenError(
            "PERSON_NEEDED", "only a credential that is bound to one person may approve"
        )
    if {person.id, caller.owner} & {grant.agent.id, grant.owner} - {None}:
        raise ForbiddenError(
            "FOUR_EYES", "whoever asked for a grant, or answers for who did, can't decide on it"
        )
    if grant.approver is None:
        raise ConflictError(
            "NOT_PENDING",
            f"nothing waits; the grant is `{moving.state.status}`",
            {"state": moving.state.status.value},
        )
    if person.role not in moving.packs.active.approver_chain(grant.approver):
        raise ForbiddenError(
            "ROLE_TOO_LOW", f"this needs the role `{grant.approver}`, or one above it"
        )
    said = {name: text for name, text in texts.items() if text is not None}
    return Said(person.id, caller.client, caller.credential, said, person.role)


def _minor(amount: Money | None, moving: Moving) -> int | None:
    if amount is None:
        return None
    if amount.currency != moving.grant.currency:
        raise InvalidInputError(
            [
                InputProblem(
                    "/amount/currency",
                    "WRONG_CURRENCY",
                    f"the grant is in `{moving.grant.currency}`",
                )
            ]
        )
    return amount.minor


def _met(moving: Moving, added: tuple[Entry, ...], role: str) -> GrantUsage:
    """The caps of now bear what is given, for the approver's role; ConflictError if not."""
    request = moving.request
    if request is None:
        raise GoneError("ERASED", "the customer of this grant has been erased")
    pack, now = moving.packs.active, moving.now
    record = orjson.loads(moving.stored.decision.record)
    asked = given_parts(record, moving.grant.plan, added)
    states = CapStates.of(pack, request, now, moving.grant.holder.remedies.values())
    usage = GrantUsage(
        moving.transaction.usage(now),
        states.question().counters,
        own=held_by(moving.grant, moving.state, pack, now),
        own_lines=_own_lines(moving),
    )
    if not asked:
        usage.read(states.question())
        return usage
    give = caps_now(pack, request, now, asked, usage).walk(asked).give(pack.roles[role])
    short = [
        part
        for part, given in zip(asked, give.parts, strict=True)
        if given.minor < part.allowed or (part.gives and not given.given)
    ]
    if short:
        left = {
            part.id: money_body(given.minor, request.currency)
            for part, given in zip(asked, give.parts, strict=True)
        }
        raise ConflictError(
            "CAP_EXHAUSTED",
            "less is left than would be approved, and nothing was; see `left`",
            {
                "left": {
                    "allowed": money_body(sum(p.minor for p in give.parts), request.currency),
                    "pending": money_body(0, request.currency),
                    "remedies": [
                        {
                            "remedy": remedy,
                            "allowed": amount,
                            "pending": money_body(0, request.currency),
                        }
                        for remedy, amount in left.items()
                    ],
                },
                "binding_cap": give.binding_cap,
            },
        )
    return usage


def given_parts(
    decision: Mapping[str, Any], plan: str, added: Sequence[Entry]
) -> tuple[OfferPart, ...]:
    """What is given now, in the words of the offer that it comes from; `decision` is the record."""
    plans = {each["plan"]: each for each in decision["evaluation"]["plans"]}
    offered = {part.id: part for part in parts_of(plans[plan])}
    given = {entry.remedy: entry for entry in added if entry.movement is _GIVES}
    return tuple(
        replace(
            part,
            allowed=given[part.id].minor,
            pending=0,
            gives=True,
            waits=False,
            shares=given[part.id].shares,
        )
        for part in offered.values()
        if part.id in given
    )


def held_by(grant: Grant, state: GrantState, pack: Pack, now: datetime) -> dict[Place, int]:
    """What a grant's reserves hold of value caps, and that it counts for count caps: what is
    approved takes their place, and a grant is counted once."""
    reserves = tuple(entry for _, entry in state.open_reserves())
    nothing = fold(grant.remedies, (), grant.pending_until)
    every = classes_of(pack)
    by_value = [each for each in every if each.measure is Measure.VALUE]
    by_count = [each for each in every if each.measure is Measure.COUNT]
    holder = grant.holder
    return {
        **contributions(holder, effects(nothing, reserves), by_value, now),
        **contributions(holder, effects(nothing, state.entries), by_count, now),
    }


def _own_lines(moving: Moving) -> dict[str, int]:
    lines: dict[str, int] = {}
    for _, entry in moving.state.open_reserves():
        if moving.state.remedies[entry.remedy].remedy.kind in MONEY_BACK:
            for share in entry.shares:
                line = line_key(share.line)
                lines[line] = lines.get(line, 0) + share.minor
    return lines
