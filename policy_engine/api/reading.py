"""What a request carries besides its meaning: media type, size, key, query."""

from __future__ import annotations

import functools
import re
from typing import Any, Final, NoReturn

import marshmallow
from flask import Request, g, request
from flask.globals import request_ctx
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_accept_header

from policy_engine.api import logs
from policy_engine.api.door import principal
from policy_engine.api.problems import ProblemError, invalid, problem_error
from policy_engine.api.slow_bodies import TOO_SLOW, Wait
from policy_engine.ledger.shapes import IdempotencyKey
from policy_engine.wire.containers import StrictSchema
from policy_engine.wire.fields import problems_in
from policy_engine.wire.problems import InputProblem, InvalidInputError, pointer_to
from policy_engine.wire.strict_json import MAX_BYTES

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_PACK_BYTES: Final = 4 * 1024 * 1024
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,128}", re.ASCII)
"""No comma: a header that was sent twice reaches us as one, with a comma in between."""


def body_bytes(max_bytes: int = MAX_BYTES) -> bytes:
    """The body of a call that takes JSON: checked for media type, encoding and size."""
    asked: Request = request_ctx.request
    if asked.mimetype != "application/json":
        raise problem_error(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "send the body as `Content-Type: application/json`",
            Accept_Post="application/json",
        )
    charset = asked.mimetype_params.get("charset", "utf-8")
    if charset.lower() not in ("utf-8", "utf8"):
        raise problem_error(415, "UNSUPPORTED_MEDIA_TYPE", "send the body in UTF-8")
    if asked.environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        raise problem_error(
            415,
            "UNSUPPORTED_ENCODING",
            "send the body as it is, without a content encoding",
            Accept_Encoding="identity",
        )
    # One byte more: a body whose length isn't declared is cut at the maximum without a word.
    asked.max_content_length = max_bytes + 1
    with Wait(asked.environ, logs.request_id()) as wait:
        try:
            body = asked.get_data(cache=False)
        except RequestEntityTooLarge:
            body = None
    if wait.over:
        raise ProblemError(TOO_SLOW)
    if body is None or len(body) > max_bytes:
        raise problem_error(
            413, "BODY_TOO_LARGE", f"the body is larger than {max_bytes} bytes; send less at once"
        )
    if len(body) < (asked.content_length or 0):
        # Not the call that its client made: nothing may be kept under its key.
        raise problem_error(
            400, "BODY_INCOMPLETE", "the body is shorter than `Content-Length`; send it again"
        )
    g.body_read = True
    return body


def unread() -> bool:
    """Does the request carry a body that nobody has read to its end?"""
    return has_body() and not g.get("body_read", False)


def has_body() -> bool:
    """Does the request carry a body at all?"""
    environ = request.environ
    return bool(request.content_length) or "HTTP_TRANSFER_ENCODING" in environ


def load(schema: StrictSchema, data: object) -> Any:
    """Read a body with a schema; InvalidInputError with every problem of it."""
    try:
        return schema.load(data)
    except marshmallow.ValidationError as error:
        raise InvalidInputError(problems_in(error.messages)) from None


def key(body: bytes, *, required: bool = True) -> IdempotencyKey | None:
    """The call as its client named it; None where it needs no name and has none."""
    asked: Request = request_ctx.request
    sent = asked.environ.get("HTTP_IDEMPOTENCY_KEY")
    if sent is None:
        if not required:
            return None
        raise problem_error(
            400,
            "IDEMPOTENCY_KEY_MISSING",
            "send an `Idempotency-Key`: any text of your own, the same when you try again",
        )
    if _KEY.fullmatch(sent) is None:
        raise problem_error(
            400,
            "IDEMPOTENCY_KEY_INVALID",
            "send one `Idempotency-Key` of 1 to 128 visible ASCII characters without a comma",
        )
    caller = principal()
    return IdempotencyKey(
        client=caller.client,
        key=sent,
        method=asked.method,
        path=asked.path,
        query=asked.query_string.decode("latin-1"),
        # Any other agent than that of a credential bound to one is part of the body.
        agent="" if caller.person is None else f"{caller.person.id}\n{caller.person.role}",
        body=body,
    )


def accepts(*media_types: str) -> str:
    """The one of these that the caller likes best, the first of equals; 406 when it says that it
    can't read any that the call answers with."""
    header = request.environ.get("HTTP_ACCEPT")
    if not header:
        return media_types[0]
    best = max(media_types, key=lambda each: _liking(header, each))
    if _liking(header, best) <= 0:
        offered = " or ".join(f"`{each}`" for each in media_types)
        raise problem_error(406, "NOT_ACCEPTABLE", f"this call answers in {offered} only")
    return best


@functools.lru_cache(maxsize=256)
def _liking(header: str, media_type: str) -> float:
    """Of the most specific range that covers the type; parameters such as a charset don't count,
    since there is only one form of each type."""
    ranges = [
        (name.partition(";")[0].strip().lower(), quality)
        for name, quality in parse_accept_header(header)
    ]
    for wanted in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        qualities = [quality for name, quality in ranges if name == wanted]
        if qualities:
            return max(qualities)
    return 0 if ranges else 1


class StrictParser(FlaskParser):
    """Queries as the contract wants them: nothing unknown, nothing twice."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {"query": None}  # noqa: RUF012 -- webargs' own

    def load_querystring(self, req: Request, schema: marshmallow.Schema) -> Any:  # noqa: ARG002 -- webargs' signature
        twice = [name for name, values in req.args.lists() if len(values) > 1]
        if twice:
            raise ProblemError(
                invalid(
                    (
                        InputProblem(pointer_to(name), "DUPLICATE_PARAMETER", "send it once")
                        for name in twice
                    ),
                    "query",
                )
            )
        return req.args.to_dict()

    def handle_error(
        self, error: marshmallow.ValidationError, *_args: Any, **_kwargs: Any
    ) -> NoReturn:
        # webargs puts the location before the messages.
        assert isinstance(error.messages, dict)
        raise ProblemError(invalid(problems_in(error.messages["query"]), "query"))
