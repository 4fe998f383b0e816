"""A hostile flood of an hour costs under 10 MiB of the disk: an hour of a clock by hand, into a journal as it is kept.

The witness keeps the same rows in a copy, so that the journal may take half of it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gateway.parts import FailingJournal

from trade_core.clock import NS_PER_S, ManualClock
from trade_gateway.metrics import Metrics
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.recorder import ANSWER_ROWS_PER_S, COUNTED_ANSWERS, DENIAL_ROWS_PER_S, Recorder
from trade_gateway.wire.refusal import MAX_DETAIL_CHARACTERS
from trade_journal.errors import JournalUnavailable
from trade_journal.log.checkpoint import LogSigner, cosign
from trade_journal.log.rows import REQUEST_KINDS, RowKind, draft
from trade_journal.store.store import JournalStore
from trade_journal.writer.journal import Journal

MIB: Final = 1024 * 1024
HOUR_S: Final = 3600
CHECKPOINT_EVERY_S: Final = 5
STRANGERS_PER_S: Final = 8
CODES: Final = [code.name for code in DenyCode]
ORIGIN, WITNESS = "trade/simulated/1002/gateway", "trade/simulated/1002/watchdog"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
LONGEST: Final = "x" * MAX_DETAIL_CHARACTERS
DETAIL: Final = {"path": LONGEST, "field": LONGEST, "found": LONGEST}


def ask_for_a_second(recorder: Recorder, second: int) -> int:
    """Send what costs most: the bot just below what is folded, and strangers with every code. Says how many."""
    for number in range(DENIAL_ROWS_PER_S):
        code = CODES[(second * DENIAL_ROWS_PER_S + number) % len(CODES)]
        fields = {"route": "ORDER_CREATE", "detail": DETAIL}
        recorder.deny(RowKind.ORDER_DENIED, code=code, fields=fields, is_authenticated=True)
    for number in range(ANSWER_ROWS_PER_S):
        kind = list(COUNTED_ANSWERS)[number % len(COUNTED_ANSWERS)]
        recorder.answer(kind, {"category": "linear", "symbol": "BTCUSDT", "order_id": LONGEST, "result": "joined"})
    for number in range(STRANGERS_PER_S):  # all codes come before the next counted row does
        code = CODES[(second * STRANGERS_PER_S + number) % len(CODES)]
        recorder.deny(RowKind.REQUEST_DENIED, code=code, fields={}, is_authenticated=False)
    return DENIAL_ROWS_PER_S + ANSWER_ROWS_PER_S + STRANGERS_PER_S


def test_flood_of_an_hour_costs_under_five_mebibytes_and_every_request_is_counted(tmp_path: Path) -> None:
    clock = ManualClock()
    given = FailingJournal(JournalUnavailable("never"))
    given.is_failing = False
    recorder = Recorder(journal=cast("Journal", given), clock=clock, metrics=Metrics(), policy_hash="a" * 64)
    kept = Kept(tmp_path / "gateway.db")
    sent = recorded = 0
    for second in range(HOUR_S):
        sent += ask_for_a_second(recorder, second)
        clock.advance(NS_PER_S)
        recorder.flush_due_counts()
        if second % CHECKPOINT_EVERY_S == 0:
            recorded += kept.keep(given)
    recorder.flush_counts()
    recorded += kept.keep(given)
    assert recorded == sent
    assert kept.checkpoints > HOUR_S / CHECKPOINT_EVERY_S
    size = kept.close()
    assert 2 * MIB < size < 5 * MIB, f"{size / MIB:.2f} MiB, {kept.rows} rows: {kept.kinds}"


class Kept:
    """A journal with its rows, its checkpoints and its witness's, in few transactions: what it takes is the same."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = JournalStore.open(f"sqlite:///{path}", origin=ORIGIN)
        database: Any = self._store._database
        database._connection.connection.driver_connection.execute("PRAGMA synchronous=OFF")  # nobody cuts the power
        self._signer = LogSigner(origin=ORIGIN, private_key=LOG_KEY, ring_hash="ab" * 32)
        self.kinds: Counter[str] = Counter()
        self.checkpoints = 0

    @property
    def rows(self) -> int:
        """Count the rows."""
        return self._store.size()

    def keep(self, given: FailingJournal) -> int:
        """Keep what was handed over, under a checkpoint that is cosigned; says how many requests it stands for."""
        entries, given.later = given.later, []
        self._store.append([draft(entry) for entry in entries])
        note = self._signer.sign(self._store.tree())
        cosigned = cosign(note, name=WITNESS, private_key=WITNESS_KEY, at_s=1)
        self._store.append_checkpoint(note.rendered().encode())
        self._store.append_cosigned(cosigned.rendered().encode())
        self.checkpoints += 1
        self.kinds.update(entry.kind.value for entry in entries)
        counted = [entry for entry in entries if entry.kind is RowKind.REQUEST_COUNTED]
        assert all(entry in counted or entry.kind in REQUEST_KINDS for entry in entries)
        return len(entries) - len(counted) + sum(cast("int", entry.fields["count"]) for entry in counted)

    def close(self) -> int:
        """Close it, and say how many bytes it takes."""
        self._store.close()
        return self._path.stat().st_size
