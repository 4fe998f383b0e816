"""The rows that a client has handed over and that are not durable yet, as far as it knows.

Guarantees
- Nobody is told that a row is durable before the writer has said so. When its end cannot be known, who waits is told to
  doubt at once, and what became of the row as soon as that is known.
- A row that nobody waits for is kept until it is durable. After a failure it is handed over again, in order, and only
  once it is known that none of those before it is in the journal: never twice.
- What is pending is bounded for each peer: one row more is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_journal.errors import JournalDoubtful, JournalFull, JournalUnavailable, RowRefused
from trade_journal.log.rows import Entry
from trade_journal.log.verify import StoredRow
from trade_journal.writer.frames import (
    ROW_FRAME_BYTES_MAX,
    ROWS_MAX,
    EncodedRow,
    Failed,
    Fate,
    FrameRefused,
    encoded_row,
    framed_rows,
)
from trade_journal.writer.own_rows import written_among
from trade_journal.writer.peers import PENDING_ROWS_BY_PEER, Peer

WRITTEN_WITHIN_S: Final = 3.0  # a commit that takes longer is a failed disk to whoever waits
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class _Item:
    """Rows that were handed over together.

    `waiter` is None when nobody waits. `is_written` is there once somebody must be told what became of them.
    """

    number: int
    entries: Sequence[Entry]
    frame: bytes
    waiter: asyncio.Future[int] | None
    due_ns: int
    is_written: asyncio.Future[bool] | None = None

    def doubt(self, said: str, *, cause: str) -> None:
        """Tell who waits that nobody knows, yet."""
        if self.waiter is not None and not self.waiter.done():
            self.is_written = asyncio.get_running_loop().create_future()
            self.waiter.set_exception(JournalDoubtful(said, cause=cause, is_written=self.is_written))

    def tell(self, *, is_written: bool) -> None:
        """Tell who was told to doubt what became of it."""
        if self.is_written is not None and not self.is_written.done():
            self.is_written.set_result(is_written)

    def refuse(self, error: JournalUnavailable | RowRefused) -> None:
        """Tell who waits that it was not written, and why."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(error)
        self.tell(is_written=False)


