"""Segments that are missing, cut short, another's, swapped or changed: each is named, and none is read past."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from journal.store.sealed import Sealable

from trade_journal.errors import JournalDamaged, JournalError, JournalRefused
from trade_journal.store.segments import last_segment
from trade_journal.store.store import JournalReader, JournalStore

Break = Callable[[list[Path]], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sealable:
    """Three segments of three rows, and two rows in use."""
    made = Sealable(path=tmp_path_factory.mktemp("made") / "journal.db")
    for _ in range(3):
        made.sealed(3)
    made.grow(2)
    return made


@pytest.fixture
def journal(made: Sealable, tmp_path: Path) -> Sealable:
    """A test's own copy of it."""
    return made.copied_to(tmp_path)


def writable(path: Path) -> sqlite3.Connection:
    path.chmod(0o600)
    return sqlite3.connect(path)


def without_triggers(path: Path, statement: str) -> None:
    connection = writable(path)
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement)
    for _, sql in triggers:
        connection.execute(sql)
    connection.commit()
    connection.close()


def remove_second(found: list[Path]) -> None:
    found[1].unlink()


def swap_first_two(found: list[Path]) -> None:
    beside = found[0].with_name("beside")
    found[0].rename(beside)
    found[1].rename(found[0])
    beside.rename(found[1])


def cut_off(found: list[Path]) -> None:
    without_triggers(found[1], "DELETE FROM rows WHERE seq = 5")


def take_from_the_middle(found: list[Path]) -> None:
    without_triggers(found[1], "DELETE FROM checkpoints")
    without_triggers(found[1], "DELETE FROM rows WHERE seq = 4")


def take_the_last_checkpointed(found: list[Path]) -> None:
    without_triggers(found[1], "DELETE FROM checkpoints")
    without_triggers(found[1], "UPDATE rows SET body = CAST('{}' AS BLOB) WHERE seq = 4")


def halve(found: list[Path]) -> None:
    found[1].chmod(0o600)
    os.truncate(found[1], found[1].stat().st_size // 2)


def put_nothing(found: list[Path]) -> None:
    found[1].unlink()
    found[1].touch()


def put_no_database(found: list[Path]) -> None:
    found[1].unlink()
    found[1].write_text("rows" * 5000)


def put_anothers(found: list[Path]) -> None:
    without_triggers(found[1], "UPDATE journal_format SET origin = 'trade/simulated/9/gateway'")


def put_another_beginning(found: list[Path]) -> None:
    without_triggers(found[1], "UPDATE beginning SET tree = x'00'")


@pytest.mark.parametrize(
    ("breaks", "kind", "message"),
    [
        (remove_second, JournalRefused, r"rows-0+3-0+6\.db: the sealed segment of rows 3 to 5 is missing"),
        (swap_first_two, JournalDamaged, r"rows-0+3-0+6\.db: begins with row 0, not with row 3: another segment"),
        (cut_off, JournalDamaged, r"rows-0+3-0+6\.db: has rows up to 4, and the journal goes on with row 6: cut off"),
        (take_from_the_middle, JournalDamaged, r"rows-0+3-0+6\.db: row 4 is missing; found 5"),
        (take_the_last_checkpointed, JournalDamaged, r"rows-0+3-0+6\.db: does not join row 6"),
        (halve, JournalDamaged, r"rows-0+3-0+6\.db: the database file is corrupt"),
        (put_nothing, JournalRefused, r"rows-0+3-0+6\.db: not a journal of this platform"),
        (put_no_database, JournalRefused, r"rows-0+3-0+6\.db: not a SQLite database"),
        (put_anothers, JournalDamaged, r"rows-0+3-0+6\.db: a segment of another journal: 'trade/simulated/9/gateway'"),
        (put_another_beginning, JournalDamaged, r"rows-0+3-0+6\.db: the tree beside a checkpoint"),
    ],
)
def test_segment_that_is_not_as_it_was_sealed_is_named(
    journal: Sealable, breaks: Break, kind: type[JournalError], message: str
) -> None:
    breaks(journal.segments())
    for ask in (
        lambda reader: reader.read(0, 1),
        lambda reader: reader.stored_rows(8, 10),
        lambda reader: reader.stored_pages(0, 5),
        lambda reader: reader.checkpoints(0, 1),
        lambda reader: reader.cosigned(0, 1),
        lambda reader: reader.checkpoints_of(3),
        lambda reader: reader.check_segments(),
    ):
        with journal.reader() as reader, pytest.raises(kind, match=message) as raised:
            ask(reader)
        assert type(raised.value) is kind


def test_rows_in_use_are_read_without_the_segments(journal: Sealable) -> None:
    shutil.rmtree(journal.archive)
    with journal.reader() as reader:
        assert [row.seq for row in reader.read(9, 10)] == [9, 10]
        assert (reader.size(), reader.count_checkpoints(), reader.count_cosigned()) == (11, 3, 3)
        assert list(chain.from_iterable(reader.stored_pages(10, 3))) == reader.stored_rows(10, 5)
    journal.grow(1)


def test_segment_of_another_history_does_not_join(journal: Sealable, tmp_path: Path) -> None:
    other = Sealable(path=tmp_path / "other" / "journal.db")
    other.path.parent.mkdir()
    other.grow(3, what="that")
    other.sealed(0)
    journal.segments()[0].unlink()
    shutil.copy(other.segments()[0], journal.archive)
    with journal.reader() as reader, pytest.raises(JournalDamaged, match="does not join row 3: changed, or of another"):
        reader.read(0, 1)


def test_segment_may_be_a_link_to_where_it_was_moved(journal: Sealable, tmp_path: Path) -> None:
    cold = tmp_path / "cold"
    cold.mkdir()
    before = journal.rows()
    for segment in journal.segments():
        shutil.move(segment, cold)
        segment.symlink_to(cold / segment.name)
    assert journal.rows() == before
    assert journal.verdict().is_good


def test_archive_may_be_elsewhere_when_it_is_named(journal: Sealable, tmp_path: Path) -> None:
    before = journal.rows()
    journal.archive.rename(tmp_path / "elsewhere")
    reader = JournalReader(journal.url, archive=tmp_path / "elsewhere")
    assert reader.stored_rows(0, 100) == before
    reader.close()


def test_reader_sees_what_is_sealed_while_it_is_open(journal: Sealable) -> None:
    with journal.reader() as reader:
        assert len(reader.stored_rows(0, 100)) == 11
        journal.vouch()
        assert journal.seal() is not None
        journal.grow(1)
        assert [row.seq for row in reader.stored_rows(0, 100)] == list(range(12))
        assert reader.first_seq() == 11


def test_last_segment_is_the_one_with_the_last_rows(journal: Sealable) -> None:
    (journal.archive / "notes.txt").touch()
    assert last_segment(journal.archive) == journal.segments()[-1]


def test_folder_without_a_segment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalRefused, match="no sealed segment there"):
        last_segment(tmp_path)


