"""Taking an offer, inside one transaction: everything is checked after it is locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from policy_engine.core.grant_moves import granted_remedies, opened
from policy_engine.core.granting import (
    AmountAboveOfferError,
    CapShortfall,
    OfferPart,
    Taking,
    asked_of,
    take,
)
from policy_engine.core.grants import fold
from policy_engine.core.money import Money
from policy_engine.core.request import Agent, DecisionRequest
from policy_engine.ledger.counting import Holder, classes_of
from policy_engine.ledger.grant_shapes import (
    Grant,
    Happened,
    Move,
)
from policy_engine.ledger.granting import changes_of
from policy_engine.ledger.orders import OrderPin, pin_of_request
from policy_engine.ledger.shapes import Answer, Sealed, StoredDecision
from policy_engine.ledger.transaction import Transaction
from policy_engine.usecases.cap_states import CapStates, GrantUsage, stored_changes
from policy_engine.usecases.cases import agent_of
from policy_engine.usecases.due import DueError
from policy_engine.usecases.errors import ConflictError, ForbiddenError, GoneError, NotFoundError
from policy_engine.usecases.grant_bodies import (
    grant_body,
    grant_record,
)
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.recorded_offers import parts_of
from policy_engine.usecases.registered import check_pin, check_registered
from policy_engine.usecases.revisions import PacksAtHand
from policy_engine.usecases.services import Services
from policy_engine.wire.decisions import money_body
from policy_engine.wire.problems import InputProblem, InvalidInputError
from policy_engine.wire.records import canonical, leaf_digest
from policy_engine.wire.replay import recorded_request


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call asks to be granted. `amount` None: all that is offered."""

    decision_id: str
    plan: str
    amount: Money | None = None
    agent: Agent | None = None
    """As the body names it."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """The offer as its decision holds it, with the request that it was made for."""

    decision: StoredDecision
    record: Mapping[str, Any]
    request: DecisionRequest
    parts: tuple[OfferPart, ...]


class OfferTaking:
    """One offer being taken, inside one transaction."""

    def __init__(
        self,
        services: Services,
        caller: Principal,
        wanted: Wanted,
        transaction: Transaction,
        packs: PacksAtHand,
    ) -> None:
        self._services = services
        self._caller = caller
        self._wanted = wanted
        self._transaction = transaction
        self._ledger = transaction.grants
        self._packs = packs
        self._id = services.new_id()

    def grant(self, settled: bool) -> Answer:
        self._ledger.hold_activation()
        try:
            offer = self._offer()
            asked = self._asked(offer)
        except (ConflictError, InvalidInputError):
            # Whatever else is wrong with it, a second taking is first of all that.
            _check_untaken(self._ledger.taken(self._wanted.decision_id)[1])
            raise
        pin = self._lock(offer, asked)
        now = self._transaction.look_at_the_clock()
        active, taken = self._ledger.taken(offer.decision.id)
        self._packs.expect(active)
        _check_untaken(taken)
        _check_in_time(offer.decision, now)
        request, pack = offer.request, self._packs.active
        states = CapStates.of(pack, request, now, [(p.kind.value, p.policy) for p in asked])
        evidence = tuple(
            sorted({(each.kind, each.reference) for each in request.evidence if each.reference})
        )
        spends = self._ledger.spend([text for _, text in evidence], request.order_id, now)
        usage = GrantUsage(self._transaction.usage(now, pin), states.question().counters, evidence)
        taking = take(pack, request, now, asked, usage)
        if usage.ledger.standing.due and not settled:
            raise DueError
        if usage.found.spent_evidence:
            raise _spent(sorted(usage.found.spent_evidence))
        if isinstance(taking, CapShortfall):
            raise _exhausted(taking, self._wanted.plan, request.currency)
        return self._write(offer, pin, taking, states, usage, spends)

    def _offer(self) -> _Offer:
        wanted = self._wanted
        decision = self._transaction.decision(wanted.decision_id, self._caller.client)
        if decision is None:
            raise NotFoundError("NO_SUCH_DECISION", "there is no decision with this id")
        agent = agent_of(self._caller, wanted.agent, self._packs.active)
        if agent != decision.agent:
            raise ForbiddenError(
                "NOT_YOUR_DECISION", "only the agent of a decision, in the same role, may take it"
            )
        if not decision.grantable:
            raise ConflictError("NOT_GRANTABLE", "this decision was made to look, not to be taken")
        record = orjson.loads(decision.record)
        plans = {plan["plan"]: plan for plan in record["evaluation"]["plans"]}
        if wanted.plan not in plans:
            raise ConflictError(
                "PLAN_NOT_OFFERED", "the decision doesn't offer this plan", {"plans": list(plans)}
            )
        sealed = record["sealed"]
        personal = self._transaction.open_personal(
            decision.id, Sealed(sealed["subject"], sealed["sealed"])
        )
        if personal is None:
            raise GoneError("ERASED", "the customer of this decision has been erased")
        pack = self._packs.get(decision.pack_revision)
        request = recorded_request(record, orjson.loads(personal), pack).request
        return _Offer(decision, record, request, parts_of(plans[wanted.plan]))

    def _asked(self, offer: _Offer) -> tuple[OfferPart, ...]:
        amount, currency = self._wanted.amount, offer.request.currency
        if amount is not None and amount.currency != currency:
            raise _wrong("/amount/currency", "WRONG_CURRENCY", f"the order is in `{currency}`")
        try:
            asked = asked_of(offer.parts, None if amount is None else amount.minor)
        except AmountAboveOfferError:
            total = sum(part.total for part in offer.parts)
            raise ConflictError(
                "AMOUNT_ABOVE_OFFER",
                "more is asked than the plan offers",
                {"offered": money_body(total, currency)},
            ) from None
        taken = tuple(part for part in asked if part.gives or part.waits)
        if not taken:
            raise _wrong("/amount", "AMOUNT_TOO_SMALL", "nothing of the plan fits this amount")
        return taken

    def _lock(self, offer: _Offer, asked: Sequence[OfferPart]) -> OrderPin:
        request = offer.request
        customer = self._transaction.customer(request.customer_id)
        wanted = replace(pin_of_request(request, customer), first_grant_id=self._id)
        pin = self._ledger.lock_order(wanted)
        check_registered(pin, required=self._services.settings.require_registered_orders)
        check_pin(pin, request, customer)
        holder = Holder(
            request.order_id,
            customer,
            request.agent.id,
            request.currency,
            {part.id: (part.kind.value, part.policy) for part in asked},
        )
        self._ledger.lock_counters(holder.keys(classes_of(self._packs.active)))
        return pin

    def _write(
        self,
        offer: _Offer,
        pin: OrderPin,
        taking: Taking,
        states: CapStates,
        usage: GrantUsage,
        spends: Sequence[str],
    ) -> Answer:
        new = self._new_grant(offer, taking, pin.customer)
        nothing = fold(new.remedies, (), new.pending_until)
        added = opened(taking, new.granted_at)
        classes = self._ledger.classes(self._packs.active, new.id)
        changes = changes_of(new, nothing, added, classes, new.granted_at)
        after = usage.ledger.after(usage.found, changes)
        self._ledger.apply(stored_changes(changes), usage.ledger.expected(after, changes))
        pinned = self._pin(pin, offer, new)
        state = fold(new.remedies, added, new.pending_until)
        before_caps, after_caps = states.readings(usage.found), states.readings(after)
        amount = self._wanted.amount
        record = canonical(
            grant_record(
                new,
                added,
                asked=None if amount is None else amount.minor,
                role_from=self._caller.source_of_role,
                before=before_caps,
                after=after_caps,
                spends=spends,
                pin=pinned,
            )
        )
        self._transaction.add_record(new.id, "grant", record)
        self._ledger.add(Move(new.id, new, nothing, added, new.agent.id, opens=True))
        body = orjson.dumps(
            grant_body(
                new,
                state,
                [Happened(new.id, new.agent.id, {})] * len(added),
                customer_id=offer.request.customer_id,
                digests={new.id: leaf_digest(record)},
                caps=after_caps,
                show_pack_caps=self._caller.may(Scope.AUDIT),
            )
        )
        self._transaction.keep_answer(new.id, new.customer, body)
        return Answer(201, body, (("Location", f"/v1/grants/{new.id}"),))

    def _pin(self, pin: OrderPin, offer: _Offer, new: Grant) -> OrderPin | None:
        """What the order is pinned to from this grant on; None where that changes nothing."""
        said = pin_of_request(offer.request, pin.customer)
        pinned = replace(
            pin, amounts=pin.completed(said), first_grant_id=pin.first_grant_id or new.id
        )
        if pinned != pin:
            self._ledger.pin(pinned)
            return pinned
        # Where there was no pin, the order was locked with the one that this grant makes.
        return pinned if pinned.first_grant_id == new.id else None

    def _new_grant(self, offer: _Offer, taking: Taking, customer: str) -> Grant:
        now = self._transaction.now
        waits = any(part.reserves for part in taking.parts)
        pack = self._packs.active
        return Grant(
            id=self._id,
            decision_id=offer.decision.id,
            granted_at=now,
            client=self._caller.client,
            credential=self._caller.credential,
            owner=self._caller.owner,
            order_id=offer.request.order_id,
            customer=customer,
            agent=offer.decision.agent,
            plan=self._wanted.plan,
            currency=offer.request.currency,
            approver=taking.approver if waits else None,
            pending_until=now + pack.settings.pending_for if waits else None,
            pack_revision=pack.revision,
            remedies=granted_remedies(taking),
        )


def _check_untaken(grant_id: str | None) -> None:
    if grant_id is not None:
        raise ConflictError(
            "ALREADY_GRANTED", "an offer of this decision has been taken", {"grant_id": grant_id}
        )


def _check_in_time(decision: StoredDecision, now: datetime) -> None:
    if decision.expires_at is None or decision.expires_at <= now:
        raise ConflictError("OFFER_EXPIRED", "the offer has expired; decide again")


def _exhausted(found: CapShortfall, plan: str, currency: str) -> ConflictError:
    left = [
        {
            "remedy": remedy,
            "allowed": money_body(allowed, currency),
            "pending": money_body(pending, currency),
        }
        for remedy, allowed, pending in found.left
    ]
    return ConflictError(
        "CAP_EXHAUSTED",
        "less is left than asked, and nothing was granted; see `left`",
        {
            "plan": plan,
            "left": {
                "allowed": money_body(sum(each[1] for each in found.left), currency),
                "pending": money_body(sum(each[2] for each in found.left), currency),
                "remedies": left,
            },
            "binding_cap": found.binding_cap,
        },
    )


def _spent(evidence: Sequence[tuple[str, str]]) -> ConflictError:
    kinds = sorted({kind for kind, _ in evidence})
    return ConflictError(
        "EVIDENCE_SPENT",
        f"evidence of {', '.join(f'`{kind}`' for kind in kinds)} already serves another order",
        {"evidence": kinds},
    )


def _wrong(pointer: str, code: str, message: str) -> InvalidInputError:
    return InvalidInputError([InputProblem(pointer, code, message)])
