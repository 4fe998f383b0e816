"""Is more on the account than the policy allows? Computed again without any code of the gateway. Pure.

Guarantees
- Working orders are measured at their own prices, as they were when they were let through: a breach is a breach. One
  without a price is measured at its trigger, or at what its coin is worth.
- Exposure is measured at prices of now. It may stand above its limit because the market moved, so that, where an order
  would still add to it, only what is beyond the limit by more than the policy's own stress gap is told.
- Where no order works any more, a linear position is told beyond HELD_FACTOR times the limit: a gateway that is owned
  may tag and journal an order that fills before anybody looks. Coins are not: a person may bring as many as they like.
- An order that has ended is measured, too, if it was made just before and filled: one that fills at once never works,
  and of coins nothing is told once they are held.
- A policy that cannot be read is told as such, never taken for one without limits.

It counts adding orders only, and of spot every coin that the policy trades, whoever bought it: worst case.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, unique
from typing import Any, Final

from trade_core.errors import InvalidNumber
from trade_core.money import format_decimal, parse_decimal
from trade_watchdog.audit.posture import SeenPosition
from trade_watchdog.audit.sightings import SeenOrder

ZERO: Final = Decimal(0)
HELD_FACTOR: Final = 2
"""A market that doubles what is held is no breach of a limit, and more than that is worth a person's look."""
_SYMBOL_FIELDS: Final = 4
_SPOT_QUOTE: Final = "USDT"
SymbolKey = tuple[str, str]


class LimitsUnreadable(ValueError):
    """The text is no policy of the form that this version knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedLimits:
    """What the audit needs of a policy. Money in USDT; `per_symbol` by category and symbol."""

    leverage: int
    max_open_orders: int
    max_order_notional_usdt: Decimal
    allocated_capital_usdt: Decimal
    max_gross_exposure: Decimal
    turnover_budget_24h: Decimal
    collar: Decimal
    reference_max_divergence: Decimal
    reference_max_age_s: int
    stress_gap: Decimal
    per_symbol: Mapping[SymbolKey, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """What the exchange shows: working orders, linear positions, and spot coins with their prices in USDT.

    Positions come without what was there before the deployment began.
    """

    orders: tuple[SeenOrder, ...]
    positions: tuple[SeenPosition, ...]
    coins: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]


@unique
class LimitAlarm(Enum):
    """Which limit is exceeded."""

    SYMBOL = "symbol"
    ORDER_NOTIONAL = "order_notional"
    OPEN_ORDERS = "open_orders"
    SYMBOL_EXPOSURE = "symbol_exposure"
    GROSS_EXPOSURE = "gross_exposure"
    TURNOVER = "turnover"
    COLLAR = "collar"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitFinding:
    """An exceeded limit, what it is about, words, and what was found of what is allowed."""

    alarm: LimitAlarm
    name: str
    detail: str
    figure: str


def limits_of(text: str) -> AuditedLimits:
    """Read the canonical form of a policy, as the gateway's journal records it. Raises LimitsUnreadable."""
    try:
        content = json.loads(text)
        return AuditedLimits(
            leverage=_count(content, "leverage"),
            max_open_orders=_count(content, "max_open_orders"),
            max_order_notional_usdt=parse_decimal(content["max_order_notional_usdt"]),
            allocated_capital_usdt=parse_decimal(content["allocated_capital_usdt"]),
            max_gross_exposure=parse_decimal(content["max_gross_exposure"]),
            turnover_budget_24h=parse_decimal(content["turnover_budget_24h"]),
            collar=parse_decimal(content["collar"]),
            reference_max_divergence=parse_decimal(content["reference_max_divergence"]),
            reference_max_age_s=_count(content, "reference_max_age_s"),
            stress_gap=parse_decimal(content["stress_gap"]),
            per_symbol=dict(_symbol(table) for table in content["symbols"]),
        )
    except (ValueError, TypeError, KeyError, InvalidNumber, RecursionError) as error:
        raise LimitsUnreadable(f"the recorded policy is not of a form that is known: {type(error).__name__}") from None


def examine_limits(exposed: Exposed, limits: AuditedLimits) -> list[LimitFinding]:
    """List the limits that are exceeded; empty when none is."""
    adding = [order for order in exposed.orders if adds_risk(order)]
    return [
        *(finding for order in adding for finding in _order(order, exposed, limits)),
        *_open_orders(adding, limits),
        *_exposure(exposed, adding, limits),
    ]


def examine_ended(ended: Iterable[SeenOrder], limits: AuditedLimits, *, since_ms: int) -> list[LimitFinding]:
    """List the orders made since a moment (UTC ms) that filled and should never have been let through.

    What an order says of itself does not change, so that one look proves it.
    """
    filled = [order for order in ended if order.filled and order.created_at_ms >= since_ms and adds_risk(order)]
    nothing = Exposed(orders=(), positions=(), coins={}, prices={})
    return [finding for order in filled for finding in _order(order, nothing, limits)]


