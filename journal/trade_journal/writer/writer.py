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
  numbered: while the journal cannot even be read again, they are refused like all others. A file that somebody else has
  locked, or whose disk has become read-only, can be read.

It does not choose what must be durable before acting: the caller awaits ``append`` for that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import TradeError
from trade_core.records import record
from trade_journal.errors import FOREIGN_WRITE, JournalDoubtful, JournalUnavailable
from trade_journal.log.checkpoint import Checkpoint, LogSigner, read_checkpoint
from trade_journal.log.note import Verifier, parse_note
from trade_journal.log.rows import Draft, Entry, Row, draft, parse_row
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.store.held import HeldJournal
from trade_journal.store.store import JournalReader, JournalStore
from trade_journal.writer.backlog import (
    GROUP_ROWS_MAX,
    LATER_MAX_S,
    PENDING_ROWS_MAX,
    Backlog,
    Failure,
    Item,
    fates,
    rows_in,
)
from trade_journal.writer.emergency import serves
from trade_journal.writer.emergency_segment import EmergencySegment
from trade_journal.writer.loop_answers import LoopAnswers
from trade_journal.writer.recovery import Recovery, following, left_in

__all__ = ["GROUP_ROWS_MAX", "LATER_MAX_S", "PENDING_ROWS_MAX", "HandedOver", "JournalWriter"]

MANY_ROWS_MAX: Final = 256  # rows of one append_many, committed together or not at all
COMMIT_DEADLINE_S: Final = 3.0  # an fsync that takes longer is a failed disk to whoever waits
CLOSE_DEADLINE_S: Final = 5.0
_Given = TypeVar("_Given", int, bytes)


