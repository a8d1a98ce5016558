"""What somebody with every key of the service could do: forge a decision and sign it all anew."""

from __future__ import annotations

import orjson
from sqlalchemy import text

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


def raise_an_amount(url: str) -> str:
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
        changes = {
            "id": row.id,
            "content": content,
            "hash": leaf_hash(content),
            "answer": key.seal(answer_context(row.id), orjson.dumps(answer)),
        }
        for statement in (
            "UPDATE record SET content = :content, leaf_hash = :hash WHERE id = :id",
            "UPDATE decision SET answer_sealed = :answer WHERE id = :id",
            "UPDATE log_leaf SET leaf_hash = :hash WHERE record_id = :id",
        ):
            connection.execute(text(statement), changes)
        _sign_again(connection, secret)
        return str(row.id)


def _sign_again(connection, secret: InstanceSecret) -> None:  # type: ignore[no-untyped-def]
    signing, tree = _signing_key(connection, secret), Frontier()
    sizes = set(connection.execute(text("SELECT size FROM checkpoint")).scalars())
    for _, content in connection.execute(_LEAVES).all():
        for level, position, node in tree.append(leaf_hash(content)):
            if level % TILE_LEVELS == 0:
                values = {"level": level, "position": position, "hash": node}
                connection.execute(
                    text(
                        "UPDATE log_node SET hash = :hash "
                        "WHERE level = :level AND position = :position"
                    ),
                    values,
                )
        if tree.size in sizes:
            note = signing.sign(Checkpoint(signing.name, tree.size, tree.root()))
            values = {"size": tree.size, "root": tree.root(), "note": note}
            connection.execute(
                text("UPDATE checkpoint SET root = :root, note = :note WHERE size = :size"), values
            )
