"""Policies drawn within their bounds, and the worlds that they are tried in. Every draw is a policy that parses."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal

from trade_core.money import format_decimal

PRICES = {"BTCUSDT": Decimal(64000), "ETHUSDT": Decimal(3200), "XRPUSDT": Decimal("2.2")}
SPOT = tuple(("spot", symbol) for symbol in PRICES)
LINEAR = tuple(("linear", symbol) for symbol in PRICES)
FINE = (("spot", "ETHUSDT"), ("spot", "XRPUSDT"), ("spot", "BTCUSDT"), ("linear", "XRPUSDT"))
"""Symbols whose smallest step is small beside an order."""
SPOT_FEE = Decimal("0.001")
LINEAR_FEE = Decimal("0.0002")
TAKER_FEE = Decimal("0.00055")
_BASE: Mapping[str, Decimal | int | str] = {
    "min_order_notional_usdt": Decimal(5),
    "fat_finger": Decimal("0.2"),
    "reference_max_age_s": 5,
    "reference_max_divergence": Decimal("0.005"),
    "messages_per_s_deny": 49,
    "messages_per_s_terminate": 50,
    "repeated_execution_limit": 1000,
    "repeated_execution_window_s": 1,
    "duplicate_window_s": 1,
    "max_open_orders": 50,
    "order_time_to_live_s": 300,
    "protective_stops": "deny",
    "stop_slippage": Decimal("0.01"),
    "stress_gap": Decimal("0.15"),
    "funding_cap": Decimal("0.01"),
}


def policy_text(*, symbols: Sequence[tuple[str, str]], symbol_notional: Decimal, **values: Decimal | int | str) -> str:
    """Write a policy file; what is not given stands wide enough not to be in the bot's way."""
    content = {**_BASE, **values}
    lines = [f"{key} = {_shown(value)}" for key, value in content.items()]
    for category, symbol in symbols:
        lines += [
            "[[symbols]]",
            f'category = "{category}"',
            f'symbol = "{symbol}"',
            'max_order_quantity = "100000000"',
            f'max_notional_usdt = "{_number(symbol_notional)}"',
        ]
    return "\n".join(lines)


def draw_policy(draw: random.Random, *, symbols: Sequence[tuple[str, str]] | None = None) -> str:
    """Draw a policy; without symbols given, those too."""
    if symbols is None:
        symbols = draw.sample(SPOT + LINEAR, draw.randint(1, 4))
    capital = Decimal(draw.choice([500, 1000, 4000, 4000, 20_000, 100_000]))
    exposure = _between(draw, "0.2", "3", 2)
    turnover = _between(draw, "0.3", "6", 2)
    # Orders as small as a twentieth of the turnover: a run stays within some dozens of them.
    highest = min(turnover, exposure) * capital
    order = max(Decimal(10), _cents(highest * _between(draw, "0.05", "1", 2)))
    order = min(order, _cents(highest), Decimal(100_000))
    symbol_notional = _cents(order + (exposure * capital - order) * _between(draw, "0", "1", 2))
    collar = _between(draw, "0.0002", "0.02", 4)
    exit_collar = max(collar, Decimal("0.001"), _between(draw, "0.001", "0.05", 4))
    has_spot = any(category == "spot" for category, _ in symbols)
    lowest_fee = SPOT_FEE if has_spot else LINEAR_FEE
    return policy_text(
        symbols=symbols,
        symbol_notional=symbol_notional,
        allocated_capital_usdt=capital,
        max_gross_exposure=exposure,
        turnover_budget_24h=turnover,
        max_order_notional_usdt=order,
        collar=collar,
        exit_collar=exit_collar,
        fat_finger=max(Decimal("0.2"), exit_collar * 2),
        highest_fee=draw.choice([lowest_fee, lowest_fee, Decimal("0.0015")]),
        leverage=draw.choice([max(1, int(exposure) + (exposure % 1 > 0)), 4, 10]),
        max_open_orders=draw.choice([2, 5, 50, 100]),
        reference_max_age_s=draw.choice([2, 5, 30]),
        duplicate_window_s=draw.choice([1, 10, 60]),
        order_time_to_live_s=draw.choice([60, 300]),
        repeated_execution_limit=draw.choice([5, 1000, 1000, 1000]),
        repeated_execution_window_s=draw.choice([1, 60]),
    )


def stop_policy(draw: random.Random, *, symbols: Sequence[tuple[str, str]]) -> str:
    """Draw a policy that permits protective stops."""
    capital = Decimal(4000)
    exposure = Decimal(draw.choice(["0.5", "1", "2"]))
    turnover = Decimal(draw.choice(["0.5", "1.5", "3"]))
    return policy_text(
        symbols=symbols,
        symbol_notional=exposure * capital,
        allocated_capital_usdt=capital,
        max_gross_exposure=exposure,
        turnover_budget_24h=turnover,
        max_order_notional_usdt=min(turnover, exposure) * capital,
        collar=Decimal(draw.choice(["0.0005", "0.003"])),
        exit_collar=Decimal("0.004"),
        highest_fee=TAKER_FEE,
        leverage=10,
        protective_stops="reduce_only",
        stop_slippage=Decimal(draw.choice(["0.004", "0.01", "0.03"])),
    )


def sharp_policy(draw: random.Random, *, symbols: Sequence[tuple[str, str]]) -> str:
    """Draw a policy that leaves nothing between the bot and the bound but the bound itself: exact fee, few orders."""
    has_spot = any(category == "spot" for category, _ in symbols)
    capital = Decimal(draw.choice([4000, 20_000]))
    exposure = Decimal(draw.choice(["0.5", "1", "2"]))
    turnover = Decimal(draw.choice(["0.5", "1.5", "3"]))
    collar = Decimal(draw.choice(["0.0005", "0.003", "0.01"]))
    exit_collar = max(collar, Decimal(draw.choice(["0.004", "0.02", "0.05"])))
    return policy_text(
        symbols=symbols,
        symbol_notional=exposure * capital,
        allocated_capital_usdt=capital,
        max_gross_exposure=exposure,
        turnover_budget_24h=turnover,
        max_order_notional_usdt=min(turnover, exposure) * capital,
        collar=collar,
        exit_collar=exit_collar,
        highest_fee=SPOT_FEE if has_spot else LINEAR_FEE,
        leverage=10,
    )


def _between(draw: random.Random, low: str, high: str, places: int) -> Decimal:
    unit = Decimal(1).scaleb(-places)
    least, most = int(Decimal(low) / unit), int(Decimal(high) / unit)
    return draw.randint(least, most) * unit


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), rounding="ROUND_FLOOR")


def _number(value: Decimal) -> str:
    return format_decimal(value)


def _shown(value: Decimal | int | str) -> str:
    if isinstance(value, Decimal):
        return f'"{_number(value)}"'
    return f'"{value}"' if isinstance(value, str) else str(value)
