"""The writer: an asyncio face on a thread that commits rows in groups.

Guarantees
- ``append`` answers a sequence number only after the row is durable. Any other end (an error, a cancellation, a
  deadline) means "not known to be durable": the row may still appear, so act as if it was not written. Whether it did
  is told later to whoever keeps the error; see JournalDoubtful.
- Rows are numbered in the order in which they were handed over; one commit holds all that wait when it starts.
- A failed commit fails every row that someone waits for. Rows handed over with ``append_later`` are kept and written
  after recovery, within the queue's bound; nothing is dropped without an error to somebody.
- After a failure the journal is closed, read again and checked before the next row, since only the disk knows which
  rows reached it. The first row then is JOURNAL_RECOVERED and says how many rows failed meanwhile.
- A checkpoint stands for durable rows only, and is durable itself before anybody is given it.
- A cosigned checkpoint is kept soon after it was handed over; nobody waits for it, since the witness has it too.

It does not choose what must be durable before acting: the caller awaits ``append`` for that.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import TradeError
from trade_journal.checkpoint import Checkpoint, LogSigner, read_checkpoint
from trade_journal.errors import JournalDamaged, JournalDoubtful, JournalFull, JournalUnavailable
from trade_journal.note import Verifier, parse_note
from trade_journal.rows import Draft, Entry, Row, RowKind, draft, numbered, row_bytes
from trade_journal.store import JournalReader, JournalStore
from trade_journal.verify import StoredRow

LATER_MAX_S: Final = 0.25  # how long a row that nobody waits for may stay in memory
PENDING_ROWS_MAX: Final = 8192  # about a second of the disk's speed; beyond it, waiting only hides the trouble
GROUP_ROWS_MAX: Final = 512  # rows in one commit; a page of the store, so that a doubtful one can be read back
MANY_ROWS_MAX: Final = 256  # rows of one append_many, committed together or not at all
COMMIT_DEADLINE_S: Final = 3.0  # an fsync that takes longer is a failed disk to whoever waits
RETRY_FIRST_S: Final = 0.1
RETRY_LAST_S: Final = 5.0  # the retry budget is a rate: a full disk may be emptied hours later
CLOSE_DEADLINE_S: Final = 5.0
POINTS_MAX: Final = 64  # checkpoints asked for at once; one witness asks for one every few seconds
_Given = TypeVar("_Given", int, bytes)


@dataclass(slots=True, kw_only=True)
class _Item:
    """Rows that are committed together; ``waiter`` is None when nobody waits.

    ``is_written`` comes when the disk has told, also to one whose wait ended before.
    """

    drafts: Sequence[Draft]
    waiter: asyncio.Future[int] | None
    is_written: asyncio.Future[bool] | None = None


@dataclass(slots=True, kw_only=True)
class _Failure:
    """A commit that failed, until the disk has told what became of it."""

    first_seq: int
    drafts: Sequence[Draft]
    later: Sequence[_Item]
    doubts: Sequence[asyncio.Future[bool]]
    at_ns: int
    cause: str
    rows_failed: int = 0
    rows_survived: int = 0


class JournalWriter:
    """Writes one journal from one event loop. Made by ``open``, ended by ``close``."""

    def __init__(
        self, *, url: str, origin: str, clock: Clock, store: JournalStore, signer: LogSigner | None = None
    ) -> None:
        """Use ``open`` instead: it opens the store off the event loop."""
        self._url = url
        self._origin = origin
        self._signer = signer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._reader = JournalReader(url)
        self._wake = threading.Condition()
        # Guarded by _wake: written by both threads.
        self._queue: deque[_Item] = deque()
        self._pending_rows = 0
        self._urgent = 0
        self._points: list[asyncio.Future[bytes]] = []
        self._cosigned: bytes | None = None
        self._is_closing = False
        self._commit_began_ns: int | None = None
        self._failure: _Failure | None = None
        # Written by the writer's thread alone, read by anyone.
        self.size = store.size()
        self.witnessed_size = store.witnessed_size()
        self.commits_total = 0
        self.rows_total = 0
        self.failures_total = 0
        self.last_commit_ns: int | None = None
        self.last_commit_duration_ns = 0
        self.last_failure = ""
        self._last_point: tuple[int, bytes] | None = None
        self._thread = threading.Thread(target=self._run, args=(store,), name="journal-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, url: str, *, origin: str, clock: Clock, signer: LogSigner | None = None) -> JournalWriter:
        """Open or make the journal at ``sqlite:////absolute/path``, checked, ready to append.

        ``origin`` names who writes, for which account, in which environment; a journal of another origin is refused,
        and one whose last checkpoint is not by ``signer``. Raises JournalRefused (JournalDamaged among it) or
        JournalUnavailable.
        """
        store = await asyncio.to_thread(JournalStore.open, url, origin=origin, log=_log(signer))
        return cls(url=url, origin=origin, clock=clock, store=store, signer=signer)

    @property
    def is_writable(self) -> bool:
        """Say whether a row handed over now can be expected to become durable in time."""
        return not (self._failure is not None or self._is_closing or self._is_stalled())

    @property
    def pending(self) -> int:
        """Count the rows handed over and not yet durable."""
        return self._pending_rows

    async def append(self, entry: Entry) -> int:
        """Make one row durable and answer its sequence number. Raises RowRefused, JournalUnavailable, JournalFull."""
        return await self._durable([draft(entry)])

    async def append_many(self, entries: Sequence[Entry]) -> list[int]:
        """Make rows durable together, all or none. Raises RowRefused, JournalUnavailable, JournalFull."""
        if not 0 < len(entries) <= MANY_ROWS_MAX:
            raise ValueError(f"append_many takes 1 to {MANY_ROWS_MAX} rows, not {len(entries)}")
        first = await self._durable([draft(entry) for entry in entries])
        return list(range(first, first + len(entries)))

    def append_later(self, entry: Entry) -> None:
        """Hand over a row that is committed within LATER_MAX_S while the journal is writable.

        Kept in memory through a failure, within the queue's bound. Raises RowRefused, JournalFull, and
        JournalUnavailable once the writer is closing.
        """
        self._enqueue(_Item(drafts=[draft(entry)], waiter=None))

    async def checkpoint(self) -> bytes:
        """Sign and keep a checkpoint over every row handed over so far; answers the note once it is durable.

        Raises JournalUnavailable, JournalFull when too many ask at once, ValueError for a journal without a signer.
        """
        if self._signer is None:
            raise ValueError("this journal was opened without a signer")
        waiter: asyncio.Future[bytes] = self._loop.create_future()
        with self._wake:
            self._refuse_when_unwritable()
            if len(self._points) >= POINTS_MAX:
                raise JournalFull(f"{POINTS_MAX} checkpoints pending", cause="full")
            self._points.append(waiter)
            self._wake.notify()
        return await _in_time(waiter)

    def keep_cosigned(self, note: bytes) -> None:
        """Hand over a checkpoint of this journal that was verified with its cosignature; the last one counts."""
        with self._wake:
            self._cosigned = note
            self._wake.notify()

    async def has_signed(self, note: Checkpoint) -> bool:
        """Tell whether a checkpoint of this size and root was ever given out by this journal. Raises JournalError."""
        kept = await asyncio.to_thread(self._reader.checkpoints_of, note.size)
        return any(read_checkpoint(parse_note(raw)).root == note.root for raw in kept)

    async def read(self, from_seq: int, limit: int) -> list[Row]:
        """Read durable rows in order, at most READ_ROWS_MAX. Raises JournalError."""
        return await asyncio.to_thread(self._reader.read, from_seq, limit)

    async def stored(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read durable rows as they lie there, at most READ_ROWS_MAX. Raises JournalError."""
        return await asyncio.to_thread(self._reader.stored_rows, from_seq, limit)

    async def close(self) -> None:
        """Commit what is pending, within CLOSE_DEADLINE_S, and release the journal. Can be called twice.

        Raises JournalUnavailable when rows that nobody waits for could not be written: they are lost with the process.
        """
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_DEADLINE_S)
        self._reader.close()
        if self._thread.is_alive():
            raise JournalUnavailable(
                f"the disk did not finish within {CLOSE_DEADLINE_S} s; {self.pending} rows unknown"
            )
        if self._pending_rows:
            raise JournalUnavailable(f"{self._pending_rows} rows could not be written: {self.last_failure}")

    async def _durable(self, drafts: Sequence[Draft]) -> int:
        waiter: asyncio.Future[int] = self._loop.create_future()
        is_written: asyncio.Future[bool] = self._loop.create_future()
        self._enqueue(_Item(drafts=drafts, waiter=waiter, is_written=is_written))
        return await _in_time(waiter, is_written=is_written)

    def _enqueue(self, item: _Item) -> None:
        with self._wake:
            self._refuse_when_unwritable(is_waited_for=item.waiter is not None)
            if self._pending_rows + len(item.drafts) > PENDING_ROWS_MAX:
                raise JournalFull(f"{self._pending_rows} rows pending; at most {PENDING_ROWS_MAX}", cause="full")
            self._queue.append(item)
            self._pending_rows += len(item.drafts)
            self._urgent += item.waiter is not None
            # Rows that nobody waits for do not wake the thread one by one; the first one starts its timer.
            if item.waiter is not None or len(self._queue) == 1 or self._pending_rows >= GROUP_ROWS_MAX:
                self._wake.notify()

    def _refuse_when_unwritable(self, *, is_waited_for: bool = True) -> None:
        if self._is_closing:
            raise JournalUnavailable("the journal is closing", cause="closing")
        if self._failure is not None and is_waited_for:
            raise JournalUnavailable(f"not writable: {self.last_failure}", cause=self._failure.cause)

    def _is_stalled(self) -> bool:
        began_ns = self._commit_began_ns
        return began_ns is not None and self._clock.monotonic_ns() - began_ns > COMMIT_DEADLINE_S * NS_PER_S

    # From here on: the writer's thread.

    def _run(self, store: JournalStore) -> None:
        try:
            self._work(store)
        except BaseException as error:
            # A defect here must not leave waiters hanging on a journal that looks writable.
            self._fail(first_seq=self.size, group=[], error=JournalUnavailable(repr(error), cause="defect"))
            raise

    def _work(self, store: JournalStore) -> None:
        """Commit groups until closed. After a failure the store is closed and opened anew."""
        opened: JournalStore | None = store
        while opened is not None:
            group, points, cosigned = self._next_group()
            if not group and not points and cosigned is None:
                opened.close()
                return
            if not (
                self._is_committed(opened, group, points)
                and self._is_point_kept(opened, points)
                and self._is_cosigned_kept(opened, cosigned)
            ):
                opened.close()
                opened = self._recovered()

    def _next_group(self) -> tuple[list[_Item], list[asyncio.Future[bytes]], bytes | None]:
        """Wait for rows or checkpoints that are due. All empty when the writer is closing and nothing is left."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._points or self._cosigned or self._is_closing)
            self._wake.wait_for(self._is_due, LATER_MAX_S)
            group: list[_Item] = []
            rows = 0
            while self._queue and (rows == 0 or rows + len(self._queue[0].drafts) <= GROUP_ROWS_MAX):
                item = self._queue.popleft()
                rows += len(item.drafts)
                self._urgent -= item.waiter is not None
                group.append(item)
            # A checkpoint is over all rows that were handed over before it was asked for: not before they are out.
            points, self._points = (self._points, []) if not self._queue else ([], self._points)
            cosigned, self._cosigned = self._cosigned, None
            return group, points, cosigned

    def _is_due(self) -> bool:
        return self._is_closing or self._urgent > 0 or bool(self._points) or self._pending_rows >= GROUP_ROWS_MAX

    def _is_committed(
        self, store: JournalStore, group: Sequence[_Item], points: Sequence[asyncio.Future[bytes]]
    ) -> bool:
        if not group:
            return True
        first_seq = store.size()
        began_ns = self._commit_began_ns = self._clock.monotonic_ns()
        try:
            store.append([one for item in group for one in item.drafts])
        except TradeError as error:
            self._fail(first_seq=first_seq, group=group, points=points, error=error)
            return False
        finally:
            self._commit_began_ns = None
        self.last_commit_duration_ns = self._clock.monotonic_ns() - began_ns
        self._count_commit(store)
        self._settle(group, first_seq)
        return True

    def _is_point_kept(self, store: JournalStore, points: Sequence[asyncio.Future[bytes]]) -> bool:
        if not points or self._signer is None:
            return True
        if self._last_point is None or self._last_point[0] != store.size():
            note = self._signer.sign(store.tree()).rendered().encode()
            self._commit_began_ns = self._clock.monotonic_ns()
            try:
                store.append_checkpoint(note)
            except TradeError as error:
                self._fail(first_seq=store.size(), group=[], points=points, error=error)
                return False
            finally:
                self._commit_began_ns = None
            self._last_point = (store.size(), note)
        answer = self._last_point[1]
        self._in_loop([(waiter, answer) for waiter in points])
        return True

    def _is_cosigned_kept(self, store: JournalStore, note: bytes | None) -> bool:
        if note is None:
            return True
        try:
            store.append_cosigned(note)
        except TradeError as error:
            self._fail(first_seq=store.size(), group=[], error=error)
            return False
        self.witnessed_size = store.witnessed_size()
        return True

    def _count_commit(self, store: JournalStore) -> None:
        self.last_commit_ns = self._clock.wall_ns()
        self.commits_total += 1
        self.rows_total += store.size() - self.size
        self.size = store.size()

    def _settle(self, group: Sequence[_Item], first_seq: int) -> None:
        answers: list[tuple[asyncio.Future[int], int]] = []
        seq = first_seq
        for item in group:
            if item.waiter is not None:
                answers.append((item.waiter, seq))
            seq += len(item.drafts)
        with self._wake:
            self._pending_rows -= seq - first_seq
        if answers:
            self._in_loop(answers)
            self._tell(_fates(group), is_written=True)

    def _fail(
        self,
        *,
        first_seq: int,
        group: Sequence[_Item],
        error: TradeError,
        points: Sequence[asyncio.Future[bytes]] = (),
    ) -> None:
        """Fail everybody who waits, keep what nobody waits for, refuse what comes until the disk is read again."""
        cause = error.cause if isinstance(error, JournalUnavailable) else "damaged"
        with self._wake:
            waiting = [item for item in (*group, *self._queue) if item.waiter is not None]
            rows_failed = _rows_in(waiting)
            all_points, self._points = [*points, *self._points], []
            self._queue = deque(item for item in self._queue if item.waiter is None)
            self._urgent = 0
            self._pending_rows -= rows_failed
            self.failures_total += 1
            self.last_failure = str(error)
            self._failure = _Failure(
                first_seq=first_seq,
                drafts=[one for item in group for one in item.drafts],
                later=[item for item in group if item.waiter is None],
                doubts=_fates(group),
                at_ns=self._clock.wall_ns(),
                cause=cause,
                rows_failed=rows_failed,
            )
        failed = JournalUnavailable(f"the commit failed: {error}", cause=cause)
        self._in_loop(
            [
                (item.waiter, JournalDoubtful(str(failed), cause=cause, is_written=item.is_written))
                for item in waiting
                if item.waiter is not None and item.is_written is not None
            ]
        )
        self._in_loop([(waiter, failed) for waiter in all_points])
        # What had not been begun when the commit failed is written by nobody.
        begun = set(_fates(group))
        self._tell([fate for fate in _fates(waiting) if fate not in begun], is_written=False)

    def _tell(self, fates: Sequence[asyncio.Future[bool]], *, is_written: bool) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle_fates, fates, is_written)

    def _in_loop(self, answers: Sequence[tuple[asyncio.Future[_Given], _Given | JournalUnavailable]]) -> None:
        # A closed loop means that whoever waited is gone.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_answer, answers)

    def _recovered(self) -> JournalStore | None:
        """Open the journal again, with growing pauses, until it takes a row. None when closed before that."""
        pause_s = RETRY_FIRST_S
        while True:
            with self._wake:
                is_last_try = self._wake.wait_for(lambda: self._is_closing, pause_s)
            store = self._reopened()
            if store is not None or is_last_try:
                return store
            pause_s = min(pause_s * 2, RETRY_LAST_S)

    def _reopened(self) -> JournalStore | None:
        try:
            store = JournalStore.open(self._url, origin=self._origin, log=_log(self._signer))
        except TradeError as error:
            self.last_failure = str(error)
            return None
        try:
            self._reconcile(store)
            self._announce(store)
        except TradeError as error:
            self.last_failure = str(error)
            store.close()
            return None
        return store

    def _reconcile(self, store: JournalStore) -> None:
        """Learn what became of the failed commit: SQLite keeps all of it or nothing.

        Raises JournalDamaged when the journal holds anything else, which then is another's writing.
        """
        failure = self._failure
        assert failure is not None
        if store.size() != failure.first_seq:
            expected = [numbered(one.head, failure.first_seq + index) for index, one in enumerate(failure.drafts)]
            found = [row_bytes(row) for row in store.read(failure.first_seq, GROUP_ROWS_MAX)]
            if not expected or found != expected:
                raise JournalDamaged(f"{store.place}: rows from {failure.first_seq} on are not this writer's")
        self._tell(failure.doubts, is_written=store.size() != failure.first_seq)
        with self._wake:
            if store.size() == failure.first_seq:
                self._queue.extendleft(reversed(failure.later))
            else:
                self._pending_rows -= _rows_in(failure.later)
                failure.rows_survived += len(failure.drafts)
            # What is settled must not be settled again should the announcement fail.
            failure.first_seq = store.size()
            failure.drafts = []
            failure.later = []
            failure.doubts = []

    def _announce(self, store: JournalStore) -> None:
        """Write the row that tells of the failure; that it can be written is the proof of recovery."""
        failure = self._failure
        assert failure is not None
        announcement = Entry(
            at_ns=self._clock.wall_ns(),
            kind=RowKind.JOURNAL_RECOVERED,
            actor="journal",
            fields={
                "cause": failure.cause,
                "failed_at_ns": failure.at_ns,
                "rows_failed": failure.rows_failed,
                "rows_kept": self._pending_rows,
                "rows_survived": failure.rows_survived,
            },
        )
        # If this commit fails and yet survives, the next opening finds it, knows it, and goes on.
        failure.drafts = [draft(announcement)]
        store.append(failure.drafts)
        self._count_commit(store)
        with self._wake:
            self._failure = None


def _rows_in(items: Sequence[_Item]) -> int:
    return sum(len(item.drafts) for item in items)


def _answer(answers: Sequence[tuple[asyncio.Future[_Given], _Given | JournalUnavailable]]) -> None:
    for waiter, answer in answers:
        if waiter.done():  # its deadline passed, or whoever waited was cancelled
            continue
        if isinstance(answer, JournalUnavailable):
            waiter.set_exception(answer)
        else:
            waiter.set_result(answer)


async def _in_time(waiter: asyncio.Future[_Given], *, is_written: asyncio.Future[bool] | None = None) -> _Given:
    try:
        async with asyncio.timeout(COMMIT_DEADLINE_S):
            return await waiter
    except TimeoutError:
        said = f"no commit within {COMMIT_DEADLINE_S} s"
        if is_written is None:
            raise JournalUnavailable(said) from None
        raise JournalDoubtful(said, cause="unavailable", is_written=is_written) from None


def _log(signer: LogSigner | None) -> Verifier | None:
    return None if signer is None else signer.verifier()


def _fates(items: Sequence[_Item]) -> list[asyncio.Future[bool]]:
    return [item.is_written for item in items if item.is_written is not None]


def _settle_fates(fates: Sequence[asyncio.Future[bool]], is_written: bool) -> None:
    for fate in fates:
        if not fate.done():
            fate.set_result(is_written)
