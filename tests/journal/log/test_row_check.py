"""A row is what its place and the hash beside it say, or it is damage that names the row."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trade_journal.errors import JournalDamaged
from trade_journal.log.row_check import checked_row
from trade_journal.log.rows import Entry, draft, leaf_hash, numbered
from trade_journal.log.verify import StoredRow


def stored(body: bytes, *, seq: int = 3) -> StoredRow:
    return StoredRow(seq, body, leaf_hash(body))


@pytest.fixture
def body(entry: Callable[..., Entry]) -> bytes:
    """The bytes of a row numbered 3."""
    return numbered(draft(entry(fields={"number": 8})).head, 3)


def test_row_in_its_place_under_its_hash_is_read(body: bytes) -> None:
    row = checked_row(stored(body), seq=3)
    assert (row.seq, row.fields) == (3, {"number": 8})


def test_row_at_another_place_leaves_one_missing(body: bytes) -> None:
    with pytest.raises(JournalDamaged, match="row 2 is missing; found 3"):
        checked_row(stored(body), seq=2)


def test_row_under_another_hash_is_damage(body: bytes) -> None:
    with pytest.raises(JournalDamaged, match="row 3: leaf hash does not match its bytes"):
        checked_row(StoredRow(3, body, leaf_hash(body + b" ")), seq=3)


def test_bytes_that_are_no_row_are_damage() -> None:
    with pytest.raises(JournalDamaged, match="row 3: not a row"):
        checked_row(stored(b"{}"), seq=3)


def test_bytes_of_another_row_are_damage(body: bytes) -> None:
    with pytest.raises(JournalDamaged, match="row 4: its bytes are of row 3"):
        checked_row(stored(body, seq=4), seq=4)
