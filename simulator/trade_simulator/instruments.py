"""The instruments that the simulated exchange lists, with their filters.

The values are those of the instruments-info pages of the Bybit V5 documentation and of public listings as
they stood in 2026; they are data of this simulator, not a promise about the venue.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Category(StrEnum):
    """The product types served."""

    SPOT = "spot"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One tradable symbol of one category. Prices are in quote coin, quantities in base coin."""

    category: Category
    symbol: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    tick_size: Decimal
    quantity_step: Decimal
    min_price: Decimal
    max_price: Decimal
    min_quantity: Decimal
    max_limit_quantity: Decimal
    max_market_quantity: Decimal
    max_post_only_quantity: Decimal
    min_notional: Decimal
    quote_precision: Decimal
    price_limit_fraction: Decimal
    maker_fee_rate: Decimal
    taker_fee_rate: Decimal
    price_scale: int
    symbol_id: int
    launched_at_ms: int
    # Linear only; spot carries zeros.
    min_leverage: Decimal = Decimal(0)
    max_leverage: Decimal = Decimal(0)
    leverage_step: Decimal = Decimal(0)
    risk_limit_value: Decimal = Decimal(0)
    maintenance_margin_rate: Decimal = Decimal(0)
    funding_interval_min: int = 0
    max_funding_rate: Decimal = Decimal(0)
    # What the market starts at.
    start_price: Decimal

    @property
    def key(self) -> tuple[Category, str]:
        """Return what the exchange files this instrument under."""
        return self.category, self.symbol

    def nearest_price(self, price: Decimal) -> Decimal:
        """Return a price rounded to whole ticks."""
        return (price / self.tick_size).to_integral_value() * self.tick_size


def _spot(
    symbol: str,
    base_coin: str,
    *,
    symbol_id: int,
    tick: str,
    step: str,
    scale: int,
    max_limit: str,
    max_market: str,
    start: str,
) -> Instrument:
    return Instrument(
        category=Category.SPOT,
        symbol=symbol,
        base_coin=base_coin,
        quote_coin="USDT",
        settle_coin="",
        tick_size=Decimal(tick),
        quantity_step=Decimal(step),
        min_price=Decimal(tick),
        max_price=Decimal("1999999.8"),
        min_quantity=Decimal(step),
        max_limit_quantity=Decimal(max_limit),
        max_market_quantity=Decimal(max_market),
        max_post_only_quantity=Decimal(max_limit) * 5,
        min_notional=Decimal(5),
        quote_precision=Decimal("0.0000001"),
        price_limit_fraction=Decimal("0.03"),
        maker_fee_rate=Decimal("0.001"),
        taker_fee_rate=Decimal("0.001"),
        price_scale=scale,
        symbol_id=symbol_id,
        launched_at_ms=1625097600000,
        start_price=Decimal(start),
    )


def _linear(
    symbol: str,
    base_coin: str,
    *,
    symbol_id: int,
    tick: str,
    step: str,
    scale: int,
    max_limit: str,
    max_market: str,
    max_leverage: str,
    risk_limit: str,
    start: str,
) -> Instrument:
    return Instrument(
        category=Category.LINEAR,
        symbol=symbol,
        base_coin=base_coin,
        quote_coin="USDT",
        settle_coin="USDT",
        tick_size=Decimal(tick),
        quantity_step=Decimal(step),
        min_price=Decimal(tick),
        max_price=Decimal("1999999.8"),
        min_quantity=Decimal(step),
        max_limit_quantity=Decimal(max_limit),
        max_market_quantity=Decimal(max_market),
        max_post_only_quantity=Decimal(max_limit),
        min_notional=Decimal(5),
        quote_precision=Decimal("0.0001"),
        price_limit_fraction=Decimal("0.05"),
        maker_fee_rate=Decimal("0.0002"),
        taker_fee_rate=Decimal("0.00055"),
        price_scale=scale,
        symbol_id=symbol_id,
        launched_at_ms=1585526400000,
        min_leverage=Decimal(1),
        max_leverage=Decimal(max_leverage),
        leverage_step=Decimal("0.01"),
        risk_limit_value=Decimal(risk_limit),
        maintenance_margin_rate=Decimal("0.005"),
        funding_interval_min=480,
        max_funding_rate=Decimal("0.005"),
        start_price=Decimal(start),
    )


PRICE_MAX: Final = Decimal(1_999_999)
"""The highest price that an instrument lists, in whole USDT."""


def symbol_tick_size(instruments: Iterable[Instrument], symbol: str) -> Decimal:
    """Return the step of a symbol's price: the finest of its spot and its linear instrument."""
    return min(one.tick_size for one in instruments if one.symbol == symbol)


DEFAULT_INSTRUMENTS: Sequence[Instrument] = (
    _spot("BTCUSDT", "BTC", symbol_id=1, tick="0.1", step="0.000001", scale=1,
          max_limit="83", max_market="41.5", start="64000"),
    _spot("ETHUSDT", "ETH", symbol_id=2, tick="0.01", step="0.00001", scale=2,
          max_limit="1200", max_market="600", start="3200"),
    _spot("XRPUSDT", "XRP", symbol_id=3, tick="0.0001", step="0.01", scale=4,
          max_limit="2000000", max_market="1000000", start="2.2"),
    _linear("BTCUSDT", "BTC", symbol_id=5, tick="0.10", step="0.001", scale=2,
            max_limit="1190", max_market="500", max_leverage="100", risk_limit="2000000", start="64000"),
    _linear("ETHUSDT", "ETH", symbol_id=6, tick="0.01", step="0.01", scale=2,
            max_limit="7240", max_market="724", max_leverage="100", risk_limit="1500000", start="3200"),
    _linear("XRPUSDT", "XRP", symbol_id=7, tick="0.0001", step="0.1", scale=4,
            max_limit="3500000", max_market="1000000", max_leverage="75", risk_limit="500000", start="2.2"),
)  # fmt: skip

SPOT_ONLY_INSTRUMENTS: Sequence[Instrument] = (
    _spot("METHUSDT", "METH", symbol_id=8, tick="0.01", step="0.00001", scale=2,
          max_limit="1200", max_market="600", start="3400"),
)  # fmt: skip
"""A coin without a linear contract, and so without an index; listed on demand."""
