"""Every error is one shape: `application/problem+json` (RFC 9457) with a stable `code`.

Two answers that a caller may not tell apart (a decision that is absent, or another client's)
are built by the same function from the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import orjson
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from policy_engine.api import logs
from policy_engine.ledger import errors as ledger_errors
from policy_engine.packs.holder import NoPackError
from policy_engine.packs.problems import Problem as PackProblem
from policy_engine.usecases import errors
from policy_engine.usecases.packs import PackRefusedError
from policy_engine.wire.problems import BadBodyError, InputProblem, InvalidInputError

MEDIA_TYPE: Final = "application/problem+json"

CODES: Final[Mapping[int, str]] = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    408: "BODY_TOO_SLOW",
    409: "CONFLICT",
    410: "GONE",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "INVALID_REQUEST",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    503: "UNAVAILABLE",
}
"""The code of a status that has no closer one."""

PHRASES: Final[Mapping[int, str]] = {status: HTTPStatus(status).phrase for status in CODES} | {
    413: "Content Too Large",
    422: "Unprocessable Content",
}
"""In the words of RFC 9110, which Python took over in different releases."""

RETRY_AFTER_SECONDS: Final = 1
INTERNAL: Final = "something went wrong here; quote the request id"


@dataclass(frozen=True, slots=True)
class Problem:
    """What the answer says. `errors` point into the body, or (`where`) into the query."""

    status: int
    code: str
    detail: str
    errors: tuple[InputProblem, ...] = ()
    where: str = "body"
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, object] = field(default_factory=dict)
    """Members of this kind of problem alone."""

    def body(self, request_id: str) -> dict[str, object]:
        body: dict[str, object] = {
            "type": "about:blank",
            "title": PHRASES[self.status],
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [
                {
                    "in": self.where,
                    "pointer": each.pointer,
                    "code": each.code,
                    "message": each.message,
                }
                for each in self.errors
            ]
        return body | {**self.more, "request_id": request_id}


class ProblemError(Exception):
    """Raised anywhere in the API to answer with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem_error(status: int, code: str, detail: str, **headers: str) -> ProblemError:
    """A ProblemError without a list of errors; header names with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ProblemError(Problem(status, code, detail, headers=named))


def invalid(found: Iterable[InputProblem], where: str = "body") -> Problem:
    listed = tuple(found)
    count = "one thing is" if len(listed) == 1 else f"{len(listed)} things are"
    return Problem(
        422, "INVALID_REQUEST", f"{count} wrong with the {where}; see `errors`", listed, where
    )


def problem_of(error: Exception) -> Problem | None:
    """The problem that a known exception stands for; None for one nobody foresaw."""
    match error:
        case ProblemError():
            return error.problem
        case InvalidInputError():
            return invalid(error.problems)
        case BadBodyError():
            at = (InputProblem(error.pointer, error.code, error.message),)
            return Problem(error.status, error.code, error.message, at if error.pointer else ())
        case NoPackError():
            return _later(503, "NO_USABLE_PACK", str(error))
        case errors.UseCaseError():
            return _of_use_case(error)
        case HTTPException():
            return _of_http(error)
        case _:
            return _of_ledger(error)


def _of_ledger(error: Exception) -> Problem | None:
    match error:
        case ledger_errors.UnavailableError():
            logs.because(error.told)
            return _later(503, "UNAVAILABLE", str(error), error.retry_after_seconds)
        case ledger_errors.StillRunningError():
            return _later(409, "IDEMPOTENCY_KEY_RUNNING", str(error), error.retry_after_seconds)
        case ledger_errors.IdempotencyMismatchError():
            return Problem(422, "IDEMPOTENCY_KEY_REUSED", str(error))
        case ledger_errors.ErasedError():
            return Problem(410, "ERASED", str(error))
        case ledger_errors.UnknownRevisionError():
            return Problem(404, "NO_SUCH_REVISION", "no pack of this revision is stored")
        case ledger_errors.CursorError():
            return invalid([InputProblem("/cursor", "INVALID_CURSOR", str(error))], "query")
        case _:
            return None


def _of_use_case(error: errors.UseCaseError) -> Problem:
    match error:
        case errors.ForbiddenError():
            status = 403
        case errors.NotFoundError():
            status = 404
        case errors.GoneError():
            status = 410
        case errors.ConflictError():
            status = 409
        case errors.NotReadyError():
            return _later(503, error.code, error.detail)
        case PackRefusedError():
            found = [pack_problem(each) for each in error.problems]
            more = {"revision": error.revision, "problems": found}
            return Problem(422, error.code, error.detail, more=more)
        case _:
            status = 422
    return Problem(status, error.code, error.detail, more=error.more)


def pack_problem(problem: PackProblem) -> dict[str, object]:
    """A problem of a policy file as answers show it."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "severity": problem.severity.value,
        "code": problem.code.value,
        "message": problem.message,
    }


def _of_http(error: HTTPException) -> Problem:
    status = error.code or 500
    detail = {
        400: "the request can't be understood",
        404: "there is nothing at this address",
        405: "this address doesn't know that method; see `Allow`",
        413: "the body is larger than this call takes; send less at once",
    }
    # A status that none of ours stands for comes from the framework's reading of the request.
    if status not in detail:
        status = 400 if status < 500 else 500
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return Problem(status, CODES[status], detail.get(status, INTERNAL), headers=headers)


def _later(status: int, code: str, detail: str, seconds: int = RETRY_AFTER_SECONDS) -> Problem:
    return Problem(status, code, detail, headers={"Retry-After": str(seconds)})


OVERLOADED: Final = _later(
    503, "OVERLOADED", "more calls come than can be answered; nothing happened, try again later"
)
"""Said at the entrance, before a request is looked at."""


def respond(problem: Problem) -> Response:
    """The answer itself; the request must have an id (see `logs.begin`)."""
    response = Response(
        orjson.dumps(problem.body(g.request_id)), status=problem.status, mimetype=MEDIA_TYPE
    )
    response.headers.extend(problem.headers)
    response.headers["Cache-Control"] = "no-store"
    g.problem_code = problem.code
    return response


def register(app: Flask) -> None:
    """From here on nothing leaves the app but answers and problems."""
    app.register_error_handler(Exception, handle)


def handle(error: Exception) -> Response:
    """Whatever was raised → the problem that the caller gets."""
    if isinstance(error, HTTPException) and error.code is not None and error.code < 400:
        # A redirect of the router. No address here has one, so it isn't followed.
        return respond(Problem(404, CODES[404], "there is nothing at this address"))
    problem = problem_of(error)
    if problem is None:
        logs.unexpected(error, logs.route())
        problem = Problem(500, CODES[500], INTERNAL)
    return respond(problem)
