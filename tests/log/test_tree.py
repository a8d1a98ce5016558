"""The tree is that of RFC 9162: reference values, a naive tree, and proofs that must not prove."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_engine.ledger.log.tree import (
    Frontier,
    Node,
    ProofError,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
)

# What certificate transparency's own test-suites use: eight leaves, and the root at each size.
LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 2): ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"],
    (1, 2): ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 9162 §2.1.1 writes it down."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    below = naive_root(leaves[:split]) + naive_root(leaves[split:])
    return hashlib.sha256(b"\1" + below).digest()


def nodes_of(leaves: list[bytes]) -> Node:
    def node(level: int, position: int) -> bytes:
        covered = leaves[position << level : position + 1 << level]
        assert len(covered) == 1 << level, "a node that the tree does not have"
        return naive_root(covered)

    return node


def hexes(hashes: list[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    grown = Frontier()
    for leaf in LEAVES[:size]:
        list(grown.append(leaf_hash(leaf)))
    assert root(size, nodes_of(LEAVES)).hex() == ROOTS[size]
    assert grown.root().hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_certificate_transparency(index: int, size: int) -> None:
    proof = inclusion_proof(index, size, nodes_of(LEAVES))
    assert hexes(proof) == INCLUSION[index, size]
    check_inclusion(leaf_hash(LEAVES[index]), index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_consistency_proofs_are_those_of_certificate_transparency(first: int, second: int) -> None:
    proof = consistency_proof(first, second, nodes_of(LEAVES))
    assert hexes(proof) == CONSISTENCY[first, second]
    before, after = bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second])
    check_consistency(first, second, before, after, proof)


leaf_lists = st.lists(st.binary(max_size=4), min_size=1, max_size=70)


@given(leaf_lists)
def test_a_growing_tree_agrees_with_the_naive_one_at_every_size(leaves: list[bytes]) -> None:
    grown = Frontier()
    completed: dict[tuple[int, int], bytes] = {}
    for size, leaf in enumerate(leaves, 1):
        for level, position, node in grown.append(leaf_hash(leaf)):
            completed[level, position] = node
        assert grown.root() == naive_root(leaves[:size])
    node_of = nodes_of(leaves)
    assert completed == {place: node_of(*place) for place in completed}
    assert len(completed) == sum(len(leaves) >> level for level in range(1, 8))


@given(leaf_lists, st.data())
def test_every_leaf_is_proved_and_no_other_in_its_place(
    leaves: list[bytes], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, nodes_of(leaves))
    expected, leaf = naive_root(leaves[:size]), leaf_hash(leaves[index])
    check_inclusion(leaf, index, size, proof, expected)
    with pytest.raises(ProofError):
        check_inclusion(leaf_hash(b"another leaf"), index, size, proof, expected)
    with pytest.raises(ProofError):
        check_inclusion(leaf, index, size, [*proof, expected], expected)
    for cut in range(len(proof)):
        with pytest.raises(ProofError):
            check_inclusion(leaf, index, size, proof[:cut] + proof[cut + 1 :], expected)


@given(leaf_lists, st.data())
def test_every_prefix_is_proved_and_nothing_else(leaves: list[bytes], data: st.DataObject) -> None:
    second = data.draw(st.integers(1, len(leaves)))
    first = data.draw(st.integers(1, second))
    proof = consistency_proof(first, second, nodes_of(leaves))
    before, after = naive_root(leaves[:first]), naive_root(leaves[:second])
    check_consistency(first, second, before, after, proof)
    other = leaf_hash(b"another root")
    for wrong in ((other, after), (before, other)):
        with pytest.raises(ProofError):
            check_consistency(first, second, *wrong, proof)
    for cut in range(len(proof)):
        with pytest.raises(ProofError):
            check_consistency(first, second, before, after, proof[:cut] + proof[cut + 1 :])
    with pytest.raises(ProofError):
        check_consistency(first, second, before, after, [*proof, other])


def test_the_empty_log_is_the_beginning_of_every_log() -> None:
    assert consistency_proof(0, 8, nodes_of(LEAVES)) == []
    check_consistency(0, 8, bytes.fromhex(ROOTS[0]), bytes.fromhex(ROOTS[8]), [])
    with pytest.raises(ProofError):
        check_consistency(0, 8, bytes.fromhex(ROOTS[1]), bytes.fromhex(ROOTS[8]), [])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_what_is_not_in_the_tree_is_not_proved(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(index, size, nodes_of(LEAVES))
    with pytest.raises(ProofError):
        check_inclusion(leaf_hash(b""), index, size, [], bytes.fromhex(ROOTS[1]))


def test_a_leaf_is_never_taken_for_a_node() -> None:
    one, two = (leaf_hash(each) for each in LEAVES[:2])
    assert node_hash(one, two) != leaf_hash(one + two)
    assert all(left != right for left, right in pairwise(ROOTS))