def _count(content: Mapping[str, Any], name: str) -> int:
    value = content[name]
    if type(value) is not int:
        raise TypeError(name)
    return value


def _symbol(table: object) -> tuple[SymbolKey, Decimal]:
    """Read [category, symbol, max_notional_usdt, max_order_quantity]: amounts in the order of their names."""
    if not isinstance(table, list) or len(table) != _SYMBOL_FIELDS:
        raise TypeError("symbols")
    return (str(table[0]), str(table[1])), parse_decimal(table[2])


def adds_risk(order: SeenOrder) -> bool:
    """Say whether an order can add risk: a spot purchase, or a linear order that is not reduce-only."""
    return not order.is_reduce_only and (order.category != "spot" or order.side == "Buy")


def _left(order: SeenOrder) -> Decimal:
    return order.quantity - order.filled


def _price(order: SeenOrder, exposed: Exposed) -> Decimal:
    price = max(order.price, order.trigger_price or ZERO)
    return price or exposed.prices.get(order.symbol.removesuffix(_SPOT_QUOTE), ZERO)


def _order(order: SeenOrder, exposed: Exposed, limits: AuditedLimits) -> Iterable[LimitFinding]:
    if (order.category, order.symbol) not in limits.per_symbol:
        detail, figure = f"the policy does not trade {order.category} {order.symbol}", f"{order.symbol} of none"
        yield LimitFinding(alarm=LimitAlarm.SYMBOL, name=order.order_id, detail=detail, figure=figure)
    notional = order.quantity * _price(order, exposed)
    if notional > limits.max_order_notional_usdt:
        figure = f"{usdt(notional)} of {usdt(limits.max_order_notional_usdt)}"
        detail = f"{figure} an order"
        yield LimitFinding(alarm=LimitAlarm.ORDER_NOTIONAL, name=order.order_id, detail=detail, figure=figure)


def _open_orders(adding: list[SeenOrder], limits: AuditedLimits) -> Iterable[LimitFinding]:
    if len(adding) > limits.max_open_orders:
        detail = f"{len(adding)} working orders of {limits.max_open_orders}"
        figure = f"{len(adding)} of {limits.max_open_orders}"
        yield LimitFinding(alarm=LimitAlarm.OPEN_ORDERS, name="", detail=detail, figure=figure)


def _exposure(exposed: Exposed, adding: list[SeenOrder], limits: AuditedLimits) -> Iterable[LimitFinding]:
    slack = 1 + limits.stress_gap
    gross = all_held = ZERO
    for key, most in limits.per_symbol.items():
        orders = [order for order in adding if (order.category, order.symbol) == key]
        notional = _notional(key, exposed, orders)
        held = ZERO if key[0] == "spot" else _notional(key, exposed, [])
        gross += notional
        all_held += held
        if orders and notional > most * slack:
            yield _exceeded(LimitAlarm.SYMBOL_EXPOSURE, key[1], notional, most, f"on {key[0]} {key[1]}")
        elif held > most * HELD_FACTOR:
            yield _exceeded(LimitAlarm.SYMBOL_EXPOSURE, key[1], held, most, f"is held on {key[0]} {key[1]}")
    most = limits.max_gross_exposure * limits.allocated_capital_usdt
    if adding and gross > most * slack:
        yield _exceeded(LimitAlarm.GROSS_EXPOSURE, "", gross, most, "in all")
    elif all_held > most * HELD_FACTOR:
        yield _exceeded(LimitAlarm.GROSS_EXPOSURE, "", all_held, most, "is held in all")


def _exceeded(alarm: LimitAlarm, name: str, found: Decimal, most: Decimal, where: str) -> LimitFinding:
    figure = f"{usdt(found)} of {usdt(most)}"
    return LimitFinding(alarm=alarm, name=name, detail=f"{figure} {where}", figure=figure)


def _notional(key: SymbolKey, exposed: Exposed, adding: list[SeenOrder]) -> Decimal:
    """Value what is held and what would be added to it, the worse way."""
    category, symbol = key
    buys = sum((_left(order) for order in adding if order.side == "Buy"), ZERO)
    sells = sum((_left(order) for order in adding if order.side == "Sell"), ZERO)
    prices = [_price(order, exposed) for order in adding]
    if category == "spot":
        coin = symbol.removesuffix(_SPOT_QUOTE)
        return (exposed.coins.get(coin, ZERO) + buys) * exposed.prices.get(coin, max(prices, default=ZERO))
    held = [position for position in exposed.positions if (position.category, position.symbol) == key]
    size = sum((position.size for position in held), ZERO)
    marks = [position.mark_price for position in held] or prices
    return max(abs(size + buys), abs(size - sells)) * max(marks, default=ZERO)


def usdt(value: Decimal) -> str:
    """Write an amount for people, rounded to cents."""
    return f"{format_decimal(value.quantize(Decimal('0.01')))} USDT"
