"""Credentials at the door: who calls, whether the call is open to them, and whether they have
called too often.

Every address says which scopes open it; one that says nothing can't be registered, so none is
open by oversight. What a call costs is taken from the client's allowance; whoever comes without a
valid credential has that of the address.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv6Network
from typing import Any, Final, TypeVar, cast
from urllib.parse import unquote_to_bytes

from flask import Flask, Request, current_app, g, request
from flask.globals import request_ctx

from policy_engine.api import logs
from policy_engine.api.node import Node
from policy_engine.api.problems import ProblemError, problem_error
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.services import Services
from policy_engine.usecases.tokens import BadTokenError

_View = TypeVar("_View", bound=Callable[..., Any])
_OPEN_TO: Final = "open_to"
_COST: Final = "cost"
_CLOSE: Final = {"Connection": "close"}

EVERYBODY: Final[frozenset[Scope]] = frozenset()
"""No credential is asked for."""

SCHEME_NAME: Final = "credential"
"""The name of the security scheme in the API document."""


def opens_to(*scopes: Scope) -> Callable[[_View], _View]:
    """One of these scopes opens the call; without any, everybody may call it."""

    def mark(view: _View) -> _View:
        setattr(view, _OPEN_TO, frozenset(scopes))
        return view

    return mark


def costs(units: int) -> Callable[[_View], _View]:
    """What a call takes from the client's allowance; a decision takes one unit."""

    def mark(view: _View) -> _View:
        setattr(view, _COST, units)
        return view

    return mark


def scopes_of(view: object) -> frozenset[Scope] | None:
    """What `opens_to` said; None for a view that says nothing."""
    return cast("frozenset[Scope] | None", getattr(view, _OPEN_TO, None))


def check_every_view(app: Flask) -> None:
    """Refuse to start with an address that doesn't say to whom it is open."""
    for rule in app.url_map.iter_rules():
        for method in rule.methods or ():
            if method not in ("HEAD", "OPTIONS"):
                _scopes(app.view_functions[rule.endpoint], method)


def services() -> Services:
    """The services of the running app."""
    return cast("Services", current_app.extensions["policy_engine"])


def node() -> Node:
    """What the running app shares with the other workers of its node."""
    return cast("Node", current_app.extensions["policy_engine.node"])


def principal() -> Principal:
    """The caller of this request."""
    return cast("Principal", g.principal)


def enter() -> None:
    """Before every request: find out who calls, and refuse whoever may not."""
    asked: Request = request_ctx.request
    _check_framing(asked.environ)
    _check_utf8(asked.environ)
    if asked.url_rule is None or asked.method == "OPTIONS":
        # An unknown address, or a question about a known one: nothing to protect.
        _take_from_address()
        return
    view = current_app.view_functions[asked.url_rule.endpoint]
    scopes = _scopes(view, asked.method)
    if scopes == EVERYBODY:
        if _cost(view):
            _take_from_address()
        return
    caller = _authenticate(asked.environ.get("HTTP_AUTHORIZATION"))
    g.principal = caller
    wait_seconds = node().clients.take(caller.client, _cost(view))
    if wait_seconds:
        raise _too_often("this client", wait_seconds)
    if not caller.may(*scopes):
        names = " or ".join(f"`{scope.value}`" for scope in sorted(scopes))
        raise problem_error(403, "SCOPE_MISSING", f"this call needs the scope {names}")


def _check_framing(environ: Mapping[str, Any]) -> None:
    """What a proxy in front could have read differently is refused."""
    coding = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if coding.lower() != "chunked":
        raise problem_error(
            400, "BAD_FRAMING", "`Transfer-Encoding` may be `chunked` alone", **_CLOSE
        )
    # A header that was sent twice reaches us as one, with a comma in between.
    if "," in environ.get("HTTP_HOST", ""):
        raise problem_error(400, "BAD_FRAMING", "send one `Host`", **_CLOSE)


def _check_utf8(environ: Mapping[str, Any]) -> None:
    """Bytes that fit no character would be read as the character that stands for them, and an id
    with that one is somebody else's."""
    path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
    if path.isascii() and "%" not in query:
        return
    try:
        path.encode("latin-1").decode()
        unquote_to_bytes(query).decode()
    except UnicodeError:
        raise problem_error(400, "NOT_UTF8", "the address is not UTF-8 in percent signs") from None


def take_more(units: int) -> None:
    """A call turns out to cost more than was taken at the door: it goes on, later ones wait."""
    node().clients.overdraw(principal().client, units)


def _cost(view: Any) -> int:
    return cast("int", getattr(view, _COST, 1))


def _take_from_address() -> None:
    wait_seconds = node().strangers.take(_address())
    if wait_seconds:
        raise _too_often("this address", wait_seconds)


def _address() -> str:
    """Where the call comes from. Whoever has an IPv6 address has at least the network's 2**64."""
    address = request.remote_addr or ""
    if ":" in address:
        with suppress(ValueError):
            return str(IPv6Network((address.partition("%")[0], 64), strict=False))
    return address


def _too_often(who: str, wait_seconds: float) -> ProblemError:
    seconds = str(math.ceil(wait_seconds))
    detail = f"{who} calls too often; wait as long as `Retry-After` says"
    return problem_error(429, "RATE_LIMITED", detail, Retry_After=seconds)


def _scopes(view: Any, method: str) -> frozenset[Scope]:
    view_class = getattr(view, "view_class", None)
    if view_class is not None:
        view = getattr(view_class, "get" if method == "HEAD" else method.lower(), None)
    found = scopes_of(view)
    if found is None:
        raise LookupError(f"{method} of {view!r} doesn't say which scopes open it")
    return found


def _authenticate(sent: str | None) -> Principal:
    scheme, _, secret = (sent or "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret or not secret.isascii():
        _take_from_address()
        raise _unauthenticated("send one credential as `Authorization: Bearer …`")
    credentials = services().credentials
    if not credentials.known(secret):
        # Keys are looked up for an address as long as it isn't guessing.
        wait_seconds = node().strangers.wait_seconds(_address())
        if wait_seconds:
            raise _too_often("this address", wait_seconds)
    try:
        return credentials.principal(secret)
    except BadTokenError as error:
        _take_from_address()
        # The caller learns no more than that: why is for the operator's log.
        logs.refused_credential(str(error))
        raise _unauthenticated(
            "the credential is unknown, expired, revoked or not to be trusted",
            error="invalid_token",
        ) from None


def _unauthenticated(detail: str, error: str | None = None) -> ProblemError:
    challenge = 'Bearer realm="policy-engine"'
    if error is not None:
        challenge += f', error="{error}"'
    return problem_error(401, "UNAUTHENTICATED", detail, WWW_Authenticate=challenge)
