"""The Merkle tree of RFC 9162 §2.1: roots, proofs, and what verifies them. No storage in here.

A *node* is the root of a complete subtree: level 0 are the leaf hashes, and the node at
(level, position) covers the leaves from position · 2^level on, 2^level of them. Every root and
proof of a tree of n leaves is made of O(log n) of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Node = Callable[[int, int], bytes]
"""(level, position) → the hash of a node that the tree is known to have."""

EMPTY_ROOT = hashlib.sha256().digest()


class ProofError(ValueError):
    """A proof that doesn't prove what it was sent for."""


def leaf_hash(content: bytes) -> bytes:
    """SHA-256 over a zero byte and the leaf's bytes."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 over a one byte and the two hashes below."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def complete_subtrees(size: int) -> Iterator[tuple[int, int]]:
    """(level, position) of the nodes that a tree of `size` leaves is made of, left to right."""
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            yield level, start >> level
            start += 1 << level


def root(size: int, node: Node) -> bytes:
    """The root of the first `size` leaves."""
    return EMPTY_ROOT if size == 0 else _subtree(0, size, node)


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """That the leaf `index` is in the tree of the first `size` leaves (RFC 9162 §2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    return _inclusion(index, 0, size, node)


def consistency_proof(first: int, second: int, node: Node) -> list[bytes]:
    """That the tree of `first` leaves is a prefix of that of `second` (RFC 9162 §2.1.4.1)."""
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {first} is no prefix of one of {second}")
    if first in (0, second):
        return []
    return _consistency(first, 0, second, node, known=True)


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> None:
    """ProofError unless `proof` leads from the leaf hash to the root (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofError(f"no leaf {index} in a tree of {size}")
    current = leaf
    for is_left, each in _steps(index, size - 1, proof):
        current = node_hash(each, current) if is_left else node_hash(current, each)
    if current != expected_root:
        raise ProofError("the proof leads to another root")


def check_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """ProofError unless the first tree is a prefix of the second (RFC 9162 §2.1.4.2)."""
    if not 0 <= first <= second:
        raise ProofError(f"a tree of {first} is no prefix of one of {second}")
    if first in (0, second):
        expected = EMPTY_ROOT if first == 0 else second_root
        if proof or first_root != expected:
            raise ProofError("the proof is too long" if proof else "the roots differ")
        return
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path:
        raise ProofError("the proof is too short")
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    one = two = path[0]
    for is_left, each in _steps(at, last, path[1:]):
        if is_left:
            one, two = node_hash(each, one), node_hash(each, two)
        else:
            two = node_hash(two, each)
    if (one, two) != (first_root, second_root):
        raise ProofError("the proof leads to other roots")


def _steps(at: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bool, bytes]]:
    """From the node `at` of a level whose last node is `last` up to the root: each hash of the
    proof, and whether it belongs on the left."""
    for each in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        is_left = bool(at & 1) or at == last
        yield is_left, each
        while is_left and at and not at & 1:
            at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    if last != 0:
        raise ProofError("the proof is too short")


@dataclass(slots=True)
class Frontier:
    """A growing tree, remembered by its complete subtrees alone: one hash a binary digit of its
    size."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)
    """Of `complete_subtrees(size)`, left to right."""

    def append(self, leaf: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Adds a leaf hash; yields (level, position, hash) of every node above it that is
        complete now. Must be run to its end."""
        current, level, position = leaf, 0, self.size
        while position & 1:
            current = node_hash(self.hashes.pop(), current)
            level, position = level + 1, position >> 1
            yield level, position, current
        self.hashes.append(current)
        self.size += 1

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY_ROOT
        current = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            current = node_hash(left, current)
        return current

    def copy(self) -> Frontier:
        return Frontier(self.size, list(self.hashes))


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _subtree(start: int, end: int, node: Node) -> bytes:
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(size)
    return node_hash(_subtree(start, middle, node), _subtree(middle, end, node))


def _inclusion(index: int, start: int, end: int, node: Node) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_inclusion(index, start, middle, node), _subtree(middle, end, node)]
    return [*_inclusion(index, middle, end, node), _subtree(start, middle, node)]


def _consistency(first: int, start: int, end: int, node: Node, *, known: bool) -> list[bytes]:
    """`first` is where the smaller tree ends; `known`: its root stands for this whole subtree."""
    if first == end:
        return [] if known else [_subtree(start, end, node)]
    middle = start + _split(end - start)
    if first <= middle:
        below = _consistency(first, start, middle, node, known=known)
        return [*below, _subtree(middle, end, node)]
    below = _consistency(first, middle, end, node, known=False)
    return [*below, _subtree(start, middle, node)]
