"""The journal shim: follows the bot's own database and writes its trades into the gateway's journal.

Guarantees
- A trade's beginning, each change of what it holds, and its end are one row each, never two: what is missing is decided
  by what the journal has. After any failure of the journal the connection is given up, and the next one reads what
  became of the rows before anything is written.
- It only reads the bot's database, and nobody waits for it: neither its death nor its standing still touches an order.
- A database that cannot be read, and a trade that makes no sense or contradicts the journal, is told once in the log;
  the shim goes on with the rest.

It writes what the bot says of itself. Whoever owns the bot can write false theses.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ConfigurationError
from trade_journal.errors import JournalUnavailable, RowRefused
from trade_journal.log.rows import Entry
from trade_journal.trades.bot_database import BotDatabaseUnreadable, FileMark, Found, mark_of, read_trades
from trade_journal.trades.shim_memory import MEMORY_FILE, ShimMemory
from trade_journal.trades.shim_settings import ShimSettings
from trade_journal.trades.trade_book import News, TradeContradicts, Unlearned
from trade_journal.writer.client import JournalClient
from trade_journal.writer.peers import Peer

CONNECT_WITHIN_S: Final = 10.0
RETRY_EVERY_S: Final = 1.0
LOOK_THROUGH_EVERY_S: Final = 3600  # all trades, those too that ended long ago
REMIND_EVERY_S: Final = 24 * 3600
_TRADES_NAMED: Final = 20
_TOLD_MAX: Final = 1000
_LOCK_FILE: Final = "shim.lock"
log = logging.getLogger(__name__)


class Shim:
    """One bot's trades on their way into one journal."""

    def __init__(self, settings: ShimSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._memory = ShimMemory(settings.state_dir / MEMORY_FILE, origin=settings.origin)
        self._told: dict[str, str] = {}
        self._refused: set[str] = set()
        self._file: FileMark | None = None
        self._settled = 0  # trades up to this number have ended, and the journal has all of them
        self._looked_through_at_ns: int | None = None
        self._reminded_at_ns: int | None = None

    async def run(self) -> None:
        """Follow the bot until cancelled. Raises JournalRefused when the writer will never let us in."""
        with _alone(self._settings.state_dir):
            self._memory.load()
            while True:
                try:
                    await self._session()
                except JournalUnavailable as error:
                    self._tell("journal", f"the journal cannot be written, trades wait: {error}")
                await asyncio.sleep(RETRY_EVERY_S)

    async def _session(self) -> None:
        """Write through one connection until it fails. Raises JournalUnavailable."""
        journal = await JournalClient.open(
            self._settings.journal_socket,
            origin=self._settings.origin,
            clock=self._clock,
            peer=Peer.SHIM,
            within_s=CONNECT_WITHIN_S,
        )
        try:
            await self._catch_up(journal)
            self._untell("journal", "trades are written into the journal")
            while True:
                await self._round(journal)
                await self._remind(journal)
                await asyncio.sleep(self._settings.poll_every_s)
        finally:
            # What it hands over is awaited, so nothing can be left; and the next connection reads what became of it.
            with suppress(JournalUnavailable):
                await journal.close()

    async def _catch_up(self, journal: JournalClient) -> None:
        await self._memory.catch_up(journal)
        await asyncio.to_thread(self._memory.save)

    async def _round(self, journal: JournalClient) -> None:
        """Read the bot's database once, and write what is news."""
        path = self._settings.bot_database
        is_all = self._is_look_through_due()
        try:
            mark = await asyncio.to_thread(mark_of, path)
            if self._file is None or not mark.is_same_file(self._file):
                is_all = True
            found = await asyncio.to_thread(read_trades, path, settled=0 if is_all else self._settled)
        except BotDatabaseUnreadable as error:
            self._tell("database", f"the bot's database cannot be followed: {error}")
            return
        self._untell("database", f"following {path}")
        for one in found:
            await self._write(journal, self._news(one))
        self._settle(found, is_all=is_all)
        self._note_vanished(found, is_all=is_all)
        self._file = mark
        if is_all:
            self._looked_through_at_ns = self._clock.monotonic_ns()

    def _is_look_through_due(self) -> bool:
        at_ns = self._looked_through_at_ns
        return at_ns is None or self._clock.monotonic_ns() - at_ns >= LOOK_THROUGH_EVERY_S * NS_PER_S

    def _news(self, found: Found) -> News:
        trade_id = self._trade_id(found.number)
        if found.odd:
            self._tell(f"trade {trade_id}", f"trade {trade_id} of the bot makes no sense and is left out: {found.odd}")
            return []
        if found.trade is None or trade_id in self._refused:
            return []
        try:
            news = self._memory.book.news(trade_id, found.trade)
        except TradeContradicts as error:
            self._tell(f"trade {trade_id}", str(error))
            return []
        self._told.pop(f"trade {trade_id}", None)
        return news

    async def _write(self, journal: JournalClient, news: News) -> None:
        """Make the rows of one trade durable together. Raises JournalUnavailable."""
        if not news:
            return
        at_ns = self._clock.wall_ns()
        entries = [Entry(at_ns=at_ns, kind=kind, actor=Peer.SHIM.value, fields=fields) for kind, fields in news]
        trade_id = str(news[0][1]["trade_id"])
        try:
            await journal.append_many(entries)
        except RowRefused as error:
            self._refused.add(trade_id)
            log.error("trade %s cannot be written, which is a defect: %s", trade_id, error)
            return
        for kind, fields in news:
            self._memory.book.feed(kind, fields)
            log.info("%s %s %s", kind.value, trade_id, fields["pair"])

    def _settle(self, found: Sequence[Found], *, is_all: bool) -> None:
        """Learn which trades need not be read again until the next look through all of them."""
        book = self._memory.book.trades
        unsettled = [
            one.number
            for one in found
            if (known := book.get(self._trade_id(one.number))) is None or known.closed_at_ns is None
        ]
        highest = max((one.number for one in found), default=0)
        reached = min(unsettled) - 1 if unsettled else highest
        self._settled = reached if is_all else max(self._settled, reached)

    def _note_vanished(self, found: Sequence[Found], *, is_all: bool) -> None:
        """Tell of trades that only the journal has any more: open ones at once, others at a look through all."""
        seen = {self._trade_id(one.number) for one in found}
        book = self._memory.book
        asked = list(book.trades) if is_all else book.open_trades()
        for trade_id in asked:
            if trade_id not in seen and self._is_of_this_database(trade_id):
                known = book.trades[trade_id]
                state = "open" if known.closed_at_ns is None else "closed"
                self._tell(
                    f"trade {trade_id}",
                    f"trade {trade_id} ({known.pair}), {state} in the journal, is not in the bot's database any more",
                )

    def _trade_id(self, number: int) -> str:
        prefix = self._settings.trade_prefix
        return f"{prefix}-{number}" if prefix else str(number)

    def _is_of_this_database(self, trade_id: str) -> bool:
        prefix, _, number = trade_id.rpartition("-")
        return prefix == self._settings.trade_prefix and number.isdigit()

    async def _remind(self, journal: JournalClient) -> None:
        """At the start and once a day: name the trades without a lesson. Raises JournalUnavailable."""
        now_ns = self._clock.monotonic_ns()
        if self._reminded_at_ns is not None:
            if now_ns - self._reminded_at_ns < REMIND_EVERY_S * NS_PER_S:
                return
            await self._catch_up(journal)  # lessons are written by another process
        self._reminded_at_ns = now_ns
        unlearned = self._memory.book.unlearned(now_ns=self._clock.wall_ns())
        if unlearned:
            log.warning("%s", unlearned_text(unlearned))

    def _tell(self, about: str, text: str) -> None:
        """Say something once, until it is something else."""
        if self._told.get(about) != text:
            if len(self._told) >= _TOLD_MAX:
                self._told.clear()
            self._told[about] = text
            log.warning("%s", text)

    def _untell(self, about: str, text: str) -> None:
        """Say that all is well again, or for the first time."""
        if self._told.get(about) != "":
            self._told[about] = ""
            log.info("%s", text)


def unlearned_text(unlearned: Sequence[Unlearned]) -> str:
    """Say in one line which trades have no lesson."""
    named = ", ".join(
        f"{one.trade_id} ({one.pair}, closed {datetime.fromtimestamp(one.closed_at_ns // NS_PER_S, tz=UTC):%Y-%m-%d})"
        for one in unlearned[:_TRADES_NAMED]
    )
    more = "" if len(unlearned) <= _TRADES_NAMED else f" and {len(unlearned) - _TRADES_NAMED} more"
    return f"{len(unlearned)} trades closed more than a week ago have no lesson: {named}{more}"


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Be the only shim of a folder, until the process ends, however it ends. Raises ConfigurationError."""
    path = state_dir / _LOCK_FILE
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be made (setting state_dir): {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise ConfigurationError(f"{path}: another shim runs with this state_dir") from error
    try:
        yield
    finally:
        os.close(lock)
