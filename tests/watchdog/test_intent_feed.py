"""The way from the copy's rows to the audit: what is loaded at a start, what is fed, and what is searched for."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest

from trade_journal.errors import JournalError
from trade_journal.log.rows import Row, RowKind, leaf_hash, row_bytes
from trade_journal.log.verify import StoredRow
from trade_watchdog import intent_feed
from trade_watchdog.audit.reconciliation import JournaledFills
from trade_watchdog.intent_feed import IntentFeed


def intent(seq: int, *, tag: str = "", kind: RowKind = RowKind.ORDER_INTENT) -> StoredRow:
    fields = {
        "tag": tag or f"T{seq}",
        "category": "spot",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "quantity": "1",
        "price": "100",
        "reduce_only": False,
    }
    return stored(Row(seq=seq, at_ns=seq * 1_000_000, kind=kind, actor="gateway", fields=fields))


def other(seq: int, *, text: str = "") -> StoredRow:
    return stored(
        Row(seq=seq, at_ns=seq * 1_000_000, kind=RowKind.READ_ANSWERED, actor="gateway", fields={"path": text})
    )


def stored(row: Row) -> StoredRow:
    body = row_bytes(row)
    return StoredRow(seq=row.seq, body=body, leaf_hash=leaf_hash(body))


class Copy:
    """Rows in memory, read as the witness's copy is."""

    def __init__(self, *rows: StoredRow, says: int | None = None) -> None:
        self.rows = rows
        self.says = len(rows) if says is None else says
        self.read = 0

    def size(self) -> int:
        return self.says

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        assert limit <= intent_feed.READ_ROWS_MAX
        page = list(self.rows[from_seq : from_seq + limit])
        self.read += len(page)
        return page

    def close(self) -> None:
        self.rows = ()


def test_intents_of_both_kinds_are_fed_and_others_are_not() -> None:
    feed = IntentFeed()
    feed.take([intent(0), other(1), intent(2, kind=RowKind.DISASTER_STOP_INTENT), other(3, text="order:intent")])
    assert len(feed.journaled) == 2
    assert feed.journaled.unread == 0


def test_text_that_looks_like_the_mark_is_read_for_what_it_is() -> None:
    """Quotes within a text are escaped in a row's bytes, so that no field can look like the kind."""
    feed = IntentFeed()
    feed.take([other(0, text='"kind":"order:intent"')])
    assert len(feed.journaled) == 0


def test_start_reads_the_whole_of_a_short_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intent_feed, "READ_ROWS_MAX", 2)
    feed = IntentFeed()
    feed.load(Copy(*(intent(seq) for seq in range(5))))
    assert (len(feed.journaled), feed.journaled.covers_from_ms) == (5, 0)


def test_start_reads_the_newest_rows_of_a_long_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intent_feed, "LOAD_ROWS_MAX", 3)
    feed = IntentFeed()
    feed.load(Copy(*(intent(seq) for seq in range(8))))
    assert (len(feed.journaled), feed.journaled.covers_from_ms) == (3, 60_005)
    assert feed.journaled.find("T5") is not None
    assert feed.journaled.find("T4") is None


def test_copy_with_less_rows_than_it_says_is_an_error() -> None:
    with pytest.raises(JournalError, match="rows 1 to 3 of the copy are not there"):
        IntentFeed().load(Copy(intent(0), says=3))


def test_older_intent_is_found_and_nothing_else_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intent_feed, "READ_ROWS_MAX", 2)
    copy = Copy(intent(0), other(1, text="T0"), intent(2), *(other(seq) for seq in range(3, 9)))
    feed = IntentFeed()
    assert feed.search(copy, ["T0", "missing"]) == 1
    assert feed.journaled.find("T0") is not None
    assert feed.journaled.find("T2") is None
    assert copy.read == 9


def test_search_ends_once_all_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intent_feed, "READ_ROWS_MAX", 2)
    copy = Copy(*(intent(seq) for seq in range(8)))
    assert IntentFeed().search(copy, ["T5"]) == 1
    assert copy.read == 4


def test_search_in_a_copy_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(JournalError, match="are not there"):
        IntentFeed().search(Copy(says=3), ["T1"])


def policy(seq: int, text: str, *, named: str = "") -> StoredRow:
    fields = {"hash": named or hashlib.sha256(text.encode()).hexdigest(), "content": [text]}
    return stored(Row(seq=seq, at_ns=seq, kind=RowKind.POLICY_RECORDED, actor="gateway", fields=fields))


def test_policy_that_the_newest_rows_do_not_hold_is_found_in_the_whole_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intent_feed, "READ_ROWS_MAX", 2)
    named = hashlib.sha256(b"{}").hexdigest()
    copy = Copy(other(0), other(1), policy(2, "{}"), other(3), other(4, text=named), policy(5, "{1}"), other(6))
    feed = IntentFeed()
    assert feed.find_policy(copy, named)
    assert feed.policies == {named: "{}"}
    assert copy.read == 6


def test_policy_that_is_nowhere_or_is_not_of_its_hash_is_not_found() -> None:
    named = hashlib.sha256(b"{}").hexdigest()
    feed = IntentFeed()
    assert not feed.find_policy(Copy(policy(0, "{2}", named=named), policy(1, "{1}")), named)
    assert feed.policies == {}


def fill(seq: int, tag: str, filled: str, *, kind: RowKind = RowKind.ORDER_FILLED) -> StoredRow:
    fields = {"tag": tag, "filled": filled, "quantity": "1"}
    return stored(Row(seq=seq, at_ns=seq * 1_000_000, kind=kind, actor="gateway", fields=fields))


def test_fills_are_the_most_that_each_tag_has_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intent_feed, "READ_ROWS_MAX", 2)
    copy = Copy(
        fill(0, "T0", "9"),
        fill(1, "T1", "1"),
        other(2, text="order:filled"),
        fill(3, "T1", "2.5"),
        fill(4, "T2", "1", kind=RowKind.DISASTER_STOP_FILLED),
    )
    late = {"T1": filled("2.5", 3), "T2": filled("1", 4)}
    assert intent_feed.fills_since(copy, 0) == {"T0": filled("9", 0), **late}
    assert intent_feed.fills_since(copy, 3_500_000) == late


def filled(amount: str, at_ms: int) -> JournaledFills:
    return JournaledFills(filled=Decimal(amount), at_ms=at_ms)


def test_fill_is_of_the_moment_at_which_all_of_it_was_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intent_feed, "READ_ROWS_MAX", 2)
    copy = Copy(fill(0, "T0", "1"), fill(1, "T0", "3"), fill(2, "T0", "3"), fill(3, "T0", "2"), fill(4, "T0", "3"))
    assert intent_feed.fills_since(copy, 0) == {"T0": filled("3", 1)}


def test_fills_of_a_copy_that_cannot_be_read_are_an_error() -> None:
    with pytest.raises(JournalError, match="are not there"):
        intent_feed.fills_since(Copy(says=3), 0)
