"""/v1/pack, /v1/policies, /v1/revisions, /v1/packs: the active pack, its history, candidates."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import orjson
from flask import Response

from policy_engine.api import reading, sending
from policy_engine.api.answers import (
    ActivationSchema,
    CheckAnswerSchema,
    PackAnswerSchema,
    PolicyAnswerSchema,
    RevisionListSchema,
)
from policy_engine.api.door import principal, services
from policy_engine.api.inputs import ActivateRequestSchema, CandidateSchema, NoQuerySchema
from policy_engine.api.problems import pack_problem
from policy_engine.api.spec import JSON, Blueprint
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.shapes import Answer
from policy_engine.usecases import packs
from policy_engine.usecases.packs import Activated, PackRefusedError
from policy_engine.usecases.principals import Scope
from policy_engine.wire.strict_json import read_json

_SHOWN_TO: Final = (
    Scope.DECIDE, Scope.GRANT, Scope.APPROVE, Scope.AUDIT, Scope.PACKS, Scope.SIMULATE,
)  # fmt: skip

blueprint = Blueprint("packs", __name__, description="The rules that decide.")


def _body(schema: Any) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": schema}}}


@blueprint.call(
    "GET",
    "/v1/pack",
    scopes=_SHOWN_TO,
    answers={200: ("In plain words", PackAnswerSchema)},
    problems=(422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def read_pack(_query: dict[str, Any]) -> Response:
    """The active pack."""
    reading.accepts(JSON)
    shown = asdict(packs.shown(services(), principal()))
    since = services().packs.state.active_since
    return sending.json(
        {
            "revision": shown["revision"],
            "active_since": None if since is None else format_timestamp(since),
            "matcher": services().matcher_name,
            "policies": shown["policies"],
            "roles": shown["roles"],
            "caps": shown["caps"],
        }
    )


@blueprint.call(
    "GET",
    "/v1/policies/<string(maxlength=128):policy_id>",
    scopes=_SHOWN_TO,
    answers={200: ("Every version of it", PolicyAnswerSchema)},
    problems=(404, 422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def read_policy(_query: dict[str, Any], policy_id: str) -> Response:
    """A policy of the active pack, with the caps that hold for it."""
    reading.accepts(JSON)
    shown = asdict(packs.shown(services(), principal(), policy_id))
    return sending.json(
        {
            "policy": policy_id,
            "revision": shown["revision"],
            "versions": shown["policies"],
            "caps": shown["caps"],
        }
    )


@blueprint.call(
    "GET",
    "/v1/revisions",
    scopes=(Scope.PACKS, Scope.AUDIT),
    answers={200: ("Newest first", RevisionListSchema)},
    problems=(422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def list_revisions(_query: dict[str, Any]) -> Response:
    """Every stored revision."""
    reading.accepts(JSON)
    revisions = [
        {
            "revision": each.revision,
            "stored_at": format_timestamp(each.stored_at),
            "activated_at": None
            if each.activated_at is None
            else format_timestamp(each.activated_at),
            "active": each.active,
        }
        for each in packs.revisions(services())
    ]
    return sending.json({"revisions": revisions})


@blueprint.call(
    "POST",
    "/v1/packs/check",
    scopes=(Scope.PACKS,),
    cost=100,
    answers={200: ("What would be said of it; nothing is stored", CheckAnswerSchema)},
    problems=(400, 413, 415, 422),
    requestBody=_body(CandidateSchema),
)
@blueprint.arguments(NoQuerySchema, location="query")
def check_pack(_query: dict[str, Any]) -> Response:
    """Check a candidate."""
    reading.accepts(JSON)
    body = reading.body_bytes(reading.MAX_PACK_BYTES)
    asked = reading.load(CandidateSchema(), read_json(body, max_bytes=reading.MAX_PACK_BYTES))
    checked = packs.check(packs.candidate(asked["files"]))
    return sending.json(
        {
            "revision": checked.revision,
            "valid": checked.valid,
            "problems": [pack_problem(each) for each in checked.problems],
        }
    )


@blueprint.call(
    "POST",
    "/v1/packs/activate",
    scopes=(Scope.PACKS,),
    cost=100,
    answers={200: ("Now the active one", ActivationSchema)},
    problems=(400, 404, 409, 413, 415, 422, 503),
    key="required",
    requestBody=_body(ActivateRequestSchema),
)
@blueprint.arguments(NoQuerySchema, location="query")
def activate_pack(_query: dict[str, Any]) -> Response:
    """Make a stored revision, or a new pack, the active one.

    A pack with errors is refused and the active one stays. Activations are recorded.
    """
    reading.accepts(JSON)
    body = reading.body_bytes(reading.MAX_PACK_BYTES)
    key = reading.key(body)
    before = sending.kept_before(key)
    if before is not None:
        return sending.answer(before)
    try:
        asked = reading.load(
            ActivateRequestSchema(), read_json(body, max_bytes=reading.MAX_PACK_BYTES)
        )
        activated = _activate(asked)
    except (*sending.FINAL, PackRefusedError) as error:
        return sending.answer(sending.refused(error, key))
    return sending.answer(sending.kept(Answer(200, orjson.dumps(_activation(activated))), key))


def _activate(asked: dict[str, Any]) -> Activated:
    by = f"{principal().client} ({principal().credential})"
    if "files" in asked:
        return packs.activate_files(services(), packs.candidate(asked["files"]), by)
    return packs.activate_revision(services(), asked["revision"], by)


def _activation(activated: Activated) -> dict[str, Any]:
    return {
        "revision": activated.activation.revision,
        "activated_at": format_timestamp(activated.activation.activated_at),
        "previous_revision": activated.previous,
        "problems": [pack_problem(each) for each in activated.problems],
    }
