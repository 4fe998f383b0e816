"""The Merkle tree over a journal's rows (RFC 6962 section 2.1, RFC 9162 section 2.1). Pure.

Guarantees
- A root at a size stands for exactly these rows in exactly this order: changing, removing, adding or swapping one
  before that size gives another root.
- A frontier holds one hash for each one-bit of its size, at most 63 of 32 bytes, whatever the number of rows.
- A proof that verifies can only have been made from the tree that the root stands for; verification never guesses a
  length or an order, and needs no trust in whoever made the proof.

Hashes are SHA-256, 32 bytes. Leaves hash with a zero byte before them (`rows.leaf_hash`), inner nodes with a one byte,
so that neither can be passed off as the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
SIZE_MAX: Final = 2**53 - 1
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
_NODE_PREFIX: Final = b"\x01"

RangeHash = Callable[[int, int], bytes]
"""Gives the root over the leaves from the first index to before the second; their number is a power of two."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into the one above them (RFC 6962 section 2.1)."""
    return hashlib.sha256(_NODE_PREFIX + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """A tree as little as can be kept to go on from: the roots of its perfect subtrees, the largest first."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no tree has. Raises ValueError."""
        if not 0 <= self.size <= SIZE_MAX or self.size.bit_count() != len(self.hashes):
            raise ValueError(f"a tree of {self.size} leaves has no {len(self.hashes)} subtrees")
        if set(map(len, self.hashes)) - {HASH_BYTES}:
            raise ValueError("a hash of a tree has 32 bytes")

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for larger in reversed(self.hashes[:-1]):
            root = node_hash(larger, root)
        return root

    def subtrees(self) -> dict[tuple[int, int], bytes]:
        """Return the same hashes by the leaves that they stand over: from the first to before the second."""
        found: dict[tuple[int, int], bytes] = {}
        first = 0
        for one in self.hashes:
            end = first + (1 << ((self.size - first).bit_length() - 1))
            found[first, end] = one
            first = end
        return found

    def extended(self, leaves: Iterable[bytes]) -> Frontier:
        """Return the tree with more leaves at its end, given by their leaf hashes."""
        size, hashes, sha256 = self.size, list(self.hashes), hashlib.sha256
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:  # two subtrees of one size become the one above, as in counting with carries
                node = sha256(_NODE_PREFIX + hashes.pop() + node).digest()  # node_hash, without a call for each row
                carry >>= 1
            hashes.append(node)
            size += 1
        return Frontier(size=size, hashes=tuple(hashes))

    def joined(self, root: bytes, *, leaves: int) -> Frontier:
        """Return the tree with a perfect subtree more at its end, given by its root. Raises ValueError if none fits."""
        if leaves < 1 or leaves & (leaves - 1) or self.size % leaves:
            raise ValueError(f"no perfect subtree of {leaves} leaves fits behind {self.size}")
        hashes, node, carry = list(self.hashes), root, self.size // leaves
        while carry & 1:
            node = node_hash(hashes.pop(), node)
            carry >>= 1
        return Frontier(size=self.size + leaves, hashes=(*hashes, node))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    return Frontier().extended(leaves).root()


def inclusion_proof(index: int, size: int, range_hash: RangeHash) -> list[bytes]:
    """Make the audit path of a leaf in the tree of a size (RFC 6962 section 2.1.1). Raises ValueError."""
    if not 0 <= index < size <= SIZE_MAX:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    first, end = 0, size
    path: list[bytes] = []
    while end - first > 1:
        middle = first + _largest_power_below(end - first)
        if index < middle:
            path.append(span_hash(middle, end, range_hash))
            end = middle
        else:
            path.append(span_hash(first, middle, range_hash))
            first = middle
    return path[::-1]


def is_included(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a proof shows a leaf at its index under a root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size <= SIZE_MAX:
        return False
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and computed == root


def consistency_proof(old_size: int, size: int, range_hash: RangeHash) -> list[bytes]:
    """Make the proof that the tree of a size begins with that of an old size (RFC 6962 section 2.1.2).

    Nothing needs a proof from size 0 or between equal sizes: the list is empty. Raises ValueError.
    """
    if not 0 <= old_size <= size <= SIZE_MAX:
        raise ValueError(f"a tree of {size} leaves does not begin with one of {old_size}")
    if old_size in (0, size):
        return []
    first, end, is_whole = 0, size, True
    path: list[bytes] = []
    while end != old_size:
        middle = first + _largest_power_below(end - first)
        if old_size <= middle:
            path.append(span_hash(middle, end, range_hash))
            end = middle
        else:
            path.append(span_hash(first, middle, range_hash))
            first, is_whole = middle, False
    if not is_whole:
        path.append(span_hash(first, end, range_hash))
    return path[::-1]


def is_consistent(*, old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether a proof shows that one tree begins with another (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old_size <= size <= SIZE_MAX:
        return False
    if old_size == size:
        return not proof and old_root == root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof)
    if old_size.bit_count() == 1:  # the old tree is a perfect subtree of the new one: its root is the proof's start
        path.insert(0, old_root)
    if not path:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_root and new == root


def span_hash(first: int, end: int, range_hash: RangeHash) -> bytes:
    """Return the root over leaves that need not be a power of two, as it stands inside a tree.

    `first` must be a multiple of the largest power of two in the span, which it is wherever a proof asks.
    """
    parts: list[bytes] = []
    while first < end:
        step = 1 << ((end - first).bit_length() - 1)
        parts.append(range_hash(first, first + step))
        first += step
    root = parts.pop()
    while parts:
        root = node_hash(parts.pop(), root)
    return root


def _largest_power_below(count: int) -> int:
    """Return the largest power of two that is smaller than a count of at least 2 (k in RFC 6962)."""
    return 1 << ((count - 1).bit_length() - 1)