@record(frozen=True, slots=True, kw_only=True)
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
        archive: Path | None = None,
    ) -> None:
        """Use ``open`` instead: it opens the store off the event loop."""
        self._signer = signer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._reader = JournalReader(url, archive=archive)
        self._segment = segment
        self._answers = LoopAnswers(self._loop)
        failure = left_in(segment, store, at_ns=clock.wall_ns())
        self._backlog = Backlog(failure=failure, has_segment=segment is not None)
        self._recovery = Recovery(
            backlog=self._backlog,
            answers=self._answers,
            clock=clock,
            segment=segment,
            open_store=lambda: JournalStore.open(url, origin=origin, log=_log(signer)),
            hold_store=lambda: HeldJournal.open(url, origin=origin, log=_log(signer)),
            on_commit=self._count_commit,
        )
        # Written by the writer's thread alone, read by anyone.
        self.size = store.size()
        self.witnessed_size = store.witnessed_size()
        self.commits_total = 0
        self.failures_total = 0
        self.foreign_writes = 0
        self._commit_began_ns: int | None = None
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
        archive: Path | None = None,
    ) -> JournalWriter:
        """Open or make the journal at ``sqlite:////absolute/path``, checked, ready to append.

        ``origin`` names who writes, for which account, in which environment; a journal of another origin is refused,
        and one whose last checkpoint is not by ``signer``. ``emergency`` is where the emergency segment is, or is made.
        Rows that were left in it are written before anything else. ``archive`` is where the sealed segments are, when
        they are not beside the file. Raises JournalRefused (JournalDamaged among it) or
        JournalUnavailable.
        """
        store = await asyncio.to_thread(JournalStore.open, url, origin=origin, log=_log(signer))
        segment: EmergencySegment | None = None
        try:
            if emergency is not None:
                segment = await asyncio.to_thread(EmergencySegment.open, emergency, origin=origin)
            return cls(
                url=url, origin=origin, clock=clock, store=store, signer=signer, segment=segment, archive=archive
            )
        except BaseException:
            if segment is not None:
                segment.close()
            store.close()
            raise

    @property
    def is_writable(self) -> bool:
        """Say whether a row handed over now can be expected to become durable in time."""
        return not (self._backlog.failure is not None or self._backlog.is_closing or self._is_stalled())

    @property
    def pending(self) -> int:
        """Count the rows handed over and not yet durable."""
        return self._backlog.pending_rows

    @property
    def last_failure(self) -> str:
        """Say what went wrong last; empty when nothing did."""
        return self._backlog.last_failure

    @property
    def end(self) -> int:
        """Count the rows that are durable in the journal, or in the segment behind it."""
        failure = self._backlog.failure
        return self.size if failure is None else failure.first_seq + len(failure.saved)

    @property
    def is_dead(self) -> bool:
        """Say that the writer's thread has ended: nothing will be written any more."""
        return not self._thread.is_alive()

    @property
    def emergency_rows(self) -> int:
        """Count the rows that are durable in the emergency segment and not yet in the journal."""
        return len(self._recovery.saved)

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
        self._backlog.put(Item(drafts=[draft(entry)], waiter=None))

    def hand_over(self, drafts: Sequence[Draft], *, is_urgent: bool) -> HandedOver:
        """Hand over rows that are committed together, and return at once; no deadline is kept here.

        What is not urgent waits up to LATER_MAX_S for company. Raises JournalUnavailable, JournalFull.
        """
        handed = HandedOver(waiter=self._loop.create_future(), is_written=self._loop.create_future())
        is_emergency = self._segment is not None and is_urgent and len(drafts) == 1 and serves(drafts[0].entry)
        self._backlog.put(
            Item(
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
        self._backlog.ask_point(waiter)
        return await _in_time(waiter)

    def keep_cosigned(self, note: bytes) -> None:
        """Hand over a checkpoint of this journal that was verified with its cosignature; the last one counts."""
        self._backlog.put_cosigned(note)

    async def has_signed(self, note: Checkpoint) -> bool:
        """Tell whether a checkpoint of this size and root was ever given out by this journal. Raises JournalError."""
        kept = await asyncio.to_thread(self._reader.checkpoints_of, note.size)
        return any(read_checkpoint(parse_note(raw)).root == note.root for raw in kept)

    async def read(self, from_seq: int, limit: int) -> list[Row]:
        """Read durable rows in order, at most READ_ROWS_MAX. Raises JournalError."""
        saved = self._recovery.saved
        rows = await asyncio.to_thread(self._reader.read, from_seq, limit)
        return [*rows, *(parse_row(row.body) for row in following(saved, from_seq + len(rows), limit - len(rows)))]

    async def stored(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read durable rows as they lie there, at most READ_ROWS_MAX. Raises JournalError."""
        saved = self._recovery.saved
        rows = await asyncio.to_thread(self._reader.stored_rows, from_seq, limit)
        return [*rows, *following(saved, from_seq + len(rows), limit - len(rows))]

    async def close(self) -> None:
        """Commit what is pending, within CLOSE_DEADLINE_S, and release the journal. Can be called twice.

        Raises JournalUnavailable when rows that nobody waits for could not be written: they are lost with the process.
        """
        self._backlog.close()
        await asyncio.to_thread(self._thread.join, CLOSE_DEADLINE_S)
        self._reader.close()
        if self._thread.is_alive():
            raise JournalUnavailable(
                f"the disk did not finish within {CLOSE_DEADLINE_S} s; {self.pending} rows unknown"
            )
        if self.pending:
            raise JournalUnavailable(f"{self.pending} rows could not be written: {self.last_failure}")

    async def _durable(self, drafts: Sequence[Draft]) -> int:
        handed = self.hand_over(drafts, is_urgent=True)
        return await _in_time(handed.waiter, is_written=handed.is_written)

    def _is_stalled(self) -> bool:
        began_ns = self._commit_began_ns
        return began_ns is not None and self._clock.monotonic_ns() - began_ns > COMMIT_DEADLINE_S * NS_PER_S

    # From here on: the writer's thread.

    def _run(self, store: JournalStore) -> None:
        try:
            self._work(store)
        except BaseException as error:
            # A defect here must not leave waiters hanging on a journal that looks writable.
            failure = self._fail(first_seq=self.size, group=[], error=JournalUnavailable(repr(error), cause="defect"))
            self._recovery.go_dark(failure, repr(error))
            raise
        finally:
            if self._segment is not None:
                self._segment.close()

    def _work(self, store: JournalStore) -> None:
        """Commit groups until closed. After a failure the store is closed and opened anew."""
        opened = store if self._backlog.failure is None else self._recovery.run(store)
        while opened is not None:
            taken = self._backlog.take()
            is_idle = not taken.group and not taken.points and taken.cosigned is None
            if is_idle and self._backlog.is_closing:
                opened.close()
                return
            if not (
                (not is_idle or self._is_alone(opened))
                and self._is_committed(opened, taken.group, taken.points)
                and self._is_point_kept(opened, taken.points)
                and self._is_cosigned_kept(opened, taken.cosigned)
            ):
                opened.close()
                opened = self._recovery.run()

    def _is_committed(
        self, store: JournalStore, group: Sequence[Item], points: Sequence[asyncio.Future[bytes]]
    ) -> bool:
        if not group:
            return True
        first_seq, tree = store.size(), store.tree()
        self._commit_began_ns = self._clock.monotonic_ns()
        try:
            store.append([one for item in group for one in item.drafts])
        except TradeError as error:
            self._fail(first_seq=first_seq, tree=tree, group=group, points=points, error=error)
            return False
        finally:
            self._commit_began_ns = None
        self._count_commit(store)
        self._settle(group, first_seq)
        return True

    def _is_alone(self, store: JournalStore) -> bool:
        """Look whether somebody else has written to the journal; every commit looks too."""
        try:
            store.look()
        except TradeError as error:
            self._fail(first_seq=store.size(), tree=store.tree(), group=[], error=error)
            return False
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
                self._fail(first_seq=store.size(), tree=store.tree(), group=[], points=points, error=error)
                return False
            finally:
                self._commit_began_ns = None
            self._last_point = (store.size(), note)
        answer = self._last_point[1]
        self._answers.give([(waiter, answer) for waiter in points])
        return True

    def _is_cosigned_kept(self, store: JournalStore, note: bytes | None) -> bool:
        if note is None:
            return True
        try:
            store.append_cosigned(note)
        except TradeError as error:
            self._fail(first_seq=store.size(), tree=store.tree(), group=[], error=error)
            return False
        self.witnessed_size = store.witnessed_size()
        return True

    def _count_commit(self, store: JournalStore) -> None:
        self.commits_total += 1
        self.size = store.size()

    def _settle(self, group: Sequence[Item], first_seq: int) -> None:
        answers: list[tuple[asyncio.Future[int], int]] = []
        seq = first_seq
        for item in group:
            if item.waiter is not None:
                answers.append((item.waiter, seq))
            seq += len(item.drafts)
        self._backlog.done(seq - first_seq)
        self._answers.give(answers)
        self._answers.tell(fates(group), is_written=True)

    def _fail(
        self,
        *,
        first_seq: int,
        group: Sequence[Item],
        error: TradeError,
        tree: Frontier | None = None,
        points: Sequence[asyncio.Future[bytes]] = (),
    ) -> Failure:
        """Fail everybody who waits, keep what nobody waits for, refuse what comes until the disk is read again."""
        cause = error.cause if isinstance(error, JournalUnavailable) else "damaged"
        waiting = [item for item in group if item.waiter is not None and not item.is_emergency]
        failure = Failure(
            first_seq=first_seq,
            tree=tree,
            drafts=[one for item in group for one in item.drafts],
            later=[item for item in group if item.waiter is None],
            doubts=fates([item for item in group if not item.is_emergency]),
            at_ns=self._clock.wall_ns(),
            cause=cause,
            begun=[item for item in group if item.is_emergency],
            rows_failed=rows_in(waiting),
        )
        self.failures_total += 1
        self.foreign_writes += cause == FOREIGN_WRITE
        self._backlog.last_failure = str(error)
        queued, more_points = self._backlog.fail(failure)
        failed = JournalUnavailable(f"the commit failed: {error}", cause=cause)
        self._answers.doubt([*waiting, *queued], str(failed), cause=cause)
        self._answers.give([(waiter, failed) for waiter in (*points, *more_points)])
        self._answers.tell(fates(queued), is_written=False)  # it had not been begun
        return failure


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
