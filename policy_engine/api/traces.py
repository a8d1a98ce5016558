"""The span of a request, around all that is done for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from flask import Flask, Response, g

from policy_engine import tracing
from policy_engine.api import logs

_IDS = ("decision_id", "grant_id", "problem_code")
_TRACE_HEADERS = {"HTTP_TRACEPARENT": "traceparent", "HTTP_TRACESTATE": "tracestate"}


def install(app: Flask) -> None:
    """From here on each request has a span. Call it once tracing has started."""
    app.wsgi_app = _traced(app.wsgi_app)  # type: ignore[assignment, method-assign]  # as Flask says
    # Registered last, so it runs first: the log line that follows names the trace.
    app.after_request(_end)


def _traced(whole: WSGIApplication) -> WSGIApplication:
    def call(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        sent = {name: environ[key] for key, name in _TRACE_HEADERS.items() if key in environ}
        with tracing.server_span(sent):
            return whole(environ, start_response)

    return call


def _end(response: Response) -> Response:
    g.trace_id = tracing.trace_id()
    route, method = logs.route(), logs.method()
    said = {
        "http.request.method": method,
        "http.route": route,
        "policy_engine.request_id": logs.request_id(),
        **{f"policy_engine.{name}": g.get(name) for name in _IDS},
    }
    tracing.end_request(
        method if route is None else f"{method} {route}",
        response.status_code,
        {name: value for name, value in said.items() if value is not None},
    )
    return response
