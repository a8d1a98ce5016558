"""Credentials at the door: who calls, and whether the call is open to them.

Every address says which scopes open it; one that says nothing can't be registered, so none is
open by oversight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from flask import Flask, current_app, g, request

from policy_engine.api import logs
from policy_engine.api.problems import ProblemError, problem_error
from policy_engine.usecases.principals import Principal, Scope
from policy_engine.usecases.services import Services
from policy_engine.usecases.tokens import BadTokenError

_View = TypeVar("_View", bound=Callable[..., Any])
_OPEN_TO: Final = "open_to"

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


def principal() -> Principal:
    """The caller of this request."""
    return cast("Principal", g.principal)


def enter() -> None:
    """Before every request: find out who calls, and refuse whoever may not."""
    if request.url_rule is None or request.method == "OPTIONS":
        return  # an unknown address, or a question about a known one: nothing to protect
    scopes = _scopes(current_app.view_functions[request.url_rule.endpoint], request.method)
    if scopes == EVERYBODY:
        return
    caller = _authenticate()
    g.principal = caller
    if not caller.may(*scopes):
        names = " or ".join(f"`{scope.value}`" for scope in sorted(scopes))
        raise problem_error(403, "SCOPE_MISSING", f"this call needs the scope {names}")


def _scopes(view: Any, method: str) -> frozenset[Scope]:
    view_class = getattr(view, "view_class", None)
    if view_class is not None:
        view = getattr(view_class, "get" if method == "HEAD" else method.lower(), None)
    found = scopes_of(view)
    if found is None:
        raise LookupError(f"{method} of {view!r} doesn't say which scopes open it")
    return found


def _authenticate() -> Principal:
    sent = request.headers.getlist("Authorization")
    if len(sent) != 1:
        raise _unauthenticated("send one credential as `Authorization: Bearer …`")
    scheme, _, secret = sent[0].partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret or not secret.isascii():
        raise _unauthenticated("send one credential as `Authorization: Bearer …`")
    try:
        return services().credentials.principal(secret)
    except BadTokenError as error:
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
