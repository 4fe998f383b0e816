"""The policy as the rest of the gateway sees it: plain, frozen, already checked by `limits`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from trade_gateway.policy.exact import ZERO
from trade_gateway.wire.intents import Category

SymbolKey = tuple[Category, str]


class ProtectiveStops(Enum):
    """What happens to a stop order that the bot sends for a linear position."""

    DENY = "deny"
    REDUCE_ONLY = "reduce_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolLimits:
    """Limits of one symbol. The notional bounds its worst case exposure: position or holdings, and working orders."""

    max_order_quantity: Decimal
    max_notional_usdt: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits of one gateway.

    Money is in USDT. Fractions are of a price (collars, divergence, gap, slippage, disaster stop) or of a notional
    (fee, funding). `max_gross_exposure` and `turnover_budget_24h` are multiples of min(equity, allocated capital).
    Iterating over `symbols` yields (category, symbol).
    """

    allocated_capital_usdt: Decimal
    symbols: Mapping[SymbolKey, SymbolLimits]
    max_order_notional_usdt: Decimal
    min_order_notional_usdt: Decimal
    max_gross_exposure: Decimal
    turnover_budget_24h: Decimal
    collar: Decimal
    fat_finger: Decimal
    exit_collar: Decimal
    reference_max_age_s: int
    reference_max_divergence: Decimal
    messages_per_s_deny: int
    messages_per_s_terminate: int
    repeated_execution_limit: int
    repeated_execution_window_s: int
    duplicate_window_s: int
    max_open_orders: int
    leverage: int
    order_time_to_live_s: int
    protective_stops: ProtectiveStops
    stop_slippage: Decimal
    disaster_stop_fraction: Decimal | None
    stress_gap: Decimal
    funding_cap: Decimal
    highest_fee: Decimal

    def permits(self, category: Category, symbol: str) -> bool:
        """Tell whether a symbol may be traded in a category."""
        return (category, symbol) in self.symbols

    def base_usdt(self, equity_usdt: Decimal) -> Decimal:
        """Return what the multiples apply to: the smaller of equity and allocated capital, never below zero."""
        base = equity_usdt if equity_usdt < self.allocated_capital_usdt else self.allocated_capital_usdt
        return base if base > ZERO else ZERO


NOTHING_PERMITTED = Policy(
    allocated_capital_usdt=Decimal(0),
    symbols={},
    max_order_notional_usdt=Decimal(0),
    min_order_notional_usdt=Decimal(0),
    max_gross_exposure=Decimal(0),
    turnover_budget_24h=Decimal(0),
    collar=Decimal(0),
    fat_finger=Decimal(0),
    exit_collar=Decimal(0),
    reference_max_age_s=0,
    reference_max_divergence=Decimal(0),
    messages_per_s_deny=0,
    messages_per_s_terminate=1,
    repeated_execution_limit=1,
    repeated_execution_window_s=0,
    duplicate_window_s=0,
    max_open_orders=0,
    leverage=1,
    order_time_to_live_s=0,
    protective_stops=ProtectiveStops.DENY,
    stop_slippage=Decimal(0),
    disaster_stop_fraction=None,
    stress_gap=Decimal(0),
    funding_cap=Decimal(0),
    highest_fee=Decimal(0),
)
"""What stands in the place of a policy until the journal has told which one is in force: nothing passes it."""
