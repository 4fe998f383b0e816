"""Secret files that are encrypted at rest."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trade_core import sealing
from trade_core.errors import ConfigurationError
from trade_core.sealing import new_seal_key, open_sealed, read_seal_key, seal, seal_key_file
from trade_core.secrets import read_secret_file, rewrite_secret_file, seal_secret_file, write_secret_file

CONTENT = {"exchange_key": "key-canary", "exchange_secret": "secret-canary"}


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "seal.key"
    path.write_bytes(new_seal_key())
    path.chmod(0o600)
    monkeypatch.setenv("TRADE_SEAL_KEY_FILE", str(path))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return path


@pytest.fixture
def sealed_file(tmp_path: Path, key_file: Path) -> Path:
    path = tmp_path / "gateway.secrets.json"
    write_secret_file(path, CONTENT)
    seal_secret_file(path, key=read_seal_key(key_file))
    return path


def test_sealed_file_is_read_with_its_key_and_shows_nothing(sealed_file: Path) -> None:
    assert b"canary" not in sealed_file.read_bytes()
    assert stat.S_IMODE(sealed_file.stat().st_mode) == 0o600
    assert read_secret_file(sealed_file) == CONTENT


def test_systemd_credential_opens_it_too(
    sealed_file: Path, key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    key_file.rename(folder / "trade-seal-key")
    monkeypatch.delenv("TRADE_SEAL_KEY_FILE")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert read_secret_file(sealed_file) == CONTENT


def test_file_without_a_key_is_refused(sealed_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADE_SEAL_KEY_FILE")
    with pytest.raises(ConfigurationError, match="is sealed, and no key is given"):
        read_secret_file(sealed_file)


def test_another_key_opens_nothing(sealed_file: Path, key_file: Path) -> None:
    key_file.write_bytes(new_seal_key())
    with pytest.raises(ConfigurationError, match="cannot be opened with this key"):
        read_secret_file(sealed_file)


def test_file_under_another_name_opens_nothing(sealed_file: Path) -> None:
    moved = sealed_file.rename(sealed_file.with_name("executor.secrets.json"))
    with pytest.raises(ConfigurationError, match="another file's"):
        read_secret_file(moved)


@pytest.mark.parametrize("name", ["salt", "nonce", "content"])
@pytest.mark.parametrize("change", ["", "A", "not base64!", "AAAA"])
def test_changed_file_opens_nothing(sealed_file: Path, name: str, change: str) -> None:
    content = json.loads(sealed_file.read_bytes())
    write_secret_file(sealed_file, {**content, name: change})
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        read_secret_file(sealed_file)


@pytest.mark.parametrize("changed", [{"sealed": "v2"}, {"more": "x"}, {"sealed": None}])
def test_other_format_is_refused(changed: dict[str, Any]) -> None:
    sealed = seal(CONTENT, key=b"k" * 32, name="x.json")
    with pytest.raises(ConfigurationError, match="is not sealed in the format"):
        open_sealed({**sealed, **changed}, key=b"k" * 32, path=Path("x.json"))


def test_each_seal_is_another() -> None:
    first, second = (seal(CONTENT, key=b"k" * 32, name="x") for _ in range(2))
    assert all(first[part] != second[part] for part in ("salt", "nonce", "content"))


def test_sealed_file_is_not_sealed_again(sealed_file: Path, key_file: Path) -> None:
    before = sealed_file.read_bytes()
    with pytest.raises(ConfigurationError, match="is sealed already"):
        seal_secret_file(sealed_file, key=read_seal_key(key_file))
    assert sealed_file.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"trade-seal-key/v1", b"trade-seal-key/v1 AAAA", b"other AAAA", b"trade-seal-key/v1 !", b"\xff"]
)
def test_file_that_is_no_key_is_refused(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is no key file"):
        read_seal_key(key_file)


def test_key_file_that_others_may_read_is_refused(key_file: Path) -> None:
    key_file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="only its owner may read"):
        read_seal_key(key_file)


def test_key_file_that_is_a_pipe_or_absent_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigurationError, match="no regular file"):
        read_seal_key(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_seal_key(tmp_path / "none")


def test_variable_goes_before_the_credential() -> None:
    assert seal_key_file({}) is None
    assert seal_key_file({"CREDENTIALS_DIRECTORY": "/run/c"}) == Path("/run/c/trade-seal-key")
    both = {"CREDENTIALS_DIRECTORY": "/run/c", sealing.KEY_FILE_VARIABLE: "/etc/k"}
    assert seal_key_file(both) == Path("/etc/k")


def test_reading_a_plain_file_needs_no_cryptography(tmp_path: Path) -> None:
    write_secret_file(tmp_path / "plain.json", CONTENT)
    script = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from pathlib import Path; from trade_core.secrets import read_secret_file\n"
        f"print(read_secret_file(Path({str(tmp_path / 'plain.json')!r})))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(CONTENT)


def test_rewritten_file_is_sealed_as_it_was(sealed_file: Path) -> None:
    rewrite_secret_file(sealed_file, {"exchange_key": "another-canary"})
    assert b"canary" not in sealed_file.read_bytes()
    assert read_secret_file(sealed_file) == {"exchange_key": "another-canary"}


def test_rewritten_file_stays_plain_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "gateway.secrets.json"
    write_secret_file(path, CONTENT)
    rewrite_secret_file(path, {"exchange_key": "another"})
    assert json.loads(path.read_bytes()) == {"exchange_key": "another"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sealed_file_is_not_rewritten_without_its_key(sealed_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sealed_file.read_bytes()
    monkeypatch.delenv("TRADE_SEAL_KEY_FILE")
    with pytest.raises(ConfigurationError, match="is sealed, and no key is given"):
        rewrite_secret_file(sealed_file, CONTENT)
    assert sealed_file.read_bytes() == before
