"""One JSON line a request: who by credential, what by route, how it ended; nothing personal.

The address itself is never logged: routes stand for it, since ids and queries in it may name
customers. Values are JSON strings, so no caller can break out of a line.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
from contextlib import suppress
from functools import lru_cache
from time import perf_counter
from typing import Any, Final

import orjson
import structlog
from flask import Response, g, request
from flask.globals import app_ctx

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
CAME_AT: Final = "policy_engine.came_at"
"""In the WSGI environment: when the call came, before it waited for its turn."""
_QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH"})
_VARIABLE = re.compile(r"<(?:[^<>:]*:)?(\w+)>")

log = structlog.stdlib.get_logger("policy_engine")


class _StandardError:
    """Writes whole lines. Where they can't be written, work goes on: a decision is on record
    whether its log line is or not."""

    def __init__(self, *_: object) -> None: ...

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(message + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg


def configure(level: str, as_json: bool) -> None:
    """Where log lines go (standard error) and what they look like. Call once a process."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    tail: list[Any] = (
        [structlog.processors.JSONRenderer(_json)]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[*shared, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=_StandardError,
        cache_logger_on_first_use=True,
    )
    logging.root.handlers = [_Foreign()]
    logging.root.setLevel(logging.WARNING)


def _json(line: Any, default: Any, **_: Any) -> str:
    with suppress(TypeError):  # of half a surrogate pair, say
        written = orjson.dumps(line, default)
        if written.isascii():
            return written.decode()
    # Escapes whatever a terminal could take for a command, or a reader for the end of the line.
    return json.dumps(line, default=default)


class _Foreign(logging.Handler):
    """What libraries say on their own goes the same way: what happened and which error it was.

    Neither arguments nor a traceback: they could show a statement's values, or an address with a
    password in it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        said = {"logger": record.name}
        if record.exc_info and record.exc_info[0] is not None:
            said["error"] = record.exc_info[0].__qualname__
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__qualname__
        log.log(logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING, text, **said)


def begin() -> None:
    """Give the request an id."""
    environ, noted = request.environ, app_ctx.g
    noted.request_id = an_id(environ.get("HTTP_X_REQUEST_ID", ""))
    noted.began_at = environ.get(CAME_AT) or perf_counter()


def an_id(sent: str) -> str:
    """The caller's id of a request, if it is a sane one, so that logs can be joined; or a new."""
    return sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def route() -> str | None:
    """The address that is asked for as the API document writes it; None for an unknown one."""
    rule = request.url_rule
    return _documented(rule.rule) if rule else None


def method() -> str:
    """The method that is asked for; anybody can send any word, so an unknown one is `other`."""
    asked = request.method
    return asked if asked in _METHODS else "other"


@lru_cache(maxsize=256)
def _documented(rule: str) -> str:
    return _VARIABLE.sub(r"{\1}", rule)


def decided(decision_id: str | None) -> None:
    """Note a decision that the running request has recorded."""
    if decision_id is not None:
        g.setdefault("decision_ids", []).append(decision_id)


def end(response: Response) -> Response:
    """Say how the request ended."""
    asked = route()
    if asked in _QUIET and response.status_code < 500:
        return response
    noted = app_ctx.g
    principal = noted.get("principal")
    decision_id = noted.get("decision_id")
    line = {
        "request_id": noted.request_id,
        "trace_id": noted.get("trace_id"),
        "method": method(),
        "route": asked,
        "status": response.status_code,
        "milliseconds": round((perf_counter() - noted.began_at) * 1000, 2),
        "client": principal.client if principal else None,
        "credential": principal.credential if principal else None,
        "code": noted.get("problem_code"),
        "because": noted.get("because"),
        "decision_id": decision_id,
        # Of a batch: a single decision is named above.
        "decision_ids": None if decision_id else noted.get("decision_ids"),
        "grant_id": noted.get("grant_id"),
        "replayed": noted.get("replayed"),
    }
    log.info("request", **{name: value for name, value in line.items() if value is not None})
    return response


def because(text: str) -> None:
    """Why this request can't be served: for the operator, since the caller isn't told."""
    g.because = text


def refused_credential(because: str) -> None:
    """Why a credential was not taken: for the operator, since the caller isn't told."""
    log.info("credential refused", request_id=g.request_id, because=because)


def unexpected(error: Exception, route: str | None) -> None:
    """A fault of ours, with where it happened; the values that led to it stay out."""
    frames = []
    at = error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('policy_engine/')[2]}:{at.tb_lineno}")
        at = at.tb_next
    log.error(
        "unexpected error",
        request_id=g.request_id,
        route=route,
        error=type(error).__qualname__,
        at=frames[-12:],
    )


def request_id() -> str:
    """The id of the running request."""
    found: str = g.request_id
    return found
