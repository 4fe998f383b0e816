"""The command line of trade-demo: every option checked, nonsense refused with the option's name and exit code 2."""

from decimal import Decimal
from pathlib import Path

import pytest

from trade_demo.options import Bot, Mode, Scenario, parse_options


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parse_options(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_options_none_given_are_the_defaults() -> None:
    options = parse_options([])
    assert (options.bot, options.mode, options.replays) == (Bot.FREQTRADE, Mode.SPOT, ())
    assert (options.speed, options.equity_usdt, options.seed) == (Decimal(1), Decimal(4000), 7)
    assert options.policy_file is options.minutes is options.describe_file is None
    assert options.base_port is options.state_dir is None
    assert options.is_json is False
    assert options.has_console is True


def test_options_all_given_are_taken_over(tmp_path: Path) -> None:
    policy, prices = tmp_path / "policy.toml", tmp_path / "btc.csv"
    policy.touch()
    prices.touch()
    options = parse_options(
        [
            *("--bot", "none", "--mode", "futures", "--market", f"replay=BTCUSDT:{prices}", "--speed", "2.5"),
            *("--equity", "1000", "--policy", str(policy), "--seed", "0", "--minutes", "0.5"),
            *("--describe", "stack.json", "--base-port", "22000", "--state-dir", "state", "--json"),
            *("--without", "console"),
        ]
    )
    assert (options.bot, options.mode) == (Bot.NONE, Mode.FUTURES)
    assert options.replays == (("BTCUSDT", prices),)
    assert (options.speed, options.equity_usdt, options.seed) == (Decimal("2.5"), Decimal(1000), 0)
    assert (options.policy_file, options.minutes) == (policy, Decimal("0.5"))
    assert (options.describe_file, options.state_dir) == (Path("stack.json"), Path("state"))
    assert (options.base_port, options.is_json, options.has_console) == (22000, True, False)


@pytest.mark.parametrize("scenario", list(Scenario))
def test_options_scenario_is_taken(scenario: Scenario) -> None:
    assert parse_options(["--scenario", scenario.value]).scenario is scenario
    assert parse_options([]).scenario is None


def test_options_crash_brings_its_own_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.toml"
    policy.touch()
    assert "leave --policy out" in refused(["--scenario", "crash", "--policy", str(policy)], capsys)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--bot", "robot"),
        ("--mode", "margin"),
        ("--market", "random"),
        ("--market", "replay=DOGEUSDT:prices.csv"),
        ("--market", "replay=BTCUSDT"),
        ("--market", "replay=BTCUSDT:absent.csv"),
        ("--speed", "0"),
        ("--speed", "1000.1"),
        ("--speed", "NaN"),
        ("--speed", "1e3"),
        ("--equity", "-1"),
        ("--equity", "0"),
        ("--equity", "1000000001"),
        ("--equity", "\u0661"),
        ("--policy", "absent.toml"),
        ("--seed", "-1"),
        ("--seed", "9223372036854775808"),
        ("--seed", "1.5"),
        ("--minutes", "0"),
        ("--minutes", "10081"),
        ("--base-port", "1023"),
        ("--base-port", "65001"),
        ("--base-port", "\u0662\u0662000"),
        ("--scenario", "party"),
        ("--without", "watchdog"),
    ],
)
def test_options_absurd_value_is_refused_by_name(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"argument {option}:" in refused([option, value], capsys)


@pytest.mark.parametrize(("option", "value"), [("--speed", "1000"), ("--minutes", "10080"), ("--base-port", "1024")])
def test_options_value_at_its_limit_is_taken(option: str, value: str) -> None:
    options = parse_options([option, value])
    assert Decimal(value) in {options.speed, options.minutes, options.base_port}


def test_options_walk_beside_replay_or_one_symbol_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "btc.csv"
    prices.touch()
    replay = f"replay=BTCUSDT:{prices}"
    assert "cannot be mixed" in refused(["--market", "walk", "--market", replay], capsys)
    assert "one file only" in refused(["--market", replay, "--market", replay], capsys)


def test_options_abbreviated_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unrecognized" in refused(["--min", "3"], capsys)
