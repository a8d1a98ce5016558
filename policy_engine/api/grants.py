"""/v1/grants: take an offer, approve, settle, read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from flask import Response

from policy_engine.api import metrics, reading, sending
from policy_engine.api.door import principal, services
from policy_engine.api.grant_answers import GrantAnswerSchema, GrantListAnswerSchema
from policy_engine.api.grant_inputs import (
    ApprovalSchema,
    FulfilmentSchema,
    GrantListSchema,
    GrantRequestSchema,
    RedemptionSchema,
    RejectionSchema,
    ReversalSchema,
)
from policy_engine.api.inputs import NoQuerySchema
from policy_engine.api.spec import JSON, Blueprint
from policy_engine.core.facts import Missing
from policy_engine.core.grants import GrantStatus
from policy_engine.core.request import Agent
from policy_engine.ledger.grant_shapes import GrantFilter
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.usecases import approving, grants, settling
from policy_engine.usecases.principals import Scope
from policy_engine.wire.containers import StrictSchema
from policy_engine.wire.strict_json import read_json

_READ: Final = (Scope.GRANT, Scope.APPROVE, Scope.SETTLE, Scope.AUDIT)
_PROBLEMS: Final = (400, 404, 409, 410, 413, 415, 422, 503)
_HEADERS: Final = {
    "Location": "Where the grant can be read.",
    "Idempotent-Replayed": "`true`: the answer of an earlier call with this key.",
}
_ADDRESS: Final = "/v1/grants/<string(maxlength=64):grant_id>"

blueprint = Blueprint("grants", __name__, description="Offers that become money.")

Body = Mapping[str, Any]


def _call(
    path: str, schema: type[StrictSchema], description: str, *scopes: Scope
) -> Callable[[Any], Any]:
    """A writing call whose answer is the grant as it stands afterwards."""

    def register(view: Any) -> Any:
        with_query = blueprint.arguments(NoQuerySchema, location="query")(view)
        return blueprint.call(
            "POST",
            path,
            scopes=scopes,
            answers={201: (description, GrantAnswerSchema)},
            headers={201: _HEADERS},
            problems=_PROBLEMS,
            key="required",
            requestBody={"required": True, "content": {JSON: {"schema": schema}}},
        )(with_query)

    return register


def _written(schema: StrictSchema, act: Callable[[Body, IdempotencyKey], Answer]) -> Response:
    reading.accepts(JSON)
    body = reading.body_bytes()
    return sending.written(lambda: _read(schema, body), reading.key(body), act)


def _read(schema: StrictSchema, body: bytes) -> Body:
    """What was sent, null as what was left out."""
    read = reading.load(schema, read_json(body))
    return {name: value for name, value in read.items() if not isinstance(value, Missing)}


def _agent(body: Body) -> Agent | None:
    agent = body.get("agent")
    return None if agent is None else Agent(agent["id"], agent["role"])


_GRANT = GrantRequestSchema()
_APPROVAL = ApprovalSchema()
_REJECTION = RejectionSchema()
_FULFILMENT = FulfilmentSchema()
_REDEMPTION = RedemptionSchema()
_REVERSAL = ReversalSchema()


@_call("/v1/grants", GrantRequestSchema, "Granted, or waiting in part or whole", Scope.GRANT)
def take_offer(_query: dict[str, Any]) -> Response:
    """Take an offer.

    All that is asked of it, or nothing: 409 `CAP_EXHAUSTED` says what is left. A decision is
    taken at most once.
    """

    def act(body: Body, key: IdempotencyKey) -> Answer:
        wanted = grants.Wanted(
            body["decision_id"],
            body["plan"],
            body.get("amount"),
            _agent(body),
        )
        granted = grants.grant(services(), principal(), wanted, key)
        if not granted.replayed:
            metrics.granted(wanted.plan, orjson.loads(granted.body)["status"])
        return granted

    return _written(_GRANT, act)


@_call(f"{_ADDRESS}/approve", ApprovalSchema, "Approved", Scope.APPROVE)
def approve_grant(_query: dict[str, Any], grant_id: str) -> Response:
    """Approve what waits, or a part of it; the rest is rejected.

    By a person with the approver's role, who neither asked for it nor answers for who did.
    """
    return _written(
        _APPROVAL,
        lambda body, key: approving.approve(
            services(),
            principal(),
            grant_id,
            key,
            amount=body.get("amount"),
            note=body["note"],
        ),
    )


@_call(f"{_ADDRESS}/reject", RejectionSchema, "Rejected", Scope.APPROVE)
def reject_grant(_query: dict[str, Any], grant_id: str) -> Response:
    """Reject what waits."""
    return _written(
        _REJECTION,
        lambda body, key: approving.reject(
            services(), principal(), grant_id, key, reason=body["reason"]
        ),
    )


@_call(f"{_ADDRESS}/fulfilments", FulfilmentSchema, "Noted", Scope.SETTLE)
def fulfil_grant(_query: dict[str, Any], grant_id: str) -> Response:
    """Report that a remedy was carried out, or failed."""
    return _written(
        _FULFILMENT,
        lambda body, key: settling.report_fulfilment(
            services(),
            principal(),
            grant_id,
            key,
            remedy=body["remedy"],
            done=body["status"] == "done",
            external_ref=body.get("external_ref"),
            agent=_agent(body),
        ),
    )


@_call(f"{_ADDRESS}/redemptions", RedemptionSchema, "Noted", Scope.SETTLE)
def redeem_grant(_query: dict[str, Any], grant_id: str) -> Response:
    """Report that a coupon or store credit was used, or a part of it."""
    return _written(
        _REDEMPTION,
        lambda body, key: settling.redeem(
            services(),
            principal(),
            grant_id,
            key,
            remedy=body["remedy"],
            amount=body["amount"],
            reference=body["reference"],
            agent=_agent(body),
        ),
    )


@_call(f"{_ADDRESS}/reversals", ReversalSchema, "Reversed", Scope.SETTLE)
def reverse_grant(_query: dict[str, Any], grant_id: str) -> Response:
    """Take back what has not been redeemed, or a part of it.

    Headroom comes back to every cap, in the window where it was held.
    """
    return _written(
        _REVERSAL,
        lambda body, key: settling.reverse(
            services(),
            principal(),
            grant_id,
            key,
            remedy=body.get("remedy"),
            amount=body.get("amount"),
            reason=body["reason"],
            agent=_agent(body),
        ),
    )


@blueprint.call(
    "GET",
    _ADDRESS,
    scopes=_READ,
    answers={200: ("As it stands", GrantAnswerSchema)},
    problems=(404, 422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def read_grant(_query: dict[str, Any], grant_id: str) -> Response:
    """Read a grant."""
    reading.accepts(JSON)
    return sending.json(grants.show(services(), principal(), grant_id))


@blueprint.call(
    "GET",
    "/v1/grants",
    scopes=_READ,
    cost=10,
    answers={200: ("A page, oldest first", GrantListAnswerSchema)},
    problems=(422, 503),
)
@blueprint.arguments(GrantListSchema, location="query")
def list_grants(query: dict[str, Any]) -> Response:
    """List grants; with `status=pending` the queue of what waits.

    Without the scopes `audit` and `settle` a client sees its own, and an approver what is for
    their role to approve.
    """
    reading.accepts(JSON)
    status = query.get("status")
    wanted = GrantFilter(
        status=None if status is None else GrantStatus(status),
        approver=query.get("approver"),
        external_ref=query.get("external_ref"),
        order_id=query.get("order"),
        customer_id=query.get("customer"),
        agent_id=query.get("agent"),
    )
    limit = query.get("limit", grants.DEFAULT_PAGE)
    return sending.json(grants.listed(services(), principal(), wanted, limit, query.get("cursor")))
