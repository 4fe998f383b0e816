"""The shim's settings: what is missing, unknown or absurd is refused and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trade_core.errors import ConfigurationError
from trade_core.settings import load_settings
from trade_journal.trades.shim_settings import ShimSettings

SETTINGS: dict[str, Any] = {
    "environment": "simulated",
    "account": "1002",
    "state_dir": "shim",
    "journal_socket": "shim.sock",
    "bot_database": "tradesv3.sqlite",
}


def loaded(folder: Path, **changed: Any) -> ShimSettings:
    content = {name: value for name, value in {**SETTINGS, **changed}.items() if value is not None}
    path = folder / "shim.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in content.items()))
    return load_settings(path, ShimSettings)


def test_settings_paths_are_taken_from_the_file_s_folder(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.bot_database == tmp_path / "tradesv3.sqlite"
    assert (settings.trade_prefix, settings.poll_every_s, settings.log_level) == ("", 2, "INFO")
    assert settings.origin == "trade/simulated/1002/gateway"


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_missing_key_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: is missing"):
        loaded(tmp_path, **{name: None})


@pytest.mark.parametrize(
    "changed",
    [
        {"environment": "mainnet"},
        {"trade_prefix": "1"},
        {"trade_prefix": "a b"},
        {"trade_prefix": "a" * 17},
        {"poll_every_s": 0},
        {"poll_every_s": 61},
        {"poll_every_s": 0.5},
        {"db": "x"},
    ],
)
def test_settings_absurd_value_is_named(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(changed))}: "):
        loaded(tmp_path, **changed)


@pytest.mark.parametrize("prefix", ["a", "Second-2", "a" * 16])
def test_settings_prefix_may_be_a_word(tmp_path: Path, prefix: str) -> None:
    assert loaded(tmp_path, trade_prefix=prefix).trade_prefix == prefix
