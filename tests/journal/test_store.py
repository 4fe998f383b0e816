"""The store: append-only, gapless, one writer, and only what is ours."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.rows import Entry, draft
from trade_journal.store import READ_ROWS_MAX, JournalReader, JournalStore

ORIGIN = "gateway/simulated/test"
Make = Callable[..., Entry]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the file behind journal_url."""
    return tmp_path / "journal.db"


@pytest.fixture
def filled(journal_url: str, entry: Make) -> str:
    """Make a journal of five rows and close it."""
    store = JournalStore.open(journal_url, origin=ORIGIN)
    store.append([draft(entry(at_ns=index, fields={"number": index})) for index in range(5)])
    store.close()
    return journal_url


@pytest.fixture
def outsider(filled: str, path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file of the filled journal as somebody else would."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def drop_triggers(connection: sqlite3.Connection) -> None:
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")


def test_rows_appended_are_read_after_reopening(filled: str) -> None:
    store = JournalStore.open(filled, origin=ORIGIN)
    rows = store.read(0, 100)
    assert store.size() == 5
    assert [(row.seq, row.at_ns, row.fields) for row in rows] == [(n, n, {"number": n}) for n in range(5)]
    store.close()


def test_rows_are_numbered_on_from_the_last_one(filled: str, entry: Make) -> None:
    store = JournalStore.open(filled, origin=ORIGIN)
    assert store.append([draft(entry()), draft(entry())]) == 5
    assert [row.seq for row in store.read(4, 10)] == [4, 5, 6]
    store.close()


def test_read_takes_a_page(filled: str) -> None:
    reader = JournalReader(filled)
    assert [row.seq for row in reader.read(1, 2)] == [1, 2]
    assert reader.read(5, 2) == []
    assert reader.read(0, 0) == []
    assert reader.size() == 5
    for from_seq, limit in ((-1, 1), (0, -1), (0, READ_ROWS_MAX + 1)):
        with pytest.raises(ValueError, match="rows are read"):
            reader.read(from_seq, limit)
    reader.close()


def test_reader_sees_rows_while_the_writer_is_open(journal_url: str, entry: Make) -> None:
    store = JournalStore.open(journal_url, origin=ORIGIN)
    reader = JournalReader(journal_url)
    assert reader.size() == 0
    store.append([draft(entry())])
    assert reader.size() == 1
    reader.close()
    store.close()


def test_reader_of_a_missing_journal_refuses_and_makes_none(journal_url: str, path: Path) -> None:
    with pytest.raises(JournalRefused, match="no journal there"):
        JournalReader(journal_url).size()
    assert not path.exists()


def test_files_are_for_their_owner_alone(filled: str, path: Path) -> None:
    for file in (path, path.with_name(path.name + ".lock")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rows SET at_ns = 9 WHERE seq = 2",
        "DELETE FROM rows WHERE seq = 4",
        "DELETE FROM rows",
        "INSERT OR REPLACE INTO rows SELECT 2, at_ns, kind, actor, body, leaf_hash FROM rows WHERE seq = 3",
        "INSERT INTO rows SELECT 6, at_ns, kind, actor, body, leaf_hash FROM rows WHERE seq = 3",
        "INSERT INTO rows SELECT -1, at_ns, kind, actor, body, leaf_hash FROM rows WHERE seq = 3",
    ],
)
def test_change_deletion_replacement_and_gap_are_refused_by_the_database(
    outsider: sqlite3.Connection, statement: str
) -> None:
    before = outsider.execute("SELECT * FROM rows").fetchall()
    with pytest.raises(sqlite3.IntegrityError, match="journal rows are"):
        outsider.execute(statement)
    assert outsider.execute("SELECT * FROM rows").fetchall() == before


def test_second_writer_is_refused_and_told_who_has_it(journal_url: str, entry: Make) -> None:
    script = f"from trade_journal.store import JournalStore; JournalStore.open({journal_url!r}, origin={ORIGIN!r})"
    store = JournalStore.open(journal_url, origin=ORIGIN)
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert other.returncode == 1
    assert "another writer has this journal open (pid " in other.stderr
    with pytest.raises(JournalRefused, match="another writer"):
        JournalStore.open(journal_url, origin=ORIGIN)
    store.append([draft(entry())])
    store.close()
    JournalStore.open(journal_url, origin=ORIGIN).close()


