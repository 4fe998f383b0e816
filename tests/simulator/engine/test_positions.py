"""Linear positions: entry, results, margins, settings."""

from decimal import Decimal

import pytest

from trade_simulator.instruments import Category
from trade_simulator.orders import ZERO, CancelType, CreateType, OrderStatus, Side, TimeInForce
from trade_simulator.positions import PositionState, apply_execution
from trade_simulator.records import MarginMode, RecordQuery, TransactionType

D = Decimal
LINEAR = Category.LINEAR


def state():
    return PositionState(symbol="BTCUSDT", position_idx=0, created_at_ms=0, updated_at_ms=0, seq=0)


def book(position, side, qty, price, fee="0"):
    return apply_execution(position, side=side, quantity=D(qty), price=D(price), fee=D(fee))


def position_of(venue, uid="1", symbol="BTCUSDT"):
    return venue.exchange.positions(uid, category=LINEAR, symbol=symbol)[0]


def test_two_buys_average_their_entry():
    position = state()
    book(position, Side.BUY, "1", "100")
    book(position, Side.BUY, "3", "200")
    assert position.size == 4
    assert position.entry_value / position.size == 175


def test_partial_close_realises_its_share():
    position = state()
    book(position, Side.BUY, "3", "100")
    close = book(position, Side.SELL, "1", "130")
    assert (close.quantity, close.realised) == (1, 30)
    assert position.entry_value == 200


def test_short_earns_when_the_price_falls():
    position = state()
    book(position, Side.SELL, "2", "100")
    assert position.unrealised(D(90)) == 20
    assert book(position, Side.BUY, "2", "90").realised == 20
    assert position.size == 0
    assert position.entry_value == 0


def test_turning_a_position_round_closes_and_opens():
    position = state()
    book(position, Side.BUY, "1", "100")
    close = book(position, Side.SELL, "3", "110", fee="0.3")
    assert (close.quantity, close.realised) == (1, 10)
    assert position.size == -2
    assert position.entry_value == 220
    assert position.open_fees == D("0.2")


def test_entry_value_is_exact_over_awkward_closes():
    position = state()
    book(position, Side.BUY, "0.003", "64000.1")
    realised = sum(book(position, Side.SELL, "0.001", "64000.1").realised for _ in range(3))
    assert realised == 0
    assert position.entry_value == 0


def test_round_trip_books_result_fees_and_closed_pnl(venue):
    before = venue.balance()
    bought = venue.place(Side.BUY, "0.001")
    sold = venue.place(Side.SELL, "0.001", reduce_only=True)
    fees = bought.cum_exec_fee + sold.cum_exec_fee
    result = sold.cum_exec_value - bought.cum_exec_value
    assert venue.balance() == before + result - fees
    closed = venue.exchange.closed_pnl("1", RecordQuery()).items
    assert len(closed) == 1
    assert closed[0].closed_pnl == result - fees
    assert closed[0].side is Side.SELL
    assert closed[0].closed_size == D("0.001")


def test_position_equals_the_sum_of_its_executions(venue):
    venue.place(Side.BUY, "0.030")
    venue.place(Side.SELL, "0.050")
    venue.place(Side.BUY, "0.007")
    signed = sum(one.exec_qty * one.side.sign for one in venue.executions())
    assert venue.size() == signed == D("-0.013")


def test_reduce_only_order_is_cut_to_the_position(venue):
    venue.place(Side.BUY, "0.010")
    order = venue.place(Side.SELL, "0.500", reduce_only=True)
    assert order.qty == D("0.010")
    assert venue.size() == 0


def test_zero_quantity_with_reduce_only_and_close_on_trigger_closes_all(venue):
    venue.place(Side.BUY, "0.037")
    order = venue.place(Side.SELL, "0", reduce_only=True, close_on_trigger=True)
    assert order.qty == D("0.037")
    assert order.create_type is CreateType.BY_CLOSING
    assert venue.size() == 0


def test_reduce_only_orders_end_when_the_position_does(venue):
    venue.place(Side.BUY, "0.010")
    resting = venue.place(Side.SELL, "0.010", venue.best(Side.SELL) + 500, reduce_only=True)
    venue.place(Side.SELL, "0.004")
    assert venue.order(resting).leaves_qty == D("0.006")
    venue.place(Side.SELL, "0.006")
    assert venue.order(resting).status is OrderStatus.CANCELLED
    assert venue.order(resting).cancel_type is CancelType.BY_REDUCE_ONLY


def test_working_order_holds_margin_by_leverage(venue):
    venue.exchange.set_leverage("1", category=LINEAR, symbol="BTCUSDT", buy_leverage=D(5), sell_leverage=D(5))
    venue.place(Side.BUY, "0.100", "60000", time_in_force=TimeInForce.POST_ONLY)
    expected = D(6000) / 5 + D(6000) * D("0.00055")
    assert venue.exchange.wallet("1").total_initial_margin == expected
    venue.assert_sound()


