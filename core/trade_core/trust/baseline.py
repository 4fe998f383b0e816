"""The baseline: what the account already had when its deployment began. Part of the key ring, so its hash pins it.

Guarantees
- It names every working order, position and holding that was found, or there is none: a baseline that does not fit
  its bounds is refused, never cut short.
- It has one form: sorted, without repetition, amounts as plain decimals.

What it names is not judged and is not ours: it counts, and nobody adopts it. What is not in it and not ours came later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from trade_core.errors import InvalidNumber
from trade_core.money import format_decimal, parse_exchange_decimal
from trade_core.trust.keys import NotTrusted

MAX_ORDERS = 500
"""An account with more working orders is tidied up before it is put behind a gateway."""
MAX_POSITIONS = 200
MAX_HOLDINGS = 500
_FIELDS = {"taken_at_ms", "orders", "positions", "holdings"}
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_MAX_TIME_MS = 2**53 - 1
_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineOrder:
    """One working order that was there before. `is_reducing` says that it was sent as reduce-only."""

    category: str
    symbol: str
    order_id: str
    side: str
    quantity: Decimal
    price: Decimal
    is_reducing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselinePosition:
    """One linear position, signed: above zero is long."""

    symbol: str
    size: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineHolding:
    """All of one coin, locked or not; below zero is owed."""

    coin: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What was found at `taken_at_ms`, UTC milliseconds. Build it with `baseline_of`, which sorts and checks."""

    taken_at_ms: int
    orders: tuple[BaselineOrder, ...]
    positions: tuple[BaselinePosition, ...]
    holdings: tuple[BaselineHolding, ...]

    def content(self) -> dict[str, Any]:
        """Return the fields as plain values, amounts as text."""
        return {
            "taken_at_ms": self.taken_at_ms,
            "orders": [
                {
                    "category": order.category,
                    "symbol": order.symbol,
                    "order_id": order.order_id,
                    "side": order.side,
                    "quantity": format_decimal(order.quantity),
                    "price": format_decimal(order.price),
                    "is_reducing": order.is_reducing,
                }
                for order in self.orders
            ],
            "positions": [{"symbol": held.symbol, "size": format_decimal(held.size)} for held in self.positions],
            "holdings": [{"coin": held.coin, "amount": format_decimal(held.amount)} for held in self.holdings],
        }


def baseline_of(
    *,
    taken_at_ms: int,
    orders: Iterable[BaselineOrder] = (),
    positions: Iterable[BaselinePosition] = (),
    holdings: Iterable[BaselineHolding] = (),
) -> Baseline:
    """Put a baseline together; positions and holdings of nothing are left out. Raises NotTrusted beyond the bounds."""
    if type(taken_at_ms) is not int or not 0 <= taken_at_ms <= _MAX_TIME_MS:
        raise NotTrusted("baseline: taken_at_ms must be milliseconds since 1970")
    return Baseline(
        taken_at_ms=taken_at_ms,
        orders=_sorted(orders, lambda order: order.order_id, "orders", MAX_ORDERS),
        positions=_sorted(
            (held for held in positions if held.size != 0), lambda held: held.symbol, "positions", MAX_POSITIONS
        ),
        holdings=_sorted(
            (held for held in holdings if held.amount != 0), lambda held: held.coin, "holdings", MAX_HOLDINGS
        ),
    )


def parse_baseline(content: object) -> Baseline:
    """Read a baseline from plain values. Raises NotTrusted unless it is the one form of a baseline."""
    if not isinstance(content, dict) or set(content) != _FIELDS:
        raise NotTrusted("baseline: its fields are not those of a baseline")
    parsed = baseline_of(
        taken_at_ms=content["taken_at_ms"],
        orders=[_order(item) for item in _items(content, "orders", MAX_ORDERS)],
        positions=[
            BaselinePosition(symbol=_name(item, "symbol"), size=_amount(item, "size"))
            for item in _items(content, "positions", MAX_POSITIONS)
        ],
        holdings=[
            BaselineHolding(coin=_name(item, "coin"), amount=_amount(item, "amount"))
            for item in _items(content, "holdings", MAX_HOLDINGS)
        ],
    )
    if parsed.content() != content:
        raise NotTrusted("baseline: is not in its one form")
    return parsed


def _sorted(entries: Iterable[_Entry], name: Callable[[_Entry], str], what: str, at_most: int) -> tuple[_Entry, ...]:
    found = sorted(entries, key=name)
    if len(found) > at_most:
        raise NotTrusted(f"baseline: {len(found)} {what}, at most {at_most}")
    names = [name(entry) for entry in found]
    if len(set(names)) != len(names):
        raise NotTrusted(f"baseline: {what} that repeat")
    for text in names:
        if _NAME.fullmatch(text) is None:
            raise NotTrusted(f"baseline: {what} with a name that is none")
    return tuple(found)


def _items(content: dict[str, Any], name: str, at_most: int) -> list[dict[str, Any]]:
    items = content[name]
    if not isinstance(items, list) or len(items) > at_most or not all(isinstance(item, dict) for item in items):
        raise NotTrusted(f"baseline: {name} must be a list of at most {at_most} objects")
    return items


def _order(item: dict[str, Any]) -> BaselineOrder:
    is_reducing = item.get("is_reducing")
    if not isinstance(is_reducing, bool):
        raise NotTrusted("baseline: is_reducing must be true or false")
    return BaselineOrder(
        category=_name(item, "category"),
        symbol=_name(item, "symbol"),
        order_id=_name(item, "order_id"),
        side=_name(item, "side"),
        quantity=_amount(item, "quantity"),
        price=_amount(item, "price"),
        is_reducing=is_reducing,
    )


def _name(item: dict[str, Any], field: str) -> str:
    value = item.get(field)
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise NotTrusted(f"baseline: {field} must be a name")
    return value


def _amount(item: dict[str, Any], field: str) -> Decimal:
    try:
        return parse_exchange_decimal(item.get(field))
    except InvalidNumber:
        raise NotTrusted(f"baseline: {field} must be a plain number") from None
