"""The baseline of a new deployment: read from the exchange at `init`, kept in the key ring, journaled at first start.

Guarantees
- It is read with the order key itself, after the exchange has said that the key is of the account and can only trade:
  a baseline of another account would call the whole of this one rogue.
- Every category that the key may trade is read, and those of the policy in any case.
- Working orders of the baseline count in exposure and open orders like any order of others, are never taken for the
  bot's, and are not cancelled by the gateway: a person knew of them. Coins of the baseline may be sold by the bot as
  far as the policy names their symbol; they count in its exposure from the start.

A working order of others that adds risk and is not in the baseline is an incident. What follows from it is for the
watchdog's audit: the gateway sees orders, and who has placed one it cannot see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeVar

from trade_core.bybit.client import BybitClient
from trade_core.errors import ExchangeAnswerInvalid
from trade_core.money import format_decimal
from trade_core.trust.baseline import Baseline, BaselineHolding, BaselineOrder, BaselinePosition, baseline_of
from trade_core.trust.ring import KeyRing, ring_hash
from trade_gateway.account.messages import OrderSeen
from trade_gateway.account.questions import ask_open_orders, ask_positions, ask_wallet
from trade_gateway.startup import verify_key
from trade_gateway.wire.intents import Category, Side
from trade_journal.log.rows import Fields

MAX_STRANGERS = 1_000
_ORDERS_A_ROW = 24  # 24 lines of at most 280 characters stay below what a row may hold
_AMOUNTS_A_ROW = 64
_Entry = TypeVar("_Entry")


async def read_baseline(client: BybitClient, *, account: str, categories: Iterable[Category]) -> Baseline:
    """Read what the account has.

    Raises KeyRefused, ExchangeUnavailable, ExchangeAnswerInvalid, and NotTrusted beyond the baseline's bounds.
    """
    tradable = await verify_key(client, account=account)
    wanted = sorted(tradable | set(categories), key=lambda category: category.value)
    # Orders first: what fills meanwhile is then in the holdings and positions.
    orders = [seen for category in wanted for seen in await ask_open_orders(client, category)]
    positions = await ask_positions(client) if Category.LINEAR in wanted else []
    wallet = await ask_wallet(client)
    if wallet.at_ms <= 0:
        raise ExchangeAnswerInvalid("the exchange did not say at what time it answered")
    return baseline_of(
        taken_at_ms=wallet.at_ms,
        orders=[_baseline_order(seen) for seen in orders],
        positions=[BaselinePosition(symbol=seen.symbol, size=seen.size) for seen in positions],
        holdings=[BaselineHolding(coin=coin, amount=amount) for coin, amount in wallet.coins.items()],
    )


def baseline_rows(ring: KeyRing) -> Iterator[Fields]:
    """The rows that say at the first start what was there before; the last one has `part` equal to `parts`."""
    baseline = ring.baseline
    pieces: list[Fields] = [
        *({"orders": [_line(order) for order in some]} for some in _cut(baseline.orders, _ORDERS_A_ROW)),
        *(
            {"positions": {held.symbol: format_decimal(held.size) for held in some}}
            for some in _cut(baseline.positions, _AMOUNTS_A_ROW)
        ),
        *(
            {"holdings": {held.coin: format_decimal(held.amount) for held in some}}
            for some in _cut(baseline.holdings, _AMOUNTS_A_ROW)
        ),
    ]
    parts = len(pieces) + 1
    totals: Fields = {
        "order_count": len(baseline.orders),
        "position_count": len(baseline.positions),
        "holding_count": len(baseline.holdings),
    }
    for number, piece in enumerate(chain(pieces, [totals]), start=1):
        yield {
            "ring_hash": ring_hash(ring),
            "taken_at_ms": baseline.taken_at_ms,
            "part": number,
            "parts": parts,
            **piece,
        }


class Strangers:
    """Working orders of others that add risk and that the baseline does not know, each told once."""

    def __init__(self, baseline: Baseline) -> None:
        self._known = {order.order_id for order in baseline.orders}
        self._room = MAX_STRANGERS

    def news(self, foreign: Iterable[OrderSeen]) -> list[OrderSeen]:
        """Return those that were not told before; a flood of them is told up to a bound."""
        new = []
        for seen in foreign:
            if self._room > 0 and seen.order_id not in self._known and adds_risk(seen):
                self._known.add(seen.order_id)
                self._room -= 1
                new.append(seen)
        return new


def adds_risk(seen: OrderSeen) -> bool:
    """Tell whether an order of others can add risk: anything but a spot sell and a reduce-only order."""
    if seen.category is Category.SPOT:
        return seen.side is Side.BUY
    return not seen.is_reducing


def stranger_fields(seen: OrderSeen) -> Fields:
    """The fields of the incident that tells of an order of others."""
    return {
        "type": "order of others that adds risk",
        "severity": "critical",
        "category": seen.category.value,
        "symbol": seen.symbol,
        "side": seen.side.value,
        "order_id": seen.order_id,
        "quantity": format_decimal(seen.quantity),
        "price": format_decimal(seen.price),
    }


def shown_baseline(baseline: Baseline) -> dict[str, int]:
    """What /state says of the baseline: when it was taken, and how much it names."""
    return {
        "taken_at_ms": baseline.taken_at_ms,
        "orders": len(baseline.orders),
        "positions": len(baseline.positions),
        "holdings": len(baseline.holdings),
    }


def _baseline_order(seen: OrderSeen) -> BaselineOrder:
    return BaselineOrder(
        category=seen.category.value,
        symbol=seen.symbol,
        order_id=seen.order_id,
        side=seen.side.value,
        quantity=seen.quantity,
        price=seen.price,
        is_reducing=seen.is_reducing,
    )


def _line(order: BaselineOrder) -> str:
    amounts = f"{format_decimal(order.quantity)} {format_decimal(order.price)}"
    reducing = " reduce-only" if order.is_reducing else ""
    return f"{order.category} {order.symbol} {order.side} {amounts} {order.order_id}{reducing}"


def _cut(entries: tuple[_Entry, ...], length: int) -> Iterator[tuple[_Entry, ...]]:
    for start in range(0, len(entries), length):
        yield entries[start : start + length]
