"""What is open, as the exchange lists it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from trade_core.errors import ExchangeAnswerInvalid
from trade_killswitch.open_book import Coin, Market, Position, parse_coins, parse_market, parse_positions, reference_of
from trade_killswitch.working_orders import Category

ROW = {"symbol": "XRPUSDT", "side": "Buy", "size": "100", "positionIdx": 0}
COIN = {"coin": "XRP", "walletBalance": "10.5", "locked": "0.5", "usdValue": "21"}
TICKER = {"bid1Price": "0.5", "ask1Price": "0.6", "indexPrice": "0.55", "markPrice": "0.54"}
LINEAR = {
    "lotSizeFilter": {"qtyStep": "0.1", "maxOrderQty": "1000", "minOrderQty": "0.2", "minNotionalValue": "5"},
    "priceFilter": {"tickSize": "0.0001"},
}
SPOT = {
    "lotSizeFilter": {"basePrecision": "0.01", "maxLimitOrderQty": "500", "maxOrderQty": "9", "minOrderAmt": "1"},
    "priceFilter": {"tickSize": "0.001"},
}


def test_open_positions_are_read_and_empty_ones_left_out() -> None:
    flat = {"size": "0", "side": "", "symbol": "X"}
    rows = [flat, ROW, flat, {**ROW, "side": "Sell", "positionIdx": 2}]
    first = Position(category=Category.LINEAR, symbol="XRPUSDT", is_long=True, size=Decimal(100), position_idx=0)
    second = Position(category=Category.LINEAR, symbol="XRPUSDT", is_long=False, size=Decimal(100), position_idx=2)
    assert parse_positions(rows, Category.LINEAR) == [first, second]


@pytest.mark.parametrize("changed", [{"size": "0.001"}, {"symbol": "X"}, {"symbol": "X" * 64}])
def test_small_position_and_short_and_long_name_are_read(changed: dict[str, Any]) -> None:
    assert len(parse_positions([{**ROW, **changed}], Category.LINEAR)) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"size": "x"},
        {"size": None},
        {"size": 100},
        {"size": "-1"},
        {"side": ""},
        {"side": "None"},
        {"positionIdx": "0"},
        {"positionIdx": None},
        {"symbol": ""},
        {"symbol": None},
        {"symbol": "XRP/USDT"},
        {"symbol": "X" * 65},
        {"symbol": "XRP\u0661"},
    ],
)
def test_odd_position_makes_the_list_unreadable(changed: dict[str, Any]) -> None:
    with pytest.raises(ExchangeAnswerInvalid):
        parse_positions([ROW, {**ROW, **changed}], Category.LINEAR)


def test_row_that_is_no_object_makes_the_list_unreadable() -> None:
    with pytest.raises(ExchangeAnswerInvalid, match="something else"):
        parse_positions(["x"], Category.LINEAR)


def test_coins_are_read_with_what_is_free() -> None:
    wallet = {"list": [{"coin": [COIN, {"coin": "USDT", "walletBalance": "7", "locked": "", "usdValue": None}]}]}
    assert parse_coins(wallet) == [
        Coin(coin="XRP", total=Decimal("10.5"), free=Decimal(10), value_usd=Decimal(21)),
        Coin(coin="USDT", total=Decimal(7), free=Decimal(7), value_usd=Decimal(0)),
    ]


@pytest.mark.parametrize(
    "wallet",
    [
        {},
        {"list": []},
        {"list": [{}, {}]},
        {"list": ["x"]},
        {"list": [{}]},
        {"list": [{"coin": ["x"]}]},
        {"list": [{"coin": [{"coin": "X", "walletBalance": ""}]}]},
        {"list": [{"coin": [{"coin": "", "walletBalance": "1"}]}]},
        {"list": [{"coin": [{"coin": "X", "walletBalance": "1", "locked": "x"}]}]},
    ],
)
def test_odd_wallet_is_unreadable(wallet: dict[str, Any]) -> None:
    with pytest.raises(ExchangeAnswerInvalid):
        parse_coins(wallet)


def test_market_of_a_contract_and_of_spot() -> None:
    assert parse_market(TICKER, LINEAR, reference=Decimal("0.55")) == Market(
        bid=Decimal("0.5"),
        ask=Decimal("0.6"),
        reference=Decimal("0.55"),
        tick=Decimal("0.0001"),
        step=Decimal("0.1"),
        quantity_max=Decimal(1000),
        quantity_min=Decimal("0.2"),
        notional_min=Decimal(5),
    )
    small = {**LINEAR, "lotSizeFilter": {"qtyStep": "0.1", "maxOrderQty": "0.5"}}
    assert parse_market(TICKER, small, reference=None).quantity_max == Decimal("0.5")
    spot = parse_market({"bid1Price": "", "ask1Price": "0"}, SPOT, reference=None)
    assert (spot.bid, spot.ask, spot.reference) == (None, None, None)
    assert (spot.step, spot.quantity_max, spot.quantity_min, spot.notional_min) == (
        Decimal("0.01"),
        Decimal(500),
        Decimal(0),
        Decimal(1),
    )


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("lotSizeFilter", "qtyStep", "0"),
        ("lotSizeFilter", "qtyStep", ""),
        ("lotSizeFilter", "maxOrderQty", "0"),
        ("lotSizeFilter", "maxOrderQty", "-1"),
        ("lotSizeFilter", "minOrderQty", "x"),
        ("priceFilter", "tickSize", "0"),
        ("priceFilter", "tickSize", None),
    ],
)
def test_odd_instrument_is_unreadable(part: str, name: str, value: object) -> None:
    info = {**LINEAR, part: {**LINEAR[part], name: value}}
    with pytest.raises(ExchangeAnswerInvalid):
        parse_market(TICKER, info, reference=None)


@pytest.mark.parametrize("part", ["lotSizeFilter", "priceFilter"])
def test_instrument_without_filters_is_unreadable(part: str) -> None:
    with pytest.raises(ExchangeAnswerInvalid):
        parse_market(TICKER, {**LINEAR, part: None}, reference=None)


def test_reference_is_the_index_then_the_mark_then_nothing() -> None:
    assert reference_of(TICKER) == Decimal("0.55")
    assert reference_of({**TICKER, "indexPrice": ""}) == Decimal("0.54")
    assert reference_of({"usdIndexPrice": "0.5", "markPrice": "0.4"}) == Decimal("0.5")
    assert reference_of({"indexPrice": "0", "lastPrice": "3", "bid1Price": "2"}) is None
