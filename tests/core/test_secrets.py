from __future__ import annotations

import copy
import os
import pickle
import stat
from pathlib import Path

import pytest

from trade_core.errors import ConfigurationError
from trade_core.secrets import (
    MAX_SECRET_FILE_BYTES,
    Secret,
    read_secret_file,
    secret_text,
    write_atomically,
    write_secret_file,
)

VALUE = "hunter2-and-more"


@pytest.mark.parametrize("printed", [str, repr, "{}".format, "{:>40}".format, lambda s: f"{s!r}", lambda s: f"{[s]}"])
def test_secret_printed_form_hides_it(printed: object) -> None:
    assert VALUE not in printed(Secret(VALUE))  # type: ignore[operator]


def test_secret_reveals_itself_when_asked() -> None:
    assert Secret(VALUE).reveal() == VALUE


@pytest.mark.parametrize("serialise", [pickle.dumps, copy.copy, copy.deepcopy])
def test_secret_is_never_serialised(serialise: object) -> None:
    with pytest.raises(TypeError, match="never serialised"):
        serialise(Secret(VALUE))  # type: ignore[operator]


def test_secret_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secrets.json"
    write_secret_file(path, {"key": VALUE})
    assert read_secret_file(path) == {"key": VALUE}


def test_secret_file_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    before = os.umask(0)
    try:
        write_secret_file(path, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secret_file_replaces_an_open_one_with_a_closed_one(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text("{}")
    path.chmod(0o644)
    write_secret_file(path, {"a": "b"})
    assert read_secret_file(path) == {"a": "b"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_secret_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secrets.json"
    write_secret_file(path, {"key": VALUE})
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"open to others .* chmod 600") as caught:
        read_secret_file(path)
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_secret_file_of_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secrets.json"
    write_secret_file(path, {})
    path.chmod(mode)
    assert read_secret_file(path) == {}


@pytest.mark.parametrize(
    "raw", [b"", b"{", f'["{VALUE}"]'.encode(), f'{{"a": "{VALUE}'.encode(), b"\xff", b"[" * 20_000, b"null"]
)
def test_secret_file_without_one_json_object_is_refused_without_its_content(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "secrets.json"
    write_atomically(path, raw, mode=0o600)
    with pytest.raises(ConfigurationError, match=r"secrets\.json: secret file") as caught:
        read_secret_file(path)
    assert VALUE not in str(caught.value)
    assert caught.value.__cause__ is None


def test_secret_file_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    write_atomically(path, b" " * (MAX_SECRET_FILE_BYTES + 1), mode=0o600)
    with pytest.raises(ConfigurationError, match="larger than"):
        read_secret_file(path)


def test_secret_file_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_secret_file(tmp_path / "none.json")


def test_secret_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a regular file"):
        read_secret_file(tmp_path)


def test_secret_file_that_is_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigurationError, match="not a regular file"):
        read_secret_file(path)


@pytest.mark.parametrize("content", [{}, {"key": ""}, {"key": 1}, {"key": None}])
def test_secret_text_missing_or_no_text_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"f\.json: key: must be a non-empty text"):
        secret_text(content, "key", path=Path("f.json"))


def test_secret_text_present_is_taken() -> None:
    assert secret_text({"key": VALUE}, "key", path=Path("f.json")).reveal() == VALUE


def test_write_atomically_failing_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old", mode=0o600)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new", mode=0o600)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_removes_what_a_crash_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / f".file.{os.getpid()}").write_text("half")
    write_atomically(path, b"whole", mode=0o600)
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_does_not_write_through_a_planted_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / f".file.{os.getpid()}").symlink_to(victim)
    write_atomically(tmp_path / "file", b"whole", mode=0o600)
    assert victim.read_text() == "untouched"