def test_order_that_closes_holds_no_margin_but_its_surplus_does(venue):
    venue.place(Side.BUY, "0.010")
    price = venue.best(Side.SELL) + 500
    closing = venue.place(Side.SELL, "0.010", price)
    assert venue.order(closing).locked_amount == 0
    surplus = venue.place(Side.SELL, "0.010", price)
    assert venue.order(surplus).locked_amount > 0
    venue.assert_sound()


def test_leverage_is_checked(venue):
    exchange = venue.exchange

    def leverage(buy, sell=None, symbol="BTCUSDT"):
        exchange.set_leverage("1", category=LINEAR, symbol=symbol, buy_leverage=D(buy), sell_leverage=D(sell or buy))

    assert venue.refused(lambda: leverage("10"))[0] == 110043
    assert venue.refused(lambda: leverage("100.01"))[0] == 110013
    assert venue.refused(lambda: leverage("0.5"))[0] == 10001
    assert venue.refused(lambda: leverage("5.005"))[0] == 10001
    assert venue.refused(lambda: leverage("5", "6"))[0] == 10001
    assert venue.refused(lambda: leverage("5", symbol="NOUSDT"))[0] == 10001
    leverage("100")
    assert position_of(venue).leverage == 100


def test_leverage_that_the_margin_cannot_bear_is_refused(venue):
    exchange = venue.exchange
    exchange.set_leverage("1", category=LINEAR, symbol="BTCUSDT", buy_leverage=D(100), sell_leverage=D(100))
    for _ in range(10):
        venue.place(Side.BUY, "1", "60000", time_in_force=TimeInForce.POST_ONLY)
    refused = venue.refused(
        lambda: exchange.set_leverage("1", category=LINEAR, symbol="BTCUSDT", buy_leverage=D(1), sell_leverage=D(1))
    )
    assert refused[0] == 110044


def test_mode_that_is_set_already_succeeds_and_others_are_checked(venue):
    exchange = venue.exchange

    def switch(mode, symbol="", coin="USDT"):
        exchange.switch_mode("1", category=LINEAR, symbol=symbol, coin=coin, mode=mode)

    switch(0)
    assert venue.refused(lambda: switch(1))[0] == 10001
    assert venue.refused(lambda: switch(3, coin=""))[0] == 10001
    order = venue.rest()
    assert venue.refused(lambda: switch(3))[0] == 110028
    venue.cancel(order)
    venue.place(Side.BUY, "0.010")
    assert venue.refused(lambda: switch(3))[0] == 110024
    venue.place(Side.SELL, "0.010")
    switch(3)
    assert exchange.accounts["1"].is_hedge_mode


def test_hedge_mode_holds_both_sides(venue):
    venue.exchange.switch_mode("1", category=LINEAR, symbol="", coin="USDT", mode=3)
    venue.place(Side.BUY, "0.010", position_idx=1)
    venue.place(Side.SELL, "0.020", position_idx=2)
    venue.place(Side.SELL, "0.004", position_idx=1, reduce_only=True)
    assert venue.size(position_idx=1) == D("0.006")
    assert venue.size(position_idx=2) == D("-0.020")
    venue.assert_sound()


def test_positions_ask_for_a_filter_and_show_flat_ones_by_symbol(venue):
    exchange = venue.exchange
    assert venue.refused(lambda: exchange.positions("1", category=LINEAR))[0] == 10001
    assert venue.refused(lambda: exchange.positions("1", category=Category.SPOT, symbol="BTCUSDT"))[0] == 10001
    assert exchange.positions("1", category=LINEAR, settle_coin="USDT") == []
    flat = exchange.positions("1", category=LINEAR, symbol="BTCUSDT")
    assert (flat[0].side, flat[0].size) == (None, 0)


def test_cross_position_is_liquidated_only_when_margin_is_exhausted(venue):
    exchange = venue.exchange
    exchange.flow("1", coin="USDT", amount=D(-97_000))
    venue.place(Side.BUY, "0.400")
    resting = venue.rest(qty="0.001", away="20000")
    view = position_of(venue)
    assert view.liq_price is not None
    venue.jump(view.liq_price + 100)
    assert venue.size() == D("0.400")
    venue.jump(position_of(venue).liq_price - 100)
    assert venue.size() == 0
    assert venue.order(resting).cancel_type is CancelType.ALL_BEFORE_LIQUIDATION
    assert exchange.accounts["1"].ledger[-1].kind is TransactionType.LIQUIDATION
    assert exchange.executions
    assert venue.executions()[0].exec_type.value == "BustTrade"
    assert venue.executions()[0].create_type is CreateType.BY_LIQUIDATION
    venue.assert_sound()


