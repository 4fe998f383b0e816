"""A journal that is held and read while nobody writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.log.rows import Entry, draft
from trade_journal.store.held import HeldJournal
from trade_journal.store.store import JournalStore

ORIGIN = "gateway/simulated/test"


@pytest.fixture
def url(sqlite_url: str, entry: Callable[..., Entry]) -> str:
    """Name a journal of three rows."""
    store = JournalStore.open(sqlite_url, origin=ORIGIN)
    store.append([draft(entry(fields={"number": number})) for number in range(3)])
    store.close()
    return sqlite_url


@pytest.fixture
def held(url: str) -> Iterator[HeldJournal]:
    """Hold it."""
    journal = HeldJournal.open(url, origin=ORIGIN)
    yield journal
    journal.close()


def test_held_journal_tells_its_end_and_lets_no_writer_in(held: HeldJournal, url: str, tmp_path: Path) -> None:
    assert (held.size(), held.place) == (3, str(tmp_path / "journal.db"))
    assert [row.fields["number"] for row in held.read(1, 10)] == [1, 2]
    with pytest.raises(JournalRefused, match="another writer has this journal open"):
        JournalStore.open(url, origin=ORIGIN)


def test_held_journal_that_is_closed_lets_the_next_writer_in(url: str) -> None:
    HeldJournal.open(url, origin=ORIGIN).close()
    JournalStore.open(url, origin=ORIGIN).close()


def test_journal_that_somebody_writes_is_not_held(url: str) -> None:
    store = JournalStore.open(url, origin=ORIGIN)
    with pytest.raises(JournalRefused, match="another writer has this journal open"):
        HeldJournal.open(url, origin=ORIGIN)
    store.close()


def test_lock_is_let_go_when_there_is_no_memory_to_read_with(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("trade_journal.store.held.SqliteReading", fails)
    with pytest.raises(MemoryError):
        HeldJournal.open(url, origin=ORIGIN)
    JournalStore.open(url, origin=ORIGIN).close()


def test_journal_of_another_origin_is_not_held_and_the_lock_is_let_go(url: str) -> None:
    with pytest.raises(JournalRefused, match="expected 'another'"):
        HeldJournal.open(url, origin="another")
    JournalStore.open(url, origin=ORIGIN).close()


def test_journal_whose_end_is_damaged_is_not_held(url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("DROP TRIGGER rows_refuse_update")
        connection.commit()
    with pytest.raises(JournalDamaged, match="triggers"):
        HeldJournal.open(url, origin=ORIGIN)


def test_journal_in_a_server_is_not_held() -> None:
    with pytest.raises(JournalUnavailable, match="only a journal in a file"):
        HeldJournal.open("postgresql://role@127.0.0.1/database", origin=ORIGIN)
