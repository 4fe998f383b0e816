"""What must be true of the exchange before the gateway adds risk, done in order and tried until it succeeds.

1. The key has exactly the power it needs; more is refused and ends the process.
2. The exchange has answered about every symbol of the policy. One that it does not trade is denied by itself: its name
   stands in `/state`, and nothing of the others waits for it.
3. Position mode, margin mode and leverage are what the policy pins; each hour they are read, and pinned again when
   somebody has changed them.
4. Every order from before the restart is resolved.
Each step that is open is a fault on the state board; the process stays up and denies meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trade_core.bybit.client import BybitClient
from trade_core.errors import (
    ConfigurationError,
    ExchangeAnswerInvalid,
    ExchangeUnavailable,
    InvalidNumber,
    UnknownOutcome,
)
from trade_core.money import parse_exchange_decimal
from trade_gateway.key_check import PERMISSION_GROUPS, excess_power
from trade_gateway.policy.instruments import Instrument, InstrumentInvalid, parse_instrument
from trade_gateway.policy.limits import Policy
from trade_gateway.policy.model import SymbolKey
from trade_gateway.wire.intents import Category

_MARGIN_MODE = "ISOLATED_MARGIN"
NOT_MODIFIED = frozenset({0, 110025, 110026, 110043})
# What an exchange that is down, slow or talking nonsense looks like: wait and try again.
EXPECTED_TROUBLE = (ExchangeUnavailable, ExchangeAnswerInvalid, UnknownOutcome, InstrumentInvalid, InvalidNumber)
_ASKED_AT_ONCE = 5
_REASON_CHARACTERS = 200
log = logging.getLogger(__name__)


class KeyRefused(ConfigurationError):
    """The order key has the wrong power; the gateway does not start with it."""


async def verify_key(client: BybitClient, *, account: str) -> frozenset[Category]:
    """Prove with the exchange's own answer what the key may do; returns the categories that it may trade.

    Raises KeyRefused when it is wrong, ExchangeUnavailable or ExchangeAnswerInvalid when it is not known.
    """
    answer = await client.get("/v5/user/query-api")
    if answer.ret_code in {10003, 10004, 10005, 10010, 33004}:
        raise KeyRefused(f"the exchange does not accept the order key (code {answer.ret_code})")
    if not answer.is_ok:
        raise ExchangeAnswerInvalid(f"the exchange answered {answer.ret_code} about the key")
    wrong = excess_power(answer.result, account=account)
    if wrong:
        raise KeyRefused("the order key is refused: " + "; ".join(wrong))
    permissions: Any = answer.result.get("permissions")
    return frozenset(category for category, group in PERMISSION_GROUPS.items() if permissions.get(group))


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the exchange tells of instruments, symbol by symbol.

    `known` holds what was read now and else what was known before, which an exit may still be sent by. `refused` says
    why the answer about a symbol is nothing to trade by; the rest of the symbols that are not known were not answered.
    """

    known: Mapping[SymbolKey, Instrument]
    refused: Mapping[SymbolKey, str]


async def load_instruments(
    client: BybitClient, symbols: Iterable[SymbolKey], *, known: Mapping[SymbolKey, Instrument]
) -> Filters:
    """Read the filters of each symbol by itself: one that is delisted, or hangs, keeps none of the others waiting."""
    places = asyncio.Semaphore(_ASKED_AT_ONCE)
    found: dict[SymbolKey, Instrument] = {}
    refused: dict[SymbolKey, str] = {}

    async def load(key: SymbolKey) -> None:
        if key in known:
            found[key] = known[key]
        try:
            async with places:
                found[key] = await _load_instrument(client, key)
        except ExchangeUnavailable as error:
            log.debug("no answer about the filters of %s: %s", shown_key(key), error)
        except EXPECTED_TROUBLE as error:
            refused[key] = str(error)[:_REASON_CHARACTERS]

    await asyncio.gather(*(load(key) for key in set(symbols)))
    return Filters(known=found, refused=refused)


def shown_key(key: SymbolKey) -> str:
    """Name a symbol with its category."""
    return f"{key[0].value} {key[1]}"


async def _load_instrument(client: BybitClient, key: SymbolKey) -> Instrument:
    category, symbol = key
    answer = await client.get_public("/v5/market/instruments-info", f"category={category.value}&symbol={symbol}")
    items: Any = answer.result.get("list")
    if not answer.is_ok or not isinstance(items, list) or len(items) != 1:
        raise ExchangeAnswerInvalid(f"no filters for {category.value} {symbol} (code {answer.ret_code})")
    instrument = parse_instrument(category, items[0])
    if instrument.symbol != symbol:
        raise ExchangeAnswerInvalid(f"asked for {symbol}, answered with the filters of another symbol")
    return instrument


async def pin_modes(client: BybitClient, policy: Policy) -> None:
    """Set one-way mode, isolated margin and the pinned leverage; what is so already counts as done.

    Raises ExchangeUnavailable, UnknownOutcome, ExchangeAnswerInvalid.
    """
    linear = linear_symbols(policy)
    if not linear:
        return
    await _pin(client, "/v5/account/set-margin-mode", {"setMarginMode": _MARGIN_MODE})
    await _pin(client, "/v5/position/switch-mode", {"category": "linear", "coin": "USDT", "mode": 0})
    leverage = str(policy.leverage)
    for symbol in linear:
        body = {"category": "linear", "symbol": symbol, "buyLeverage": leverage, "sellLeverage": leverage}
        await _pin(client, "/v5/position/set-leverage", body)


async def changed_modes(client: BybitClient, policy: Policy) -> list[str]:
    """Read what is pinned and name what is otherwise.

    Raises ExchangeUnavailable, ExchangeAnswerInvalid, InvalidNumber.
    """
    linear = linear_symbols(policy)
    if not linear:
        return []
    info = await client.get("/v5/account/info")
    if not info.is_ok:
        raise ExchangeAnswerInvalid(f"the account's settings were answered {info.ret_code}")
    changed = [] if info.result.get("marginMode") == _MARGIN_MODE else ["margin mode"]
    for symbol in linear:
        answer = await client.get("/v5/position/list", f"category=linear&symbol={symbol}")
        positions: Any = answer.result.get("list")
        if not answer.is_ok or not isinstance(positions, list) or not positions:
            raise ExchangeAnswerInvalid(f"no settings of {symbol} (code {answer.ret_code})")
        if not all(isinstance(item, dict) and item.get("positionIdx") == 0 for item in positions):
            changed.append(f"position mode of {symbol}")
        elif any(parse_exchange_decimal(item.get("leverage")) != policy.leverage for item in positions):
            changed.append(f"leverage of {symbol}")
    return changed


def linear_symbols(policy: Policy) -> list[str]:
    """The symbols that have a leverage."""
    return sorted(symbol for category, symbol in policy.symbols if category is Category.LINEAR)


async def _pin(client: BybitClient, path: str, body: Mapping[str, object]) -> None:
    answer = await client.post(path, json.dumps(body, separators=(",", ":")).encode())
    if answer.ret_code not in NOT_MODIFIED:
        raise ExchangeAnswerInvalid(f"{path} was answered {answer.ret_code}")
