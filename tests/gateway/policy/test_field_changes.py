"""What a change does, in words: every key once, what loosens first, within the room that there is."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from gateway.policy.parts import LINEAR_ETH, POLICY, SPOT_BTC

from trade_gateway.policy.field_changes import changes_within, field_changes
from trade_gateway.policy.model import ProtectiveStops, SymbolLimits


def test_field_changes_name_old_and_new_and_put_what_loosens_first() -> None:
    new = replace(POLICY, collar=Decimal("0.002"), max_open_orders=5)
    assert [str(change) for change in field_changes(POLICY, new)] == [
        "loosens max_open_orders: 4 -> 5",
        "tightens collar: 0.003 -> 0.002",
    ]


def test_field_changes_of_symbols_and_choices() -> None:
    symbols = {**POLICY.symbols, SPOT_BTC: SymbolLimits(max_order_quantity=Decimal(1), max_notional_usdt=Decimal(2000))}
    del symbols[LINEAR_ETH]
    new = replace(
        POLICY,
        symbols=symbols,
        protective_stops=ProtectiveStops.REDUCE_ONLY,
        disaster_stop_fraction=Decimal("0.1"),
    )
    assert [str(change) for change in field_changes(POLICY, new)] == [
        "loosens disaster_stop: none -> 0.1",
        "loosens protective_stops: deny -> reduce_only",
        "tightens symbols.linear.ETHUSDT: 2000 2 -> none",
        "tightens symbols.spot.BTCUSDT.max_order_quantity: 2 -> 1",
    ]


def test_field_changes_of_equal_policies_are_none() -> None:
    assert field_changes(POLICY, POLICY) == ()
    assert changes_within((), characters=10) == []


def test_changes_within_counts_what_does_not_fit() -> None:
    new = replace(POLICY, collar=Decimal("0.002"), max_open_orders=5, leverage=2)
    changes = field_changes(POLICY, new)
    whole = sum(len(str(change)) + 2 for change in changes)
    assert changes_within(changes, characters=whole) == [str(change) for change in changes]
    assert changes_within(changes, characters=whole - 1)[-1] == "and 1 more"
    assert changes_within(changes, characters=-5) == ["and 3 more"]


def test_field_changes_write_numbers_without_exponents_and_spare_zeros() -> None:
    (change,) = field_changes(POLICY, replace(POLICY, allocated_capital_usdt=Decimal("5.0E+3")))
    assert change.new == "5000"
