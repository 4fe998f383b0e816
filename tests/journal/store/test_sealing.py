"""Sealing: the same journal before and after, whatever was sealed when, and nothing lost where it cannot be done."""

from __future__ import annotations

import os
import sqlite3
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal.store.sealed import ALL, Sealable
from journal.writing import KEYS, ORIGIN, SIGNER

from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.log.verify import PublicKeys
from trade_journal.store import sealing
from trade_journal.store.sealing import seal_all_rows, seal_old_rows
from trade_journal.store.store import JournalStore

STEPS = st.lists(
    st.one_of(st.integers(min_value=0, max_value=5), st.sampled_from(["sign", "vouch", "seal"])), max_size=10
)


@pytest.fixture
def journal(tmp_path: Path) -> Sealable:
    return Sealable(path=tmp_path / "journal.db")


def step(journal: Sealable, what: int | str, *, seals: bool) -> None:
    if isinstance(what, int):
        journal.grow(what)
    elif what == "seal":
        if seals:
            journal.seal()
    else:
        (journal.sign if what == "sign" else journal.vouch)()


@given(steps=STEPS)
@settings(max_examples=8, deadline=None)
def test_sealed_journal_reads_as_one_that_was_never_sealed(steps: list[int | str]) -> None:
    with TemporaryDirectory() as folder:
        sealed, whole = Sealable(path=Path(folder) / "sealed.db"), Sealable(path=Path(folder) / "whole.db")
        for one in ["sign", *steps]:
            step(sealed, one, seals=True)
            step(whole, one, seals=False)
        with sealed.store() as store, whole.store() as other:
            assert (store.tree(), store.witnessed_size()) == (other.tree(), other.witnessed_size())
            size = other.size()
        verdict = sealed.verdict()
        assert (verdict.fault, verdict) == (None, whole.verdict())
        with sealed.reader() as reader, whole.reader() as other_reader:
            for first in range(size + 1):
                assert reader.stored_rows(first, 4) == other_reader.stored_rows(first, 4)
                assert reader.read(first, 3) == other_reader.read(first, 3)
                assert reader.checkpoints_of(first)[-1:] == other_reader.checkpoints_of(first)[-1:]
            assert list(chain.from_iterable(reader.stored_pages(0, 100))) == other_reader.stored_rows(0, ALL)
            for number in range(other_reader.count_checkpoints() + 1):
                assert reader.checkpoints(number, 2) == other_reader.checkpoints(number, 2)
                assert reader.cosigned(number, 2) == other_reader.cosigned(number, 2)
            assert reader.size() == size
            assert reader.count_checkpoints() == other_reader.count_checkpoints()
            assert reader.count_cosigned() == other_reader.count_cosigned()
            assert reader.check_segments() == len(sealed.segments())


def test_whole_old_file_is_the_segment_and_later_rows_go_on(journal: Sealable) -> None:
    journal.grow(4)
    journal.vouch()
    journal.grow(2)
    journal.sign()
    inode = journal.path.stat().st_ino
    done = journal.seal()
    assert done is not None
    assert (done.first, done.end, done.path.name) == (0, 4, "rows-0000000000000000-0000000000000004.db")
    assert (done.path.stat().st_ino, done.path.stat().st_nlink) == (inode, 1)
    assert done.path.stat().st_mode & 0o777 == 0o400
    there = sorted(path.name for path in journal.path.parent.iterdir())
    assert there == ["journal.db", "journal.db.lock", "journal.db.segments"]
    with sqlite3.connect(done.path) as segment, sqlite3.connect(journal.path) as live:
        assert segment.execute("SELECT count(*) FROM rows").fetchone() == (6,)
        assert live.execute("SELECT min(seq), count(*) FROM rows").fetchone() == (4, 2)
    segment.close()
    live.close()
    journal.grow(1)
    assert [row.seq for row in journal.rows()] == list(range(7))


def test_new_file_refuses_change_deletion_gaps_and_another_beginning(journal: Sealable) -> None:
    journal.sealed(3)
    journal.grow(1)
    journal.vouch()
    connection = sqlite3.connect(journal.path)
    for statement in (
        "UPDATE rows SET actor = 'me'",
        "DELETE FROM rows",
        "INSERT INTO rows SELECT 3, at_ns, kind, actor, body, leaf_hash FROM rows",
        "INSERT INTO rows SELECT 5, at_ns, kind, actor, body, leaf_hash FROM rows",
        "INSERT INTO checkpoints SELECT 0, size, note, tree FROM checkpoints",
        "INSERT INTO cosignatures SELECT 3, size, note FROM cosignatures",
        "UPDATE beginning SET size = 2",
        "DELETE FROM beginning",
        "INSERT OR REPLACE INTO beginning SELECT * FROM beginning",
        "INSERT INTO beginning SELECT size + 1, previous_size, 0, 0, note, tree FROM beginning",
    ):
        with pytest.raises(sqlite3.IntegrityError, match=r"never|gapless|once"):
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("rows", [0, 3])
def test_what_nobody_cosigned_is_not_sealed(journal: Sealable, rows: int) -> None:
    journal.grow(rows)
    journal.sign()
    assert journal.seal() is None
    assert journal.segments() == []


def test_young_rows_are_not_sealed(journal: Sealable) -> None:
    journal.grow(3)
    journal.vouch()
    assert journal.seal(before_ns=1) is None  # its first row was written at 1
    assert journal.seal(before_ns=2) is not None


