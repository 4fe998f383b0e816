"""The plain reader knows the usual kind of journal, exactly, and gives up on every other."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from journal.plain_journals import plain_journal

from trade_journal.store import sqlite_schema
from trade_journal.store.plain_sqlite import PLAIN_TABLES, PLAIN_TRIGGERS, PLAIN_VERSION, PlainSqlite
from trade_journal.store.schema import FORMAT_VERSION, METADATA
from trade_journal.store.store import JournalReader


def test_plain_journal_is_one_as_it_is_made() -> None:
    assert METADATA.tables.keys() == PLAIN_TABLES
    assert sqlite_schema._EXPECTED_TRIGGERS[FORMAT_VERSION] == PLAIN_TRIGGERS
    assert FORMAT_VERSION == PLAIN_VERSION


def test_plain_journal_gives_what_the_usual_reader_gives(tmp_path: Path) -> None:
    path = plain_journal(tmp_path)
    plain, usual = PlainSqlite.opened(path), JournalReader(f"sqlite:///{path}")
    assert plain is not None
    assert plain.size() == usual.size() == 1_010
    assert plain.rows(5, 300) == usual.stored_rows(5, 300)
    assert plain.rows(1_010, 10) == []
    assert list(plain.checkpoints()) == usual.checkpoints(0, 1000)
    assert list(plain.cosigned()) == usual.cosigned(0, 1000)
    assert plain.count_notes() == usual.count_checkpoints() + usual.count_cosigned() == 8
    plain.close()
    usual.close()


def test_plain_journal_cannot_be_written_to(tmp_path: Path) -> None:
    plain = PlainSqlite.opened(plain_journal(tmp_path))
    assert plain is not None
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        plain._connection.execute("CREATE TABLE t (x)")
    plain.close()


@pytest.mark.parametrize(
    "change",
    [
        "DROP TRIGGER rows_refuse_gap",
        "CREATE TRIGGER more AFTER INSERT ON rows BEGIN SELECT 1; END",
        "CREATE TABLE beginning (size INTEGER)",
        "CREATE VIEW more AS SELECT 1",
        "UPDATE journal_format SET version = 4",
        "INSERT INTO journal_format VALUES (4, 'x')",
    ],
)
def test_journal_of_any_other_kind_is_none(tmp_path: Path, change: str) -> None:
    path = plain_journal(tmp_path)
    with sqlite3.connect(path) as owner:
        owner.execute(change)
    owner.close()
    assert PlainSqlite.opened(path) is None


def test_what_is_no_journal_is_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, and long enough to be seen as none" * 100)
    (tmp_path / "empty").touch()
    assert [PlainSqlite.opened(tmp_path / name) for name in ("missing", "text", "empty")] == [None, None, None]


def test_row_that_is_text_counts_as_none(tmp_path: Path) -> None:
    path = plain_journal(tmp_path)
    with sqlite3.connect(path) as owner:
        owner.execute("DROP TRIGGER rows_refuse_update")
        owner.execute("UPDATE rows SET body = 'text' WHERE seq = 7")
    owner.close()
    plain = PlainSqlite(path)
    assert plain.rows(7, 1)[0].body == b""
    plain.close()