def test_refused_opening_releases_the_lock(filled: str) -> None:
    with pytest.raises(JournalRefused, match="expected 'someone/else'"):
        JournalStore.open(filled, origin="someone/else")
    JournalStore.open(filled, origin=ORIGIN).close()


def test_database_of_another_program_is_refused_and_left_as_it_was(path: Path, journal_url: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trades (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalRefused, match=r"journal\.db: not a journal of this platform; found trades"):
        JournalStore.open(journal_url, origin=ORIGIN)
    assert path.read_bytes() == before


def test_file_that_is_no_database_is_refused(path: Path, journal_url: str) -> None:
    path.write_bytes(b"timestamp,open,high,low,close\n" * 100)
    with pytest.raises(JournalRefused, match="not a SQLite database"):
        JournalStore.open(journal_url, origin=ORIGIN)


def test_newer_format_is_refused(outsider: sqlite3.Connection, filled: str) -> None:
    outsider.execute("UPDATE journal_format SET version = 4")
    with pytest.raises(JournalRefused, match="journal format 4; this version reads 3"):
        JournalStore.open(filled, origin=ORIGIN)


def test_creation_that_crashed_before_its_first_commit_is_taken_up(path: Path, journal_url: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert path.stat().st_size > 0
    store = JournalStore.open(journal_url, origin=ORIGIN)
    assert store.size() == 0
    store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "absolute path"),
        ("sqlite:///:memory:", "absolute path"),
        ("sqlite:///relative.db", "absolute path"),
        ("postgresql://host/journal", "found postgresql"),
        ("sqlite:////tmp/x.db?mode=ro", "without options"),
        ("not a url", "not a database URL"),
        ("sqlite:////nonexistent/folder/x.db", "No such file or directory"),
    ],
)
def test_url_that_is_no_sqlite_file_is_refused(url: str, message: str) -> None:
    with pytest.raises(JournalRefused, match=message):
        JournalStore.open(url, origin=ORIGIN)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM rows WHERE seq = 2", "not gapless"),
        ("DELETE FROM rows WHERE seq = 0", "not gapless"),
        ("UPDATE rows SET body = replace(body, 'number', 'nombre') WHERE seq = 2", "row 2: leaf hash"),
        ("UPDATE rows SET at_ns = 9 WHERE seq = 3", "row 3: columns"),
        ("UPDATE rows SET kind = 'order:denied' WHERE seq = 3", "row 3: columns"),
        ("UPDATE rows SET body = x'7b7d', leaf_hash = x'00' WHERE seq = 1", "row 1: leaf hash"),
    ],
)
def test_tampered_rows_are_found_at_opening(
    outsider: sqlite3.Connection, filled: str, statement: str, message: str
) -> None:
    triggers = outsider.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    drop_triggers(outsider)
    outsider.execute(statement)
    for (trigger,) in triggers:
        outsider.execute(trigger)
    with pytest.raises(JournalDamaged, match=message):
        JournalStore.open(filled, origin=ORIGIN)


def test_journal_without_its_triggers_is_refused(outsider: sqlite3.Connection, filled: str) -> None:
    drop_triggers(outsider)
    with pytest.raises(JournalDamaged, match="triggers"):
        JournalStore.open(filled, origin=ORIGIN)


def test_append_after_somebody_else_wrote_is_unavailable_and_changes_nothing(
    filled: str, outsider: sqlite3.Connection, entry: Make
) -> None:
    store = JournalStore.open(filled, origin=ORIGIN)
    outsider.execute("INSERT INTO rows SELECT 5, at_ns, kind, actor, body, leaf_hash FROM rows WHERE seq = 3")
    with pytest.raises(JournalUnavailable):
        store.append([draft(entry())])
    assert store.size() == 5
    assert outsider.execute("SELECT count(*) FROM rows").fetchone() == (6,)
    store.close()


def test_group_with_one_bad_row_leaves_none(journal_url: str, entry: Make, path: Path) -> None:
    store = JournalStore.open(journal_url, origin=ORIGIN)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER third BEFORE INSERT ON rows WHEN NEW.seq = 2 BEGIN SELECT RAISE(ABORT, 'x'); END"
        )
    connection.close()
    with pytest.raises(JournalUnavailable) as caught:
        store.append([draft(entry()) for _ in range(4)])
    assert caught.value.cause == "sqlite_constraint_trigger"
    assert store.read(0, 10) == []
    store.close()
