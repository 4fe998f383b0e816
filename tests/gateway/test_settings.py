from __future__ import annotations

from pathlib import Path

import pytest
from gateway.deployment import SETTINGS, deployment

from trade_core.errors import ConfigurationError
from trade_gateway import settings as settings_module
from trade_gateway.policy.bounds import COUNTS


def refusal(folder: Path, **changed: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        deployment(folder, **changed)
    return str(caught.value)


def test_settings_complete_file_is_read_with_paths_of_its_folder(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    assert settings.ring_file == tmp_path.resolve() / "ring.json"
    assert (settings.listen_host, settings.admin_host, settings.log_level) == ("127.0.0.1", "127.0.0.1", "INFO")


@pytest.mark.parametrize("name", [*SETTINGS])
def test_settings_missing_key_is_named(tmp_path: Path, name: str) -> None:
    assert f"{name}: is missing" in refusal(tmp_path, **{name: None})


@pytest.mark.parametrize("name", ["require_lease", "skip_checks", "Listen_port"])
def test_settings_unknown_key_is_named(tmp_path: Path, name: str) -> None:
    assert f"{name}: is not a known setting" in refusal(tmp_path, **{name: True})


@pytest.mark.parametrize("name", ["environment", "exchange"])
@pytest.mark.parametrize("value", ["testnet", "live"])
def test_settings_real_exchange_in_a_simulated_environment_is_refused(tmp_path: Path, name: str, value: str) -> None:
    message = refusal(tmp_path, **{name: value})
    assert "exchange: is " in message
    assert f'"{value}"' in message


@pytest.mark.parametrize("name", ["environment", "exchange"])
@pytest.mark.parametrize("value", ["LIVE", "Simulated", "", "mainnet", 1])
def test_settings_other_environment_is_refused(tmp_path: Path, name: str, value: object) -> None:
    assert f"{name}: " in refusal(tmp_path, **{name: value})


@pytest.mark.parametrize("name", ["listen_host", "admin_host"])
@pytest.mark.parametrize(
    "value", ["0.0.0.0", "192.168.1.5", "8.8.8.8", "localhost", "", "::", "127.0.0.1.evil.example"]
)
def test_settings_host_that_is_not_loopback_is_refused(tmp_path: Path, name: str, value: str) -> None:
    assert f"{name}: " in refusal(tmp_path, **{name: value})


@pytest.mark.parametrize(("name", "scheme"), [("exchange_url", "http"), ("exchange_ws_url", "ws")])
@pytest.mark.parametrize(
    "form",
    [
        "{scheme}://api.bybit.com:443",
        "{scheme}://localhost:1",
        "{scheme}://127.0.0.1",
        "{scheme}://127.0.0.1:0x50",
        "{scheme}://127.0.0.1:99999",
        "{scheme}://127.0.0.1:1/path",
        "{scheme}://127.0.0.1:1?q",
        "{scheme}://127.0.0.1:1#f",
        "{scheme}://user@127.0.0.1:1",
        "{scheme}://:password@127.0.0.1:1",
        "{scheme}://127.0.0.1@evil.example:1",
        "{scheme}s://127.0.0.1:1",
        "ftp://127.0.0.1:1",
        "127.0.0.1:1",
        "",
        "{scheme}://[::1",
    ],
)
def test_settings_exchange_that_is_not_a_bare_loopback_address_is_refused(
    tmp_path: Path, name: str, scheme: str, form: str
) -> None:
    assert f"{name}: " in refusal(tmp_path, **{name: form.format(scheme=scheme)})


def test_settings_exchange_may_end_in_a_slash(tmp_path: Path) -> None:
    assert deployment(tmp_path, exchange_url="http://127.0.0.1:1/").exchange_url == "http://127.0.0.1:1"


@pytest.mark.parametrize("name", ["listen_port", "admin_port"])
@pytest.mark.parametrize("value", [0, -1, 65536, "22000", True])
def test_settings_absurd_port_is_refused(tmp_path: Path, name: str, value: object) -> None:
    assert f"{name}: " in refusal(tmp_path, **{name: value})


def test_settings_real_exchange_has_constant_hosts_over_tls(tmp_path: Path) -> None:
    real = {"environment": "live", "exchange": "live", "exchange_url": None, "exchange_ws_url": None}
    real |= {"admin_port": None, "admin_socket": "admin.sock"}
    settings = deployment(tmp_path, **real)
    assert settings.exchange_http == "https://api.bybit.com"
    assert settings.exchange_streams == "wss://stream.bybit.com"
    assert "exchange_url: is given" in refusal(tmp_path, **real | {"exchange_url": "http://127.0.0.1:1"})
    assert "exchange_ws_url: is given" in refusal(tmp_path, **real | {"exchange_ws_url": "ws://127.0.0.1:1"})
    assert "admin_port: is for the simulated environment" in refusal(
        tmp_path, **real | {"admin_port": 22001, "admin_socket": None}
    )
    assert "of the simulated exchange only" in refusal(tmp_path, **real | {"orders_per_s": 11})


def test_settings_admin_listener_has_one_place(tmp_path: Path) -> None:
    assert "admin_port: is given beside admin_socket" in refusal(tmp_path, admin_socket="admin.sock")
    assert "admin_uids: are given without admin_socket" in refusal(tmp_path, admin_uids=[1000])
    settings = deployment(tmp_path, admin_port=None, admin_socket="admin.sock", admin_uids=[1000])
    assert settings.admin_url == f"unix:{tmp_path.resolve()}/admin.sock"


@pytest.mark.parametrize("uids", [[-1], ["root"], [True], list(range(9))])
def test_settings_absurd_users_are_refused(tmp_path: Path, uids: list[object]) -> None:
    assert "admin_uids" in refusal(tmp_path, admin_port=None, admin_socket="admin.sock", admin_uids=uids)


def test_settings_one_port_for_bot_and_admin_is_refused(tmp_path: Path) -> None:
    assert "listen_port and admin_port are both 22000" in refusal(tmp_path, admin_port=22000)


@pytest.mark.parametrize("value", ["", "abc", "1" * 21, "12 ", "-1", 1002])
def test_settings_absurd_account_is_refused(tmp_path: Path, value: object) -> None:
    assert "account: " in refusal(tmp_path, account=value)


def test_settings_know_no_journal_of_the_gateway_s_own(tmp_path: Path) -> None:
    assert "journal_url: is not a known setting" in refusal(tmp_path, journal_url="sqlite:////x.db")


@pytest.mark.parametrize("value", ["debug", "TRACE", ""])
def test_settings_unknown_log_level_is_refused(tmp_path: Path, value: str) -> None:
    assert "log_level: " in refusal(tmp_path, log_level=value)


@pytest.mark.parametrize("value", [0, -1, 50_001, "10", 10.0, True])
def test_settings_absurd_pace_is_refused(tmp_path: Path, value: object) -> None:
    assert "orders_per_s: " in refusal(tmp_path, orders_per_s=value)


def test_settings_pace_is_the_ordinary_one_and_a_load_test_widens_the_bounds_of_counts(tmp_path: Path) -> None:
    ordinary = deployment(tmp_path)
    assert (ordinary.orders_per_s, ordinary.policy_counts) == (10, COUNTS)
    assert deployment(tmp_path, orders_per_s=50_000).policy_counts["messages_per_s_deny"] == (1, 50_000)


def test_settings_pace_asks_for_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bool]] = []
    monkeypatch.setattr(settings_module, "check_pace", lambda pace, *, is_simulated: asked.append((pace, is_simulated)))
    deployment(tmp_path, orders_per_s=11)
    assert asked == [(11, True)]
    settings = deployment(tmp_path).model_copy(update={"environment": "live"})
    settings._pace_fits_the_exchange()
    assert asked[-1] == (10, False)
