"""The proof is not vacuous: with one part of the gateway, or of the formula, broken, a bot loses more than the bound.

Each case names what is broken, the attack that finds it, and seeds that are known to; unbroken, the same runs stay
within.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from hostile.measure import measure
from hostile.oracle import Window
from hostile.policies import FINE, SPOT_FEE, TAKER_FEE, policy_text
from hostile.strategies import (
    Attack,
    Strategy,
    beyond,
    first_moment,
    flood,
    forgotten,
    leaping_clock,
    old_order,
    patient,
    restarts,
    wash_only,
    window_edge,
)
from hostile.strategies import stops as stop_out
from hostile.world import Setting, World

from trade_gateway import recovery
from trade_gateway.account.activity import Activity
from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.reference_feed import ReferenceFeed
from trade_gateway.account.reference_memory import ReferenceMemory
from trade_gateway.policy import collar, decision, turnover
from trade_gateway.policy import stops as policy_stops
from trade_gateway.policy.hostile_loss import hostile_loss
from trade_gateway.policy.verdicts import Deny

CAPITAL = Decimal(4000)
Breaking = Callable[[pytest.MonkeyPatch], None]


def setting(*symbols: tuple[str, str], holdings: tuple[tuple[str, Decimal], ...] = (), **values: Any) -> Setting:
    """One world under a policy in which nothing but the bound is in the bot's way."""
    numbers: dict[str, Any] = {
        "allocated_capital_usdt": CAPITAL,
        "max_gross_exposure": Decimal(1),
        "turnover_budget_24h": Decimal("1.5"),
        "max_order_notional_usdt": Decimal(1000),
        "collar": Decimal("0.003"),
        "exit_collar": Decimal("0.004"),
        "highest_fee": SPOT_FEE,
        "leverage": 10,
    }
    policy = policy_text(symbols=symbols, symbol_notional=CAPITAL, **{**numbers, **values})
    return Setting(policy=policy, equity_usdt=CAPITAL * 3, holdings=holdings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fixed(Strategy):
    """An attack in one world; the seed draws the attack only."""

    world: Setting

    def setting(self, seed: int) -> Setting:
        return replace(self.world, seed=seed)


def fixed(attack: Attack, *symbols: tuple[str, str], **options: Any) -> _Fixed:
    return _Fixed(attack=attack, world=setting(*symbols, **options))


def passes(*_: Any) -> Deny | None:
    return None


def without(check: str) -> Breaking:
    return lambda patch: patch.setattr(decision, check, passes)


def no_working_orders(patch: pytest.MonkeyPatch) -> None:
    """Orders count in the turnover only once they have filled."""
    real = Activity.turnover_usdt
    patch.setattr(Activity, "turnover_usdt", lambda self, _, *, at_ns: real(self, Decimal(0), at_ns=at_ns))


def half_a_window(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(turnover, "WINDOW_MINUTES", 24 * 60 - 3)


def no_replay(patch: pytest.MonkeyPatch) -> None:
    """A restart forgets the turnover."""
    patch.setattr(Activity, "replay", passes)


def fills_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Recovery drops an order that was found ended, whether or not its fills were counted."""

    def forget(recovered: recovery.Recovered, order: Any) -> None:
        recovered.orders.pop(order.tag, None)

    patch.setattr(recovery, "_end_if_counted", forget)


def no_memory_of_prices(patch: pytest.MonkeyPatch) -> None:
    """Between a restart and the first price an exit passes as it is."""
    patch.setattr(ReferenceFeed, "restore", passes)
    patch.setattr(
        decision,
        "_reducing_price",
        lambda question: (
            None
            if collar.exit_reference(question.coin) is None
            else collar.check_reducing_price(question.intent, question.coin, question.policy)
        ),
    )


def no_memory_of_moves(patch: pytest.MonkeyPatch) -> None:
    """The journal has the first reference of each coin, however far the price goes."""
    real = ReferenceMemory.note

    def note(self: ReferenceMemory, coin: str, price: Decimal) -> None:
        if coin not in self._covered:
            real(self, coin, price)

    patch.setattr(ReferenceMemory, "note", note)


def wall_clock_window(patch: pytest.MonkeyPatch) -> None:
    """The turnover's window runs on a clock that anybody may set."""
    patch.setattr(AccountKeeper, "_window_ns", lambda self: self._clock.wall_ns())


def wide_stops(patch: pytest.MonkeyPatch) -> None:
    """A triggered stop gives away more than the policy says."""
    real = policy_stops.bounded_stop
    patch.setattr(
        policy_stops,
        "bounded_stop",
        lambda intent, *, slippage, tick_size: real(intent, slippage=slippage * 3, tick_size=tick_size),
    )


def fee_on_the_reference(patch: pytest.MonkeyPatch) -> None:
    """The formula takes the fee of what the reference says, not of the price that was paid."""

    def bound(self: World, window: Window) -> Decimal:
        policy, loss = self.policy, WHOLE_BOUND(self, window)
        reducing = policy.turnover_budget_24h * CAPITAL + max(policy.max_gross_exposure * CAPITAL, window.exposure)
        return loss - reducing * policy.highest_fee * max(policy.collar, policy.exit_collar)

    patch.setattr(World, "bound", bound)


def holdings_left_out(patch: pytest.MonkeyPatch) -> None:
    """The formula takes the exposure limit for all that can be sold."""
    patch.setattr(
        World,
        "bound",
        lambda self, _: hostile_loss(self.policy, equity_usdt=self.oracle.highest_equity).usdt,
    )


WHOLE_BOUND = World.bound
XRP, SHORT = ("spot", "XRPUSDT"), ("linear", "XRPUSDT")
LINEAR_FEE = Decimal("0.0002")
CASES: dict[str, tuple[Breaking, Strategy, Iterable[int]]] = {
    "no collar": (without("_adding_price"), fixed(beyond, XRP), [1]),
    "no exit collar": (without("_reducing_price"), fixed(beyond, XRP), [1]),
    "no turnover budget": (without("_turnover"), fixed(wash_only, XRP), [1]),
    "no exposure limits": (without("_exposure"), fixed(patient, SHORT), [1, 2]),
    "working orders do not count": (no_working_orders, fixed(flood, *FINE[:2]), [1, 2, 3]),
    "a shorter window": (half_a_window, fixed(window_edge, XRP), range(1, 5)),
    "a restart forgets the turnover": (no_replay, fixed(restarts, XRP), [1, 2]),
    "a restart forgets fills": (fills_forgotten, fixed(forgotten, XRP), [1, 2]),
    "a restart forgets prices": (no_memory_of_prices, fixed(first_moment, XRP), [1, 2, 3]),
    "a restart forgets moves": (no_memory_of_moves, fixed(old_order, XRP), [1, 2]),
    "a leap of the clock empties the window": (wall_clock_window, fixed(leaping_clock, XRP), [1, 2, 3]),
    "stops without their bound": (
        wide_stops,
        fixed(
            stop_out,
            SHORT,
            highest_fee=TAKER_FEE,
            protective_stops="reduce_only",
            max_order_notional_usdt=CAPITAL,
            stop_slippage=Decimal("0.01"),
        ),
        [1, 2],
    ),
    "the fee on the reference": (
        fee_on_the_reference,
        fixed(patient, SHORT, highest_fee=LINEAR_FEE, max_order_notional_usdt=CAPITAL),
        range(1, 7),
    ),
    "holdings left out of the formula": (
        holdings_left_out,
        fixed(patient, XRP, holdings=(("XRP", Decimal(8000)),)),
        [1],
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("broken", CASES)
def test_bound_is_exceeded_once_a_part_is_broken_and_held_while_it_is_whole(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking, strategy, seeds = CASES[broken]
    whole = [measure(broken, strategy, seed) for seed in seeds]
    assert all(result.is_within for result in whole)
    breaking(monkeypatch)
    worst = max((measure(broken, strategy, seed) for seed in seeds), key=lambda result: result.ratio)
    print(f"{broken}: {worst.ratio:.3f} of the bound; whole, at most {max(r.ratio for r in whole):.3f}")
    assert not worst.is_within
