"""The demo's own policy: small orders on the three simulated symbols, spot and linear. Pure."""

from __future__ import annotations

from decimal import Decimal

from trade_core.money import format_decimal
from trade_demo.options import Mode

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
CATEGORIES = ("spot", "linear")
MAX_ORDER_NOTIONAL_USDT = Decimal(250)
MIN_ORDER_NOTIONAL_USDT = Decimal(5)
# The bot has one order a symbol; the rest is room for a client of the user's own.
MAX_OPEN_ORDERS = 20
LEVERAGE = 1
# Far below half the cap, so that the sample strategy may trade often within its turnover. On linear the smallest
# BTC order is 0.001, about 64 USDT at the simulated market's start.
STAKE_USDT = {Mode.SPOT: Decimal(40), Mode.FUTURES: Decimal(80)}


def demo_policy() -> str:
    """Return the policy as TOML."""
    tables = "\n".join(
        f'[[symbols]]\ncategory = "{category}"\nsymbol = "{symbol}"\n' for category in CATEGORIES for symbol in SYMBOLS
    )
    return (
        "# The demo's limits. Every key is required and none can be switched off.\n"
        f'max_order_notional_usdt = "{format_decimal(MAX_ORDER_NOTIONAL_USDT)}"\n'
        f'min_order_notional_usdt = "{format_decimal(MIN_ORDER_NOTIONAL_USDT)}"\n'
        f"max_open_orders = {MAX_OPEN_ORDERS}\n"
        "# Linear contracts only; freqtrade's strategy must ask for this one.\n"
        f"leverage = {LEVERAGE}\n\n"
        f"{tables}"
    )
