"""The losses that a policy implies, as /state shows them and as the start judges them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from gateway.policy.parts import ACCOUNT, LINEAR_BTC, MARKET, NO_PRICES, SPOT_BTC
from gateway.policy.parts import POLICY as EXAMPLE

from trade_core.errors import ConfigurationError
from trade_demo.policy import demo_policy
from trade_gateway.limits_view import held_usdt, losses, require_bounded_loss, shown_loss
from trade_gateway.policy.limits import parse_policy

POLICY = parse_policy(demo_policy().encode())


def test_view_demo_policy_loses_at_most_two_percent_a_day_to_a_hostile_bot() -> None:
    require_bounded_loss(POLICY)
    hostile, _ = losses(POLICY, equity_usdt=Decimal(4000))
    assert hostile.fraction <= Decimal("0.02")
    assert shown_loss(hostile)["usdt"] == str((hostile.fraction * 4000).quantize(Decimal("0.01")))


def test_view_policy_beyond_the_daily_rung_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="daily rung"):
        require_bounded_loss(replace(POLICY, turnover_budget_24h=Decimal(10)))


def test_view_policy_whose_gap_reaches_the_kill_rung_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="last rung"):
        require_bounded_loss(replace(POLICY, stress_gap=Decimal("0.3")))


@pytest.mark.parametrize("equity", [None, Decimal(0), Decimal(-5)])
def test_view_losses_without_equity_are_those_of_the_allocated_capital(equity: Decimal | None) -> None:
    assert losses(POLICY, equity_usdt=equity) == losses(POLICY, equity_usdt=POLICY.allocated_capital_usdt)


@pytest.mark.parametrize("equity", ["1", "500", "4000", "4001", "1000000"])
def test_view_no_equity_makes_the_fraction_worse_than_at_the_allocated_capital(equity: str) -> None:
    at_capital = losses(POLICY, equity_usdt=POLICY.allocated_capital_usdt)
    for loss, worst in zip(losses(POLICY, equity_usdt=Decimal(equity)), at_capital, strict=True):
        assert loss.fraction <= worst.fraction


def test_view_held_is_what_a_bot_could_sell_or_close_now() -> None:
    coins = {"BTC": Decimal("0.01"), "DUST": Decimal(5), "USDT": Decimal(900)}
    account = replace(
        ACCOUNT,
        held_base=coins,
        positions={"BTCUSDT": Decimal("-0.02"), "XRPUSDT": Decimal(9)},
        working_buys={SPOT_BTC: Decimal(1)},
        working_sells={LINEAR_BTC: Decimal(1)},
    )
    # 0.01 x 50000 of the coin and 0.02 x 50000 of the short; XRP is not the policy's, orders are nothing held
    assert held_usdt(EXAMPLE, account, MARKET) == 1500
    assert held_usdt(EXAMPLE, account, NO_PRICES) == 0
    fewer = replace(EXAMPLE, symbols={})
    assert held_usdt(fewer, account, MARKET) == 0
    assert held_usdt(fewer, account, MARKET, former=EXAMPLE.symbols.keys()) == 1500
    assert losses(EXAMPLE, equity_usdt=Decimal(4000), held_usdt=Decimal(5000))[0].usdt == Decimal("79.044")
