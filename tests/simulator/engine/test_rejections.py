"""Every refusal of an order request: Bybit's code, and nothing changed."""

from decimal import Decimal

import pytest

from trade_simulator.instruments import Category
from trade_simulator.orders import (
    AmendOrder,
    CancelOrder,
    MarketUnit,
    OrderFilter,
    OrderType,
    Side,
    TimeInForce,
)

D = Decimal
SPOT = Category.SPOT
LINEAR = Category.LINEAR


PLACEMENTS = [
    # category, fields, code
    (LINEAR, {"symbol": "DOGEUSDT", "price": "60000"}, 10001),
    (SPOT, {"symbol": "DOGEUSDT", "price": "60000"}, 170121),
    (LINEAR, {"price": "60000.05"}, 10001),
    (SPOT, {"price": "60000.05"}, 170134),
    (LINEAR, {"price": "60000", "qty": "0.0105"}, 10001),
    (SPOT, {"price": "60000", "qty": "0.0100005"}, 170137),
    (LINEAR, {"price": "60000", "qty": "0.0001"}, 10001),
    (SPOT, {"price": "60000", "qty": "0.0000001"}, 170136),
    (LINEAR, {"price": "60000", "qty": "0"}, 10001),
    (SPOT, {"price": "60000", "qty": "0"}, 170136),
    (SPOT, {"qty": "0"}, 170136),
    (LINEAR, {"price": "60000", "qty": "1190.001"}, 10001),
    (SPOT, {"price": "60000", "qty": "83.000001"}, 170135),
    (LINEAR, {"qty": "500.001"}, 10001),
    (SPOT, {"qty": "41.500001", "market_unit": MarketUnit.BASE}, 170135),
    (LINEAR, {"price": "2000", "qty": "0.002"}, 110094),
    (SPOT, {"price": "60000", "qty": "0.000083"}, 170140),
    (SPOT, {"qty": "4.9"}, 170140),
    (SPOT, {"qty": "10.00000001"}, 170148),
    (LINEAR, {"price": "67300"}, 110003),
    (LINEAR, {"side": Side.SELL, "price": "60700"}, 110003),
    (SPOT, {"price": "66000"}, 170193),
    (SPOT, {"side": Side.SELL, "price": "62000"}, 170194),
    (LINEAR, {"price": "2000000"}, 110003),
    (SPOT, {"price": "2000000"}, 170132),
    (LINEAR, {"price": "0"}, 110003),
    (SPOT, {"price": "0"}, 170133),
    (LINEAR, {"order_type": OrderType.LIMIT}, 10001),
    (LINEAR, {"price": "60000", "qty": "20"}, 110007),
    (SPOT, {"price": "60000", "qty": "2"}, 170131),
    (SPOT, {"side": Side.SELL, "price": "65000", "qty": "1.000001"}, 170131),
    (SPOT, {"qty": "100001"}, 170131),
    (SPOT, {"qty": "1.7", "market_unit": MarketUnit.BASE}, 170131),
    (SPOT, {"side": Side.SELL, "qty": "1.1"}, 170131),
    (LINEAR, {"qty": "20"}, 110007),
    (LINEAR, {"price": "60000", "qty": "40"}, 110090),
    (LINEAR, {"price": "60000", "reduce_only": True}, 110017),
    (LINEAR, {"qty": "0", "reduce_only": True, "close_on_trigger": True}, 110017),
    (LINEAR, {"price": "60000", "close_on_trigger": True}, 110017),
    (LINEAR, {"price": "60000", "order_link_id": "x" * 37}, 10001),
    (SPOT, {"price": "60000", "order_link_id": "a b"}, 10001),
    (LINEAR, {"price": "60000", "position_idx": 1}, 10001),
    (SPOT, {"price": "60000", "position_idx": 1}, 10001),
    (SPOT, {"price": "60000", "is_leverage": True}, 170036),
    (SPOT, {"price": "60000", "stop_loss": D(50000)}, 170227),
    (LINEAR, {"trigger_price": D(65000)}, 10001),
    (LINEAR, {"trigger_price": D(63000), "trigger_direction": 1}, 110092),
    (LINEAR, {"trigger_price": D(65000), "trigger_direction": 2}, 110093),
    (LINEAR, {"trigger_price": D("65000.01"), "trigger_direction": 1}, 10001),
    (LINEAR, {"price": "60000", "order_filter": OrderFilter.STOP_ORDER}, 10001),
    (SPOT, {"price": "60000", "trigger_price": D(65000)}, 10001),
    (SPOT, {"price": "60000", "order_filter": OrderFilter.STOP_ORDER}, 10001),
    (LINEAR, {"price": "60000", "take_profit": D(59000)}, 10001),
    (LINEAR, {"price": "60000", "stop_loss": D(60000)}, 10001),
    (LINEAR, {"side": Side.SELL, "price": "65000", "take_profit": D(65000)}, 10001),
    (LINEAR, {"side": Side.SELL, "price": "65000", "stop_loss": D(64000)}, 10001),
    (LINEAR, {"price": "60000", "stop_loss": D("50000.01")}, 10001),
    (LINEAR, {"price": "60000", "reduce_only": True, "stop_loss": D(50000)}, 10001),
]


