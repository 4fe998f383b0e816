"""What a person learned from a trade: written as a row through the shim's socket, and asked for when it is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from trade_core.clock import Clock
from trade_core.logs import neutralise
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Entry, RowKind
from trade_journal.trades.remark import RemarkRefused, checked_remark
from trade_journal.trades.shim_memory import MEMORY_FILE, ShimMemory
from trade_journal.trades.shim_settings import ShimSettings
from trade_journal.trades.trade_book import TradeBook, Unlearned
from trade_journal.writer.client import JournalClient
from trade_journal.writer.peers import Peer

_CONNECT_WITHIN_S: Final = 10.0
_TRADES_NAMED: Final = 5


async def write_lesson(settings: ShimSettings, *, trade_id: str, text: str, clock: Clock) -> int:
    """Make a lesson durable and give its row's number. Raises RemarkRefused, JournalError."""
    lesson = checked_remark(text, what="the lesson")
    async with _journal_and_book(settings, clock=clock) as (journal, book):
        known = book.trades.get(trade_id)
        if known is None:
            raise RemarkRefused(_unknown(trade_id, book))
        fields = {"trade_id": trade_id, "pair": known.pair, "lesson": lesson}
        entry = Entry(at_ns=clock.wall_ns(), kind=RowKind.SWING_TRADE_LESSON, actor=Peer.SHIM.value, fields=fields)
        return await journal.append(entry)


async def missing_lessons(settings: ShimSettings, *, clock: Clock) -> list[Unlearned]:
    """List the trades that ended more than a week ago and have no lesson. Raises JournalError."""
    async with _journal_and_book(settings, clock=clock) as (_, book):
        return book.unlearned(now_ns=clock.wall_ns())


def _unknown(trade_id: str, book: TradeBook) -> str:
    named = f"no trade {neutralise(trade_id, limit=40)!r} in the journal"
    if not book.trades:
        return f"{named}; it has none at all"
    return f"{named}; the last of its {len(book.trades)} are {', '.join(list(book.trades)[-_TRADES_NAMED:])}"


@asynccontextmanager
async def _journal_and_book(settings: ShimSettings, *, clock: Clock) -> AsyncIterator[tuple[JournalClient, TradeBook]]:
    memory = ShimMemory(settings.state_dir / MEMORY_FILE, origin=settings.origin)
    memory.load()  # the shim keeps it; here it only saves time
    journal = await JournalClient.open(
        settings.journal_socket,
        origin=settings.origin,
        clock=clock,
        peer=Peer.SHIM,
        within_s=_CONNECT_WITHIN_S,
    )
    try:
        await memory.catch_up(journal)
        yield journal, memory.book
    finally:
        with suppress(JournalUnavailable):
            await journal.close()
