"""Verification: what was vouched for and by whom, and the first row that contradicts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from trade_journal.log.checkpoint import LogSigner, cosign
from trade_journal.log.note import COSIGNATURE_V1, ED25519, Verifier, parse_note
from trade_journal.log.rows import Row, RowKind, leaf_hash, parse_row, row_bytes
from trade_journal.log.tree import Frontier, root_of
from trade_journal.log.verify import (
    BATCH_ROWS,
    HASHED_ROWS,
    PublicKeys,
    StoredRow,
    Verdict,
    Verification,
    checked_leaves,
    checked_points,
    verify_journal,
)

ORIGIN, WITNESS = "trade/simulated/1002/gateway", "trade/simulated/1002/watchdog"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
STRANGER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
SIGNER = LogSigner(origin=ORIGIN, private_key=LOG_KEY, ring_hash="ab" * 32)
KEYS = PublicKeys(
    log=SIGNER.verifier(), witness=Verifier(name=WITNESS, kind=COSIGNATURE_V1, public=WITNESS_KEY.public_key())
)
AT_S = 1_795_000_000


def stored(seq: int, **fields: str) -> StoredRow:
    row = Row(seq=seq, at_ns=seq, kind=RowKind.READ_ANSWERED, actor="gateway", fields={"path": "/v5", **fields})
    body = row_bytes(row)
    return StoredRow(seq=seq, body=body, leaf_hash=leaf_hash(body))


ROWS = [stored(seq) for seq in range(20)]


def note(rows: Sequence[StoredRow], *, signer: LogSigner = SIGNER, is_witnessed: bool = True) -> bytes:
    """Make the checkpoint over rows."""
    made = signer.sign(Frontier().extended(row.leaf_hash for row in rows))
    if is_witnessed:
        made = cosign(made, name=WITNESS, private_key=WITNESS_KEY, at_s=AT_S + len(rows))
    return made.rendered().encode()


NOTES = [note(ROWS[:5]), note(ROWS[:12]), note(ROWS[:16], is_witnessed=False)]


def check(rows: Sequence[StoredRow], notes: Sequence[bytes] = NOTES, keys: PublicKeys = KEYS) -> Verdict:
    return verify_journal(rows, notes=notes, keys=keys)


def fault_of(rows: Sequence[StoredRow], notes: Sequence[bytes] = NOTES) -> str:
    verdict = check(rows, notes)
    assert not verdict.is_good
    assert verdict.fault is not None
    return verdict.fault.text()


def test_journal_as_it_was_written_is_good_and_says_who_vouches_for_what() -> None:
    verdict = check(ROWS)
    assert verdict.is_good
    assert (verdict.rows, verdict.signed_rows, verdict.witnessed_rows, verdict.checkpoints) == (20, 16, 12, 3)
    assert verdict.witnessed_at_s == AT_S + 12
    assert verdict.root == Frontier().extended(row.leaf_hash for row in ROWS).root()


def test_journal_without_checkpoints_is_vouched_for_by_nobody() -> None:
    verdict = check(ROWS, [])
    assert not verdict.is_good
    assert verdict.fault is None
    assert (verdict.rows, verdict.signed_rows, verdict.witnessed_rows, verdict.witnessed_at_s) == (20, 0, 0, None)


@pytest.mark.parametrize(("signed", "first"), [(0, 0), (4, 4)])
def test_rows_of_more_than_a_minute_without_a_checkpoint_are_a_fault(signed: int, first: int) -> None:
    step_ns = 60 * 10**9 // (19 - first)
    rows = [_at(stored(seq), AT_S * 10**9 + seq * step_ns) for seq in range(20)]
    notes = [note(rows[:signed])] if signed else []
    assert verify_journal(rows, notes=notes, keys=KEYS).fault is None
    late = [*rows[:-1], _at(rows[-1], AT_S * 10**9 + 19 * step_ns + 10**6)]
    fault = verify_journal(late, notes=notes, keys=KEYS).fault
    assert fault is not None
    assert (fault.first, fault.last) == (first, 19)
    assert "no checkpoint vouches" in fault.text()


def test_pauses_between_rows_without_a_checkpoint_are_no_fault() -> None:
    def journal(count: int) -> list[StoredRow]:
        return [_at(stored(seq), AT_S * 10**9 + seq * 3600 * 10**9) for seq in range(count)]

    assert verify_journal(journal(13), notes=[], keys=KEYS).fault is None
    assert verify_journal(journal(14), notes=[], keys=KEYS).fault is not None
    assert verify_journal([_at(row, AT_S * 10**9) for row in journal(20)], notes=[], keys=KEYS).fault is None
    back = [_at(stored(seq), (AT_S + 7200) * 10**9 - seq * 3600 * 10**9) for seq in range(14)]
    assert verify_journal(back, notes=[], keys=KEYS).fault is not None


def test_more_rows_without_a_checkpoint_than_a_writer_ever_leaves_are_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trade_journal.log.verify.UNSIGNED_ROWS_MAX", 4)
    assert check(ROWS).fault is None
    fault = check([*ROWS, stored(20)]).fault
    assert fault is not None
    assert (fault.first, fault.last) == (16, 20)


def _at(row: StoredRow, at_ns: int) -> StoredRow:
    body = row_bytes(replace(parse_row(row.body), at_ns=at_ns))
    return StoredRow(seq=row.seq, body=body, leaf_hash=leaf_hash(body))


def test_journal_without_a_witness_s_key_is_signed_and_not_witnessed() -> None:
    verdict = check(ROWS, keys=replace(KEYS, witness=None))
    assert (verdict.signed_rows, verdict.witnessed_rows) == (16, 0)


def test_journal_empty_is_good() -> None:
    assert check([], [note([])]).is_good
    assert check([], []).rows == 0


def rehashed(seq: int) -> StoredRow:
    """A row that says something else, with the leaf hash that fits."""
    return stored(seq, path="/v6")


def replaced(seq: int, by: StoredRow) -> list[StoredRow]:
    return [*ROWS[:seq], by, *ROWS[seq + 1 :]]


def test_row_edited_is_named() -> None:
    edited = ROWS[7]._replace(body=ROWS[7].body.replace(b"v5", b"v6"))
    assert fault_of(replaced(7, edited)) == "row 7: its bytes do not have the leaf hash beside them"


def test_row_edited_with_its_hash_is_named_by_the_checkpoints_around_it() -> None:
    text = fault_of(replaced(7, rehashed(7)))
    assert text == "rows 5 to 11: changed, added, removed or swapped after the checkpoint over them was signed"


def test_row_edited_with_its_hash_in_the_first_checkpoint_is_named() -> None:
    assert fault_of(replaced(0, rehashed(0))).startswith("rows 0 to 4: changed")


def test_row_alone_between_two_checkpoints_is_named_itself() -> None:
    notes = [note(ROWS[:7]), note(ROWS[:8])]
    assert fault_of(replaced(7, rehashed(7)), notes).startswith("row 7: changed")


def test_row_deleted_is_named() -> None:
    assert fault_of([*ROWS[:9], *ROWS[10:]]) == "row 9: is missing; the next one is numbered 10"


def test_row_deleted_and_the_others_numbered_anew_is_found() -> None:
    shifted = [stored(seq, n=str(seq)) for seq in range(20)]
    notes = [note(shifted[:12])]
    cut = [*shifted[:9], *(StoredRow(seq=row.seq - 1, body=row.body, leaf_hash=row.leaf_hash) for row in shifted[10:])]
    assert fault_of(cut, notes) == "row 9: its bytes are of another row"


def test_rows_swapped_with_their_numbers_are_found() -> None:
    one, other = ROWS[8]._replace(seq=9), ROWS[9]._replace(seq=8)
    assert fault_of([*ROWS[:8], other, one, *ROWS[10:]]) == "row 8: its bytes are of another row"


@pytest.mark.parametrize("left", [0, 3, 5, 12, 15])
def test_journal_cut_off_is_found(left: int) -> None:
    text = fault_of(ROWS[:left])
    assert (
        text
        == f"row{'' if left == 15 else 's'} {left}{'' if left == 15 else ' to 15'}: missing: cut off, while a "
        + ("checkpoint vouches for 16 rows")
    )


def test_rows_cut_off_after_the_last_checkpoint_are_not_noticed_here() -> None:
    assert check(ROWS[:16]).is_good


def test_row_without_form_after_the_last_checkpoint_is_named() -> None:
    body = b'{"not":"a row","seq":18}'
    bad = StoredRow(seq=18, body=body, leaf_hash=leaf_hash(body))
    assert fault_of(replaced(18, bad)).startswith("row 18: not a row")


def test_checkpoint_by_another_key_is_named() -> None:
    stranger = LogSigner(origin=ORIGIN, private_key=STRANGER_KEY, ring_hash="ab" * 32)
    assert fault_of(ROWS, [NOTES[0], note(ROWS[:12], signer=stranger)]).startswith("checkpoint 1: 0 signatures by")


def test_checkpoint_of_another_journal_is_named() -> None:
    other = LogSigner(origin="trade/simulated/1003/gateway", private_key=LOG_KEY, ring_hash="ab" * 32)
    assert fault_of(ROWS, [note(ROWS[:12], signer=other)]).startswith(
        "checkpoint 0: 0 signatures by trade/simulated/1002"
    )


def test_checkpoint_with_a_forged_cosignature_is_named() -> None:
    forged = cosign(parse_note(note(ROWS[:12], is_witnessed=False)), name=WITNESS, private_key=STRANGER_KEY, at_s=AT_S)
    assert fault_of(ROWS, [forged.rendered().encode()]).startswith("checkpoint 0: 0 signatures by")


def test_checkpoint_that_goes_back_is_named() -> None:
    assert "after one of 12: the log went back" in fault_of(ROWS, [NOTES[1], NOTES[0]])


def test_checkpoint_fork_is_named() -> None:
    fork = note([*ROWS[:11], rehashed(11)])
    assert fault_of(ROWS, [NOTES[1], fork]) == "two checkpoints of 12 rows have two roots: a fork"


def test_checkpoint_that_came_back_with_another_root_is_a_fork() -> None:
    fork = note([*ROWS[:11], rehashed(11)])
    verdict = verify_journal(ROWS, notes=NOTES, cosigned=[fork], keys=KEYS)
    assert verdict.fault is not None
    assert verdict.fault.text() == "two checkpoints of 12 rows have two roots: a fork"


@pytest.mark.parametrize("size", ["-1", "9" * 17, "", "x"])
def test_cosigned_checkpoint_of_a_size_that_is_none_is_named(size: str) -> None:
    bad = NOTES[-1].split(b"\n")
    bad[1] = size.encode()
    verdict = verify_journal(ROWS, notes=NOTES, cosigned=[NOTES[0], b"\n".join(bad)], keys=KEYS)
    assert verdict.fault is not None
    assert verdict.fault.text().startswith("cosigned checkpoint 1: ")


def test_checkpoint_that_is_not_a_note_is_named() -> None:
    assert fault_of(ROWS, [b"nonsense"]).startswith("checkpoint 0: a note is")


@given(st.lists(st.integers(1, 7), max_size=12))
def test_rows_fed_in_any_portions_give_the_same_verdict(portions: list[int]) -> None:
    verification = Verification(checked_points(NOTES, [], keys=KEYS))
    start = 0
    for portion in portions:
        verification.feed(ROWS[start : start + portion])
        start += portion
    verification.feed(ROWS[start:])
    assert verification.verdict() == check(ROWS)


def test_after_a_fault_nothing_more_is_read() -> None:
    verification = Verification(checked_points([b"nonsense"], [], keys=KEYS))
    assert verification.has_fault
    verification.feed(ROWS)
    assert verification.verdict().rows == 0


def test_journal_longer_than_a_batch_is_verified_whole() -> None:
    rows = [stored(seq) for seq in range(BATCH_ROWS * 2 + 3)]
    notes = [note(rows[:size]) for size in (1, BATCH_ROWS, BATCH_ROWS + 1, len(rows))]
    verdict = check(rows, notes)
    assert (verdict.is_good, verdict.witnessed_rows) == (True, len(rows))


def test_keys_of_unknown_type_never_count_as_log() -> None:
    assert (KEYS.log.kind, ED25519) == (1, 1)


Change = Callable[[list[StoredRow]], list[StoredRow]]


@given(st.integers(0, 15), st.sampled_from(["edit", "rehash", "delete", "duplicate", "swap"]))
def test_any_change_of_a_signed_row_is_found(seq: int, change: str) -> None:
    rows = list(ROWS)
    match change:
        case "edit":
            rows[seq] = rows[seq]._replace(body=rows[seq].body.replace(b"v5", b"v7"))
        case "rehash":
            rows[seq] = rehashed(seq)
        case "delete":
            del rows[seq]
        case "duplicate":
            rows.insert(seq, rows[seq])
        case _:
            rows[seq], rows[seq + 1] = rows[seq + 1], rows[seq]
    assert not check(rows).is_good


MANY = [stored(seq) for seq in range(3 * HASHED_ROWS + 10)]


def hashed(rows: Sequence[StoredRow], sizes: Sequence[int], *, first: int = 0) -> tuple[list[int], Verdict]:
    """Feed whole blocks as hashed, and the rest as it is; returns how many of each block were taken."""
    verification = Verification(checked_points([note(rows[:size]) for size in sizes], (), keys=KEYS))
    verification.feed(rows[:first])
    taken = []
    for start in range(first, len(rows) - HASHED_ROWS + 1, HASHED_ROWS):
        leaves = checked_leaves(rows[start : start + HASHED_ROWS], first=start)
        taken.append(verification.feed_hashed(leaves, root_of(leaves)))
    verification.feed(rows[verification.rows :])
    return taken, verification.verdict()


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ([3 * HASHED_ROWS + 5], [HASHED_ROWS] * 3),
        ([1, HASHED_ROWS, 600, 3 * HASHED_ROWS], [HASHED_ROWS] * 3),
        ([300], [HASHED_ROWS, 300 - HASHED_ROWS, 0]),
        ([], [0, 0, 0]),
    ],
)
def test_verify_blocks_hashed_elsewhere_give_the_same_verdict(sizes: list[int], taken: list[int]) -> None:
    found = hashed(MANY, sizes)
    assert found == (taken, check(MANY, [note(MANY[:size]) for size in sizes]))
    assert found[1].is_good is bool(sizes)


def test_verify_blocks_that_do_not_begin_at_their_multiple_give_the_same_verdict() -> None:
    taken, verdict = hashed(MANY, [700], first=3)
    assert (taken, verdict) == ([HASHED_ROWS, HASHED_ROWS, 700 - 3 - 2 * HASHED_ROWS], check(MANY, [note(MANY[:700])]))


def test_verify_blocks_with_another_root_than_was_signed_are_a_fault_and_the_last_that_is_taken() -> None:
    other = [stored(seq, more="x") if seq == 400 else row for seq, row in enumerate(MANY)]
    verification = Verification(checked_points([note(MANY[:600]), note(MANY[:700])], (), keys=KEYS))
    for start in (0, HASHED_ROWS, 2 * HASHED_ROWS):
        leaves = checked_leaves(other[start : start + HASHED_ROWS], first=start)
        verification.feed_hashed(leaves, root_of(leaves))
    assert verification.has_fault
    assert verification.feed_hashed([bytes(32)], bytes(32)) == 0
    assert verification.verdict().fault == check(other, [note(MANY[:600]), note(MANY[:700])]).fault
