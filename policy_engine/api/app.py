"""The app factory: services in, a WSGI application out."""

from __future__ import annotations

from typing import Final

from flask import Flask, Response, request

from policy_engine.api import (
    caps,
    decisions,
    documents,
    door,
    exports,
    grants,
    log,
    logs,
    metrics,
    operations,
    orders,
    packs,
    problems,
    spec,
    statements,
)
from policy_engine.usecases.services import Services

_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)


def create_app(services: Services | None) -> Flask:
    """The API over these services; without any it can only write its own document.

    LookupError when a call doesn't say who may make it.
    """
    app = Flask("policy_engine.api", static_folder=None)
    app.config["TRUSTED_HOSTS"] = None
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.extensions["policy_engine"] = services
    problems.register(app)
    app.before_request(logs.begin)
    app.before_request(door.enter)
    # The last registered runs first: headers, then the measure, then the log line.
    app.after_request(logs.end)
    app.after_request(metrics.end)
    app.after_request(_finish)
    api = spec.begin(app)
    for module in (
        decisions,
        orders,
        grants,
        caps,
        packs,
        log,
        operations,
        documents,
        exports,
        statements,
    ):
        api.register_blueprint(module.blueprint)
    app.extensions["api"] = api
    door.check_every_view(app)
    return app


def _finish(response: Response) -> Response:
    headers = response.headers
    for name, value in _HEADERS:
        headers.setdefault(name, value)
    if "Authorization" in request.headers:
        headers.setdefault("Cache-Control", "no-store")
    headers["X-Request-Id"] = logs.request_id()
    return response
