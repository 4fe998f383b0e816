"""A journal whose writer is another process: the same promises as `JournalWriter`, over its Unix socket.

Guarantees
- ``append`` answers a number only after the writer has said that the row is durable. Any other end means "not known".
- When the connection dies, rows in flight are doubtful: who waits is told so at once, and what became of them once the
  writer is back and the rows have been read. They are known again by their bytes, which are all that a row is.
- Rows handed over with ``append_later`` are kept in memory, within PENDING_ROWS_MAX, until the writer has said that
  they are durable; they are handed over again after a failure or a reconnection, never twice.
- A writer that is dead, silent, or cannot write makes ``is_writable`` false, and everything that waits is refused at
  once; what the emergency segment serves is still handed to a writer that lives. It heals by itself.
- Rows under our name that we did not write end the connection for good where a peer is one process (the gateway): two
  of them on one journal know nothing of each other's orders.

What is handed over in one turn of the event loop is one write, and rows that nobody waits for and that no other row
comes between are one message. The writer checks rows: a row of a bad shape that nobody
waits for is told in the log, since it is a defect of ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, assert_never, cast

from trade_core.clock import NS_PER_S, Clock
from trade_core.unix_sockets import connect
from trade_journal.errors import (
    JournalDamaged,
    JournalDoubtful,
    JournalFull,
    JournalRefused,
    JournalUnavailable,
    RowRefused,
)
from trade_journal.log.checkpoint import Checkpoint
from trade_journal.log.rows import Entry, Row, draft, leaf_hash, numbered, parse_row
from trade_journal.log.verify import StoredRow
from trade_journal.writer.emergency import serves
from trade_journal.writer.frames import (
    ANSWER_BYTES_MAX,
    PROTOCOL_VERSION,
    ROW_FRAME_BYTES_MAX,
    ROWS_MAX,
    Answer,
    AskCheckpoint,
    AskRows,
    AskSigned,
    EncodedRow,
    Failed,
    Fate,
    FoundRows,
    FrameReader,
    FrameRefused,
    Hello,
    KeepCosigned,
    Request,
    SignedNote,
    Status,
    TurnedAway,
    WasSigned,
    Welcome,
    Written,
    encoded_row,
    framed,
    framed_rows,
    parse_answer,
)
from trade_journal.writer.peers import CONNECTIONS_BY_PEER, PENDING_ROWS_BY_PEER, Peer

WRITTEN_WITHIN_S: Final = 3.0  # a commit that takes longer is a failed disk to whoever waits
ANSWERED_WITHIN_S: Final = 10.0  # a page of rows
WELCOME_WITHIN_S: Final = 10.0
CLOSE_WITHIN_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.25
_SILENT_LOOKS: Final = 6  # looks without a word from the writer, which says one at each
_RETRY_FIRST_S: Final = 0.05
_RETRY_LAST_S: Final = 1.0
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
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class _Item:
    """Rows that were handed over together and are not durable yet, as far as we know.

    `waiter` is None when nobody waits. `is_written` is there once somebody must be told what became of them.
    """

    number: int
    entries: Sequence[Entry]
    frame: bytes
    waiter: asyncio.Future[int] | None
    due_ns: int
    is_written: asyncio.Future[bool] | None = None


class JournalClient:
    """One journal, written into from one event loop through one connection. Made by `open`, ended by `close`."""

    def __init__(self, *, socket: Path, origin: str, peer: Peer, clock: Clock) -> None:
        """Use `open` instead: it returns once the writer has let us in."""
        self._socket = socket
        self._origin = origin
        self._peer = peer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._items: dict[int, _Item] = {}  # in the order of their numbers
        self._unsent: dict[int, _Item] = {}  # those of them that the writer does not have
        self._pending_rows = 0
        self._owed_fates: dict[int, _Item] = {}  # of those above, or of waiters that have been told to doubt
        self._unplaced: list[_Item] = []  # told to be in the journal, at a place that we have not seen
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._end = 0  # rows below it are not of this run, or were answered
        self._connection: _Connection | None = None
        self._is_connected = False
        self._is_closing = False
        self._refused = ""
        self._status = _NOT_STARTED
        self._why = "not connected yet"
        self._silent_looks = 0
        self._later: list[tuple[Entry, EncodedRow]] = []  # of this turn of the loop, counted as pending
        self._out: list[bytes] = []
        self._is_flush_due = False
        self._cosigned = b""
        self._settled = asyncio.Event()
        self._keeping = self._loop.create_task(self._keep_connected())
        self._looking = self._loop.call_later(_LOOK_EVERY_S, self._look)
        self._first: asyncio.Future[None] = self._loop.create_future()

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
                await asyncio.shield(client._first)
        except TimeoutError:
            await client._end_at_once()
            raise JournalUnavailable(f"no journal writer within {within_s:g} s: {client._why}") from None
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
        return self._status.last_failure if self._is_living() else self._why

    @property
    def is_writable(self) -> bool:
        """Say whether a row handed over now can be expected to become durable in time."""
        return self._is_living() and self._status.is_writable and not self._is_closing

    @property
    def pending(self) -> int:
        """Count the rows handed over and not yet known to be durable."""
        return self._pending_rows

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
        row = self._wire_row(entry)
        self._make_room(1)
        self._later.append((entry, row))
        if len(self._later) == ROWS_MAX:
            self._hand_over_later()
        self._flush_soon()

    async def checkpoint(self) -> bytes:
        """Sign and keep a checkpoint over every row handed over so far. Raises JournalUnavailable."""
        if not self.is_writable:
            raise JournalUnavailable(f"not writable: {self.last_failure}")
        return await self._asked(lambda number: AskCheckpoint(number=number), within_s=WRITTEN_WITHIN_S + 1, kind=bytes)

    def keep_cosigned(self, note: bytes) -> None:
        """Hand over a checkpoint that was verified with its cosignature; the last one counts."""
        self._cosigned = note
        if self._is_connected:
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
        return [_checked(row, from_seq + index) for index, row in enumerate(await self.stored(from_seq, limit))]

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
                while self._pending_rows and self._is_connected:
                    self._settled.clear()
                    await self._settled.wait()
        await self._end_at_once()
        if self._pending_rows:
            raise JournalUnavailable(f"{self._pending_rows} rows could not be written: {self.last_failure}")

    # Rows on their way.

    async def _durable(self, entries: Sequence[Entry]) -> int:
        self._refuse_when_unwritable(entries)
        rows = [self._wire_row(entry) for entry in entries]
        self._make_room(len(entries))
        self._hand_over_later()  # they came before
        item = self._item(entries, rows, waiter=self._loop.create_future())
        self._send(item.frame)
        assert item.waiter is not None
        return await item.waiter

    def _refuse_when_unwritable(self, entries: Sequence[Entry]) -> None:
        if self._is_closing:
            raise JournalUnavailable("the journal is closing", cause="closing")
        if self.is_writable or (self._is_living() and len(entries) == 1 and serves(entries[0])):
            return
        raise JournalUnavailable(f"not writable: {self.last_failure}")

    def _make_room(self, rows: int) -> None:
        """Count rows as pending from now on. Raises JournalFull."""
        bound = PENDING_ROWS_BY_PEER[self._peer]
        if self._pending_rows + rows > bound:
            raise JournalFull(f"{self._pending_rows} rows pending; at most {bound}", cause="full")
        self._pending_rows += rows

    def _wire_row(self, entry: Entry) -> EncodedRow:
        """Write one row as it stands in a frame. Raises RowRefused."""
        if entry.actor != self._peer._value_:
            raise RowRefused(f"{entry.kind.value}: the actor of this journal's rows is {self._peer.value}")
        try:
            row = encoded_row(
                at_ns=entry.at_ns, kind=entry.kind._value_, fields=entry.fields, policy_hash=entry.policy_hash
            )
        except FrameRefused as error:
            raise RowRefused(f"{entry.kind.value}: {error}") from error
        if len(row) > ROW_FRAME_BYTES_MAX:
            raise RowRefused(f"{entry.kind.value}: {len(row)} bytes; at most {ROW_FRAME_BYTES_MAX}")
        return row

    def _item(
        self, entries: Sequence[Entry], rows: Sequence[EncodedRow], *, waiter: asyncio.Future[int] | None
    ) -> _Item:
        self._number += 1
        item = _Item(
            number=self._number,
            entries=entries,
            frame=framed_rows(rows, number=self._number, is_urgent=waiter is not None),
            waiter=waiter,
            due_ns=self._clock.monotonic_ns() + int(WRITTEN_WITHIN_S * NS_PER_S),
        )
        self._items[item.number] = item
        return item

    def _hand_over_later(self) -> None:
        """Make one item of the rows of this turn that nobody waits for."""
        if self._later:
            entries, rows = zip(*self._later, strict=True)
            self._later.clear()
            self._keep_for_later(entries, rows)

    def _keep_for_later(self, entries: Sequence[Entry], rows: Sequence[EncodedRow]) -> None:
        item = self._item(entries, rows, waiter=None)
        self._unsent[item.number] = item
        self._send_what_was_kept()

    def _send_what_was_kept(self) -> None:
        """Hand over, in order, what nobody waits for, once it is known that none of it is in the journal."""
        if not self._unsent or not (self._is_living() and self._status.is_writable):
            return
        if any(item.waiter is None for item in self._owed_fates.values()):
            return
        for number in sorted(self._unsent):
            self._send(self._unsent[number].frame)
        self._unsent.clear()

    def _send(self, frame: bytes) -> None:
        self._out.append(frame)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        self._hand_over_later()
        frames, self._out = self._out, []
        if self._connection is not None:
            self._connection.write(b"".join(frames))

    def _done(self, item: _Item) -> None:
        """Count an item's rows as no longer pending."""
        self._unsent.pop(item.number, None)
        if self._items.pop(item.number, None) is not None:
            self._pending_rows -= len(item.entries)
            if not self._items:
                self._settled.set()

    # What the writer says.

    def _hear(self, answer: Answer) -> None:
        match answer:
            case Written():
                for number, seq in answer.pairs:
                    self._written(number, seq)
            case Status():
                self._status = answer
                self._send_what_was_kept()
            case Failed():
                self._failed(answer)
            case Fate():
                self._decided(answer)
            case FoundRows():
                rows = [StoredRow(seq=seq, body=body, leaf_hash=leaf) for seq, body, leaf in answer.rows]
                self._answer(answer.number, rows)
            case SignedNote():
                self._answer(answer.number, answer.note)
            case WasSigned():
                self._answer(answer.number, answer.is_signed)
            case Welcome():
                self._answer(0, answer)
            case TurnedAway():
                self._why = answer.reason
                if answer.is_final:
                    self._refuse_for_good(answer.reason)
            case _:
                assert_never(answer)

    def _written(self, number: int, seq: int) -> None:
        item = self._items.get(number)
        if item is None:
            return
        self._done(item)
        self._end = max(self._end, seq + len(item.entries))
        self._unplaced.clear()  # they are below it
        if item.waiter is not None and not item.waiter.done():
            item.waiter.set_result(seq)
        _tell(item, is_written=True)

    def _failed(self, answer: Failed) -> None:
        if self._answer_failed(answer):
            return
        item = self._items.get(answer.number)
        if item is None:
            return
        if answer.is_refused:
            self._refuse_row(item, answer.said)
            return
        if answer.is_doubtful:
            self._owed_fates[item.number] = item
        if item.waiter is None:
            self._unsent[item.number] = item
            return
        self._done(item)
        if answer.is_doubtful:
            self._doubt(item, answer.said, cause=answer.cause)
        elif not item.waiter.done():
            item.waiter.set_exception(JournalUnavailable(answer.said, cause=answer.cause))
        else:
            _tell(item, is_written=False)

    def _refuse_row(self, item: _Item, said: str) -> None:
        if item.waiter is None and len(item.entries) > 1:
            self._hand_over_one_by_one(item)
            return
        self._done(item)
        _tell(item, is_written=False)
        if item.waiter is None:
            log.error("a row was refused, which is a defect: %s", said)
        elif not item.waiter.done():
            item.waiter.set_exception(RowRefused(said))

    def _hand_over_one_by_one(self, item: _Item) -> None:
        """Find the row that makes the writer refuse all that came in one turn; the others are written."""
        self._done(item)
        self._pending_rows += len(item.entries)
        for entry in item.entries:
            self._keep_for_later((entry,), (self._wire_row(entry),))

    def _decided(self, answer: Fate) -> None:
        item = self._owed_fates.pop(answer.number, None)
        if item is None:
            return
        if answer.is_written:
            self._done(item)
            self._unplaced.append(item)
        _tell(item, is_written=answer.is_written)
        self._send_what_was_kept()

    def _doubt(self, item: _Item, said: str, *, cause: str) -> None:
        """Tell who waits that nobody knows, yet."""
        if item.waiter is not None and not item.waiter.done():
            item.is_written = self._loop.create_future()
            item.waiter.set_exception(JournalDoubtful(said, cause=cause, is_written=item.is_written))

    # Questions.

    def _refuse_when_unreachable(self) -> None:
        if not self._is_connected:
            raise JournalUnavailable(f"the journal cannot be asked: {self._why}")

    async def _page(self, from_seq: int, limit: int) -> list[StoredRow]:
        rows: list[StoredRow] = await self._asked(
            lambda number: AskRows(number=number, from_seq=from_seq, limit=limit),
            within_s=ANSWERED_WITHIN_S,
            kind=list,
        )
        return rows

    async def _asked(self, question: Callable[[int], Request], *, within_s: float, kind: type[_G]) -> _G:
        self._hand_over_later()  # a checkpoint is over them too
        self._number += 1
        number = self._number
        answer = self._questions[number] = self._loop.create_future()
        self._send(framed(question(number)))
        try:
            async with asyncio.timeout(within_s):
                given = await answer
        except TimeoutError:
            raise JournalUnavailable(f"no answer from the journal writer within {within_s:g} s") from None
        finally:
            self._questions.pop(number, None)
        assert isinstance(given, kind)
        return given

    def _answer(self, number: int, given: object) -> None:
        asked = self._questions.pop(number, None)
        if asked is not None and not asked.done():
            asked.set_result(given)

    def _answer_failed(self, answer: Failed) -> bool:
        asked = self._questions.pop(answer.number, None)
        if asked is not None and not asked.done():
            asked.set_exception(JournalUnavailable(answer.said, cause=answer.cause))
        return asked is not None

    # The connection.

    def _is_living(self) -> bool:
        return self._is_connected and self._silent_looks < _SILENT_LOOKS

    def _look(self) -> None:
        """Count the time without a word, and let nobody wait longer than WRITTEN_WITHIN_S."""
        self._looking = self._loop.call_later(_LOOK_EVERY_S, self._look)
        self._silent_looks += 1
        if self._silent_looks == _SILENT_LOOKS and self._is_connected:
            self._why = "the journal writer is silent"
        now_ns = self._clock.monotonic_ns()
        for item in self._items.values():
            if item.due_ns > now_ns:
                break
            self._doubt(item, f"no commit within {WRITTEN_WITHIN_S:g} s", cause="unavailable")

    async def _keep_connected(self) -> None:
        pause_s = _RETRY_FIRST_S
        while not self._refused:
            try:
                lost = await self._connected()
            except (OSError, TimeoutError, FrameRefused, JournalUnavailable, JournalDamaged) as error:
                self._why = self._why_not(error)
            except Exception as error:
                # A defect: nothing is writable meanwhile, and the next try may do without it.
                self._why = f"a defect in the journal's client: {error!r}"
                log.exception("the connection to the journal writer failed")
            else:
                pause_s = _RETRY_FIRST_S
                await lost
            self._lose()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _RETRY_LAST_S)

    def _why_not(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"{self._socket}: the journal writer lets nobody in, its journal cannot be read"
        if isinstance(error, OSError):
            return f"{self._socket}: no journal writer there ({error.strerror or type(error).__name__})"
        return str(error) or self._why

    async def _connected(self) -> asyncio.Future[None]:
        """Connect, be welcomed, and learn what became of what was in flight. Gives what ends with the connection."""
        sock = connect(self._socket)
        _, connection = await self._loop.create_unix_connection(lambda: _Connection(self), sock=sock)
        self._connection = connection
        welcome: asyncio.Future[Any] = self._loop.create_future()
        self._questions[0] = welcome
        connection.write(framed(Hello(version=PROTOCOL_VERSION, origin=self._origin)))
        async with asyncio.timeout(WELCOME_WITHIN_S):
            greeting: Welcome = await welcome
        if self._first.done():
            await self._learn_fates()
        else:
            # Whatever is there now was there before us, the last moment's rows included.
            self._end = greeting.end + len(await self._rows_since(greeting.end))
        self._is_connected = True
        self._silent_looks = 0
        if self._cosigned:
            self._send(framed(KeepCosigned(note=self._cosigned)))
        self._send_what_was_kept()
        if not self._first.done():
            self._first.set_result(None)
        return connection.lost

    async def _learn_fates(self) -> None:
        """Read the rows since the last answer, and know ours by their bytes: what is not among them was not written."""
        in_flight = {number: item for number, item in self._items.items() if number not in self._unsent}
        in_doubt = list({**in_flight, **self._owed_fates}.values())
        rows = await self._rows_since(self._end)
        by_bytes: defaultdict[bytes, list[_Item]] = defaultdict(list)
        for item in (*self._unplaced, *in_doubt):
            with suppress(RowRefused):
                by_bytes[draft(item.entries[0]).head].append(item)
        found: set[int] = set()
        place = 0
        while place < len(rows):
            row = parse_row(rows[place].body)
            place += 1
            if row.actor != self._peer.value:
                continue
            head = rows[place - 1].body.removesuffix(numbered(b"", row.seq))
            if not by_bytes[head]:
                if CONNECTIONS_BY_PEER[self._peer] > 1:
                    continue  # another process of the same peer
                self._refuse_for_good(f"row {row.seq} is under our name and not ours: another process writes here")
                raise JournalUnavailable(self._refused)
            item = by_bytes[head].pop(0)
            found.add(item.number)
            place += len(item.entries) - 1
        self._settle(in_doubt, found)
        self._end = max(self._end, rows[-1].seq + 1) if rows else self._end

    async def _rows_since(self, from_seq: int) -> list[StoredRow]:
        rows: list[StoredRow] = []
        while True:
            page = await self._page(from_seq + len(rows), _PAGE)
            rows += page
            if not page:
                return rows

    def _settle(self, in_doubt: Sequence[_Item], found: set[int]) -> None:
        self._owed_fates.clear()
        self._unplaced.clear()
        for item in in_doubt:
            is_written = item.number in found
            _tell(item, is_written=is_written)
            if is_written or item.waiter is not None:
                self._done(item)
            else:
                self._unsent[item.number] = item

    def _lose(self) -> None:
        """Doubt what was in flight, and fail who asked."""
        connection, self._connection = self._connection, None
        was_connected, self._is_connected = self._is_connected, False
        if connection is not None:
            connection.abort()
        if was_connected:
            self._why = "the connection to the journal writer ended"
            log.warning("%s", self._why)
        self._out.clear()
        for asked in self._questions.values():
            if not asked.done():
                asked.set_exception(JournalUnavailable(self._why))
        self._questions.clear()
        for item in self._items.values():
            self._doubt(item, self._why, cause="writer_gone")
        self._settled.set()

    def _refuse_for_good(self, reason: str) -> None:
        self._refused = self._why = reason
        if self._first.done():
            log.error("the journal is not written any more: %s", reason)
        else:
            self._first.set_exception(JournalRefused(f"{self._socket}: {reason}"))

    async def _end_at_once(self) -> None:
        self._is_closing = True
        self._looking.cancel()
        self._flush()
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        if self._connection is not None:
            self._connection.end()
            self._connection = None
        self._is_connected = False
        if self._first.done() and not self._first.cancelled():
            self._first.exception()
        else:
            self._first.cancel()


class _Connection(asyncio.Protocol):
    """One connection to the writer; what arrives goes to the client."""

    def __init__(self, client: JournalClient) -> None:
        self._client = client
        self._frames = FrameReader(bytes_max=ANSWER_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""

        self._transport = cast("asyncio.Transport", transport)  # that of uvloop is one in all but its class

    def data_received(self, data: bytes) -> None:
        """Hand on what the writer said; what is no frame of ours ends the connection."""
        self._client._silent_looks = 0
        try:
            for body in self._frames.feed(data):
                self._client._hear(parse_answer(body))
        except FrameRefused as error:
            log.error("the journal writer does not speak our protocol: %s", error)
            self.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """Say so, also to who waits for a welcome."""
        if not self.lost.done():
            self.lost.set_result(None)
        self._client._answer_failed(
            Failed(number=0, said=self._client._why, cause="", is_refused=False, is_doubtful=False)
        )

    def write(self, data: bytes) -> None:
        """Send, unless the connection is gone: then the rows are in doubt anyway."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        """Send what is left and close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


def _tell(item: _Item, *, is_written: bool) -> None:
    if item.is_written is not None and not item.is_written.done():
        item.is_written.set_result(is_written)


def _checked(stored: StoredRow, seq: int) -> Row:
    """Hold a row against its place and the hash beside it. Raises JournalDamaged."""
    if stored.seq != seq:
        raise JournalDamaged(f"row {seq} is missing; found {stored.seq}")
    if leaf_hash(stored.body) != stored.leaf_hash:
        raise JournalDamaged(f"row {seq}: leaf hash does not match its bytes")
    try:
        row = parse_row(stored.body)
    except JournalDamaged as error:
        raise JournalDamaged(f"row {seq}: {error}") from error
    if row.seq != seq:
        raise JournalDamaged(f"row {seq}: its bytes are of row {row.seq}")
    return row
