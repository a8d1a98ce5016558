"""A batch: requests that are answered and recorded one by one, in order."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import orjson

from policy_engine.api import door, reading, sending
from policy_engine.api.inputs import BatchRequestSchema
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.wire.strict_json import MAX_DEPTH, read_json

_BATCH = BatchRequestSchema()
_OUTER_DEPTH = 2
_TOGETHER = 10
"""So many may share a commit. More would keep other callers waiting for longer."""


def decide_all(body: bytes, key: IdempotencyKey | None, *, dry_run: bool) -> Answer:
    """One answer with all of them in it.

    What ends a single call without an answer (the database is away, a key is running) ends the
    batch; sent again under its key, it goes on where it stopped.
    """
    try:
        data = read_json(
            body, max_bytes=reading.MAX_BATCH_BYTES, max_depth=MAX_DEPTH + _OUTER_DEPTH
        )
        requests = reading.load(_BATCH, data)["decisions"]
    except sending.FINAL as error:
        return sending.refused(error, None if dry_run else key)
    door.take_more(len(requests) - 1)
    digest = hashlib.sha256(body).digest()
    if key is not None and not dry_run:
        # The caller's own key is taken too, so that it can't serve another call beside this one.
        sending.kept(Answer(200, b"batch"), replace(key, body=digest))
    calls = [(each, _key_of(key, index, digest)) for index, each in enumerate(requests)]
    answers: list[Answer] = []
    for start in range(0, len(calls), _TOGETHER):
        following = calls[start : start + _TOGETHER]
        if not dry_run:
            answers += sending.decided_first(following)
        # One that needs more than a look, and what comes after it.
        for data, own in following[len(answers) - start :]:
            answers.append(sending.decided(_given(data), own, dry_run=dry_run))
    results = [{"status": each.status, "body": orjson.Fragment(each.body)} for each in answers]
    return Answer(
        200,
        orjson.dumps({"results": results}),
        replayed=all(each.replayed for each in answers),
    )


def _given(data: Any) -> Any:
    return lambda: data


def _key_of(key: IdempotencyKey | None, index: int, digest: bytes) -> IdempotencyKey | None:
    """A key of its own for each: no caller's key has a space in it. Each stands for the whole
    batch, so that changing any request of it is using the key for another call."""
    if key is None:
        return None
    return replace(key, key=f"{key.key} {index}", body=digest)
