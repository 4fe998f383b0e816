"""Reads the gateway's journal again, row by row and round by round, and holds it against the witness's copy.

The witness pulls each row once. Who edits the journal's file afterwards changes nothing that the witness holds, and
until somebody verifies the file, nobody knows. This reads what the gateway serves now, a chunk at a time, for ever.

Guarantees
- A row that is not what it was when it was witnessed is named, and is an alarm that halts.
- A row that the gateway cannot serve proves nothing: it is tried again, and the lease suffers from it elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from trade_journal.errors import ForkProven, JournalUnavailable
from trade_journal.log.verify import StoredRow
from trade_watchdog.gateway_link import ROWS_MAX
from trade_watchdog.intent_feed import CopyReading

CHUNK_ROWS: Final = ROWS_MAX


class RowSource(Protocol):
    """Where the gateway's rows come from."""

    async def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows. Raises GatewayUnavailable, GatewayRefused, GatewayAnswerInvalid."""
        ...


@dataclass(slots=True, kw_only=True)
class Recheck:
    """One round after the other over the rows of the copy. `open_copy` opens a view of it, or answers None."""

    source: RowSource
    open_copy: Callable[[], CopyReading | None]
    rounds: int = 0
    _next: int = 0

    async def step(self) -> None:
        """Compare the next chunk. Raises ForkProven with the first row that differs, and as the source and copy do."""
        copy = self.open_copy()
        if copy is None:
            raise JournalUnavailable("the copy of the gateway's journal is not open")
        kept = await asyncio.to_thread(self._kept, copy)
        if not kept:
            return
        served = await self.source.rows(self._next, len(kept))
        for ours, theirs in zip(kept, served, strict=False):
            if ours.body != theirs.body:
                raise ForkProven(f"row {ours.seq} of the gateway's journal is not what it was when it was witnessed")
        if len(served) < len(kept):
            gone = kept[len(served)].seq
            raise ForkProven(f"row {gone} of the gateway's journal was witnessed and is not there any more")
        self._next = kept[-1].seq + 1

    def _kept(self, copy: CopyReading) -> Sequence[StoredRow]:
        with contextlib.closing(copy):
            kept = copy.stored_rows(self._next, CHUNK_ROWS)
            if kept or not self._next:
                return kept
            self.rounds += 1
            self._next = 0
            return copy.stored_rows(0, CHUNK_ROWS)
