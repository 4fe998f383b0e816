"""`trade-journal database seal` on a real server: the same journal and rights afterwards, or nothing done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from journal.outsider import Outsider
from journal.postgres_server import OWNER, READER, PostgresServer
from journal.store.test_segments import without_triggers
from journal.writing import KEYS, ORIGIN, SIGNER, cosigned

from trade_core.clock import SystemClock
from trade_journal.cli import EXIT_GOOD, EXIT_TAMPERED, EXIT_UNREADABLE, main
from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.log.rows import Entry, RowKind, draft
from trade_journal.log.verify import PublicKeys, StoredRow
from trade_journal.store import postgres_sealing
from trade_journal.store.postgres_sealing import seal_in_postgres
from trade_journal.store.store import JournalReader, JournalStore
from trade_journal.writer.writer import JournalWriter

pytestmark = pytest.mark.slow
ALL = 1000


class Journal:
    """A journal in the server, its archive, and who may do what."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server
        self.url = server.make_journal(ORIGIN)
        self.archive = folder / "archive"
        self.keys = folder / "public-keys.txt"
        assert KEYS.witness is not None
        self.keys.write_text(f"{KEYS.log.text()}\n{KEYS.witness.text()}\n")
        self.outsider = Outsider(self.url, server.admin)

    @contextmanager
    def store(self) -> Iterator[JournalStore]:
        store = JournalStore.open(self.url, origin=ORIGIN, log=SIGNER.verifier())
        try:
            yield store
        finally:
            store.close()

    def grow(self, rows: int, *, is_vouched_for: bool = True) -> None:
        with self.store() as store:
            first = store.size()
            store.append([draft(_entry(first + number)) for number in range(rows)])
            note = SIGNER.sign(store.tree()).rendered().encode()
            store.append_checkpoint(note)
            if is_vouched_for:
                store.append_cosigned(cosigned(note))

    def seal(self, *more: str) -> int:
        owner = self.server.url(OWNER)
        return main(["database", "seal", owner, "--keys", str(self.keys), "--archive", str(self.archive), *more])

    def rows(self) -> list[StoredRow]:
        reader = JournalReader(self.server.url(READER), archive=self.archive)
        try:
            return reader.stored_rows(0, ALL)
        finally:
            reader.close()

    def verify(self) -> int:
        where = ["--journal", self.server.url(READER), "--archive", str(self.archive)]
        return main(["verify", *where, "--keys", str(self.keys), "--json"])

    def in_database(self) -> list[int]:
        return [seq for (seq,) in self.outsider.execute("SELECT seq FROM rows ORDER BY seq")]

    def segments(self) -> list[str]:
        return sorted(path.name for path in self.archive.iterdir()) if self.archive.is_dir() else []


def _entry(number: int) -> Entry:
    return Entry(at_ns=number + 1, kind=RowKind.ORDER_INTENT, actor="gateway", fields={"number": number})


@pytest.fixture
def journal(postgres: PostgresServer, tmp_path: Path) -> Journal:
    made = Journal(postgres, tmp_path)
    made.grow(4)
    made.grow(2, is_vouched_for=False)
    return made


def test_sealed_journal_reads_as_before_and_goes_on(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    before = journal.rows()
    assert journal.seal() == EXIT_GOOD
    assert "rows 0 to 3, verified; the database goes on behind them" in capsys.readouterr().out
    assert (journal.in_database(), journal.segments()) == ([4, 5], ["rows-0000000000000000-0000000000000004.db"])
    assert journal.rows() == before
    journal.grow(3)
    assert journal.verify() == EXIT_GOOD
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["rows"], verdict["witnessed_rows"], verdict["checkpoints"]) == (9, 9, 5)
    assert journal.seal() == EXIT_GOOD
    assert (journal.in_database(), len(journal.segments())) == ([], 2)
    journal.grow(1)
    assert journal.verify() == EXIT_GOOD
    assert [row.seq for row in journal.rows()] == list(range(10))
    with journal.store() as store:
        assert (store.size(), store.first_seq, store.witnessed_size()) == (10, 9, 10)


def test_new_tables_refuse_what_the_old_ones_refused(journal: Journal) -> None:
    journal.seal()
    for statement in (
        "UPDATE rows SET actor = 'me'",
        "DELETE FROM checkpoints",
        "UPDATE beginning SET size = 1",
        "DELETE FROM beginning",
        "INSERT INTO rows SELECT 3, at_ns, kind, actor, body, leaf_hash FROM rows WHERE seq = 4",
        "INSERT INTO rows SELECT 7, at_ns, kind, actor, body, leaf_hash FROM rows WHERE seq = 4",
        "INSERT INTO cosignatures SELECT 3, size, note FROM checkpoints LIMIT 1",
    ):
        assert journal.outsider.is_refused(statement), statement


