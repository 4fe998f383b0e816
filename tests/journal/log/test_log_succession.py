"""The first row of a new log: believed by its warrant and its checkpoint, and by nothing less."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from trust_parts import ring_of, touch

from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.log_warrant import log_subject
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import Warrant
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import log_name, log_number
from trade_journal.log.key_file import parse_keys
from trade_journal.log.log_succession import check_succession, succession_entry
from trade_journal.log.ring_keys import gateway_log_keys, gateway_log_signer, public_keys_text
from trade_journal.log.rows import Entry, Row, RowKind, draft, leaf_hash, numbered, parse_row
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow, verify_journal

KEY = load_private_key(new_private_key())
RING = ring_of(KEY)
SIZE = 3


def stored(seq: int) -> StoredRow:
    entry = Entry(at_ns=seq, kind=RowKind.READ_ANSWERED, actor="gateway", fields={"path": "/v5"})
    body = numbered(draft(entry).head, seq)
    return StoredRow(seq=seq, body=body, leaf_hash=leaf_hash(body))


ROWS = [stored(seq) for seq in range(6)]


def tree(size: int) -> Frontier:
    return Frontier().extended(row.leaf_hash for row in ROWS[:size])


def signed(size: int, *, number: int) -> bytes:
    return gateway_log_signer(RING, KEY, number=number).sign(tree(size)).rendered().encode()


def succession(*, number: int = 2, size: int = SIZE, note: bytes | None = None, **changed: Any) -> Row:
    root = tree(size).root()
    warrant = Warrant(
        purpose="log",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="gateway",
        account="1002",
        ring_hash=ring_hash(RING),
        subject=log_subject(number=number, size=size, root=root.hex()),
        nonce="n",
        words="the disk died",
        expires_at_ms=1,
    )
    entry = succession_entry(
        number=number,
        size=size,
        root=root,
        note=signed(size, number=number) if note is None else note,
        warrant=touch(replace(warrant, **changed)),
        at_ns=9,
    )
    return parse_row(numbered(draft(entry).head, size))


def test_succession_that_a_person_has_ordered_is_believed() -> None:
    found = check_succession(succession(), ring=RING, number=1)
    assert (found.number, found.size, found.root, found.note) == (2, SIZE, tree(SIZE).root(), signed(SIZE, number=2))


@pytest.mark.parametrize(
    ("row", "number", "why"),
    [
        (succession(), 2, "row 3: begins log 2 after log 2"),
        (succession(number=3), 1, "row 3: begins log 3 after log 1"),
        (replace(succession(), seq=4), 1, "row 4: its warrant is for a log that goes on with row 3"),
        (replace(succession(), kind=RowKind.STATE_CHANGED), 1, "row 3: says nothing of a new log"),
        (succession(note=signed(SIZE, number=1)), 1, "row 3: the new log's checkpoint: 0 signatures by"),
        (succession(note=signed(2, number=2)), 1, "row 3: the new log's checkpoint is over other rows"),
        (succession(subject=log_subject(number=2, size=SIZE, root="ab" * 32)), 1, "is over other rows"),
        (succession(purpose="release"), 1, "warrant: purpose"),
        (replace(succession(), fields={"warrant": []}), 1, "warrant envelope: "),
        (replace(succession(), fields={"warrant": "text"}), 1, "row 3: warrant is not there"),
        (replace(succession(), fields={"warrant": ["x"] * 99}), 1, "row 3: warrant is not there"),
        (replace(succession(), fields={"warrant": ["%"]}), 1, "row 3: warrant is not base64"),
        (
            replace(succession(), fields={"warrant": succession().fields["warrant"]}),
            1,
            "row 3: checkpoint is not there",
        ),
        (
            replace(
                succession(), fields={**succession().fields, "checkpoint": [base64.b64encode(b"no note").decode()]}
            ),
            1,
            "row 3: the new log's checkpoint: ",
        ),
    ],
)
def test_succession_that_is_none_is_refused(row: Row, number: int, why: str) -> None:
    with pytest.raises(NotTrusted, match=why):
        check_succession(row, ring=RING, number=number)


def test_logs_are_named_by_their_numbers() -> None:
    assert [log_name("a/b", number) for number in (1, 2, 12)] == ["a/b", "a/b/2", "a/b/12"]
    assert [log_number("a/b", name) for name in ("a/b", "a/b/2", "a/b/12", "a/b/9999")] == [1, 2, 12, 9999]


@pytest.mark.parametrize("name", ["a", "a/b/", "a/b/1", "a/b/02", "a/b/0", "a/b/x", "a/b/2/2", "a/b2", "a/b/10000", ""])
def test_name_that_is_no_log_of_a_journal_is_refused(name: str) -> None:
    with pytest.raises(NoteRefused, match="is no log of the journal"):
        log_number("a/b", name)


def test_public_keys_name_every_log_and_are_read_again() -> None:
    keys = parse_keys(public_keys_text(RING, number=3), origin=gateway_log_keys(RING).journal)
    expected = gateway_log_keys(RING, number=3)
    assert [key.name for key in (*keys.former, keys.log)] == [key.name for key in (*expected.former, expected.log)]
    assert keys.journal == gateway_log_keys(RING).log.name
    assert parse_keys(public_keys_text(RING), origin=keys.journal).former == ()


def test_keys_of_two_journals_are_refused() -> None:
    first, second = gateway_log_keys(RING).log, gateway_log_keys(ring_of(KEY, account="9")).log
    with pytest.raises(NoteRefused, match="keys of 2 journals"):
        parse_keys(f"{first.text()}\n{second.text()}\n")


def test_verify_believes_each_log_up_to_its_successor() -> None:
    keys = gateway_log_keys(RING, number=2)
    notes = [signed(2, number=1), signed(3, number=1), signed(4, number=2), signed(6, number=2)]
    verdict = verify_journal(ROWS, notes=notes, keys=keys)
    assert (verdict.is_good, verdict.signed_rows, verdict.checkpoints) == (True, 6, 4)


def test_verify_names_a_lost_log_that_went_on() -> None:
    keys = gateway_log_keys(RING, number=2)
    notes = [signed(2, number=1), signed(4, number=2), signed(5, number=1)]
    fault = verify_journal(ROWS, notes=notes, keys=keys).fault
    assert fault is not None
    assert fault.text() == (
        "checkpoint 2: of 'trade/simulated/1002/gateway', after one of its successor: a log that was lost went on"
    )


def test_verify_without_the_new_log_s_key_names_its_first_checkpoint() -> None:
    fault = verify_journal(ROWS, notes=[signed(2, number=1), signed(4, number=2)], keys=gateway_log_keys(RING)).fault
    assert fault is not None
    assert fault.text().startswith("checkpoint 1: 0 signatures by trade/simulated/1002/gateway ")
