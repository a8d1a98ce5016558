"""/v1/decisions: decide, read, list, replay."""

from __future__ import annotations

from typing import Any, Final

import orjson
from flask import Response

from policy_engine.api import reading, sending
from policy_engine.api.answers import (
    BatchAnswerSchema,
    DecisionAnswerSchema,
    DecisionListSchema,
    ReplayAnswerSchema,
)
from policy_engine.api.batches import decide_all
from policy_engine.api.door import principal, services
from policy_engine.api.inputs import (
    BatchRequestSchema,
    DecideQuerySchema,
    ListQuerySchema,
    NoQuerySchema,
    ReplayRequestSchema,
)
from policy_engine.api.spec import JSON, Blueprint
from policy_engine.ledger.shapes import DecisionFilter
from policy_engine.usecases import decisions, replaying
from policy_engine.usecases.principals import Scope
from policy_engine.wire.schemas import DecisionRequestSchema
from policy_engine.wire.strict_json import read_json

_READ: Final = (Scope.DECIDE, Scope.GRANT, Scope.APPROVE, Scope.AUDIT)
_DECIDED: Final = {
    "Location": "Where the decision can be read.",
    "Idempotent-Replayed": "`true`: the answer of an earlier call with this key.",
}

blueprint = Blueprint(
    "decisions", __name__, description="What a customer is owed, decided and recorded."
)


def _body(schema: Any, *, required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {JSON: {"schema": schema}}}


@blueprint.call(
    "POST",
    "/v1/decisions",
    scopes=(Scope.DECIDE,),
    answers={
        200: ("A dry run: nothing was recorded", DecisionAnswerSchema),
        201: ("Decided and recorded", DecisionAnswerSchema),
    },
    headers={201: _DECIDED},
    problems=(400, 409, 410, 413, 415, 422, 503),
    key="required, unless it is a dry run",
    requestBody=_body(DecisionRequestSchema),
)
@blueprint.arguments(DecideQuerySchema, location="query")
def decide(query: dict[str, Any]) -> Response:
    """Decide.

    A refusal is a decision too, recorded like any other.
    """
    reading.accepts(JSON)
    dry_run = query.get("dry_run", False)
    body = reading.body_bytes()
    key = reading.key(body, required=not dry_run)
    return sending.answer(sending.decided(lambda: read_json(body), key, dry_run=dry_run))


@blueprint.call(
    "POST",
    "/v1/decisions/batch",
    scopes=(Scope.DECIDE,),
    answers={200: ("Each has a status and a body of its own", BatchAnswerSchema)},
    problems=(400, 409, 410, 413, 415, 422, 503),
    key="required, unless it is a dry run",
    requestBody=_body(BatchRequestSchema),
)
@blueprint.arguments(DecideQuerySchema, location="query")
def decide_batch(query: dict[str, Any]) -> Response:
    """Decide up to 500 requests, one by one, in order.

    Each is recorded on its own. Sent again with the same key after it was cut short, what was
    recorded is answered again and the rest is decided.
    """
    reading.accepts(JSON)
    dry_run = query.get("dry_run", False)
    body = reading.body_bytes(reading.MAX_BATCH_BYTES)
    key = reading.key(body, required=not dry_run)
    return sending.answer(decide_all(body, key, dry_run=dry_run))


@blueprint.call(
    "GET",
    "/v1/decisions/<string(maxlength=64):decision_id>",
    scopes=_READ,
    answers={200: ("As it was answered", DecisionAnswerSchema)},
    problems=(404, 410, 422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def read_decision(_query: dict[str, Any], decision_id: str) -> Response:
    """Read a decision."""
    reading.accepts(JSON)
    return sending.json_bytes(decisions.show(services(), principal(), decision_id))


@blueprint.call(
    "GET",
    "/v1/decisions",
    scopes=_READ,
    cost=10,
    answers={200: ("A page, newest first", DecisionListSchema)},
    problems=(422, 503),
)
@blueprint.arguments(ListQuerySchema, location="query")
def list_decisions(query: dict[str, Any]) -> Response:
    """List decisions.

    Without the scope `audit` a client sees its own.
    """
    reading.accepts(JSON)
    wanted = DecisionFilter(
        order_id=query.get("order"),
        customer_id=query.get("customer"),
        agent_id=query.get("agent"),
        policy=query.get("policy"),
        outcome=query.get("outcome"),
        reference=query.get("reference"),
        since=query.get("from"),
        until=query.get("to"),
    )
    limit = query.get("limit", decisions.DEFAULT_PAGE)
    page = decisions.listed(services(), principal(), wanted, limit, query.get("cursor"))
    shown = [orjson.Fragment(each) for each in page.decisions]
    return sending.json({"decisions": shown, "next_cursor": page.next_cursor})


@blueprint.call(
    "POST",
    "/v1/decisions/<string(maxlength=64):decision_id>/replay",
    scopes=_READ,
    answers={200: ("Whether it comes to the same, and where not", ReplayAnswerSchema)},
    problems=(400, 404, 410, 413, 415, 422, 503),
    requestBody=_body(ReplayRequestSchema, required=False),
)
@blueprint.arguments(NoQuerySchema, location="query")
def replay_decision(_query: dict[str, Any], decision_id: str) -> Response:
    """Evaluate a recorded request again.

    Under the revision that decided it comes to the same; under another (scope `simulate` or
    `audit`) the differences are listed. Nothing is recorded.
    """
    reading.accepts(JSON)
    asked: dict[str, Any] = {}
    if reading.has_body():
        asked = reading.load(ReplayRequestSchema(), read_json(reading.body_bytes()))
    revision = asked.get("revision")
    return sending.json(replaying.replayed(services(), principal(), decision_id, revision))