def test_short_is_liquidated_above_its_price(venue):
    venue.exchange.flow("1", coin="USDT", amount=D(-97_000))
    venue.place(Side.SELL, "0.400")
    price = position_of(venue).liq_price
    venue.jump(price - 200)
    assert venue.size() == D("-0.400")
    venue.jump(position_of(venue).liq_price + 200)
    assert venue.size() == 0
    venue.assert_sound()


def test_gap_beyond_bankruptcy_is_paid_by_the_insurance(venue):
    venue.exchange.flow("1", coin="USDT", amount=D(-97_000))
    venue.place(Side.BUY, "0.400")
    venue.jump("40000")
    assert venue.balance() == 0
    venue.assert_sound()


def test_bankruptcy_takes_the_spot_orders_that_hold_collateral(venue):
    venue.place(Side.BUY, "0.400")
    waiting = venue.spot(Side.BUY, "0.5", "30000")
    venue.exchange.flow("1", coin="USDT", amount=D(-80_000))
    venue.jump("40000")
    assert venue.order(waiting).is_open
    venue.place(Side.SELL, "0.400", reduce_only=True)
    assert venue.balance() < venue.exchange.accounts["1"].locked("USDT")
    venue.tick()
    assert venue.order(waiting).cancel_type is CancelType.ALL_BEFORE_LIQUIDATION
    assert 0 < venue.balance() < 15_000
    venue.assert_sound()


def test_isolated_position_loses_no_more_than_its_margin(venue):
    venue.exchange.set_margin_mode("1", MarginMode.ISOLATED)
    venue.place(Side.BUY, "0.100")
    view = position_of(venue)
    assert view.trade_mode == 1
    before = venue.balance()
    venue.jump("40000")
    assert venue.size() == 0
    fee = venue.executions()[0].exec_fee
    # The takeover price is a whole number of ticks.
    assert before - venue.balance() - fee <= view.position_im + D("0.1") * view.size
    venue.assert_sound()


def test_margin_mode_that_is_set_already_succeeds(venue):
    venue.exchange.set_margin_mode("1", MarginMode.REGULAR)
    venue.exchange.set_margin_mode("1", MarginMode.ISOLATED)
    assert venue.exchange.accounts["1"].margin_mode is MarginMode.ISOLATED


def test_margin_mode_that_the_margin_cannot_bear_is_refused(venue):
    venue.place(Side.BUY, "1")
    venue.jump("66000")
    exchange = venue.exchange
    # Unrealised profit backs orders in cross margin only.
    venue.exchange.flow("1", coin="USDT", amount=D(-90_000))
    needed = exchange.wallet("1").total_available_balance - 100
    qty = (needed / D("6100")).quantize(D("0.001"), rounding="ROUND_DOWN")
    venue.place(Side.BUY, str(qty), "60000", time_in_force=TimeInForce.POST_ONLY)
    assert venue.refused(lambda: exchange.set_margin_mode("1", MarginMode.ISOLATED))[0] == 3400045


@pytest.mark.parametrize("side", list(Side))
def test_funding_is_exchanged_at_its_hour_once(venue, side):
    venue.place(side, "0.100")
    due_ms = venue.exchange.market.ticker(LINEAR, "BTCUSDT").next_funding_ms
    rate = venue.exchange.market.ticker(LINEAR, "BTCUSDT").funding_rate
    before = venue.balance()
    venue.now_ms = due_ms - 200
    venue.tick()
    assert venue.balance() == before
    venue.tick()
    entry = venue.exchange.accounts["1"].ledger[-1]
    assert entry.kind is TransactionType.SETTLEMENT
    mark = venue.executions()[0].exec_price
    expected = -(side.sign * D("0.100") * mark * rate).quantize(D("1e-10"))
    assert venue.balance() - before == expected == entry.funding
    venue.tick(5)
    assert venue.balance() - before == expected
    assert venue.exchange.market.funding_history("BTCUSDT", limit=1)[0].funding_rate == rate
    venue.assert_sound()


def test_clock_that_leaps_over_days_settles_once(venue):
    venue.place(Side.BUY, "0.100")
    venue.now_ms += 5 * 86_400_000
    venue.tick()
    kinds = [entry.kind for entry in venue.exchange.accounts["1"].ledger]
    assert kinds.count(TransactionType.SETTLEMENT) == 1


def test_wallet_of_a_position_adds_up(venue):
    venue.place(Side.BUY, "0.100")
    venue.jump("65000")
    wallet = venue.exchange.wallet("1")
    view = position_of(venue)
    assert wallet.total_perp_upl == view.unrealised_pnl > 0
    assert wallet.total_margin_balance == venue.balance() + view.unrealised_pnl
    assert wallet.total_available_balance == wallet.total_margin_balance - view.position_im
    assert view.position_mm == (view.mark_price * D("0.1") * D("0.005")).quantize(D("1e-8"))
    assert view.cur_realised_pnl < ZERO
