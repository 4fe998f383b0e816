"""The journal writer's settings: what is missing, unknown or absurd is refused and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trade_core.errors import ConfigurationError
from trade_core.settings import load_settings
from trade_journal.writer.writer_settings import JournalWriterSettings

SETTINGS: dict[str, Any] = {
    "environment": "simulated",
    "account": "1002",
    "state_dir": "state",
    "journal_url": "sqlite:////var/lib/journal.db",
    "ring_file": "ring.json",
    "gateway_socket": "gateway.sock",
    "shim_socket": "shim.sock",
}


def written(folder: Path, **changed: Any) -> Path:
    content = {name: value for name, value in {**SETTINGS, **changed}.items() if value is not None}
    path = folder / "journal-writer.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in content.items()))
    return path


def refusal(folder: Path, **changed: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(written(folder, **changed), JournalWriterSettings)
    return str(refused.value)


def test_settings_paths_are_taken_from_the_file_s_folder_and_users_are_the_writer_s_own(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path), JournalWriterSettings)
    assert settings.gateway_socket == tmp_path / "gateway.sock"
    assert (settings.gateway_uid, settings.shim_uid, settings.log_level) == (None, None, "INFO")


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_missing_key_is_named(tmp_path: Path, name: str) -> None:
    assert f"{name}: is missing" in refusal(tmp_path, **{name: None})


@pytest.mark.parametrize("value", ["sqlite://", "sqlite:///relative.db", "mysql://x/y", "sqlite:///:memory:", ""])
def test_settings_journal_that_is_no_durable_place_is_refused(tmp_path: Path, value: str) -> None:
    assert "journal_url: " in refusal(tmp_path, journal_url=value)


def test_settings_password_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    said = refusal(tmp_path, journal_url="postgres://role:hunter@2@127.0.0.1/journals")
    assert "journal_url: " in said
    assert "'postgres://role:***@127.0.0.1/journals'" in said


@pytest.mark.parametrize("value", [-1, 2**32 - 1, "root", True, 1.0])
@pytest.mark.parametrize("name", ["gateway_uid", "shim_uid"])
def test_settings_absurd_user_is_refused(tmp_path: Path, name: str, value: object) -> None:
    assert f"{name}: " in refusal(tmp_path, **{name: value})


def test_settings_one_socket_for_two_peers_is_refused(tmp_path: Path) -> None:
    assert "gateway_socket and shim_socket are one path" in refusal(tmp_path, shim_socket="gateway.sock")


@pytest.mark.parametrize("value", ["LIVE", "", "mainnet"])
def test_settings_unknown_environment_is_refused(tmp_path: Path, value: str) -> None:
    assert "environment: " in refusal(tmp_path, environment=value)


@pytest.mark.parametrize("value", [0, -1, 3651, "30", 1.5, True])
def test_settings_absurd_retention_is_refused(tmp_path: Path, value: object) -> None:
    assert "retention_days: " in refusal(tmp_path, retention_days=value)


@pytest.mark.parametrize("value", [1, 3650])
def test_settings_retention_at_its_bounds_is_taken(tmp_path: Path, value: int) -> None:
    assert load_settings(written(tmp_path, retention_days=value), JournalWriterSettings).retention_days == value


def test_settings_rows_are_sealed_by_who_can(tmp_path: Path) -> None:
    in_server = {"journal_url": "postgresql://role@127.0.0.1/journals"}
    assert "is sealed by its owner" in refusal(tmp_path, retention_days=30, **in_server)
    assert "the segments of a file lie beside it" in refusal(tmp_path, archive_dir="segments")
    settings = load_settings(written(tmp_path, archive_dir="segments", **in_server), JournalWriterSettings)
    assert (settings.archive_dir, settings.retention_days) == (tmp_path / "segments", None)