def test_rows_that_are_sealed_are_not_sealed_again(journal: Sealable) -> None:
    journal.sealed(3)
    journal.grow(2)
    assert journal.seal() is None
    journal.vouch()
    assert journal.seal() is not None
    assert len(journal.segments()) == 2


def test_nothing_is_sealed_without_a_journal_or_without_a_witness(journal: Sealable) -> None:
    assert journal.seal() is None
    assert not journal.path.exists()
    journal.grow(1)
    journal.vouch()
    keys = PublicKeys(log=KEYS.log, witness=None)
    assert seal_old_rows(journal.url, origin=ORIGIN, keys=keys, written_before_ns=2**62) is None


def test_all_rows_are_sealed_under_a_checkpoint_of_who_goes_on(journal: Sealable) -> None:
    journal.grow(3)
    journal.vouch()
    journal.grow(2)
    with journal.store() as store:
        note = SIGNER.sign(store.tree()).rendered().encode()
    sealed = seal_all_rows(journal.url, origin=ORIGIN, log=SIGNER.verifier(), note=note)
    assert (sealed.first, sealed.end) == (0, 5)
    assert journal.verdict().rows == 5
    with journal.reader() as reader:
        assert reader.first_seq() == 5


def test_journal_that_somebody_reads_is_left_alone(journal: Sealable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trade_journal.store.sqlite_database.BUSY_TIMEOUT_S", 0)
    journal.grow(3)
    journal.vouch()
    reading = sqlite3.connect(journal.path)
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM rows").fetchone()
    with pytest.raises(JournalUnavailable):
        journal.seal()
    assert journal.segments() == []
    reading.close()
    journal.grow(1)
    assert journal.seal() is not None
    assert journal.verdict().rows == 4


def test_journal_of_another_writer_is_left_alone(journal: Sealable) -> None:
    journal.grow(3)
    journal.vouch()
    with journal.store(), pytest.raises(JournalRefused, match="another writer has this journal open"):
        journal.seal()


def test_file_in_the_way_is_named_and_not_replaced(journal: Sealable) -> None:
    journal.grow(3)
    journal.vouch()
    journal.archive.mkdir()
    (journal.archive / "rows-0000000000000000-0000000000000003.db").write_text("mine")
    with pytest.raises(JournalRefused, match=r"rows-0000000000000000-0000000000000003\.db: is there already"):
        journal.seal()
    assert [path.read_text() for path in journal.segments()] == ["mine"]
    assert journal.verdict().rows == 3


def test_link_in_the_place_of_the_journal_is_not_sealed(journal: Sealable, tmp_path: Path) -> None:
    journal.grow(3)
    journal.vouch()
    real = tmp_path / "real.db"
    journal.path.rename(real)
    journal.path.symlink_to(real)
    with pytest.raises(JournalRefused, match="a link"):
        journal.seal()


def test_archive_that_cannot_be_made_leaves_the_journal_as_it_is(journal: Sealable) -> None:
    journal.grow(3)
    journal.vouch()
    journal.archive.write_text("no folder")
    with pytest.raises((JournalUnavailable, JournalRefused)):
        journal.seal()
    assert journal.verdict().rows == 3


def test_new_file_with_another_root_is_not_put_in_place(journal: Sealable, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.grow(3)
    journal.vouch()
    journal.grow(2)
    monkeypatch.setattr(sealing, "carry_over", lambda *_, **__: None)
    with pytest.raises(JournalDamaged, match="another root"):
        journal.seal()
    assert journal.segments() == []
    assert journal.verdict().rows == 5


@pytest.mark.parametrize("fails", ["sync_folder", "rename"])
def test_second_name_is_taken_back_when_the_first_is_not_given_away(
    journal: Sealable, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    journal.grow(3)
    journal.vouch()
    journal.archive.mkdir()

    def fail(path: Path, *_: object) -> None:
        if path.parent == journal.archive or fails == "rename":
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(*((sealing, "sync_folder", fail) if fails == "sync_folder" else (Path, "rename", fail)))
    with pytest.raises(JournalUnavailable, match="cannot be sealed"):
        journal.seal()
    assert journal.segments() == []
    monkeypatch.undo()
    assert journal.seal() is not None


def test_what_a_crash_left_behind_is_thrown_away(journal: Sealable) -> None:
    journal.grow(3)
    journal.vouch()
    journal.archive.mkdir()
    os.link(journal.path, journal.archive / "rows-0000000000000000-0000000000000002.db")
    (journal.archive / "of somebody").write_text("else")
    journal.path.with_name(".journal.db.sealing").write_bytes(b"half")
    journal.path.with_name(".journal.db.sealing-journal").write_bytes(b"half")
    assert journal.seal() is not None
    assert [path.name for path in journal.segments()] == ["of somebody", "rows-0000000000000000-0000000000000003.db"]
    assert not journal.path.with_name(".journal.db.sealing-journal").exists()


def test_checkpoint_of_another_key_keeps_the_new_file_shut(journal: Sealable) -> None:
    journal.sealed(3)
    other = SIGNER.verifier()
    wrong = type(other)(name="trade/simulated/1002/other", kind=other.kind, public=other.public)
    with pytest.raises(JournalDamaged, match="not by this deployment's key"):
        JournalStore.open(journal.url, origin=ORIGIN, log=wrong)
