"""/v1/log: records in their order, and the proofs that nothing was changed since."""

from __future__ import annotations

import base64
from typing import Any, Final

import orjson
from flask import Response

from policy_engine.api import reading, sending
from policy_engine.api.door import services
from policy_engine.api.inputs import NoQuerySchema
from policy_engine.api.log_schemas import (
    MAX_INDEX,
    CheckpointSchema,
    ConsistencyProofSchema,
    ConsistencyQuerySchema,
    InclusionProofSchema,
    InclusionQuerySchema,
    LogEntrySchema,
    LogKeySchema,
    LogListSchema,
    LogQuerySchema,
)
from policy_engine.api.spec import JSON, Blueprint
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.log.reading import LogEntry, LogFilter
from policy_engine.usecases import decisions, log
from policy_engine.usecases.principals import Scope

_AUDIT: Final = (Scope.AUDIT,)
_TEXT: Final = "text/plain"

blueprint = Blueprint("log", __name__, description="The record, and its proofs.")


@blueprint.call(
    "GET",
    "/v1/log",
    scopes=_AUDIT,
    answers={200: ("A page, in the order of the log", LogListSchema)},
    problems=(422, 503),
)
@blueprint.arguments(LogQuerySchema, location="query")
def list_log(query: dict[str, Any]) -> Response:
    """List the log.

    To follow it, ask for what is `after` the last index you have seen.
    """
    reading.accepts(JSON)
    wanted = LogFilter(
        kind=query.get("kind"),
        since=query.get("from"),
        until=query.get("to"),
        after=query.get("after"),
    )
    limit = query.get("limit", decisions.DEFAULT_PAGE)
    page = services().ledger.log.list(wanted, limit, query.get("cursor"))
    with_content = query.get("content", False)
    entries = [_entry(each, with_content=with_content) for each in page.entries]
    return sending.json({"entries": entries, "next_cursor": page.next_cursor})


@blueprint.call(
    "GET",
    f"/v1/log/<int(max={MAX_INDEX}):index>",
    scopes=_AUDIT,
    answers={200: ("The entry, with its record", LogEntrySchema)},
    problems=(404, 422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def read_log_entry(_query: dict[str, Any], index: int) -> Response:
    """Read an entry by its index."""
    reading.accepts(JSON)
    return sending.json(_entry(log.entry(services(), index)))


@blueprint.call(
    "GET",
    "/v1/log/records/<string(maxlength=64):record_id>",
    scopes=_AUDIT,
    answers={200: ("The record, and its place in the log", LogEntrySchema)},
    problems=(404, 422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def read_record(_query: dict[str, Any], record_id: str) -> Response:
    """Read a record by its id."""
    reading.accepts(JSON)
    return sending.json(_entry(log.record(services(), record_id)))


@blueprint.call(
    "GET",
    "/v1/log/checkpoint",
    scopes=_AUDIT,
    answers={
        200: ("The latest; with `Accept: text/plain` the note alone", CheckpointSchema, _TEXT)
    },
    problems=(404, 422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def read_checkpoint(_query: dict[str, Any]) -> Response:
    """The latest signed checkpoint: keep it, and nothing it covers can be changed unseen."""
    plain = reading.accepts(JSON, _TEXT) == _TEXT
    latest = log.checkpoint(services())
    if plain:
        response = Response(latest.note, content_type="text/plain; charset=utf-8")
        response.headers["Cache-Control"] = "no-store"
        return response
    return sending.json(
        {
            "origin": latest.note.partition("\n")[0],
            "size": latest.size,
            "root": _base64(latest.root),
            "note": latest.note,
        }
    )


@blueprint.call(
    "GET",
    "/v1/log/key",
    scopes=_AUDIT,
    answers={200: ("The public key", LogKeySchema)},
    problems=(404, 422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def read_log_key(_query: dict[str, Any]) -> Response:
    """What checkpoints are signed with. Compare it with what you were told by another way."""
    reading.accepts(JSON)
    key = log.key(services())
    return sending.json(
        {
            "name": key.name,
            "algorithm": "Ed25519",
            "key": str(key),
            "public_key": _base64(key.public),
        }
    )


@blueprint.call(
    "GET",
    "/v1/log/proof/inclusion",
    scopes=_AUDIT,
    answers={200: ("The proof (RFC 9162 §2.1.3)", InclusionProofSchema)},
    problems=(404, 409, 422, 503),
)
@blueprint.arguments(InclusionQuerySchema, location="query")
def prove_inclusion(query: dict[str, Any]) -> Response:
    """Prove that a record is in the log."""
    reading.accepts(JSON)
    proof = log.inclusion(services(), query.get("record"), query.get("index"), query.get("size"))
    return sending.json(
        {
            "index": proof.entry.index,
            "size": proof.size,
            "record": proof.entry.record_id,
            "leaf_hash": _base64(proof.entry.leaf_hash),
            "root": _base64(proof.root),
            "hashes": [_base64(each) for each in proof.hashes],
        }
    )


@blueprint.call(
    "GET",
    "/v1/log/proof/consistency",
    scopes=_AUDIT,
    answers={200: ("The proof (RFC 9162 §2.1.4)", ConsistencyProofSchema)},
    problems=(404, 422, 503),
)
@blueprint.arguments(ConsistencyQuerySchema, location="query")
def prove_consistency(query: dict[str, Any]) -> Response:
    """Prove that an earlier log is the beginning of a later one."""
    reading.accepts(JSON)
    proof = log.consistency(services(), query["from"], query.get("to"))
    return sending.json(
        {
            "from": proof.first,
            "to": proof.second,
            "from_root": _base64(proof.first_root),
            "to_root": _base64(proof.second_root),
            "hashes": [_base64(each) for each in proof.hashes],
        }
    )


def _entry(entry: LogEntry, *, with_content: bool = True) -> dict[str, Any]:
    body = {
        "index": entry.index,
        "record": entry.record_id,
        "kind": entry.kind,
        "recorded_at": format_timestamp(entry.recorded_at),
        "digest": entry.digest,
    }
    # The very bytes that were hashed.
    return body | ({"content": orjson.Fragment(entry.content)} if with_content else {})


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
