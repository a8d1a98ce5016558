"""The nodes of the tree as they are stored.

Leaf hashes are in `log_leaf`, and of the nodes above them only every eighth level is kept, in
`log_node`: one row for 256 leaves. Whatever lies between is hashed again from at most 256 hashes
that stand together (a *tile*), so a proof of a tree of n leaves reads about 2 · log₂₅₆ n tiles.
"""

from __future__ import annotations

from collections import OrderedDict

from sqlalchemy import Connection, bindparam, select

from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.log.tree import Frontier, complete_subtrees, node_hash
from policy_engine.ledger.tables import LOG_LEAF, LOG_NODE

TILE_LEVELS = 8
_TILE = 1 << TILE_LEVELS
_REMEMBERED_TILES = 16

_LEAVES = (
    select(LOG_LEAF.c.leaf_hash)
    .where(LOG_LEAF.c.leaf_index >= bindparam("start"), LOG_LEAF.c.leaf_index < bindparam("end"))
    .order_by(LOG_LEAF.c.leaf_index)
)
_NODES = (
    select(LOG_NODE.c.hash)
    .where(
        LOG_NODE.c.level == bindparam("level"),
        LOG_NODE.c.position >= bindparam("start"),
        LOG_NODE.c.position < bindparam("end"),
    )
    .order_by(LOG_NODE.c.position)
)


class StoredNodes:
    """Call it as a `tree.Node`, for nodes within the stored size. TamperedError where rows of the
    tree are missing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tiles: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()

    def __call__(self, level: int, position: int) -> bytes:
        stored, above = level - level % TILE_LEVELS, level % TILE_LEVELS
        first, count = position << above, 1 << above
        tile = self._tile(stored, first // _TILE)
        hashes = tile[first % _TILE : first % _TILE + count]
        if len(hashes) != count:
            raise TamperedError(f"rows of the log's tree are missing at level {stored}")
        while len(hashes) > 1:
            hashes = [
                node_hash(left, right)
                for left, right in zip(hashes[::2], hashes[1::2], strict=True)
            ]
        return hashes[0]

    def frontier(self, size: int) -> Frontier:
        """The tree of the first `size` leaves, ready to grow."""
        return Frontier(size, [self(*each) for each in complete_subtrees(size)])

    def _tile(self, level: int, number: int) -> list[bytes]:
        tile = self._tiles.get((level, number))
        if tile is None:
            tile = self._read(level, number * _TILE)
            if len(self._tiles) >= _REMEMBERED_TILES:
                self._tiles.popitem(last=False)
            self._tiles[level, number] = tile
        return tile

    def _read(self, level: int, start: int) -> list[bytes]:
        bounds = {"start": start, "end": start + _TILE}
        query, parameters = (
            (_LEAVES, bounds) if level == 0 else (_NODES, {"level": level, **bounds})
        )
        return [row[0] for row in self._connection.execute(query, parameters)]
