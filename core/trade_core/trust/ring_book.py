"""What one process knows of its key rings: each with its proof, the counters it has seen, and one that waits. Pure.

Guarantees
- Read back, it is proved again: every ring follows the one before by its own warrant, from the ring that was pinned
  first. A book in which one proof fails is refused as a whole.
- The last ring is the one that counts; the earlier ones are kept to replay what was ordered under them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trade_core.trust.keys import NotTrusted, decode_base64
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.sign_counters import SignCounters, parse_counters
from trade_core.trust.signed_warrant import SignedWarrant
from trade_core.trust.statement import check_fields
from trade_core.trust.succession import RingOffer, replayed_ring

MAX_CHANGES = 200
_FIELDS = {"changes", "counters", "waiting"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The two halves of a proof: what changes, and the warrant for it."""

    change: bytes
    warrant: bytes

    def content(self) -> dict[str, str]:
        """Return both as base64."""
        halves = {"change": self.change, "warrant": self.warrant}
        return {name: base64.b64encode(half).decode("ascii") for name, half in halves.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRing:
    """A ring that was announced and counts from `due_at_ms`, UTC milliseconds, unless it is cancelled."""

    ring: KeyRing
    proof: Change
    due_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RingBook:
    """The rings from the first pinned one to the one that counts. Begin with `RingBook(rings=(ring,))`."""

    rings: tuple[KeyRing, ...]
    proofs: tuple[Change, ...] = ()
    counters: SignCounters = field(default_factory=SignCounters)
    waiting: WaitingRing | None = None

    @property
    def ring(self) -> KeyRing:
        """The ring that counts."""
        return self.rings[-1]

    def touched(self, signed: SignedWarrant) -> RingBook:
        """Remember the counters of a warrant that was taken."""
        return replace(self, counters=self.counters.after(signed))

    def taking(self, ring: KeyRing, proof: Change) -> RingBook:
        """Let a proved ring count; whatever waited under the one before waits no more. Raises NotTrusted when full."""
        if len(self.proofs) >= MAX_CHANGES:
            raise NotTrusted(f"key ring: {MAX_CHANGES} changes led here already; make a new deployment")
        return RingBook(
            rings=(*self.rings, ring), proofs=(*self.proofs, proof), counters=self.counters.within(ring), waiting=None
        )

    def announcing(self, offer: RingOffer, *, now_ms: int) -> RingBook:
        """Let an offered ring wait."""
        proof = Change(change=offer.change, warrant=offer.warrant)
        return replace(self, waiting=WaitingRing(ring=offer.ring, proof=proof, due_at_ms=now_ms + offer.wait_ms))

    def cancelling(self) -> RingBook:
        """Let nothing wait."""
        return replace(self, waiting=None)

    def due(self, *, now_ms: int) -> WaitingRing | None:
        """Return the ring that has waited long enough."""
        return self.waiting if self.waiting is not None and now_ms >= self.waiting.due_at_ms else None

    def content(self) -> dict[str, Any]:
        """Return all but the first ring as plain values, to be kept."""
        waiting = self.waiting
        return {
            "changes": [proof.content() for proof in self.proofs],
            "counters": self.counters.content(),
            "waiting": None if waiting is None else {**waiting.proof.content(), "due_at_ms": waiting.due_at_ms},
        }


def parse_ring_book(content: object, *, first: KeyRing) -> RingBook:
    """Read a book back, and prove it. Raises NotTrusted."""
    if not isinstance(content, dict) or set(content) != _FIELDS:
        raise NotTrusted("ring book: its fields are not those of one")
    changes, counters, waiting = content["changes"], content["counters"], content["waiting"]
    if not isinstance(changes, list) or not isinstance(counters, dict):
        raise NotTrusted("ring book: changes or counters are not what they must be")
    book = RingBook(rings=(first,))
    for item in changes:
        proof = _proof(item)
        book = book.taking(replayed_ring(book.ring, change=proof.change, warrant=proof.warrant), proof)
    book = replace(book, counters=parse_counters(counters))
    return book if waiting is None else replace(book, waiting=_waiting(waiting, pinned=book.ring))


def ring_named(book: RingBook, named: str) -> KeyRing | None:
    """Return the ring of a hash, if it ever counted here."""
    return next((ring for ring in book.rings if ring_hash(ring) == named), None)


def _proof(item: object) -> Change:
    if not isinstance(item, Mapping):
        raise NotTrusted("ring book: a change must be an object")
    check_fields(dict(item), what="change", fields=("change", "warrant"), integers=frozenset())
    return Change(
        change=decode_base64(item["change"], length=None, what="change"),
        warrant=decode_base64(item["warrant"], length=None, what="warrant"),
    )


def _waiting(item: object, *, pinned: KeyRing) -> WaitingRing:
    if not isinstance(item, Mapping) or type(item.get("due_at_ms")) is not int:
        raise NotTrusted("ring book: what waits must say until when")
    proof = _proof({name: value for name, value in item.items() if name != "due_at_ms"})
    ring = replayed_ring(pinned, change=proof.change, warrant=proof.warrant)
    return WaitingRing(ring=ring, proof=proof, due_at_ms=item["due_at_ms"])
