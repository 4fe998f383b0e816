"""Do two venues agree on what the account's coins are worth? Pure: a reading and second prices in, a dispute out.

Guarantees
- A coin is in dispute when the second venue's price differs from the exchange's by more than PRICE_DIFFERENCE_MAX, and
  what it makes of the equity by more than EQUITY_DIFFERENCE_MAX of it. A coin exactly at a bound is in agreement.
- A coin without a second price is not judged, nor one that nobody holds.

What is in dispute proves nothing: whoever asks freezes new risk and lets no rung fire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from trade_watchdog.ceiling import EquitySample

PRICE_DIFFERENCE_MAX: Final = Decimal("0.03")
"""Venues part by less even in a crash, for longer than a reading takes; a rung is at 5 %."""
EQUITY_DIFFERENCE_MAX: Final = Decimal("0.01")
HELD_FRACTION_MIN: Final = Decimal("0.01")
QUOTE: Final = "USDT"
_EXACT: Final = Context(prec=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A coin and what each venue says that one of it is worth, in USDT."""

    coin: str
    price: Decimal
    second_price: Decimal


def held_coins(sample: EquitySample) -> frozenset[str]:
    """Name the coins that are at least HELD_FRACTION_MIN of the equity: those whose price matters."""
    least = HELD_FRACTION_MIN * sample.equity_usdt
    return frozenset(coin.coin for coin in sample.coins if coin.coin != QUOTE and abs(coin.value_usdt) >= least)


def find_dispute(sample: EquitySample, second: Mapping[str, Decimal]) -> Dispute | None:
    """Find the first coin that the two venues do not agree on. The sample's equity must be above zero."""
    for coin in sample.coins:
        second_price = second.get(coin.coin)
        if second_price is None or not coin.equity:
            continue
        price = _EXACT.divide(coin.value_usdt, coin.equity)
        difference = abs(second_price - price)
        is_wide = difference > PRICE_DIFFERENCE_MAX * min(price, second_price)
        if is_wide and difference * abs(coin.equity) > EQUITY_DIFFERENCE_MAX * sample.equity_usdt:
            return Dispute(coin=coin.coin, price=price, second_price=second_price)
    return None
