"""Reading the exchange's lists: what an entry must say, field by field."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from trade_core.errors import ExchangeAnswerInvalid
from trade_watchdog.audit.collar_audit import IndexCandle
from trade_watchdog.audit.key_inventory import ListedKey
from trade_watchdog.audit.listing import (
    borrowed_coins,
    held_coins,
    listed_key,
    margin_mode,
    seen_algorithm,
    seen_candles,
    seen_execution,
    seen_order,
    seen_position,
    stated_trade,
)
from trade_watchdog.audit.posture import SeenAlgorithm, SeenPosition
from trade_watchdog.audit.reconciliation import StatementTrade
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

ORDER: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "orderId": "o-1",
    "orderLinkId": "T1abc",
    "side": "Buy",
    "qty": "0.5",
    "price": "100.5",
    "triggerPrice": "",
    "reduceOnly": False,
    "isLeverage": "",
    "createType": "CreateByUser",
    "orderStatus": "New",
    "cumExecQty": "0.1",
    "createdTime": "1700000000123",
    "updatedTime": "1700000000456",
}
LEFT_OUT = {"createType", "isLeverage", "updatedTime"}
EXECUTION: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "execId": "e-1",
    "orderId": "o-1",
    "orderLinkId": "",
    "side": "Sell",
    "execQty": "0.1",
    "execPrice": "100",
    "execFee": "-0.01",
    "orderQty": "0.5",
    "orderPrice": "99",
    "execType": "Trade",
    "createType": "",
    "execTime": "1700000000124",
}
KEY: dict[str, Any] = {
    "apiKey": "k1",
    "readOnly": False,
    "permissions": {"Spot": ["SpotTrade"], "Wallet": []},
    "ips": ["192.0.2.7"],
    "deadlineDay": 5,
}


def test_order_is_read_as_it_is_listed() -> None:
    assert seen_order(ORDER, category="linear") == SeenOrder(
        category="linear",
        symbol="BTCUSDT",
        order_id="o-1",
        link_id="T1abc",
        side="Buy",
        quantity=Decimal("0.5"),
        price=Decimal("100.5"),
        trigger_price=None,
        is_reduce_only=False,
        is_leverage=False,
        create_type="CreateByUser",
        status="New",
        filled=Decimal("0.1"),
        created_at_ms=1_700_000_000_123,
        updated_at_ms=1_700_000_000_456,
    )


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"triggerPrice": "0"}, "trigger_price", None),
        ({"triggerPrice": "90"}, "trigger_price", Decimal(90)),
        ({"price": ""}, "price", Decimal(0)),
        ({"cumExecQty": ""}, "filled", Decimal(0)),
        ({"orderLinkId": ""}, "link_id", ""),
        ({"createType": ""}, "create_type", ""),
        ({"isLeverage": "0"}, "is_leverage", False),
        ({"isLeverage": "1"}, "is_leverage", True),
        ({"isLeverage": "2"}, "is_leverage", True),
        ({"updatedTime": ""}, "updated_at_ms", None),
        ({"reduceOnly": True}, "is_reduce_only", True),
        ({"symbol": "A" * 64}, "symbol", "A" * 64),
    ],
)
def test_order_with_what_the_exchange_writes_for_none_is_read(changes: dict[str, Any], name: str, value: Any) -> None:
    assert getattr(seen_order({**ORDER, **changes}, category="spot"), name) == value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"symbol": ""}, "symbol is empty"),
        ({"symbol": "A" * 65}, "symbol is no short text"),
        ({"symbol": "BTC\u2028"}, "symbol is no short text"),
        ({"orderId": None}, "orderId is no short text"),
        ({"orderId": 7}, "orderId is no short text"),
        ({"side": ""}, "side is empty"),
        ({"orderStatus": ""}, "orderStatus is empty"),
        ({"qty": ""}, "qty is no plain number"),
        ({"qty": "NaN"}, "qty is no plain number"),
        ({"qty": 5}, "qty is no plain number"),
        ({"price": None}, "price is no plain number"),
        ({"triggerPrice": "x"}, "triggerPrice is no plain number"),
        ({"reduceOnly": "false"}, "reduceOnly is neither true nor false"),
        ({"reduceOnly": 0}, "reduceOnly is neither true nor false"),
        ({"createType": None}, "createType is no short text"),
        ({"isLeverage": 0}, "isLeverage is no short text"),
        ({"updatedTime": "x"}, "updatedTime is no time in milliseconds"),
        ({"createdTime": 1}, "createdTime is no time in milliseconds"),
        ({"createdTime": ""}, "createdTime is no time in milliseconds"),
        ({"createdTime": "-1"}, "createdTime is no time in milliseconds"),
        ({"createdTime": "17000000001234"}, "createdTime is no time in milliseconds"),
        ({"createdTime": "\u0661"}, "createdTime is no time in milliseconds"),
    ],
)
def test_order_with_a_field_that_is_none_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match=f"^an entry of a list: {words}$"):
        seen_order({**ORDER, **changes}, category="spot")


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_order_without_a_field_that_the_exchange_leaves_out_is_read_as_with_none(name: str) -> None:
    without = {key: value for key, value in ORDER.items() if key != name}
    assert seen_order(without, category="spot") == seen_order({**ORDER, name: ""}, category="spot")


@pytest.mark.parametrize("name", sorted(ORDER.keys() - LEFT_OUT))
def test_order_without_a_field_is_refused(name: str) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match=name):
        seen_order({key: value for key, value in ORDER.items() if key != name}, category="spot")


def test_execution_is_read_as_it_is_listed() -> None:
    assert seen_execution(EXECUTION, category="spot") == SeenExecution(
        category="spot",
        symbol="BTCUSDT",
        execution_id="e-1",
        order_id="o-1",
        link_id="",
        side="Sell",
        quantity=Decimal("0.1"),
        price=Decimal(100),
        fee=Decimal("-0.01"),
        order_quantity=Decimal("0.5"),
        order_price=Decimal(99),
        execution_type="Trade",
        create_type="",
        executed_at_ms=1_700_000_000_124,
    )


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"execFee": ""}, "fee", Decimal(0)),
        ({"orderQty": ""}, "order_quantity", Decimal(0)),
        ({"orderPrice": ""}, "order_price", Decimal(0)),
        ({"orderId": ""}, "order_id", ""),
        ({"orderLinkId": "T1"}, "link_id", "T1"),
    ],
)
def test_execution_with_what_the_exchange_writes_for_none_is_read(
    changes: dict[str, Any], name: str, value: Any
) -> None:
    assert getattr(seen_execution({**EXECUTION, **changes}, category="spot"), name) == value


@pytest.mark.parametrize("name", ["symbol", "execId", "side", "execQty", "execPrice", "execType", "execTime"])
def test_execution_with_an_empty_field_is_refused(name: str) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match=name):
        seen_execution({**EXECUTION, name: ""}, category="spot")


@pytest.mark.parametrize("name", sorted(EXECUTION.keys() - LEFT_OUT))
def test_execution_without_a_field_is_refused(name: str) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match=name):
        seen_execution({key: value for key, value in EXECUTION.items() if key != name}, category="spot")


def test_key_is_read_as_it_is_listed() -> None:
    assert listed_key(KEY) == ListedKey(
        key="k1",
        is_read_only=False,
        permissions={"Spot": frozenset({"SpotTrade"}), "Wallet": frozenset()},
        addresses=frozenset({"192.0.2.7"}),
        days_left=5,
    )


@pytest.mark.parametrize(("days", "left"), [(0, 0), (-1, -1), (-2, None), (-3, None)])
def test_key_shows_when_it_ends(days: int, left: int | None) -> None:
    assert listed_key({**KEY, "deadlineDay": days}).days_left == left


@pytest.mark.parametrize(("value", "is_read_only"), [(1, True), (0, False), (True, True)])
def test_key_says_in_either_way_whether_it_only_reads(value: Any, *, is_read_only: bool) -> None:
    assert listed_key({**KEY, "readOnly": value}).is_read_only is is_read_only


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"apiKey": ""}, "apiKey is empty"),
        ({"readOnly": None}, "readOnly is neither yes nor no"),
        ({"readOnly": 2}, "readOnly is neither yes nor no"),
        ({"readOnly": "1"}, "readOnly is neither yes nor no"),
        ({"permissions": []}, "permissions is no table"),
        ({"permissions": {str(n): [] for n in range(65)}}, "permissions is no table"),
        ({"permissions": {"Spot": "SpotTrade"}}, "permissions is no list"),
        ({"ips": "*"}, "ips is no list"),
        ({"ips": ["1"] * 129}, "ips is no list"),
        ({"deadlineDay": "5"}, "deadlineDay is no whole number"),
        ({"deadlineDay": True}, "deadlineDay is no whole number"),
    ],
)
def test_key_with_a_field_that_is_none_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match=f"^an entry of a list: {words}$"):
        listed_key({**KEY, **changes})


def test_lists_of_a_key_are_read_up_to_their_bounds_and_cut_in_their_words() -> None:
    most = {"permissions": {f"{n:0>70}": ["P" * 70] * 128 for n in range(64)}, "ips": ["a" * 70] * 128}
    key = listed_key({**KEY, **most})
    assert key.addresses == {"a" * 64}
    assert key.permissions == {"0" * 64: frozenset({"P" * 64})}


POSITION: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "side": "Buy",
    "size": "0.5",
    "leverage": "3",
    "positionIdx": 0,
    "markPrice": "100",
}


@pytest.mark.parametrize(
    ("changes", "size"),
    [({}, Decimal("0.5")), ({"side": "Sell"}, Decimal("-0.5")), ({"side": "", "size": "0"}, Decimal(0))],
)
def test_position_is_signed_by_its_side(changes: dict[str, Any], size: Decimal) -> None:
    assert seen_position({**POSITION, **changes}, category="linear") == SeenPosition(
        category="linear", symbol="BTCUSDT", size=size, leverage=Decimal(3), index=0, mark_price=Decimal(100)
    )


def test_position_without_a_mark_is_read() -> None:
    assert seen_position({**POSITION, "markPrice": ""}, category="linear").mark_price == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"side": "Both"}, "side is none of a position"),
        ({"side": ""}, "side is none of a position"),
        ({"size": ""}, "size is no plain number"),
        ({"leverage": ""}, "leverage is no plain number"),
        ({"positionIdx": "0"}, "positionIdx is no whole number"),
    ],
)
def test_position_with_a_field_that_is_none_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match=words):
        seen_position({**POSITION, **changes}, category="linear")


def test_trade_of_the_statement_is_read() -> None:
    entry = {
        "tradeId": "e-1",
        "orderId": "",
        "transactionTime": "5",
        "category": "linear",
        "symbol": "BTCUSDT",
        "currency": "USDT",
        "qty": "-0.5",
    }
    assert stated_trade(entry) == StatementTrade(trade_id="e-1", order_id="", at_ms=5, quantity=Decimal("0.5"))
    spot = {**entry, "category": "spot"}
    assert stated_trade(spot).quantity is None
    assert stated_trade({**spot, "currency": "BTC"}).quantity == Decimal("0.5")
    for name in ("category", "symbol", "currency", "qty"):
        with pytest.raises(ExchangeAnswerInvalid, match=name):
            stated_trade({**spot, "currency": "BTC", name: None})
    with pytest.raises(ExchangeAnswerInvalid, match="tradeId is empty"):
        stated_trade({**entry, "tradeId": ""})


def test_running_strategy_is_read_and_an_ended_one_is_not() -> None:
    entry = {"strategyId": "s1", "symbol": "", "status": 1, "createdTimeE3": "5"}
    assert seen_algorithm(entry) == SeenAlgorithm(strategy_id="s1", symbol="", created_at_ms=5)
    assert seen_algorithm({**entry, "status": 3, "strategyId": ""}) is None
    assert seen_algorithm({**entry, "status": 2}) is not None
    with pytest.raises(ExchangeAnswerInvalid, match="strategyId is empty"):
        seen_algorithm({**entry, "strategyId": ""})


FREE = {"coin": "BTC", "borrowAmount": "0", "spotBorrow": "", "accruedInterest": "0"}


@pytest.mark.parametrize("name", ["borrowAmount", "spotBorrow", "accruedInterest"])
def test_coin_that_is_owed_in_any_way_is_named(name: str) -> None:
    owed = {**FREE, "coin": "USDT", name: "0.1"}
    assert borrowed_coins({"coin": [FREE, owed]}) == ("USDT",)


@pytest.mark.parametrize("coins", [None, [1], [{"coin": "BTC"}], [{**FREE, "coin": "BTC"}, 1]])
def test_wallet_that_is_none_is_refused(coins: Any) -> None:
    with pytest.raises(ExchangeAnswerInvalid):
        borrowed_coins({"coin": coins})


def test_coins_that_are_held_are_read() -> None:
    assert held_coins({"coin": [{"coin": "BTC", "walletBalance": "0.5"}, {"coin": "ETH", "walletBalance": ""}]}) == {
        "BTC": Decimal("0.5"),
        "ETH": Decimal(0),
    }


def test_margin_mode_is_read() -> None:
    assert margin_mode({"marginMode": "ISOLATED_MARGIN"}) == "ISOLATED_MARGIN"


def test_index_candles_are_read() -> None:
    page = {"list": [["60000", "100", "102", "99", "101"], ["0", "98", "100", "97.5", "100"]]}
    assert seen_candles(page) == [
        IndexCandle(start_ms=60_000, lowest=Decimal(99), highest=Decimal(102)),
        IndexCandle(start_ms=0, lowest=Decimal("97.5"), highest=Decimal(100)),
    ]


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (None, "list is no list of candles"),
        ([{"start": "0"}], "list is no list of candles"),
        ([["0", "1", "1", "1"], "0"], "list is no list of candles"),
        ([["x", "1", "1", "1"]], "start is no time"),
        ([["0", "1", "NaN", "1"]], "high is no plain number"),
        ([["0", "1", "1", ""]], "low is no plain number"),
        ([["0", "1", "1"]], "low is no plain number"),
        ([[]], "start is no time"),
    ],
)
def test_candles_that_are_none_are_refused(listed: Any, words: str) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match=words):
        seen_candles({"list": listed})
