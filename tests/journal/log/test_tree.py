"""The Merkle tree: roots and proofs as RFC 6962 defines them, and no proof for anything else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_journal.log.rows import leaf_hash
from trade_journal.log.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    node_hash,
    root_of,
)

LEAVES = [leaf_hash(b"row %d" % index) for index in range(130)]


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it, by recursion."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + defined_root(leaves[:split]) + defined_root(leaves[split:])).digest()


def range_hash(first: int, end: int) -> bytes:
    assert (end - first).bit_count() == 1
    return defined_root(LEAVES[first:end])


def changed(hashed: bytes) -> bytes:
    return bytes([hashed[0] ^ 1]) + hashed[1:]


def test_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == hashlib.sha256(b"").digest()


def test_root_of_known_leaves_is_the_published_one() -> None:
    # The test vectors that Certificate Transparency implementations share (RFC 6962 hashing).
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [leaf_hash(bytes.fromhex(text)) for text in inputs]
    assert root_of(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root_of(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("size", range(len(LEAVES) + 1))
def test_root_at_any_size_is_as_defined(size: int) -> None:
    assert root_of(LEAVES[:size]) == defined_root(LEAVES[:size])


@given(st.integers(0, len(LEAVES)), st.integers(0, len(LEAVES)))
def test_frontier_extended_in_two_steps_is_that_of_one(one: int, other: int) -> None:
    first, size = sorted((one, other))
    assert Frontier().extended(LEAVES[:first]).extended(LEAVES[first:size]) == Frontier().extended(LEAVES[:size])


def test_frontier_of_another_number_of_subtrees_is_refused() -> None:
    with pytest.raises(ValueError, match="a tree of 3 leaves has no 1 subtrees"):
        Frontier(size=3, hashes=(LEAVES[0],))
    with pytest.raises(ValueError, match="32 bytes"):
        Frontier(size=1, hashes=(b"short",))
    with pytest.raises(ValueError, match="a tree of -1 leaves"):
        Frontier(size=-1)


@given(st.data())
def test_inclusion_proof_verifies_for_its_leaf_alone(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(index, size, range_hash), defined_root(LEAVES[:size])
    assert is_included(LEAVES[index], index=index, size=size, proof=proof, root=root)
    other = data.draw(st.integers(0, size - 1).filter(lambda found: found != index)) if size > 1 else index
    if other != index:
        assert not is_included(LEAVES[other], index=index, size=size, proof=proof, root=root)
        assert not is_included(LEAVES[index], index=other, size=size, proof=proof, root=root)
    assert not is_included(LEAVES[index], index=index, size=size, proof=proof, root=changed(root))
    assert not is_included(LEAVES[index], index=index, size=size, proof=[*proof, root], root=root)
    for position in range(len(proof)):
        forged = [*proof[:position], changed(proof[position]), *proof[position + 1 :]]
        assert not is_included(LEAVES[index], index=index, size=size, proof=forged, root=root)
        shorter = [*proof[:position], *proof[position + 1 :]]
        assert not is_included(LEAVES[index], index=index, size=size, proof=shorter, root=root)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (6, 5), (0, 0)])
def test_inclusion_outside_the_tree_is_refused(index: int, size: int) -> None:
    assert not is_included(LEAVES[0], index=index, size=size, proof=[], root=LEAVES[0])
    with pytest.raises(ValueError, match=f"no leaf {index} in a tree of {size}"):
        inclusion_proof(index, size, range_hash)


@given(st.data())
def test_consistency_proof_verifies_for_its_trees_alone(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    old_size = data.draw(st.integers(0, size))
    old_root, root = defined_root(LEAVES[:old_size]), defined_root(LEAVES[:size])
    proof = consistency_proof(old_size, size, range_hash)
    assert is_consistent(old_size=old_size, old_root=old_root, size=size, root=root, proof=proof)
    assert not is_consistent(old_size=old_size, old_root=changed(old_root), size=size, root=root, proof=proof)
    assert not is_consistent(old_size=old_size, old_root=old_root, size=size, root=root, proof=[*proof, root])
    if old_size > 0:
        assert not is_consistent(old_size=old_size, old_root=old_root, size=size, root=changed(root), proof=proof)
    for position in range(len(proof)):
        forged = [*proof[:position], changed(proof[position]), *proof[position + 1 :]]
        assert not is_consistent(old_size=old_size, old_root=old_root, size=size, root=root, proof=forged)
        shorter = [*proof[:position], *proof[position + 1 :]]
        assert not is_consistent(old_size=old_size, old_root=old_root, size=size, root=root, proof=shorter)


def test_consistency_of_a_rewritten_history_cannot_be_shown() -> None:
    rewritten = [LEAVES[0], changed(LEAVES[1]), *LEAVES[2:7]]

    def forger(first: int, end: int) -> bytes:
        return defined_root(rewritten[first:end])

    old_root = defined_root(LEAVES[:4])
    for old_size in range(1, 8):
        proof = consistency_proof(old_size, 7, forger)
        root = defined_root(rewritten)
        assert not is_consistent(old_size=4, old_root=old_root, size=7, root=root, proof=proof)


@pytest.mark.parametrize(("old_size", "size"), [(5, 4), (-1, 4)])
def test_consistency_of_no_such_trees_is_refused(old_size: int, size: int) -> None:
    assert not is_consistent(old_size=old_size, old_root=EMPTY_ROOT, size=size, root=LEAVES[0], proof=[])
    with pytest.raises(ValueError, match="does not begin with"):
        consistency_proof(old_size, size, range_hash)


def test_consistency_without_a_needed_proof_is_refused() -> None:
    assert not is_consistent(
        old_size=3, old_root=defined_root(LEAVES[:3]), size=5, root=defined_root(LEAVES[:5]), proof=[]
    )


def test_leaf_and_node_of_one_content_hash_apart() -> None:
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])


@pytest.mark.parametrize("size", [0, 4, 8, 12, 60])
@pytest.mark.parametrize("leaves", [1, 2, 4])
def test_tree_joined_with_a_subtree_is_the_tree_extended_by_its_leaves(size: int, leaves: int) -> None:
    hashes = [hashlib.sha256(bytes([number])).digest() for number in range(size + leaves)]
    before = Frontier().extended(hashes[:size])
    assert before.joined(root_of(hashes[size:]), leaves=leaves) == before.extended(hashes[size:])


@pytest.mark.parametrize(("size", "leaves"), [(1, 2), (2, 4), (6, 4), (4, 3), (4, 0), (4, -4)])
def test_tree_joined_with_a_subtree_that_does_not_fit_is_refused(size: int, leaves: int) -> None:
    with pytest.raises(ValueError, match="no perfect subtree"):
        Frontier().extended([bytes(32)] * size).joined(bytes(32), leaves=leaves)
