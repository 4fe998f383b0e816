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
- With an emergency segment, rows that cancel, halt or reduce (`emergency.serves`) are durable there while the journal
  fails, with the numbers that follow the last durable row. They are the first rows to be written at the recovery, also
  after a restart, and `read` and `stored` show them meanwhile. Without knowing where the journal ends nothing can be
  numbered: while the journal cannot even be read again, they are refused like all others.

It does not choose what must be durable before acting: the caller awaits ``append`` for that.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import TradeError
from trade_journal.checkpoint import Checkpoint, LogSigner, read_checkpoint
from trade_journal.emergency import serves
from trade_journal.emergency_segment import SEGMENT_ROWS_MAX, EmergencySegment
from trade_journal.errors import JournalDamaged, JournalDoubtful, JournalFull, JournalUnavailable
from trade_journal.note import Verifier, parse_note
from trade_journal.rows import Draft, Entry, Row, RowKind, draft, leaf_hash, numbered, parse_row, row_bytes
from trade_journal.store import READ_ROWS_MAX, JournalReader, JournalStore
from trade_journal.verify import StoredRow

log = logging.getLogger(__name__)
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
    is_urgent: bool = False
    is_emergency: bool = False


@dataclass(slots=True, kw_only=True)
class _Failure:
    """A commit that failed, until the disk has told what became of it and has taken a row again.

    ``first_seq`` is where the journal ends as far as is known; ``saved`` are the rows of the segment, which follow.
    ``begun`` were in the failed commit and may go to the segment, if they are not in the journal.
    """

    first_seq: int
    drafts: Sequence[Draft]
    later: Sequence[_Item]
    doubts: Sequence[asyncio.Future[bool]]
    at_ns: int
    cause: str
    begun: Sequence[_Item] = ()
    saved: list[Draft] = field(default_factory=list)
    torn: list[asyncio.Future[bool]] = field(default_factory=list)
    is_dark: bool = False  # the journal cannot be read again, so nothing can be numbered
    is_segment_broken: bool = False
    rows_failed: int = 0
    rows_survived: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """Rows on their way: `waiter` gives the first one's number or fails, `is_written` tells what became of them."""

    waiter: asyncio.Future[int]
    is_written: asyncio.Future[bool]


