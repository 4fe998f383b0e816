"""A journal whose writer is another process: the same promises as `JournalWriter`, over its Unix socket.

Guarantees
- ``append`` answers a number only after the writer has said that the row is durable. Any other end means "not known".
- When the connection dies, rows in flight are doubtful: who waits is told so at once, and what became of them once the
  writer is back and the rows have been read. They are known again by their bytes, which are all that a row is.
- Rows handed over with ``append_later`` are kept in memory, within the bound of `peers`, until the writer has said that
  they are durable; they are handed over again after a failure or a reconnection, never twice.
- A writer that is dead, silent, or cannot write makes ``is_writable`` false, and everything that waits is refused at
  once; what the emergency segment serves is still handed to a writer that lives. It heals by itself.
- Rows under our name that we did not write end the connection for good where a peer is one process (the gateway): two
  of them on one journal know nothing of each other's orders.

What is handed over in one turn of the event loop is one write, and rows that nobody waits for and that no other row
comes between are one message. The writer checks rows: a row of a bad shape that nobody waits for is told in the log,
since it is a defect of ours.

The rows under way are in `rows_in_flight`, the connection in `link`, what is asked in `questions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final, TypeVar, assert_never

from trade_core.clock import Clock
from trade_journal.errors import JournalUnavailable
from trade_journal.log.checkpoint import Checkpoint
from trade_journal.log.row_check import checked_row
from trade_journal.log.rows import Entry, Row
from trade_journal.log.verify import StoredRow
from trade_journal.writer.emergency import serves
from trade_journal.writer.frames import (
    ROWS_MAX,
    AskCheckpoint,
    AskRows,
    AskSigned,
    Failed,
    Fate,
    FoundRows,
    KeepCosigned,
    Request,
    SignedNote,
    Status,
    WasSigned,
    Welcome,
    Written,
    framed,
)
from trade_journal.writer.link import Link, Said
from trade_journal.writer.peers import Peer
from trade_journal.writer.questions import Questions
from trade_journal.writer.rows_in_flight import WRITTEN_WITHIN_S, RowsInFlight

ANSWERED_WITHIN_S: Final = 10.0  # a page of rows
CLOSE_WITHIN_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.25
_PAGE: Final = 512
_NOT_STARTED: Final = Status(
    size=0,
    witnessed_size=0,
    is_writable=False,
    emergency_rows=0,
    commits_total=0,
    failures_total=0,
    foreign_writes=0,
    last_failure="",
)
_G = TypeVar("_G")


class JournalClient:
    """One journal, written into from one event loop through one connection. Made by `open`, ended by `close`."""

    def __init__(self, *, socket: Path, origin: str, peer: Peer, clock: Clock) -> None:
        """Use `open` instead: it returns once the writer has let us in."""
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)  # of what is handed over and asked
        self._questions = Questions()
        self._rows = RowsInFlight(
            peer=peer, clock=clock, numbers=self._numbers, send=self._send, may_send=self._is_writing
        )
        self._link = Link(
            socket=socket,
            origin=origin,
            hear=self._hear,
            catch_up=self._catch_up,
            on_connected=self._resume,
            on_lost=self._lose,
        )
        self._status = _NOT_STARTED
        self._cosigned = b""
        self._is_closing = False
        self._out: list[bytes] = []  # of this turn of the loop
        self._is_flush_due = False
        self._looking = self._loop.call_later(_LOOK_EVERY_S, self._look)

    @classmethod
    async def open(
        cls, socket: Path, *, origin: str, clock: Clock, peer: Peer = Peer.GATEWAY, within_s: float = 30.0
    ) -> JournalClient:
        """Connect to the writer of the journal `origin`, and return once it has let us in.

        Raises JournalRefused when it never will (another journal, another user), JournalUnavailable when it has not
        within `within_s`.
        """
        client = cls(socket=socket, origin=origin, peer=peer, clock=clock)
        try:
            async with asyncio.timeout(within_s):
                await asyncio.shield(client._link.opened)
        except TimeoutError:
            await client._end_at_once()
            raise JournalUnavailable(f"no journal writer within {within_s:g} s: {client._link.why_not}") from None
        except BaseException:
            await client._end_at_once()
            raise
        return client

    @property
    def size(self) -> int:
        """Count the rows that are durable in the journal, as the writer said last."""
        return self._status.size

    @property
    def witnessed_size(self) -> int:
        """Count the rows under the last cosigned checkpoint that is kept, as the writer said last."""
        return self._status.witnessed_size

    @property
    def emergency_rows(self) -> int:
        """Count the rows that are durable in the emergency segment only, as the writer said last."""
        return self._status.emergency_rows

    @property
    def commits_total(self) -> int:
        """Count the commits of the writer's run, of all its peers."""
        return self._status.commits_total

    @property
    def failures_total(self) -> int:
        """Count the failed commits of the writer's run."""
        return self._status.failures_total

    @property
    def foreign_writes(self) -> int:
        """Count how often the writer's run found that somebody else had written to the journal."""
        return self._status.foreign_writes

    @property
    def last_failure(self) -> str:
        """Say why rows cannot be written, or what the writer's last failure was."""
        return self._status.last_failure if self._link.is_living else self._link.why_not

    @property
    def is_writable(self) -> bool:
        """Say whether a row handed over now can be expected to become durable in time."""
        return self._is_writing() and not self._is_closing

    @property
    def pending(self) -> int:
        """Count the rows handed over and not yet known to be durable."""
        return self._rows.pending

    async def append(self, entry: Entry) -> int:
        """Make one row durable and answer its sequence number. Raises RowRefused, JournalUnavailable, JournalFull."""
        return await self._durable((entry,))

    async def append_many(self, entries: Sequence[Entry]) -> list[int]:
        """Make rows durable together, all or none. Raises RowRefused, JournalUnavailable, JournalFull."""
        if not 0 < len(entries) <= ROWS_MAX:
            raise ValueError(f"append_many takes 1 to {ROWS_MAX} rows, not {len(entries)}")
        first = await self._durable(tuple(entries))
        return list(range(first, first + len(entries)))

    def append_later(self, entry: Entry) -> None:
        """Hand over a row that is committed soon, and kept through failures. Raises JournalFull, JournalUnavailable."""
        if self._is_closing:
            raise JournalUnavailable("the journal is closing", cause="closing")
        self._rows.hand_over_later(entry)
        self._flush_soon()

    async def checkpoint(self) -> bytes:
        """Sign and keep a checkpoint over every row handed over so far. Raises JournalUnavailable."""
        if not self.is_writable:
            raise JournalUnavailable(f"not writable: {self.last_failure}")
        return await self._asked(lambda number: AskCheckpoint(number=number), within_s=WRITTEN_WITHIN_S + 1, kind=bytes)

    def keep_cosigned(self, note: bytes) -> None:
        """Hand over a checkpoint that was verified with its cosignature; the last one counts."""
        self._cosigned = note
        if self._link.is_connected:
            self._send(framed(KeepCosigned(note=note)))

    async def has_signed(self, note: Checkpoint) -> bool:
        """Tell whether this journal ever gave out a checkpoint of this size and root. Raises JournalUnavailable."""
        self._refuse_when_unreachable()
        return await self._asked(
            lambda number: AskSigned(number=number, size=note.size, root=note.root),
            within_s=ANSWERED_WITHIN_S,
            kind=bool,
        )

    async def read(self, from_seq: int, limit: int) -> list[Row]:
        """Read durable rows in order, at most READ_ROWS_MAX. Raises JournalDamaged, JournalUnavailable."""
        return [checked_row(row, seq=from_seq + index) for index, row in enumerate(await self.stored(from_seq, limit))]

    async def stored(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read durable rows as they lie there, at most READ_ROWS_MAX. Raises JournalUnavailable."""
        self._refuse_when_unreachable()
        return await self._page(from_seq, limit)

    async def close(self) -> None:
        """Let what is pending become durable, within CLOSE_WITHIN_S, and end. Can be called twice.

        Raises JournalUnavailable when rows that nobody waits for are not known to be durable: they are lost with us.
        """
        self._is_closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                while self.pending and self._link.is_connected:
                    await self._rows.next_change()
        await self._end_at_once()
        if self.pending:
            raise JournalUnavailable(f"{self.pending} rows could not be written: {self.last_failure}")

    async def _durable(self, entries: Sequence[Entry]) -> int:
        self._refuse_when_unwritable(entries)
        return await self._rows.hand_over(entries)

    def _refuse_when_unwritable(self, entries: Sequence[Entry]) -> None:
        if self._is_closing:
            raise JournalUnavailable("the journal is closing", cause="closing")
        if self.is_writable or (self._link.is_living and len(entries) == 1 and serves(entries[0])):
            return
        raise JournalUnavailable(f"not writable: {self.last_failure}")

    def _is_writing(self) -> bool:
        return self._link.is_living and self._status.is_writable

    def _refuse_when_unreachable(self) -> None:
        if not self._link.is_connected:
            raise JournalUnavailable(f"the journal cannot be asked: {self._link.why_not}")

    async def _page(self, from_seq: int, limit: int) -> list[StoredRow]:
        rows: list[StoredRow] = await self._asked(
            lambda number: AskRows(number=number, from_seq=from_seq, limit=limit),
            within_s=ANSWERED_WITHIN_S,
            kind=list,
        )
        return rows

    async def _asked(self, question: Callable[[int], Request], *, within_s: float, kind: type[_G]) -> _G:
        self._rows.end_turn()  # a checkpoint is over its rows too
        number = next(self._numbers)
        return await self._questions.answer_to(
            number, send=lambda: self._send(framed(question(number))), within_s=within_s, kind=kind
        )

    # What is sent in one turn of the loop goes out together.

    def _send(self, frame: bytes) -> None:
        self._out.append(frame)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        self._rows.end_turn()
        frames, self._out = self._out, []
        self._link.write(b"".join(frames))

    # What comes over the link.

    def _hear(self, answer: Said) -> None:
        match answer:
            case Written():
                for number, seq in answer.pairs:
                    self._rows.written(number, seq)
            case Status():
                self._status = answer
                self._rows.send_what_was_kept()
            case Failed():
                if not self._questions.fail(answer):
                    self._rows.failed(answer)
            case Fate():
                self._rows.decided(answer)
            case FoundRows():
                rows = [StoredRow(seq=seq, body=body, leaf_hash=leaf) for seq, body, leaf in answer.rows]
                self._questions.answer(answer.number, rows)
            case SignedNote():
                self._questions.answer(answer.number, answer.note)
            case WasSigned():
                self._questions.answer(answer.number, answer.is_signed)
            case _:
                assert_never(answer)

    async def _catch_up(self, greeting: Welcome) -> None:
        """Read the rows since the last answer, and learn from them what became of what was in flight."""
        if self._link.opened.done():
            self._rows.learn(await self._rows_since(self._rows.end))
        else:
            # Whatever is there now was there before us, the last moment's rows included.
            self._rows.end = greeting.end + len(await self._rows_since(greeting.end))

    async def _rows_since(self, from_seq: int) -> list[StoredRow]:
        rows: list[StoredRow] = []
        while True:
            page = await self._page(from_seq + len(rows), _PAGE)
            rows += page
            if not page:
                return rows

    def _resume(self) -> None:
        if self._cosigned:
            self._send(framed(KeepCosigned(note=self._cosigned)))
        self._rows.send_what_was_kept()

    def _lose(self) -> None:
        """Doubt what was in flight, and fail who asked."""
        self._out.clear()
        self._questions.fail_all(self._link.why_not)
        self._rows.doubt_all(self._link.why_not)

    def _look(self) -> None:
        """Count the time without a word, and let nobody wait too long."""
        self._looking = self._loop.call_later(_LOOK_EVERY_S, self._look)
        self._link.look()
        self._rows.doubt_overdue()

    async def _end_at_once(self) -> None:
        self._is_closing = True
        self._looking.cancel()
        self._flush()
        await self._link.end()
