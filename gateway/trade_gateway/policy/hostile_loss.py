"""Computes what a fully hostile bot can lose in 24 hours, and what one market gap can. Pure.

With E = min(equity, allocated capital), all of it beyond what the market does to exposure that was allowed:
    hostile loss = A x (collar + fee) + R x (exit + fee x (1 + exit))
        A    adding fills: the turnover budget x E
        R    reducing fills: A + what can be held at the window's start: the gross exposure limit x E, or what is
             held, when that is more (holdings from before the gateway, a deposit of a coin, a market that rose)
        exit the greatest of collar and exit_collar; of stop_slippage too when protective stops are permitted, since
             a triggered stop is sent with a limit price at most that far from its trigger
        fee  the highest fee, whoever takes. It is charged on the fill's own price, which for a buy that closes a short
             lies up to exit above the reference; what turnover and exposure count is at least the reference's value
    stress loss = gross exposure limit x E x (stress_gap + funding_cap)
Collars are measured against the reference at acceptance (of a stop: against its trigger price). A and R are values as
they were counted: when a coin rises after that, what a reducing fill gives away of the rise is what the market did to
exposure that was allowed. Fractions are of the whole equity, as the ladder counts.

Does not bound: what the market does; an exchange that fills otherwise than it says; a gateway that someone owns; the
optional disaster stop, which takes at any price and belongs to the market gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from trade_gateway.policy.model import Policy, ProtectiveStops

DAILY_RUNG = Decimal("0.05")
"""The ladder's first rung. A bot that can lose more in a day than what alerts a person is not bounded in any use."""
KILL_RUNG = Decimal("0.18")
"""The ladder's last rung: a hostile day and a market gap on top of one another must not reach the kill."""
_CONTEXT = Context(prec=72, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileLoss:
    """The most that a hostile bot loses in 24 hours, in USDT and as a fraction of equity."""

    usdt: Decimal
    fraction: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StressLoss:
    """The loss of one market gap at full exposure, in USDT and as a fraction of equity."""

    usdt: Decimal
    fraction: Decimal


def hostile_loss(policy: Policy, *, equity_usdt: Decimal, held_usdt: Decimal = Decimal(0)) -> HostileLoss:
    """Compute the hostile loss. `held_usdt` is what all holdings and positions of the policy's coins are worth now.

    Raises ValueError unless equity is above zero.
    """
    base = _base(policy, equity_usdt)
    with localcontext(_CONTEXT):
        adding = policy.turnover_budget_24h * base
        reducing = adding + max(policy.max_gross_exposure * base, held_usdt)
        exit_ = exit_fraction(policy)
        loss = adding * (policy.collar + policy.highest_fee) + reducing * (exit_ + policy.highest_fee * (1 + exit_))
        return HostileLoss(usdt=loss, fraction=loss / equity_usdt)


def stress_loss(policy: Policy, *, equity_usdt: Decimal) -> StressLoss:
    """Compute the stress loss. Raises ValueError unless equity is above zero."""
    multiple = policy.max_gross_exposure * (policy.stress_gap + policy.funding_cap)
    loss = _CONTEXT.multiply(_base(policy, equity_usdt), multiple)
    return StressLoss(usdt=loss, fraction=_CONTEXT.divide(loss, equity_usdt))


def exit_fraction(policy: Policy) -> Decimal:
    """Return the most that a reducing fill gives away, as a fraction of the price it is measured against."""
    widest = max(policy.collar, policy.exit_collar)
    return widest if policy.protective_stops is ProtectiveStops.DENY else max(widest, policy.stop_slippage)


def check_start(policy: Policy, *, equity_usdt: Decimal) -> str | None:
    """Return why the gateway must not start with this policy and equity, or None."""
    if not (equity_usdt.is_finite() and equity_usdt > 0):
        return f"equity is {equity_usdt}: the hostile loss of no equity cannot be stated"
    exceeded = rung_exceeded(
        hostile_loss(policy, equity_usdt=equity_usdt), stress_loss(policy, equity_usdt=equity_usdt)
    )
    if exceeded is None:
        return None
    return f"with this policy {exceeded}; lower turnover_budget_24h, max_gross_exposure or the collars"


def rung_exceeded(hostile: HostileLoss, stress: StressLoss) -> str | None:
    """Return which of the ladder's rungs the losses exceed, with both figures, or None."""
    if hostile.fraction > DAILY_RUNG:
        return (
            f"a hostile bot can lose {_percent(hostile.fraction)} of equity in a day, more than the daily rung of "
            f"{_percent(DAILY_RUNG)}"
        )
    both = hostile.fraction + stress.fraction
    if both > KILL_RUNG:
        return (
            f"hostile loss ({_percent(hostile.fraction)}) and stress loss ({_percent(stress.fraction)}) together are "
            f"{_percent(both)} of equity, more than the last rung of {_percent(KILL_RUNG)}"
        )
    return None


def _base(policy: Policy, equity_usdt: Decimal) -> Decimal:
    if not (equity_usdt.is_finite() and equity_usdt > 0):
        raise ValueError(f"equity must be above zero: {equity_usdt}")
    return policy.base_usdt(equity_usdt)


def _percent(fraction: Decimal) -> str:
    return f"{fraction * 100:.2f} %"
