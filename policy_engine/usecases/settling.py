"""What becomes of what was given: carried out or not, used, taken back."""

from __future__ import annotations

from policy_engine.core.grant_moves import fulfilled, redeemed, reversed_
from policy_engine.core.money import Money
from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.usecases.cases import agent_of
from policy_engine.usecases.moving import Moving, Said, Written, move
from policy_engine.usecases.principals import Principal
from policy_engine.usecases.services import Services
from policy_engine.wire.problems import InputProblem, InvalidInputError


def report_fulfilment(
    services: Services,
    caller: Principal,
    grant_id: str,
    key: IdempotencyKey,
    *,
    remedy: str,
    done: bool,
    external_ref: str | None,
    agent: Agent | None = None,
) -> Answer:
    """A remedy was carried out, or failed. Raises as `move`."""

    def act(moving: Moving) -> Written:
        said = _by(caller, agent, moving, {"external_ref": external_ref})
        return moving.write("fulfil", fulfilled(moving.state, remedy, done, moving.now), said)

    return move(services, caller, key, grant_id, act, holds=False)


def redeem(
    services: Services,
    caller: Principal,
    grant_id: str,
    key: IdempotencyKey,
    *,
    remedy: str,
    amount: Money,
    reference: str,
    agent: Agent | None = None,
) -> Answer:
    """The customer used a coupon or store credit, or part of it. Raises as `move`."""

    def act(moving: Moving) -> Written:
        minor = _minor(amount, moving)
        added = redeemed(moving.state, remedy, minor, moving.now)
        return moving.write("redeem", added, _by(caller, agent, moving, {"reference": reference}))

    return move(services, caller, key, grant_id, act, holds=False)


def reverse(
    services: Services,
    caller: Principal,
    grant_id: str,
    key: IdempotencyKey,
    *,
    remedy: str | None,
    amount: Money | None,
    reason: str,
    agent: Agent | None = None,
) -> Answer:
    """Take back what has not been redeemed, or part of it. Raises as `move`."""

    def act(moving: Moving) -> Written:
        minor = None if amount is None else _minor(amount, moving)
        added = reversed_(moving.state, remedy, minor, moving.now)
        return moving.write("reverse", added, _by(caller, agent, moving, {"reason": reason}))

    return move(services, caller, key, grant_id, act)


def _by(
    caller: Principal, named: Agent | None, moving: Moving, texts: dict[str, str | None]
) -> Said:
    said = {name: text for name, text in texts.items() if text is not None}
    references = tuple(said[name] for name in ("external_ref",) if name in said)
    person = caller.person
    if named is not None:
        person = agent_of(caller, named, moving.packs.active)
    return Said(
        actor=caller.client if person is None else person.id,
        client=caller.client,
        credential=caller.credential,
        texts=said,
        role=None if person is None else person.role,
        references=references,
    )


def _minor(amount: Money, moving: Moving) -> int:
    currency = moving.grant.currency
    if amount.currency != currency:
        raise InvalidInputError(
            [InputProblem("/amount/currency", "WRONG_CURRENCY", f"the grant is in `{currency}`")]
        )
    return amount.minor
