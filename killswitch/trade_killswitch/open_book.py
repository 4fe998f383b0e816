"""What is open on the account as the exchange lists it: positions, coins, and the market of each. Pure.

Guarantees
- What cannot be read raises; nothing is taken for flat because a field was odd.
- Amounts and prices are decimals read from text.

Source: Bybit V5 "Get Position Info", "Get Wallet Balance", "Get Tickers", "Get Instruments Info".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trade_core.errors import ExchangeAnswerInvalid, InvalidNumber
from trade_core.money import parse_exchange_decimal
from trade_killswitch.working_orders import ID_CHARACTERS_MAX, Category


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One open position of a contract. `position_idx` is 0 in one-way mode, 1 and 2 in hedge mode."""

    category: Category
    symbol: str
    is_long: bool
    size: Decimal
    position_idx: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """All of one coin, what of it no order holds, and what it is worth in USD by the exchange's own reckoning."""

    coin: str
    total: Decimal
    free: Decimal
    value_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What it takes to price an order. A side of the book or a reference that is not there is None."""

    bid: Decimal | None
    ask: Decimal | None
    reference: Decimal | None
    tick: Decimal
    step: Decimal
    quantity_max: Decimal
    quantity_min: Decimal
    notional_min: Decimal


def parse_positions(rows: Sequence[Any], category: Category) -> list[Position]:
    """Read the open ones of a list of positions. Raises ExchangeAnswerInvalid."""
    found = []
    for row in rows:
        content = _object(row, "a list of positions")
        size = _number(content, "size")
        if size == 0:
            continue
        side, position_idx = content.get("side"), content.get("positionIdx")
        if side not in ("Buy", "Sell") or size.is_signed() or type(position_idx) is not int:
            raise ExchangeAnswerInvalid("an open position does not say which way it is open")
        found.append(
            Position(
                category=category,
                symbol=_name(content, "symbol"),
                is_long=side == "Buy",
                size=size,
                position_idx=position_idx,
            )
        )
    return found


def parse_coins(result: Mapping[str, Any]) -> list[Coin]:
    """Read the coins of a unified wallet. Raises ExchangeAnswerInvalid."""
    wallets = result.get("list")
    if not isinstance(wallets, list) or len(wallets) != 1:
        raise ExchangeAnswerInvalid("the wallet is not one")
    (wallet,) = wallets
    rows = _object(wallet, "the wallet").get("coin")
    if not isinstance(rows, list):
        raise ExchangeAnswerInvalid("the wallet has no list of coins")
    return [_coin(_object(row, "the wallet")) for row in rows]


def parse_market(ticker: Mapping[str, Any], info: Mapping[str, Any], *, reference: Decimal | None) -> Market:
    """Read an instrument's best prices and filters. Raises ExchangeAnswerInvalid."""
    lots, prices = (
        _object(info.get("lotSizeFilter"), "an instrument"),
        _object(info.get("priceFilter"), "an instrument"),
    )
    market = Market(
        bid=_price(ticker, "bid1Price"),
        ask=_price(ticker, "ask1Price"),
        reference=reference,
        tick=_number(prices, "tickSize"),
        step=_first(lots, "qtyStep", "basePrecision"),
        quantity_max=_first(lots, "maxLimitOrderQty", "maxOrderQty"),
        quantity_min=_first(lots, "minOrderQty"),
        notional_min=_first(lots, "minNotionalValue", "minOrderAmt"),
    )
    if market.tick <= 0 or market.step <= 0 or market.quantity_max <= 0:
        raise ExchangeAnswerInvalid("an instrument has a step of nothing")
    return market


def reference_of(ticker: Mapping[str, Any]) -> Decimal | None:
    """Return the index price of a linear or inverse contract, else of spot, else the mark price; None without any."""
    for name in ("indexPrice", "usdIndexPrice", "markPrice"):
        price = _price(ticker, name)
        if price is not None:
            return price
    return None


def _coin(row: Mapping[str, Any]) -> Coin:
    total = _number(row, "walletBalance")
    return Coin(
        coin=_name(row, "coin"),
        total=total,
        free=total - _optional(row, "locked"),
        value_usd=_optional(row, "usdValue"),
    )


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ExchangeAnswerInvalid(f"{what} holds something else")
    return value


def _name(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or len(value) > ID_CHARACTERS_MAX or not (value.isascii() and value.isalnum()):
        raise ExchangeAnswerInvalid(f"a row has no {key}")
    return value


def _number(row: Mapping[str, Any], key: str) -> Decimal:
    try:
        return parse_exchange_decimal(row.get(key))
    except InvalidNumber:
        raise ExchangeAnswerInvalid(f"a row has no number in {key}") from None


def _optional(row: Mapping[str, Any], key: str) -> Decimal:
    """Read a number that the exchange leaves empty for nothing."""
    return Decimal(0) if row.get(key) in ("", None) else _number(row, key)


def _price(row: Mapping[str, Any], key: str) -> Decimal | None:
    price = _optional(row, key)
    return price if price > 0 else None


def _first(row: Mapping[str, Any], *keys: str) -> Decimal:
    """Read the first of some names that is there and not empty; nothing counts as zero."""
    present = [key for key in keys if row.get(key) not in ("", None)]
    return _number(row, present[0]) if present else Decimal(0)
