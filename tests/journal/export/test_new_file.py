"""A new file is there whole or not at all, and never in the place of another."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from trade_journal.errors import JournalUnavailable
from trade_journal.export.new_file import new_file


def write(path: Path, *, meanwhile: Path | None = None) -> None:
    with new_file(path) as file:
        file.write(b"new")
        assert not path.exists()
        if meanwhile is not None:
            meanwhile.write_bytes(b"theirs")


def no_links(_self: Path, _target: Path) -> None:
    raise PermissionError(errno.EPERM, "no links on this file system")


def test_new_file_is_whole_and_its_owners_alone(tmp_path: Path) -> None:
    write(tmp_path / "out")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out", b"new")]
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


def test_file_system_without_links_has_the_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "hardlink_to", no_links)
    write(tmp_path / "out")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out", b"new")]


@pytest.mark.parametrize("has_links", [True, False])
def test_file_that_comes_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(JournalUnavailable, match="nothing is overwritten"):
        write(tmp_path / "out", meanwhile=tmp_path / "out")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out", b"theirs")]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
def test_error_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), new_file(tmp_path / "out"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match="cannot be written: No such file"):
        write(tmp_path / "nowhere" / "out")