def test_segment_that_goes_on_from_itself_is_damage(journal: Sealable) -> None:
    itself = journal.archive / "rows-0000000000000009-0000000000000009.db"
    without_triggers(journal.path, "UPDATE beginning SET previous_size = 9")
    shutil.copy(journal.path, itself)
    with journal.reader() as reader, pytest.raises(JournalDamaged, match=r"rows-0+9-0+9\.db: goes on from itself"):
        reader.read(0, 1)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM beginning", "0 beginnings; one is needed"),
        ("UPDATE beginning SET previous_size = 10", "its beginning is none"),
        ("UPDATE beginning SET cosignatures = 'many'", "its beginning is none"),
        ("UPDATE beginning SET size = 8", "begins with row 8, under a checkpoint of 9 rows"),
        ("UPDATE beginning SET note = 'text'", "a checkpoint that it keeps"),
        ("UPDATE beginning SET tree = x'00'", "the tree beside a checkpoint"),
        ("DROP TABLE beginning", "not told in one way"),
    ],
)
def test_beginning_that_is_none_is_named(journal: Sealable, statement: str, message: str) -> None:
    if statement.startswith("DROP"):
        connection = writable(journal.path)
        connection.execute(statement)
        connection.commit()
        connection.close()
    else:
        without_triggers(journal.path, statement)
    with pytest.raises(JournalDamaged, match=message), journal.store():
        pass
    with journal.reader() as reader, pytest.raises(JournalDamaged, match=message):
        reader.size()


def test_row_before_the_beginning_is_damage(journal: Sealable) -> None:
    row = "SELECT 8, at_ns, kind, actor, body, leaf_hash FROM rows WHERE seq = 9"
    without_triggers(journal.path, f"INSERT INTO rows {row}")
    with pytest.raises(JournalDamaged, match="the first row is numbered 8"):
        JournalStore.open(journal.url, origin="trade/simulated/1002/gateway")
