"""What the shim knows of the journal: read from it, and kept in a file so that a start does not read all of it again.

The journal wins. The file says up to which row it was read and what that row's hash is; when the journal has another
row there, or none, or the file is not whole, everything is read again from the first row.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from trade_core.secrets import write_atomically
from trade_journal.log.rows import parse_row
from trade_journal.trades.trade_book import TRADE_KINDS, KnownTrade, TradeBook
from trade_journal.writer.client import JournalClient

MEMORY_FILE: Final = "trades.json"
_FILE_MODE: Final = 0o600
_PAGE_ROWS: Final = 512
_BYTES_MAX: Final = 256 * 1024 * 1024
# Of the rows that are read, few are of trades: those that cannot be are not even parsed.
_MARK: Final = b'"kind":"swing_trade:'
log = logging.getLogger(__name__)


class _Kept(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    origin: str
    next_seq: int
    last_leaf_hash: str
    trades: dict[str, KnownTrade]


class ShimMemory:
    """The trades of one journal, and how far it was read. `file` is where that is kept."""

    def __init__(self, file: Path, *, origin: str) -> None:
        self._file = file
        self._origin = origin
        self.book = TradeBook()
        self._next_seq = 0
        self._last_leaf_hash = ""

    def load(self) -> None:
        """Take up what was kept; nothing, with a line in the log, when it cannot be used."""
        try:
            if self._file.stat().st_size > _BYTES_MAX:
                raise ValueError("too large")
            kept = msgspec.json.decode(self._file.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            log.warning("%s: not usable (%s); the journal is read from its first row", self._file, type(error).__name__)
            return
        if kept.origin == self._origin and kept.next_seq > 0:
            self.book = TradeBook(kept.trades)
            self._next_seq, self._last_leaf_hash = kept.next_seq, kept.last_leaf_hash

    def save(self) -> None:
        """Keep it for the next start. A failure costs that start its time, and nothing else."""
        kept = _Kept(
            origin=self._origin,
            next_seq=self._next_seq,
            last_leaf_hash=self._last_leaf_hash,
            trades=self.book.trades,
        )
        try:
            write_atomically(self._file, msgspec.json.encode(kept), mode=_FILE_MODE)
        except OSError as error:
            log.warning("%s: cannot be kept: %s", self._file, error.strerror)

    async def catch_up(self, journal: JournalClient) -> None:
        """Read what the journal has that we do not know. Raises JournalUnavailable, JournalDamaged."""
        if not await self._is_still_there(journal):
            log.warning("the journal is not as it was known; it is read from its first row")
            self.book = TradeBook()
            self._next_seq, self._last_leaf_hash = 0, ""
        while page := await journal.stored(self._next_seq, _PAGE_ROWS):
            for stored in page:
                if _MARK in stored.body:
                    row = parse_row(stored.body)
                    if row.kind in TRADE_KINDS:
                        self.book.feed(row.kind, row.fields)
            self._next_seq = page[-1].seq + 1
            self._last_leaf_hash = page[-1].leaf_hash.hex()

    async def _is_still_there(self, journal: JournalClient) -> bool:
        if self._next_seq == 0:
            return True
        last = await journal.stored(self._next_seq - 1, 1)
        return bool(last) and last[0].leaf_hash.hex() == self._last_leaf_hash
