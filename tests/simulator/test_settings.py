"""Settings: every wrong key is named."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from trade_core.errors import ConfigurationError
from trade_core.settings import load_settings
from trade_simulator.settings import SimulatorSettings

GOOD = {
    "environment": '"simulated"',
    "port": "21000",
    "control_port": "21001",
    "control_token_file": '"token"',
    "credentials_file": '"credentials.json"',
}


def load(folder: Path, **changed: str | None) -> SimulatorSettings:
    lines = {**GOOD, **changed}
    path = folder / "simulator.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in lines.items() if value is not None))
    return load_settings(path, SimulatorSettings)


def test_settings_with_the_required_keys_have_safe_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.host == "127.0.0.1"
    assert settings.equity_usdt == Decimal(4000)
    assert not settings.spot_only
    assert settings.credentials_file == tmp_path.resolve() / "credentials.json"


@pytest.mark.parametrize("key", list(GOOD))
def test_settings_without_a_required_key_name_it(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{key}: is missing"):
        load(tmp_path, **{key: None})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("environment", '"live"'),
        ("host", '"0.0.0.0"'),
        ("host", '"example.com"'),
        ("port", "0"),
        ("port", "65536"),
        ("port", '"21000"'),
        ("control_port", "-1"),
        ("seed", "-1"),
        ("equity_usdt", '"0"'),
        ("equity_usdt", '"-5"'),
        ("equity_usdt", "4000"),
        ("equity_usdt", '"NaN"'),
        ("equity_usdt", '"2000000000"'),
        ("market", '"random"'),
        ("speed", '"0"'),
        ("speed", '"1001"'),
        ("base_latency_ms", "-1"),
        ("base_latency_ms", "60001"),
        ("log_level", '"LOUD"'),
        ("surprise", "1"),
    ],
)
def test_settings_with_an_absurd_value_name_the_key(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        load(tmp_path, **{key: value})


@pytest.mark.parametrize(
    "changed",
    [
        {"control_port": "21000"},
        {"market": '"replay"'},
        {"replay": '{BTCUSDT = "file.csv"}'},
        {"credentials_file": '"token"'},
        {"market": '"replay"', "replay": '{DOGEUSDT = "file.csv"}'},
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, changed: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        load(tmp_path, **changed)


def test_settings_for_a_replay_take_its_files_from_their_own_folder(tmp_path: Path) -> None:
    settings = load(tmp_path, market='"replay"', replay='{BTCUSDT = "file.csv"}')
    assert settings.replay == {"BTCUSDT": tmp_path.resolve() / "file.csv"}
