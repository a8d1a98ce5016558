"""/livez, /readyz, /metrics: for whoever runs the service."""

from __future__ import annotations

from typing import Any, Final

from flask import Response

from policy_engine import __version__
from policy_engine.api import metrics, reading, sending
from policy_engine.api.answers import LiveSchema, ReadySchema
from policy_engine.api.door import node, services
from policy_engine.api.spec import JSON, Blueprint
from policy_engine.core.times import format_timestamp
from policy_engine.ledger.errors import LedgerError
from policy_engine.packs.holder import PackState
from policy_engine.usecases.principals import Scope

_TEXT: Final = "text/plain"

blueprint = Blueprint("operations", __name__, description="For whoever runs the service.")


@blueprint.call("GET", "/livez", answers={200: ("It is", LiveSchema)}, cost=0)
def live() -> Response:
    """Is the process alive?"""
    reading.accepts(JSON)
    return sending.json({"status": "live"})


@blueprint.call(
    "GET",
    "/readyz",
    answers={200: ("Ready to decide", ReadySchema), 503: ("Not ready", ReadySchema)},
    cost=0,
)
def ready() -> Response:
    """Can this process decide? Says which pack, which matcher, and whether the database answers."""
    reading.accepts(JSON)
    state = services().packs.state
    answers = _database_answers()
    refused = services().ledger.log.refusal
    usable = state.revision is not None and state.blocked is None
    stopping = node().stopping
    is_ready = answers and usable and refused is None and not stopping
    body = {
        "status": "ready" if is_ready else "unready",
        "pack": _pack(state),
        "matcher": services().matcher_name,
        "database": {
            "kind": services().settings.database_url.partition(":")[0].partition("+")[0],
            "answers": answers,
        },
        "log": {"trusted": refused is None, "because": refused},
        "stopping": stopping,
        "version": __version__,
    }
    return sending.json(body, 200 if is_ready else 503)


@blueprint.call(
    "GET",
    "/metrics",
    scopes=(Scope.AUDIT, Scope.ADMIN),
    answers={200: ("In the Prometheus text format", _TEXT)},
)
def read_metrics() -> Response:
    """Metrics of all worker processes."""
    reading.accepts(_TEXT)
    text, media_type = metrics.exposition()
    return Response(text, content_type=media_type)


def _database_answers() -> bool:
    try:
        services().ledger.ping()
    except LedgerError:
        return False
    return True


def _pack(state: PackState) -> dict[str, Any]:
    return {
        "revision": state.revision,
        "active_since": None
        if state.active_since is None
        else format_timestamp(state.active_since),
        "blocked": state.blocked is not None,
        "refused": None
        if state.refused_at is None
        else {"revision": state.refused_revision, "at": format_timestamp(state.refused_at)},
    }
