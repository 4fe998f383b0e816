"""The settings files that the demo writes: each is what its service reads, and secrets are closed to others."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from trade_core.errors import ConfigurationError
from trade_core.settings import load_settings
from trade_demo.options import Mode, Options, parse_options
from trade_demo.policy import LEVERAGE, MAX_ORDER_NOTIONAL_USDT, STAKE_USDT, demo_policy
from trade_demo.ports import Ports
from trade_demo.process import ProcessFailed
from trade_demo.stack import (
    STRATEGY,
    STRATEGY_FOLDER,
    Files,
    console_url,
    freqtrade_spec,
    read_exchange_credentials,
    read_handover,
    service_spec,
    shim_spec,
    write_bot_handover,
    write_console_settings,
    write_executor_settings,
    write_freqtrade_config,
    write_gateway_settings,
    write_journal_writer_settings,
    write_shim_settings,
    write_simulator_settings,
    write_watchdog_settings,
)
from trade_gateway.policy.limits import parse_policy
from trade_gateway.settings import GatewaySettings
from trade_journal.trades.shim_settings import ShimSettings
from trade_journal.writer.writer_settings import JournalWriterSettings
from trade_killswitch.console.settings import ConsoleSettings
from trade_killswitch.settings import ExecutorSettings
from trade_simulator.settings import SimulatorSettings
from trade_watchdog.settings import WatchdogSettings


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_simulator_settings_walk_are_what_the_simulator_reads(files: Files, ports: Ports, options: Options) -> None:
    write_simulator_settings(files, ports=ports, options=options)
    settings = load_settings(files.settings("simulator"), SimulatorSettings)
    assert (settings.port, settings.control_port) == (ports.simulator, ports.simulator_control)
    assert (settings.market, settings.seed, settings.equity_usdt) == ("walk", 7, 4000)
    assert settings.credentials_file == files.credentials


def test_simulator_settings_replay_are_what_the_simulator_reads(files: Files, ports: Ports, tmp_path: Path) -> None:
    prices = tmp_path / 'odd "name" é.csv'
    prices.touch()
    options = parse_options(["--market", f"replay=ETHUSDT:{prices}", "--speed", "60", "--equity", "1000.5"])
    write_simulator_settings(files, ports=ports, options=options)
    settings = load_settings(files.settings("simulator"), SimulatorSettings)
    assert (settings.market, settings.replay) == ("replay", {"ETHUSDT": prices})
    assert (str(settings.speed), str(settings.equity_usdt)) == ("60", "1000.5")


def test_gateway_settings_are_what_the_gateway_reads_with_the_order_key(
    files: Files, ports: Ports, options: Options, credentials: dict[str, Any]
) -> None:
    exchange = read_exchange_credentials(files.credentials)
    write_gateway_settings(files, ports=ports, exchange=exchange, options=options)
    settings = load_settings(files.settings("gateway"), GatewaySettings)
    assert (settings.listen_port, settings.admin_port) == (ports.gateway, ports.gateway_admin)
    assert (settings.account, settings.policy_file) == ("1002", files.policy)
    assert settings.origins == (console_url(ports),)
    assert json.loads(settings.secrets_file.read_text()) == {
        "exchange_key": "order-key",
        "exchange_secret": "order-secret",
    }
    assert mode_of(settings.secrets_file) == 0o600


def test_gateway_settings_with_a_policy_of_the_user_leave_it_where_it_is(
    files: Files, ports: Ports, tmp_path: Path, credentials: dict[str, Any]
) -> None:
    policy = tmp_path / "mine.toml"
    policy.write_text(demo_policy())
    exchange = read_exchange_credentials(files.credentials)
    write_gateway_settings(files, ports=ports, exchange=exchange, options=parse_options(["--policy", str(policy)]))
    assert load_settings(files.settings("gateway"), GatewaySettings).policy_file == policy
    assert not files.policy.exists()


def test_watchdog_settings_are_what_the_watchdog_reads_with_the_read_only_key(
    files: Files, ports: Ports, credentials: dict[str, Any]
) -> None:
    write_watchdog_settings(files, ports=ports, exchange=read_exchange_credentials(files.credentials))
    settings = load_settings(files.settings("watchdog"), WatchdogSettings)
    assert (settings.admin_port, settings.account) == (ports.watchdog_admin, "1002")
    assert settings.gateway_handover == files.handover("gateway", "watchdog")
    assert json.loads(settings.secrets_file.read_text())["exchange_key"] == "watch-key"
    assert mode_of(settings.secrets_file) == 0o600


def test_watchdog_settings_with_a_bot_name_its_control_and_process_which_come_later(
    files: Files, ports: Ports, credentials: dict[str, Any]
) -> None:
    exchange = read_exchange_credentials(files.credentials)
    write_watchdog_settings(files, ports=ports, exchange=exchange)
    assert load_settings(files.settings("watchdog"), WatchdogSettings).bot_host == "none"
    write_watchdog_settings(files, ports=ports, exchange=exchange, has_bot=True)
    settings = load_settings(files.settings("watchdog"), WatchdogSettings)
    assert settings.executor_socket == files.executor_socket
    assert (settings.bot_host, settings.bot_pid_file) == ("process", files.bot_pid)
    access = write_freqtrade_config(files, printed(10), mode=Mode.SPOT)
    write_bot_handover(files, access, pid=4711)
    assert files.bot_pid.read_text() == "4711\n"
    assert json.loads(files.bot_control.read_text()) == {
        "url": "http://127.0.0.1:22006",
        "username": "trade",
        "password": "p",
    }
    assert mode_of(files.bot_control) == 0o600


def test_journal_writer_settings_are_what_the_writer_reads_and_the_gateway_reaches(
    files: Files, ports: Ports, options: Options, credentials: dict[str, Any]
) -> None:
    exchange = read_exchange_credentials(files.credentials)
    write_journal_writer_settings(files, exchange=exchange)
    write_gateway_settings(files, ports=ports, exchange=exchange, options=options)
    settings = load_settings(files.settings("journal-writer"), JournalWriterSettings)
    assert (settings.account, settings.journal_url, settings.ring_file) == (
        "1002",
        files.journal("gateway"),
        files.ring,
    )
    assert load_settings(files.settings("gateway"), GatewaySettings).journal_socket == settings.gateway_socket
    assert (settings.gateway_uid, settings.shim_uid) == (None, None)


def test_shim_settings_are_what_the_shim_reads_and_name_its_own_socket_and_freqtrade_s_database(
    files: Files, credentials: dict[str, Any]
) -> None:
    exchange = read_exchange_credentials(files.credentials)
    write_journal_writer_settings(files, exchange=exchange)
    write_shim_settings(files, exchange=exchange)
    settings = load_settings(files.settings("shim"), ShimSettings)
    writer = load_settings(files.settings("journal-writer"), JournalWriterSettings)
    assert (settings.account, settings.journal_socket) == ("1002", writer.shim_socket)
    assert settings.bot_database == files.freqtrade_database


def test_executor_settings_are_what_the_executor_reads_with_the_exit_key(
    files: Files, credentials: dict[str, Any]
) -> None:
    write_executor_settings(files, exchange=read_exchange_credentials(files.credentials))
    settings = load_settings(files.settings("executor"), ExecutorSettings)
    assert (settings.account, settings.socket) == ("1002", files.executor_socket)
    assert settings.journal_url == files.journal("executor") != files.journal("gateway")
    assert json.loads(settings.secrets_file.read_text())["exchange_key"] == "exit-key"
    assert mode_of(settings.secrets_file) == 0o600


def test_console_settings_are_what_the_console_reads_and_hold_no_exchange_key(
    files: Files, ports: Ports, credentials: dict[str, Any]
) -> None:
    write_console_settings(files, ports=ports, exchange=read_exchange_credentials(files.credentials))
    settings = load_settings(files.settings("console"), ConsoleSettings)
    assert settings.origin == console_url(ports) == "http://localhost:22007"
    assert settings.gateway_handover == files.handover("gateway", "operator")
    assert settings.executor_socket == files.executor_socket
    text = files.settings("console").read_text()
    assert not any(key["key"] in text or key["secret"] in text for key in credentials["keys"].values())


def test_policy_is_what_the_gateway_reads_and_leaves_room_for_the_stake() -> None:
    policy = parse_policy(demo_policy().encode())
    assert {category.value for category, _ in policy.symbols} == {"spot", "linear"}
    assert len(policy.symbols) == 6
    assert policy.leverage == LEVERAGE
    for mode in Mode:
        assert STAKE_USDT[mode] * LEVERAGE <= policy.max_order_notional_usdt / 2 == MAX_ORDER_NOTIONAL_USDT / 2


@pytest.mark.parametrize("missing", ["url", "control_token", "accounts", "keys"])
def test_credentials_incomplete_are_refused_without_their_contents(
    missing: str, files: Files, credentials: dict[str, Any]
) -> None:
    del credentials[missing]
    files.credentials.write_text(json.dumps(credentials))
    with pytest.raises((ConfigurationError, ProcessFailed), match=missing) as refusal:
        read_exchange_credentials(files.credentials)
    assert "order-secret" not in str(refusal.value)


def test_credentials_open_to_others_are_refused(files: Files, credentials: dict[str, Any]) -> None:
    files.credentials.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        read_exchange_credentials(files.credentials)


def test_handover_is_read(files: Files) -> None:
    file = files.handover("gateway", "operator")
    file.parent.mkdir(parents=True)
    file.write_text('{"admin_url": "http://127.0.0.1:22004/", "admin_token": "t"}')
    file.chmod(0o600)
    handover = read_handover(file)
    assert (handover.url, handover.token.reveal()) == ("http://127.0.0.1:22004", "t")


def printed(stake: int) -> bytes:
    control = {"listen_port": 22006, "username": "trade", "password": "p"}
    return json.dumps({"stake_amount": stake, "api_server": control}).encode()


@pytest.mark.parametrize(("stake", "written"), [(125, 40), (40, 40), (10, 10)])
def test_freqtrade_config_stake_is_the_smaller_one(stake: int, written: int, files: Files) -> None:
    access = write_freqtrade_config(files, printed(stake), mode=Mode.SPOT)
    assert json.loads(files.freqtrade_config.read_text())["stake_amount"] == written
    assert mode_of(files.freqtrade_config) == 0o600
    assert (access.url, access.username, access.password.reveal()) == ("http://127.0.0.1:22006", "trade", "p")


@pytest.mark.parametrize("output", [b"", b"[]", b"{}", b"usage: trade-gateway"])
def test_freqtrade_config_other_output_is_refused(output: bytes, files: Files) -> None:
    with pytest.raises(ProcessFailed, match="printed no freqtrade configuration"):
        write_freqtrade_config(files, output, mode=Mode.SPOT)
    assert not files.freqtrade_config.exists()


@pytest.mark.slow  # looks for the services' environments, which `make check` does without
def test_specs_name_no_secret_and_run_from_the_service_s_own_environment(
    files: Files, credentials: dict[str, Any]
) -> None:
    secrets = [pair["secret"] for pair in credentials["keys"].values()]
    services = ("simulator", "gateway", "journal-writer", "watchdog", "executor", "console")
    for spec in [*(service_spec(files, name) for name in services), freqtrade_spec(files), shim_spec(files)]:
        environment = {"journal-writer": "journal", "shim": "journal", "executor": "killswitch"}.get(
            spec.name, spec.name
        )
        assert f"/{environment}/bin/" in spec.command[0]
        text = " ".join([*spec.command, *spec.environment.values()])
        assert not any(secret in text for secret in secrets)
        assert spec.log_file.parent == files.logs


def test_strategy_stands_where_freqtrade_is_told_to_look() -> None:
    assert (STRATEGY_FOLDER / f"{STRATEGY}.py").is_file()
