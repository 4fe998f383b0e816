"""What was handed to the writer and is not durable yet: filled by the event loop, taken by the writer's thread.

Guarantees
- Rows are taken in the order in which they came; one group holds at most GROUP_ROWS_MAX.
- It holds PENDING_ROWS_MAX rows, and refuses the next one.
- While the journal fails, rows that wait are refused, rows that nobody waits for are kept, and rows that the emergency
  segment serves stand in a line of their own for as long as it serves them.

Every method takes the lock for a moment and touches no disk: neither side ever waits for the other's work.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trade_core.records import record
from trade_journal.errors import JournalFull, JournalUnavailable
from trade_journal.log.rows import Draft
from trade_journal.log.tree import Frontier

LOOK_EVERY_S: Final = 1.0  # how often a writer without work looks whether it is alone
LATER_MAX_S: Final = 0.25  # how long a row that nobody waits for may stay in memory
PENDING_ROWS_MAX: Final = 8192  # about a second of the disk's speed; beyond it, waiting only hides the trouble
GROUP_ROWS_MAX: Final = 512  # rows in one commit, so that a doubtful one can be read back in one page
POINTS_MAX: Final = 64  # checkpoints asked for at once; one witness asks for one every few seconds


@dataclass(slots=True, kw_only=True)
class Item:
    """Rows that are committed together; ``waiter`` is None when nobody waits.

    ``is_written`` comes when the disk has told, also to one whose wait ended before. What is not urgent waits up to
    LATER_MAX_S for company.
    """

    drafts: Sequence[Draft]
    waiter: asyncio.Future[int] | None
    is_written: asyncio.Future[bool] | None = None
    is_urgent: bool = False
    is_emergency: bool = False


@dataclass(slots=True, kw_only=True)
class Failure:
    """A commit that failed, until the disk has told what became of it and has taken a row again.

    ``first_seq`` is where the journal ends as far as is known, and ``drafts`` may stand there. ``saved`` are the rows
    of the segment, which follow what is there. ``tree`` is over the rows before ``first_seq`` as they
    were written; None when that is not known. ``begun`` were in the failed commit and may go to the segment, if they
    are not in the journal. ``torn`` are those that the segment took half-way.
    """

    first_seq: int
    drafts: Sequence[Draft] = ()
    tree: Frontier | None = None
    later: Sequence[Item] = ()
    doubts: Sequence[asyncio.Future[bool]] = ()
    at_ns: int
    cause: str
    begun: Sequence[Item] = ()
    saved: Sequence[Draft] = ()
    torn: list[asyncio.Future[bool]] = field(default_factory=list)
    is_dark: bool = False  # the journal cannot be read again, so nothing can be numbered
    is_segment_broken: bool = False
    rows_failed: int = 0
    rows_survived: int = 0


@record(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the writer does next. All empty when it is closing and nothing is left."""

    group: Sequence[Item]
    points: Sequence[asyncio.Future[bytes]]
    cosigned: bytes | None


