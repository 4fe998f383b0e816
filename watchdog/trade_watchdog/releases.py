"""Reads in the gateway's journal what concerns the ladder: releases, and what the gateway was told of earlier peaks.

Guarantees
- A release counts when its row holds a warrant that a security key of the ring touched, for this deployment,
  environment, account and ring, whose subject names the last row before it that latched HALTED or KILLED. After KILLED,
  and where it re-bases the high-water mark, by two different keys. So none counts twice, and none that was meant for
  another halt. Its words must say what a release of that latch needs (`release_terms`), no killed key among it.
- Rows are read from the witness's copy, in order and once: `position` outlives the process with the rest of the memory.
- Of what the gateway was told, the last row read counts. It can only raise peaks, so that an owned gateway that writes
  false ones brings a halt nearer and never further away.

Whether the warrant was in time is judged by the gateway, which alone is there when it is handed in.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trade_core.errors import InvalidNumber
from trade_core.money import parse_decimal
from trade_core.trust.keys import NotTrusted
from trade_core.trust.policy_warrant import AUDIENCE
from trade_core.trust.release_subject import HIGH_WATER, parse_release_subject
from trade_core.trust.release_terms import KILLED, check_release_terms, killed_keys_of
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import check_order, open_warrant, require_two_keys
from trade_core.trust.warrant import WarrantPurpose
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import Checkpoint, read_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.rows import Row, RowKind, parse_row
from trade_journal.log.verify import StoredRow
from trade_watchdog.intent_feed import CopyReading
from trade_watchdog.ladder import Rung

PAGE_ROWS: Final = 500
PAGES_AT_ONCE: Final = 200  # of a lease: a gateway that writes 20,000 rows a second is kept up with
LATCH_HOLDER: Final = "operator_latch"
_MARKS: Final = (b'"kind":"state:changed"', b'"kind":"watchdog:remembered"')
_HALTED: Final = "HALTED"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far the gateway's journal was read: the next row, and the last that latched unless released; -1 for none."""

    rows: int = 0
    latch: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a lease once told the gateway: how many rows the journal of its holder had, its checkpoint, and the peaks.

    `checkpoint` is None in rows of before leases named one.
    """

    rows: int
    peaks: Mapping[Rung, Decimal]
    holder: str = ""
    checkpoint: Checkpoint | None = None


class Releases:
    """Reads on in one gateway's journal. One `read_on` at a time."""

    def __init__(self, *, ring: KeyRing, open_copy: Callable[[], CopyReading | None], position: Position) -> None:
        """Prepare; `open_copy` opens a view of the witness's copy."""
        self._ring = ring
        self._open_copy = open_copy
        self.position = position
        self.told: Told | None = None
        self.high_water: bytes = b""
        """The last release read that re-bases the high-water mark, as it was signed; empty for none."""
        self.is_at_end = False

    def adopt_ring(self, ring: KeyRing) -> None:
        """Believe releases under another ring from now on."""
        self._ring = ring

    async def read_on(self) -> tuple[Rung, ...]:
        """Read what is new, a bounded stretch at a time; answers the rungs that releases in it re-base.

        Raises JournalError when the copy cannot be read.
        """
        copy = self._open_copy()
        return () if copy is None else await asyncio.to_thread(self._read_on, copy)

    def _read_on(self, copy: CopyReading) -> tuple[Rung, ...]:
        rungs: list[Rung] = []
        self.is_at_end = False
        with contextlib.closing(copy):
            for _ in range(PAGES_AT_ONCE):
                page = copy.stored_rows(self.position.rows, PAGE_ROWS)
                rungs += self._taken(page, copy)
                if len(page) < PAGE_ROWS:
                    self.is_at_end = True
                    break
        return tuple(rungs)

    def _taken(self, page: Sequence[StoredRow], copy: CopyReading) -> list[Rung]:
        rungs: list[Rung] = []
        latch = self.position.latch
        for stored in page:
            if not any(mark in stored.body for mark in _MARKS):
                continue
            row = parse_row(stored.body)
            if row.kind is RowKind.WATCHDOG_REMEMBERED:
                self.told = _told(row)
            if row.kind is not RowKind.STATE_CHANGED or row.fields.get("holder") != LATCH_HOLDER:
                continue
            if row.fields.get("ceiling") in (_HALTED, KILLED):
                latch = row.seq
            elif latch >= 0 and (released := self._released(row, latch, copy)) is not None:
                rungs += released
                latch = -1
        if page:
            self.position = Position(rows=page[-1].seq + 1, latch=latch)
        return rungs

    def _released(self, row: Row, latch: int, copy: CopyReading) -> list[Rung] | None:
        """Return the rungs that a row's warrant re-bases; None when it releases nothing."""
        try:
            raw = _warrant_in(row)
            signed = open_warrant(raw, ring=self._ring)
            subject = parse_release_subject(signed.warrant.subject)
            check_order(signed, purpose=WarrantPurpose.RELEASE, audience=AUDIENCE, subject=signed.warrant.subject)
            latched = parse_row(copy.stored_rows(latch, 1)[0].body).fields
            ceiling = str(latched.get("ceiling"))
            if ceiling == KILLED or HIGH_WATER in subject.rungs:
                require_two_keys(signed)
            check_release_terms(signed.warrant.words, ceiling=ceiling, killed_keys=killed_keys_of(latched))
        except NotTrusted as error:
            _log.error("row %d of the gateway's journal says released, and is not believed: %s", row.seq, error)
            return None
        if subject.sequence != latch:
            _log.error("row %d of the gateway's journal releases another latch than %d", row.seq, latch)
            return None
        if HIGH_WATER in subject.rungs:
            self.high_water = raw
        return [Rung(name) for name in subject.rungs]


def _warrant_in(row: Row) -> bytes:
    parts = row.fields.get("warrant")
    if not isinstance(parts, list | tuple):
        raise NotTrusted("it holds no warrant")
    try:
        return base64.b64decode("".join(str(part) for part in parts), validate=True)
    except ValueError:
        raise NotTrusted("its warrant is not base64") from None


def _told(row: Row) -> Told | None:
    """Read what was told; None, and an error in the log, for a row that does not say what it must."""
    rows, peaks, note = row.fields.get("rows"), row.fields.get("peaks"), row.fields.get("memory_checkpoint")
    try:
        if type(rows) is not int or not isinstance(peaks, Mapping):
            raise TypeError
        return Told(
            rows=rows,
            peaks={Rung(name): parse_decimal(str(price)) for name, price in peaks.items()},
            holder=str(row.fields.get("holder", "")),
            checkpoint=None if note is None else read_checkpoint(parse_note(str(note).encode())),
        )
    except (ValueError, TypeError, InvalidNumber, NoteRefused):
        _log.error("row %d of the gateway's journal does not say what the watchdog remembered", row.seq)
        return None
