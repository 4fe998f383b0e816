"""The published bound: by hand, at its edges, and monotone in every limit."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.policy.parts import POLICY
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.comparison import compare
from trade_gateway.policy.hostile_loss import (
    DAILY_RUNG,
    KILL_RUNG,
    HostileLoss,
    StressLoss,
    check_start,
    hostile_loss,
    stress_loss,
)
from trade_gateway.policy.model import ProtectiveStops

EQUITY = Decimal(4000)


def test_hostile_loss_of_the_example_is_74_usdt() -> None:
    # adding 6000 x (0.3 % + 0.1 %) = 24; reducing 10000 x (0.4 % + 0.1 % x 1.004) = 50.04
    assert hostile_loss(POLICY, equity_usdt=EQUITY) == HostileLoss(usdt=Decimal("74.04"), fraction=Decimal("0.01851"))


@pytest.mark.parametrize(
    ("held", "usdt"), [("0", "74.04"), ("4000", "74.04"), ("4001", "74.045004"), ("12000", "114.072")]
)
def test_hostile_loss_counts_what_is_held_beyond_the_exposure_limit(held: str, usdt: str) -> None:
    # 12000 held: adding 24; reducing 18000 x 0.5004 % = 90.072
    loss = hostile_loss(POLICY, equity_usdt=EQUITY, held_usdt=Decimal(held))
    assert loss.usdt == Decimal(usdt)
    assert loss.fraction == loss.usdt / EQUITY


def test_stress_loss_of_the_example_is_640_usdt() -> None:
    assert stress_loss(POLICY, equity_usdt=EQUITY) == StressLoss(usdt=Decimal(640), fraction=Decimal("0.16"))


def test_losses_are_of_the_smaller_of_equity_and_capital() -> None:
    half, double = hostile_loss(POLICY, equity_usdt=Decimal(2000)), hostile_loss(POLICY, equity_usdt=Decimal(8000))
    assert half == HostileLoss(usdt=Decimal("37.02"), fraction=Decimal("0.01851"))
    assert double == HostileLoss(usdt=Decimal("74.04"), fraction=Decimal("0.009255"))
    assert stress_loss(POLICY, equity_usdt=Decimal(8000)) == StressLoss(usdt=Decimal(640), fraction=Decimal("0.08"))


def test_hostile_loss_counts_stops_once_they_are_permitted() -> None:
    stops = replace(POLICY, protective_stops=ProtectiveStops.REDUCE_ONLY)
    assert hostile_loss(stops, equity_usdt=EQUITY).usdt == 24 + 10_000 * Decimal("0.01101")
    narrow = replace(stops, stop_slippage=Decimal("0.001"))
    assert hostile_loss(narrow, equity_usdt=EQUITY).usdt == Decimal("74.04")


def test_hostile_loss_takes_the_wider_collar_for_exits() -> None:
    odd = replace(POLICY, collar=Decimal("0.01"))
    assert hostile_loss(odd, equity_usdt=EQUITY).usdt == 6000 * Decimal("0.011") + 10_000 * Decimal("0.01101")


@pytest.mark.parametrize("equity", ["0", "-1", "NaN", "Infinity", "-Infinity"])
def test_losses_of_no_equity_are_refused(equity: str) -> None:
    for compute in (hostile_loss, stress_loss):
        with pytest.raises(ValueError, match="must be above zero"):
            compute(POLICY, equity_usdt=Decimal(equity))
    assert "equity is" in str(check_start(POLICY, equity_usdt=Decimal(equity)))


def test_losses_of_less_than_a_coin_are_stated() -> None:
    assert hostile_loss(POLICY, equity_usdt=Decimal("0.5")).fraction == Decimal("0.01851")
    assert stress_loss(POLICY, equity_usdt=Decimal("0.5")).fraction == Decimal("0.16")
    assert check_start(POLICY, equity_usdt=Decimal("0.5")) is None


def test_start_with_the_example_is_permitted() -> None:
    assert check_start(POLICY, equity_usdt=EQUITY) is None


@pytest.mark.parametrize(("turnover", "is_refused"), [("4.99", False), ("5", False), ("5.000001", True), ("20", True)])
def test_start_beyond_the_daily_rung_is_refused(turnover: str, *, is_refused: bool) -> None:
    # 5 x 0.39952 % + 6 x 0.5004 % = 5 %
    narrow = replace(POLICY, collar=Decimal("0.0029952"), stress_gap=Decimal("0.05"))
    policy = replace(narrow, turnover_budget_24h=Decimal(turnover))
    sentence = check_start(policy, equity_usdt=EQUITY)
    assert (sentence is not None) is is_refused
    assert sentence is None or "more than the daily rung of 5.00 %" in sentence


@pytest.mark.parametrize(
    ("gap", "is_refused"), [("0.1514", False), ("0.15149", False), ("0.151491", True), ("0.9", True)]
)
def test_start_beyond_the_last_rung_is_refused(gap: str, *, is_refused: bool) -> None:
    sentence = check_start(replace(POLICY, stress_gap=Decimal(gap)), equity_usdt=EQUITY)
    assert (sentence is not None) is is_refused
    assert sentence is None or "more than the last rung of 18.00 %" in sentence


def test_rungs_are_those_of_the_ladder() -> None:
    assert (Decimal("0.05"), Decimal("0.18")) == (DAILY_RUNG, KILL_RUNG)


_KEYS = [
    "max_gross_exposure",
    "turnover_budget_24h",
    "collar",
    "exit_collar",
    "stop_slippage",
    "allocated_capital_usdt",
]


@given(st.sampled_from(_KEYS), st.decimals("0.1", "1", places=3), st.sampled_from(ProtectiveStops))
def test_losses_never_grow_by_a_change_that_counts_as_tightening(
    key: str, factor: Decimal, stops: ProtectiveStops
) -> None:
    policy = replace(POLICY, protective_stops=stops)
    changes: dict[str, Any] = {key: getattr(policy, key) * factor}
    tighter = replace(policy, **changes)
    assert compare(policy, tighter).loosened == ()
    assert hostile_loss(tighter, equity_usdt=EQUITY).usdt <= hostile_loss(policy, equity_usdt=EQUITY).usdt
    assert stress_loss(tighter, equity_usdt=EQUITY).usdt <= stress_loss(policy, equity_usdt=EQUITY).usdt
