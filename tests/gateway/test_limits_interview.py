"""The questions of `init` about limits, answered at a terminal or by flags."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gateway.deployment import deployment
from gateway.exchange_thread import exchange_thread
from http_double import Asked, HttpDouble, envelope

from trade_core.errors import ConfigurationError
from trade_gateway.limits_interview import add_flags, write_missing_policy
from trade_gateway.policy.limits import parse_policy
from trade_gateway.settings import GatewaySettings

ALL = ["--capital", "4000", "--symbols", "spot:BTCUSDT", "--limits", "calm", "--protective-stops", "deny", "--yes"]
PRICES = {"BTCUSDT": "64000", "ETHUSDT": "0", "XRPUSDT": "x"}


def market(asked: Asked) -> bytes:
    symbol = str(asked.parameter("symbol"))
    listed = [{"symbol": symbol, "lastPrice": PRICES[symbol]}] if symbol in PRICES else []
    return envelope({"list": listed})


@pytest.fixture(scope="module")
def exchange() -> Iterator[HttpDouble]:
    with exchange_thread(market) as double:
        yield double


@pytest.fixture
def settings(tmp_path: Path, exchange: HttpDouble) -> GatewaySettings:
    made = deployment(tmp_path, exchange_url=exchange.url)
    made.policy_file.unlink()
    return made


def flags(*words: str) -> Namespace:
    parser = ArgumentParser()
    add_flags(parser)
    return parser.parse_args(words)


def person(*answers: str) -> tuple[Callable[[str], str], list[str]]:
    left, questions = list(answers), []

    def ask(question: str) -> str:
        questions.append(question)
        return left.pop(0)

    return ask, questions


def test_flags_alone_write_a_policy_that_starts(settings: GatewaySettings, capsys: pytest.CaptureFixture[str]) -> None:
    write_missing_policy(settings, flags(*ALL))
    policy = parse_policy(settings.policy_file.read_bytes())
    assert policy.allocated_capital_usdt == 4000
    assert "lose 28.02 USDT a day (0.70%)" in capsys.readouterr().out


def test_person_sees_what_each_choice_implies_before_choosing(
    settings: GatewaySettings, capsys: pytest.CaptureFixture[str]
) -> None:
    ask, questions = person("much", "-5", "4000", "BTCUSDT", "linear:BTCUSDT", "reduce_only", "usual", "write")
    write_missing_policy(settings, flags(), ask=ask)
    said = capsys.readouterr().out
    assert all(f"  {style}" in said for style in ("calm", "half", "usual", "busy", "liquid"))
    assert said.index("28.02 USDT a day") < said.index("With these limits")
    assert "'much'" in said
    assert "is not category:SYMBOL" in said
    assert len(questions) == 8
    assert b"linear" in settings.policy_file.read_bytes()


@pytest.mark.parametrize("word", ["", "yes", "no"])
def test_nothing_is_written_without_the_word(settings: GatewaySettings, word: str) -> None:
    ask, _ = person("4000", "spot:BTCUSDT", "calm", word)
    with pytest.raises(ConfigurationError, match="nothing was written"):
        write_missing_policy(settings, flags(), ask=ask)
    assert not settings.policy_file.exists()


def test_person_who_answers_nonsense_is_asked_five_times(settings: GatewaySettings) -> None:
    ask, questions = person(*["x"] * 9)
    with pytest.raises(ConfigurationError, match="'x'"):
        write_missing_policy(settings, flags(), ask=ask)
    assert len(questions) == 5


def test_file_that_is_there_stays_and_flags_beside_it_are_refused(settings: GatewaySettings) -> None:
    settings.policy_file.write_text("mine")
    write_missing_policy(settings, flags())
    for words in (ALL, ["--protective-stops", "deny"]):
        with pytest.raises(ConfigurationError, match="is there already, so --"):
            write_missing_policy(settings, flags(*words))
    assert settings.policy_file.read_text() == "mine"


@pytest.mark.parametrize("missing", ["--capital", "--symbols", "--limits", "--yes"])
def test_without_a_terminal_each_flag_is_needed(
    settings: GatewaySettings, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    at = ALL.index(missing)
    words = ALL[:at] + ALL[at + (1 if missing == "--yes" else 2) :]
    with pytest.raises(ConfigurationError, match="there is no terminal to ask at"):
        write_missing_policy(settings, flags(*words))
    assert not settings.policy_file.exists()


@pytest.mark.parametrize(
    ("flag", "value", "complaint"),
    [
        ("--capital", "1e3", "1e3"),
        ("--capital", "0", "above zero"),
        ("--capital", "5", "allocated_capital_usdt"),
        ("--symbols", "option:BTCUSDT", "is not category:SYMBOL"),
        ("--symbols", "spot:BTCUSDT,spot:BTCUSDT", "each symbol once"),
        ("--symbols", "spot:btcusdt", "is not category:SYMBOL"),
        ("--symbols", "spot:NONEUSDT", "the exchange does not list it"),
        ("--symbols", "spot:ETHUSDT", "has no price"),
        ("--symbols", "spot:XRPUSDT", "price cannot be read"),
    ],
)
def test_flag_that_means_nothing_is_refused(settings: GatewaySettings, flag: str, value: str, complaint: str) -> None:
    words = list(ALL)
    words[words.index(flag) + 1] = value
    with pytest.raises(ConfigurationError, match=complaint):
        write_missing_policy(settings, flags(*words))
    assert not settings.policy_file.exists()


def test_exchange_that_is_away_is_said(settings: GatewaySettings) -> None:
    away = settings.model_copy(update={"exchange_url": "http://127.0.0.1:1"})
    with pytest.raises(ConfigurationError, match="price cannot be read"):
        write_missing_policy(away, flags(*ALL))
