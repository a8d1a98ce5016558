"""The API document, written from the code: one decorator says all there is to say of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import flask_smorest
from flask import Flask, Response
from marshmallow import Schema

from policy_engine import __version__
from policy_engine.api import problems
from policy_engine.api.answers import ProblemSchema
from policy_engine.api.door import SCHEME_NAME, costs, opens_to
from policy_engine.api.entrance import PROBES
from policy_engine.api.reading import StrictParser
from policy_engine.usecases.principals import Scope

JSON: Final = "application/json"
_View = TypeVar("_View", bound=Callable[..., Any])

_ABOUT = (
    "Decides what a customer is owed when an order goes wrong, and records why. Every error is "
    "`application/problem+json` with a stable `code`. Writing calls need an `Idempotency-Key`: "
    "the same key and request get the same answer again, byte for byte."
)

_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"WWW-Authenticate": "How to authenticate."},
    409: {"Retry-After": "Seconds to wait, where trying again helps."},
    429: {"Retry-After": "Seconds to wait before the next call."},
    503: {"Retry-After": "Seconds to wait before trying again."},
}


class Api(flask_smorest.Api):
    """flask-smorest, with problems for errors."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: Exception) -> Response:
        return problems.handle(error)


class Blueprint(flask_smorest.Blueprint):
    """A resource: its calls, each open to some scopes, each documented."""

    ARGUMENTS_PARSER = StrictParser()

    def arguments(self, schema: Any, **options: Any) -> Callable[[_View], _View]:
        """As in flask-smorest; which problems a call answers with is said in `call`."""
        # One instance for all calls: making one costs more than reading a query with it.
        decorate = super().arguments(schema() if isinstance(schema, type) else schema, **options)

        def without_answers(view: _View) -> _View:
            decorated: Any = decorate(view)
            decorated._apidoc["arguments"].pop("responses")  # noqa: SLF001 -- smorest's notebook
            return decorated  # type: ignore[no-any-return]

        return without_answers

    def call(
        self,
        method: str,
        path: str,
        *,
        scopes: Iterable[Scope] = (),
        answers: Mapping[int, tuple[str, *tuple[type[Schema] | str, ...]]],
        headers: Mapping[int, Mapping[str, str]] | None = None,
        problems: Iterable[int] = (),
        key: str | None = None,
        cost: int = 1,
        **more: Any,
    ) -> Callable[[_View], _View]:
        """Registers a view for a method of a path.

        `answers`: status → description, and of each form a schema, or the media type of a plain
        one. `problems`: other statuses than those of any call with a credential, an id, a body or
        a cost. `key`: when it needs an `Idempotency-Key`. `cost`: what it takes of the client's
        allowance, in units of a decision; 0: it is never limited.
        """
        open_to = tuple(scopes)
        statuses = {
            *problems,
            *((401, 403) if open_to else ()),
            *((404,) if "<" in path else ()),
            *((408,) if "requestBody" in more else ()),
            *((429,) if cost else ()),
            *(() if path in PROBES else (503,)),
            406,
            500,
        }
        document = {
            "responses": {
                **{
                    str(status): _answer(description, forms, (headers or {}).get(status, {}))
                    for status, (description, *forms) in answers.items()
                },
                **{str(status): _problem_name(status) for status in sorted(statuses)},
            },
            "security": [{SCHEME_NAME: [scope.value]} for scope in open_to],
            **more,
        }

        def register(view: _View) -> _View:
            document["operationId"] = view.__name__
            described = self.doc(**document)(costs(cost)(opens_to(*open_to)(view)))
            if key is not None:
                # Not by `doc`: that would take the place of the query's parameters.
                notebook = described._apidoc.setdefault("arguments", {})  # noqa: SLF001
                notebook.setdefault("parameters", []).append(_key(key))
            self.add_url_rule(path, view.__name__, described, methods=[method])
            return view

        return register


def begin(app: Flask) -> Api:
    """The document of an app, before its blueprints are registered."""
    app.config.update(
        API_TITLE="Compensation policy engine",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={
            "info": {"description": _ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
            "servers": [{"url": "/"}],
        },
    )
    api = Api(app)
    api.spec.components.security_scheme(
        SCHEME_NAME,
        {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, or a JWT of the configured issuer. Where a call names "
            "scopes, one of them is enough.",
        },
    )
    for status, code in problems.CODES.items():
        api.spec.components.response(_problem_name(status), _problem(status, code))
    return api


def _answer(
    description: str, forms: Iterable[type[Schema] | str], headers: Mapping[str, str]
) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for form in forms:
        if isinstance(form, str):
            # Of other media types a schema would be read as that of the document in it.
            content[form] = {"schema": {"type": "string"}} if form.startswith("text/") else {}
        else:
            content[JSON] = {"schema": form}
    described: dict[str, Any] = {"description": description, "content": content}
    if headers:
        described["headers"] = _headers(headers)
    return described


def _headers(described: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in described.items()
    }


def _key(needed: str) -> dict[str, Any]:
    return {
        "in": "header",
        "name": "Idempotency-Key",
        "required": needed == "required",
        "description": f"Any text of your own, the same when you try again; {needed}.",
        "schema": {"type": "string", "pattern": r"^[!-+\--~]{1,128}$"},
    }


def _problem_name(status: int) -> str:
    # Python's names of statuses change between releases; these don't.
    return f"Problem{status}"


def _problem(status: int, code: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": f"{problems.PHRASES[status]}: `{code}` or a closer code",
        "content": {problems.MEDIA_TYPE: {"schema": ProblemSchema}},
    }
    if status in _HEADERS:
        described["headers"] = _headers(_HEADERS[status])
    return described
