"""The sequencer: gives waiting records their places in the log, and signs what the log is then.

Any number of processes may try; one at a time gets through. There is no leader to lose: the lock
is held for one short transaction, and whoever comes next goes on where the last commit ended. A
record that is committed late is simply found waiting later, whatever its id.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, literal, select

from policy_engine.ledger.database import Database
from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.log.notes import Checkpoint, SigningKey
from policy_engine.ledger.log.tiles import TILE_LEVELS, StoredNodes
from policy_engine.ledger.log.tree import EMPTY_ROOT, Frontier
from policy_engine.ledger.tables import CHECKPOINT, LOG_LEAF, LOG_NODE, OUTBOX, RECORD

BATCH = 2000
"""Records a pass: on SQLite decisions wait while one is written."""

_TURN = select(func.pg_try_advisory_xact_lock(0x70656C6F67))
_SIZE = select(func.coalesce(func.max(LOG_LEAF.c.leaf_index) + 1, 0))
_LAST = (
    select(CHECKPOINT.c.sequence, CHECKPOINT.c.size, CHECKPOINT.c.root)
    .order_by(CHECKPOINT.c.sequence.desc())
    .limit(1)
)
_WAITING = (
    select(RECORD.c.id, RECORD.c.leaf_hash)
    .where(
        RECORD.c.id.in_(
            select(OUTBOX.c.record_id).order_by(OUTBOX.c.record_id).limit(bindparam("batch"))
        )
    )
    .subquery("waiting")
)
_MOVE = (
    insert(LOG_LEAF)
    .from_select(
        ["leaf_index", "record_id", "leaf_hash"],
        select(
            func.row_number().over(order_by=_WAITING.c.id)
            + (bindparam("size", type_=LOG_LEAF.c.leaf_index.type) - literal(1)),
            _WAITING.c.id,
            _WAITING.c.leaf_hash,
        ),
    )
    .returning(LOG_LEAF.c.leaf_index, LOG_LEAF.c.leaf_hash)
)
_LEAVE = delete(OUTBOX).where(
    OUTBOX.c.record_id.in_(
        select(LOG_LEAF.c.record_id).where(LOG_LEAF.c.leaf_index >= bindparam("size"))
    )
)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did."""

    moved: int
    checkpoint: Checkpoint | None
    """None when nothing waited, or another process had the turn."""
    note: str | None = None


NOTHING = Pass(0, None)


class Sequencer:
    """Moves what waits into the log, a batch a pass."""

    def __init__(self, database: Database, key: SigningKey, batch: int = BATCH) -> None:
        self._database = database
        self._key = key
        self._batch = batch
        self._frontier: Frontier | None = None

    def run_once(self) -> Pass:
        """One pass. UnavailableError, and TamperedError when the stored tree doesn't fit itself."""
        done, frontier = self._database.write(self._pass)
        self._frontier = frontier or self._frontier
        return done

    def _pass(self, connection: Connection) -> tuple[Pass, Frontier | None]:
        if connection.dialect.name == "postgresql" and not connection.execute(_TURN).scalar_one():
            return NOTHING, None
        # A later statement than the lock, so it sees all that was sequenced before.
        size: int = connection.execute(_SIZE).scalar_one()
        moved = connection.execute(_MOVE, {"size": size, "batch": self._batch}).all()
        if not moved:
            return NOTHING, None
        sequence, frontier = self._so_far(connection, size)
        connection.execute(_LEAVE, {"size": size})
        nodes = _grow(frontier, sorted((row.leaf_index, row.leaf_hash) for row in moved))
        if nodes:
            connection.execute(insert(LOG_NODE), nodes)
        checkpoint = Checkpoint(self._key.name, frontier.size, frontier.root())
        note = self._key.sign(checkpoint)
        row = {
            "sequence": sequence + 1,
            "size": checkpoint.size,
            "root": checkpoint.root,
            "note": note,
        }
        connection.execute(insert(CHECKPOINT), row)
        return Pass(len(moved), checkpoint, note), frontier

    def _so_far(self, connection: Connection, size: int) -> tuple[int, Frontier]:
        """(sequence of the last checkpoint, the tree it covers): nothing is signed on top of a
        tree that is not the one signed before."""
        last = connection.execute(_LAST).one_or_none()
        sequence, checked, root = (
            (0, 0, EMPTY_ROOT) if last is None else (last.sequence, last.size, last.root)
        )
        if checked != size:
            raise TamperedError(f"the log has {size} leaves, and its last checkpoint {checked}")
        frontier = self._frontier
        if frontier is None or (frontier.size, frontier.root()) != (size, root):
            frontier = StoredNodes(connection).frontier(size)
        if frontier.root() != root:
            raise TamperedError(f"the {size} leaves of the log are not those of its checkpoint")
        return sequence, frontier.copy()


def _grow(frontier: Frontier, leaves: list[tuple[int, bytes]]) -> list[dict[str, object]]:
    """Appends the leaves; returns the rows of the nodes that are stored."""
    rows: list[dict[str, object]] = []
    for index, leaf in leaves:
        if index != frontier.size:
            raise TamperedError(f"the log has no leaf {frontier.size}")
        rows += [
            {"level": level, "position": position, "hash": node}
            for level, position, node in frontier.append(leaf)
            if level % TILE_LEVELS == 0
        ]
    return rows
