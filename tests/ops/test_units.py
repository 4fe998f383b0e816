"""The systemd units: a user each, hardened alike, and settings that their services take."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from trade_core.settings import Settings, load_settings
from trade_gateway.settings import GatewaySettings
from trade_journal.trades.shim_settings import ShimSettings
from trade_journal.writer.writer_settings import JournalWriterSettings
from trade_killswitch.console.settings import ConsoleSettings
from trade_killswitch.settings import ExecutorSettings
from trade_simulator.settings import SimulatorSettings
from trade_watchdog.settings import WatchdogSettings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "ops/systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
SERVICES = [name for name in UNITS if name != "freqtrade.service"]
HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelModules": "yes",
    "RestrictNamespaces": "yes",
    "UMask": "0077",
    "LimitCORE": "0",
}
SETTINGS: dict[str, type[Settings]] = {
    "console": ConsoleSettings,
    "executor": ExecutorSettings,
    "gateway": GatewaySettings,
    "journal-writer": JournalWriterSettings,
    "shim": ShimSettings,
    "simulator": SimulatorSettings,
    "watchdog": WatchdogSettings,
}


def lines(unit: str) -> Iterator[tuple[str, str]]:
    for line in (FOLDER / unit).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            yield key, value


def value(unit: str, key: str) -> str:
    (found,) = [text for name, text in lines(unit) if name == key]
    return found


def users() -> dict[str, int]:
    text = (FOLDER / "trade.sysusers").read_text()
    return {name: int(number) for name, number in re.findall(r"^u (\S+) (\d+) ", text, re.M)}


def test_there_is_a_unit_for_each_process() -> None:
    assert len(SERVICES) == len(SETTINGS)


def test_each_process_has_a_user_of_its_own() -> None:
    named = [value(unit, "User") for unit in UNITS]
    assert sorted(named) == sorted(users())
    assert len(set(users().values())) == len(users())


@pytest.mark.parametrize("unit", UNITS)
def test_unit_is_hardened(unit: str) -> None:
    found = dict(lines(unit))
    assert {key: found.get(key) for key in HARDENED} == HARDENED


@pytest.mark.parametrize("unit", SERVICES)
def test_unit_runs_a_command_that_there_is_with_settings_that_there_are(unit: str) -> None:
    command = re.fullmatch(
        r"/opt/trade/([a-z]+)/bin/(\S+)( shim)? --config /etc/trade/(\S+)\.toml", value(unit, "ExecStart")
    )
    assert command is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert command[1] in project["optional-dependencies"]
    assert command[2] in project["scripts"]
    assert command[4] in SETTINGS
    assert value(unit, "StateDirectory") == f"trade/{command[4]}"
    assert value(unit, "RestartPreventExitStatus") == "2"


def test_executor_and_bot_are_cut_off() -> None:
    assert value("trade-kill-executor.service", "SocketBindDeny") == "any"
    for unit in ("freqtrade.service", "trade-console.service"):
        assert (value(unit, "IPAddressDeny"), value(unit, "IPAddressAllow")) == ("any", "localhost")
    for unit in ("trade-journal-writer.service", "trade-journal-shim.service"):
        assert value(unit, "PrivateNetwork") == "yes"
    assert "/etc/trade" in value("freqtrade.service", "InaccessiblePaths")
    assert value("freqtrade.service", "Restart") == "no"


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_example_settings_are_taken(name: str) -> None:
    settings = load_settings(ROOT / f"ops/trade/{name}.toml", SETTINGS[name])
    for field in ("gateway_uid", "shim_uid", "watchdog_uid", "console_uid"):
        if hasattr(settings, field):
            assert getattr(settings, field) == users()[f"trade-{field.removesuffix('_uid')}"]
    state_dir = getattr(settings, "state_dir", None)
    assert state_dir is None or str(state_dir) == f"/var/lib/trade/{name}"


def test_examples_fit_each_other() -> None:
    def of(name: str) -> Settings:
        return load_settings(ROOT / f"ops/trade/{name}.toml", SETTINGS[name])

    gateway, writer, executor = of("gateway"), of("journal-writer"), of("executor")
    assert isinstance(gateway, GatewaySettings)
    assert isinstance(writer, JournalWriterSettings)
    assert isinstance(executor, ExecutorSettings)
    watchdog, shim = of("watchdog"), of("shim")
    assert isinstance(watchdog, WatchdogSettings)
    assert isinstance(shim, ShimSettings)
    assert gateway.journal_socket == writer.gateway_socket
    assert shim.journal_socket == writer.shim_socket
    assert watchdog.executor_socket == executor.socket
    for name, administered in (("gateway", gateway), ("watchdog", watchdog)):
        assert value(f"trade-{name}.service", "RuntimeDirectory") == f"trade-{name}"
        assert str(administered.admin_socket) == f"/run/trade-{name}/admin.sock"
    assert set(gateway.admin_uids) == {users()[f"trade-{name}"] for name in ("watchdog", "executor", "console")}
    assert executor.secret_files == (gateway.secrets_file,)
    assert {gateway.ring_file} == {watchdog.ring_file, executor.ring_file, writer.ring_file}
    assert watchdog.bot_unit == executor.bot_unit == "freqtrade.service"


def test_bot_may_be_stopped_by_two_users_and_started_by_nobody() -> None:
    rule = (FOLDER / "50-trade-bot.rules").read_text()
    assert '"freqtrade.service"' in rule
    assert re.findall(r'action.lookup\("verb"\) === "(\w+)"', rule) == ["stop"]
    assert set(re.findall(r'subject.user === "([a-z-]+)"', rule)) == {"trade-watchdog", "trade-executor"}
