"""Keeps the key ring of one process: its book on disk, and the ceremony by which the next ring takes its place.

Guarantees
- A ring counts once its row is durable and the book is on disk, in that order: if we crash between them, the row says
  what was ordered, the ring before still counts, and the same offer is taken again.
- The counters of a warrant are on disk before it is carried out, so that no restart forgets that a key was seen.
- A ring that waits survives restarts, and is cancelled by any security key of the ring that counts.
- What is refused is a row, with its reason, and changes nothing.

Each process has its own, and believes nobody else's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from trade_core.clock import NS_PER_MS, Clock
from trade_core.errors import ConfigurationError
from trade_core.secrets import write_atomically
from trade_core.trust.keys import NotTrusted, decode_base64
from trade_core.trust.one_form import canonical_object
from trade_core.trust.ring import KeyRing, read_ring, ring_hash
from trade_core.trust.ring_book import Change, RingBook, parse_ring_book
from trade_core.trust.sign_counters import SignCounters
from trade_core.trust.signed_warrant import SignedWarrant
from trade_core.trust.succession import MAX_OFFER_BYTES, RingOffer, check_cancel, open_ring_offer, replayed_ring
from trade_core.trust.warrant import WarrantPurpose

BOOK_FILE: Final = "rings.json"
_MAX_BOOK_BYTES: Final = 2 * 1024 * 1024
_PART_CHARACTERS: Final = 512
Record = Callable[[str, Mapping[str, Any]], Awaitable[bool]]
"""Writes a row of a kind `ring:...`; True once it is durable."""
log = logging.getLogger(__name__)


class RingKeeper:
    """The rings of one process. `on_ring` is called with each ring that begins to count."""

    def __init__(
        self,
        *,
        folder: Path,
        first: KeyRing,
        record: Record,
        clock: Clock,
        is_clock_trusted: Callable[[], bool],
        on_ring: Callable[[KeyRing], None] = lambda _: None,
    ) -> None:
        """Read the book in a folder, and prove it from the ring pinned first. Raises ConfigurationError."""
        self._path = folder / BOOK_FILE
        self._record = record
        self._clock = clock
        self._is_clock_trusted = is_clock_trusted
        self.on_ring = on_ring
        self._changing = asyncio.Lock()
        self.book = _read_book(self._path, first=first)

    @property
    def ring(self) -> KeyRing:
        """The ring that counts."""
        return self.book.ring

    def check_counters(self, signed: SignedWarrant) -> tuple[str, ...]:
        """Judge a warrant's counters and keep them. Raises NotTrusted; of a kill, answers the keys to alarm with."""
        suspects = self.book.counters.check(signed)
        try:
            self._keep(self.book.touched(signed))
        except NotTrusted as error:
            if signed.warrant.purpose != WarrantPurpose.KILL.value:
                raise
            log.error("a kill goes on although its counters cannot be kept: %s", error)
        return suspects

    async def accept(self, raw: bytes) -> dict[str, Any]:
        """Take a ring offer, or the warrant that cancels the one that waits. Raises NotTrusted, after a row."""
        try:
            async with self._changing:
                if "change" in canonical_object(raw, what="ring offer", most_bytes=MAX_OFFER_BYTES):
                    return await self._take(raw)
                return await self._cancel(raw)
        except NotTrusted as error:
            await self._record("ring:refused", {"reason": str(error)[:200]})
            log.warning("key ring refused: %s", error)
            raise

    async def _take(self, raw: bytes) -> dict[str, Any]:
        now_ms = self._clock.wall_ns() // NS_PER_MS
        offer = open_ring_offer(raw, pinned=self.ring, now_ms=now_ms, is_clock_trusted=self._is_clock_trusted())
        waiting = self.book.waiting
        if offer.wait_ms and waiting is not None:
            raise NotTrusted("ring offer: another ring waits already; cancel it first")
        self.check_counters(offer.signed)
        proof = Change(change=offer.change, warrant=offer.warrant)
        if not offer.wait_ms:
            await self._change(offer.ring, proof, words=offer.signed.warrant.words)
            return {"ring_hash": ring_hash(self.ring), "version": self.ring.version, "takes_effect_in_s": 0}
        await self._announce(offer, proof, now_ms=now_ms)
        return {
            "ring_hash": ring_hash(self.ring),
            "version": self.ring.version,
            "takes_effect_in_s": offer.wait_ms // 1000,
        }

    async def _announce(self, offer: RingOffer, proof: Change, *, now_ms: int) -> None:
        fields = _fields(self.ring, offer.ring, proof, words=offer.signed.warrant.words)
        if not await self._record("ring:announced", {**fields, "wait_ms": offer.wait_ms}):
            raise NotTrusted("ring offer: it cannot be announced while the journal cannot be written")
        self._keep(self.book.announcing(offer, now_ms=now_ms))
        log.warning("another key ring counts in %d h unless it is cancelled", offer.wait_ms // 3_600_000)

    async def _change(self, ring: KeyRing, proof: Change, *, words: str) -> None:
        if not await self._record("ring:changed", _fields(self.ring, ring, proof, words=words)):
            raise NotTrusted("ring offer: it cannot be taken while the journal cannot be written")
        self._keep(self.book.taking(ring, proof))
        log.warning("key ring version %d counts, with %d security keys", ring.version, len(ring.credentials))
        self.on_ring(ring)

    async def _cancel(self, raw: bytes) -> dict[str, Any]:
        waiting = self.book.waiting
        if waiting is None:
            raise NotTrusted("ring offer: no ring waits that could be cancelled")
        signed = check_cancel(
            raw,
            pinned=self.ring,
            offered=waiting.ring,
            now_ms=self._clock.wall_ns() // NS_PER_MS,
            is_clock_trusted=self._is_clock_trusted(),
        )
        self.check_counters(signed)
        fields = {"new_hash": ring_hash(waiting.ring), "reason": signed.warrant.words, "by": "warrant"}
        self._keep(self.book.cancelling())  # first: what was cancelled must not come back for want of a row
        await self._record("ring:voided", fields)
        log.warning("the key ring that waited is cancelled: %s", signed.warrant.words)
        return {"ring_hash": ring_hash(self.ring), "version": self.ring.version, "takes_effect_in_s": None}

    async def work(self) -> None:
        """Let a ring count that has waited long enough, by a clock that is trusted."""
        async with self._changing:
            due = self.book.due(now_ms=self._clock.wall_ns() // NS_PER_MS)
            if due is None or not self._is_clock_trusted():
                return
            try:
                await self._change(due.ring, due.proof, words="its wait is over")
            except NotTrusted as error:
                log.warning("the key ring that waited does not count yet: %s", error)

    def recover(self, fields: Mapping[str, Any]) -> KeyRing | None:
        """Take a ring whose row is durable, where we crashed before the book was; None unless the row proves it."""
        try:
            proof = Change(change=_joined(fields, "change"), warrant=_joined(fields, "warrant"))
            ring = replayed_ring(self.ring, change=proof.change, warrant=proof.warrant)
            self._keep(self.book.taking(ring, proof))
        except NotTrusted as error:
            log.warning("a key ring in the journal is not believed: %s", error)
            return None
        return ring

    def describe(self) -> dict[str, Any]:
        """Say what counts and what waits, in plain values."""
        waiting = self.book.waiting
        now_ms = self._clock.wall_ns() // NS_PER_MS
        return {
            "version": self.ring.version,
            "hash": ring_hash(self.ring),
            "credentials": [
                {"label": one.label, "aaguid": one.aaguid, "added_at_ms": one.added_at_ms}
                for one in self.ring.credentials
            ],
            "waiting": None
            if waiting is None
            else {
                "hash": ring_hash(waiting.ring),
                "in_s": max(0, waiting.due_at_ms - now_ms) // 1000,
                "change": base64.b64encode(waiting.proof.change).decode("ascii"),
            },
        }

    def _keep(self, book: RingBook) -> None:
        try:
            write_atomically(self._path, json.dumps(book.content(), indent=1).encode() + b"\n", mode=0o600)
        except OSError as error:
            raise NotTrusted(f"{self._path}: cannot be written ({error.strerror}), so nothing new counts") from None
        self.book = book


def published_rings(book: RingBook, *, beside: Path) -> None:
    """Write the proofs of a book beside the ring file, for commands that draft warrants. Raises OSError."""
    content = replace(book, counters=SignCounters(), waiting=None).content()
    write_atomically(beside.with_name(BOOK_FILE), json.dumps(content, indent=1).encode() + b"\n", mode=0o644)


def current_ring(ring_file: Path) -> KeyRing:
    """Read the ring that counts, as its gateway published it. Raises NotTrusted, ConfigurationError."""
    return _read_book(ring_file.with_name(BOOK_FILE), first=read_ring(ring_file)).ring


def row_parts(raw: bytes) -> list[str]:
    """Cut bytes into texts that a row may hold."""
    text = base64.b64encode(raw).decode("ascii")
    return [text[start : start + _PART_CHARACTERS] for start in range(0, len(text), _PART_CHARACTERS)]


def _joined(fields: Mapping[str, Any], name: str) -> bytes:
    parts = fields.get(name)
    if not isinstance(parts, list | tuple):
        raise NotTrusted(f"{name} is not there")
    return decode_base64("".join(str(part) for part in parts), length=None, what=name)


def _fields(before: KeyRing, after: KeyRing, proof: Change, *, words: str) -> dict[str, Any]:
    return {
        "old_hash": ring_hash(before),
        "new_hash": ring_hash(after),
        "version": after.version,
        "words": words,
        "labels": [credential.label for credential in after.credentials],
        "change": row_parts(proof.change),
        "warrant": row_parts(proof.warrant),
    }


def _read_book(path: Path, *, first: KeyRing) -> RingBook:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return RingBook(rings=(first,))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if len(raw) > _MAX_BOOK_BYTES:
            raise NotTrusted("ring book: too long")
        return parse_ring_book(json.loads(raw), first=first)
    except (NotTrusted, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: does not prove the key ring: {error}") from None
