"""Consistency proofs and audit paths that are made in one pass are those that are made one by one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_journal.errors import JournalDamaged
from trade_journal.export.growth import Growth
from trade_journal.export.tiles import TILE_ROWS, Tiles
from trade_journal.log.rows import leaf_hash
from trade_journal.log.tree import Frontier, consistency_proof, inclusion_proof, is_included, root_of

LEAVES = [leaf_hash(b"%d" % number) for number in range(2 * TILE_ROWS + 700)]


@given(st.sets(st.integers(0, 300), max_size=8), st.integers(1, 70))
def test_proofs_made_while_growing_are_those_made_from_the_whole_tree(sizes: set[int], page: int) -> None:
    growth = Growth(sizes)
    found = [step for start in range(0, 300, page) for step in growth.extended(LEAVES[:300][start : start + page])]
    assert [tree.size for tree, _ in found] == sorted(sizes)
    assert all(tree == Frontier().extended(LEAVES[: tree.size]) for tree, _ in found)
    proofs = [(one.old_size, one.size, list(one.path)) for _, one in found if one is not None]
    ordered = sorted(sizes)
    assert proofs == [
        (old, new, consistency_proof(old, new, lambda first, end: root_of(LEAVES[first:end])))
        for old, new in pairwise(ordered)
    ]


def test_subtrees_of_a_frontier_stand_over_their_leaves() -> None:
    assert {span: root_of(LEAVES[slice(*span)]) for span in [(0, 8), (8, 12), (12, 13)]} == (
        Frontier().extended(LEAVES[:13]).subtrees()
    )


@pytest.mark.parametrize("size", [1, 2, 1000, 1023, 1024, 1025, 2047, 2048, 2049, len(LEAVES)])
def test_paths_of_every_tile_lead_to_the_root(size: int) -> None:
    tiles, tree = Tiles(), Frontier().extended(LEAVES[:size])
    for start in range(0, len(LEAVES), 999):  # the journal goes on after the checkpoint
        tiles.extend(LEAVES[start : start + 999])
    for first in range(0, size, TILE_ROWS):
        paths = list(tiles.paths(first, LEAVES[first : min(size, first + TILE_ROWS)], tree=tree))
        for index, path in enumerate(paths, start=first):
            assert is_included(LEAVES[index], index=index, size=size, proof=path, root=tree.root())
    last = inclusion_proof(size - 1, size, lambda first, end: root_of(LEAVES[first:end]))
    assert paths[-1] == tuple(last)


@pytest.mark.parametrize(("first", "end"), [(0, TILE_ROWS), (2 * TILE_ROWS, len(LEAVES))])
@pytest.mark.parametrize("change", ["another", "fewer"])
def test_tile_that_was_changed_between_the_passes_is_refused(first: int, end: int, change: str) -> None:
    tiles, tree = Tiles(), Frontier().extended(LEAVES)
    tiles.extend(LEAVES)
    leaves = LEAVES[first:end]
    leaves = leaves[:-1] if change == "fewer" else [*leaves[:-1], b"x" * 32]
    with pytest.raises(JournalDamaged, match="changed while they were read"):
        list(tiles.paths(first, leaves, tree=tree))
