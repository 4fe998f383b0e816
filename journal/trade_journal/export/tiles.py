"""Audit paths for many rows at once (RFC 6962 section 2.1.1), from the roots of tiles of 1,024 rows. Pure.

A first pass keeps the root of each full tile and of what stands above: 64 bytes for 1,024 rows. A second pass brings
the leaf hashes of one tile after the other and gets the path of each of its rows, without a pass over the tree for it.

Guarantees
- Leaf hashes that are not those of the first pass are refused, so that no path is made from rows that were changed
  in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from trade_journal.errors import JournalDamaged
from trade_journal.log.tree import Frontier, inclusion_proof, node_hash, root_of

_LEVELS: Final = 10
TILE_ROWS: Final = 1 << _LEVELS


class Tiles:
    """What is kept of a tree's leaves."""

    def __init__(self) -> None:
        self._above: list[list[bytes]] = []  # by level from that of the tiles: the roots of perfect subtrees
        self._leaves: list[bytes] = []  # of the tile that is not full yet

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Take the next leaf hashes."""
        self._leaves += leaves
        while len(self._leaves) >= TILE_ROWS:
            root = root_of(self._leaves[:TILE_ROWS])
            del self._leaves[:TILE_ROWS]
            for level in self._above:
                level.append(root)
                if len(level) & 1:
                    break
                root = node_hash(level[-2], root)
            else:
                self._above.append([root])

    def paths(self, first: int, leaves: Sequence[bytes], *, tree: Frontier) -> Iterator[tuple[bytes, ...]]:
        """Give the audit paths of a tile's rows, in order, in a tree that was passed over.

        `first` is the tile's first row, and `leaves` are its leaf hashes as far as the tree goes. Raises
        JournalDamaged when they are not those that were passed over.
        """
        levels = _perfect_levels(leaves)
        known = tree.subtrees()

        def range_hash(start: int, end: int) -> bytes:
            level = (end - start).bit_length() - 1
            if first <= start and end <= first + len(leaves):
                return levels[level][(start - first) >> level]
            if level >= _LEVELS:
                return self._above[level - _LEVELS][start >> level]
            return known[start, end]

        if len(leaves) == TILE_ROWS:
            if levels[_LEVELS][0] != self._above[0][first >> _LEVELS]:
                raise JournalDamaged(f"rows {first} to {first + TILE_ROWS - 1}: changed while they were read")
            above = inclusion_proof(first, tree.size, range_hash)[_LEVELS:]
            for place in range(TILE_ROWS):
                yield (*(levels[level][(place >> level) ^ 1] for level in range(_LEVELS)), *above)
            return
        if first + len(leaves) != tree.size or any(
            range_hash(start, end) != root for (start, end), root in known.items() if start >= first
        ):
            raise JournalDamaged(f"rows {first} to {tree.size - 1}: changed while they were read")
        for place in range(len(leaves)):
            yield tuple(inclusion_proof(first + place, tree.size, range_hash))


def _perfect_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return levels
