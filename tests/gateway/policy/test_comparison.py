"""What a change of policy tightens and loosens: every key, both ways, and never both at once."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.policy.parts import LINEAR_ETH, POLICY, SPOT_BTC
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.comparison import DIRECTIONS, PolicyChange, Tighter, compare
from trade_gateway.policy.model import Policy, ProtectiveStops, SymbolLimits
from trade_gateway.wire.intents import Category

NOTHING = PolicyChange(tightened=(), loosened=())


def changed(policy: Policy, key: str, factor: int) -> Policy:
    changes: dict[str, Any] = {key: getattr(policy, key) * factor}
    return replace(policy, **changes)


def test_every_number_has_a_direction() -> None:
    others = {"symbols", "protective_stops", "disaster_stop_fraction"}
    assert {field.name for field in fields(Policy)} - others == DIRECTIONS.keys()


def test_compare_of_equal_policies_is_nothing() -> None:
    assert compare(POLICY, replace(POLICY, collar=Decimal("0.0030"))) == NOTHING


@pytest.mark.parametrize("key", sorted(DIRECTIONS))
def test_compare_names_the_key_on_the_side_of_its_direction(key: str) -> None:
    greater = changed(POLICY, key, 2)
    one_way, other_way = compare(POLICY, greater), compare(greater, POLICY)
    if DIRECTIONS[key] is Tighter.MORE:
        one_way, other_way = other_way, one_way
    assert one_way == PolicyChange(tightened=(), loosened=(key,))
    assert other_way == PolicyChange(tightened=(key,), loosened=())


@pytest.mark.parametrize(
    ("key", "tighter"),
    [
        ("collar", Tighter.LESS),
        ("min_order_notional_usdt", Tighter.MORE),
        ("duplicate_window_s", Tighter.MORE),
        ("repeated_execution_window_s", Tighter.MORE),
        ("repeated_execution_limit", Tighter.LESS),
        ("stress_gap", Tighter.MORE),
        ("highest_fee", Tighter.MORE),
        ("funding_cap", Tighter.MORE),
        ("leverage", Tighter.LESS),
        ("order_time_to_live_s", Tighter.LESS),
    ],
)
def test_direction_of_the_keys_that_are_easy_to_get_wrong(key: str, tighter: Tighter) -> None:
    assert DIRECTIONS[key] is tighter


def test_compare_of_symbols() -> None:
    symbols = dict(POLICY.symbols)
    del symbols[LINEAR_ETH]
    fewer = replace(POLICY, symbols=symbols)
    assert compare(POLICY, fewer) == PolicyChange(tightened=("symbols.linear.ETHUSDT",), loosened=())
    assert compare(fewer, POLICY) == PolicyChange(tightened=(), loosened=("symbols.linear.ETHUSDT",))


def test_compare_of_the_limits_of_a_symbol() -> None:
    limits = SymbolLimits(max_order_quantity=Decimal(1), max_notional_usdt=Decimal(3000))
    other = replace(POLICY, symbols={**POLICY.symbols, SPOT_BTC: limits})
    assert compare(POLICY, other) == PolicyChange(
        tightened=("symbols.spot.BTCUSDT.max_order_quantity",), loosened=("symbols.spot.BTCUSDT.max_notional_usdt",)
    )


def test_compare_of_protective_stops() -> None:
    permitted = replace(POLICY, protective_stops=ProtectiveStops.REDUCE_ONLY)
    assert compare(POLICY, permitted) == PolicyChange(tightened=(), loosened=("protective_stops",))
    assert compare(permitted, POLICY) == PolicyChange(tightened=("protective_stops",), loosened=())


@pytest.mark.parametrize(("old", "new"), [(None, "0.1"), ("0.1", None), ("0.1", "0.2"), ("0.2", "0.1")])
def test_compare_calls_every_change_of_the_disaster_stop_loosening(old: str | None, new: str | None) -> None:
    before = replace(POLICY, disaster_stop_fraction=None if old is None else Decimal(old))
    after = replace(POLICY, disaster_stop_fraction=None if new is None else Decimal(new))
    assert compare(before, after) == PolicyChange(tightened=(), loosened=("disaster_stop",))


_FACTORS = st.fixed_dictionaries(dict.fromkeys(DIRECTIONS, st.sampled_from([1, 1, 2, 3])))
_SYMBOLS = st.dictionaries(
    st.tuples(st.sampled_from(Category), st.sampled_from(["BTCUSDT", "ETHUSDT"])),
    st.builds(
        SymbolLimits,
        max_order_quantity=st.integers(1, 3).map(Decimal),
        max_notional_usdt=st.integers(1, 3).map(Decimal),
    ),
)
_POLICIES = st.builds(
    lambda factors, symbols, stops, disaster: replace(
        POLICY,
        symbols=symbols,
        protective_stops=stops,
        disaster_stop_fraction=disaster,
        **{key: getattr(POLICY, key) * factor for key, factor in factors.items()},
    ),
    _FACTORS,
    _SYMBOLS,
    st.sampled_from(ProtectiveStops),
    st.sampled_from([None, Decimal("0.1")]),
)


@given(_POLICIES, _POLICIES)
def test_compare_is_antisymmetric(one: Policy, other: Policy) -> None:
    there, back = compare(one, other), compare(other, one)
    assert not set(there.tightened) & set(there.loosened)
    assert not set(there.tightened) & set(back.tightened)
    assert set(there.tightened) | set(there.loosened) == set(back.tightened) | set(back.loosened)
    assert set(there.tightened) == set(back.loosened) - {"disaster_stop"}
    assert compare(one, one) == NOTHING


@given(_POLICIES, _POLICIES, _POLICIES)
def test_compare_is_transitive_in_tightening(one: Policy, two: Policy, three: Policy) -> None:
    if not compare(one, two).loosened and not compare(two, three).loosened:
        assert not compare(one, three).loosened
