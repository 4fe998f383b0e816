"""Consistency proofs of a tree, made while it grows (RFC 6962 section 2.1.2). Pure.

Guarantees
- One pass over the leaf hashes gives the proof between every two sizes that were asked about, one after the other.
- Memory holds the subtrees at the last such size and those of the leaves after it: twice 63 hashes at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trade_journal.log.tree import Frontier, consistency_proof, node_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """The proof that the tree of a size begins with the tree of an old size; it says nothing of roots by itself."""

    old_size: int
    size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Subtree:
    first: int
    width: int
    root: bytes


class Growth:
    """A tree that is extended leaf by leaf, and stops at given sizes."""

    def __init__(self, sizes: Iterable[int]) -> None:
        """Prepare to stop at sizes, in any order, each once."""
        self._sizes: Sequence[int] = sorted(set(sizes))
        self._next = 0
        self._size = 0
        self._old: Frontier | None = None
        self._since: list[_Subtree] = []  # aligned perfect subtrees over the leaves since the last stop

    def extended(self, leaves: Sequence[bytes]) -> Iterator[tuple[Frontier, Consistency | None]]:
        """Take the next leaf hashes; at each size give the tree and, but at the first, its proof from the one before.

        A size of 0 is found at the first call.
        """
        start = 0
        while self._next < len(self._sizes):
            missing = self._sizes[self._next] - self._size
            if missing > len(leaves) - start:
                break
            self._take(leaves[start : start + missing])
            start += missing
            yield self._stopped()
        if self._next < len(self._sizes):
            self._take(leaves[start:])

    def _take(self, leaves: Sequence[bytes]) -> None:
        base = 0 if self._old is None else self._old.size
        since = self._since
        for leaf in leaves:
            first, width, root = self._size, 1, leaf
            while first & width and first - width >= base:
                root = node_hash(since.pop().root, root)
                first -= width
                width <<= 1
            since.append(_Subtree(first, width, root))
            self._size += 1

    def _stopped(self) -> tuple[Frontier, Consistency | None]:
        proof = None
        before = {} if self._old is None else self._old.subtrees()
        if self._old is not None:
            known = before | {(one.first, one.first + one.width): one.root for one in self._since}
            path = consistency_proof(self._old.size, self._size, lambda first, end: known[first, end])
            proof = Consistency(old_size=self._old.size, size=self._size, path=tuple(path))
        stack = [_Subtree(first, end - first, root) for (first, end), root in before.items()]
        for one in self._since:
            first, width, root = one.first, one.width, one.root
            while first & width:
                root = node_hash(stack.pop().root, root)
                first -= width
                width <<= 1
            stack.append(_Subtree(first, width, root))
        self._old = Frontier(size=self._size, hashes=tuple(one.root for one in stack))
        self._since = []
        self._next += 1
        return self._old, proof
