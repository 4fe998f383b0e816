"""The settings files that the demo writes: each is what its service reads, and secrets are closed to others."""

import json
import stat
from pathlib import Path
from typing import Any

from trade_core.settings import load_settings
from trade_demo.credentials import read_exchange_credentials
from trade_demo.files import Files
from trade_demo.options import Options, parse_options
from trade_demo.policy import demo_policy
from trade_demo.ports import Ports, console_url
from trade_demo.settings_files import (
    write_console_settings,
    write_executor_settings,
    write_gateway_settings,
    write_journal_writer_settings,
    write_shim_settings,
    write_simulator_settings,
    write_watchdog_settings,
)
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
