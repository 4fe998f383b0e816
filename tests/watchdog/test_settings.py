"""Settings: refused by name when unknown, missing or absurd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trade_core.errors import ConfigurationError
from trade_core.settings import load_settings
from trade_watchdog.settings import WatchdogSettings

GOOD: dict[str, Any] = {
    "environment": "simulated",
    "exchange": "simulated",
    "exchange_url": "http://127.0.0.1:21000",
    "exchange_ws_url": "ws://127.0.0.1:21000",
    "account": "1002",
    "admin_port": 21020,
    "state_dir": "watchdog",
    "secrets_file": "secrets.json",
    "gateway_handover": "handover/watchdog.json",
    "ring_file": "ring.json",
}


def loaded(folder: Path, values: dict[str, Any]) -> WatchdogSettings:
    lines = [f"{name} = {value!r}\n" for name, value in values.items()]
    path = folder / "watchdog.toml"
    path.write_text("".join(lines))
    return load_settings(path, WatchdogSettings)


def test_settings_complete_are_loaded_with_paths_beside_the_file(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GOOD)
    assert settings.state_dir == tmp_path / "watchdog"
    assert settings.admin_host == "127.0.0.1"
    assert settings.log_level == "INFO"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_setting_missing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: is missing"):
        loaded(tmp_path, {key: value for key, value in GOOD.items() if key != name})


def test_setting_unknown_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="lease_optional: is not a known setting"):
        loaded(tmp_path, {**GOOD, "lease_optional": 1})


@pytest.mark.parametrize("name", ["environment", "exchange"])
@pytest.mark.parametrize("value", ["testnet", "live"])
def test_testnet_and_live_are_refused_in_words(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: .*'{value}' is refused by this version"):
        loaded(tmp_path, {**GOOD, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exchange_url", "https://api.bybit.com"),
        ("exchange_url", "http://localhost:21000"),
        ("exchange_url", "http://10.0.0.1:21000"),
        ("exchange_url", "http://127.0.0.1"),
        ("exchange_url", "http://127.0.0.1:21000/v5"),
        ("exchange_url", "http://user@127.0.0.1:21000"),
        ("exchange_url", "http://user:word@127.0.0.1:21000"),
        ("exchange_url", "http://127.0.0.1:99999"),
        ("exchange_url", "http://127.0.0.1:21000?x=1"),
        ("exchange_url", "http://127.0.0.1.example.com:21000"),
        ("exchange_ws_url", "http://127.0.0.1:21000"),
        ("admin_host", "0.0.0.0"),
        ("admin_host", "::1"),
        ("admin_host", "localhost"),
        ("admin_port", 0),
        ("admin_port", 65536),
        ("admin_port", "21020"),
        ("account", "sub-1"),
        ("account", ""),
        ("account", 1002),
        ("log_level", "TRACE"),
        ("state_dir", ""),
    ],
)
def test_setting_absurd_is_named(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"watchdog\.toml: {name}: "):
        loaded(tmp_path, {**GOOD, name: value})
