"""Orders and cancels: what freqtrade, ccxt and pybit really send passes; every known way out is refused by name."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.fields import (
    shown,
)
from trade_gateway.wire.intents import CancelIntent, Category, OrderFilter, OrderIntent, Side
from trade_gateway.wire.order_bodies import CREATE_REQUIRED, FORBIDDEN_KEYS
from trade_gateway.wire.parse import parse_order_cancel, parse_order_create
from trade_gateway.wire.refusal import Refusal
from trade_gateway.wire.render import cancel_body, order_body

LINEAR = {
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "timeInForce": "PostOnly",
    "price": "60012.8",
    "category": "linear",
    "qty": "0.009",
}
INTENT = OrderIntent(
    category=Category.LINEAR,
    symbol="BTCUSDT",
    side=Side.BUY,
    quantity=Decimal("0.009"),
    price=Decimal("60012.8"),
    reduce_only=False,
    client_link_id=None,
)


def body(**changes: Any) -> bytes:
    return json.dumps({**LINEAR, **changes}, separators=(",", ":")).encode()


def without(key: str) -> bytes:
    return json.dumps({name: value for name, value in LINEAR.items() if name != key}).encode()


def refused(raw: bytes) -> Refusal:
    result = parse_order_create(raw)
    assert isinstance(result, Refusal), result
    return result


def code_of(raw: bytes) -> DenyCode:
    return refused(raw).code


def parsed(raw: bytes) -> OrderIntent:
    result = parse_order_create(raw)
    assert isinstance(result, OrderIntent), result
    return result


def test_create_of_a_plain_order_gives_its_intent() -> None:
    assert parsed(body()) == INTENT


@pytest.mark.parametrize(
    ("raw", "category", "side", "quantity", "price", "reduce_only", "link_id"),
    [
        # freqtrade, spot entry and exit
        (
            b'{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","timeInForce":"PostOnly","price":"59893.9",'
            b'"category":"spot","qty":"0.000834"}',
            Category.SPOT, Side.BUY, "0.000834", "59893.9", False, None,
        ),
        (
            b'{"symbol":"BTCUSDT","side":"Sell","orderType":"Limit","timeInForce":"PostOnly","price":"60000.1",'
            b'"category":"spot","qty":"0.01"}',
            Category.SPOT, Side.SELL, "0.01", "60000.1", False, None,
        ),
        # freqtrade, linear entry and exit, with its own spelling of positionIdx
        (
            b'{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","timeInForce":"PostOnly","price":"60012.8",'
            b'"category":"linear","qty":"0.009","position_idx":0}',
            Category.LINEAR, Side.BUY, "0.009", "60012.8", False, None,
        ),
        (
            b'{"symbol":"BTCUSDT","side":"Sell","orderType":"Limit","timeInForce":"PostOnly","price":"60000",'
            b'"category":"linear","qty":"0.009","reduceOnly":true,"position_idx":0}',
            Category.LINEAR, Side.SELL, "0.009", "60000", True, None,
        ),
        # ccxt with a client order id
        (
            b'{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","timeInForce":"PostOnly","orderLinkId":"my-id_1",'
            b'"price":"60000","category":"linear","qty":"0.01"}',
            Category.LINEAR, Side.BUY, "0.01", "60000", False, "my-id_1",
        ),
        # pybit, with spaces and every tolerated field
        (
            b'{"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", '
            b'"price": "60000", "timeInForce": "PostOnly", "orderLinkId": "p_1", "isLeverage": 0, '
            b'"orderFilter": "Order", "positionIdx": 0, "reduceOnly": false}',
            Category.SPOT, Side.BUY, "0.01", "60000", False, "p_1",
        ),
    ],
)  # fmt: skip
def test_create_of_a_recorded_body_is_understood(
    raw: bytes, category: Category, side: Side, quantity: str, price: str, *, reduce_only: bool, link_id: str | None
) -> None:
    assert parsed(raw) == OrderIntent(
        category=category,
        symbol="BTCUSDT",
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        reduce_only=reduce_only,
        client_link_id=link_id,
    )


@pytest.mark.parametrize("value", ["Market", "limit", "LIMIT", "Limit ", "", 1, True])
def test_create_of_another_order_type_is_no_maker(value: object) -> None:
    assert code_of(body(orderType=value)) is DenyCode.ORDER_NOT_MAKER


@pytest.mark.parametrize("value", ["GTC", "IOC", "FOK", "RPI", "postonly", "PostOnly ", "POSTONLY", "", 0, False])
def test_create_of_another_time_in_force_is_no_maker(value: object) -> None:
    assert code_of(body(timeInForce=value)) is DenyCode.ORDER_NOT_MAKER


def test_create_without_order_type_or_time_in_force_is_no_maker_and_says_so() -> None:
    assert refused(without("timeInForce")).detail == (("time_in_force", "missing"),)
    assert refused(without("orderType")).detail == (("order_type", "missing"),)
    assert refused(body(timeInForce="GTC")).detail == (("time_in_force", "GTC"),)
    assert refused(body(timeInForce=True)).detail == (("time_in_force", "true"),)
    assert refused(body(timeInForce=1)).detail == (("time_in_force", "1"),)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"symbol":"BTCUSDT","side":"Buy","orderType":"Market","category":"spot","marketUnit":"baseCoin",'
        b'"qty":"0.00083"}',
        b'{"symbol":"BTCUSDT","side":"Sell","orderType":"Market","category":"linear","qty":"0.009","reduceOnly":true,'
        b'"position_idx":0}',
        b'{"side":"Buy","orderType":"Market","qty":"60"}',
    ],
)
def test_create_of_a_recorded_market_order_is_no_maker(raw: bytes) -> None:
    assert code_of(raw) is DenyCode.ORDER_NOT_MAKER


@pytest.mark.parametrize("key", sorted(FORBIDDEN_KEYS))
@pytest.mark.parametrize("value", ["", "1", 0, False])
def test_create_with_a_forbidden_field_is_refused_by_name(key: str, value: object) -> None:
    refusal = refused(body(**{key: value}))
    assert refusal.code is DenyCode.ORDER_FIELD_FORBIDDEN
    assert refusal.detail[0] == ("key", key)


def test_forbidden_fields_cover_the_documented_ways_out() -> None:
    assert {
        "triggerPrice", "triggerDirection", "triggerBy", "takeProfit", "stopLoss", "tpTriggerBy", "slTriggerBy",
        "tpslMode", "tpLimitPrice", "slLimitPrice", "tpOrderType", "slOrderType", "closeOnTrigger", "marketUnit",
        "slippageTolerance", "slippageToleranceType", "rpiTakerAccess", "bboSideType", "bboLevel", "orderIv", "mmp",
        "smpType",
    } <= FORBIDDEN_KEYS  # fmt: skip
    assert not FORBIDDEN_KEYS & set(CREATE_REQUIRED)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"symbol":"BTCUSDT","side":"Sell","orderType":"Market","category":"linear","qty":"0.009",'
        b'"triggerDirection":2,"triggerPrice":"59105.6","reduceOnly":true,"triggerBy":"MarkPrice"}',
        b'{"symbol":"BTCUSDT","side":"Sell","orderType":"Limit","price":"58339.6","category":"linear","qty":"0.009",'
        b'"triggerDirection":2,"triggerPrice":"58928.8","reduceOnly":true,"triggerBy":"MarkPrice"}',
    ],
)
def test_create_of_a_recorded_protective_stop_is_refused_as_such(raw: bytes) -> None:
    assert code_of(raw) is DenyCode.ORDER_STOP_NOT_PERMITTED


def test_create_that_closes_a_position_with_quantity_zero_is_refused() -> None:
    raw = body(side="Sell", qty="0", reduceOnly=True, closeOnTrigger=True)
    assert code_of(raw) is DenyCode.ORDER_FIELD_FORBIDDEN


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("isLeverage", 1), ("isLeverage", "0"), ("isLeverage", False), ("orderFilter", "StopOrder"),
        ("orderFilter", "tpslOrder"), ("orderFilter", "order"), ("positionIdx", 1), ("positionIdx", "0"),
        ("position_idx", 2), ("isLeverage", 0.0),
    ],
)  # fmt: skip
def test_create_with_a_tolerated_field_of_another_value_is_refused(key: str, value: object) -> None:
    assert code_of(body(**{key: value})) is DenyCode.ORDER_FIELD_FORBIDDEN


@pytest.mark.parametrize("key", ["tif", "Category", "symbol ", "__proto__", "leverage", "orderId", "position_Idx"])
def test_create_with_an_unknown_key_is_refused(key: str) -> None:
    assert code_of(body(**{key: "x"})) is DenyCode.BODY_KEY_UNKNOWN


@pytest.mark.parametrize("key", ["category", "symbol", "side", "qty", "price"])
def test_create_without_a_required_key_is_refused_by_name(key: str) -> None:
    refusal = refused(without(key))
    assert (refusal.code, refusal.detail) == (DenyCode.BODY_KEY_MISSING, (("key", key),))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("category", "inverse"), ("category", "option"), ("category", "Linear"), ("category", ""), ("category", 1),
        ("side", "buy"), ("side", "BUY"), ("side", "Both"), ("side", True),
        ("symbol", "btcusdt"), ("symbol", ""), ("symbol", "BTC/USDT"), ("symbol", "A" * 31), ("symbol", "BTCUSDT "),
        ("symbol", "http://x"), ("symbol", 5),
        ("reduceOnly", "true"), ("reduceOnly", 1), ("reduceOnly", "false"),
        ("orderLinkId", "x" * 37), ("orderLinkId", "a b"), ("orderLinkId", "a.b"),
        ("orderLinkId", 7),
    ],
)  # fmt: skip
def test_create_with_an_invalid_value_is_refused_by_key(key: str, value: object) -> None:
    refusal = refused(body(**{key: value}))
    assert refusal.code is DenyCode.BODY_VALUE_INVALID
    assert refusal.detail[0] == ("key", key)


def test_create_with_the_longest_names_passes() -> None:
    assert parsed(body(symbol="A" * 30, orderLinkId="x" * 36)).client_link_id == "x" * 36


def test_create_of_a_reduce_only_spot_order_is_refused() -> None:
    assert code_of(body(category="spot", reduceOnly=True)) is DenyCode.ORDER_FIELD_FORBIDDEN
    assert not parsed(body(category="spot", reduceOnly=False)).reduce_only


@pytest.mark.parametrize("key", ["qty", "price"])
@pytest.mark.parametrize(
    "value",
    [
        "NaN", "nan", "Infinity", "-Infinity", "inf", "1e9", "1E9", "-1", "+1", "-0", "1_000", " 5 ", "5 ", " 5", "",
        ".5", "5.", "05", "00", "0", "0.0", "0.000000000000", "0x10", "1,5", "1.2.3", "9" * 13, "9" * 400,
        "0." + "0" * 12 + "1", 1, 0.5, True,
    ],
)  # fmt: skip
def test_create_with_a_number_trick_is_refused(key: str, value: object) -> None:
    assert code_of(body(**{key: value})) is DenyCode.ORDER_NUMBER_INVALID


@pytest.mark.parametrize("digit", ["\uff11", "\u0661", "\u00b2", "\u2460", "\U0001d7ce"])
def test_create_with_unicode_digits_is_refused_raw_and_escaped(digit: str) -> None:
    raw = json.dumps({**LINEAR, "qty": digit}, ensure_ascii=False).encode()
    assert code_of(raw) is DenyCode.BODY_NOT_FLAT_JSON
    assert code_of(json.dumps({**LINEAR, "qty": digit}).encode()) is DenyCode.BODY_NOT_FLAT_JSON


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity", b"1e9", b"-1", b"9" * 400])
def test_create_with_a_number_literal_trick_is_refused(word: bytes) -> None:
    assert code_of(body().replace(b'"0.009"', word)) is DenyCode.BODY_NOT_FLAT_JSON


@pytest.mark.parametrize(
    "extra", [b'"qty":"9999"', b'"timeInForce":"IOC"', b'"timeInForce":"PostOnly"', b'"orderType":"Market"']
)
def test_create_with_a_duplicate_key_is_refused_wherever_it_stands(extra: bytes) -> None:
    raw = body()
    assert code_of(b"{" + extra + b"," + raw[1:]) is DenyCode.BODY_KEY_DUPLICATE
    assert code_of(raw[:-1] + b"," + extra + b"}") is DenyCode.BODY_KEY_DUPLICATE


@pytest.mark.parametrize("edge", ["999999999999.999999999999", "0.000000000001"])
def test_create_with_numbers_at_the_grammar_edge_keeps_every_digit(edge: str) -> None:
    assert parsed(body(qty=edge, price=edge)).quantity == Decimal(edge)


_QUANTITIES = st.decimals(min_value="0.000000000001", max_value="999999999999", places=12).map(lambda d: format(d, "f"))
_FIELDS = st.fixed_dictionaries(
    {
        "category": st.sampled_from(["spot", "linear"]),
        "symbol": st.from_regex(r"[A-Z0-9]{1,30}", fullmatch=True),
        "side": st.sampled_from(["Buy", "Sell"]),
        "orderType": st.just("Limit"),
        "timeInForce": st.just("PostOnly"),
        "qty": _QUANTITIES,
        "price": _QUANTITIES,
    },
    optional={
        "orderLinkId": st.from_regex(r"[A-Za-z0-9_-]{1,36}", fullmatch=True),
        "isLeverage": st.just(0),
        "orderFilter": st.just("Order"),
        "positionIdx": st.just(0),
        "position_idx": st.just(0),
        "reduceOnly": st.booleans(),
    },
)
_PERMITTED_UPSTREAM = {"category", "symbol", "side", "orderType", "qty", "price", "timeInForce", "orderLinkId"}


@given(_FIELDS)
def test_rendered_order_has_exactly_the_permitted_fields_of_the_parsed_one(fields: dict[str, Any]) -> None:
    result = parse_order_create(json.dumps(fields).encode())
    if fields["category"] == "spot" and fields.get("reduceOnly"):
        assert isinstance(result, Refusal)
        return
    assert isinstance(result, OrderIntent)
    sent = json.loads(order_body(result, link_id="TAG"))
    optional = ({"positionIdx"} if result.category is Category.LINEAR else set()) | (
        {"reduceOnly"} if result.reduce_only else set()
    )
    assert sent.keys() == _PERMITTED_UPSTREAM | optional
    assert (sent["orderType"], sent["timeInForce"], sent["orderLinkId"]) == ("Limit", "PostOnly", "TAG")
    assert (sent["category"], sent["symbol"], sent["side"]) == (fields["category"], fields["symbol"], fields["side"])
    assert (Decimal(sent["qty"]), Decimal(sent["price"])) == (Decimal(fields["qty"]), Decimal(fields["price"]))
    assert "E" not in sent["qty"] + sent["price"]
    again = parse_order_create(order_body(result, link_id="TAG"))
    assert isinstance(again, OrderIntent)
    assert (again.quantity, again.price, again.reduce_only) == (result.quantity, result.price, result.reduce_only)


_TRICKS = st.sampled_from(
    [b" ", b"\t", b"\n", b"\r\n", b"\x0b", b"\x00", b"\xa0", b"\xe2\x80\x8b", b"\\", b"\\u0030", b'"', b",", b"{", b"}",
     b"[", b"]", b"null", b"NaN", b"e9", b"-", b"+", b"_", b"\xd9\xa1", b"\xef\xbc\x91", b'"qty":"9999",',
     b'"triggerPrice":"1",', b'"isLeverage":1,', b'"x":0,', b'"isLeverage":0,', b"//", b"#"]
)  # fmt: skip


@settings(max_examples=600)
@given(st.integers(0, len(body())), _TRICKS)
def test_create_of_a_body_with_a_trick_inserted_is_refused_or_the_same_order(position: int, trick: bytes) -> None:
    raw = body()
    result = parse_order_create(raw[:position] + trick + raw[position:])
    assert isinstance(result, Refusal) or result == INTENT


@given(st.permutations(sorted(LINEAR)), st.sampled_from(["", " ", "\n\t", "\r\n  "]))
def test_create_in_any_order_and_layout_is_the_same_order(keys: list[str], space: str) -> None:
    pairs = [f'{space}"{key}"{space}:{space}"{LINEAR[key]}"{space}' for key in keys]
    assert parsed(f"{space}{{{','.join(pairs)}}}{space}".encode()) == INTENT


def cancelled(raw: bytes) -> CancelIntent:
    result = parse_order_cancel(raw)
    assert isinstance(result, CancelIntent), result
    return result


def cancel_code(**fields: object) -> DenyCode:
    result = parse_order_cancel(json.dumps(fields).encode())
    assert isinstance(result, Refusal), result
    return result.code


@pytest.mark.parametrize(
    ("raw", "category", "order_id", "link_id", "order_filter"),
    [
        (
            b'{"symbol":"BTCUSDT","orderFilter":"Order","orderId":"1321003749386327552","category":"spot"}',
            Category.SPOT, "1321003749386327552", None, OrderFilter.ORDER,
        ),
        (
            b'{"symbol":"BTCUSDT","orderId":"c6f055d9-7f21-4079-913d-e6523a9cfffa","category":"linear"}',
            Category.LINEAR, "c6f055d9-7f21-4079-913d-e6523a9cfffa", None, None,
        ),
        (
            b'{"symbol":"BTCUSDT","category":"linear","orderLinkId":"my-id_1"}',
            Category.LINEAR, None, "my-id_1", None,
        ),
        (
            b'{"category": "spot", "symbol": "BTCUSDT", "orderId": "123"}',
            Category.SPOT, "123", None, None,
        ),
    ],
)  # fmt: skip
def test_cancel_of_a_recorded_body_is_understood(
    raw: bytes, category: Category, order_id: str | None, link_id: str | None, order_filter: OrderFilter | None
) -> None:
    assert cancelled(raw) == CancelIntent(
        category=category, symbol="BTCUSDT", order_id=order_id, client_link_id=link_id, order_filter=order_filter
    )


def test_cancel_with_both_ids_names_the_exchange_one() -> None:
    intent = cancelled(b'{"category":"spot","symbol":"A","orderId":"1","orderLinkId":"x"}')
    assert (intent.order_id, intent.client_link_id) == ("1", None)


@pytest.mark.parametrize(
    ("ids", "order_id", "client_link_id"),
    [
        (b'"orderId":"","orderLinkId":"x"', None, "x"),
        (b'"orderLinkId":"","orderId":"1"', "1", None),
        (b'"orderId":"1","orderLinkId":""', "1", None),
    ],
)
def test_cancel_takes_an_empty_id_for_one_that_was_not_sent(
    ids: bytes, order_id: str | None, client_link_id: str | None
) -> None:
    intent = cancelled(b'{"category":"spot","symbol":"A",' + ids + b"}")
    assert (intent.order_id, intent.client_link_id) == (order_id, client_link_id)


@pytest.mark.parametrize("ids", [{}, {"orderId": ""}, {"orderLinkId": ""}, {"orderId": "", "orderLinkId": ""}])
def test_cancel_of_no_order_is_refused(ids: dict[str, str]) -> None:
    assert cancel_code(category="spot", symbol="A", **ids) is DenyCode.BODY_KEY_MISSING


def test_order_with_an_empty_link_id_has_none() -> None:
    assert parsed(body(orderLinkId="")).client_link_id is None


def test_cancel_that_cannot_be_understood_is_refused() -> None:
    good = {"category": "spot", "symbol": "BTCUSDT", "orderId": "1"}
    assert cancel_code(**{**good, "category": "option"}) is DenyCode.BODY_VALUE_INVALID
    assert cancel_code(**{**good, "symbol": "x"}) is DenyCode.BODY_VALUE_INVALID
    assert cancel_code(**{**good, "orderId": "1 or 2"}) is DenyCode.BODY_VALUE_INVALID
    assert cancel_code(**{**good, "orderId": "1" * 65}) is DenyCode.BODY_VALUE_INVALID
    assert cancel_code(**{**good, "orderId": 1}) is DenyCode.BODY_VALUE_INVALID
    assert cancel_code(**{**good, "orderFilter": "all"}) is DenyCode.BODY_VALUE_INVALID
    assert cancel_code(**{**good, "settleCoin": "USDT"}) is DenyCode.BODY_KEY_UNKNOWN
    assert cancel_code(symbol="BTCUSDT", orderId="1") is DenyCode.BODY_KEY_MISSING
    assert cancel_code(category="spot", symbol="BTCUSDT") is DenyCode.BODY_KEY_MISSING


def test_cancel_of_no_json_is_refused() -> None:
    result = parse_order_cancel(b"")
    assert isinstance(result, Refusal)
    assert result.code is DenyCode.BODY_NOT_FLAT_JSON


def test_rendered_cancel_parses_to_the_same_order() -> None:
    by_id = cancelled(cancel_body(category=Category.SPOT, symbol="BTCUSDT", order_id="7", link_id="x"))
    by_link = cancelled(cancel_body(category=Category.LINEAR, symbol="BTCUSDT", link_id="x"))
    assert (by_id.order_id, by_id.client_link_id) == ("7", None)
    assert (by_link.order_id, by_link.client_link_id) == (None, "x")
    with pytest.raises(ValueError, match="names one order"):
        cancel_body(category=Category.SPOT, symbol="BTCUSDT")


def test_cancel_by_the_exchanges_id_alone_is_understood() -> None:
    raw = b'{"category":"spot","symbol":"BTCUSDT","orderId":"123"}'
    assert cancelled(raw).order_id == "123"


def test_spot_order_with_a_trigger_is_no_protective_stop() -> None:
    assert code_of(body(category="spot", reduceOnly=True, triggerPrice="1")) is DenyCode.ORDER_FIELD_FORBIDDEN


def test_number_that_is_no_text_is_refused_as_such() -> None:
    refusal = refused(body().replace(b'"0.009"', b"0.009"))
    assert refusal.code is DenyCode.ORDER_NUMBER_INVALID
    assert dict(refusal.detail) == {"key": "qty", "value": "0.009", "type": "not a string"}


def test_values_are_shown_as_they_stood_in_the_body() -> None:
    assert [shown(value) for value in (None, True, False, "x")] == ["missing", "true", "false", "x"]
