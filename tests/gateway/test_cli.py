"""The command line: exit codes and what it says."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway.deployment import LEASE_KEY, LOG_KEY, POLICY_TOML, WITNESS_KEY, deployment, write_deployment
from gateway.exchange_thread import exchange_thread
from gateway.journal_thread import journal_thread
from http_double import HANG, Asked, envelope

from trade_core.secrets import read_secret_file, write_secret_file
from trade_core.trust.baseline import baseline_of
from trade_core.trust.ring import read_ring
from trade_gateway import init_command, process
from trade_gateway.cli import main
from trade_gateway.identity import initialise
from trade_gateway.policy.limits import policy_hash
from trade_gateway.policy_file import read_policy
from trade_journal.errors import JournalUnavailable


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Put the root logger back as it was: the command line configures it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def initialised(folder: Path, **changed: object) -> Path:
    settings = deployment(folder, **changed)
    hashed = policy_hash(read_policy(settings.policy_file))
    initialise(
        settings,
        log_key=LOG_KEY,
        lease_key=LEASE_KEY,
        witness_key=WITNESS_KEY,
        policy_hash=hashed,
        baseline=baseline_of(taken_at_ms=1),
    )
    return folder / "gateway.toml"


def run_with_journal(config: Path) -> int:
    with journal_thread(config.parent):
        return main(["--config", str(config)])


def init(folder: Path, **changed: object) -> int:
    return init_with(folder, write_deployment(folder, **changed))


def init_with(folder: Path, config: Path) -> int:
    public = ["--watchdog-public", str(folder / "public.json"), "--journal-public", str(folder / "journal-public.json")]
    return main(["init", "--config", str(config), *public])


def account(asked: Asked) -> bytes:
    """An exchange whose account has two coins and one order."""
    match asked.path:
        case "/v5/user/query-api":
            permissions = {"Spot": ["SpotTrade"]}
            key = {"userID": 1002, "readOnly": 0, "isMaster": False, "ips": ["127.0.0.1"], "permissions": permissions}
            return envelope(key)
        case "/v5/order/realtime":
            order = {
                "orderId": "o1",
                "symbol": "BTCUSDT",
                "side": "Buy",
                "orderStatus": "New",
                "qty": "1",
                "price": "2",
            }
            return envelope({"list": [order]})
        case _:
            coins = [{"coin": coin, "walletBalance": "1"} for coin in ("BTC", "USDT")]
            return envelope({"list": [{"coin": coins}]})


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
    with exchange_thread(account) as exchange:
        assert init(tmp_path, exchange_url=exchange.url) == 0
    out = capsys.readouterr().out
    assert "for account 1002 (simulated)" in out
    assert "baseline: 1 orders, 0 positions and 2 coins" in out
    assert str(tmp_path / "ring.json") in out
    baseline = read_ring(tmp_path / "ring.json").baseline
    assert [order.order_id for order in baseline.orders] == ["o1"]
    assert [held.coin for held in baseline.holdings] == ["BTC", "USDT"]


def test_cli_init_prints_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with exchange_thread(account) as exchange:
        assert init(tmp_path, exchange_url=exchange.url) == 0
    said = capsys.readouterr()
    identity = json.loads((tmp_path / "state" / "identity.json").read_text())
    secrets = [identity["tag_key"], *identity["virtual_keys"].values()]
    secrets += identity["admin_tokens"].values()
    assert not [secret for secret in secrets if secret in said.out + said.err]


def test_cli_init_without_the_exchange_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path) == 1
    assert "did not tell what the account has (/v5/user/query-api: ConnectError)" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "ring.json").exists()


def test_cli_init_with_an_exchange_that_hangs_ends_in_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init_command, "BASELINE_WITHIN_S", 0.05)
    with exchange_thread(lambda _: HANG) as exchange:
        assert init(tmp_path, exchange_url=exchange.url) == 1
    assert "(in time)" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_cli_init_with_a_key_of_another_account_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with exchange_thread(account) as exchange:
        assert init(tmp_path, exchange_url=exchange.url, account="1003") == 2
    assert "it belongs to another account" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("left", ["state/identity.json", "state/genesis.json", "ring.json"])
def test_cli_init_where_something_was_begun_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], left: str
) -> None:
    initialised(tmp_path)
    for name in {"state/identity.json", "state/genesis.json", "ring.json"} - {left}:
        (tmp_path / name).unlink()
    assert init(tmp_path) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"lease_key": 1}', '{"lease_key": "AAAA"}', "[" * 60_000])
def test_cli_init_with_another_file_than_the_watchdogs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    config = write_deployment(tmp_path)
    (tmp_path / "public.json").write_text(content)
    assert init_with(tmp_path, config) == 2
    assert capsys.readouterr().err.startswith("trade-gateway: ")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("name", ["public.json", "journal-public.json"])
@pytest.mark.parametrize(("key", "value"), [("account", "1003"), ("environment", "testnet")])
def test_cli_init_with_the_file_of_another_account_is_refused_and_both_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, key: str, value: str
) -> None:
    config = write_deployment(tmp_path)
    public = json.loads((tmp_path / name).read_text())
    (tmp_path / name).write_text(json.dumps({**public, key: value}))
    assert init_with(tmp_path, config) == 2
    assert f"{tmp_path / name}: is of the {key} '{value}', and the settings say '{public[key]}'" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"listen_port": 0}, "listen_port"),
        ({"exchange": "live"}, 'exchange: is "live"'),
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
    assert run_with_journal(config) == 2
    assert "is not the policy that the key ring names" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "content"), [("secrets.json", "{}"), ("ring.json", "{}")])
def test_cli_run_with_a_broken_file_is_refused_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    config = initialised(tmp_path)
    (tmp_path / name).write_text(content)
    assert main(["--config", str(config)]) == 2
    assert name in capsys.readouterr().err


def test_cli_run_with_a_broken_policy_is_refused_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = initialised(tmp_path)
    (tmp_path / "policy.toml").write_text("x")
    assert run_with_journal(config) == 2
    assert "policy.toml" in capsys.readouterr().err


def test_cli_run_without_a_journal_writer_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "JOURNAL_WITHIN_S", 0.2)
    config = initialised(tmp_path)
    assert main(["--config", str(config)]) == 1
    said = capsys.readouterr().err
    assert f"no journal writer within 0.2 s: {tmp_path}/gateway.sock" in said


def test_cli_run_with_the_policy_missing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = initialised(tmp_path)
    (tmp_path / "policy.toml").unlink()
    assert run_with_journal(config) == 2
    assert "policy: the file cannot be read" in capsys.readouterr().err


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
        assert run_with_journal(config) == 2
    said = capsys.readouterr().err
    assert f"port {port} on 127.0.0.1 is taken" in said
    assert f"setting {setting}" in said


def test_cli_failure_while_running_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = initialised(tmp_path)

    async def failing(_: object) -> None:
        raise JournalUnavailable("the disk is gone")

    monkeypatch.setattr(process, "run", failing)
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


@pytest.mark.parametrize("name", ["url", "ws", "key", "secret"])
def test_cli_freqtrade_config_of_a_damaged_handover_is_refused_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    config = initialised(tmp_path)
    handed = tmp_path / "state" / "handover" / "freqtrade.json"
    write_secret_file(handed, {key: value for key, value in read_secret_file(handed).items() if key != name})
    assert main(["freqtrade-config", "--config", str(config), "--mode", "spot"]) == 2
    assert f"{handed}: {name}: must be a non-empty text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "admin_token: must be a non-empty text"),
        ({"admin_token": "t"}, "admin_url: must be a non-empty text"),
        ({"admin_token": "t", "admin_url": "https://example.com"}, "admin_url: must be"),
    ],
)
@pytest.mark.parametrize("command", [["state"], ["halt", "--reason", "r"]])
def test_cli_command_with_a_damaged_handover_is_refused_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], content: dict[str, object], said: str
) -> None:
    config = initialised(tmp_path)
    handed = tmp_path / "state" / "handover" / "operator.json"
    write_secret_file(handed, content)
    assert main([*command, "--config", str(config)]) == 2
    assert f"{handed}: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "said"), [("", "Invalid JSON"), ("[]", "Input should be an object")])
def test_cli_explain_of_what_is_no_request_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    config = write_deployment(tmp_path)
    request = tmp_path / "request.json"
    request.write_text(content)
    assert main(["explain", "--config", str(config), str(request)]) == 2
    assert f"trade-gateway: {request}: {said}" in capsys.readouterr().err


def test_cli_halt_before_init_says_what_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_deployment(tmp_path)
    assert main(["halt", "--reason", "r", "--config", str(config)]) == 2
    assert "operator.json: not there; run `trade-gateway init` first" in capsys.readouterr().err


def test_cli_virtual_key_says_where_it_stands_and_not_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = initialised(tmp_path)
    assert main(["virtual-key", "--config", str(config)]) == 0
    handed = tmp_path / "state" / "handover" / "freqtrade.json"
    told = capsys.readouterr().out
    assert str(handed) in told
    assert json.loads(handed.read_text())["secret"] not in told
