"""One JSON line a request: who by credential, what by route, how it ended; nothing personal.

The address itself is never logged: routes stand for it, since ids and queries in it may name
customers. Values are JSON strings, so no caller can break out of a line.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

import structlog
from flask import Response, g, request

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})

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
        [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[*shared, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=_StandardError,
        cache_logger_on_first_use=True,
    )


def begin() -> None:
    """Give the request an id: the caller's, if it is a sane one, so that logs can be joined."""
    sent = request.headers.get("X-Request-Id", "")
    g.request_id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
    g.began_at = perf_counter()


def end(response: Response) -> Response:
    """Say how the request ended."""
    route = request.url_rule.rule if request.url_rule else None
    if route in _QUIET and response.status_code < 500:
        return response
    principal = g.get("principal")
    line = {
        "request_id": g.request_id,
        "method": request.method,
        "route": route,
        "status": response.status_code,
        "milliseconds": round((perf_counter() - g.began_at) * 1000, 2),
        "client": principal.client if principal else None,
        "credential": principal.credential if principal else None,
        "code": g.get("problem_code"),
        "decision_id": g.get("decision_id"),
        "replayed": g.get("replayed"),
    }
    log.info("request", **{name: value for name, value in line.items() if value is not None})
    return response


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