class RowsInFlight:
    """What one client has handed over. `send` takes frames in order; `may_send` tells whether a writer would write."""

    def __init__(
        self,
        *,
        peer: Peer,
        clock: Clock,
        numbers: Iterator[int],
        send: Callable[[bytes], None],
        may_send: Callable[[], bool],
    ) -> None:
        self._peer = peer
        self._clock = clock
        self._numbers = numbers
        self._send = send
        self._may_send = may_send
        self.end = 0  # rows below it are not of this run, or were answered
        self.pending = 0  # rows, those of this turn of the loop included
        self._items: dict[int, _Item] = {}  # in the order of their numbers
        self._unsent: dict[int, _Item] = {}  # those of them that the writer does not have
        self._owed_fates: dict[int, _Item] = {}  # of those above, or of waiters that have been told to doubt
        self._unplaced: list[_Item] = []  # told to be in the journal, at a place that we have not seen
        self._later: list[tuple[Entry, EncodedRow]] = []  # of this turn of the loop
        self._settled = asyncio.Event()

    # Handing over.

    def hand_over(self, entries: Sequence[Entry]) -> asyncio.Future[int]:
        """Send rows whose first number somebody waits for, behind all that came before. Raises RowRefused, JournalFull.

        What is answered fails with RowRefused, JournalUnavailable or JournalDoubtful.
        """
        rows = [self._wire_row(entry) for entry in entries]
        self._make_room(len(entries))
        self.end_turn()  # its rows came before
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._send(self._item(entries, rows, waiter=waiter).frame)
        return waiter

    def hand_over_later(self, entry: Entry) -> None:
        """Take a row that nobody waits for, to go with the others of this turn. Raises RowRefused, JournalFull."""
        row = self._wire_row(entry)
        self._make_room(1)
        self._later.append((entry, row))
        if len(self._later) == ROWS_MAX:
            self.end_turn()

    def end_turn(self) -> None:
        """Make one message of the rows of this turn that nobody waits for."""
        if self._later:
            entries, rows = zip(*self._later, strict=True)
            self._later.clear()
            self._keep(entries, rows)

    def send_what_was_kept(self) -> None:
        """Hand over, in order, what nobody waits for, once it is known that none of it is in the journal."""
        if not self._unsent or not self._may_send():
            return
        if any(item.waiter is None for item in self._owed_fates.values()):
            return
        for number in sorted(self._unsent):
            self._send(self._unsent[number].frame)
        self._unsent.clear()

    def _make_room(self, rows: int) -> None:
        """Count rows as pending from now on. Raises JournalFull."""
        bound = PENDING_ROWS_BY_PEER[self._peer]
        if self.pending + rows > bound:
            raise JournalFull(f"{self.pending} rows pending; at most {bound}", cause="full")
        self.pending += rows

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
        number = next(self._numbers)
        item = self._items[number] = _Item(
            number=number,
            entries=entries,
            frame=framed_rows(rows, number=number, is_urgent=waiter is not None),
            waiter=waiter,
            due_ns=self._clock.monotonic_ns() + int(WRITTEN_WITHIN_S * NS_PER_S),
        )
        return item

    def _keep(self, entries: Sequence[Entry], rows: Sequence[EncodedRow]) -> None:
        item = self._item(entries, rows, waiter=None)
        self._unsent[item.number] = item
        self.send_what_was_kept()

    # What the writer says of them.

    def written(self, number: int, seq: int) -> None:
        """Hear that what was handed over as `number` is durable from row `seq` on."""
        item = self._items.get(number)
        if item is None:
            return
        self._done(item)
        self.end = max(self.end, seq + len(item.entries))
        self._unplaced.clear()  # they are below it
        if item.waiter is not None and not item.waiter.done():
            item.waiter.set_result(seq)
        item.tell(is_written=True)

    def failed(self, answer: Failed) -> None:
        """Hear that rows were refused, or could not be written, or may be in the journal for all that anybody knows."""
        item = self._items.get(answer.number)
        if item is None:
            return
        if answer.is_refused:
            self._refused(item, answer.said)
            return
        if answer.is_doubtful:
            self._owed_fates[item.number] = item
        if item.waiter is None:
            self._unsent[item.number] = item
            return
        self._done(item)
        if answer.is_doubtful:
            item.doubt(answer.said, cause=answer.cause)
        else:
            item.refuse(JournalUnavailable(answer.said, cause=answer.cause))

    def decided(self, answer: Fate) -> None:
        """Hear what became of rows whose commit failed while it was under way."""
        item = self._owed_fates.pop(answer.number, None)
        if item is None:
            return
        if answer.is_written:
            self._done(item)
            self._unplaced.append(item)
        item.tell(is_written=answer.is_written)
        self.send_what_was_kept()

    def _refused(self, item: _Item, said: str) -> None:
        self._done(item)
        if item.waiter is not None:
            item.refuse(RowRefused(said))
        elif len(item.entries) > 1:
            self._hand_over_one_by_one(item)
        else:
            log.error("a row was refused, which is a defect: %s", said)

    def _hand_over_one_by_one(self, item: _Item) -> None:
        """Find the row that makes the writer refuse all that came in one turn; the others are written."""
        self.pending += len(item.entries)
        for entry in item.entries:
            self._keep((entry,), (self._wire_row(entry),))

    def _done(self, item: _Item) -> None:
        """Count an item's rows as no longer pending."""
        self._unsent.pop(item.number, None)
        if self._items.pop(item.number, None) is not None:
            self.pending -= len(item.entries)
            if not self._items:
                self._settled.set()

    # When the writer says nothing.

    def doubt_overdue(self) -> None:
        """Let nobody wait longer than WRITTEN_WITHIN_S."""
        now_ns = self._clock.monotonic_ns()
        for item in self._items.values():
            if item.due_ns > now_ns:
                break
            item.doubt(f"no commit within {WRITTEN_WITHIN_S:g} s", cause="unavailable")

    def doubt_all(self, why: str) -> None:
        """Tell everybody who waits that nobody knows: the connection is gone."""
        for item in self._items.values():
            item.doubt(why, cause="writer_gone")
        self._settled.set()

    async def next_change(self) -> None:
        """Wait until nothing is pending, or until the connection ends."""
        self._settled.clear()
        await self._settled.wait()

    def learn(self, rows: Sequence[StoredRow]) -> None:
        """Tell what became of what was in flight when the connection ended, by all rows since `end`.

        What is not among them was not written. Raises JournalRefused when another process writes under our name,
        JournalDamaged for bytes that are no row.
        """
        in_flight = {number: item for number, item in self._items.items() if number not in self._unsent}
        in_doubt = {**in_flight, **self._owed_fates}
        handed_over = {item.number: item.entries for item in (*self._unplaced, *in_doubt.values())}
        found = written_among(rows, handed_over, peer=self._peer)
        self._owed_fates.clear()
        self._unplaced.clear()
        for item in in_doubt.values():
            self._settle(item, is_written=item.number in found)
        self.end = max(self.end, rows[-1].seq + 1) if rows else self.end

    def _settle(self, item: _Item, *, is_written: bool) -> None:
        item.tell(is_written=is_written)
        if is_written or item.waiter is not None:
            self._done(item)
        else:
            self._unsent[item.number] = item
