"""The demo's own policy: a whole one for 4,000 USDT, on the three simulated symbols, spot and linear. Pure.

A fully hostile bot loses at most 1.85 % of equity a day under it; see docs/policy-guide.md.
"""

from __future__ import annotations

from decimal import Decimal

from trade_core.money import format_decimal
from trade_demo.options import Mode

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
CATEGORIES = ("spot", "linear")
# The coin that falls in the crash scenario; the account holds it from the beginning, and no bot may trade it.
CRASH_COIN, CRASH_SYMBOL = "XRP", "XRPUSDT"
CRASH_AMOUNT = "4200"
# About 640 USDT of BTC and ETH, far fewer of XRP, at the simulated market's start; the notional limits bite first.
MAX_ORDER_QUANTITY = {"BTCUSDT": "0.01", "ETHUSDT": "0.3", "XRPUSDT": "1000"}
ALLOCATED_CAPITAL_USDT = Decimal(4000)
MAX_SYMBOL_NOTIONAL_USDT = Decimal(1000)
MAX_ORDER_NOTIONAL_USDT = Decimal(250)
MIN_ORDER_NOTIONAL_USDT = Decimal(5)
# The bot has one order a symbol; the rest is room for a client of the user's own.
MAX_OPEN_ORDERS = 20
LEVERAGE = 1
# Far below half the cap, so that the sample strategy may trade often within its turnover. On linear the smallest
# BTC order is 0.001, about 64 USDT at the simulated market's start.
STAKE_USDT = {Mode.SPOT: Decimal(40), Mode.FUTURES: Decimal(80)}


def demo_policy(*, without: str | None = None) -> str:
    """Return the policy as TOML, on all symbols but the one that it is to be without."""
    tables = "\n".join(
        f'[[symbols]]\ncategory = "{category}"\nsymbol = "{symbol}"\n'
        f'max_order_quantity = "{MAX_ORDER_QUANTITY[symbol]}"\n'
        f'max_notional_usdt = "{format_decimal(MAX_SYMBOL_NOTIONAL_USDT)}"\n'
        for category in CATEGORIES
        for symbol in SYMBOLS
        if symbol != without
    )
    return (
        "# The demo's limits. Every key is required and none can be switched off.\n"
        "# Multiples are of the smaller of equity and allocated capital.\n"
        f'allocated_capital_usdt = "{format_decimal(ALLOCATED_CAPITAL_USDT)}"\n'
        f'max_order_notional_usdt = "{format_decimal(MAX_ORDER_NOTIONAL_USDT)}"\n'
        f'min_order_notional_usdt = "{format_decimal(MIN_ORDER_NOTIONAL_USDT)}"\n'
        'max_gross_exposure = "1"\n'
        'turnover_budget_24h = "1.5"\n'
        "# Fractions of a price or notional.\n"
        'collar = "0.003"\n'
        'exit_collar = "0.004"\n'
        'fat_finger = "0.2"\n'
        "reference_max_age_s = 5\n"
        'reference_max_divergence = "0.005"\n'
        "messages_per_s_deny = 10\n"
        "messages_per_s_terminate = 25\n"
        "repeated_execution_limit = 30\n"
        "repeated_execution_window_s = 60\n"
        "duplicate_window_s = 10\n"
        f"max_open_orders = {MAX_OPEN_ORDERS}\n"
        "# Linear contracts only; freqtrade's strategy must ask for this one.\n"
        f"leverage = {LEVERAGE}\n"
        "order_time_to_live_s = 300\n"
        "# A triggered stop takes, and gives away no more than an exit may anyway.\n"
        'protective_stops = "reduce_only"\n'
        'stop_slippage = "0.004"\n'
        "# What one market gap at full exposure is taken to cost, and the fee in the hostile loss.\n"
        'stress_gap = "0.15"\n'
        'funding_cap = "0.01"\n'
        'highest_fee = "0.001"\n\n'
        f"{tables}"
    )
