"""/v1/caps: what is left."""

from __future__ import annotations

from typing import Any

from flask import Response

from policy_engine.api import reading, sending
from policy_engine.api.door import principal, services
from policy_engine.api.grant_answers import CapsAnswerSchema
from policy_engine.api.grant_inputs import CapsQuerySchema
from policy_engine.api.spec import JSON, Blueprint
from policy_engine.usecases import caps
from policy_engine.usecases.principals import Scope

blueprint = Blueprint("caps", __name__, description="What is left to give.")


@blueprint.call(
    "GET",
    "/v1/caps",
    scopes=(Scope.DECIDE, Scope.GRANT, Scope.APPROVE, Scope.SETTLE, Scope.AUDIT),
    answers={200: ("The caps, as they stand", CapsAnswerSchema)},
    problems=(422, 503),
)
@blueprint.arguments(CapsQuerySchema, location="query")
def read_caps(query: dict[str, Any]) -> Response:
    """Read what is left of the caps of an order, a customer or an agent.

    Caps of scope pack are shown with the scope `audit` only.
    """
    reading.accepts(JSON)
    whose = caps.Whose(query.get("order"), query.get("customer"), query.get("agent"))
    return sending.json(caps.caps(services(), principal(), whose))
