"""The command that seals secret files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from trade_core.secrets import read_secret_file, write_secret_file
from trade_killswitch.cli import main


def test_key_is_made_and_files_are_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key, secrets = tmp_path / "seal.key", tmp_path / "gateway.secrets.json"
    write_secret_file(secrets, {"exchange_key": "canary"})
    assert main(["seal", "--make-key", str(key)]) == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert main(["seal", "--key", str(key), str(secrets)]) == 0
    assert b"canary" not in secrets.read_bytes()
    monkeypatch.setenv("TRADE_SEAL_KEY_FILE", str(key))
    assert read_secret_file(secrets) == {"exchange_key": "canary"}
    assert f"sealed {secrets}" in capsys.readouterr().out


def test_key_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    key = tmp_path / "seal.key"
    key.write_text("an old key")
    assert main(["seal", "--make-key", str(key)]) == 2
    assert key.read_text() == "an old key"


def test_what_cannot_be_sealed_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "seal.key"
    assert main(["seal", "--make-key", str(key), str(tmp_path / "none.json")]) == 2
    with pytest.raises(SystemExit) as usage:
        main(["seal", str(tmp_path / "x")])
    assert usage.value.code == 2
