"""The run as a whole, as far as it needs no other service: folders, refusals, exit codes."""

import socket
import stat
from pathlib import Path

import pytest

from trade_core.errors import ConfigurationError
from trade_demo.cli import main
from trade_demo.launch import LOG_TAIL_BYTES, log_tail
from trade_demo.run import make_state_folder


def listening() -> socket.socket:
    """Listen on a port that --base-port can name."""
    for port in range(28_000, 29_000):
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            continue
    raise AssertionError("no free port")


def test_state_folder_by_default_is_new_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = make_state_folder(None), make_state_folder(None)
    assert first.root != second.root
    assert first.root.parent == tmp_path / ".state"
    for folder in (first.root, first.logs, first.root / "gateway"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_state_folder_empty_one_of_the_user_is_taken_and_closed(tmp_path: Path) -> None:
    wanted = tmp_path / "state"
    wanted.mkdir(mode=0o755)
    assert make_state_folder(wanted).root == wanted
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o700


def test_state_folder_with_something_in_it_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(ConfigurationError, match=r"--state-dir: .* is not empty"):
        make_state_folder(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]


def test_state_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="--state-dir"):
        make_state_folder(tmp_path / "file" / "state")


def test_main_refusals_exit_with_two_and_start_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious").touch()
    assert main(["--state-dir", str(tmp_path)]) == 2
    assert "is not empty" in capfd.readouterr().err


def test_main_base_port_taken_exits_with_two_and_makes_no_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with listening() as taken:
        port = taken.getsockname()[1]
        assert main(["--base-port", str(port), "--state-dir", str(tmp_path / "state")]) == 2
    assert "--base-port" in capfd.readouterr().err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("length", [0, 10, LOG_TAIL_BYTES, LOG_TAIL_BYTES * 3])
def test_log_tail_is_the_end_on_one_line(length: int, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("x\n" * length + "the end\n")
    tail = log_tail(log)
    assert tail.endswith("the end")
    assert "\n" not in tail
    assert len(tail) <= LOG_TAIL_BYTES
