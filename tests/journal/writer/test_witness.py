"""The witness: cosigns what its own rows bear out, withholds the rest, and calls only proof a fork."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from journal.outsider import reading

from trade_journal.errors import ForkProven, JournalDamaged, JournalRefused, JournalUnavailable, Withheld
from trade_journal.log.checkpoint import LogSigner, open_cosigned
from trade_journal.log.note import parse_note, sign_text
from trade_journal.log.rows import Row, RowKind, leaf_hash, row_bytes
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import PublicKeys, StoredRow, verify_journal
from trade_journal.store.store import JournalStore
from trade_journal.writer.witness import Witness

ORIGIN, NAME = "trade/simulated/1002/gateway", "trade/simulated/1002/watchdog"
SIGNER = LogSigner(
    origin=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(bytes(range(32))), ring_hash="ab" * 32
)
LOG = SIGNER.verifier()
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
AT_S = 1_795_000_000
Open = Callable[[], Witness]


def stored(seq: int, *, path: str = "/v5") -> StoredRow:
    row = Row(seq=seq, at_ns=seq, kind=RowKind.READ_ANSWERED, actor="gateway", fields={"path": path})
    body = row_bytes(row)
    return StoredRow(seq=seq, body=body, leaf_hash=leaf_hash(body))


ROWS = [stored(seq) for seq in range(12)]
FORKED = [*ROWS[:4], stored(4, path="/v6"), *ROWS[5:]]


def point(rows: list[StoredRow], *, signer: LogSigner = SIGNER) -> bytes:
    return signer.sign(Frontier().extended(row.leaf_hash for row in rows)).rendered().encode()


@pytest.fixture
def copy_url(journal_url: str) -> str:
    return journal_url


@pytest.fixture
def witness(copy_url: str) -> Iterator[Witness]:
    opened = Witness.open(copy_url, log=LOG, name=NAME, private_key=KEY)
    yield opened
    opened.close()


def test_checkpoint_that_the_rows_bear_out_is_cosigned_and_kept(witness: Witness, copy_url: str) -> None:
    witness.take(ROWS[:5])
    cosigned = witness.cosign(point(ROWS[:5]), at_s=AT_S)
    found = open_cosigned(cosigned, log=LOG, witness=witness.verifier)
    assert (found.checkpoint.size, found.at_s) == (5, AT_S)
    keys = PublicKeys(log=LOG, witness=witness.verifier)
    with reading(copy_url) as reader:
        assert reader.checkpoints(0, 10) == [cosigned]
        verdict = verify_journal(reader.stored_rows(0, 100), notes=reader.checkpoints(0, 10), keys=keys)
    assert (verdict.is_good, verdict.witnessed_rows) == (True, 5)


def test_checkpoint_of_an_empty_log_is_cosigned(witness: Witness) -> None:
    assert open_cosigned(witness.cosign(point([]), at_s=AT_S), log=LOG, witness=witness.verifier).checkpoint.size == 0


def test_checkpoint_before_its_rows_is_withheld(witness: Witness) -> None:
    witness.take(ROWS[:4])
    with pytest.raises(Withheld, match="of 5 rows, of which 4 have been seen"):
        witness.cosign(point(ROWS[:5]), at_s=AT_S)
    witness.take(ROWS[4:5])
    assert witness.cosign(point(ROWS[:5]), at_s=AT_S)


@pytest.mark.parametrize("size", [5, 8])
def test_checkpoint_that_the_rows_contradict_is_a_fork(witness: Witness, size: int) -> None:
    witness.take(ROWS[:8])
    with pytest.raises(ForkProven, match=f"over {size} rows"):
        witness.cosign(point(FORKED[:size]), at_s=AT_S)


def test_checkpoint_of_fewer_rows_is_withheld_and_no_fork(witness: Witness) -> None:
    witness.take(ROWS[:8])
    witness.cosign(point(ROWS[:8]), at_s=AT_S)
    with pytest.raises(Withheld, match="the log went back"):
        witness.cosign(point(ROWS[:5]), at_s=AT_S + 1)


def test_fork_is_proven_after_a_restart_too(copy_url: str) -> None:
    first = Witness.open(copy_url, log=LOG, name=NAME, private_key=KEY)
    first.take(ROWS[:8])
    first.cosign(point(ROWS[:8]), at_s=AT_S)
    first.close()
    again = Witness.open(copy_url, log=LOG, name=NAME, private_key=KEY)
    assert again.size == 8
    with pytest.raises(ForkProven):
        again.cosign(point(FORKED[:8]), at_s=AT_S)
    again.take(ROWS[8:])
    again.cosign(point(ROWS), at_s=AT_S)
    again.close()


def test_checkpoint_by_another_key_is_withheld(witness: Witness) -> None:
    other = LogSigner(origin=ORIGIN, private_key=Ed25519PrivateKey.generate(), ring_hash="ab" * 32)
    with pytest.raises(Withheld, match="0 signatures by"):
        witness.cosign(point([], signer=other), at_s=AT_S)
    with pytest.raises(Withheld, match="a note is"):
        witness.read_checkpoint(b"nonsense")


def test_lines_of_others_under_a_checkpoint_are_not_kept(witness: Witness) -> None:
    note = parse_note(point([]))
    stranger = sign_text(note.text, name="stranger", private_key=Ed25519PrivateKey.generate())
    cosigned = witness.cosign(replace(note, signatures=(stranger, *note.signatures)).rendered().encode(), at_s=AT_S)
    assert b"stranger" not in cosigned


@pytest.mark.parametrize(
    "rows",
    [
        [ROWS[1]],
        [ROWS[0], ROWS[2]],
        [ROWS[0]._replace(leaf_hash=bytes(32))],
        [ROWS[0]._replace(body=ROWS[0].body + b" ")],
        [ROWS[1]._replace(seq=0)],
        [StoredRow(seq=0, body=b"{}", leaf_hash=leaf_hash(b"{}"))],
    ],
)
def test_rows_that_are_not_the_next_ones_are_withheld_and_change_nothing(
    witness: Witness, rows: list[StoredRow]
) -> None:
    with pytest.raises(Withheld):
        witness.take(rows)
    assert witness.size == 0
    witness.take(ROWS[:3])
    witness.take([])
    assert witness.size == 3


def test_copy_of_another_log_is_refused(copy_url: str) -> None:
    Witness.open(copy_url, log=LOG, name=NAME, private_key=KEY).close()
    with pytest.raises(JournalRefused, match="'trade/simulated/1003/gateway'"):
        Witness.open(copy_url, log=replace(LOG, name="trade/simulated/1003/gateway"), name=NAME, private_key=KEY)


def test_copy_under_another_log_key_is_refused(copy_url: str) -> None:
    opened = Witness.open(copy_url, log=LOG, name=NAME, private_key=KEY)
    opened.cosign(point([]), at_s=AT_S)
    opened.close()
    with pytest.raises(JournalDamaged):
        Witness.open(
            copy_url, log=replace(LOG, public=Ed25519PrivateKey.generate().public_key()), name=NAME, private_key=KEY
        )


def test_closing_waits_for_the_cosignature_under_way_and_refuses_the_next(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement whose connection is closed under it takes the process down."""
    writing, may_end, did = threading.Event(), threading.Event(), list[str]()
    append, close = JournalStore.append_checkpoint, JournalStore.close

    def slow_append(store: JournalStore, note: bytes) -> None:
        writing.set()
        may_end.wait(60)
        append(store, note)
        did.append("cosigned")

    def told_close(store: JournalStore) -> None:
        close(store)
        did.append("closed")

    monkeypatch.setattr(JournalStore, "append_checkpoint", slow_append)
    monkeypatch.setattr(JournalStore, "close", told_close)
    witness.take(ROWS[:5])
    with ThreadPoolExecutor(2) as threads:
        cosigned = threads.submit(witness.cosign, point(ROWS[:5]), at_s=AT_S)
        assert writing.wait(60)
        closed = threads.submit(witness.close)
        with pytest.raises(TimeoutError):
            closed.result(timeout=0.1)
        may_end.set()
        closed.result(timeout=60)
        assert cosigned.result(timeout=60)
    assert did == ["cosigned", "closed"]
    with pytest.raises(JournalUnavailable, match="the copy is closed"):
        witness.take(ROWS[5:6])
    with pytest.raises(JournalUnavailable, match="the copy is closed"):
        witness.cosign(point(ROWS[:5]), at_s=AT_S)
