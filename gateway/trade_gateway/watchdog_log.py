"""What the leases of each watchdog have said of its own journal. Pure.

Guarantees
- A lease counts only with a checkpoint of the journal of this deployment's watchdog, over no more rows than it says
  that there are.
- Two leases of one watchdog that name two roots for the same number of rows prove that it shows two histories.
- A journal that has become shorter is told once. It is no proof: files that were put back look like it, and the
  watchdog that was put back takes its peaks back by itself.
- What was heard outlives the process: the rows of `watchdog:remembered` are replayed.

What it does not do: see a fork that goes on longer than the checkpoint before, which contradicts nothing that is known
here; the rows are there for who holds both journals. Nor does it verify the note's own signature, by a key that the
ring does not name; the lease's signature vouches for what is compared here.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import Final

from trade_core.trust.keys import NotTrusted
from trade_core.trust.lease import Lease
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import Checkpoint, read_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.rows import Fields

WATCHDOGS_MAX: Final = 8
"""Each has its keys and stands by for the others; whoever was heard least recently is forgotten."""


class WatchdogForked(NotTrusted):
    """Two checkpoints of one watchdog's journal that contradict each other, each in a lease that it signed."""


class WatchdogLog:
    """The last checkpoint that each watchdog has named of its own journal."""

    def __init__(self, *, origin: str) -> None:
        """`origin` is the name of the watchdog's log."""
        self._origin = origin
        self._heads: OrderedDict[str, Checkpoint] = OrderedDict()

    def judge(self, lease: Lease) -> None:
        """Check what a lease says of its watchdog's journal. Raises NotTrusted, WatchdogForked among it."""
        head = self._read(lease.memory_checkpoint)
        if head.size > lease.memory_rows:
            raise NotTrusted(
                f"lease: its watchdog's journal has {lease.memory_rows} rows, and a checkpoint of {head.size}"
            )
        known = self._heads.get(lease.holder)
        if known is not None and known.size == head.size and known.root != head.root:
            raise WatchdogForked(
                f"lease: the journal of watchdog {lease.holder} has another root over {head.size} rows than before"
            )

    def take(self, lease: Lease) -> str:
        """Count what a lease says, once it counts; answers a sentence when the journal has become shorter."""
        return self._note(lease.holder, self._read(lease.memory_checkpoint))

    def replay(self, fields: Fields) -> None:
        """Take a row of what was remembered; one that names no checkpoint, as before there were any, says nothing."""
        with suppress(NotTrusted):
            self._note(str(fields.get("holder")), self._read(str(fields.get("memory_checkpoint"))))

    def _note(self, holder: str, head: Checkpoint) -> str:
        known = self._heads.get(holder)
        self._heads[holder] = head
        self._heads.move_to_end(holder)
        if len(self._heads) > WATCHDOGS_MAX:
            self._heads.popitem(last=False)
        if known is None or known.size <= head.size:
            return ""
        return f"the journal of watchdog {holder} had {known.size} rows under a checkpoint, and now has {head.size}"

    def _read(self, note: str) -> Checkpoint:
        try:
            head = read_checkpoint(parse_note(note.encode("utf-8", "replace")))
        except NoteRefused as error:
            raise NotTrusted(f"lease: the checkpoint of its watchdog's journal: {error}") from None
        if head.origin != self._origin:
            raise NotTrusted(f"lease: a checkpoint of {head.origin!r}, not of {self._origin!r}")
        return head
