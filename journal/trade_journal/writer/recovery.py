"""How a writer comes back after a commit that failed, and what is durable meanwhile.

1. The journal is closed, opened and read: only the disk knows whether the rows of the failed commit are there. It keeps
   all of them or none; anything else is another's writing, and the journal stays closed.
   A file that another process has locked, or whose disk takes no more writes, is held and read without being opened for
   writing; the opening is tried again after a pause.
2. Now its end is known. Rows that the emergency segment serves are numbered from there and made durable in the segment.
3. After a pause one commit is tried: the segment's rows and the row that tells of the failure. If it fails, back to 1.

While the end cannot be read nothing is numbered and the segment takes nothing: that is called dark.
If we crash anywhere in this, the segment's rows are found at the next start, which begins at step 3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import TradeError
from trade_journal.errors import JournalDamaged, JournalUnavailable
from trade_journal.log.rows import Draft, Entry, RowKind, draft, leaf_hash, numbered, parse_row, row_bytes
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.store.held import HeldJournal, JournalEnd
from trade_journal.store.store import READ_ROWS_MAX, JournalStore
from trade_journal.writer.backlog import Backlog, Failure, Item, fates, rows_in
from trade_journal.writer.emergency_segment import SEGMENT_ROWS_MAX, EmergencySegment
from trade_journal.writer.loop_answers import LoopAnswers

RETRY_FIRST_S: Final = 0.1
_LOCKED: Final = ("sqlite_busy", "sqlite_locked")  # what SQLite says of a file that another connection writes
RETRY_LAST_S: Final = 5.0  # the retry budget is a rate: a full disk may be emptied hours later
log = logging.getLogger(__name__)


class Recovery:
    """Brings one journal back, in the writer's thread."""

    def __init__(
        self,
        *,
        backlog: Backlog,
        answers: LoopAnswers,
        clock: Clock,
        segment: EmergencySegment | None,
        open_store: Callable[[], JournalStore],
        hold_store: Callable[[], HeldJournal],
        on_commit: Callable[[JournalStore], None],
    ) -> None:
        """`hold_store` reads what `open_store` cannot; `on_commit` is told of the commit that ends the failure."""
        self._backlog = backlog
        self._answers = answers
        self._clock = clock
        self._segment = segment
        self._open_store = open_store
        self._hold_store = hold_store
        self._held: HeldJournal | None = None  # from a look until the next opening
        self._on_commit = on_commit
        self.saved: Sequence[StoredRow] = ()  # the segment's rows, as they will lie in the journal
        if backlog.failure is not None:
            self._show_saved(backlog.failure)

    def run(self, store: JournalStore | None = None) -> JournalStore | None:
        """Try, with growing pauses, until the journal takes a row. None when the writer is closed before that.

        `store` is given when the journal has been read already, at a start.
        """
        failure = self._backlog.failure
        assert failure is not None
        try:
            return self._tried_until_it_takes_a_row(store, failure)
        finally:
            self._let_go_of_held()

    def _tried_until_it_takes_a_row(self, store: JournalStore | None, failure: Failure) -> JournalStore | None:
        pause_s = 0.0 if store is not None else RETRY_FIRST_S
        if store is None and failure.cause.startswith(_LOCKED):
            # To open it would wait as long again for the lock, and with it whoever cancels.
            self._look(failure, self._backlog.last_failure)
        while True:
            if store is None and self._held is None:
                store = self._read_again(failure)
            is_last_try = self._is_closed_within(pause_s, failure)
            if store is None and (is_last_try or self._held is not None):
                store = self._read_again(failure)
            if store is not None and self._is_announced(store, failure):
                return store
            store = None
            if is_last_try:
                self.go_dark(failure, "closed before the journal came back")
                return None
            pause_s = min(max(pause_s * 2, RETRY_FIRST_S), RETRY_LAST_S)

    def go_dark(self, failure: Failure, said: str) -> None:
        """Refuse rows for the segment too: nobody knows which numbers they would have."""
        waiting = self._backlog.go_dark(said)
        begun, failure.begun = list(failure.begun), ()
        failure.doubts = [*failure.doubts, *fates(begun)]
        failure.rows_failed += rows_in([*begun, *waiting])
        self._backlog.done(rows_in(begun))
        self._answers.doubt([*begun, *waiting], f"not writable: {said}", cause=failure.cause)
        self._answers.tell(fates(waiting), is_written=False)

    def _read_again(self, failure: Failure) -> JournalStore | None:
        """Open the journal and learn what became of the failed commit. None when it does not let us."""
        self._let_go_of_held()
        try:
            store = self._open_store()
        except JournalDamaged as error:
            self.go_dark(failure, str(error))
            return None
        except TradeError as error:
            self._look(failure, str(error))
            return None
        try:
            _require_own(store, failure)
            self._reconcile(store, failure)
        except TradeError as error:
            self.go_dark(failure, str(error))
            store.close()
            return None
        return store

    def _look(self, failure: Failure, said: str) -> None:
        """Learn by reading alone where the journal ends, so that the segment goes on. Dark when it cannot be read.

        `said` is why it cannot be opened for writing.
        """
        try:
            held = self._hold_store()
        except TradeError as error:
            self.go_dark(failure, f"{said}; nor read: {error}")
            return
        try:
            self._reconcile(held, failure)
        except TradeError as error:
            held.close()
            self.go_dark(failure, str(error))
            return
        self._backlog.last_failure = said
        self._held = held

    def _let_go_of_held(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def _reconcile(self, store: JournalEnd, failure: Failure) -> None:
        """Learn whether the failed commit is there. Raises JournalDamaged when the journal holds anything else."""
        is_written = _is_written(store, failure)
        self._answers.tell(failure.doubts, is_written=is_written)
        if is_written:
            self._answers.doubt(failure.begun, "the commit failed, and the row survived it", cause=failure.cause)
            self._answers.tell(fates(failure.begun), is_written=True)
            self._backlog.done(rows_in([*failure.later, *failure.begun]))
            failure.rows_survived += len(failure.drafts)
            failure.tree = _tree_with(failure)
            self._let_go_of_segment(failure)
        else:
            self._backlog.put_back(later=failure.later, emergency=failure.begun)
        # What is settled must not be settled again should the announcement fail.
        failure.first_seq = store.size()
        failure.drafts = failure.later = failure.begun = failure.doubts = ()
        failure.is_dark = False

    def _is_closed_within(self, pause_s: float, failure: Failure) -> bool:
        """Pause, and serve the emergency segment meanwhile. Answers whether the writer is closing."""
        until_ns = self._clock.monotonic_ns() + int(pause_s * NS_PER_S)
        left_s = pause_s
        while True:
            items = self._backlog.take_emergency(left_s)
            if items:
                self._save(items, failure)
            left_s = (until_ns - self._clock.monotonic_ns()) / NS_PER_S
            if self._backlog.is_closing or not items or left_s <= 0:
                return self._backlog.is_closing

    def _save(self, items: Sequence[Item], failure: Failure) -> None:
        """Make rows durable in the segment; each follows the last durable one."""
        segment = self._segment
        assert segment is not None
        fitting, rest = items[: segment.room], items[segment.room :]
        first = failure.first_seq + len(failure.saved)
        drafts = [one for item in fitting for one in item.drafts]
        try:
            segment.append([(first + index, numbered(one.head, first + index)) for index, one in enumerate(drafts)])
        except JournalUnavailable as error:
            # They may be read from the segment should we crash now; at the recovery they are let go.
            failure.is_segment_broken = True
            failure.torn += fates(fitting)
            self._give_up(fitting, failure, str(error), cause=error.cause)
        else:
            failure.saved = [*failure.saved, *drafts]
            self._show_saved(failure)
            self._backlog.done(len(drafts))
            self._answers.give(
                [(item.waiter, first + at) for at, item in enumerate(fitting) if item.waiter is not None]
            )
            self._answers.tell(fates(fitting), is_written=True)
        full = f"the emergency segment holds {SEGMENT_ROWS_MAX} rows and is full"
        self._give_up(rest, failure, full, cause="segment_full")
        self._answers.tell(fates(rest), is_written=False)

    def _give_up(self, items: Sequence[Item], failure: Failure, said: str, *, cause: str) -> None:
        self._backlog.done(rows_in(items))
        failure.rows_failed += rows_in(items)
        self._answers.doubt(items, said, cause=cause)

    def _is_announced(self, store: JournalStore, failure: Failure) -> bool:
        """Write what the segment holds, and that the journal is back. The store is closed when it cannot."""
        announcement = Entry(
            at_ns=self._clock.wall_ns(),
            kind=RowKind.JOURNAL_RECOVERED,
            actor="journal",
            fields={
                "cause": failure.cause,
                "failed_at_ns": failure.at_ns,
                "rows_failed": failure.rows_failed,
                "rows_from_segment": len(failure.saved),
                "rows_kept": self._backlog.kept_rows(),
                "rows_survived": failure.rows_survived,
            },
        )
        # If this commit fails and yet survives, the next opening finds it, knows it, and goes on.
        failure.drafts = [*failure.saved, draft(announcement)]
        try:
            store.append(failure.drafts)
        except TradeError as error:
            self._backlog.last_failure = str(error)
            store.close()
            return False
        self._on_commit(store)
        self._let_go_of_segment(failure)
        self._backlog.recover()
        return True

    def _let_go_of_segment(self, failure: Failure) -> None:
        """Empty the segment: what it held is in the journal."""
        if self._segment is not None:
            self._segment.clear()
        failure.saved = ()
        self.saved = ()
        torn, failure.torn = failure.torn, []
        failure.is_segment_broken = False
        self._answers.tell(torn, is_written=False)

    def _show_saved(self, failure: Failure) -> None:
        bodies = [numbered(one.head, failure.first_seq + index) for index, one in enumerate(failure.saved)]
        self.saved = tuple(
            StoredRow(seq=failure.first_seq + index, body=body, leaf_hash=leaf_hash(body))
            for index, body in enumerate(bodies)
        )


def _is_written(store: JournalEnd, failure: Failure) -> bool:
    """Tell whether the failed commit is there. Raises JournalDamaged when the journal holds anything else."""
    if store.size() == failure.first_seq:
        return False
    expected = [numbered(one.head, failure.first_seq + index) for index, one in enumerate(failure.drafts)]
    found = [row_bytes(row) for row in store.read(failure.first_seq, READ_ROWS_MAX)]
    if not expected or found != expected:
        raise JournalDamaged(f"{store.place}: rows from {failure.first_seq} on are not this writer's")
    return True


def _require_own(store: JournalStore, failure: Failure) -> None:
    """Hold all rows against those that this writer wrote: an edit of one that no checkpoint covers yet is seen.

    Raises JournalDamaged.
    """
    _is_written(store, failure)
    if failure.tree is not None and store.tree() not in (failure.tree, _tree_with(failure)):
        raise JournalDamaged(f"{store.place}: rows before {failure.first_seq} are not this writer's")


def _tree_with(failure: Failure) -> Frontier | None:
    """Add the rows of the failed commit to the tree."""
    if failure.tree is None:
        return None
    rows = [numbered(one.head, failure.first_seq + index) for index, one in enumerate(failure.drafts)]
    return failure.tree.extended(leaf_hash(row) for row in rows)


def left_in(segment: EmergencySegment | None, store: JournalStore, *, at_ns: int) -> Failure | None:
    """Compare what a segment holds with the journal; the failure to recover from, if there is one.

    Raises JournalDamaged when they contradict each other.
    """
    if segment is None:
        return None
    if segment.torn_rows:
        log.warning("the emergency segment ends with a torn row, which was never acknowledged; it is dropped")
    rows = segment.rows
    if not rows:
        return None
    first, size = rows[0][0], store.size()
    if first > size:
        said = f"{store.place}: {size} rows, while its emergency segment goes on from row {first}: cut off"
        raise JournalDamaged(said)
    if first < size:
        # We crashed between the recovery and the emptying of the segment.
        found = [(row.seq, row.body) for row in store.stored_rows(first, len(rows))]
        if found != rows:
            raise JournalDamaged(f"{store.place}: rows from {first} on are not those of its emergency segment")
        segment.clear()
        return None
    saved = [_draft_of(seq, body) for seq, body in rows]
    return Failure(first_seq=size, at_ns=at_ns, cause="restart", saved=saved)


def _draft_of(seq: int, body: bytes) -> Draft:
    row = parse_row(body)
    if row.seq != seq:
        raise JournalDamaged(f"the emergency segment has row {row.seq} in the place of row {seq}")
    return draft(Entry(at_ns=row.at_ns, kind=row.kind, actor=row.actor, fields=row.fields, policy_hash=row.policy_hash))


def following(saved: Sequence[StoredRow], from_seq: int, room: int) -> list[StoredRow]:
    """Pick from the segment's rows those that go on where a page of the journal ends."""
    return [row for row in saved if from_seq <= row.seq < from_seq + room] if saved and saved[0].seq <= from_seq else []