class JournalWriter:
    """Writes one journal from one event loop. Made by ``open``, ended by ``close``."""

    def __init__(
        self,
        *,
        url: str,
        origin: str,
        clock: Clock,
        store: JournalStore,
        signer: LogSigner | None = None,
        segment: EmergencySegment | None = None,
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
        self._emergency: deque[_Item] = deque()
        self._segment = segment
        self._failure = _left_in(segment, store, at_ns=clock.wall_ns())
        # Written by the writer's thread alone, read by anyone.
        self.size = store.size()
        self.witnessed_size = store.witnessed_size()
        self.commits_total = 0
        self.rows_total = 0
        self.failures_total = 0
        self.last_commit_ns: int | None = None
        self.last_commit_duration_ns = 0
        self.last_failure = "" if self._failure is None else "rows of the emergency segment are on their way"
        self._saved = self._as_stored()
        self._last_point: tuple[int, bytes] | None = None
        self._thread = threading.Thread(target=self._run, args=(store,), name="journal-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        origin: str,
        clock: Clock,
        signer: LogSigner | None = None,
        emergency: Path | None = None,
    ) -> JournalWriter:
        """Open or make the journal at ``sqlite:////absolute/path``, checked, ready to append.

        ``origin`` names who writes, for which account, in which environment; a journal of another origin is refused,
        and one whose last checkpoint is not by ``signer``. ``emergency`` is where the emergency segment is, or is made.
        Rows that were left in it are written before anything else. Raises JournalRefused (JournalDamaged among it) or
        JournalUnavailable.
        """
        store = await asyncio.to_thread(JournalStore.open, url, origin=origin, log=_log(signer))
        segment: EmergencySegment | None = None
        try:
            if emergency is not None:
                segment = await asyncio.to_thread(EmergencySegment.open, emergency, origin=origin)
            return cls(url=url, origin=origin, clock=clock, store=store, signer=signer, segment=segment)
        except BaseException:
            if segment is not None:
                segment.close()
            store.close()
            raise

    @property
    def is_writable(self) -> bool:
        """Say whether a row handed over now can be expected to become durable in time."""
        return not (self._failure is not None or self._is_closing or self._is_stalled())

    @property
    def pending(self) -> int:
        """Count the rows handed over and not yet durable."""
        return self._pending_rows

    @property
    def end(self) -> int:
        """Count the rows that are durable in the journal, or in the segment behind it."""
        with self._wake:
            failure = self._failure
            return self.size if failure is None else failure.first_seq + len(failure.saved)

    @property
    def is_dead(self) -> bool:
        """Say that the writer's thread has ended: nothing will be written any more."""
        return not self._thread.is_alive()

    @property
    def emergency_rows(self) -> int:
        """Count the rows that are durable in the emergency segment and not yet in the journal."""
        return len(self._saved)

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

    def hand_over(self, drafts: Sequence[Draft], *, is_urgent: bool) -> HandedOver:
        """Hand over rows that are committed together, and return at once; no deadline is kept here.

        What is not urgent waits up to LATER_MAX_S for company. Raises JournalUnavailable, JournalFull.
        """
        handed = HandedOver(waiter=self._loop.create_future(), is_written=self._loop.create_future())
        is_emergency = self._segment is not None and is_urgent and len(drafts) == 1 and serves(drafts[0].entry)
        self._enqueue(
            _Item(
                drafts=drafts,
                waiter=handed.waiter,
                is_written=handed.is_written,
                is_urgent=is_urgent,
                is_emergency=is_emergency,
            )
        )
        return handed

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
        saved = self._saved
        rows = await asyncio.to_thread(self._reader.read, from_seq, limit)
        return [*rows, *(parse_row(row.body) for row in _following(saved, from_seq + len(rows), limit - len(rows)))]

    async def stored(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read durable rows as they lie there, at most READ_ROWS_MAX. Raises JournalError."""
        saved = self._saved
        rows = await asyncio.to_thread(self._reader.stored_rows, from_seq, limit)
        return [*rows, *_following(saved, from_seq + len(rows), limit - len(rows))]

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
        handed = self.hand_over(drafts, is_urgent=True)
        return await _in_time(handed.waiter, is_written=handed.is_written)

    def _enqueue(self, item: _Item) -> None:
        with self._wake:
            is_for_segment = item.is_emergency and self._is_segment_serving()
            if not is_for_segment:
                self._refuse_when_unwritable(is_waited_for=item.waiter is not None)
            if self._pending_rows + len(item.drafts) > PENDING_ROWS_MAX:
                raise JournalFull(f"{self._pending_rows} rows pending; at most {PENDING_ROWS_MAX}", cause="full")
            self._pending_rows += len(item.drafts)
            if is_for_segment:
                self._emergency.append(item)
                self._wake.notify()
                return
            self._queue.append(item)
            self._urgent += item.is_urgent
            # Rows that nobody waits for do not wake the thread one by one; the first one starts its timer.
            if item.is_urgent or len(self._queue) == 1 or self._pending_rows >= GROUP_ROWS_MAX:
                self._wake.notify()

    def _is_segment_serving(self) -> bool:
        """Tell whether the segment takes rows at this moment; held by _wake."""
        failure = self._failure
        is_open = self._segment is not None and failure is not None and not self._is_closing
        return is_open and failure is not None and not (failure.is_dark or failure.is_segment_broken)

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
            self._go_dark("defect")
            raise
        finally:
            if self._segment is not None:
                self._segment.close()

    def _work(self, store: JournalStore) -> None:
        """Commit groups until closed. After a failure the store is closed and opened anew."""
        opened = store if self._failure is None else self._recovered(store)
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
                self._urgent -= item.is_urgent
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
            begun = [item for item in group if item.is_emergency]
            self._emergency.extend(item for item in self._queue if item.is_emergency)
            waiting = [item for item in (*group, *self._queue) if item.waiter is not None and not item.is_emergency]
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
                doubts=_fates([item for item in group if not item.is_emergency]),
                at_ns=self._clock.wall_ns(),
                cause=cause,
                begun=begun,
                rows_failed=rows_failed,
            )
        failed = JournalUnavailable(f"the commit failed: {error}", cause=cause)
        self._doubt(waiting, str(failed), cause=cause)
        self._in_loop([(waiter, failed) for waiter in all_points])
        # What had not been begun when the commit failed is written by nobody.
        in_group = set(_fates(group))
        self._tell([fate for fate in _fates(waiting) if fate not in in_group], is_written=False)

    def _doubt(self, items: Sequence[_Item], said: str, *, cause: str) -> None:
        """Fail those who wait for rows; what became of the rows is told to `is_written`."""
        self._in_loop(
            [
                (item.waiter, JournalDoubtful(said, cause=cause, is_written=item.is_written))
                for item in items
                if item.waiter is not None and item.is_written is not None
            ]
        )

    def _tell(self, fates: Sequence[asyncio.Future[bool]], *, is_written: bool) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle_fates, fates, is_written)

    def _in_loop(self, answers: Sequence[tuple[asyncio.Future[_Given], _Given | JournalUnavailable]]) -> None:
        # A closed loop means that whoever waited is gone.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_answer, answers)

    def _recovered(self, store: JournalStore | None = None) -> JournalStore | None:
        """Open the journal again, with growing pauses, until it takes a row. None when closed before that.

        Between the tries the journal lies read, so that rows of the emergency segment can be numbered.
        """
        pause_s = 0.0 if store is not None else RETRY_FIRST_S
        while True:
            if store is None:
                store = self._read_again()
            is_last_try = self._is_closed_within(pause_s)
            if store is None and is_last_try:
                store = self._read_again()
            if store is not None and self._is_announced(store):
                return store
            store = None
            if is_last_try:
                self._go_dark("closing")
                return None
            pause_s = min(max(pause_s * 2, RETRY_FIRST_S), RETRY_LAST_S)

    def _read_again(self) -> JournalStore | None:
        """Open the journal and learn what became of the failed commit. None when it does not let us."""
        try:
            store = JournalStore.open(self._url, origin=self._origin, log=_log(self._signer))
        except TradeError as error:
            self._go_dark(str(error))
            return None
        try:
            self._reconcile(store)
        except TradeError as error:
            self._go_dark(str(error))
            store.close()
            return None
        return store

    def _is_announced(self, store: JournalStore) -> bool:
        """Write what the segment holds, and that the journal is back. The store is closed when it cannot."""
        try:
            self._announce(store)
        except TradeError as error:
            self.last_failure = str(error)
            store.close()
            return False
        return True

    def _go_dark(self, said: str) -> None:
        """Refuse emergency rows too: nobody knows which numbers they would have."""
        with self._wake:
            self.last_failure = said
            failure = self._failure
            assert failure is not None
            failure.is_dark = True
            begun, failure.begun = list(failure.begun), ()
            failure.doubts = [*failure.doubts, *_fates(begun)]
            waiting, self._emergency = list(self._emergency), deque()
            self._pending_rows -= _rows_in([*begun, *waiting])
            failure.rows_failed += _rows_in([*begun, *waiting])
        self._doubt([*begun, *waiting], f"not writable: {said}", cause=failure.cause)
        self._tell(_fates(waiting), is_written=False)

    def _is_closed_within(self, pause_s: float) -> bool:
        """Pause, and serve the emergency segment meanwhile. Answers whether the writer is closing."""
        until_ns = self._clock.monotonic_ns() + int(pause_s * NS_PER_S)
        left_s = pause_s
        while True:
            with self._wake:
                is_woken = self._wake.wait_for(lambda: self._is_closing or self._emergency, left_s)
                items, self._emergency = list(self._emergency), deque()
                is_closing = self._is_closing
            if items:
                self._save(items)
            left_s = (until_ns - self._clock.monotonic_ns()) / NS_PER_S
            if is_closing or not is_woken or left_s <= 0:
                return is_closing

    def _save(self, items: Sequence[_Item]) -> None:
        """Make rows durable in the segment; each follows the last durable one."""
        failure, segment = self._failure, self._segment
        assert failure is not None
        assert segment is not None
        fitting, rest = items[: segment.room], items[segment.room :]
        first = failure.first_seq + len(failure.saved)
        drafts = [one for item in fitting for one in item.drafts]
        try:
            segment.append([(first + index, numbered(one.head, first + index)) for index, one in enumerate(drafts)])
        except JournalUnavailable as error:
            # They may be read from the segment should we crash now; at the recovery they are let go.
            failure.is_segment_broken = True
            failure.torn += _fates(fitting)
            self._give_up(fitting, str(error), cause=error.cause)
            fitting, drafts = [], []
        failure.saved += drafts
        self._saved = self._as_stored()
        with self._wake:
            self._pending_rows -= len(drafts)
        self._in_loop([(item.waiter, first + index) for index, item in enumerate(fitting) if item.waiter is not None])
        self._tell(_fates(fitting), is_written=True)
        self._give_up(rest, f"the emergency segment holds {SEGMENT_ROWS_MAX} rows and is full", cause="segment_full")
        self._tell(_fates(rest), is_written=False)

    def _give_up(self, items: Sequence[_Item], said: str, *, cause: str) -> None:
        with self._wake:
            self._pending_rows -= _rows_in(items)
            if self._failure is not None:
                self._failure.rows_failed += _rows_in(items)
        self._doubt(items, said, cause=cause)

    def _as_stored(self) -> Sequence[StoredRow]:
        """Give the segment's rows as they will lie in the journal."""
        failure = self._failure
        if failure is None:
            return ()
        bodies = [numbered(one.head, failure.first_seq + index) for index, one in enumerate(failure.saved)]
        return tuple(
            StoredRow(seq=failure.first_seq + index, body=body, leaf_hash=leaf_hash(body))
            for index, body in enumerate(bodies)
        )

    def _reconcile(self, store: JournalStore) -> None:
        """Learn what became of the failed commit: SQLite keeps all of it or nothing.

        Raises JournalDamaged when the journal holds anything else, which then is another's writing.
        """
        failure = self._failure
        assert failure is not None
        is_written = store.size() != failure.first_seq
        if is_written:
            expected = [numbered(one.head, failure.first_seq + index) for index, one in enumerate(failure.drafts)]
            found = [row_bytes(row) for row in store.read(failure.first_seq, READ_ROWS_MAX)]
            if not expected or found != expected:
                raise JournalDamaged(f"{store.place}: rows from {failure.first_seq} on are not this writer's")
        self._tell(failure.doubts, is_written=is_written)
        if is_written:
            self._doubt(failure.begun, "the commit failed, and the row survived it", cause=failure.cause)
            self._tell(_fates(failure.begun), is_written=True)
        with self._wake:
            failure.is_dark = False
            if is_written:
                self._pending_rows -= _rows_in([*failure.later, *failure.begun])
                failure.rows_survived += len(failure.drafts)
                self._let_go_of_segment(failure)
            else:
                self._queue.extendleft(reversed(failure.later))
                self._emergency.extendleft(reversed(failure.begun))
            # What is settled must not be settled again should the announcement fail.
            failure.first_seq = store.size()
            failure.drafts = []
            failure.later = []
            failure.begun = ()
            failure.doubts = []

    def _let_go_of_segment(self, failure: _Failure) -> None:
        """Empty the segment: what it held is in the journal."""
        if self._segment is not None:
            self._segment.clear()
        failure.saved = []
        self._saved = ()
        torn, failure.torn = failure.torn, []
        failure.is_segment_broken = False
        self._tell(torn, is_written=False)

    def _announce(self, store: JournalStore) -> None:
        """Write the segment's rows and the row that tells of the failure; that they can be written is the recovery."""
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
                "rows_from_segment": len(failure.saved),
                "rows_kept": _rows_in([item for item in self._queue if item.waiter is None]),
                "rows_survived": failure.rows_survived,
            },
        )
        # If this commit fails and yet survives, the next opening finds it, knows it, and goes on.
        failure.drafts = [*failure.saved, draft(announcement)]
        store.append(failure.drafts)
        self._count_commit(store)
        with self._wake:
            self._let_go_of_segment(failure)
            # Who came for the segment while the journal came back is served by the journal, before all others.
            self._queue.extendleft(reversed(self._emergency))
            self._urgent += len(self._emergency)
            self._emergency.clear()
            self._failure = None


