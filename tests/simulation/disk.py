"""What outlives a process: rows that were made durable, in files, so that a long run does not fill the memory."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Final, overload

from hostile.memory_journal import Disk, MemoryJournal

from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Draft, Entry, draft, leaf_hash
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.writer.emergency import serves
from trade_journal.writer.writer import PENDING_ROWS_MAX

HASH_BYTES: Final = 32


class RowFile(Sequence[bytes]):
    """Bodies of rows by their numbers, each behind its leaf hash."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir="/dev/shm")  # noqa: SIM115 - open for the whole run
        self._ends = array("q", [0])

    def append(self, body: bytes) -> None:
        """Keep the next one."""
        self._file.seek(self._ends[-1])
        self._file.write(leaf_hash(body) + body)
        self._ends.append(self._ends[-1] + HASH_BYTES + len(body))

    def stored(self, begin: int, end: int) -> list[StoredRow]:
        """Read rows as they lie there."""
        end = min(end, len(self))
        if begin >= end:
            return []
        first = self._ends[begin]
        self._file.seek(first)
        raw = self._file.read(self._ends[end] - first)
        rows = []
        for seq in range(begin, end):
            start, stop = self._ends[seq] - first, self._ends[seq + 1] - first
            rows.append(
                StoredRow(seq=seq, body=raw[start + HASH_BYTES : stop], leaf_hash=raw[start : start + HASH_BYTES])
            )
        return rows

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            begin, end, _ = index.indices(len(self))
            return [row.body for row in self.stored(begin, end)]
        return self.stored(index, index + 1)[0].body


class SimulatedDisk(Disk):
    """A disk that may be full. `on_row` is told of each row once it is durable."""

    def __init__(self) -> None:
        self._rows = RowFile()
        super().__init__(bodies=self._rows, tree=Frontier())  # type: ignore[arg-type]
        self.is_full = False
        self.is_dead = False  # nothing at all is taken, not even by the emergency segment
        self.on_row: Callable[[bytes], None] = lambda _: None

    def keep(self, body: bytes) -> None:
        """Make a row durable."""
        super().keep(body)
        self.on_row(body)

    def close(self) -> None:
        """Let go of what it holds, at the end of a run."""
        self._rows.close()

    def stored(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there."""
        return self._rows.stored(from_seq, from_seq + limit)


class SimulatedJournal(MemoryJournal):
    """The writer's promises over such a disk: while it is full, only what cancels, halts or reduces is taken."""

    failures_total = 0
    foreign_writes = 0
    commits_total = 0
    last_failure = ""
    _disk: SimulatedDisk

    @property
    def is_writable(self) -> bool:
        """Tell whether a row handed over now becomes durable."""
        return not self._is_dead and not self._disk.is_full

    async def append(self, entry: Entry) -> int:
        """Make a row durable."""
        if self._disk.is_full and not self._is_dead:
            if self._disk.is_dead or not serves(entry):
                raise JournalUnavailable("no space left", cause="full")
            place = len(self._disk.bodies)
            self._write([draft(entry)])
            return place
        return await super().append(entry)

    async def append_many(self, entries: Sequence[Entry]) -> list[int]:
        """Make rows durable together."""
        for entry in entries[:-1]:
            self.append_later(entry)
        last = await self.append(entries[-1])
        return list(range(last - len(entries) + 1, last + 1))

    def append_later(self, entry: Entry) -> None:
        """Hand a row over; while the disk is full it is kept in memory, within a bound."""
        if len(self._pending) >= PENDING_ROWS_MAX:
            raise JournalUnavailable("too many rows wait", cause="full")
        super().append_later(entry)

    async def checkpoint(self) -> bytes:
        """Sign what is durable."""
        if self._disk.is_full:
            raise JournalUnavailable("no space left", cause="full")
        return await super().checkpoint()

    async def stored(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows as they lie there."""
        return self._disk.stored(from_seq, limit)

    def _commit(self) -> None:
        if self._disk.is_full and not self._is_dead:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        super()._commit()

    def _write(self, drafts: list[Draft]) -> None:
        waiting, self._pending = self._pending, drafts
        super()._commit()
        self._pending = waiting
