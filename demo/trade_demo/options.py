"""What a person may ask of trade-demo on its command line, parsed once into a checked record."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from trade_core.errors import InvalidNumber
from trade_core.money import parse_decimal

DEFAULT_EQUITY_USDT = Decimal(4000)
DEFAULT_SEED = 7
MAX_EQUITY_USDT = Decimal(1_000_000_000)
MAX_SPEED = Decimal(1000)
MAX_MINUTES = Decimal(10_080)  # a week: longer than any demonstration, short enough that a slip of the finger ends
MAX_SEED = 2**63 - 1
# Freqtrade refuses a control port below 1024.
MIN_BASE_PORT = 1024
MAX_BASE_PORT = 65_000
REPLAY_PREFIX = "replay="
REPLAY_SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")


class Bot(StrEnum):
    """What trades."""

    FREQTRADE = "freqtrade"
    NONE = "none"


class Mode(StrEnum):
    """Which market the bot trades."""

    SPOT = "spot"
    FUTURES = "futures"


class Scenario(StrEnum):
    """What can be watched happen."""

    CRASH = "crash"
    ROGUE = "rogue"
    LEAK = "leak"
    TAMPER = "tamper"
    DRILL = "drill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One checked command line. `replays` is empty when the market is a seeded walk."""

    bot: Bot
    mode: Mode
    replays: tuple[tuple[str, Path], ...]
    speed: Decimal
    equity_usdt: Decimal
    policy_file: Path | None
    seed: int
    minutes: Decimal | None
    describe_file: Path | None
    base_port: int | None
    state_dir: Path | None
    is_json: bool
    scenario: Scenario | None = None
    has_console: bool = True


def parse_options(arguments: Sequence[str]) -> Options:
    """Parse a command line. Exits with code 2 and a message that names the option when it makes no sense."""
    parser = _parser()
    found = parser.parse_args(arguments)
    if found.scenario == Scenario.CRASH and found.policy is not None:
        parser.error("--scenario crash: brings a policy of its own, without the coin that falls; leave --policy out")
    replays = tuple(item for item in found.market or () if item is not None)
    if found.market and len(replays) not in {0, len(found.market)}:
        parser.error("--market: walk and replay cannot be mixed")
    symbols = [symbol for symbol, _ in replays]
    if len(set(symbols)) != len(symbols):
        parser.error("--market: each symbol can be replayed from one file only")
    return Options(
        bot=Bot(found.bot),
        mode=Mode(found.mode),
        replays=replays,
        speed=found.speed,
        equity_usdt=found.equity,
        policy_file=found.policy,
        seed=found.seed,
        minutes=found.minutes,
        describe_file=found.describe,
        base_port=found.base_port,
        state_dir=found.state_dir,
        is_json=found.json,
        scenario=None if found.scenario is None else Scenario(found.scenario),
        has_console=found.without is None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-demo",
        description="Run the whole stack on a simulated exchange, with a real freqtrade, and show what happens.",
        epilog="Exit codes: 0 at least one entry and one exit filled (with --bot none: everything kept running; with "
        "--scenario: it came to its end), 1 not so, 2 an option or setting makes no sense.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--bot",
        choices=[bot.value for bot in Bot],
        default=Bot.FREQTRADE.value,
        help="what trades; none leaves the gateway to your own client (default: freqtrade)",
    )
    parser.add_argument(
        "--mode",
        choices=[mode.value for mode in Mode],
        default=Mode.SPOT.value,
        help="which market freqtrade trades (default: spot)",
    )
    parser.add_argument(
        "--market",
        type=_market,
        action="append",
        metavar="walk|replay=SYMBOL:FILE.csv",
        help="where prices come from; replay may be given once a symbol (default: walk)",
    )
    parser.add_argument(
        "--speed",
        type=_number(MAX_SPEED),
        default=Decimal(1),
        metavar="X",
        help="how fast the price path is walked; exchange time stays wall time (default: 1)",
    )
    parser.add_argument(
        "--equity",
        type=_number(MAX_EQUITY_USDT),
        default=DEFAULT_EQUITY_USDT,
        metavar="N",
        help="USDT on the account at the start (default: 4000)",
    )
    parser.add_argument(
        "--policy", type=_existing_file, metavar="FILE", help="the gateway's policy instead of the demo's own"
    )
    parser.add_argument(
        "--seed", type=_seed, default=DEFAULT_SEED, metavar="N", help="seed of the price walk (default: 7)"
    )
    parser.add_argument(
        "--scenario",
        choices=[scenario.value for scenario in Scenario],
        help="what happens once everything runs: crash walks every rung of the ladder, rogue places an order behind "
        "the gateway, leak makes a second key, tamper edits the journal; the run ends with the evidence",
    )
    parser.add_argument(
        "--without",
        choices=["console"],
        help="leave the page for people out, for programs that look at nothing but the gateway: nothing that protects "
        "the account depends on it",
    )
    parser.add_argument(
        "--minutes", type=_number(MAX_MINUTES), metavar="N", help="end by itself after this long (default: at Ctrl-C)"
    )
    parser.add_argument(
        "--describe",
        type=Path,
        metavar="FILE",
        help="write addresses, credentials and process ids to this file once everything is ready",
    )
    parser.add_argument(
        "--base-port",
        type=_base_port,
        metavar="N",
        help="use this port and the next ones (default: ports that are free)",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="a new or empty folder for all files (default: .state/demo-<time>)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a screen")
    return parser  # fmt: skip


def _market(text: str) -> tuple[str, Path] | None:
    if text == "walk":
        return None
    symbol, colon, file = text.removeprefix(REPLAY_PREFIX).partition(":")
    if not text.startswith(REPLAY_PREFIX) or not colon or symbol not in REPLAY_SYMBOLS:
        raise argparse.ArgumentTypeError(
            f"must be walk or replay=SYMBOL:FILE.csv with SYMBOL one of {', '.join(REPLAY_SYMBOLS)} (found {text!a})"
        )
    return symbol, _existing_file(file)


def _existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!a}")
    return path.resolve()


def _number(largest: Decimal) -> Callable[[str], Decimal]:
    """Return a parser of positive decimals up to a bound, for argparse."""

    def number(text: str) -> Decimal:
        try:
            value = parse_decimal(text)
        except InvalidNumber as error:
            raise argparse.ArgumentTypeError(f"must be a plain number (found {text!a})") from error
        if not 0 < value <= largest:
            raise argparse.ArgumentTypeError(f"must be above 0 and at most {largest} (found {text!a})")
        return value

    return number


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_SEED):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {MAX_SEED} (found {text!a})")
    return int(text)


def _base_port(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= 5
    if not is_number or not MIN_BASE_PORT <= int(text) <= MAX_BASE_PORT:
        raise argparse.ArgumentTypeError(f"must be {MIN_BASE_PORT} to {MAX_BASE_PORT} (found {text!a})")
    return int(text)
