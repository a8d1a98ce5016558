"""What somebody with every key of the service could do: forge a decision and sign it all anew."""

from __future__ import annotations

import base64
from dataclasses import replace
from enum import IntEnum

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, text

from policy_engine.ledger.log.log import _signing_key
from policy_engine.ledger.log.notes import Checkpoint
from policy_engine.ledger.log.tiles import TILE_LEVELS
from policy_engine.ledger.log.tree import Frontier, leaf_hash
from policy_engine.ledger.sealing import Sealer, key_id_of
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.transaction import answer_context
from policy_engine.wire.records import canonical, leaf_digest
from tests.log.given import SECRET
from tests.log.tampering import unguarded

_DECIDED = text(
    "SELECT d.id, d.answer_sealed, r.content, s.subject, s.key_sealed FROM decision d "
    "JOIN record r ON r.id = d.id JOIN subject s ON s.subject = d.customer "
    "JOIN log_leaf l ON l.record_id = d.id ORDER BY l.leaf_index LIMIT 1"
)
_LEAVES = text(
    "SELECT l.leaf_index, r.content FROM log_leaf l JOIN record r ON r.id = l.record_id "
    "ORDER BY l.leaf_index"
)
_NODE_AGAIN = text("UPDATE log_node SET hash = :hash WHERE level = :level AND position = :position")
_CHECKPOINT_AGAIN = text("UPDATE checkpoint SET root = :root, note = :note WHERE size = :size")


class Step(IntEnum):
    """How far a forger gets; each step takes all before it."""

    CONTENT = 1
    RECORD_HASH = 2
    ANSWER = 3
    LEAF_HASH = 4
    NODES = 5
    OTHER_KEY = 6
    SIGNED = 7


_CHANGES = {
    Step.CONTENT: "UPDATE record SET content = :content WHERE id = :id",
    Step.RECORD_HASH: "UPDATE record SET leaf_hash = :hash WHERE id = :id",
    Step.ANSWER: "UPDATE decision SET answer_sealed = :answer WHERE id = :id",
    Step.LEAF_HASH: "UPDATE log_leaf SET leaf_hash = :hash WHERE record_id = :id",
}


def raise_an_amount(url: str, step: Step) -> str:
    """Doubles what the first decision found the customer entitled to; the decision's id."""
    secret = InstanceSecret(SECRET)
    with unguarded(url) as connection:
        row = connection.execute(_DECIDED).one()
        record = orjson.loads(row.content)
        record["evaluation"]["plans"][0]["entitled"] *= 2
        content = canonical(record)
        key = Sealer(secret).stored_key(row.subject, key_id_of(row.answer_sealed), row.key_sealed)
        answer = orjson.loads(key.open(answer_context(row.id), row.answer_sealed))
        answer["audit"]["digest"] = leaf_digest(content)
        values = {
            "id": row.id,
            "content": content,
            "hash": leaf_hash(content),
            "answer": key.seal(answer_context(row.id), orjson.dumps(answer)),
        }
        for reached, statement in _CHANGES.items():
            if reached <= step:
                connection.execute(text(statement), values)
        if step >= Step.NODES:
            _grow_again(connection, secret, step)
        return str(row.id)


def forge_the_answer(url: str) -> str:
    """Seals another answer under the customer's own key; the decision's id."""
    with unguarded(url) as connection:
        row = connection.execute(_DECIDED).one()
        key = Sealer(InstanceSecret(SECRET)).stored_key(
            row.subject, key_id_of(row.answer_sealed), row.key_sealed
        )
        other = orjson.dumps({"audit": {"record": row.id, "digest": leaf_digest(b"another")}})
        values = {"id": row.id, "answer": key.seal(answer_context(row.id), other)}
        connection.execute(text(_CHANGES[Step.ANSWER]), values)
        return str(row.id)


def _grow_again(connection: Connection, secret: InstanceSecret, step: Step) -> None:
    signing, tree = _signing_key(connection, secret), Frontier()
    key_id = signing.verifier.key_id
    if step == Step.OTHER_KEY:
        signing = replace(signing, private=Ed25519PrivateKey.generate())
    sizes = set(connection.execute(text("SELECT size FROM checkpoint")).scalars())
    for _, content in connection.execute(_LEAVES).all():
        for level, position, node in tree.append(leaf_hash(content)):
            if level % TILE_LEVELS == 0:
                connection.execute(
                    _NODE_AGAIN, {"level": level, "position": position, "hash": node}
                )
        if tree.size in sizes and step > Step.NODES:
            note = signing.sign(Checkpoint(signing.name, tree.size, tree.root()))
            # Under the key id of the true one, or it would be passed over as somebody else's.
            note = _under(key_id, note)
            connection.execute(
                _CHECKPOINT_AGAIN, {"size": tree.size, "root": tree.root(), "note": note}
            )


def _under(key_id: bytes, note: str) -> str:
    text_of, _, signature = note[:-1].rpartition(" ")
    raw = base64.b64decode(signature)
    return f"{text_of} {base64.b64encode(key_id + raw[4:]).decode()}\n"