def test_role_that_may_do_more_on_a_new_table_is_refused(journal: Journal) -> None:
    journal.seal()
    journal.outsider.execute("GRANT INSERT ON beginning TO journal_writer")
    with pytest.raises(JournalRefused, match="INSERT on beginning"), journal.store():
        pass


def test_beginning_with_another_trigger_or_without_one_is_damage(journal: Journal) -> None:
    journal.seal()
    journal.outsider.execute("DROP TRIGGER beginning_refuse_change ON beginning")
    with pytest.raises(JournalDamaged, match="triggers"), journal.store():
        pass
    journal.outsider.execute("DROP TABLE beginning")
    with pytest.raises(JournalDamaged, match="not told in one way"), journal.store():
        pass


def test_segments_are_asked_for_and_named(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    journal.seal()
    reader = JournalReader(journal.server.url(READER))
    with pytest.raises(JournalRefused, match="the rows before 4 are sealed; say in which folder"):
        reader.read(0, 1)
    assert [row.seq for row in reader.read(4, 10)] == [4, 5]
    reader.close()
    next(journal.archive.iterdir()).unlink()
    assert journal.verify() == EXIT_UNREADABLE
    assert "the sealed segment of rows 0 to 3 is missing" in capsys.readouterr().err


def test_journal_that_is_written_is_left_alone(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    with journal.store():
        assert journal.seal() == EXIT_UNREADABLE
    assert "a writer has this journal open; stop it first" in capsys.readouterr().err
    assert (len(journal.in_database()), journal.segments()) == (6, [])


def test_young_or_sealed_rows_are_left_alone(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {"keys": KEYS, "archive": journal.archive}
    assert seal_in_postgres(journal.server.url(OWNER), written_before_ns=1, **keys) is None
    assert journal.seal("--days", "3650") == EXIT_GOOD  # written in 1970
    assert journal.seal() == EXIT_GOOD
    assert "nothing to seal" in capsys.readouterr().out
    assert len(journal.segments()) == 1


def test_row_that_was_changed_is_not_sealed_away(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    journal.outsider.edit_body(2, b'"number":2', b'"number":3')
    assert journal.seal() == EXIT_TAMPERED
    assert "row 2" in capsys.readouterr().err
    assert len(journal.in_database()) == 6


@pytest.mark.parametrize("fails", ["continue_behind", "make_file"])
def test_sealing_that_fails_leaves_the_database_and_can_be_done_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    before = journal.rows()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(postgres_sealing, fails, fail)
        with pytest.raises(JournalUnavailable, match="No space left"):
            seal_in_postgres(journal.server.url(OWNER), keys=KEYS, archive=journal.archive)
    assert (len(journal.in_database()), journal.rows()) == (6, before)
    assert journal.seal() == EXIT_GOOD
    assert (journal.in_database(), journal.rows()) == ([4, 5], before)


def test_other_file_in_the_way_is_named_and_nothing_dropped(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(postgres_sealing, "continue_behind", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seal_in_postgres(journal.server.url(OWNER), keys=KEYS, archive=journal.archive)
    (segment,) = journal.archive.iterdir()
    without_triggers(segment, "UPDATE rows SET body = CAST(replace(body, '1', '2') AS BLOB) WHERE seq = 1")
    assert journal.seal() == EXIT_TAMPERED
    assert "nothing was dropped" in capsys.readouterr().err
    assert len(journal.in_database()) == 6


def test_rights_and_keys_that_do_not_do_are_named(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(JournalRefused, match=r"right is missing|must be owner|permission denied"):
        seal_in_postgres(journal.url, keys=KEYS, archive=journal.archive)
    with pytest.raises(JournalRefused, match="the witness's public key is needed"):
        seal_in_postgres(journal.url, keys=PublicKeys(log=KEYS.log, witness=None), archive=journal.archive)
    with pytest.raises(JournalRefused, match="a SQLite journal is sealed by its writer"):
        seal_in_postgres(f"sqlite:///{tmp_path}/j.db", keys=KEYS, archive=journal.archive)
    assert len(journal.in_database()) == 6


async def test_writer_reads_across_the_segments(journal: Journal) -> None:
    before = journal.rows()
    journal.seal()
    writer = await JournalWriter.open(
        journal.url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER, archive=journal.archive
    )
    assert await writer.stored(0, ALL) == before
    assert await writer.append(_entry(6)) == 6
    assert [row.seq for row in await writer.read(2, ALL)] == [2, 3, 4, 5, 6]
    await writer.close()


def test_view_that_a_sealing_came_into_is_not_believed(journal: Journal) -> None:
    reader = JournalReader(journal.server.url(READER), archive=journal.archive)
    with pytest.raises(JournalUnavailable, match="was sealed while it was read"), reader._view():
        journal.seal()
    assert len(reader.stored_rows(0, ALL)) == 6
    reader.close()
