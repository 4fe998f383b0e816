"""The command line: exit codes and what it says."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway.deployment import POLICY_TOML, write_deployment

from trade_gateway import cli
from trade_gateway.cli import main
from trade_journal.errors import JournalUnavailable


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Put the root logger back as it was: the command line configures it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def initialised(folder: Path, **changed: object) -> Path:
    config = write_deployment(folder, **changed)
    assert main(["init", "--config", str(config), "--watchdog-public", str(folder / "public.json")]) == 0
    return config


@pytest.mark.parametrize(
    "arguments", [[], ["init"], ["nonsense"], ["freqtrade-config", "--config", "x"], ["--unknown"]]
)
def test_cli_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: trade-gateway" in capsys.readouterr().err


def test_cli_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "Exit codes: 0" in capsys.readouterr().out


def test_cli_init_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    initialised(tmp_path)
    out = capsys.readouterr().out
    assert "for account 1002 (simulated)" in out
    assert str(tmp_path / "ring.json") in out


def test_cli_init_prints_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    initialised(tmp_path)
    said = capsys.readouterr()
    identity = json.loads((tmp_path / "state" / "identity.json").read_text())
    secrets = [identity["private_key"], identity["tag_key"], *identity["virtual_keys"].values()]
    secrets += identity["admin_tokens"].values()
    assert not [secret for secret in secrets if secret in said.out + said.err]


def test_cli_init_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = initialised(tmp_path)
    assert main(["init", "--config", str(config), "--watchdog-public", str(tmp_path / "public.json")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"lease_key": 1}', '{"lease_key": "AAAA"}'])
def test_cli_init_with_another_file_than_the_watchdogs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    config = write_deployment(tmp_path)
    (tmp_path / "public.json").write_text(content)
    assert main(["init", "--config", str(config), "--watchdog-public", str(tmp_path / "public.json")]) == 2
    assert capsys.readouterr().err.startswith("trade-gateway: ")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"listen_port": 0}, "listen_port"),
        ({"exchange": "live"}, "'live' is refused by this version"),
        ({"surprise": 1}, "surprise: is not a known setting"),
        ({"account": None}, "account: is missing"),
    ],
)
def test_cli_refused_settings_end_with_2_and_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, object], said: str
) -> None:
    assert main(["--config", str(write_deployment(tmp_path, **changed))]) == 2
    assert said in capsys.readouterr().err


def test_cli_missing_settings_file_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: cannot be read" in capsys.readouterr().err


def test_cli_run_before_init_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(write_deployment(tmp_path))]) == 2
    assert "run `trade-gateway init` first" in capsys.readouterr().err


def test_cli_run_with_a_changed_policy_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = initialised(tmp_path)
    (tmp_path / "policy.toml").write_text(POLICY_TOML.replace("max_open_orders = 5", "max_open_orders = 6"))
    assert main(["--config", str(config)]) == 2
    assert "is not the policy that the key ring names" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "content"), [("policy.toml", "x"), ("secrets.json", "{}"), ("ring.json", "{}")])
def test_cli_run_with_a_broken_file_is_refused_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    config = initialised(tmp_path)
    (tmp_path / name).write_text(content)
    assert main(["--config", str(config)]) == 2
    assert name in capsys.readouterr().err


def test_cli_run_with_the_policy_missing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = initialised(tmp_path)
    (tmp_path / "policy.toml").unlink()
    assert main(["--config", str(config)]) == 2
    assert "policy cannot be read" in capsys.readouterr().err


def test_cli_run_with_secrets_open_to_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = initialised(tmp_path)
    (tmp_path / "secrets.json").chmod(0o644)
    assert main(["--config", str(config)]) == 2
    assert "chmod 600" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["listen_port", "admin_port"])
def test_cli_run_on_a_taken_port_names_port_and_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, other_port = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        other = "admin_port" if setting == "listen_port" else "listen_port"
        config = initialised(tmp_path, **{setting: port, other: other_port})
        assert main(["--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert f"port {port} on 127.0.0.1 is taken" in said
    assert f"setting {setting}" in said


def test_cli_failure_while_running_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = initialised(tmp_path)

    async def failing(_: object) -> int:
        raise JournalUnavailable("the disk is gone")

    monkeypatch.setattr(cli, "_run", failing)
    assert main(["--config", str(config)]) == 1
    assert "the disk is gone" in capsys.readouterr().err


def test_cli_freqtrade_config_prints_json_for_this_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = initialised(tmp_path)
    capsys.readouterr()
    assert main(["freqtrade-config", "--config", str(config), "--mode", "spot"]) == 0
    printed = capsys.readouterr().out
    bot = json.loads((tmp_path / "state" / "handover" / "freqtrade.json").read_text())
    assert json.loads(printed)["dry_run"] is False
    assert bot["key"] in printed
    assert bot["url"] in printed


def test_cli_freqtrade_config_for_a_market_without_symbols_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = initialised(tmp_path)
    assert main(["freqtrade-config", "--config", str(config), "--mode", "futures"]) == 2
    assert "has no linear symbol" in capsys.readouterr().err


def test_cli_freqtrade_config_before_init_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_deployment(tmp_path)
    assert main(["freqtrade-config", "--config", str(config), "--mode", "spot"]) == 2
    assert "freqtrade.json" in capsys.readouterr().err
