"""The limits on the limits: for every key of the policy file the range that it may lie in, and why.

A typing mistake by a factor of ten should meet one of these. None of them can be changed by a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

MAX_POLICY_BYTES = 64 * 1024
MAX_SYMBOLS = 50
"""Each symbol is one more instrument, position and reference to watch; a swing bot trades a handful."""
LOWEST_ORDER_NOTIONAL_USDT = Decimal(1)
"""Below this an order is dust that only burns the exchange's request limits."""
HIGHEST_ORDER_NOTIONAL_USDT = Decimal(100_000)
"""An order above this belongs to no account that this product is for."""
LOWEST_CAPITAL_USDT = Decimal(10)
"""Less cannot hold one order of the exchange's minimum beside fees."""
HIGHEST_CAPITAL_USDT = Decimal(1_000_000)
"""More than this behind one gateway is another product: growth is more gateways, each with its own sub-account."""
LOWEST_QUANTITY = Decimal("0.000000000001")
HIGHEST_QUANTITY = Decimal(100_000_000_000)
"""The range of the number grammar; what a coin is worth decides the rest, and the notional limits do that."""
LOWEST_MULTIPLE = Decimal("0.01")
HIGHEST_GROSS_EXPOSURE = Decimal(3)
"""At three times equity a gap of 6 % is the last rung; nothing that starts on P8's terms comes near."""
HIGHEST_TURNOVER = Decimal(20)
"""At the smallest collar and no fee, twenty rounds a day still cost 0.4 % of equity."""
LOWEST_COLLAR = Decimal("0.0001")
"""One basis point: less than the spread of any book, so that nothing would pass."""
HIGHEST_COLLAR = Decimal("0.02")
"""Two per cent a fill, times any turnover at all, is beyond the daily rung."""
LOWEST_EXIT_COLLAR = Decimal("0.001")
"""Exits are measured against old references too; a narrower collar would trap them."""
HIGHEST_EXIT_COLLAR = Decimal("0.05")
LOWEST_FAT_FINGER = Decimal("0.01")
HIGHEST_FAT_FINGER = Decimal("0.5")
"""A slip of the decimal point is a factor of ten; half the price catches it with room."""
HIGHEST_REFERENCE_AGE_S = 30
"""A price older than this says nothing about a coin that moves a per cent a minute."""
LOWEST_DIVERGENCE = Decimal("0.0005")
"""Honest venues differ by some basis points all day."""
HIGHEST_DIVERGENCE = Decimal("0.05")
HIGHEST_MESSAGES_PER_S = 50
"""The exchange bans an address for ten minutes at 120 requests a second, of reads and cancels too."""
HIGHEST_REPEATED_EXECUTION_LIMIT = 1_000
HIGHEST_REPEATED_EXECUTION_WINDOW_S = 24 * 3600
HIGHEST_DUPLICATE_WINDOW_S = 600
"""A client that repeats a late answer does so within minutes; longer only denies honest orders."""
HIGHEST_OPEN_ORDERS = 100
"""Far below the 500 up to which the exchange cancels everything at once."""
LOAD_TEST_OPEN_ORDERS = 500
"""In a load test orders end as fast as the stream can tell; so many may be on their way at once."""
HIGHEST_LEVERAGE = 10
LOWEST_TIME_TO_LIVE_S = 60
"""Twice the time after which freqtrade, as configured by `freqtrade-config`, gives an order up itself."""
HIGHEST_TIME_TO_LIVE_S = 7 * 24 * 3600
"""An order that outlives a week is one that nobody remembers."""
LOWEST_STOP_SLIPPAGE = Decimal("0.001")
HIGHEST_STOP_SLIPPAGE = Decimal("0.1")
LOWEST_DISASTER_STOP = Decimal("0.02")
"""Nearer than this, ordinary days would trigger a stop that takes at any price."""
HIGHEST_DISASTER_STOP = Decimal("0.5")
LOWEST_STRESS_GAP = Decimal("0.05")
"""Coins have fallen by this much within minutes many times; a smaller gap would be a wish."""
HIGHEST_STRESS_GAP = Decimal("0.9")
LOWEST_FUNDING_CAP = Decimal("0.001")
"""A day of funding at 0.03 % every eight hours."""
HIGHEST_FUNDING_CAP = Decimal("0.1")
LOWEST_FEE = Decimal("0.0001")
"""No retail account pays less for taking; the bound must not be computed with a rebate."""
HIGHEST_FEE = Decimal("0.01")

