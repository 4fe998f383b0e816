"""The baseline: one form, whole or refused."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.trust.baseline import (
    MAX_HOLDINGS,
    MAX_ORDERS,
    MAX_POSITIONS,
    Baseline,
    BaselineHolding,
    BaselineOrder,
    BaselinePosition,
    baseline_of,
    parse_baseline,
)
from trade_core.trust.keys import NotTrusted

ORDER = BaselineOrder(
    category="linear",
    symbol="BTCUSDT",
    order_id="o1",
    side="Buy",
    quantity=Decimal("0.10"),
    price=Decimal(30000),
    is_reducing=False,
)
POSITION = BaselinePosition(symbol="BTCUSDT", size=Decimal("-0.5"))
HOLDING = BaselineHolding(coin="BTC", amount=Decimal("1.50"))
BASELINE = baseline_of(taken_at_ms=1_800_000_000_000, orders=[ORDER], positions=[POSITION], holdings=[HOLDING])
PLAIN: dict[str, Any] = {
    "taken_at_ms": 1_800_000_000_000,
    "orders": [
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "order_id": "o1",
            "side": "Buy",
            "quantity": "0.1",
            "price": "30000",
            "is_reducing": False,
        }
    ],
    "positions": [{"symbol": "BTCUSDT", "size": "-0.5"}],
    "holdings": [{"coin": "BTC", "amount": "1.5"}],
}
names = st.from_regex(r"\A[A-Z0-9]{1,12}\Z")
amounts = st.decimals(min_value=-(10**15), max_value=10**15, places=8, allow_nan=False, allow_infinity=False)


def test_baseline_has_one_plain_form_and_reads_back() -> None:
    assert BASELINE.content() == PLAIN
    assert parse_baseline(PLAIN) == BASELINE


@given(
    orders=st.dictionaries(names, amounts),
    positions=st.dictionaries(names, amounts),
    coins=st.dictionaries(names, amounts),
)
def test_baseline_of_anything_reads_back_the_same(
    orders: dict[str, Decimal], positions: dict[str, Decimal], coins: dict[str, Decimal]
) -> None:
    made = baseline_of(
        taken_at_ms=5,
        orders=[replace(ORDER, order_id=name, quantity=abs(amount)) for name, amount in orders.items()],
        positions=[BaselinePosition(symbol=name, size=size) for name, size in positions.items()],
        holdings=[BaselineHolding(coin=name, amount=amount) for name, amount in coins.items()],
    )
    assert parse_baseline(made.content()) == made
    assert {held.coin for held in made.holdings} == {name for name, amount in coins.items() if amount}


def test_baseline_is_sorted_and_leaves_out_nothing_but_nothing() -> None:
    made = baseline_of(
        taken_at_ms=1,
        orders=[replace(ORDER, order_id="b"), replace(ORDER, order_id="a", quantity=Decimal(0))],
        positions=[POSITION, BaselinePosition(symbol="ADAUSDT", size=Decimal(0))],
        holdings=[
            HOLDING,
            BaselineHolding(coin="ADA", amount=Decimal("-1")),
            BaselineHolding(coin="X", amount=Decimal(0)),
        ],
    )
    assert [order.order_id for order in made.orders] == ["a", "b"]
    assert made.positions == (POSITION,)
    assert [held.coin for held in made.holdings] == ["ADA", "BTC"]


def many_orders(count: int) -> Baseline:
    return baseline_of(taken_at_ms=1, orders=[replace(ORDER, order_id=f"o{number}") for number in range(count)])


def many_positions(count: int) -> Baseline:
    return baseline_of(
        taken_at_ms=1, positions=[BaselinePosition(symbol=f"S{number}", size=Decimal(1)) for number in range(count)]
    )


def many_holdings(count: int) -> Baseline:
    return baseline_of(
        taken_at_ms=1, holdings=[BaselineHolding(coin=f"C{number}", amount=Decimal(1)) for number in range(count)]
    )


@pytest.mark.parametrize(
    ("make", "bound"), [(many_orders, MAX_ORDERS), (many_positions, MAX_POSITIONS), (many_holdings, MAX_HOLDINGS)]
)
def test_baseline_at_its_bound_is_whole_and_beyond_it_refused(make: Any, bound: int) -> None:
    assert parse_baseline(make(bound).content()) == make(bound)
    with pytest.raises(NotTrusted, match=f"at most {bound}"):
        make(bound + 1)


@pytest.mark.parametrize(("name", "bound"), [("orders", 500), ("positions", 200), ("holdings", 500)])
def test_baseline_list_beyond_its_bound_is_refused_before_its_entries_are_looked_at(name: str, bound: int) -> None:
    with pytest.raises(NotTrusted, match=f"{name} must be a list of at most {bound}"):
        parse_baseline({**PLAIN, name: [{}] * (bound + 1)})


@pytest.mark.parametrize("name", ["orders", "positions", "holdings"])
def test_baseline_that_repeats_is_refused(name: str) -> None:
    with pytest.raises(NotTrusted, match="repeat"):
        parse_baseline({**PLAIN, name: PLAIN[name] * 2})


@pytest.mark.parametrize("content", [None, [], "x", 1, {}, {**PLAIN, "more": 1}])
def test_baseline_that_is_none_is_refused(content: object) -> None:
    with pytest.raises(NotTrusted, match="not those of a baseline"):
        parse_baseline(content)


@pytest.mark.parametrize("taken", [None, "1", 1.0, True, -1, 2**53])
def test_baseline_of_no_time_is_refused(taken: Any) -> None:
    with pytest.raises(NotTrusted, match="taken_at_ms"):
        parse_baseline({**PLAIN, "taken_at_ms": taken})


@pytest.mark.parametrize("name", ["orders", "positions", "holdings"])
@pytest.mark.parametrize("value", [None, {}, "x", [1], [None]])
def test_baseline_with_a_list_that_is_none_is_refused(name: str, value: object) -> None:
    with pytest.raises(NotTrusted, match=f"{name} must be a list"):
        parse_baseline({**PLAIN, name: value})


@pytest.mark.parametrize(
    ("group", "name"),
    [(group, name) for group in ("orders", "positions", "holdings") for name in PLAIN[group][0]],
)
@pytest.mark.parametrize("value", [None, 1, "", "é", "x y", "1e5", "NaN", "x" * 65, "-0", "01", "1.50"])
def test_baseline_with_a_word_or_number_that_is_none_is_refused(group: str, name: str, value: object) -> None:
    is_a_name = name in {"category", "symbol", "order_id", "side", "coin"}
    if is_a_name and value in {"1e5", "NaN", "-0", "01", "1.50"}:
        return  # odd, and names all the same
    with pytest.raises(NotTrusted):
        parse_baseline({**PLAIN, group: [{**PLAIN[group][0], name: value}]})


def test_baseline_entry_with_a_further_field_is_refused() -> None:
    with pytest.raises(NotTrusted, match="one form"):
        parse_baseline({**PLAIN, "holdings": [{**PLAIN["holdings"][0], "more": "1"}]})


def test_baseline_out_of_order_is_refused() -> None:
    entries = [{"coin": "ETH", "amount": "1"}, {"coin": "BTC", "amount": "1"}]
    with pytest.raises(NotTrusted, match="one form"):
        parse_baseline({**PLAIN, "holdings": entries})


def test_baseline_of_a_name_that_is_none_is_refused_when_it_is_made() -> None:
    with pytest.raises(NotTrusted, match="holdings with a name"):
        baseline_of(taken_at_ms=1, holdings=[BaselineHolding(coin="B C", amount=Decimal(1))])


def test_baseline_has_the_bounds_that_were_decided() -> None:
    assert (MAX_ORDERS, MAX_POSITIONS, MAX_HOLDINGS) == (500, 200, 500)


@pytest.mark.parametrize(("taken_at_ms", "is_valid"), [(0, True), (2**53 - 1, True), (2**53, False), (-1, False)])
def test_baseline_is_of_a_time_that_every_reader_of_json_keeps(taken_at_ms: int, *, is_valid: bool) -> None:
    if is_valid:
        assert baseline_of(taken_at_ms=taken_at_ms).taken_at_ms == taken_at_ms
    else:
        with pytest.raises(NotTrusted):
            baseline_of(taken_at_ms=taken_at_ms)
