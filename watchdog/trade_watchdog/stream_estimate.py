"""What the streams' prices say of the equity between two readings. Pure: the last reading and prices in, a price out.

Guarantees
- It is a reason to look, and no sample: the ladder never sees it. What it leaves out (fills since the reading, spot
  prices beside the index, positions that are not known yet) the next reading has.
- A price that was not told when the reading was made moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from trade_watchdog.ladder import RungReading, Stage

NEAR: Final = Decimal("0.002")
"""So much before a rung a look is due: the exchange values coins by other prices than those that the stream tells."""
QUOTE: Final = "USDT"
_EXACT: Final = Context(prec=64)
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the stream last told of one contract: its mark price and its index, None for what it did not tell."""

    mark: Decimal | None = None
    index: Decimal | None = None


_NOTHING: Final = Told()


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The last believed reading, and what the streams had told by then. `amounts` are coins with their results."""

    equity_usdt: Decimal
    unit_price: Decimal
    amounts: Mapping[str, Decimal]
    told: Mapping[str, Told]


def symbols_of(coins: Iterable[str], positions: Iterable[str]) -> frozenset[str]:
    """Name the contracts whose prices move the account: those of its coins, and those of its positions."""
    return frozenset({f"{coin}{QUOTE}" for coin in coins if coin != QUOTE} | set(positions))


def estimated_price(anchor: Anchor, *, sizes: Mapping[str, Decimal], told: Mapping[str, Told]) -> Decimal:
    """Say what a unit is worth if nothing but these prices has changed. `sizes` are signed, by linear contract."""
    moved = _ZERO
    for coin, amount in anchor.amounts.items():
        symbol = f"{coin}{QUOTE}"
        moved += amount * _step(anchor.told.get(symbol, _NOTHING).index, told.get(symbol, _NOTHING).index)
    for symbol, size in sizes.items():
        moved += size * _step(anchor.told.get(symbol, _NOTHING).mark, told.get(symbol, _NOTHING).mark)
    return _EXACT.multiply(anchor.unit_price, _EXACT.divide(anchor.equity_usdt + moved, anchor.equity_usdt))


def _step(before: Decimal | None, now: Decimal | None) -> Decimal:
    return _ZERO if before is None or now is None else now - before


def rung_reached(price: Decimal, readings: Iterable[RungReading], *, margin: Decimal = _ZERO) -> str:
    """Name the first armed rung that this price is at or beyond, or nearer to than `margin`; "" for none."""
    for reading in readings:
        if reading.stage is not Stage.ARMED or reading.peak is None:
            continue
        if price <= reading.peak * (1 - reading.fraction + margin):
            return reading.rung.value
    return ""
