"""One request to decide, with all that deciding and recording it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import orjson

from policy_engine import __version__, tracing
from policy_engine.core.decision import Decision
from policy_engine.core.evaluation import Engine
from policy_engine.core.money import MoneyError
from policy_engine.core.policy import Pack
from policy_engine.core.request import Agent
from policy_engine.ledger.orders import Registration
from policy_engine.ledger.shapes import Answer, DecisionWrite, Sealed
from policy_engine.ledger.transaction import Snapshot, Transaction
from policy_engine.packs.scripts import render_script
from policy_engine.usecases.due import DueError
from policy_engine.usecases.errors import ForbiddenError
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.registered import (
    check_pin,
    check_registered,
    order_id_of,
    without_repetitions,
)
from policy_engine.usecases.services import Services
from policy_engine.wire.decisions import decision_body
from policy_engine.wire.personal import split_personal
from policy_engine.wire.problems import InputProblem, InvalidInputError
from policy_engine.wire.records import (
    Circumstances,
    canonical,
    decision_record,
    leaf_digest,
)
from policy_engine.wire.replay import NotedUsage
from policy_engine.wire.requests import (
    AgentClaim,
    ReadRequest,
    RegisteredOrder,
    read_decision,
)


@dataclass(frozen=True, slots=True)
class Decided:
    """What is told of a decision besides its answer: for metrics and the log."""

    decision_id: str | None
    outcome: str
    plans: tuple[tuple[str, str, str | None], ...]
    """(plan, authority, binding cap)."""


@dataclass(frozen=True, slots=True)
class Recorded:
    answer: Answer
    decided: Decided


@dataclass(frozen=True, slots=True)
class Case:
    """One request that is in order, with all that deciding it needs."""

    services: Services
    caller: Principal
    pack: Pack
    engine: Engine
    data: object
    """As it was sent."""
    read: ReadRequest
    version: int = 0
    """Of the order's registration that the request was completed with; 0: with none."""

    def look(self, snapshot: Snapshot, settled: bool) -> tuple[dict[str, Any], Decision]:
        case, decision, _ = self.evaluated(snapshot, settled)
        return case.answer(decision, None, None, dry_run=True), decision

    def record(self, transaction: Transaction, decision_id: str, settled: bool) -> Recorded:
        case, decision, usage = self.evaluated(transaction, settled)
        return case.recorded(transaction, decision_id, decision, usage)

    def evaluated(self, snapshot: Snapshot, settled: bool) -> tuple[Case, Decision, NotedUsage]:
        """The decision, by the order as it is registered and pinned by now."""
        used = snapshot.usage(self.read.as_of)
        noted = NotedUsage(used)
        decision = self._evaluate(snapshot.now, noted)
        pin = used.standing.pin
        if not settled and used.standing.due:
            raise DueError
        if pin is not None and pin.version != self.version:
            registration = snapshot.registered(self.read.request.order_id)
            again = _completed(
                self.services, self.caller, self.data, self.pack, self.engine, registration
            )
            return again.evaluated(snapshot, settled)
        request = self.read.request
        check_registered(pin, required=self.services.settings.require_registered_orders)
        check_pin(pin, request, snapshot.customer(request.customer_id))
        return self, decision, noted

    def recorded(
        self,
        transaction: Transaction,
        decision_id: str,
        decision: Decision,
        usage: NotedUsage,
    ) -> Recorded:
        public, personal = split_personal(self.read.body, self.pack)
        request = self.read.request
        record = decision_record(
            decision,
            request,
            self.pack,
            public=public,
            usage=usage.as_json(),
            circumstances=self._circumstances(decision_id, transaction.now),
        )
        sealed = transaction.seal(request.customer_id, decision_id, canonical(personal))
        record["sealed"] = sealed_json(sealed)
        content = canonical(record)
        audit = {"record": decision_id, "digest": leaf_digest(content)}
        answer = orjson.dumps(self.answer(decision, decision_id, audit))
        transaction.add_decision(
            DecisionWrite(
                id=decision_id,
                client=self.caller.client,
                order_id=request.order_id,
                customer_id=request.customer_id,
                agent=request.agent,
                outcome=decision.outcome.value,
                pack_revision=self.pack.revision,
                record=content,
                answer=answer,
                policies=decision.policies,
                references=tuple(request.reference.values()),
                grantable=self._grantable,
                expires_at=decision.expires_at,
            )
        )
        headers = (("Location", f"/v1/decisions/{decision_id}"),)
        return Recorded(Answer(201, answer, headers), told_of(decision_id, decision))

    @property
    def _grantable(self) -> bool:
        # What was decided for an instant of the caller's choosing can't be taken (CONTRACT §4.5).
        return self.read.as_of is None

    def _evaluate(self, now: datetime, usage: NotedUsage) -> Decision:
        self._check_reported(now)
        try:
            with tracing.span(
                "evaluation", pack=self.pack.revision, matcher=self.engine.matcher_name
            ):
                decision = self.engine.evaluate(self.read.request, self.read.as_of or now, usage)
                tracing.describe(outcome=decision.outcome.value)
                return decision
        except MoneyError as error:
            raise InvalidInputError([InputProblem("", "AMOUNT_TOO_LARGE", str(error))]) from None

    def _check_reported(self, now: datetime) -> None:
        """Against the ledger's clock, since that of this process may be ahead of it."""
        reported = self.read.request.fields.get("incident.reported_at")
        if self.read.as_of is None and isinstance(reported, datetime) and reported > now:
            raise InvalidInputError(
                [InputProblem("/incident/reported_at", "IN_THE_FUTURE", "lies in the future")]
            )

    def answer(
        self,
        decision: Decision,
        decision_id: str | None,
        audit: Mapping[str, str] | None,
        *,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        return decision_body(
            decision,
            self.read.request,
            self.pack,
            decision_id=decision_id,
            locale=self.read.locale,
            grantable=self._grantable and not dry_run,
            dry_run=dry_run,
            script=render_script(self.pack, decision, self.read.request, self.read.locale),
            audit=audit,
            show_pack_caps=self.caller.may(Scope.AUDIT),
        )

    def _circumstances(self, decision_id: str, now: datetime) -> Circumstances:
        return Circumstances(
            id=decision_id,
            at=now,
            client=self.caller.client,
            role_from=self.caller.source_of_role,
            matcher=self.engine.matcher_name,
            semantics=self.engine.semantics,
            engine=__version__,
            time_zone_data=TIME_ZONE_DATA,
            settings={},
        )


def read_case(
    services: Services, caller: Principal, data: object, pack: Pack, engine: Engine
) -> Case:
    """The request as it was sent. Raises InvalidInputError, ForbiddenError."""
    order_id = order_id_of(data)
    registration = None if order_id is None else services.ledger.orders.registered(order_id)
    return _completed(services, caller, data, pack, engine, registration)


def _completed(
    services: Services,
    caller: Principal,
    data: object,
    pack: Pack,
    engine: Engine,
    registration: Registration | None,
) -> Case:
    """The request as it is sent, with what was registered of its order."""

    def resolve(claim: AgentClaim | None) -> Agent:
        return agent_of(caller, None if claim is None else Agent(claim.id, claim.role), pack)

    given, registered = data, None
    if registration is not None:
        given = without_repetitions(data, registration.order)
        registered = RegisteredOrder(registration.order)
    read = read_decision(
        given, pack, resolve_agent=resolve, now=services.clock(), registered=registered
    )
    if read.as_of is not None and not caller.may(Scope.SIMULATE):
        raise ForbiddenError(
            "AS_OF_FORBIDDEN", "an `as_of` of your own needs the scope `simulate`; leave it out"
        )
    version = 0 if registration is None else registration.version
    return Case(services, caller, pack, engine, data, read, version)


def agent_of(caller: Principal, named: Agent | None, pack: Pack) -> Agent:
    """The agent that the caller acts as. InvalidInputError, ForbiddenError."""
    agent = caller.agent(named, pack)
    if agent is None:
        raise InvalidInputError(
            [
                InputProblem(
                    "/agent",
                    "MISSING_FIELD",
                    "`agent` is required: this credential acts for several people",
                )
            ]
        )
    return agent


def sealed_json(sealed: Sealed) -> dict[str, str]:
    """How a record holds its personal part."""
    return {"subject": sealed.subject, "sealed": sealed.sealed}


def told_of(decision_id: str | None, decision: Decision) -> Decided:
    return Decided(
        decision_id,
        decision.outcome.value,
        tuple((plan.plan, plan.status.value, plan.binding_cap) for plan in decision.plans),
    )


def _time_zone_data() -> str:
    try:
        return f"tzdata {version('tzdata')}"
    except PackageNotFoundError:
        return "the system's"


TIME_ZONE_DATA: Final = _time_zone_data()
"""Which zone rules calendar caps were read by; written into every record."""
