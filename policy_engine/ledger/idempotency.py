"""Idempotency: the first answer of a key, kept at least a day, byte for byte.

An answer is kept as parts. Where it repeats the stored answer of a decision, the part only
names the decision: so nothing personal lies here that erasing the customer would miss. The
rest is sealed under the instance's own key and swept after a day.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, delete, select

from policy_engine.ledger.database import Opening
from policy_engine.ledger.errors import ErasedError, IdempotencyMismatchError
from policy_engine.ledger.sealing import Sealer
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.ledger.tables import IDEMPOTENCY, micros
from policy_engine.ledger.writing import Row

KEPT_AT_LEAST = timedelta(days=1)


class KeptAnswers:
    """Hashes keys and calls, keeps answers, and gives them again."""

    def __init__(self, secret: InstanceSecret, sealer: Sealer) -> None:
        self._key = secret.key("idempotency")
        self._sealer = sealer

    def key_hash(self, key: IdempotencyKey) -> bytes:
        return self._hash(b"key", key.client.encode(), key.key.encode())

    def row(
        self,
        key: IdempotencyKey,
        key_hash: bytes,
        answer: Answer,
        decisions: Sequence[tuple[str, bytes]],
        now: datetime,
    ) -> Row:
        """The row that keeps `answer`; `key_hash` is that of the key, `decisions` are (id, answer)
        of those just recorded."""
        fingerprint = self._fingerprint(key)
        kept = {
            "status": answer.status,
            "headers": answer.headers,
            "parts": list(_parts(answer.body, decisions)),
            "kept_since_us": micros(now),
        }
        sealed = self._sealer.seal(kept_context(key_hash, fingerprint), orjson.dumps(kept))
        values = {
            "key_hash": key_hash,
            "fingerprint": fingerprint,
            "answer_sealed": sealed,
            "created_at_us": now,
        }
        return IDEMPOTENCY, values

    def again(
        self,
        key: IdempotencyKey,
        opening: Opening,
        decision_answer: Callable[[str], bytes | None],
    ) -> Answer | None:
        """The answer kept for the key; None when the key is new.

        Raises IdempotencyMismatchError, or ErasedError when a customer in it has been erased.
        """
        if opening.kept is None:
            return None
        fingerprint, sealed = opening.kept
        if not hmac.compare_digest(fingerprint, self._fingerprint(key)):
            raise IdempotencyMismatchError
        context = kept_context(self.key_hash(key), fingerprint)
        kept = orjson.loads(self._sealer.open(context, sealed))
        body = bytearray()
        for part in kept["parts"]:
            if "decision" in part:
                answer = decision_answer(part["decision"])
                if answer is None:
                    raise ErasedError("the customer of this call has been erased")
                body += answer
            else:
                body += base64.b64decode(part["bytes"])
        headers = tuple((name, value) for name, value in kept["headers"])
        return Answer(kept["status"], bytes(body), headers, replayed=True)

    def _fingerprint(self, key: IdempotencyKey) -> bytes:
        parts = (key.method, key.path, key.query, key.agent)
        return self._hash(b"call", *(part.encode() for part in parts), key.body)

    def _hash(self, *parts: bytes) -> bytes:
        # The length first, so that no two calls run together into the same bytes.
        message = b"".join([len(part).to_bytes(8) + part for part in parts])
        return hmac.digest(self._key, message, "sha256")


def kept_context(key_hash: bytes, fingerprint: bytes) -> bytes:
    """What a kept answer is bound to."""
    return key_hash + fingerprint


def sweep(connection: Connection, before: datetime, most: int) -> int:
    """Deletes so many of the answers kept before an instant at most; returns how many. The
    database refuses any younger than a day."""
    old = select(IDEMPOTENCY.c.key_hash).where(IDEMPOTENCY.c.created_at_us < before).limit(most)
    return connection.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.key_hash.in_(old))).rowcount


def _parts(body: bytes, decisions: Sequence[tuple[str, bytes]]) -> Iterator[dict[str, str]]:
    done = 0
    for decision_id, answer in decisions:
        found = body.find(answer, done)
        if found < 0:
            continue
        yield from _literal(body[done:found])
        yield {"decision": decision_id}
        done = found + len(answer)
    yield from _literal(body[done:])


def _literal(text: bytes) -> Iterator[dict[str, str]]:
    if text:
        yield {"bytes": base64.b64encode(text).decode()}
