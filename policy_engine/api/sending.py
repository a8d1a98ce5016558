"""Answers on their way out: the committed bytes are the ones that are sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import orjson
from flask import Response, g, request

from policy_engine.api import logs, metrics
from policy_engine.api.door import principal, services
from policy_engine.api.problems import MEDIA_TYPE, problem_of
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.usecases import deciding
from policy_engine.usecases.errors import ConflictError, ForbiddenError
from policy_engine.wire.problems import BadBodyError, InvalidInputError

T = TypeVar("T")

FINAL: Final = (BadBodyError, InvalidInputError, ForbiddenError, ConflictError)
"""Refusals that asking again would only repeat; kept under the key like any other answer."""

_CONTENT_TYPE: Final = "Content-Type"


def decided(read: Callable[[], object], key: IdempotencyKey | None, *, dry_run: bool) -> Answer:
    """Decide one request, or say what is wrong with it; either is the answer of the key."""
    try:
        data = read()
        if dry_run:
            result = deciding.dry_run(services(), principal(), data)
        else:
            result = deciding.decide(services(), principal(), data, key)
    except FINAL as error:
        return refused(error, None if dry_run else key)
    _tell(result, dry_run=dry_run)
    return result.answer


def decided_first(calls: Sequence[tuple[object, IdempotencyKey | None]]) -> list[Answer]:
    """As `decided` for each of (data, key), in order: the answers of all, or of those before one
    that `decided` has to see to."""
    results, error = deciding.decide_first(services(), principal(), calls)
    for result in results:
        _tell(result)
    answers = [result.answer for result in results]
    if isinstance(error, FINAL):
        answers.append(refused(error, calls[len(answers)][1]))
    elif error is not None:
        raise error
    return answers


def _tell(result: deciding.DecideAnswer, *, dry_run: bool = False) -> None:
    if result.decided is not None:
        metrics.decided(result.decided, dry_run=dry_run)
        logs.decided(result.decided.decision_id)


def written(
    read: Callable[[], T], key: IdempotencyKey | None, act: Callable[[T, IdempotencyKey], Answer]
) -> Response:
    """Carry out a call that writes, or say why not; either is the answer of the key."""
    assert key is not None
    try:
        return answer(act(read(), key))
    except FINAL as error:
        return answer(refused(error, key))


def refused(error: Exception, key: IdempotencyKey | None) -> Answer:
    """The problem of a final refusal, kept under the key, or what the key answered before."""
    if isinstance(error, BadBodyError) and request.content_length is None:
        key = None  # of a body without a length nobody can say whether all of it came
    problem = problem_of(error)
    assert problem is not None
    refusal = Answer(
        problem.status,
        orjson.dumps(problem.body(g.request_id)),
        ((_CONTENT_TYPE, MEDIA_TYPE),),
    )
    answer = kept(refusal, key)
    cap = problem.more.get("binding_cap")
    if isinstance(cap, str) and not answer.replayed:
        metrics.cap_refused(cap)
    return answer


def kept(answer: Answer, key: IdempotencyKey | None) -> Answer:
    """Keep an answer under its key; an answer that is kept already is the one to give."""
    if key is None:
        return answer
    return services().ledger.decide(key, lambda _transaction: answer)


class _NotKeptError(Exception):
    """The key is new."""


def kept_before(key: IdempotencyKey | None) -> Answer | None:
    """What the key answered before; None for a new one."""
    if key is None:
        return None

    def nothing(_transaction: object) -> Answer:
        raise _NotKeptError

    try:
        return services().ledger.decide(key, nothing)
    except _NotKeptError:
        return None


def answer(of: Answer) -> Response:
    """An answer of the ledger as the response."""
    headers = dict(of.headers)
    media_type = headers.pop(_CONTENT_TYPE, "application/json")
    response = Response(of.body, status=of.status, content_type=media_type)
    response.headers.extend(headers)
    response.headers["Cache-Control"] = "no-store"
    if of.replayed:
        response.headers["Idempotent-Replayed"] = "true"
        g.replayed = True
    place, _, name = headers.get("Location", "").rpartition("/")
    if place == "/v1/decisions":
        g.decision_id = name
    elif place == "/v1/grants":
        g.grant_id = name
    if media_type == MEDIA_TYPE:
        g.problem_code = orjson.loads(of.body)["code"]
    return response


def json(body: Any, status: int = 200) -> Response:
    """A body that nobody has serialised yet."""
    return json_bytes(orjson.dumps(body), status)


def json_bytes(body: bytes, status: int = 200) -> Response:
    response = Response(body, status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