MONEY: Mapping[str, tuple[Decimal, Decimal]] = {
    "allocated_capital_usdt": (LOWEST_CAPITAL_USDT, HIGHEST_CAPITAL_USDT),
    "max_order_notional_usdt": (LOWEST_ORDER_NOTIONAL_USDT, HIGHEST_ORDER_NOTIONAL_USDT),
    "min_order_notional_usdt": (LOWEST_ORDER_NOTIONAL_USDT, HIGHEST_ORDER_NOTIONAL_USDT),
}
MULTIPLES: Mapping[str, tuple[Decimal, Decimal]] = {
    "max_gross_exposure": (LOWEST_MULTIPLE, HIGHEST_GROSS_EXPOSURE),
    "turnover_budget_24h": (LOWEST_MULTIPLE, HIGHEST_TURNOVER),
}
FRACTIONS: Mapping[str, tuple[Decimal, Decimal]] = {
    "collar": (LOWEST_COLLAR, HIGHEST_COLLAR),
    "fat_finger": (LOWEST_FAT_FINGER, HIGHEST_FAT_FINGER),
    "exit_collar": (LOWEST_EXIT_COLLAR, HIGHEST_EXIT_COLLAR),
    "reference_max_divergence": (LOWEST_DIVERGENCE, HIGHEST_DIVERGENCE),
    "stop_slippage": (LOWEST_STOP_SLIPPAGE, HIGHEST_STOP_SLIPPAGE),
    "stress_gap": (LOWEST_STRESS_GAP, HIGHEST_STRESS_GAP),
    "funding_cap": (LOWEST_FUNDING_CAP, HIGHEST_FUNDING_CAP),
    "highest_fee": (LOWEST_FEE, HIGHEST_FEE),
}
COUNTS: Mapping[str, tuple[int, int]] = {
    "reference_max_age_s": (1, HIGHEST_REFERENCE_AGE_S),
    "messages_per_s_deny": (1, HIGHEST_MESSAGES_PER_S),
    "messages_per_s_terminate": (2, HIGHEST_MESSAGES_PER_S),
    "repeated_execution_limit": (2, HIGHEST_REPEATED_EXECUTION_LIMIT),
    "repeated_execution_window_s": (1, HIGHEST_REPEATED_EXECUTION_WINDOW_S),
    "duplicate_window_s": (1, HIGHEST_DUPLICATE_WINDOW_S),
    "max_open_orders": (1, HIGHEST_OPEN_ORDERS),
    "leverage": (1, HIGHEST_LEVERAGE),
    "order_time_to_live_s": (LOWEST_TIME_TO_LIVE_S, HIGHEST_TIME_TO_LIVE_S),
}


def counts_at(orders_per_s: int) -> Mapping[str, tuple[int, int]]:
    """Return COUNTS; for a pace that only a load test has, with room for its messages and open orders."""
    if orders_per_s <= HIGHEST_MESSAGES_PER_S:
        return COUNTS
    messages = {"messages_per_s_deny": (1, orders_per_s), "messages_per_s_terminate": (2, orders_per_s)}
    return {**COUNTS, **messages, "max_open_orders": (1, LOAD_TEST_OPEN_ORDERS)}


SYMBOL_AMOUNTS: Mapping[str, tuple[Decimal, Decimal]] = {
    "max_order_quantity": (LOWEST_QUANTITY, HIGHEST_QUANTITY),
    "max_notional_usdt": (LOWEST_ORDER_NOTIONAL_USDT, HIGHEST_CAPITAL_USDT * HIGHEST_GROSS_EXPOSURE),
}
DISASTER_STOP: tuple[Decimal, Decimal] = (LOWEST_DISASTER_STOP, HIGHEST_DISASTER_STOP)