@pytest.mark.parametrize(("category", "fields", "code"), PLACEMENTS)
def test_placement_that_breaks_a_rule_is_refused_and_changes_nothing(venue, category, fields, code):
    assert venue.refused(lambda: venue.place(**{"category": category, **fields}))[0] == code


def test_smallest_notional_is_accepted_at_the_limit(venue):
    assert venue.spot(Side.BUY, "0.0001", "50000").is_open
    assert venue.refused(lambda: venue.spot(Side.BUY, "0.0001", "49999.9"))[0] == 170140


def test_price_limit_is_accepted_at_the_limit(venue):
    quote = venue.exchange._floor.quotes[LINEAR, "BTCUSDT"]
    limit = quote.mark * D("1.05") // D("0.1") * D("0.1")
    assert venue.place(Side.BUY, "0.001", limit).cum_exec_qty == D("0.001")
    assert venue.refused(lambda: venue.place(Side.BUY, "0.001", limit + D("0.1")))[0] == 110003


@pytest.mark.parametrize(("category", "code"), [(LINEAR, 110072), (SPOT, 170141)])
def test_link_id_is_used_once_even_after_its_order_has_ended(venue, category, code):
    order = venue.rest(category=category, order_link_id="once")
    assert venue.refused(lambda: venue.rest(category=category, order_link_id="once"))[0] == code
    venue.cancel(order)
    assert venue.refused(lambda: venue.rest(category=category, order_link_id="once"))[0] == code
    assert venue.rest(uid="2", category=category, order_link_id="once").is_open


@pytest.mark.parametrize(("category", "code"), [(LINEAR, 110001), (SPOT, 170213)])
def test_cancel_and_amend_of_an_unknown_or_ended_order_are_refused(venue, category, code):
    order = venue.rest(category=category)
    venue.cancel(order)
    assert venue.refused(lambda: venue.cancel(order))[0] == code
    assert venue.refused(lambda: venue.amend(order, price=D(50000)))[0] == code
    unknown = CancelOrder(category=category, symbol="BTCUSDT", order_link_id="nobody")
    assert venue.refused(lambda: venue.exchange.cancel("1", unknown))[0] == code


def test_order_of_another_member_is_not_found(venue):
    order = venue.rest(uid="2")
    command = CancelOrder(category=LINEAR, symbol="BTCUSDT", order_id=order.order_id)
    assert venue.refused(lambda: venue.exchange.cancel("3", command))[0] == 110001
    assert venue.order(order).is_open


def test_order_of_another_symbol_or_filter_is_not_found(venue):
    order = venue.rest(category=SPOT)
    wrong_symbol = CancelOrder(category=SPOT, symbol="ETHUSDT", order_id=order.order_id)
    assert venue.refused(lambda: venue.exchange.cancel("1", wrong_symbol))[0] == 170213
    wrong_filter = CancelOrder(
        category=SPOT, symbol="BTCUSDT", order_id=order.order_id, order_filter=OrderFilter.STOP_ORDER
    )
    assert venue.refused(lambda: venue.exchange.cancel("1", wrong_filter))[0] == 170213


def test_cancel_and_amend_need_an_id(venue):
    assert venue.refused(lambda: venue.exchange.cancel("1", CancelOrder(category=LINEAR, symbol="BTCUSDT")))[0] == 10001
    assert venue.refused(lambda: venue.exchange.amend("1", AmendOrder(category=LINEAR, symbol="BTCUSDT")))[0] == 10001


def test_cancel_all_of_linear_needs_a_filter(venue):
    code, message = venue.refused(venue.cancel_all)
    assert code == 10001
    assert "symbol or settleCoin or baseCoin" in message


