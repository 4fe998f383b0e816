"""When a journal is sealed at a start, and that what keeps it from being sealed keeps nobody from starting."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from journal.store.sealed import Sealable
from journal.writer.test_succession_cli import ROWS
from journal.writer.test_writer_process import SOMEBODY, deployed
from journal.writer.test_writer_settings import written
from journal.writing import KEYS, ORIGIN, SIGNER, WITNESS, WITNESS_KEY

from trade_core.clock import ManualClock
from trade_core.settings import load_settings
from trade_journal.errors import ForkProven, JournalRefused, JournalUnavailable, Withheld
from trade_journal.log.checkpoint import cosign
from trade_journal.log.note import parse_note
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import StoredRow
from trade_journal.store.segments import archive_beside
from trade_journal.store.store import JournalStore
from trade_journal.writer import retention
from trade_journal.writer.retention import say_what_is_missing, seal_when_due
from trade_journal.writer.witness import Witness
from trade_journal.writer.writer_identity import load_log_identity
from trade_journal.writer.writer_process import prepare_segments
from trade_journal.writer.writer_settings import JournalWriterSettings

DAY_NS = 24 * 60 * 60 * 10**9


@pytest.fixture
def journal(tmp_path: Path) -> Sealable:
    """Three rows, written in the first moments of 1970, under a cosigned checkpoint."""
    made = Sealable(path=tmp_path / "journal.db")
    made.grow(3)
    made.vouch()
    return made


def seal(journal: Sealable, *, now_ns: int) -> None:
    clock = ManualClock(wall_ns=now_ns)
    seal_when_due(journal.url, origin=ORIGIN, keys=KEYS, retention_days=30, clock=clock)


@pytest.mark.parametrize(("now_ns", "count"), [(30 * DAY_NS + 1, 0), (30 * DAY_NS + 2, 1), (400 * DAY_NS, 1)])
def test_journal_is_sealed_when_its_first_row_is_older_than_the_days(
    journal: Sealable, now_ns: int, count: int
) -> None:
    seal(journal, now_ns=now_ns)
    assert len(journal.segments()) == count
    assert journal.verdict().rows == 3


def test_sealing_that_the_disk_refuses_is_said_and_put_off(
    journal: Sealable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise JournalUnavailable("sqlite_full", cause="sqlite_full")

    monkeypatch.setattr(retention, "seal_old_rows", full)
    seal(journal, now_ns=400 * DAY_NS)
    assert "rows older than 30 days are not sealed, and stay where they are: sqlite_full" in caplog.text


def test_archive_with_another_file_in_the_way_is_refused(journal: Sealable) -> None:
    journal.archive.mkdir()
    (journal.archive / "rows-0000000000000000-0000000000000003.db").touch()
    with pytest.raises(JournalRefused, match="is there already"):
        seal(journal, now_ns=400 * DAY_NS)


def test_missing_segment_is_said_at_a_start(journal: Sealable, caplog: pytest.LogCaptureFixture) -> None:
    seal(journal, now_ns=400 * DAY_NS)
    say_what_is_missing(journal.url)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    journal.segments()[0].unlink()
    say_what_is_missing(journal.url)
    assert "the sealed segment of rows 0 to 2 is missing" in caplog.text


def witness_of(url: str) -> Witness:
    return Witness.open(url, log=SIGNER.verifier(), name=WITNESS, private_key=WITNESS_KEY)


def signed(rows: list[StoredRow]) -> bytes:
    return SIGNER.sign(Frontier().extended(row.leaf_hash for row in rows)).rendered().encode()


def test_witness_judges_old_checkpoints_over_sealed_rows(journal: Sealable, tmp_path: Path) -> None:
    copy = f"sqlite:///{tmp_path}/copy.db"
    rows = journal.rows()
    witness = witness_of(copy)
    witness.take(rows)
    witness.cosign(signed(rows), at_s=1)
    witness.close()
    seal_when_due(copy, origin=ORIGIN, keys=KEYS, retention_days=1, clock=ManualClock(wall_ns=400 * DAY_NS))
    archive = archive_beside(tmp_path / "copy.db")
    assert [path.name for path in archive.iterdir()] == ["rows-0000000000000000-0000000000000003.db"]
    witness = witness_of(copy)
    assert witness.size == 3
    with pytest.raises(Withheld, match="after 3 were seen: the log went back"):
        witness.cosign(signed(rows[:2]), at_s=2)
    with pytest.raises(ForkProven, match="over 2 rows"):
        witness.cosign(signed(rows[1:]), at_s=2)
    journal.grow(2)
    witness.take(journal.rows()[3:])
    assert witness.cosign(signed(journal.rows()), at_s=3)
    next(archive.iterdir()).unlink()
    with pytest.raises(JournalRefused, match="is missing"):
        witness.cosign(signed(rows[:2]), at_s=4)
    witness.close()


def test_writer_seals_by_its_settings_before_it_opens_its_doors(tmp_path: Path) -> None:
    deployed(tmp_path)
    url = f"sqlite:///{tmp_path}/journal.db"
    settings = load_settings(written(tmp_path, journal_url=url, retention_days=1), JournalWriterSettings)
    identity = load_log_identity(settings)
    prepare_segments(settings, identity, ManualClock())  # there is no journal yet
    store = JournalStore.open(url, origin=identity.keys.journal, log=identity.keys.log)
    store.append_stored([StoredRow(row.seq, row.body, row.leaf_hash) for row in ROWS])
    note = identity.signer.sign(store.tree()).rendered().encode()
    store.append_checkpoint(note)
    witness = identity.keys.witness
    assert witness is not None
    store.append_cosigned(cosign(parse_note(note), name=witness.name, private_key=SOMEBODY, at_s=1).rendered().encode())
    store.close()
    prepare_segments(settings, identity, ManualClock())
    (segment,) = archive_beside(tmp_path / "journal.db").iterdir()
    assert segment.name == f"rows-{0:016d}-{len(ROWS):016d}.db"
