"""What leaves: exact upstream bodies, denials that ccxt reads as they are meant, local answers that leak nothing."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.intents import Category, OrderIntent, Side
from trade_gateway.wire.refusal import detail_of
from trade_gateway.wire.render import (
    DENIED_HTTP_STATUS,
    cancel_body,
    denied_answer,
    denied_message,
    envelope,
    local_read_answer,
    order_answer,
    order_body,
    pinned_answer,
)
from trade_gateway.wire.routes import Kind, Route

NOW_MS = 1_790_000_000_000


def order(category: Category = Category.SPOT, side: Side = Side.BUY, *, reduce_only: bool = False) -> OrderIntent:
    return OrderIntent(
        category=category,
        symbol="BTCUSDT",
        side=side,
        quantity=Decimal("0.000000000100"),
        price=Decimal("60000.10"),
        reduce_only=reduce_only,
        client_link_id="the-bots-own",
    )


def test_order_body_of_a_spot_order_is_exact() -> None:
    assert order_body(order(), link_id="T1tag") == (
        b'{"category":"spot","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.0000000001",'
        b'"price":"60000.1","timeInForce":"PostOnly","orderLinkId":"T1tag"}'
    )


def test_order_body_of_a_linear_exit_is_exact() -> None:
    assert order_body(order(Category.LINEAR, Side.SELL, reduce_only=True), link_id="T1tag") == (
        b'{"category":"linear","symbol":"BTCUSDT","side":"Sell","orderType":"Limit","qty":"0.0000000001",'
        b'"price":"60000.1","timeInForce":"PostOnly","orderLinkId":"T1tag","reduceOnly":true,"positionIdx":0}'
    )


def test_order_body_of_a_linear_entry_has_no_reduce_only() -> None:
    assert b"reduceOnly" not in order_body(order(Category.LINEAR), link_id="T1tag")


def test_order_body_never_carries_the_bots_link_id() -> None:
    assert b"the-bots-own" not in order_body(order(), link_id="T1tag")


def test_cancel_body_is_exact() -> None:
    assert cancel_body(category=Category.SPOT, symbol="BTCUSDT", order_id="7") == (
        b'{"category":"spot","symbol":"BTCUSDT","orderId":"7"}'
    )
    assert cancel_body(category=Category.LINEAR, symbol="BTCUSDT", link_id="T1x") == (
        b'{"category":"linear","symbol":"BTCUSDT","orderLinkId":"T1x"}'
    )


def test_envelope_is_exact_and_ascii() -> None:
    assert envelope(0, "OK", {"a": "\u00e4"}, now_ms=NOW_MS) == (
        b'{"retCode":0,"retMsg":"OK","result":{"a":"\\u00e4"},"retExtInfo":{},"time":1790000000000}'
    )


def test_denied_answer_is_http_200_with_the_code_first() -> None:
    status, body = denied_answer(
        DenyCode.ORDER_NOT_MAKER, detail_of(time_in_force="GTC"), Route.ORDER_CREATE, now_ms=NOW_MS
    )
    answer = json.loads(body)
    assert status == 200
    assert answer == {
        "retCode": 10024,
        "retMsg": "ORDER_NOT_MAKER: time_in_force=GTC",
        "result": {},
        "retExtInfo": {},
        "time": NOW_MS,
    }


def test_denied_message_lists_details_or_stands_alone() -> None:
    assert denied_message(DenyCode.STATE_HALTED, ()) == "STATE_HALTED"
    assert denied_message(DenyCode.LIMIT_OPEN_ORDERS, detail_of(working_orders=3, limit=3)) == (
        "LIMIT_OPEN_ORDERS: working_orders=3, limit=3"
    )


@pytest.mark.parametrize(
    "phrase",
    ["Not supported symbols", "Request timeout", "unknown orderInfo", "invalid api_key", "oc_diff", "new_oc"],
)
def test_denied_message_never_carries_a_phrase_that_ccxt_reads_first(phrase: str) -> None:
    assert denied_message(DenyCode.BODY_KEY_UNKNOWN, detail_of(key=f"x{phrase}y")) == "BODY_KEY_UNKNOWN"


@pytest.mark.parametrize("code", list(DenyCode))
def test_no_code_or_meaning_holds_a_phrase_that_ccxt_reads_first(code: DenyCode) -> None:
    for phrase in ("Not supported symbols", "Request timeout", "unknown orderInfo", "invalid api_key", "OC_DIFF"):
        assert phrase not in code.name + code.meaning


@pytest.mark.parametrize(("category", "ret_code"), [(Category.SPOT, 170213), (Category.LINEAR, 110001), (None, 110001)])
def test_denied_answer_of_an_unknown_order_has_the_code_of_its_category(
    category: Category | None, ret_code: int
) -> None:
    _, body = denied_answer(DenyCode.ORDER_UNKNOWN, (), Route.ORDER_CANCEL, now_ms=NOW_MS, category=category)
    assert json.loads(body)["retCode"] == ret_code


def test_denied_answer_of_an_unreadable_cancel_does_not_put_the_bot_to_sleep() -> None:
    _, body = denied_answer(DenyCode.BODY_KEY_UNKNOWN, (), Route.ORDER_CANCEL, now_ms=NOW_MS)
    assert json.loads(body)["retCode"] == 110001
    _, body = denied_answer(DenyCode.BODY_KEY_UNKNOWN, (), Route.ORDER_CREATE, now_ms=NOW_MS)
    assert json.loads(body)["retCode"] == 10024
    _, body = denied_answer(DenyCode.EXCHANGE_UNREACHABLE, (), Route.ORDER_CANCEL, now_ms=NOW_MS)
    assert json.loads(body)["retCode"] == 10016
    _, body = denied_answer(DenyCode.PATH_UNKNOWN, (), None, now_ms=NOW_MS)
    assert json.loads(body)["retCode"] == 10024


@pytest.mark.parametrize("code", [code for code in DenyCode if code.name.startswith(("ORDER_", "LIMIT_", "STATE_"))])
def test_no_denial_of_an_order_starts_an_emergency_exit(code: DenyCode) -> None:
    """ccxt maps these to InvalidOrder or BadRequest, on which freqtrade closes a position by force."""
    _, body = denied_answer(code, (), Route.ORDER_CREATE, now_ms=NOW_MS)
    # A stop that the market has passed already: here the exit is what is wanted, and it is a PostOnly order.
    if code not in {DenyCode.ORDER_UNKNOWN, DenyCode.ORDER_STOP_TRIGGERS_AT_ONCE}:
        assert json.loads(body)["retCode"] in {10006, 10016, 10024, 110066, 110090}


def test_pinned_answers_are_those_that_clients_swallow() -> None:
    assert json.loads(pinned_answer(Route.SET_LEVERAGE, now_ms=NOW_MS))["retCode"] == 110043
    assert json.loads(pinned_answer(Route.SWITCH_POSITION_MODE, now_ms=NOW_MS))["retCode"] == 0
    assert json.loads(pinned_answer(Route.SET_MARGIN_MODE, now_ms=NOW_MS))["retCode"] == 0


def test_local_answers_exist_for_every_local_read_and_nothing_else() -> None:
    for route in Route:
        if route.kind is Kind.LOCAL_READ:
            assert json.loads(local_read_answer(route, now_ms=NOW_MS))["retCode"] == 0
        else:
            with pytest.raises(KeyError):
                local_read_answer(route, now_ms=NOW_MS)


def test_local_answers_say_what_clients_need_and_name_nobody() -> None:
    key = json.loads(local_read_answer(Route.QUERY_API, now_ms=NOW_MS))["result"]
    account = json.loads(local_read_answer(Route.ACCOUNT_INFO, now_ms=NOW_MS))["result"]
    coins = json.loads(local_read_answer(Route.COIN_INFO, now_ms=NOW_MS))["result"]
    assert (key["unified"], key["uta"], key["permissions"]["Wallet"], key["ips"]) == (0, 1, [], ["*"])
    assert not {"userID", "parentUid", "inviterID"} & key.keys()
    assert (key["apiKey"], key["secret"]) == ("", "")
    assert account["marginMode"] == "ISOLATED_MARGIN"
    assert coins == {"rows": []}


def test_denial_is_answered_with_the_status_that_clients_read_the_envelope_of() -> None:
    assert DENIED_HTTP_STATUS == 200


def test_denied_answer_of_another_code_is_the_same_for_spot() -> None:
    _, body = denied_answer(DenyCode.STATE_HALTED, (), Route.ORDER_CREATE, now_ms=NOW_MS, category=Category.SPOT)
    assert json.loads(body)["retCode"] == DenyCode.STATE_HALTED.ret_code


def test_envelope_of_what_is_no_json_number_is_never_made() -> None:
    with pytest.raises(ValueError, match="JSON"):
        envelope(0, "OK", {"x": float("nan")}, now_ms=NOW_MS)


def test_local_answers_are_these_to_the_last_number() -> None:
    key = json.loads(local_read_answer(Route.QUERY_API, now_ms=NOW_MS))["result"]
    account = json.loads(local_read_answer(Route.ACCOUNT_INFO, now_ms=NOW_MS))["result"]
    assert (key["readOnly"], key["type"], key["isMaster"]) == (0, 1, False)
    assert (account["unifiedMarginStatus"], account["isMasterTrader"]) == (6, False)


def test_answer_to_an_order_is_the_envelope_with_its_two_names() -> None:
    names = {"orderId": "a-1", "orderLinkId": "mine_1"}
    assert order_answer("a-1", "mine_1", now_ms=5) == envelope(0, "OK", names, now_ms=5)
