"""What a service needs of its journal, wherever the writer runs: in this process or in one of its own.

`JournalWriter` is the first, `JournalClient` the second. The promises are those of `writer`; see there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trade_journal.log.checkpoint import Checkpoint
from trade_journal.log.rows import Entry, Row
from trade_journal.log.verify import StoredRow


class Journal(Protocol):
    """An open journal, as who writes into it sees it. The counts are for metrics and may lag a moment."""

    @property
    def size(self) -> int:
        """Count the rows that are durable in the journal."""
        ...

    @property
    def witnessed_size(self) -> int:
        """Count the rows under the last cosigned checkpoint that is kept."""
        ...

    @property
    def emergency_rows(self) -> int:
        """Count the rows that are durable in the emergency segment and not yet in the journal."""
        ...

    @property
    def commits_total(self) -> int:
        """Count the commits of the writer's run."""
        ...

    @property
    def failures_total(self) -> int:
        """Count the failed commits of the writer's run."""
        ...

    @property
    def foreign_writes(self) -> int:
        """Count how often the writer's run found that somebody else had written to the journal."""
        ...

    @property
    def last_failure(self) -> str:
        """Say what the last failure was; empty without one."""
        ...

    @property
    def is_writable(self) -> bool:
        """Say whether a row handed over now can be expected to become durable in time."""
        ...

    @property
    def pending(self) -> int:
        """Count the rows handed over and not yet durable."""
        ...

    async def append(self, entry: Entry) -> int:
        """Make one row durable and answer its number. Raises RowRefused, JournalUnavailable, JournalFull."""
        ...

    async def append_many(self, entries: Sequence[Entry]) -> list[int]:
        """Make rows durable together, all or none. Raises RowRefused, JournalUnavailable, JournalFull."""
        ...

    def append_later(self, entry: Entry) -> None:
        """Hand over a row that is committed soon, and kept in bounded memory through a failure."""
        ...

    async def checkpoint(self) -> bytes:
        """Sign and keep a checkpoint over every row handed over so far. Raises JournalUnavailable."""
        ...

    def keep_cosigned(self, note: bytes) -> None:
        """Hand over a cosigned checkpoint of this journal; the last one counts."""
        ...

    async def has_signed(self, note: Checkpoint) -> bool:
        """Tell whether this journal ever gave out a checkpoint of this size and root. Raises JournalError."""
        ...

    async def read(self, from_seq: int, limit: int) -> Sequence[Row]:
        """Read durable rows in order, at most READ_ROWS_MAX. Raises JournalError."""
        ...

    async def stored(self, from_seq: int, limit: int) -> Sequence[StoredRow]:
        """Read durable rows as they lie there, at most READ_ROWS_MAX. Raises JournalError."""
        ...

    async def close(self) -> None:
        """Let what is pending become durable, and end. Raises JournalUnavailable when rows are lost."""
        ...
