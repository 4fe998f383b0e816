"""What /state and the log say of the limits: each with its value and present use, and the two losses they imply."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from decimal import Decimal
from typing import Any

from trade_core.errors import ConfigurationError
from trade_core.money import format_decimal
from trade_gateway.policy.exposure import ValuedAccount, unpriced_coins
from trade_gateway.policy.facts import AccountFacts, MarketFacts
from trade_gateway.policy.hostile_loss import HostileLoss, StressLoss, check_start, hostile_loss, stress_loss
from trade_gateway.policy.model import Policy, SymbolKey

_CENT = Decimal("0.01")
_FRACTION = Decimal("0.0001")


def require_bounded_loss(policy: Policy) -> None:
    """Refuse a policy whose losses exceed the rungs. Raises ConfigurationError.

    At the allocated capital both losses are the greatest fraction of equity that they ever are: with more equity the
    limits stand still, with less they shrink with it.
    """
    refusal = check_start(policy, equity_usdt=policy.allocated_capital_usdt)
    if refusal is not None:
        raise ConfigurationError(refusal)


def losses(
    policy: Policy, *, equity_usdt: Decimal | None, held_usdt: Decimal = Decimal(0)
) -> tuple[HostileLoss, StressLoss]:
    """Compute both losses at the present equity; at the allocated capital while equity is not known or not positive."""
    equity = equity_usdt if equity_usdt is not None and equity_usdt > 0 else policy.allocated_capital_usdt
    return hostile_loss(policy, equity_usdt=equity, held_usdt=held_usdt), stress_loss(policy, equity_usdt=equity)


def held_usdt(
    policy: Policy, account: AccountFacts, market: MarketFacts, *, former: Set[SymbolKey] = frozenset()
) -> Decimal:
    """Return what all holdings and positions that the policy lets a bot sell or close are worth, as far as is known.

    `former` symbols are traded no more, but what is held of them may be sold too. What has no price is left out:
    nothing of it can be sold before there is one.
    """
    still = replace(account, working_buys={}, working_sells={})
    found = ValuedAccount(account=still, market=market)
    may_leave = policy.symbols.keys() | former
    return sum((value for key, value in found.by_symbol.items() if key in may_leave), Decimal(0))


def shown_loss(loss: HostileLoss | StressLoss) -> dict[str, str]:
    """Show a loss in USDT and as a fraction of equity."""
    return {"usdt": str(loss.usdt.quantize(_CENT)), "fraction": str(loss.fraction.quantize(_FRACTION))}


def limits_in_use(policy: Policy, account: AccountFacts, market: MarketFacts) -> dict[str, dict[str, Any]]:
    """Show the limits that fill up, each with its value and its use; null where it cannot be told."""
    found = ValuedAccount(account=account, market=market)
    base = None if account.equity_usdt is None else policy.base_usdt(account.equity_usdt)

    def entry(value: Decimal | int | None, use: Decimal | int | None) -> dict[str, Any]:
        return {"value": _shown(value), "use": _shown(use)}

    gross = None if unpriced_coins(found, known=policy.symbols.keys()) else found.gross
    return {
        "max_open_orders": entry(policy.max_open_orders, account.working_orders),
        "max_stops": entry(policy.max_open_orders, sum(account.working_stops.values())),
        "max_gross_exposure_usdt": entry(None if base is None else base * policy.max_gross_exposure, gross),
        "turnover_budget_24h_usdt": entry(
            None if base is None else base * policy.turnover_budget_24h, account.turnover_used_usdt
        ),
        "max_order_notional_usdt": entry(policy.max_order_notional_usdt, None),
        **{
            f"max_notional_usdt.{category.value}.{symbol}": entry(
                limits.max_notional_usdt, found.by_symbol.get((category, symbol), Decimal(0))
            )
            for (category, symbol), limits in policy.symbols.items()
        },
    }


def _shown(value: Decimal | int | None) -> str | None:
    if value is None:
        return None
    return str(value) if isinstance(value, int) else format_decimal(value.quantize(_CENT))
