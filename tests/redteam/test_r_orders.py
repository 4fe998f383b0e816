"""Orders that are not a plain post-only limit order of a permitted symbol: denied by name, and nothing leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from redteam.attacker import Attacker, dumps, received_since

pytestmark = pytest.mark.slow


def test_r05_market_order_is_denied(attacker: Attacker) -> None:
    attacker.denied_order("ORDER_NOT_MAKER", attacker.order(orderType="Market"))
    attacker.denied_order("ORDER_NOT_MAKER", attacker.order(orderType="Market", price=None, timeInForce=None))
    attacker.denied_order("ORDER_NOT_MAKER", attacker.order(orderType="limit"))


@pytest.mark.parametrize(
    "word", [None, "GTC", "IOC", "FOK", "RPI", "postonly", "PostOnly ", " PostOnly", "POSTONLY", "", True]
)
def test_r06_limit_order_that_may_take_is_denied(attacker: Attacker, word: Any) -> None:
    attacker.denied_order("ORDER_NOT_MAKER", attacker.order(timeInForce=word))


def test_r06_what_passes_says_post_only_byte_for_byte(attacker: Attacker) -> None:
    before = attacker.facts().received
    order = attacker.place()
    (sent,) = [item["body"] for item in received_since(attacker.stack, before) if item["path"] == "/v5/order/create"]
    assert '"orderType":"Limit"' in sent
    assert '"timeInForce":"PostOnly"' in sent
    assert attacker.cancel(order)["retCode"] == 0


@pytest.mark.parametrize(
    "extra",
    [
        {"takeProfit": "1"},
        {"stopLoss": "0.1"},
        {"tpslMode": "Full"},
        {"tpOrderType": "Market"},
        {"slOrderType": "Market"},
        {"trailingStop": "1"},
        {"takeProfit": ""},
    ],
)
def test_r07_attached_child_orders_are_denied(attacker: Attacker, extra: dict[str, str]) -> None:
    attacker.denied_order("ORDER_FIELD_FORBIDDEN", attacker.order(**extra))


@pytest.mark.parametrize("extra", [{"triggerPrice": "0.1"}, {"triggerDirection": 1}, {"triggerBy": "LastPrice"}])
def test_r08_conditional_order_is_denied(attacker: Attacker, extra: dict[str, Any]) -> None:
    attacker.denied_order("ORDER_FIELD_FORBIDDEN", attacker.order(**extra))
    attacker.denied_order("ORDER_FIELD_FORBIDDEN", attacker.order(category="linear", **extra))


@pytest.mark.parametrize("value", ["StopOrder", "tpslOrder", "BidirectionalTpslOrder", "order", ""])
def test_r08_order_filter_that_makes_it_conditional_is_denied(attacker: Attacker, value: str) -> None:
    attacker.denied_order("ORDER_FIELD_FORBIDDEN", attacker.order(orderFilter=value))


@pytest.mark.parametrize("extra", [{"bboSideType": "Counterparty", "bboLevel": "5"}, {"bboLevel": "1"}])
def test_r10_price_chosen_by_the_exchange_is_denied(attacker: Attacker, extra: dict[str, str]) -> None:
    attacker.denied_order("ORDER_FIELD_FORBIDDEN", attacker.order(**extra))


def test_r11_closing_a_whole_position_with_quantity_zero_is_denied(attacker: Attacker) -> None:
    trick = attacker.order(category="linear", qty="0", reduceOnly=True, closeOnTrigger=True)
    attacker.denied_order("ORDER_FIELD_FORBIDDEN", trick)
    del trick["closeOnTrigger"]
    attacker.denied_order("ORDER_NUMBER_INVALID", trick)


NUMBERS = [
    '"NaN"',
    '"Infinity"',
    '"-Infinity"',
    '"inf"',
    '"1e9"',
    '"1E-9"',
    '"-1"',
    '"+1"',
    '"0"',
    '"0.0"',
    '"00020"',
    '"020"',
    '"1_000"',
    '" 5 "',
    '"5 "',
    '"5."',
    '".5"',
    '"5,5"',
    '"0x14"',
    '""',
    '"20\\u0000"',
    '"\uff11\uff10"',
    '"\u0661\u0660"',
    '"' + "9" * 400 + '"',
    '"20.' + "0" * 13 + '"',
    "20",
    "2e1",
    "NaN",
    "Infinity",
    "-20",
    "null",
    "true",
    '["20"]',
    '{"v":"20"}',
    "9" * 400,
]
_NOT_JSON_TO_US = {"2e1", "NaN", "Infinity", "-20", "null", '["20"]', '{"v":"20"}', "9" * 400, '"20\\u0000"'}


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: ascii(text)[:24])
@pytest.mark.parametrize("key", ["qty", "price"])
def test_r12_numbers_of_another_grammar_are_denied(attacker: Attacker, key: str, number: str) -> None:
    order = attacker.order()
    body = dumps(order).replace(f'"{key}": "{order[key]}"', f'"{key}": {number}')
    code = "ORDER_NUMBER_INVALID"
    if number in _NOT_JSON_TO_US or not number.isascii():
        code = "BODY_NOT_FLAT_JSON"
    attacker.denied_order(code, body)


@pytest.mark.parametrize(
    "extra",
    [
        '"qty": "9999"',
        '"timeInForce": "IOC"',
        '"orderType": "Market"',
        '"symbol": "DOGEUSDT"',
        '"category": "linear"',
        '"side": "Sell"',
        '"price": "1"',
    ],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "last"])
def test_r13_duplicate_key_is_denied(attacker: Attacker, extra: str, is_first: bool) -> None:
    inner = dumps(attacker.order())[1:-1]
    attacker.denied_order("BODY_KEY_DUPLICATE", "{" + (f"{extra}, {inner}" if is_first else f"{inner}, {extra}") + "}")


@pytest.mark.parametrize("key", ["\\u0071ty", "q\\u0074y", "Qty", "qty ", "qty\x00", "__proto__"])
def test_r13_key_that_another_reader_would_take_for_a_known_one_is_denied(attacker: Attacker, key: str) -> None:
    inner = dumps(attacker.order())[1:-1]
    code = "BODY_NOT_FLAT_JSON" if "\\" in key or "\x00" in key else "BODY_KEY_UNKNOWN"
    attacker.denied_order(code, "{" + f'{inner}, "{key}": "9999"' + "}")


@pytest.mark.parametrize("symbol", ["VIAUSDT", "DMGUSDT", "BTCUSDC", "BTCUSD", "BTCPERP", "BTCUSDTX"])
@pytest.mark.parametrize("category", ["spot", "linear"])
def test_r19_symbol_that_is_not_permitted_is_denied(attacker: Attacker, category: str, symbol: str) -> None:
    attacker.denied_order("SYMBOL_NOT_PERMITTED", attacker.order(category=category, symbol=symbol))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("symbol", "btcusdt"),
        ("symbol", "BTC/USDT"),
        ("symbol", "XRPUSDT&symbol=BTCUSDT"),
        ("symbol", "http://10.0.0.1/"),
        ("symbol", "../../asset"),
        ("category", "inverse"),
        ("category", "option"),
        ("category", "Spot"),
        ("side", "buy"),
        ("side", "None"),
    ],
)
def test_r19_word_of_another_grammar_is_denied(attacker: Attacker, key: str, value: str) -> None:
    attacker.denied_order("BODY_VALUE_INVALID", attacker.order(**{key: value}))


@pytest.mark.parametrize(
    "extra",
    [{"isLeverage": 1}, {"isLeverage": "0"}, {"positionIdx": 1}, {"positionIdx": 2}, {"marketUnit": "quoteCoin"}],
)
def test_r25_order_with_borrowed_money_or_another_mode_is_denied(attacker: Attacker, extra: dict[str, Any]) -> None:
    attacker.denied_order("ORDER_FIELD_FORBIDDEN", attacker.order(**extra))


def test_r16_what_is_sent_is_built_from_what_was_checked(attacker: Attacker) -> None:
    order = attacker.order(qty="10", orderLinkId="mine-r16", isLeverage=0, orderFilter="Order")
    before = attacker.facts().received
    spaced = " \t\r\n" + json.dumps(dict(reversed(order.items())), indent=3) + "\n"
    answer = attacker.bot.post("/v5/order/create", spaced)
    assert answer["retCode"] == 0
    (sent,) = [item for item in received_since(attacker.stack, before) if item["path"] == "/v5/order/create"]
    expected = [f'"{key}":"{order[key]}"' for key in ("category", "symbol", "side", "orderType", "qty", "price")]
    start = "{" + ",".join(expected) + ',"timeInForce":"PostOnly","orderLinkId":"T1'
    assert sent["body"].startswith(start)
    assert len(sent["body"]) == len(start) + 34 + len('"}')
    assert sent["key"] != attacker.bot.key
    assert attacker.cancel(order | answer["result"])["retCode"] == 0
