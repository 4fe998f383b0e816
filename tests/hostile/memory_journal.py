"""A journal in memory with the writer's promises, and a crash that loses what was not durable yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from trade_journal.errors import JournalUnavailable
from trade_journal.log.checkpoint import Checkpoint, LogSigner
from trade_journal.log.rows import Draft, Entry, Row, draft, leaf_hash, numbered, parse_row
from trade_journal.log.tree import Frontier
from trade_journal.writer.writer import LATER_MAX_S


@dataclass(slots=True, kw_only=True)
class Disk:
    """What survives: the bytes of rows, in order."""

    bodies: list[bytes] = field(default_factory=list)
    tree: Frontier = field(default_factory=Frontier)
    signed: dict[int, bytes] = field(default_factory=dict)
    """The root of every checkpoint that was given out."""

    def keep(self, body: bytes) -> None:
        """Keep the next row."""
        self.bodies.append(body)
        self.tree = self.tree.extended([leaf_hash(body)])


class MemoryJournal:
    """One process's hold on the disk. Rows that somebody waits for take `commit_s`; the others ride with the next."""

    witnessed_size = 0  # of earlier runs; the witness is as young as the world
    emergency_rows = 0  # its disk is never full
    foreign_writes = 0

    def __init__(self, disk: Disk, *, signer: LogSigner, commit_s: float = 0.0) -> None:
        self._disk = disk
        self._signer = signer
        self._commit_s = commit_s
        self._pending: list[Draft] = []
        self._is_dead = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        """Count the durable rows."""
        return len(self._disk.bodies)

    @property
    def is_writable(self) -> bool:
        """Tell whether the process lives."""
        return not self._is_dead

    @property
    def pending(self) -> int:
        """Count the rows that are not durable yet."""
        return len(self._pending)

    async def append(self, entry: Entry) -> int:
        """Make a row durable, and with it all that were handed over before."""
        self.append_later(entry)
        place = len(self._disk.bodies) + len(self._pending) - 1
        if self._commit_s:
            await asyncio.sleep(self._commit_s)
        if self._is_dead:
            raise JournalUnavailable("the process is dead")
        self._commit()
        return place

    def append_later(self, entry: Entry) -> None:
        """Hand a row over."""
        if self._is_dead:
            raise JournalUnavailable("the process is dead")
        self._pending.append(draft(entry))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LATER_MAX_S, self._commit)

    async def checkpoint(self) -> bytes:
        """Sign every row handed over so far."""
        if self._is_dead:
            raise JournalUnavailable("the process is dead")
        self._commit()
        tree = self._disk.tree
        self._disk.signed[tree.size] = tree.root()
        return self._signer.sign(tree).rendered().encode()

    async def has_signed(self, checkpoint: Checkpoint) -> bool:
        """Tell whether a checkpoint was given out."""
        return self._disk.signed.get(checkpoint.size) == checkpoint.root

    def keep_cosigned(self, note: bytes) -> None:
        """Let it go: nobody here asks for it."""

    async def read(self, from_seq: int, limit: int) -> Sequence[Row]:
        """Read durable rows."""
        return [parse_row(body) for body in self._disk.bodies[from_seq : from_seq + limit]]

    async def close(self) -> None:
        """End in good order."""
        self._commit()
        self._is_dead = True

    def crash(self, *, survive: int) -> None:
        """End at once: of what is pending the first few rows reached the disk."""
        del self._pending[survive:]
        self._commit()
        self._is_dead = True

    def _commit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for made in self._pending:
            self._disk.keep(numbered(made.head, len(self._disk.bodies)))
        self._pending.clear()
