"""Policies that are proposed: each starts, or says why not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from trade_core.errors import ConfigurationError
from trade_gateway.policy.model import ProtectiveStops
from trade_gateway.policy_proposal import STYLES, Style, Wishes, implied, propose
from trade_gateway.wire.intents import Category

PRICES = {(Category.SPOT, "BTCUSDT"): Decimal("64123.5"), (Category.LINEAR, "XRPUSDT"): Decimal("0.5123")}


def wishes(**changed: object) -> Wishes:
    given: dict[str, object] = {"capital_usdt": Decimal(4000), "prices": PRICES, "style": Style.USUAL}
    return Wishes(**{**given, "stops": ProtectiveStops.REDUCE_ONLY, **changed})  # type: ignore[arg-type]


def test_each_style_starts_and_says_what_it_implies() -> None:
    assert STYLES.keys() == set(Style)
    said = {style: implied(propose(wishes(style=style))) for style in Style}
    assert said[Style.CALM] == ("a hostile bot can lose 28.02 USDT a day (0.70%), one market gap 320.00 USDT (8.00%)")
    assert said[Style.USUAL].startswith("a hostile bot can lose 74.04 USDT a day (1.85%)")
    assert said[Style.BUSY].startswith("a hostile bot can lose 160.08 USDT a day (4.00%)")
    assert len(set(said.values())) == len(Style)


def test_limits_follow_the_capital_and_the_prices() -> None:
    policy = propose(wishes()).policy
    assert policy.max_order_notional_usdt == 250
    bitcoin = policy.symbols[Category.SPOT, "BTCUSDT"]
    ripple = policy.symbols[Category.LINEAR, "XRPUSDT"]
    assert (bitcoin.max_notional_usdt, bitcoin.max_order_quantity) == (1000, Decimal("0.0078"))
    assert ripple.max_order_quantity == 976
    assert policy.leverage == 1


@pytest.mark.parametrize("capital", ["16", "100", "4000.5", "1000000"])
def test_every_capital_within_the_bounds_makes_a_policy(capital: str) -> None:
    policy = propose(wishes(capital_usdt=Decimal(capital))).policy
    assert policy.allocated_capital_usdt == Decimal(capital)
    assert policy.max_order_notional_usdt * 16 <= Decimal(capital)


@pytest.mark.parametrize("capital", ["1", "9", "1000000.1"])
def test_capital_out_of_bounds_is_refused(capital: str) -> None:
    with pytest.raises(ConfigurationError, match="allocated_capital_usdt"):
        propose(wishes(capital_usdt=Decimal(capital)))


def test_choice_about_stops_is_written_down() -> None:
    assert 'protective_stops = "deny"' in propose(wishes(stops=ProtectiveStops.DENY)).text
