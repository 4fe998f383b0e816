"""What the exchange says about an instrument: the grid that prices and quantities lie on, and their bounds.

Guarantees: an Instrument has only finite numbers above zero, names inside their grammar, and a status of Trading.
Anything else raises, and a symbol without an instrument trades nothing that adds risk.
Source: Bybit V5 "Get Instruments Info". Of several maxima the smallest counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from trade_core.errors import InvalidNumber, TradeError
from trade_core.money import parse_exchange_decimal
from trade_gateway.wire.fields import COIN, SYMBOL
from trade_gateway.wire.intents import Category

_SHOWN_CHARACTERS = 40


class InstrumentInvalid(TradeError):
    """The exchange described an instrument in a way that cannot be traded on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One tradable symbol. Quantities are in base coin, prices and notionals in quote coin."""

    category: Category
    symbol: str
    base_coin: str
    quote_coin: str
    tick_size: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """The lotSizeFilter's names in one category. `minimum` may be absent; then one step is the minimum."""

    step: str
    minimum: str
    maxima: tuple[str, ...]
    notional: str


_NAMES = {
    Category.SPOT: _Names(
        step="basePrecision",
        minimum="minOrderQty",
        maxima=("maxOrderQty", "maxLimitOrderQty", "postOnlyMaxLimitOrderSize"),
        notional="minOrderAmt",
    ),
    Category.LINEAR: _Names(
        step="qtyStep",
        minimum="minOrderQty",
        maxima=("maxOrderQty", "postOnlyMaxOrderQty"),
        notional="minNotionalValue",
    ),
}


def parse_instrument(category: Category, item: object) -> Instrument:
    """Parse one item of an instruments-info list. Raises InstrumentInvalid."""
    fields = _object(item, "instrument")
    symbol = fields.get("symbol")
    if not isinstance(symbol, str) or SYMBOL.fullmatch(symbol) is None:
        raise InstrumentInvalid(f"instrument without a proper symbol: {_shown(symbol)}")
    if fields.get("status") != "Trading":
        raise InstrumentInvalid(f"{symbol}: status is {_shown(fields.get('status'))}, not Trading")
    names = _NAMES[category]
    lot = _object(fields.get("lotSizeFilter"), f"{symbol} lotSizeFilter")
    price = _object(fields.get("priceFilter"), f"{symbol} priceFilter")
    step = _positive(lot, names.step, symbol)
    minimum = _positive(lot, names.minimum, symbol) if names.minimum in lot else step
    maximum = _smallest(lot, names.maxima, symbol)
    if minimum > maximum:
        raise InstrumentInvalid(f"{symbol}: minimum quantity {minimum} is above the maximum {maximum}")
    return Instrument(
        category=category,
        symbol=symbol,
        base_coin=_coin(fields, "baseCoin", symbol),
        quote_coin=_coin(fields, "quoteCoin", symbol),
        tick_size=_positive(price, "tickSize", symbol),
        quantity_step=step,
        min_quantity=minimum,
        max_quantity=maximum,
        min_notional=_positive(lot, names.notional, symbol),
    )


def _object(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InstrumentInvalid(f"{name} is not an object: {_shown(value)}")
    return cast("Mapping[str, object]", value)


def _coin(fields: Mapping[str, object], key: str, symbol: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or COIN.fullmatch(value) is None:
        raise InstrumentInvalid(f"{symbol}: {key} is {_shown(value)}")
    return value


def _positive(fields: Mapping[str, object], key: str, symbol: str) -> Decimal:
    try:
        number = parse_exchange_decimal(fields.get(key))
    except InvalidNumber as error:
        raise InstrumentInvalid(f"{symbol}: {key}: {error}") from error
    if number <= 0:
        raise InstrumentInvalid(f"{symbol}: {key} is {number}, not above zero")
    return number


def _smallest(lot: Mapping[str, object], keys: tuple[str, ...], symbol: str) -> Decimal:
    values = [_positive(lot, key, symbol) for key in keys if key in lot]
    if not values:
        raise InstrumentInvalid(f"{symbol}: no maximum quantity among {', '.join(keys)}")
    return min(values)


def _shown(value: object) -> str:
    return ascii(value)[:_SHOWN_CHARACTERS]
