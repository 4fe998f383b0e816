"""Settings: refused by name when unknown, missing or absurd."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

from trade_core.errors import ConfigurationError
from trade_core.settings import load_settings
from trade_watchdog.second_venue import VENUES
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
    "master_secrets_file": "master.json",
    "order_key": "orderkey",
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


HOSTS: dict[str, dict[str, Any]] = {
    "process": {"bot_pid_file": "bot.pid"},
    "systemd": {"bot_unit": "freqtrade.service"},
    "kubernetes": {"bot_namespace": "bots", "bot_deployment": "freqtrade"},
}


@pytest.mark.parametrize("host", HOSTS)
def test_host_of_the_bot_is_taken_with_what_it_needs_and_nothing_else(tmp_path: Path, host: str) -> None:
    assert loaded(tmp_path, {**GOOD, "bot_host": host, **HOSTS[host]}).bot_host == host
    for name in HOSTS[host]:
        rest = {key: value for key, value in HOSTS[host].items() if key != name}
        with pytest.raises(ConfigurationError, match=f"{name}: is missing although bot_host"):
            loaded(tmp_path, {**GOOD, "bot_host": host, **rest})
    for other in HOSTS.keys() - {host}:
        name, value = next(iter(HOSTS[other].items()))
        with pytest.raises(ConfigurationError, match=f"{name}: is given although bot_host"):
            loaded(tmp_path, {**GOOD, "bot_host": host, **HOSTS[host], name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bot_unit", "freqtrade"),
        ("bot_unit", "-x.service"),
        ("bot_unit", "a b.service"),
        ("bot_namespace", "Bots"),
        ("bot_namespace", "a/b"),
        ("bot_deployment", "-x"),
        ("bot_deployment", "x" * 64),
        ("kubernetes_url", "http://cluster"),
        ("kubernetes_url", "https://cluster/path"),
        ("bot_host", "docker"),
        ("halt_exit_s", -1),
        ("halt_exit_s", 86_401),
    ],
)
def test_odd_words_about_the_bot_are_refused_by_name(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        loaded(tmp_path, {**GOOD, name: value})


@pytest.mark.parametrize("name", ["environment", "exchange"])
@pytest.mark.parametrize("value", ["testnet", "live"])
def test_two_environments_at_once_are_refused_in_words(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f'exchange: is .*"{value}"'):
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


VENUE = {"second_venue": "okx", "second_venue_url": "http://127.0.0.1:22000"}


def test_second_venue_is_none_unless_it_is_named(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GOOD)
    assert (settings.second_venue, settings.second_venue_url) == ("none", None)


@pytest.mark.parametrize("name", ["okx", "kucoin", "bitget", "bybit"])
def test_second_venue_of_the_list_is_taken(tmp_path: Path, name: str) -> None:
    settings = loaded(tmp_path, {**GOOD, **VENUE, "second_venue": name})
    assert (settings.second_venue, settings.second_venue_url) == (name, "http://127.0.0.1:22000")


@pytest.mark.parametrize("name", ["", "OKX", "binance", "kraken", "__class__", "bybit2", 1])
def test_second_venue_that_is_not_on_the_list_is_refused(tmp_path: Path, name: object) -> None:
    with pytest.raises(ConfigurationError, match="second_venue: "):
        loaded(tmp_path, {**GOOD, **VENUE, "second_venue": name})


def test_second_venue_list_is_the_one_that_is_known_how_to_read() -> None:
    named = set(get_args(WatchdogSettings.model_fields["second_venue"].annotation))
    assert named == {"none", *VENUES}


@pytest.mark.parametrize(
    "url",
    ["https://www.okx.com", "http://www.okx.com:80", "http://127.0.0.1", "http://localhost:1", "http://10.0.0.1:80"],
)
def test_second_venue_of_a_simulated_exchange_is_on_loopback(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="second_venue_url: "):
        loaded(tmp_path, {**GOOD, **VENUE, "second_venue_url": url})


def test_second_venue_of_a_simulated_exchange_needs_an_address(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="second_venue_url: is missing"):
        loaded(tmp_path, {**GOOD, "second_venue": "okx"})


def test_address_without_a_second_venue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match='second_venue_url: is given although second_venue = "none"'):
        loaded(tmp_path, {**GOOD, "second_venue_url": "http://127.0.0.1:22000"})


def test_exchange_is_not_its_own_second_venue(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot vouch for its own prices"):
        loaded(tmp_path, {**GOOD, **VENUE, "second_venue_url": GOOD["exchange_url"] + "/"})


LADDER = {
    "daily_fraction": ("0.005", "0.05"),
    "weekly_fraction": ("0.01", "0.08"),
    "monthly_fraction": ("0.02", "0.15"),
    "high_water_fraction": ("0.03", "0.18"),
    "trim_scale": ("0.1", "0.5"),
}


def test_ladder_is_the_loosest_there_is_unless_told_otherwise(tmp_path: Path) -> None:
    thresholds = loaded(tmp_path, GOOD).thresholds()
    assert {rung.value: str(part) for rung, part in thresholds.fractions.items()} == {
        "daily": "0.05",
        "weekly": "0.08",
        "monthly": "0.15",
        "high_water": "0.18",
    }
    assert thresholds.trim_scale == Decimal("0.5")


def test_ladder_can_be_tightened_to_its_bounds(tmp_path: Path) -> None:
    tight = loaded(tmp_path, {**GOOD, **{name: least for name, (least, _most) in LADDER.items()}}).thresholds()
    assert [str(part) for part in tight.fractions.values()] == ["0.005", "0.01", "0.02", "0.03"]
    assert tight.trim_scale == Decimal("0.1")


@pytest.mark.parametrize("name", LADDER)
@pytest.mark.parametrize("value", ["past", "below", "NaN", "-0.05", "1e-2", "", 0.05, 1, True])
def test_ladder_that_would_never_or_always_trip_is_refused(tmp_path: Path, name: str, value: object) -> None:
    least, most = (Decimal(text) for text in LADDER[name])
    wanted = {"past": str(most + Decimal("0.0001")), "below": str(least - Decimal("0.0001"))}.get(str(value), value)
    lines = {**GOOD, name: str(wanted).lower() if wanted is True else wanted}
    with pytest.raises(ConfigurationError, match=name):
        loaded(tmp_path, lines)


@pytest.mark.parametrize(
    "change", [{"weekly_fraction": "0.05"}, {"monthly_fraction": "0.07"}, {"high_water_fraction": "0.15"}]
)
def test_rungs_out_of_order_are_refused(tmp_path: Path, change: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="must rise"):
        loaded(tmp_path, {**GOOD, **change})
