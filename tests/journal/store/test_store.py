"""The store: append-only, gapless, one writer, and only what is ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from journal.outsider import Outsider
from sqlalchemy import Executable, delete, insert, literal, select, update

from trade_journal.errors import FOREIGN_WRITE, JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.log.rows import Entry, draft
from trade_journal.store.schema import ROWS
from trade_journal.store.store import READ_ROWS_MAX, JournalReader, JournalStore

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


def test_reader_of_a_missing_journal_refuses_and_makes_none(sqlite_url: str, path: Path) -> None:
    with pytest.raises(JournalRefused, match="no journal there"):
        JournalReader(sqlite_url).size()
    assert not path.exists()


def test_files_are_for_their_owner_alone(sqlite_url: str, path: Path) -> None:
    JournalStore.open(sqlite_url, origin=ORIGIN).close()
    for file in (path, path.with_name(path.name + ".lock")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def moved(new: int) -> Executable:
    """Give a statement that adds the third row again under another number."""
    values = [column for column in ROWS.c if column.name != "seq"]
    return insert(ROWS).from_select(list(ROWS.c), select(literal(new), *values).where(ROWS.c.seq == 3))


@pytest.mark.parametrize(
    "statement",
    [
        update(ROWS).where(ROWS.c.seq == 2).values(at_ns=9),
        delete(ROWS).where(ROWS.c.seq == 4),
        delete(ROWS),
        moved(6),
        moved(2),
        moved(-1),
    ],
    ids=str,
)
def test_change_deletion_and_gap_are_refused_by_the_database(
    filled: str, outsider: Outsider, statement: Executable
) -> None:
    before = outsider.execute(select(ROWS))
    assert outsider.is_refused(statement)
    assert outsider.execute(select(ROWS)) == before


def test_replacement_is_refused_by_the_database(filled: str, outsider: Outsider) -> None:
    values = "at_ns, kind, actor, body, leaf_hash FROM rows WHERE seq = 3"
    if outsider.is_sqlite:
        statement = f"INSERT OR REPLACE INTO rows SELECT 2, {values}"
    else:
        statement = f"INSERT INTO rows SELECT 2, {values} ON CONFLICT (seq) DO UPDATE SET body = excluded.body"
    before = outsider.execute(select(ROWS))
    assert outsider.is_refused(statement)
    assert outsider.execute(select(ROWS)) == before


def test_second_writer_is_refused_and_told_who_has_it(journal_url: str, entry: Make) -> None:
    script = "from trade_journal.store.store import JournalStore; "
    script += f"JournalStore.open({journal_url!r}, origin={ORIGIN!r})"
    store = JournalStore.open(journal_url, origin=ORIGIN)
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert other.returncode == 1
    assert "another writer has this journal open (pid " in other.stderr
    assert str(os.getpid()) in other.stderr
    with pytest.raises(JournalRefused, match="another writer"):
        JournalStore.open(journal_url, origin=ORIGIN)
    store.append([draft(entry())])
    store.close()
    JournalStore.open(journal_url, origin=ORIGIN).close()


def test_refused_opening_releases_the_lock(filled: str) -> None:
    with pytest.raises(JournalRefused, match="'someone/else'"):
        JournalStore.open(filled, origin="someone/else")
    JournalStore.open(filled, origin=ORIGIN).close()


def test_database_of_another_program_is_refused_and_left_as_it_was(path: Path, sqlite_url: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE trades (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalRefused, match=r"journal\.db: not a journal of this platform; found trades"):
        JournalStore.open(sqlite_url, origin=ORIGIN)
    assert path.read_bytes() == before


def test_file_that_is_no_database_is_refused(path: Path, sqlite_url: str) -> None:
    path.write_bytes(b"timestamp,open,high,low,close\n" * 100)
    with pytest.raises(JournalRefused, match="not a SQLite database"):
        JournalStore.open(sqlite_url, origin=ORIGIN)


def test_newer_format_is_refused(filled: str, outsider: Outsider) -> None:
    outsider.execute("UPDATE journal_format SET version = 5")
    with pytest.raises(JournalRefused, match="journal format 5; this version reads 3"):
        JournalStore.open(filled, origin=ORIGIN)


def test_creation_that_crashed_before_its_first_commit_is_taken_up(path: Path, sqlite_url: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert path.stat().st_size > 0
    store = JournalStore.open(sqlite_url, origin=ORIGIN)
    assert store.size() == 0
    store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "absolute path"),
        ("sqlite:///:memory:", "absolute path"),
        ("sqlite:///relative.db", "absolute path"),
        ("mysql://host/journal", "found mysql"),
        ("postgresql+pg8000://role@host/journal", r"found postgresql\+pg8000"),
        ("sqlite:////tmp/x.db?mode=ro", "without options"),
        ("not a url", "not a database URL"),
        ("sqlite:////nonexistent/folder/x.db", "No such file or directory"),
    ],
)
def test_url_of_no_kind_that_there_is_is_refused(url: str, message: str) -> None:
    with pytest.raises(JournalRefused, match=message):
        JournalStore.open(url, origin=ORIGIN)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (delete(ROWS).where(ROWS.c.seq == 2), "row 2 is missing; found 3"),
        (delete(ROWS).where(ROWS.c.seq == 0), "not gapless"),
        (update(ROWS).where(ROWS.c.seq == 3).values(at_ns=9), "row 3: columns"),
        (update(ROWS).where(ROWS.c.seq == 3).values(kind="order:denied"), "row 3: columns"),
        (update(ROWS).where(ROWS.c.seq == 1).values(body=b"{}", leaf_hash=b"\0"), "row 1: leaf hash"),
    ],
    ids=str,
)
def test_tampered_rows_are_found_at_opening(
    outsider: Outsider, filled: str, statement: Executable, message: str
) -> None:
    outsider.tamper(statement)
    with pytest.raises(JournalDamaged, match=message):
        JournalStore.open(filled, origin=ORIGIN)


def test_row_with_another_content_is_found_at_opening(outsider: Outsider, filled: str) -> None:
    outsider.edit_body(2, b"number", b"nombre")
    with pytest.raises(JournalDamaged, match="row 2: leaf hash"):
        JournalStore.open(filled, origin=ORIGIN)


@pytest.mark.parametrize("table", ["rows", "checkpoints", "cosignatures"])
def test_journal_without_one_of_its_triggers_is_refused(outsider: Outsider, filled: str, table: str) -> None:
    outsider.drop_trigger(table)
    with pytest.raises(JournalDamaged, match="triggers"):
        JournalStore.open(filled, origin=ORIGIN)


def test_append_after_somebody_else_wrote_is_unavailable_and_changes_nothing(
    filled: str, outsider: Outsider, entry: Make
) -> None:
    store = JournalStore.open(filled, origin=ORIGIN)
    outsider.execute(moved(5))
    with pytest.raises(JournalUnavailable):
        store.append([draft(entry())])
    assert store.size() == 5
    assert len(outsider.execute(select(ROWS))) == 6
    store.close()


def test_edit_of_an_old_row_is_noticed_while_the_journal_is_open(sqlite_url: str, path: Path, entry: Make) -> None:
    store = JournalStore.open(sqlite_url, origin=ORIGIN)
    store.append([draft(entry(fields={"number": number})) for number in range(5)])
    store.look()
    Outsider(sqlite_url, lambda: sqlite3.connect(path)).edit_body(1, b"number", b"nombre")
    for touch in (store.look, lambda: store.append([draft(entry())]), lambda: store.read(0, 1)):
        with pytest.raises(JournalUnavailable, match="somebody else has written") as refusal:
            touch()
        assert refusal.value.cause == FOREIGN_WRITE
    store.close()


def test_whoever_only_reads_is_nobody_who_wrote(sqlite_url: str, path: Path, entry: Make) -> None:
    store = JournalStore.open(sqlite_url, origin=ORIGIN)
    for number in range(300):  # beyond the point at which SQLite empties its log by itself
        store.append([draft(entry(fields={"text": "x" * 500, "number": number})) for _ in range(20)])
    for _ in range(3):
        with contextlib.closing(sqlite3.connect(path)) as reader:
            reader.execute("SELECT count(*) FROM rows").fetchone()
            reader.execute("PRAGMA wal_checkpoint(PASSIVE)")
        store.look()
        store.append([draft(entry())])
    store.close()


def test_group_with_one_bad_row_leaves_none(sqlite_url: str, entry: Make) -> None:
    store = JournalStore.open(sqlite_url, origin=ORIGIN)
    with store._database.transaction() as connection:  # another connection would be another hand
        connection.exec_driver_sql(
            "CREATE TRIGGER third BEFORE INSERT ON rows WHEN NEW.seq = 2 BEGIN SELECT RAISE(ABORT, 'x'); END"
        )
    with pytest.raises(JournalUnavailable) as caught:
        store.append([draft(entry()) for _ in range(4)])
    assert caught.value.cause == "sqlite_constraint_trigger"
    assert store.read(0, 10) == []
    store.close()


def test_sqlite_needs_no_driver_of_postgresql(tmp_path: Path) -> None:
    script = (
        "import sys; from trade_journal.store.store import JournalStore;"
        " from trade_journal.writer import witness, writer; from trade_journal import cli;"
        f" JournalStore.open('sqlite:///{tmp_path}/j.db', origin='x').close();"
        " assert not [name for name in sys.modules if name.startswith('psycopg')]"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_postgresql_without_its_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in [name for name in sys.modules if name.startswith("trade_journal.store.postgres_")]:
        monkeypatch.delitem(sys.modules, name)
    for use in (JournalReader, lambda url: JournalStore.open(url, origin=ORIGIN)):
        with pytest.raises(JournalUnavailable, match="needs psycopg") as refused:
            use("postgresql://role@127.0.0.1/journals")
        assert refused.value.cause == "psycopg"
