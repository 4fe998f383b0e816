"""`trade-gateway init` without a policy file: asks for the limits, shows what each choice implies, writes the file.

Guarantees
- Nothing is written before the person has seen the two losses and agreed, at a terminal or by flags and `--yes`.
- A file that is there is never touched.
- What is written is a policy that the gateway starts with; every other answer is refused with its reason.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from trade_core.bybit.client import BybitClient
from trade_core.clock import SystemClock
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable, InvalidNumber
from trade_core.money import parse_decimal
from trade_core.secrets import write_atomically
from trade_gateway.policy.model import ProtectiveStops, SymbolKey
from trade_gateway.policy_proposal import STYLES, Proposal, Style, Wishes, implied, propose
from trade_gateway.settings import GatewaySettings
from trade_gateway.wire.intents import Category

SYMBOLS_MAX: Final = 20
ATTEMPTS_MAX: Final = 5
_AGREED: Final = "write"
FLAGS: Final = ("capital", "symbols", "limits", "protective_stops")
Ask = Callable[[str], str]


def add_flags(parser: ArgumentParser) -> None:
    """Add what answers the questions beforehand."""
    limits = parser.add_argument_group(
        "limits",
        "asked at the terminal when the settings' policy_file is not there; or, without one, all four and --yes",
    )
    limits.add_argument("--capital", metavar="USDT", help="what the limits may at most apply to")
    limits.add_argument("--symbols", metavar="LIST", help="such as spot:BTCUSDT,linear:ETHUSDT; nothing else is traded")
    limits.add_argument("--limits", choices=[style.value for style in Style], help="how much is risked")
    limits.add_argument(
        "--protective-stops",
        choices=[stops.value for stops in ProtectiveStops],
        help="whether the bot may leave stops at the exchange",
    )
    limits.add_argument("--yes", action="store_true", help="write the policy file without asking")


def write_missing_policy(settings: GatewaySettings, options: Namespace, *, ask: Ask | None = None) -> None:
    """Write the policy file if there is none. Raises ConfigurationError; a file that is there stays as it is."""
    path = settings.policy_file
    if path.exists():
        given = [name for name in FLAGS if getattr(options, name) is not None]
        if given:
            flag = "--" + given[0].replace("_", "-")
            raise ConfigurationError(
                f"{path}: is there already, so {flag} has nothing to say; leave the flags of the limits out to begin "
                "with the file as it is, or edit it"
            )
        return
    if ask is None:
        ask = input if sys.stdin.isatty() else _nobody_there(path)
    proposal = _proposal(settings, options, ask)
    print(f"\nWith these limits {implied(proposal)}.\n{path}:\n\n{proposal.text}")
    if not options.yes and ask(f'type "{_AGREED}" to write it: ').strip() != _AGREED:
        raise ConfigurationError("nothing was written")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, proposal.text.encode(), mode=0o644)


def _nobody_there(path: Path) -> Ask:
    def refuse(_: str) -> str:
        raise ConfigurationError(
            f"{path}: not there, and there is no terminal to ask at; pass --capital, --symbols, --limits, "
            "--protective-stops and --yes, or write the file"
        )

    return refuse


def _proposal(settings: GatewaySettings, options: Namespace, ask: Ask) -> Proposal:
    capital = _answer(options.capital, "capital in USDT that the bot may use: ", parse_capital, ask)
    symbols = _answer(options.symbols, "symbols, such as spot:BTCUSDT,linear:ETHUSDT: ", parse_symbols, ask)
    prices = asyncio.run(_prices(settings.exchange_http, settings.is_simulated, symbols))
    stops = ProtectiveStops.DENY
    if any(category is Category.LINEAR for category, _ in symbols) or options.protective_stops is not None:
        question = "may the bot leave stops at the exchange? a triggered one takes (deny, reduce_only): "
        stops = _answer(options.protective_stops, question, ProtectiveStops, ask)
    wishes = {"capital_usdt": capital, "prices": prices, "stops": stops}
    if options.limits is None:
        print("\n" + "\n".join(_choices(wishes)))
    style = _answer(options.limits, "which of them: ", Style, ask)
    return propose(Wishes(**wishes, style=style))


def _choices(wishes: dict[str, Any]) -> list[str]:
    """Say of each style what it implies with the other answers."""
    lines = []
    for style, limits in STYLES.items():
        try:
            outcome = implied(propose(Wishes(**wishes, style=style)))
        except ConfigurationError as error:
            outcome = f"would not start: {error}"
        lines.append(f"  {style.value:7} {limits.words}: {outcome}")
    return lines


def _answer(given: str | None, question: str, read: Callable[[str], Any], ask: Ask) -> Any:
    """Return what a flag or a person says; a person is asked again, a flag is not."""
    if given is not None:
        return _read(given, read)
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return _read(ask(question).strip(), read)
        except _Odd as error:
            print(error)
    return _read(ask(question).strip(), read)


class _Odd(ConfigurationError):
    """An answer that means nothing here."""


def _read(text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except (ValueError, InvalidNumber) as error:
        raise _Odd(f"{ascii(text)[:80]}: {error}") from None


def parse_capital(text: str) -> Decimal:
    """Read an amount of USDT. Raises InvalidNumber, ValueError."""
    amount = parse_decimal(text)
    if amount <= 0:
        raise ValueError("must be above zero")
    return amount


def parse_symbols(text: str) -> list[SymbolKey]:
    """Read `category:SYMBOL` between commas. Raises ValueError."""
    keys = []
    for word in text.split(","):
        category, _, symbol = word.strip().partition(":")
        if category not in {"spot", "linear"} or not (symbol.isascii() and symbol.isalnum() and symbol.isupper()):
            raise ValueError(f"{ascii(word)[:40]} is not category:SYMBOL such as spot:BTCUSDT")
        keys.append((Category(category), symbol))
    if len(set(keys)) != len(keys) or len(keys) > SYMBOLS_MAX:
        raise ValueError(f"name each symbol once, and at most {SYMBOLS_MAX}")
    return keys


async def _prices(url: str, is_simulated: bool, symbols: list[SymbolKey]) -> dict[SymbolKey, Decimal]:
    client = BybitClient(base_url=url, clock=SystemClock(), is_simulated=is_simulated)
    try:
        return {key: await _price(client, *key) for key in symbols}
    finally:
        await client.aclose()


async def _price(client: BybitClient, category: Category, symbol: str) -> Decimal:
    try:
        answer = await client.get_public("/v5/market/tickers", f"category={category.value}&symbol={symbol}")
        listed: Any = answer.result.get("list")
        if not answer.is_ok or not isinstance(listed, list) or len(listed) != 1:
            raise ConfigurationError(
                f"{category.value}:{symbol}: the exchange does not list it (code {answer.ret_code})"
            )
        price = parse_decimal(str(listed[0]["lastPrice"]))
    except (ExchangeUnavailable, ExchangeAnswerInvalid, InvalidNumber, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{category.value}:{symbol}: its price cannot be read ({type(error).__name__})"
        ) from None
    if price <= 0:
        raise ConfigurationError(f"{category.value}:{symbol}: has no price")
    return price
