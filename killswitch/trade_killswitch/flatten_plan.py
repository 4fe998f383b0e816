"""How what is open is closed, and what is left of the stops. Pure: facts in, orders out.

Guarantees
- Every order reduces: one of a contract is reduce-only, of at most the position's size; one of spot sells coins that
  are held, without borrowing. What the account held when its deployment began (the ring's baseline) is left alone.
- No price is further than the slippage from the reference on the bad side, whatever the book shows: the reference is
  the index, so a cleared book cannot make us sell for nothing. Without a reference nothing is priced.
- A stop is cancelled only where nothing is open any more. Where something stays open there is one: its own, or ours.

The prices: in the first seconds at the own side of the book, post-only; afterwards at the slippage's end, immediate or
cancel. Both are limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum, unique
from typing import Final

from trade_killswitch.kill_order import Ending, Endings
from trade_killswitch.open_book import Coin, Market, Position
from trade_killswitch.working_orders import Category, WorkingOrder

DUST_USD: Final = Decimal(5)
"""Coins of less than this that cannot be sold are left: no exchange takes an order for them."""
_NOTHING: Final = Decimal(0)
NAMES_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """What may have to be closed: a position, or coins above the baseline. `quantity` is all of it."""

    category: Category
    symbol: str
    quantity: Decimal
    is_long: bool = True
    position_idx: int = 0
    free: Decimal | None = None  # of coins: what no order holds

    @property
    def key(self) -> tuple[Category, str, int]:
        """Name it among others: hedge mode has two positions of one symbol."""
        return self.category, self.symbol, self.position_idx

    @property
    def name(self) -> str:
        """Name it for people."""
        side = "" if self.category is Category.SPOT else " long" if self.is_long else " short"
        return f"{self.category.value} {self.symbol} {self.quantity.normalize():f}{side}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFacts:
    """Everything that is open, with the market of each, and the orders that work."""

    positions: tuple[Position, ...]
    coins: tuple[Coin, ...]
    markets: Mapping[tuple[Category, str], Market]
    orders: tuple[WorkingOrder, ...]


@unique
class Style(StrEnum):
    """How an order is sent."""

    POST_ONLY = "post_only"
    TAKE = "take"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitOrder:
    """One order that reduces. `price` is the limit, or of a stop the trigger."""

    category: Category
    symbol: str
    is_sale: bool
    quantity: Decimal
    price: Decimal
    style: Style
    position_idx: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenThings:
    """What is open: to be closed, and kept as ordered. `dust` is too little to be sold."""

    to_close: tuple[Thing, ...] = ()
    held: tuple[Thing, ...] = ()
    dust: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[Thing, ...]:
        """Return both."""
        return self.to_close + self.held

    @property
    def is_flat(self) -> bool:
        """Tell whether nothing is open."""
        return not self.all


def open_things(facts: OpenFacts, *, endings: Endings, baseline: Mapping[str, Decimal], quote_coin: str) -> OpenThings:
    """Sort what is open by what becomes of it."""
    things = [
        Thing(
            category=position.category,
            symbol=position.symbol,
            quantity=position.size,
            is_long=position.is_long,
            position_idx=position.position_idx,
        )
        for position in facts.positions
    ]
    dust = []
    for coin in facts.coins:
        above = coin.total - max(baseline.get(coin.coin, _NOTHING), _NOTHING)
        if coin.coin == quote_coin or above <= 0:
            continue
        thing = Thing(
            category=Category.SPOT,
            symbol=coin.coin + quote_coin,
            quantity=above,
            free=max(min(above, coin.free), Decimal(0)),
        )
        if _is_dust(thing, coin, facts.markets.get((Category.SPOT, thing.symbol))):
            dust.append(f"{coin.coin} {above.normalize():f}")
        else:
            things.append(thing)
    return OpenThings(
        to_close=tuple(thing for thing in things if endings[thing.category] is Ending.FLATTEN),
        held=tuple(thing for thing in things if endings[thing.category] is Ending.HOLD),
        dust=tuple(dust),
    )


def exit_order(thing: Thing, market: Market | None, *, style: Style, slippage: Decimal) -> ExitOrder | None:
    """Return the order that closes a thing, as far as one order can; None when it cannot be priced or sized now."""
    if market is None or market.reference is None:
        return None
    wanted = thing.quantity if thing.free is None else thing.free
    quantity = _floored(min(wanted, market.quantity_max), market.step)
    if quantity <= 0:
        return None
    price = _price(market, market.reference, is_sale=thing.is_long, style=style, slippage=slippage)
    if price <= 0:
        return None
    return ExitOrder(
        category=thing.category,
        symbol=thing.symbol,
        is_sale=thing.is_long,
        quantity=quantity,
        price=price,
        style=style,
        position_idx=thing.position_idx,
    )


def stop_order(thing: Thing, facts: OpenFacts, *, distance: Decimal) -> ExitOrder | None:
    """Return a stop for a position that stays open without one; None when it has one, or none can be had.

    Coins get none: a spot stop holds them, so nobody could sell them while it waits.
    """
    market = facts.markets.get((thing.category, thing.symbol))
    if thing.category is Category.SPOT or stops_of(thing, facts.orders) or market is None or market.reference is None:
        return None
    away = -distance if thing.is_long else distance
    rounding = ROUND_CEILING if thing.is_long else ROUND_FLOOR
    return ExitOrder(
        category=thing.category,
        symbol=thing.symbol,
        is_sale=thing.is_long,
        quantity=_floored(min(thing.quantity, market.quantity_max), market.step),
        price=_rounded(market.reference * (1 + away), market.tick, rounding),
        style=Style.STOP,
        position_idx=thing.position_idx,
    )


def stops_of(thing: Thing, orders: Iterable[WorkingOrder]) -> list[WorkingOrder]:
    """List the protective stops of a thing's symbol."""
    return [order for order in orders if order.is_protective and _is_of(order, thing)]


