"""Conditional orders and the stops of positions."""

from decimal import Decimal

import pytest

from trade_simulator.events import OrderChanged
from trade_simulator.instruments import Category
from trade_simulator.orders import (
    CancelType,
    CreateType,
    OrderStatus,
    OrderType,
    Side,
    StopOrderType,
    TpslMode,
    TriggerBy,
)
from trade_simulator.positions import TradingStop

D = Decimal
LINEAR = Category.LINEAR


def stops(venue):
    orders = venue.exchange.accounts["1"].open_orders.values()
    return {order.stop_order_type: order for order in orders if order.status is OrderStatus.UNTRIGGERED}


def position_of(venue):
    return venue.exchange.positions("1", category=LINEAR, symbol="BTCUSDT")[0]


@pytest.mark.parametrize(
    ("direction", "trigger", "before", "after"), [(1, "65000", "64900", "65000"), (2, "63000", "63100", "62990")]
)
def test_stop_triggers_when_its_price_is_reached_and_not_before(venue, direction, trigger, before, after):
    order = venue.place(
        Side.BUY, "0.001", trigger_price=D(trigger), trigger_direction=direction, trigger_by=TriggerBy.INDEX
    )
    assert order.status is OrderStatus.UNTRIGGERED
    venue.jump(before)
    assert venue.order(order).status is OrderStatus.UNTRIGGERED
    venue.events.clear()
    venue.jump(after)
    done = venue.order(order)
    assert done.status is OrderStatus.FILLED
    assert done.create_type is CreateType.BY_STOP_ORDER
    told = [e.order.status for e in venue.events if isinstance(e, OrderChanged) and e.order.order_id == order.order_id]
    assert told == [OrderStatus.TRIGGERED, OrderStatus.FILLED]


def test_stop_limit_rests_after_its_trigger(venue):
    order = venue.place(Side.SELL, "0.001", "64500", trigger_price=D(63000), trigger_direction=2)
    venue.jump("62900")
    assert venue.order(order).status is OrderStatus.NEW
    assert venue.order(order).locked_amount > 0
    venue.assert_sound()


def test_cancelled_stop_is_deactivated_and_never_triggers(venue):
    order = venue.place(Side.BUY, "0.001", trigger_price=D(65000), trigger_direction=1)
    assert venue.cancel(order).status is OrderStatus.DEACTIVATED
    venue.jump("66000")
    assert venue.size() == 0


def test_amended_trigger_is_the_one_that_counts(venue):
    order = venue.place(Side.BUY, "0.001", trigger_price=D(65000), trigger_direction=1)
    venue.amend(order, trigger_price=D(67000))
    venue.jump("66000")
    assert venue.order(order).status is OrderStatus.UNTRIGGERED


def test_reduce_only_stop_without_a_position_is_cancelled_when_it_triggers(venue):
    order = venue.place(
        Side.SELL, "0.001", trigger_price=D(63000), trigger_direction=2, reduce_only=True, close_on_trigger=True
    )
    venue.jump("62000")
    assert venue.order(order).status is OrderStatus.CANCELLED
    assert venue.order(order).cancel_type is CancelType.BY_REDUCE_ONLY
    assert venue.size() == 0


def test_close_all_stop_closes_whatever_the_position_is_then(venue):
    stop = venue.place(
        Side.SELL, "0", trigger_price=D(63000), trigger_direction=2, reduce_only=True, close_on_trigger=True
    )
    venue.place(Side.BUY, "0.023")
    venue.jump("62900")
    assert venue.size() == 0
    assert venue.order(stop).cum_exec_qty == D("0.023")


def test_stop_that_finds_no_margin_is_rejected(venue):
    order = venue.place(Side.BUY, "10", "66000", trigger_price=D(65000), trigger_direction=1)
    venue.exchange.flow("1", coin="USDT", amount=D(-99_000))
    venue.jump("65100")
    assert venue.order(order).status is OrderStatus.REJECTED
    venue.assert_sound()


def test_attached_stops_follow_the_fill(venue):
    venue.place(Side.BUY, "0.010", take_profit=D(66000), stop_loss=D(62000))
    found = stops(venue)
    assert found[StopOrderType.TAKE_PROFIT].trigger_price == 66000
    assert found[StopOrderType.STOP_LOSS].trigger_price == 62000
    assert all(order.qty == D("0.010") and order.reduce_only for order in found.values())
    view = position_of(venue)
    assert (view.take_profit, view.stop_loss) == (66000, 62000)


def test_attached_stops_of_an_unfilled_order_wait(venue):
    venue.rest(take_profit=D(66000))
    assert not stops(venue)