@pytest.mark.parametrize("kind", [OrderFilter.OCO_ORDER, OrderFilter.BIDIRECTIONAL_TPSL_ORDER])
def test_kinds_that_are_not_offered_can_be_cancelled_and_not_placed(venue, kind):
    fields = {"category": Category.SPOT, "order_filter": kind, "trigger_price": D("60000")}
    assert venue.refused(lambda: venue.place(Side.SELL, "0.010", **fields)) == (
        10001,
        "params error: orderFilter is not offered",
    )
    assert venue.cancel_all(category=Category.SPOT, order_filter=kind) == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 10001),
        ({"price": D("60000.05")}, 10001),
        ({"price": D(70000)}, 110003),
        ({"qty": D("0.0005")}, 10001),
        ({"qty": D("0.0105")}, 10001),
        ({"qty": D(2000)}, 10001),
        ({"qty": D(20)}, 110007),
        ({"price": D(1000), "qty": D("0.001")}, 110094),
        ({"trigger_price": D(70000)}, 10001),
        ({"stop_loss": D(70000)}, 10001),
    ],
)
def test_amendment_that_breaks_a_rule_is_refused_and_changes_nothing(venue, fields, code):
    order = venue.rest()
    assert venue.refused(lambda: venue.amend(order, **fields))[0] == code


@pytest.mark.parametrize(("category", "code"), [(LINEAR, 110064), (SPOT, 170210)])
def test_amendment_below_what_is_filled_is_refused(venue, category, code):
    price, size = venue.exchange.market.book(category, "BTCUSDT", depth=1).asks[0]
    order = venue.place(Side.BUY, str(size + D("0.01")), price, category=category)
    assert venue.refused(lambda: venue.amend(order, qty=size))[0] == code


def test_spot_amendment_beyond_the_balance_is_refused_and_keeps_the_lock(venue):
    order = venue.rest(category=SPOT)
    assert venue.refused(lambda: venue.amend(order, qty=D(2)))[0] == 170131
    venue.assert_sound()


def test_five_hundred_open_orders_are_the_limit(venue):
    for number in range(500):
        venue.place(Side.BUY, "0.0001", str(50000 + number), category=SPOT)
    assert venue.refused(lambda: venue.place(Side.BUY, "0.0001", "50000", category=SPOT))[0] == 170810


def test_five_hundred_linear_orders_are_the_limit(venue):
    for number in range(500):
        venue.place(Side.BUY, "0.001", str(50000 + number))
    assert venue.refused(lambda: venue.place(Side.BUY, "0.001", "50000"))[0] == 110020


def test_ten_conditional_orders_of_a_symbol_are_the_limit(venue):
    for _ in range(10):
        venue.place(Side.BUY, "0.001", trigger_price=D(70000), trigger_direction=1)
    refused = venue.refused(lambda: venue.place(Side.BUY, "0.001", trigger_price=D(70000), trigger_direction=1))
    assert refused[0] == 110009


def test_reduce_only_on_the_side_of_the_position_is_refused(venue):
    venue.place(Side.BUY, "0.010")
    code, _ = venue.refused(lambda: venue.place(Side.BUY, "0.010", "60000", reduce_only=True))
    assert code == 110017


def test_unknown_member_is_refused(venue):
    assert venue.refused(lambda: venue.place(Side.BUY, "0.010", "60000", uid="9"))[0] == 10001


def test_price_of_a_market_order_cannot_be_amended(venue):
    stop = venue.place(Side.BUY, "0.001", trigger_price=D(70000), trigger_direction=1)
    assert venue.refused(lambda: venue.amend(stop, price=D(60000)))[0] == 10001
    assert venue.refused(lambda: venue.amend(stop, trigger_price=D(60000)))[0] == 110092


def test_hedge_mode_order_that_opens_against_its_index_is_refused(venue):
    venue.exchange.switch_mode("1", category=LINEAR, symbol="", coin="USDT", mode=3)
    assert venue.refused(lambda: venue.place(Side.SELL, "0.010", position_idx=1))[0] == 10001
    assert venue.refused(lambda: venue.place(Side.BUY, "0.010"))[0] == 10001


def test_fok_time_in_force_is_kept_on_market_orders(venue):
    assert venue.place(Side.BUY, "0.001", time_in_force=TimeInForce.FOK).time_in_force is TimeInForce.FOK
