"""What the exchange may say of the account, and what is not believed."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.parts import order_intent, stop_intent

from trade_gateway.account.messages import (
    ExecutionSeen,
    NonsenseSaid,
    OrderSeen,
    PositionSeen,
    WalletSeen,
    parse_execution,
    parse_frame,
    parse_order,
    parse_wallet,
)
from trade_gateway.wire.intents import Category, OrderIntent, Side, StopIntent

ORDER: dict[str, Any] = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "orderId": "x1",
    "orderLinkId": "T1",
    "side": "Sell",
    "orderStatus": "PartiallyFilled",
    "qty": "0.5",
    "price": "30000",
    "cumExecQty": "0.2",
    "cumExecValue": "6000",
    "reduceOnly": True,
    "stopOrderType": "",
}
EXECUTION: dict[str, Any] = {
    "category": "spot",
    "symbol": "BTCUSDT",
    "execId": "e1",
    "orderId": "x1",
    "orderLinkId": "T1",
    "execQty": "0.2",
    "execPrice": "30000",
    "execType": "Trade",
}
WALLET: dict[str, Any] = {
    "accountType": "UNIFIED",
    "totalEquity": "4000.5",
    "coin": [{"coin": "BTC", "walletBalance": "-0.1"}, {"coin": "USDT", "walletBalance": "7"}],
}
POSITION: dict[str, Any] = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Sell",
    "size": "0.3",
    "positionIdx": 0,
    "seq": 12,
}
ROWS = {"order": ORDER, "execution": EXECUTION, "wallet": WALLET, "position": POSITION}


def frame(topic: str, *rows: Any, **changed: Any) -> str:
    return json.dumps({"id": "1", "topic": topic, "creationTime": 1700, "data": list(rows), **changed})


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def test_messages_order_is_read_whole() -> None:
    assert parse_frame(frame("order", ORDER)) == (
        OrderSeen(
            category=Category.LINEAR,
            symbol="BTCUSDT",
            order_id="x1",
            tag="T1",
            side=Side.SELL,
            status="PartiallyFilled",
            quantity=Decimal("0.5"),
            price=Decimal(30000),
            filled=Decimal("0.2"),
            value=Decimal(6000),
            is_reducing=True,
            is_conditional=False,
        ),
    )


def test_messages_order_with_unset_numbers_is_unfilled_and_without_price() -> None:
    (seen,) = parse_frame(frame("order", {**ORDER, "price": "", "cumExecQty": "", "cumExecValue": ""}))
    assert isinstance(seen, OrderSeen)
    assert (seen.price, seen.filled, seen.value) == (0, 0, None)


@pytest.mark.parametrize(("kind", "is_conditional"), [("", False), ("UNKNOWN", False), ("Stop", True)])
def test_messages_order_that_waits_for_a_trigger_is_told_apart(kind: str, is_conditional: bool) -> None:
    seen = parse_order({**ORDER, "stopOrderType": kind})
    assert seen is not None
    assert seen.is_conditional is is_conditional


def test_messages_rest_list_lends_its_category_to_its_orders() -> None:
    seen = parse_order(without(ORDER, "category"), Category.SPOT)
    assert seen is not None
    assert seen.category is Category.SPOT


def test_messages_execution_is_read_whole() -> None:
    assert parse_frame(frame("execution", EXECUTION)) == (
        ExecutionSeen(
            execution_id="e1",
            category=Category.SPOT,
            symbol="BTCUSDT",
            order_id="x1",
            tag="T1",
            quantity=Decimal("0.2"),
            price=Decimal(30000),
            is_trade=True,
        ),
    )


@pytest.mark.parametrize("kind", ["BustTrade", "AdlTrade", "Settle"])
def test_messages_execution_that_nobody_ordered_is_no_trade(kind: str) -> None:
    (seen,) = parse_frame(frame("execution", {**EXECUTION, "execType": kind, "orderLinkId": ""}))
    assert isinstance(seen, ExecutionSeen)
    assert not seen.is_trade


def test_messages_wallet_is_read_with_its_time() -> None:
    assert parse_frame(frame("wallet", WALLET)) == (
        WalletSeen(coins={"BTC": Decimal("-0.1"), "USDT": Decimal(7)}, equity_usdt=Decimal("4000.5"), at_ms=1700),
    )


@pytest.mark.parametrize(
    ("changed", "size"),
    [({}, "-0.3"), ({"side": "Buy"}, "0.3"), ({"side": "", "size": "0"}, "0"), ({"side": "None", "size": "0"}, "0")],
)
def test_messages_position_is_signed(changed: dict[str, Any], size: str) -> None:
    assert parse_frame(frame("position", {**POSITION, **changed})) == (
        PositionSeen(symbol="BTCUSDT", size=Decimal(size), sequence=12),
    )


@pytest.mark.parametrize(
    "text",
    [
        frame("greeks", {"anything": 1}),
        json.dumps({"topic": 5, "data": []}),
        json.dumps({"success": True}),
        frame("order", {**ORDER, "category": "option"}),
        frame("execution", {**EXECUTION, "execType": "Funding"}),
        frame("position", {**POSITION, "category": "inverse"}),
        frame("wallet", {**WALLET, "accountType": "FUND"}),
        frame("order"),
    ],
)
def test_messages_that_do_not_concern_the_view_are_nothing(text: str) -> None:
    assert parse_frame(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[1]",
        "[" * 100_000,
        frame("order", ORDER, data=None),
        frame("order", ORDER, data={"a": 1}),
        frame("order", ORDER, creationTime="soon"),
        frame("order", *[1]),
        frame("wallet", *[{"coin": []}] * 1_001),
        *[
            frame(topic, without(ROWS[topic], name))
            for topic, name in [
                ("order", "category"),
                ("order", "symbol"),
                ("order", "orderId"),
                ("order", "side"),
                ("order", "orderStatus"),
                ("order", "qty"),
                ("execution", "category"),
                ("execution", "execId"),
                ("execution", "execQty"),
                ("execution", "execPrice"),
                ("wallet", "coin"),
                ("position", "symbol"),
                ("position", "size"),
            ]
        ],
        *[
            frame(topic, {**ROWS[topic], name: value})
            for topic, name, value in [
                ("order", "qty", "NaN"),
                ("order", "qty", 1),
                ("order", "qty", "1e3"),
                ("order", "qty", "-1"),
                ("order", "cumExecQty", "-1"),
                ("order", "cumExecValue", "-0.5"),
                ("order", "price", "Infinity"),
                ("order", "side", "Hold"),
                ("order", "symbol", "X" * 65),
                ("order", "symbol", "\u0661"),
                ("order", "orderStatus", "New\n"),
                ("order", "orderLinkId", 5),
                ("execution", "execQty", "-1"),
                ("wallet", "totalEquity", "much"),
                ("wallet", "coin", [{"coin": "BTC"}]),
                ("wallet", "coin", [5]),
                ("order", "cumExecValue", {}),
                ("order", "side", []),
                ("order", "category", []),
                ("wallet", "totalEquity", []),
                ("position", "side", {}),
                ("position", "positionIdx", []),
                ("position", "size", "-1"),
                ("position", "side", "Long"),
                ("position", "positionIdx", 1),
                ("position", "seq", "12"),
            ]
        ],
    ],
)
def test_messages_nonsense_is_refused(text: str) -> None:
    with pytest.raises(NonsenseSaid):
        parse_frame(text)


@pytest.mark.parametrize(("count", "is_believed"), [(999, True), (1_000, True), (1_001, False)])
def test_message_of_more_than_a_thousand_items_is_not_believed(count: int, *, is_believed: bool) -> None:
    text = frame("wallet", *[WALLET] * count)
    coins = frame(
        "wallet", {**WALLET, "coin": [{"coin": f"C{number}", "walletBalance": "1"} for number in range(count)]}
    )
    if is_believed:
        assert len(parse_frame(text)) == count
        (wallet,) = parse_frame(coins)
        assert isinstance(wallet, WalletSeen)
        assert len(wallet.coins) == count
    else:
        for refused in (text, coins):
            with pytest.raises(NonsenseSaid):
                parse_frame(refused)


@pytest.mark.parametrize(("length", "is_believed"), [(63, True), (64, True), (65, False)])
def test_message_with_a_word_of_more_than_64_characters_is_not_believed(length: int, *, is_believed: bool) -> None:
    text = frame("order", {**ORDER, "orderId": "x" * length})
    if is_believed:
        assert len(parse_frame(text)) == 1
    else:
        with pytest.raises(NonsenseSaid):
            parse_frame(text)


LIMIT_STOP = stop_intent(quantity="0.5", limit_price="28800")
MARKET_STOP = stop_intent(quantity="0.5", limit_price=None)
EXIT = order_intent(category=Category.LINEAR, side=Side.SELL, quantity="0.5", price="28800", reduce_only=True)
ENTRY = order_intent(category=Category.LINEAR, side=Side.SELL, quantity="0.5", price="28800")


@pytest.mark.parametrize(
    ("sent", "shown", "is_as_sent"),
    [
        (LIMIT_STOP, {}, True),
        (LIMIT_STOP, {"qty": "0.4"}, True),
        (LIMIT_STOP, {"qty": "0.6"}, False),
        (LIMIT_STOP, {"qty": "0"}, False),
        (LIMIT_STOP, {"price": "28799"}, False),
        (LIMIT_STOP, {"side": "Buy"}, False),
        (LIMIT_STOP, {"symbol": "ETHUSDT"}, False),
        (LIMIT_STOP, {"category": "spot"}, False),
        (MARKET_STOP, {"price": "0"}, True),
        (MARKET_STOP, {"price": "27000"}, True),
        (MARKET_STOP, {"qty": "0.6"}, False),
        (EXIT, {}, True),
        (EXIT, {"qty": "0.4"}, True),
        (ENTRY, {}, True),
        (ENTRY, {"qty": "0.4"}, False),
    ],
)
def test_order_is_as_sent_but_for_what_the_exchange_may_change(
    sent: OrderIntent | StopIntent, shown: dict[str, str], is_as_sent: bool
) -> None:
    seen = parse_order({**ORDER, "price": "28800", **shown})
    assert seen is not None
    assert seen.is_as_sent(sent) is is_as_sent


@pytest.mark.parametrize(
    ("changed", "entry"),
    [
        ({"entryPrice": "30000.5"}, "30000.5"),
        ({"avgPrice": "30000.5"}, "30000.5"),
        ({"entryPrice": "0"}, None),
        ({"avgPrice": ""}, None),
        ({}, None),
    ],
)
def test_position_has_the_entry_price_that_stream_or_page_names(changed: dict[str, str], entry: str | None) -> None:
    (seen,) = parse_frame(frame("position", {**POSITION, **changed}))
    assert isinstance(seen, PositionSeen)
    assert seen.entry_price == (None if entry is None else Decimal(entry))


@pytest.mark.parametrize("entry", ["-1", "NaN", "x", 7])
def test_position_whose_entry_price_is_nonsense_is_not_believed(entry: object) -> None:
    with pytest.raises(NonsenseSaid):
        parse_frame(frame("position", {**POSITION, "entryPrice": entry}))


def test_message_with_a_list_for_a_topic_does_not_concern_the_view() -> None:
    assert parse_frame(json.dumps({"topic": ["order"], "creationTime": 1, "data": []})) == ()


def test_messages_rest_list_lends_its_category_to_its_executions() -> None:
    seen = parse_execution(without(EXECUTION, "category"), Category.LINEAR)
    assert seen is not None
    assert seen.category is Category.LINEAR


def test_messages_execution_of_a_category_that_is_not_traded_is_nothing() -> None:
    assert parse_execution({**EXECUTION, "category": "option"}) is None


@pytest.mark.parametrize(
    ("told", "rate"),
    [("0.00055", "0.00055"), ("-0.0001", "-0.0001"), ("0", "0"), ("", None), (None, None), ("NaN", None), (1, None)],
)
def test_messages_execution_has_the_rate_that_it_was_charged_where_it_is_a_number(
    told: object, rate: str | None
) -> None:
    seen = parse_execution({**EXECUTION, "feeRate": told})
    assert seen is not None
    assert seen.fee_rate == (None if rate is None else Decimal(rate))
    assert parse_execution(EXECUTION) == replace(seen, fee_rate=None)


@pytest.mark.parametrize("equity", ["", None])
def test_messages_wallet_without_an_equity_has_none(equity: object) -> None:
    (seen,) = parse_frame(frame("wallet", {**WALLET, "totalEquity": equity}))
    assert isinstance(seen, WalletSeen)
    assert seen.equity_usdt is None


NOT_PLAIN = ["NaN", "Infinity", "-Infinity", "1e3", "much", 4000, True, [], {}]


@pytest.mark.parametrize("equity", NOT_PLAIN)
def test_messages_equity_that_is_no_plain_number_is_nonsense_in_a_message_and_none_in_a_reading(
    equity: object,
) -> None:
    row = {**WALLET, "totalEquity": equity}
    with pytest.raises(NonsenseSaid, match="totalEquity is not a plain number"):
        parse_wallet(row, at_ms=1)
    seen = parse_wallet(row, at_ms=1, is_whole=True)
    assert seen is not None
    assert (seen.equity_usdt, seen.coins["USDT"]) == (None, 7)


def test_messages_equity_of_a_reading_is_what_it_says() -> None:
    seen = parse_wallet({**WALLET, "totalEquity": "-3"}, at_ms=1, is_whole=True)
    assert seen is not None
    assert seen.equity_usdt == -3


def test_messages_position_without_index_and_sequence_is_of_one_way_and_the_oldest() -> None:
    (seen,) = parse_frame(frame("position", without(without(POSITION, "positionIdx"), "seq")))
    assert isinstance(seen, PositionSeen)
    assert seen.sequence == -1
