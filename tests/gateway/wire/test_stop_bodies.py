"""Bodies of protective stops: what freqtrade sends is understood, everything near it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.intents import Category, OrderIntent, Side, StopIntent, TriggerBy
from trade_gateway.wire.order_bodies import FORBIDDEN_KEYS, parse_order_create
from trade_gateway.wire.parse import parse_order_or_stop
from trade_gateway.wire.refusal import Refusal
from trade_gateway.wire.render import stop_body
from trade_gateway.wire.stop_bodies import STOP_REQUIRED, stop_symbol

# As freqtrade sends them, key by key.
MARKET: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "side": "Sell",
    "orderType": "Market",
    "category": "linear",
    "qty": "0.009",
    "triggerDirection": 2,
    "triggerPrice": "59105.6",
    "reduceOnly": True,
    "triggerBy": "MarkPrice",
}
LIMIT = {**MARKET, "orderType": "Limit", "price": "58339.6", "triggerPrice": "58928.8"}
ORDER = {
    "symbol": "BTCUSDT",
    "side": "Sell",
    "orderType": "Limit",
    "timeInForce": "PostOnly",
    "price": "60012.8",
    "category": "linear",
    "qty": "0.009",
    "reduceOnly": True,
    "position_idx": 0,
}
STOP = StopIntent(
    symbol="BTCUSDT",
    side=Side.SELL,
    quantity=Decimal("0.009"),
    trigger_price=Decimal("59105.6"),
    trigger_by=TriggerBy.MARK,
    limit_price=None,
    client_link_id=None,
)


def parsed(fields: dict[str, Any], **changes: Any) -> OrderIntent | StopIntent | Refusal:
    body = {key: value for key, value in {**fields, **changes}.items() if value is not None}
    return parse_order_or_stop(json.dumps(body).encode())


def code_of(fields: dict[str, Any], **changes: Any) -> DenyCode:
    result = parsed(fields, **changes)
    assert isinstance(result, Refusal)
    return result.code


def stop_of(fields: dict[str, Any], **changes: Any) -> StopIntent:
    result = parsed(fields, **changes)
    assert isinstance(result, StopIntent)
    return result


def test_stops_of_freqtrade_are_understood() -> None:
    assert parsed(MARKET) == STOP
    limit = stop_of(LIMIT)
    assert (limit.limit_price, limit.trigger_price) == (Decimal("58339.6"), Decimal("58928.8"))


def test_stop_of_a_short_position_is_understood() -> None:
    assert stop_of(MARKET, side="Buy", triggerDirection=1).side is Side.BUY


@pytest.mark.parametrize(
    "changes",
    [
        {"position_idx": 0},
        {"positionIdx": 0},
        {"timeInForce": "IOC"},
    ],
)
def test_stop_with_harmless_fields_means_the_same(changes: dict[str, Any]) -> None:
    assert parsed(MARKET, **changes) == STOP


def test_stop_keeps_the_bots_own_name_and_trigger() -> None:
    stop = stop_of(LIMIT, orderLinkId="mine-1", triggerBy="IndexPrice", timeInForce="GTC")
    assert (stop.client_link_id, stop.trigger_by) == ("mine-1", TriggerBy.INDEX)


def test_stop_with_an_empty_link_id_has_none() -> None:
    assert stop_of(LIMIT, orderLinkId="").client_link_id is None


def test_ordinary_orders_are_parsed_as_before() -> None:
    raw = json.dumps(ORDER).encode()
    assert isinstance(parse_order_or_stop(raw), OrderIntent)
    assert parse_order_or_stop(raw) == parse_order_create(raw)
    assert isinstance(parse_order_or_stop(b"{}"), Refusal)
    assert parse_order_or_stop(b"[") == parse_order_create(b"[")


@pytest.mark.parametrize(
    "changes",
    [
        {"category": "spot"},
        {"reduceOnly": False},
        {"reduceOnly": None},
        {"reduceOnly": "true"},
    ],
)
def test_trigger_without_being_a_protective_stop_is_refused(changes: dict[str, Any]) -> None:
    assert code_of(LIMIT, timeInForce="PostOnly", **changes) is DenyCode.ORDER_FIELD_FORBIDDEN
    assert code_of(MARKET, **changes) is DenyCode.ORDER_NOT_MAKER


@pytest.mark.parametrize("key", sorted({*STOP_REQUIRED} - {"category", "reduceOnly", "triggerPrice"}))
def test_stop_without_a_required_key_is_refused(key: str) -> None:
    assert code_of(MARKET, **{key: None}) is DenyCode.BODY_KEY_MISSING


def test_limit_stop_without_a_price_and_market_stop_with_one_are_refused() -> None:
    assert code_of(LIMIT, price=None) is DenyCode.BODY_KEY_MISSING
    assert code_of(MARKET, price="59000") is DenyCode.BODY_VALUE_INVALID


@pytest.mark.parametrize("key", sorted(FORBIDDEN_KEYS - {"triggerPrice", "triggerDirection", "triggerBy"}))
def test_stop_with_a_way_out_is_refused_by_name(key: str) -> None:
    result = parsed(MARKET, **{key: "1"})
    assert isinstance(result, Refusal)
    assert (result.code, result.detail[0]) == (DenyCode.ORDER_FIELD_FORBIDDEN, ("key", key))


@pytest.mark.parametrize("key", ["isLeverage", "orderFilter", "unknown", "TriggerPrice"])
def test_stop_with_another_key_is_refused(key: str) -> None:
    assert code_of(MARKET, **{key: 0}) is DenyCode.BODY_KEY_UNKNOWN


@pytest.mark.parametrize("key", ["positionIdx", "position_idx"])
@pytest.mark.parametrize("value", [1, 2, "0", False])
def test_stop_of_a_hedge_position_is_refused(key: str, value: object) -> None:
    assert code_of(MARKET, **{key: value}) is DenyCode.ORDER_FIELD_FORBIDDEN


@pytest.mark.parametrize(
    ("side", "direction"), [("Sell", 1), ("Buy", 2), ("Sell", 0), ("Sell", 3), ("Sell", "2"), ("Buy", "1")]
)
def test_stop_in_the_wrong_direction_is_refused(side: str, direction: object) -> None:
    assert code_of(MARKET, side=side, triggerDirection=direction) is DenyCode.ORDER_STOP_DIRECTION


@pytest.mark.parametrize(
    "changes",
    [
        {"triggerBy": "LastPrice"},
        {"triggerBy": "markprice"},
        {"triggerBy": 1},
        {"orderType": "market"},
        {"orderType": "Stop"},
        {"orderType": 1},
        {"timeInForce": "PostOnly"},
        {"timeInForce": "GTC"},
        {"timeInForce": "FOK"},
        {"timeInForce": 1},
        {"side": "sell"},
        {"symbol": "btcusdt"},
        {"orderLinkId": "not ok"},
    ],
)
def test_stop_with_another_word_is_refused(changes: dict[str, Any]) -> None:
    assert code_of(MARKET, **changes) is DenyCode.BODY_VALUE_INVALID


@pytest.mark.parametrize("value", ["0", "-1", "1e3", "NaN", "", " 1", 1, True])
@pytest.mark.parametrize("key", ["qty", "triggerPrice", "price"])
def test_stop_with_a_bad_number_is_refused(key: str, value: object) -> None:
    assert code_of(LIMIT, **{key: value}) is DenyCode.ORDER_NUMBER_INVALID


def test_stop_of_quantity_zero_never_closes_a_whole_position() -> None:
    assert code_of(MARKET, qty="0") is DenyCode.ORDER_NUMBER_INVALID
    assert code_of(MARKET, qty="0", closeOnTrigger=True) is DenyCode.ORDER_FIELD_FORBIDDEN


_AMOUNTS = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-4))
_STOPS = st.builds(
    StopIntent,
    symbol=st.sampled_from(["BTCUSDT", "ETHUSDT"]),
    side=st.sampled_from(Side),
    quantity=_AMOUNTS,
    trigger_price=_AMOUNTS,
    trigger_by=st.sampled_from(TriggerBy),
    limit_price=st.none() | _AMOUNTS,
    client_link_id=st.just("T1tag"),
)


@given(_STOPS)
def test_stop_that_is_rendered_is_parsed_as_itself(stop: StopIntent) -> None:
    assert parse_order_or_stop(stop_body(stop, link_id="T1tag")) == stop


def test_stop_is_rendered_in_exactly_these_bytes() -> None:
    assert stop_body(STOP, link_id="T1tag") == (
        b'{"category":"linear","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.009",'
        b'"triggerPrice":"59105.6","triggerDirection":2,"triggerBy":"MarkPrice","reduceOnly":true,"positionIdx":0,'
        b'"orderLinkId":"T1tag"}'
    )
    assert stop_body(stop_of(LIMIT, side="Buy", triggerDirection=1), link_id="T1tag") == (
        b'{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.009","price":"58339.6",'
        b'"timeInForce":"GTC","triggerPrice":"58928.8","triggerDirection":1,"triggerBy":"MarkPrice",'
        b'"reduceOnly":true,"positionIdx":0,"orderLinkId":"T1tag"}'
    )


@pytest.mark.parametrize(
    ("change", "symbol"),
    [
        ({}, "BTCUSDT"),
        ({"triggerBy": "LastPrice"}, "BTCUSDT"),
        ({"qty": "-1"}, "BTCUSDT"),
        ({"symbol": "nonsense!"}, None),
        ({"symbol": ""}, None),
        ({"reduceOnly": False}, None),
        ({"category": "spot"}, None),
    ],
)
def test_stop_symbol_is_told_of_a_body_that_means_a_stop(change: dict[str, object], symbol: str | None) -> None:
    body = {**MARKET, **change}
    assert stop_symbol(json.dumps(body).encode()) == symbol


def test_stop_symbol_of_a_body_without_one_or_that_is_none_is_not_told() -> None:
    nameless = {key: value for key, value in MARKET.items() if key != "symbol"}
    assert stop_symbol(json.dumps(nameless).encode()) is None
    assert stop_symbol(b"nonsense") is None


@pytest.mark.parametrize(("limit", "price"), [(None, "0"), ("58339.6", "58339.6")])
def test_stop_looks_like_the_order_that_the_exchange_shows(limit: str | None, price: str) -> None:
    stop = replace(STOP, limit_price=None if limit is None else Decimal(limit))
    assert (stop.category, stop.price, stop.reduce_only) == (Category.LINEAR, Decimal(price), True)