def _left_in(segment: EmergencySegment | None, store: JournalStore, *, at_ns: int) -> _Failure | None:
    """Compare what a segment holds with the journal: None when the journal has it. Raises JournalDamaged."""
    if segment is None:
        return None
    if segment.torn_rows:
        log.warning("the emergency segment ends with a torn row, which was never acknowledged; it is dropped")
    rows = segment.rows
    if not rows:
        return None
    first, size = rows[0][0], store.size()
    if first > size:
        raise JournalDamaged(
            f"{store.place}: {size} rows, while its emergency segment goes on from row {first}: cut off"
        )
    if first < size:
        found = [(row.seq, row.body) for row in store.stored_rows(first, len(rows))]
        if found != rows:
            raise JournalDamaged(f"{store.place}: rows from {first} on are not those of its emergency segment")
        segment.clear()
        return None
    saved = [_draft_of(seq, body) for seq, body in rows]
    return _Failure(first_seq=size, drafts=[], later=[], doubts=[], at_ns=at_ns, cause="restart", saved=saved)


def _draft_of(seq: int, body: bytes) -> Draft:
    row = parse_row(body)
    made = draft(Entry(at_ns=row.at_ns, kind=row.kind, actor=row.actor, fields=row.fields, policy_hash=row.policy_hash))
    if row.seq != seq:
        raise JournalDamaged(f"the emergency segment has row {row.seq} in the place of row {seq}")
    return made


def _following(saved: Sequence[StoredRow], from_seq: int, room: int) -> list[StoredRow]:
    """Pick from the segment's rows those that go on where a page of the journal ends."""
    return [row for row in saved if from_seq <= row.seq < from_seq + room] if saved and saved[0].seq <= from_seq else []


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
