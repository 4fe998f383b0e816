"""Instrument facts: what the exchange documents is read, nonsense raises."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from trade_gateway.policy.instruments import Instrument, InstrumentInvalid, parse_instrument
from trade_gateway.wire.intents import Category

SPOT: dict[str, Any] = {
    "symbol": "ETHUSDT",
    "baseCoin": "ETH",
    "quoteCoin": "USDT",
    "innovation": "0",
    "status": "Trading",
    "marginTrading": "none",
    "lotSizeFilter": {
        "basePrecision": "0.00001",
        "quotePrecision": "0.0000001",
        "minOrderQty": "0.0002",
        "maxOrderQty": "1200",
        "minOrderAmt": "5",
        "maxOrderAmt": "4000000",
        "maxLimitOrderQty": "900",
        "postOnlyMaxLimitOrderSize": "4500",
    },
    "priceFilter": {"tickSize": "0.01"},
}
LINEAR: dict[str, Any] = {
    "symbol": "XRPUSDT",
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "XRP",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "priceFilter": {"minPrice": "0.0001", "maxPrice": "199", "tickSize": "0.0001"},
    "lotSizeFilter": {
        "maxOrderQty": "300000",
        "minOrderQty": "0.1",
        "qtyStep": "0.1",
        "postOnlyMaxOrderQty": "250000",
        "minNotionalValue": "5",
    },
}


def changed(item: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    result = copy.deepcopy(item)
    *parents, key = path.split(".")
    target = result
    for parent in parents:
        target = target[parent]
    if value is None:
        del target[key]
    else:
        target[key] = value
    return result


def test_instrument_of_a_spot_item_is_read() -> None:
    assert parse_instrument(Category.SPOT, SPOT) == Instrument(
        category=Category.SPOT,
        symbol="ETHUSDT",
        base_coin="ETH",
        quote_coin="USDT",
        tick_size=Decimal("0.01"),
        quantity_step=Decimal("0.00001"),
        min_quantity=Decimal("0.0002"),
        max_quantity=Decimal(900),
        min_notional=Decimal(5),
    )


def test_instrument_of_a_linear_item_is_read() -> None:
    assert parse_instrument(Category.LINEAR, LINEAR) == Instrument(
        category=Category.LINEAR,
        symbol="XRPUSDT",
        base_coin="XRP",
        quote_coin="USDT",
        tick_size=Decimal("0.0001"),
        quantity_step=Decimal("0.1"),
        min_quantity=Decimal("0.1"),
        max_quantity=Decimal(250_000),
        min_notional=Decimal(5),
    )


def test_instrument_without_the_deprecated_minimum_takes_one_step() -> None:
    item = changed(SPOT, "lotSizeFilter.minOrderQty", None)
    assert parse_instrument(Category.SPOT, item).min_quantity == Decimal("0.00001")


def test_instrument_with_one_maximum_takes_it() -> None:
    item = changed(changed(SPOT, "lotSizeFilter.maxLimitOrderQty", None), "lotSizeFilter.maxOrderQty", None)
    assert parse_instrument(Category.SPOT, item).max_quantity == 4500


def test_instrument_whose_minimum_is_its_maximum_is_read() -> None:
    item = changed(LINEAR, "lotSizeFilter.minOrderQty", "250000")
    assert parse_instrument(Category.LINEAR, item).min_quantity == 250_000


@pytest.mark.parametrize("item", [None, [], "BTCUSDT", 1, {}])
def test_instrument_of_no_object_raises(item: object) -> None:
    with pytest.raises(InstrumentInvalid):
        parse_instrument(Category.SPOT, item)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("symbol", None), ("symbol", "ethusdt"), ("symbol", ""), ("symbol", 5), ("symbol", "A" * 31),
        ("status", None), ("status", "PreLaunch"), ("status", "Settling"), ("status", "Closed"),
        ("baseCoin", None), ("baseCoin", ""), ("baseCoin", "eth"), ("quoteCoin", None), ("quoteCoin", 1),
        ("lotSizeFilter", None), ("lotSizeFilter", []), ("priceFilter", None), ("priceFilter", "0.01"),
        ("priceFilter.tickSize", None), ("priceFilter.tickSize", "0"), ("priceFilter.tickSize", "-0.01"),
        ("priceFilter.tickSize", "NaN"), ("priceFilter.tickSize", 0.01), ("priceFilter.tickSize", "1e-2"),
        ("priceFilter.tickSize", ""),
        ("lotSizeFilter.basePrecision", None), ("lotSizeFilter.basePrecision", "0"),
        ("lotSizeFilter.minOrderQty", "0"), ("lotSizeFilter.minOrderQty", "Infinity"),
        ("lotSizeFilter.minOrderQty", "901"),
        ("lotSizeFilter.maxLimitOrderQty", "0"), ("lotSizeFilter.maxOrderQty", "x"),
        ("lotSizeFilter.minOrderAmt", None), ("lotSizeFilter.minOrderAmt", "0"),
    ],
)  # fmt: skip
def test_instrument_with_nonsense_raises(path: str, value: object) -> None:
    with pytest.raises(InstrumentInvalid):
        parse_instrument(Category.SPOT, changed(SPOT, path, value))


def test_instrument_without_any_maximum_raises() -> None:
    item = changed(changed(LINEAR, "lotSizeFilter.maxOrderQty", None), "lotSizeFilter.postOnlyMaxOrderQty", None)
    with pytest.raises(InstrumentInvalid, match="no maximum quantity among maxOrderQty, postOnlyMaxOrderQty"):
        parse_instrument(Category.LINEAR, item)


def test_instrument_read_in_the_wrong_category_raises() -> None:
    with pytest.raises(InstrumentInvalid):
        parse_instrument(Category.LINEAR, SPOT)
    with pytest.raises(InstrumentInvalid):
        parse_instrument(Category.SPOT, LINEAR)
