"""Proposes a whole policy from few answers: capital, symbols with a price each, style, whether stops are permitted.

Pure. The styles are those of the policy guide. What each lets a hostile bot lose, and what one market gap costs, is
computed from the very policy that is proposed, so that whoever chooses sees what he chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import Enum, unique
from typing import Final

from trade_core.errors import ConfigurationError
from trade_core.money import format_decimal
from trade_gateway.policy.hostile_loss import HostileLoss, StressLoss, check_start, hostile_loss, stress_loss
from trade_gateway.policy.limits import parse_policy
from trade_gateway.policy.model import Policy, ProtectiveStops, SymbolKey

ORDERS_IN_CAPITAL: Final = 16
"""One order is at most a sixteenth of the capital, one symbol a quarter: four orders of it."""
ORDERS_IN_SYMBOL: Final = 4
MIN_ORDER_NOTIONAL_USDT: Final = Decimal(5)
_QUANTITY_DIGITS: Final = 3
_QUANTITY_MARGIN: Final = 2  # the notional limits bite first; this one catches a slipped decimal point


@unique
class Style(Enum):
    """How much is risked; the value is what a person types."""

    CALM = "calm"
    HALF = "half"
    USUAL = "usual"
    BUSY = "busy"
    LIQUID = "liquid"


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleLimits:
    """What a style sets, and its words."""

    words: str
    turnover: str
    exposure: str
    collar: str = "0.003"
    exit_collar: str = "0.004"


STYLES: Final[Mapping[Style, StyleLimits]] = {
    Style.CALM: StyleLimits(
        words="half the capital exposed, half of it turned over a day", turnover="0.5", exposure="0.5"
    ),
    Style.HALF: StyleLimits(words="half the capital exposed, turned over three times", turnover="1.5", exposure="0.5"),
    Style.USUAL: StyleLimits(
        words="all the capital exposed, turned over one and a half times", turnover="1.5", exposure="1"
    ),
    Style.BUSY: StyleLimits(
        words="four fifths exposed, the capital turned over four times", turnover="4", exposure="0.8"
    ),
    Style.LIQUID: StyleLimits(
        words="as usual, with narrow collars: the most liquid coins only",
        turnover="1.5",
        exposure="1",
        collar="0.001",
        exit_collar="0.002",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person answered. `prices` are USDT a coin, by category and symbol."""

    capital_usdt: Decimal
    prices: Mapping[SymbolKey, Decimal]
    style: Style
    stops: ProtectiveStops


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A policy file's text, what it says, and what it implies at the capital."""

    text: str
    policy: Policy
    hostile: HostileLoss
    stress: StressLoss


def propose(wishes: Wishes) -> Proposal:
    """Make a policy that starts. Raises ConfigurationError when a limit or a loss is out of bounds."""
    text = _text(wishes)
    policy = parse_policy(text.encode())
    refusal = check_start(policy, equity_usdt=policy.allocated_capital_usdt)
    if refusal is not None:
        raise ConfigurationError(refusal)
    equity = policy.allocated_capital_usdt
    return Proposal(
        text=text,
        policy=policy,
        hostile=hostile_loss(policy, equity_usdt=equity),
        stress=stress_loss(policy, equity_usdt=equity),
    )


def implied(proposal: Proposal) -> str:
    """Say in one line what a policy implies."""
    return (
        f"a hostile bot can lose {proposal.hostile.usdt:.2f} USDT a day ({proposal.hostile.fraction:.2%}), "
        f"one market gap {proposal.stress.usdt:.2f} USDT ({proposal.stress.fraction:.2%})"
    )


def _text(wishes: Wishes) -> str:
    limits = STYLES[wishes.style]
    order = _floor(wishes.capital_usdt / ORDERS_IN_CAPITAL)
    symbol = order * ORDERS_IN_SYMBOL
    tables = "".join(
        f'\n[[symbols]]\ncategory = "{category.value}"\nsymbol = "{name}"\n'
        f'max_order_quantity = "{_quantity(order, price)}"\n'
        f'max_notional_usdt = "{format_decimal(symbol)}"\n'
        for (category, name), price in sorted(wishes.prices.items(), key=lambda item: (item[0][0].value, item[0][1]))
    )
    return (
        f"# Proposed by `trade-gateway init` ({wishes.style.value}: {limits.words}).\n"
        "# Every key is required and none can be switched off. What loosens anything takes a warrant from now on.\n"
        f'allocated_capital_usdt = "{format_decimal(wishes.capital_usdt)}"\n'
        f'max_order_notional_usdt = "{format_decimal(order)}"\n'
        f'min_order_notional_usdt = "{format_decimal(min(MIN_ORDER_NOTIONAL_USDT, order))}"\n'
        f'max_gross_exposure = "{limits.exposure}"\n'
        f'turnover_budget_24h = "{limits.turnover}"\n'
        f'collar = "{limits.collar}"\n'
        f'exit_collar = "{limits.exit_collar}"\n'
        'fat_finger = "0.2"\n'
        "reference_max_age_s = 5\n"
        'reference_max_divergence = "0.005"\n'
        "messages_per_s_deny = 10\n"
        "messages_per_s_terminate = 25\n"
        "repeated_execution_limit = 10\n"
        "repeated_execution_window_s = 60\n"
        "duplicate_window_s = 10\n"
        "max_open_orders = 6\n"
        "leverage = 1\n"
        "order_time_to_live_s = 300\n"
        f'protective_stops = "{wishes.stops.value}"\n'
        f'stop_slippage = "{limits.exit_collar}"\n'
        'stress_gap = "0.15"\n'
        'funding_cap = "0.01"\n'
        'highest_fee = "0.001"\n'
        f"{tables}"
    )


def _floor(amount: Decimal) -> Decimal:
    """Round down to whole USDT, or to cents below ten."""
    step = Decimal(1) if amount >= 10 else Decimal("0.01")
    return amount.quantize(step, ROUND_FLOOR)


def _quantity(order_usdt: Decimal, price: Decimal) -> str:
    """Return twice the order's worth in coins, rounded up to three digits."""
    exact = order_usdt * _QUANTITY_MARGIN / price
    step = Decimal(1).scaleb(exact.adjusted() - _QUANTITY_DIGITS + 1)
    return format_decimal(exact.quantize(step, ROUND_CEILING))
