"""The app factory: services in, a WSGI application out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import PathConverter

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
    reading,
    spec,
    statements,
)
from policy_engine.api.entrance import Entrance
from policy_engine.api.node import Node
from policy_engine.api.turns import Turns
from policy_engine.settings import Settings
from policy_engine.usecases.services import Services

_View = TypeVar("_View", bound=Callable[..., Any])
_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)


class IdConverter(PathConverter):
    """An id of the shop's: with slashes, also in front."""

    regex = ".+?"
    part_isolating = False


class _App(Flask):
    """No view is a coroutine, so none is looked at for being one, on every request anew."""

    def ensure_sync(self, func: _View) -> _View:
        return func


def create_app(services: Services | None, node: Node | None = None) -> Flask:
    """The API over these services; without any it can only write its own document.

    `node` is what the workers of a node share; without one this app is a node by itself.
    LookupError when a call doesn't say who may make it.
    """
    app = _App("policy_engine.api", static_folder=None)
    app.config["TRUSTED_HOSTS"] = None
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.url_map.converters["id"] = IdConverter
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
    if services is not None:
        _receive(app, services.settings, node or Node(services.settings))
    return app


def _receive(app: Flask, settings: Settings, node: Node) -> None:
    """How requests come in: through the entrance, with the address that the proxies tell."""
    app.extensions["policy_engine.node"] = node
    inside = app.wsgi_app
    if settings.trusted_proxies:
        inside = ProxyFix(inside, settings.trusted_proxies, 0, 0, 0, 0)
    turns = Turns(settings.threads, settings.queue, settings.queue_timeout.total_seconds())
    app.extensions["policy_engine.turns"] = turns
    app.wsgi_app = Entrance(inside, turns, node, _HEADERS)  # type: ignore[method-assign]


def _finish(response: Response) -> Response:
    headers = response.headers
    if "HTTP_AUTHORIZATION" in request.environ:
        headers.setdefault("Cache-Control", "no-store")
    headers["X-Request-Id"] = logs.request_id()
    if reading.unread():
        # The server ends such a connection; unless it is told, the client only finds out when
        # its next call breaks.
        headers["Connection"] = "close"
    return response