def resting_exits(thing: Thing, orders: Iterable[WorkingOrder]) -> list[WorkingOrder]:
    """List the plain orders of a thing's symbol, which after a sweep are ours."""
    return [order for order in orders if not order.is_conditional and _is_of(order, thing)]


def idle_stops(facts: OpenFacts, things: OpenThings) -> list[WorkingOrder]:
    """List the protective stops of symbols in which nothing is open any more."""
    open_symbols = {(thing.category, thing.symbol) for thing in things.all}
    return [
        order
        for order in facts.orders
        if order.is_protective and (order.book.category, order.symbol) not in open_symbols
    ]


def named(things: Sequence[Thing]) -> str:
    """Name things for people, as many as a line takes."""
    shown = ", ".join(thing.name for thing in things[:NAMES_MAX])
    return shown if len(things) <= NAMES_MAX else f"{shown} and {len(things) - NAMES_MAX} more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How a closing ended: what stays open although it should not, what is held as ordered, and stops."""

    open: tuple[Thing, ...] = ()
    held: tuple[Thing, ...] = ()
    dust: tuple[str, ...] = ()
    stops: tuple[str, ...] = field(default=())
    took_s: float = 0.0

    @property
    def is_flat(self) -> bool:
        """Tell whether nothing is open but dust."""
        return not self.open and not self.held


def _is_of(order: WorkingOrder, thing: Thing) -> bool:
    return order.book.category is thing.category and order.symbol == thing.symbol


def _is_dust(thing: Thing, coin: Coin, market: Market | None) -> bool:
    """Tell whether coins are too few to be sold: by the instrument's own limits, else by what they are worth."""
    if market is None:
        return coin.value_usd < DUST_USD
    quantity = _floored(thing.quantity, market.step)
    if quantity <= 0 or quantity < market.quantity_min:
        return True
    return market.reference is not None and quantity * market.reference < market.notional_min


def _price(market: Market, reference: Decimal, *, is_sale: bool, style: Style, slippage: Decimal) -> Decimal:
    if is_sale:
        worst = _rounded(reference * (1 - slippage), market.tick, ROUND_CEILING)
        if style is Style.TAKE:
            return worst
        beside = market.ask if market.ask is not None else reference
        return max(worst, _rounded(beside, market.tick, ROUND_CEILING))
    worst = _rounded(reference * (1 + slippage), market.tick, ROUND_FLOOR)
    if style is Style.TAKE:
        return worst
    beside = market.bid if market.bid is not None else reference
    return min(worst, _rounded(beside, market.tick, ROUND_FLOOR))


def _floored(quantity: Decimal, step: Decimal) -> Decimal:
    return _rounded(quantity, step, ROUND_FLOOR)


def _rounded(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    return (value / step).to_integral_value(rounding=rounding) * step