class Backlog:
    """Everything that event loop and writer's thread share."""

    def __init__(self, *, failure: Failure | None = None, has_segment: bool = False) -> None:
        self._wake = threading.Condition()
        self._has_segment = has_segment
        self._queue: deque[Item] = deque()
        self._emergency: deque[Item] = deque()
        self._points: list[asyncio.Future[bytes]] = []
        self._cosigned: bytes | None = None
        self._urgent = 0
        self.pending_rows = 0
        self.is_closing = False
        self.failure = failure
        self.last_failure = "" if failure is None else "rows of the emergency segment are on their way"

    # The event loop's side.

    def put(self, item: Item) -> None:
        """Hand over rows. Raises JournalUnavailable, JournalFull."""
        with self._wake:
            is_for_segment = item.is_emergency and self._is_segment_serving()
            if not is_for_segment:
                self._refuse_when_unwritable(is_waited_for=item.waiter is not None)
            if self.pending_rows + len(item.drafts) > PENDING_ROWS_MAX:
                raise JournalFull(f"{self.pending_rows} rows pending; at most {PENDING_ROWS_MAX}", cause="full")
            self.pending_rows += len(item.drafts)
            if is_for_segment:
                self._emergency.append(item)
                self._wake.notify()
                return
            self._queue.append(item)
            self._urgent += item.is_urgent
            # Rows that nobody waits for do not wake the thread one by one; the first one starts its timer.
            if item.is_urgent or len(self._queue) == 1 or self.pending_rows >= GROUP_ROWS_MAX:
                self._wake.notify()

    def ask_point(self, waiter: asyncio.Future[bytes]) -> None:
        """Ask for a checkpoint over all rows handed over so far. Raises JournalUnavailable, JournalFull."""
        with self._wake:
            self._refuse_when_unwritable()
            if len(self._points) >= POINTS_MAX:
                raise JournalFull(f"{POINTS_MAX} checkpoints pending", cause="full")
            self._points.append(waiter)
            self._wake.notify()

    def put_cosigned(self, note: bytes) -> None:
        """Hand over a cosigned checkpoint; the last one counts."""
        with self._wake:
            self._cosigned = note
            self._wake.notify()

    def close(self) -> None:
        """Refuse what comes from now on, and let the thread finish."""
        with self._wake:
            self.is_closing = True
            self._wake.notify()

    def _is_segment_serving(self) -> bool:
        failure = self.failure
        if failure is None or self.is_closing or not self._has_segment:
            return False
        return not (failure.is_dark or failure.is_segment_broken)

    def _refuse_when_unwritable(self, *, is_waited_for: bool = True) -> None:
        if self.is_closing:
            raise JournalUnavailable("the journal is closing", cause="closing")
        if self.failure is not None and is_waited_for:
            raise JournalUnavailable(f"not writable: {self.last_failure}", cause=self.failure.cause)

    # The writer's thread.

    def take(self) -> Taken:
        """Wait for rows or checkpoints that are due; after LOOK_EVERY_S without any there is nothing to take."""
        with self._wake:
            if not self._wake.wait_for(self._is_anything_there, LOOK_EVERY_S):
                return Taken(group=[], points=[], cosigned=None)
            self._wake.wait_for(self._is_due, LATER_MAX_S)
            group: list[Item] = []
            rows = 0
            while self._queue and (rows == 0 or rows + len(self._queue[0].drafts) <= GROUP_ROWS_MAX):
                item = self._queue.popleft()
                rows += len(item.drafts)
                self._urgent -= item.is_urgent
                group.append(item)
            # A checkpoint is over all rows that were handed over before it was asked for: not before they are out.
            points, self._points = (self._points, []) if not self._queue else ([], self._points)
            cosigned, self._cosigned = self._cosigned, None
            return Taken(group=group, points=points, cosigned=cosigned)

    def _is_anything_there(self) -> bool:
        return bool(self._queue or self._points or self._cosigned or self.is_closing)

    def take_emergency(self, within_s: float) -> list[Item]:
        """Wait for rows for the segment, or for the end of the time or of the writer."""
        with self._wake:
            self._wake.wait_for(lambda: self.is_closing or self._emergency, within_s)
            return self._emergency_taken()

    def done(self, rows: int) -> None:
        """Count rows as no longer pending, whatever became of them."""
        with self._wake:
            self.pending_rows -= rows

    def fail(self, failure: Failure) -> tuple[list[Item], list[asyncio.Future[bytes]]]:
        """Begin a failure: takes out who waits for rows or checkpoints, and counts those rows as failed."""
        with self._wake:
            waiting = [item for item in self._queue if item.waiter is not None and not item.is_emergency]
            self._emergency.extend(item for item in self._queue if item.is_emergency)
            self._queue = deque(item for item in self._queue if item.waiter is None)
            self._urgent = 0
            points, self._points = self._points, []
            failure.rows_failed += rows_in(waiting)
            self.pending_rows -= failure.rows_failed
            self.failure = failure
            return waiting, points

    def go_dark(self, said: str) -> list[Item]:
        """Refuse rows for the segment too, from now on; takes out those that are there."""
        with self._wake:
            self.last_failure = said
            if self.failure is not None:
                self.failure.is_dark = True
            taken = self._emergency_taken()
            self.pending_rows -= rows_in(taken)
            return taken

    def put_back(self, *, later: Sequence[Item], emergency: Sequence[Item]) -> None:
        """Put rows of a commit that left nothing back, before all others."""
        with self._wake:
            self._queue.extendleft(reversed(later))
            self._emergency.extendleft(reversed(emergency))

    def kept_rows(self) -> int:
        """Count the rows that nobody waits for."""
        with self._wake:
            return rows_in([item for item in self._queue if item.waiter is None])

    def recover(self) -> None:
        """End the failure. Who came for the segment meanwhile is served by the journal, before all others."""
        with self._wake:
            taken = self._emergency_taken()
            self._queue.extendleft(reversed(taken))
            self._urgent += len(taken)
            self.failure = None

    def _emergency_taken(self) -> list[Item]:
        taken, self._emergency = list(self._emergency), deque()
        return taken

    def _is_due(self) -> bool:
        return self.is_closing or self._urgent > 0 or bool(self._points) or self.pending_rows >= GROUP_ROWS_MAX


def rows_in(items: Sequence[Item]) -> int:
    """Count rows."""
    return sum(len(item.drafts) for item in items)


def fates(items: Sequence[Item]) -> list[asyncio.Future[bool]]:
    """Give what must be told once the disk has told."""
    return [item.is_written for item in items if item.is_written is not None]
