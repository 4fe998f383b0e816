"""What the gateway's own journal has signed in this run, and how much of it the witness has cosigned. Pure.

Guarantees
- A checkpoint counts only with the log's signature and the witness's, over a root that this journal signed itself.
- A size never goes back, over restarts too, and at most MAX_UNWITNESSED_S of rows stay without a witness.
- What the log's key signed and this journal did not is a fork: somebody else writes with our key, or rows are gone.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_core.trust.keys import NotTrusted
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import Checkpoint, open_checkpoint, open_cosigned
from trade_journal.log.note import Verifier

MAX_UNWITNESSED_S: Final = 15
REMEMBERED_MAX: Final = 64
"""Checkpoints are signed every few seconds, for the witness and by the clock; older ones are stale anyway."""


class LogForked(NotTrusted):
    """A checkpoint that this journal's key signed, and that this journal contradicts."""


class CheckpointForgotten(NotTrusted):
    """A checkpoint that is not among those remembered: only the journal itself knows whether it gave it out."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(f"lease: its checkpoint of {checkpoint.size} rows is not of the last {MAX_UNWITNESSED_S} s")
        self.checkpoint = checkpoint


@dataclass(frozen=True, slots=True)
class _Signed:
    root: bytes
    began_ns: int


class WitnessedLog:
    """Judges the cosigned checkpoints that leases bring."""

    def __init__(self, *, log: Verifier, witness: Verifier, clock: Clock, witnessed_size: int) -> None:
        """`witnessed_size` is what the journal says of earlier runs."""
        self._log = log
        self._witness = witness
        self._clock = clock
        self._signed: OrderedDict[int, _Signed] = OrderedDict()
        self.witnessed_size = witnessed_size

    def follow(self, log: Verifier) -> None:
        """Hold checkpoints to another log of the journal, once its row was believed; before any is remembered."""
        self._log = log

    def remember(self, note: bytes, *, began_ns: int) -> None:
        """Take a checkpoint that the journal has made durable. Every row of before `began_ns` (monotonic) is in it."""
        checkpoint, _ = open_checkpoint(note, log=self._log)
        self._signed[checkpoint.size] = _Signed(checkpoint.root, began_ns)
        self._signed.move_to_end(checkpoint.size)
        if len(self._signed) > REMEMBERED_MAX:
            self._signed.popitem(last=False)

    def last_signed(self) -> tuple[int, bytes]:
        """Return size and root of the checkpoint that was signed last; no rows and no root before the first."""
        if not self._signed:
            return 0, b""
        size = next(reversed(self._signed))
        return size, self._signed[size].root

    def judge(self, text: str) -> Checkpoint:
        """Verify a lease's checkpoint; it counts when `take` is told. Raises NotTrusted, LogForked among it."""
        try:
            checkpoint = open_cosigned(text.encode("utf-8", "replace"), log=self._log, witness=self._witness).checkpoint
        except NoteRefused as error:
            raise NotTrusted(f"lease: its checkpoint: {error}") from None
        size = checkpoint.size
        signed = self._signed.get(size)
        if signed is None:
            raise self._unknown(checkpoint)
        if signed.root != checkpoint.root:
            raise LogForked(f"lease: its checkpoint of {size} rows has another root than this journal has there")
        if size < self.witnessed_size:
            raise NotTrusted(f"lease: its checkpoint has {size} rows, after one of {self.witnessed_size}")
        age_ns = self._clock.monotonic_ns() - signed.began_ns
        if age_ns > MAX_UNWITNESSED_S * NS_PER_S:
            raise NotTrusted(
                f"lease: its checkpoint is {age_ns // NS_PER_S} s old, at most {MAX_UNWITNESSED_S} s count"
            )
        return checkpoint

    def take(self, checkpoint: Checkpoint) -> None:
        """Count a checkpoint whose lease counts."""
        self.witnessed_size = checkpoint.size

    def _unknown(self, checkpoint: Checkpoint) -> NotTrusted:
        largest = max(self._signed, default=None)
        if largest is not None and checkpoint.size > largest:
            return LogForked(
                f"lease: its checkpoint has {checkpoint.size} rows, and this journal signed {largest} at most"
            )
        return CheckpointForgotten(checkpoint)
