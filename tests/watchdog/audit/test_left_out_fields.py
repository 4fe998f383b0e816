"""Shapes as a real exchange writes them, which leave fields out that the simulated one always writes.

The figures are made up; which fields are there is what documented and recorded answers of Bybit V5 show.
"""

from __future__ import annotations

from typing import Any

import pytest

from trade_gateway.account.messages import parse_execution, parse_order
from trade_gateway.wire.intents import Category
from trade_killswitch.working_orders import BOOKS, Shelf, parse_page
from trade_watchdog.audit.listing import seen_execution, seen_order
from trade_watchdog.audit.provenance import EXCHANGES_CREATE_TYPES

LISTED_ORDER: dict[str, Any] = {
    "orderId": "11111111-2222-3333-4444-555555555555",
    "orderLinkId": "",
    "blockTradeId": "",
    "symbol": "SOLUSDT",
    "price": "150.00",
    "qty": "2.0",
    "side": "Buy",
    "isLeverage": "",
    "positionIdx": 0,
    "orderStatus": "New",
    "cancelType": "UNKNOWN",
    "rejectReason": "EC_NoError",
    "avgPrice": "0",
    "leavesQty": "2.0",
    "leavesValue": "300.00",
    "cumExecQty": "0.0",
    "cumExecValue": "0",
    "cumExecFee": "0",
    "timeInForce": "PostOnly",
    "orderType": "Limit",
    "stopOrderType": "UNKNOWN",
    "orderIv": "",
    "triggerPrice": "0.00",
    "takeProfit": "",
    "stopLoss": "",
    "triggerDirection": 0,
    "triggerBy": "UNKNOWN",
    "lastPriceOnCreated": "149.50",
    "reduceOnly": False,
    "closeOnTrigger": False,
    "smpType": "None",
    "createdTime": "1700000000111",
    "updatedTime": "1700000000222",
}
STREAMED_ORDER = {
    **{name: value for name, value in LISTED_ORDER.items() if name != "isLeverage"},
    "category": "linear",
    "createType": "CreateByUser",
}
LISTED_EXECUTION: dict[str, Any] = {
    "symbol": "SOLPERP",
    "orderType": "Market",
    "underlyingPrice": "",
    "orderLinkId": "",
    "side": "Buy",
    "indexPrice": "",
    "orderId": "11111111-2222-3333-4444-666666666666",
    "stopOrderType": "UNKNOWN",
    "leavesQty": "0",
    "execTime": "1700000000333",
    "feeCurrency": "",
    "isMaker": False,
    "execFee": "0.07",
    "feeRate": "0.0006",
    "execId": "77777777-2222-3333-4444-555555555555",
    "markPrice": "150.1",
    "execPrice": "150.2",
    "orderQty": "2.0",
    "orderPrice": "160.0",
    "execValue": "300.4",
    "execType": "Trade",
    "execQty": "2.0",
}


@pytest.mark.parametrize("entry", [LISTED_ORDER, STREAMED_ORDER])
def test_order_without_what_the_exchange_leaves_out_is_read(entry: dict[str, Any]) -> None:
    order = seen_order(entry, category="linear")
    assert order.create_type not in EXCHANGES_CREATE_TYPES
    assert (order.is_leverage, order.updated_at_ms) == (False, 1_700_000_000_222)


def test_execution_without_what_the_exchange_leaves_out_is_read() -> None:
    assert seen_execution(LISTED_EXECUTION, category="linear").create_type == ""


@pytest.mark.parametrize("entry", [LISTED_ORDER, STREAMED_ORDER])
def test_gateway_and_executor_read_the_same_orders(entry: dict[str, Any]) -> None:
    order = parse_order(entry, Category.LINEAR)
    assert order is not None
    assert order.is_conditional is False
    (working,) = parse_page([entry], Shelf(book=BOOKS[1]))
    assert (working.symbol, working.is_reducing) == ("SOLUSDT", False)


def test_gateway_reads_the_same_execution() -> None:
    assert parse_execution(LISTED_EXECUTION, Category.LINEAR) is not None


def test_spot_sale_that_does_not_say_whether_it_borrows_is_cancelled_by_a_sweep() -> None:
    (working,) = parse_page([{**STREAMED_ORDER, "side": "Sell"}], Shelf(book=BOOKS[0]))
    assert not working.is_reducing