@pytest.mark.parametrize(
    ("price", "create_type"), [("66100", CreateType.BY_TAKE_PROFIT), ("61900", CreateType.BY_STOP_LOSS)]
)
def test_one_stop_closes_the_position_and_takes_the_other_with_it(venue, price, create_type):
    venue.place(Side.BUY, "0.010", take_profit=D(66000), stop_loss=D(62000))
    venue.jump(price)
    assert venue.size() == 0
    assert not stops(venue)
    assert venue.executions()[0].create_type is create_type
    closed = venue.exchange.accounts["1"].closed_orders
    assert any(order.cancel_type is CancelType.BY_TPSL_TS_CLEAR for order in closed)
    assert position_of(venue).stop_loss is None
    venue.assert_sound()


def test_full_stops_grow_with_the_position(venue):
    venue.place(Side.SELL, "0.010", stop_loss=D(66000))
    venue.place(Side.SELL, "0.010")
    assert stops(venue)[StopOrderType.STOP_LOSS].qty == D("0.020")


def test_partial_stops_keep_their_quantity(venue):
    venue.place(
        Side.BUY,
        "0.010",
        take_profit=D(66000),
        tp_limit_price=D(66100),
        tp_order_type=OrderType.LIMIT,
        tpsl_mode=TpslMode.PARTIAL,
    )
    venue.place(Side.BUY, "0.010")
    stop = stops(venue)[StopOrderType.PARTIAL_TAKE_PROFIT]
    assert (stop.qty, stop.order_type) == (D("0.010"), OrderType.LIMIT)
    venue.jump("66050")
    assert venue.order(stop).status is OrderStatus.NEW
    venue.jump("66200")
    assert venue.size() == D("0.010")
    venue.assert_sound()


def test_trading_stop_sets_changes_and_removes(venue):
    venue.place(Side.BUY, "0.010")
    venue.exchange.trading_stop("1", TradingStop(symbol="BTCUSDT", stop_loss=D(62000)))
    first = stops(venue)[StopOrderType.STOP_LOSS]
    venue.exchange.trading_stop("1", TradingStop(symbol="BTCUSDT", stop_loss=D(62500)))
    assert stops(venue)[StopOrderType.STOP_LOSS].trigger_price == 62500
    assert venue.order(first).status is OrderStatus.DEACTIVATED
    venue.exchange.trading_stop("1", TradingStop(symbol="BTCUSDT", stop_loss=D(0)))
    assert not stops(venue)
    assert position_of(venue).stop_loss is None


def test_cancelling_a_position_stop_removes_it_from_the_position(venue):
    venue.place(Side.BUY, "0.010", stop_loss=D(62000))
    venue.cancel(stops(venue)[StopOrderType.STOP_LOSS])
    assert position_of(venue).stop_loss is None


def test_trailing_stop_follows_and_closes(venue):
    venue.place(Side.BUY, "0.010")
    venue.exchange.trading_stop("1", TradingStop(symbol="BTCUSDT", trailing_stop=D(500)))
    venue.jump("65000")
    venue.jump("64600")
    assert venue.size() == D("0.010")
    venue.jump("64400")
    assert venue.size() == 0
    assert venue.executions()[0].create_type is CreateType.BY_TRAILING_STOP


def test_trailing_stop_waits_for_its_active_price(venue):
    venue.place(Side.BUY, "0.010")
    venue.exchange.trading_stop("1", TradingStop(symbol="BTCUSDT", trailing_stop=D(100), active_price=D(66000)))
    venue.jump("65000")
    venue.jump("64000")
    assert venue.size() == D("0.010")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"stop_loss": D(65000)}, 10001),
        ({"take_profit": D(63000)}, 10001),
        ({"stop_loss": D("62000.01")}, 10001),
        ({}, 34040),
        ({"stop_loss": D(62000)}, 34040),
        ({"stop_loss": D(62000), "tpsl_mode": TpslMode.PARTIAL}, 10001),
        ({"stop_loss": D(62000), "tpsl_mode": TpslMode.PARTIAL, "sl_size": D("0.011")}, 10001),
        ({"tpsl_mode": TpslMode.PARTIAL}, 34040),
    ],
)
def test_trading_stop_that_breaks_a_rule_is_refused(venue, fields, code):
    venue.place(Side.BUY, "0.010", stop_loss=D(62000))
    refused = venue.refused(lambda: venue.exchange.trading_stop("1", TradingStop(symbol="BTCUSDT", **fields)))
    assert refused[0] == code


def test_trading_stop_without_a_position_is_refused(venue):
    command = TradingStop(symbol="BTCUSDT", stop_loss=D(62000))
    assert venue.refused(lambda: venue.exchange.trading_stop("1", command))[0] == 10001


def test_more_than_twenty_partial_stops_are_refused(venue):
    venue.place(Side.BUY, "0.100")

    def add():
        venue.exchange.trading_stop(
            "1", TradingStop(symbol="BTCUSDT", tpsl_mode=TpslMode.PARTIAL, stop_loss=D(62000), sl_size=D("0.001"))
        )

    for _ in range(20):
        add()
    assert venue.refused(add)[0] == 110061
