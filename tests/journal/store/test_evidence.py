"""A journal's file is read without a byte of it, or of what lies beside it, being changed; no row is passed over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from journal.plain_journals import AT_S, plain_journal
from journal.writing import ORIGIN, SIGNER

from trade_journal import cli, command
from trade_journal.cli import EXIT_GOOD, EXIT_UNREADABLE
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Entry, RowKind, draft
from trade_journal.store.evidence import evidence_uri, is_still, is_unmerged, private_copy
from trade_journal.store.store import JournalReader, JournalStore

ROW = draft(Entry(at_ns=AT_S, kind=RowKind.READ_ANSWERED, actor="gateway", fields={}))
FILES = {
    "closed": ("",),
    "killed": ("", "-wal", "-shm"),
    "copied without its shm": ("", "-wal"),
}


@pytest.fixture(params=FILES)
def evidence(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Lay a journal of 310 rows, the last 10 of which a killed writer left in the log, where nobody may write."""
    (tmp_path / "live").mkdir()
    live = plain_journal(tmp_path / "live", rows=300, unsigned=0)
    folder = tmp_path / "evidence"
    folder.mkdir()
    store = JournalStore.open(f"sqlite:///{live}", origin=ORIGIN)
    store.append([ROW] * 10)
    store.append_checkpoint(SIGNER.sign(store.tree()).rendered().encode())
    if request.param == "closed":
        store.close()
    for ending in FILES[request.param]:
        shutil.copy(live.with_name(live.name + ending), folder)
    if request.param != "closed":
        assert (folder / "plain.db-wal").stat().st_size > 0
        store.close()
    shutil.copy(live.with_name("keys"), folder)
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    yield folder / "plain.db"
    folder.chmod(0o755)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_link_to_a_journal_is_read_with_the_rows_beside_the_file_itself(
    evidence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "another.db"
    link.symlink_to(evidence)
    given = ["stats", "--journal", str(link), "--json"]
    assert cli.main(given) == EXIT_GOOD
    assert json.loads(capsys.readouterr().out)["rows"] == 310


@pytest.mark.parametrize(
    "given",
    [
        ["verify", "--json"],
        ["tail", "--rows", "1", "--json"],
        ["stats", "--json"],
        ["prove", "305"],
        ["export", "--out"],
        ["table", "incidents"],
    ],
    ids=lambda given: given[0],
)
def test_reading_changes_no_byte_and_passes_over_no_row(
    evidence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    before = contents(evidence.parent)
    more = [*given, "--journal", str(evidence)]
    if given[0] == "export":
        more.insert(2, str(tmp_path / "out.zip"))
    if given[0] in {"verify", "prove", "export"}:
        more += ["--keys", str(evidence.with_name("keys"))]
    assert command.main(more) == EXIT_GOOD
    assert contents(evidence.parent) == before
    said = capsys.readouterr().out
    if given[0] == "verify":
        assert json.loads(said)["signed_rows"] == 310
    if given[0] == "tail":
        assert json.loads(said)["seq"] == 309
    if given[0] == "stats":
        assert json.loads(said)["rows"] == 310


def test_private_copy_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    assert cli.main(["stats", "--journal", str(evidence)]) == EXIT_GOOD
    assert list((tmp_path / "scratch").iterdir()) == []


def test_copy_that_finds_no_room_is_gone_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    with pytest.raises(FileNotFoundError):
        private_copy(tmp_path / "gone.db")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_change_that_was_not_finished_is_not_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = plain_journal(tmp_path)
    Path(f"{path}-journal").write_bytes(b"x")
    before = contents(tmp_path)
    assert cli.main(["stats", "--journal", str(path)]) == EXIT_UNREADABLE
    assert "plain.db-journal: a change of the file that was not finished" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_log_without_its_index_is_never_passed_over(tmp_path: Path) -> None:
    path = plain_journal(tmp_path)
    assert (is_unmerged(path), is_still(path)) == (False, True)
    assert evidence_uri(path).endswith("?mode=ro&immutable=1")
    Path(f"{path}-wal").write_bytes(b"")
    assert (is_unmerged(path), is_still(path)) == (False, False)
    assert evidence_uri(path).endswith("?mode=ro&immutable=1")
    Path(f"{path}-wal").write_bytes(b"x")
    assert is_unmerged(path)
    with pytest.raises(JournalUnavailable, match=r"plain.db-wal: has rows that are not in the file"):
        evidence_uri(path)
    Path(f"{path}-shm").touch()
    assert not is_unmerged(path)
    assert evidence_uri(path).endswith("?mode=ro&readonly_shm=1")


def test_file_that_does_not_log_ahead_is_opened_with_its_locks(tmp_path: Path) -> None:
    (tmp_path / "short.db").write_bytes(b"short")
    assert evidence_uri(tmp_path / "short.db").endswith("?mode=ro")


def test_writer_that_begins_while_a_still_file_is_read_is_an_error(tmp_path: Path) -> None:
    path = plain_journal(tmp_path)
    with closing(JournalReader(f"sqlite:///{path}", is_evidence=True)) as reader:
        view = reader._database.view()
        view.__enter__()
        store = JournalStore.open(f"sqlite:///{path}", origin=ORIGIN)
        with pytest.raises(JournalUnavailable, match="began to write to it while it was read"):
            view.__exit__(None, None, None)
        assert reader.size() == 1_010
        store.close()
        assert reader.size() == 1_010
