"""How positions are closed: look, order, look again. A flow: yields commands, does no I/O.

Guarantees
- It ends CLOSE_WITHIN_S after it began, whatever the market does: flat, or with what stays open named.
- For POST_ONLY_S it asks for the own side's price, and only then gives way to the slippage.
- At its end every stop of a flat symbol is cancelled, and every position that should be closed and is not has one.
- What cannot be read is looked for again; when it cannot be read until the end, nothing is said of it (Unreadable).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

from trade_core.clock import NS_PER_S
from trade_core.errors import TradeError
from trade_killswitch.commands import AskTime, SendCancels, Wait
from trade_killswitch.flatten_plan import (
    ExitOrder,
    OpenFacts,
    OpenThings,
    Settled,
    Style,
    Thing,
    exit_order,
    idle_stops,
    open_things,
    resting_exits,
    stop_order,
    stops_of,
)
from trade_killswitch.kill_order import Endings
from trade_killswitch.sweep_plan import CALLS_A_ROUND, CancelOne
from trade_killswitch.working_orders import Category

POST_ONLY_S: Final = 10.0
CLOSE_WITHIN_S: Final = 20.0
LOOK_EVERY_S: Final = 0.5
STOP_LOOKS: Final = 3
ORDERS_A_ROUND: Final = 40


class Unreadable(TradeError):
    """What is open could not be read for the whole of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOpen:
    """Read positions, coins, working orders and the market of what is open. Gives OpenFacts, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceExits:
    """Send orders that reduce, each once. Gives None: the next look tells what came of them."""

    orders: tuple[ExitOrder, ...]


FlattenCommand: TypeAlias = ReadOpen | PlaceExits | SendCancels | Wait | AskTime
FlattenFlow: TypeAlias = Generator[FlattenCommand, Any, Settled]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What is to be closed, and within which prices. `baseline` holds what of each coin was there before."""

    endings: Endings
    baseline: Mapping[str, Decimal]
    quote_coin: str
    slippage: Decimal

    def things(self, facts: OpenFacts) -> OpenThings:
        """Sort what is open by what becomes of it."""
        return open_things(facts, endings=self.endings, baseline=self.baseline, quote_coin=self.quote_coin)


def flatten(closing: Closing) -> FlattenFlow:
    """Close what is to be closed, and see to the stops. Raises Unreadable."""
    began_ns: int = yield AskTime()
    asked: dict[tuple[Category, str, int], Decimal] = {}
    seen: OpenFacts | None = None
    while True:
        facts: OpenFacts | None = yield ReadOpen()
        now_ns: int = yield AskTime()
        age_s = (now_ns - began_ns) / NS_PER_S
        seen = facts or seen
        if facts is not None and not closing.things(facts).to_close:
            break
        if age_s >= CLOSE_WITHIN_S:
            break
        if facts is not None:
            style = Style.POST_ONLY if age_s < POST_ONLY_S else Style.TAKE
            yield from _order(facts, closing, style, asked)
        yield Wait(seconds=LOOK_EVERY_S)
    if seen is None:
        raise Unreadable("neither positions nor coins could be read")
    settled = yield from _see_to_stops(closing, seen)
    ended_ns: int = yield AskTime()
    return Settled(
        open=settled.open,
        held=settled.held,
        dust=settled.dust,
        stops=settled.stops,
        took_s=round((ended_ns - began_ns) / NS_PER_S, 3),
    )


def _order(
    facts: OpenFacts, closing: Closing, style: Style, asked: dict[tuple[Category, str, int], Decimal]
) -> Generator[FlattenCommand, Any, None]:
    """Take back orders whose price is not the right one any more, and send those that are missing."""
    cancels, orders = [], []
    for thing in closing.things(facts).to_close:
        resting = resting_exits(thing, facts.orders)
        holding = resting + (stops_of(thing, facts.orders) if thing.category is Category.SPOT else [])
        whole = _unheld(thing) if holding and thing.free is not None else thing
        wanted = exit_order(
            whole, facts.markets.get((thing.category, thing.symbol)), style=style, slippage=closing.slippage
        )
        if wanted is None or (resting and style is Style.POST_ONLY and asked.get(thing.key) == wanted.price):
            continue
        cancels += [CancelOne(order=order) for order in holding]
        orders.append(wanted)
        asked[thing.key] = wanted.price
    if cancels:
        yield SendCancels(calls=tuple(cancels[:CALLS_A_ROUND]))
    if orders:
        yield PlaceExits(orders=tuple(orders[:ORDERS_A_ROUND]))


def _unheld(thing: Thing) -> Thing:
    """Return coins as they are when the orders that hold them, ours or a stop, have been taken back."""
    return Thing(category=thing.category, symbol=thing.symbol, quantity=thing.quantity, free=thing.quantity)


def _see_to_stops(closing: Closing, facts: OpenFacts) -> Generator[FlattenCommand, Any, Settled]:
    """Take back our own resting exits, then make the stops what they should be, until a look shows it."""
    for look in range(STOP_LOOKS):
        things = closing.things(facts)
        cancels = [CancelOne(order=order) for order in idle_stops(facts, things)]
        for thing in things.to_close:
            cancels += [CancelOne(order=order) for order in resting_exits(thing, facts.orders)]
        missing = [stop_order(thing, facts, distance=closing.slippage) for thing in things.to_close]
        orders = tuple(order for order in missing if order is not None and order.quantity > 0)
        if not cancels and not orders:
            break
        if cancels:
            yield SendCancels(calls=tuple(cancels[:CALLS_A_ROUND]))
        if orders:
            yield PlaceExits(orders=orders[:ORDERS_A_ROUND])
        yield Wait(seconds=LOOK_EVERY_S * look)
        again: OpenFacts | None = yield ReadOpen()
        facts = again or facts
    things = closing.things(facts)
    return Settled(
        open=things.to_close,
        held=things.held,
        dust=things.dust,
        stops=tuple(f"{order.book.name} {order.symbol}" for order in facts.orders if order.is_protective),
    )
