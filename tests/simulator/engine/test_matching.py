"""How orders meet the book."""

from decimal import Decimal

import pytest

from trade_simulator.events import BookChanged, Executed, OrderChanged, PublicTrade, WalletChanged
from trade_simulator.instruments import Category
from trade_simulator.orders import (
    CancelOrder,
    CancelType,
    MarketUnit,
    OrderStatus,
    RejectReason,
    Side,
    TimeInForce,
)

D = Decimal


def test_limit_order_away_from_the_market_rests(venue):
    order = venue.rest()
    assert order.status is OrderStatus.NEW
    assert order.order_id in venue.exchange.accounts["1"].open_orders


def test_crossing_limit_order_fills_at_the_resting_price(venue):
    ask = venue.best(Side.SELL)
    order = venue.place(Side.BUY, "0.001", ask + 100)
    assert order.status is OrderStatus.FILLED
    assert order.avg_price == ask
    assert order.cum_exec_fee == (ask * D("0.001") * D("0.00055")).quantize(D("1e-10"))


def test_post_only_order_that_crosses_is_acknowledged_then_cancelled(venue):
    order = venue.place(Side.BUY, "0.010", venue.best(Side.SELL), time_in_force=TimeInForce.POST_ONLY)
    assert order.status is OrderStatus.CANCELLED
    assert order.reject_reason is RejectReason.POST_ONLY_WILL_TAKE_LIQUIDITY
    assert order.cum_exec_qty == 0
    assert venue.exchange.accounts["1"].order_margin == 0


def test_post_only_order_one_tick_before_crossing_rests(venue):
    price = venue.best(Side.SELL) - D("0.1")
    order = venue.place(Side.BUY, "0.010", price, time_in_force=TimeInForce.POST_ONLY)
    assert order.status is OrderStatus.NEW


def test_market_post_only_order_is_cancelled_with_its_reason(venue):
    order = venue.place(Side.BUY, "0.010", time_in_force=TimeInForce.POST_ONLY)
    assert order.status is OrderStatus.CANCELLED
    assert order.reject_reason is RejectReason.MARKET_ORDER_CANNOT_BE_POST_ONLY


def test_market_order_becomes_immediate_or_cancel_and_fills(venue):
    order = venue.place(Side.BUY, "0.010")
    assert order.time_in_force is TimeInForce.IOC
    assert order.status is OrderStatus.FILLED
    assert venue.size() == D("0.010")


def test_market_order_beyond_the_book_is_cut_off(make_venue):
    venue = make_venue()
    venue.exchange.flow("1", coin="USDT", amount=D(50_000_000))
    venue.exchange.set_leverage(
        "1", category=Category.LINEAR, symbol="XRPUSDT", buy_leverage=D(75), sell_leverage=D(75)
    )
    book = venue.exchange.market.book(Category.LINEAR, "XRPUSDT", depth=500)
    everything = sum(size for _, size in book.asks)
    wanted = everything + 1000
    if wanted * D("2.3") < 500_000:
        pytest.fail("the book is too thin for this test")
    order = venue.spot(Side.BUY, str(everything + 1000), symbol="XRPUSDT", market_unit=MarketUnit.BASE)
    assert order.status is OrderStatus.PARTIALLY_FILLED_CANCELED
    assert order.reject_reason is RejectReason.NO_IMMEDIATE_QTY_TO_FILL


def test_ioc_order_fills_what_it_can_and_ends(venue):
    book = venue.exchange.market.book(Category.LINEAR, "BTCUSDT", depth=1)
    price, size = book.asks[0]
    order = venue.place(Side.BUY, str(size + D("0.005")), price, time_in_force=TimeInForce.IOC)
    assert order.status is OrderStatus.CANCELLED
    assert order.cum_exec_qty == size
    assert venue.exchange.accounts["1"].order_margin == 0


def test_ioc_order_that_does_not_cross_is_cancelled(venue):
    order = venue.place(Side.BUY, "0.010", venue.best(Side.BUY), time_in_force=TimeInForce.IOC)
    assert order.status is OrderStatus.CANCELLED
    assert order.reject_reason is RejectReason.NO_IMMEDIATE_QTY_TO_FILL


def test_fok_order_fills_whole_or_not_at_all(venue):
    price, size = venue.exchange.market.book(Category.LINEAR, "BTCUSDT", depth=1).asks[0]
    over = venue.place(Side.BUY, str(size + D("0.001")), price, time_in_force=TimeInForce.FOK)
    assert (over.status, over.cum_exec_qty) == (OrderStatus.CANCELLED, 0)
    assert over.reject_reason is RejectReason.NO_ENOUGH_QTY_TO_FILL
    exact = venue.place(Side.BUY, str(size), price, time_in_force=TimeInForce.FOK)
    assert exact.status is OrderStatus.FILLED


def test_members_trade_in_price_then_time_order(venue):
    spread_bid = venue.best(Side.BUY)
    first = venue.place(Side.BUY, "0.003", spread_bid, uid="2", time_in_force=TimeInForce.POST_ONLY)
    second = venue.place(Side.BUY, "0.003", spread_bid, uid="3", time_in_force=TimeInForce.POST_ONLY)
    ahead = venue.exchange.market.book(Category.LINEAR, "BTCUSDT", depth=1).bids[0][1] - D("0.006")
    venue.place(Side.SELL, str(ahead + D("0.004")), spread_bid)
    assert venue.order(first).status is OrderStatus.FILLED
    assert venue.order(second).cum_exec_qty == D("0.001")
    assert venue.order(second).status is OrderStatus.PARTIALLY_FILLED


def test_two_members_trade_with_each_other_as_maker_and_taker(venue):
    bid = venue.best(Side.BUY)
    maker = venue.place(Side.BUY, "0.002", bid, uid="2", time_in_force=TimeInForce.POST_ONLY)
    ahead = venue.exchange.market.book(Category.LINEAR, "BTCUSDT", depth=1).bids[0][1] - D("0.002")
    venue.place(Side.SELL, str(ahead + D("0.002")), bid, uid="3")
    execution = venue.executions("2")[0]
    assert execution.is_maker
    assert execution.fee_rate == D("0.0002")
    assert venue.order(maker).status is OrderStatus.FILLED
    assert not any(one.is_maker for one in venue.executions("3"))
    venue.assert_sound()


def test_price_that_passes_a_working_order_fills_it_as_maker(venue):
    order = venue.rest(away="200")
    venue.jump(order.price - 50)
    filled = venue.order(order)
    assert filled.status is OrderStatus.FILLED
    assert filled.avg_price == order.price
    assert venue.executions()[0].is_maker


@pytest.mark.parametrize("side", list(Side))
def test_order_that_ate_a_level_and_rests_there_is_filled_when_makers_come_back(venue, side):
    book = venue.exchange.market.book(Category.LINEAR, "BTCUSDT", depth=1)
    price, size = (book.bids if side is Side.SELL else book.asks)[0]
    order = venue.place(side, str(size + D("0.005")), price)
    assert order.leaves_qty == D("0.005")
    for _ in range(5):
        venue.tick()
        venue.assert_sound()
    assert venue.order(order).status is OrderStatus.FILLED


@pytest.mark.slow
@pytest.mark.parametrize("category", list(Category))
def test_orders_at_the_best_price_usually_fill_within_half_a_minute(make_venue, category):
    filled = 0
    for seed in range(10):
        venue = make_venue(seed=seed)
        price = venue.best(Side.BUY, category=category)
        order = venue.place(Side.BUY, "0.001", price, category=category, time_in_force=TimeInForce.POST_ONLY)
        venue.tick(300)
        filled += venue.order(order).status is OrderStatus.FILLED
    assert filled >= 6


def test_cancel_ends_the_order_and_frees_the_book(venue):
    order = venue.rest()
    cancelled = venue.cancel(order)
    assert cancelled.status is OrderStatus.CANCELLED
    assert cancelled.cancel_type is CancelType.BY_USER
    prices = [price for price, _ in venue.exchange.market.book(Category.LINEAR, "BTCUSDT", depth=500).bids]
    assert order.price not in prices


def test_partly_filled_spot_order_that_is_cancelled_has_its_own_status(venue):
    price, size = venue.exchange.market.book(Category.SPOT, "BTCUSDT", depth=1).asks[0]
    order = venue.spot(Side.BUY, str(size + D("0.01")), price)
    assert order.status is OrderStatus.PARTIALLY_FILLED
    assert venue.cancel(order).status is OrderStatus.PARTIALLY_FILLED_CANCELED


def test_spot_market_buy_counts_quote_coin(venue):
    before = venue.balance()
    order = venue.spot(Side.BUY, "1000")
    assert order.status is OrderStatus.FILLED
    assert order.market_unit is MarketUnit.QUOTE
    spent = before - venue.balance()
    assert D(999) < spent <= 1000
    assert spent == order.cum_exec_value


def test_spot_buy_pays_its_fee_in_base_coin_and_sell_in_quote_coin(venue):
    base, quote = venue.balance("BTC"), venue.balance()
    bought = venue.spot(Side.BUY, "0.01", venue.best(Side.SELL, category=Category.SPOT))
    assert bought.cum_fee_detail == {"BTC": D("0.00001")}
    assert venue.balance("BTC") == base + D("0.00999")
    assert venue.balance() == quote - bought.cum_exec_value
    sold = venue.spot(Side.SELL, "0.01", venue.best(Side.BUY, category=Category.SPOT))
    assert sold.fee_currency == "USDT"
    assert sold.cum_exec_fee == (sold.cum_exec_value * D("0.001")).quantize(D("1e-10"))


def test_amend_of_the_price_moves_the_order(venue):
    order = venue.rest()
    amended = venue.amend(order, price=order.price - 10)
    assert amended.price == order.price - 10
    book = dict(venue.exchange.market.book(Category.LINEAR, "BTCUSDT", depth=500).bids)
    assert book[amended.price] >= order.qty
    assert order.price not in book


def test_amend_to_less_keeps_the_place_and_to_more_loses_it(venue):
    price = venue.best(Side.BUY) - 300
    first = venue.place(Side.BUY, "0.010", price, uid="2", time_in_force=TimeInForce.POST_ONLY)
    second = venue.place(Side.BUY, "0.010", price, uid="3", time_in_force=TimeInForce.POST_ONLY)
    book = venue.exchange._floor.books[Category.LINEAR, "BTCUSDT"]

    def queue():
        return [entry.order.order_id for entry in book.orders_through(Side.BUY, int(price / D("0.1")))]

    venue.amend(first, qty=D("0.005"))
    assert queue() == [first.order_id, second.order_id]
    venue.amend(first, qty=D("0.006"))
    assert queue() == [second.order_id, first.order_id]
    venue.assert_sound()


def test_post_only_order_amended_to_cross_is_cancelled(venue):
    order = venue.rest()
    amended = venue.amend(order, price=venue.best(Side.SELL) + 1)
    assert amended.status is OrderStatus.CANCELLED
    assert amended.reject_reason is RejectReason.POST_ONLY_WILL_TAKE_LIQUIDITY


def test_gtc_order_amended_to_cross_trades(venue):
    order = venue.place(Side.BUY, "0.010", venue.best(Side.BUY) - 100)
    amended = venue.amend(order, price=venue.best(Side.SELL) + 1)
    assert amended.status is OrderStatus.FILLED


def test_cancel_all_by_symbol_coin_and_kind(venue):
    linear = [venue.rest(), venue.rest(away="600")]
    other = venue.place(Side.BUY, "1", "2000", symbol="ETHUSDT")
    stop = venue.place(Side.SELL, "0.010", trigger_price=D("60000"), trigger_direction=2)
    spot = venue.rest(category=Category.SPOT)
    chosen = venue.cancel_all(symbol="BTCUSDT")
    assert {one.order_id for one in chosen} == {linear[0].order_id, linear[1].order_id, stop.order_id}
    assert venue.order(other).is_open
    assert [one.order_id for one in venue.cancel_all(settle_coin="USDT")] == [other.order_id]
    assert venue.order(stop).status is OrderStatus.DEACTIVATED
    assert [one.order_id for one in venue.cancel_all(category=Category.SPOT)] == [spot.order_id]
    assert not venue.exchange.accounts["1"].open_orders
    venue.assert_sound()


def test_order_id_wins_over_link_id(venue):
    first = venue.rest(order_link_id="a")
    second = venue.rest(order_link_id="b")
    command = CancelOrder(category=Category.LINEAR, symbol="BTCUSDT", order_id=first.order_id, order_link_id="b")
    assert venue.exchange.cancel("1", command).order_id == first.order_id
    assert venue.order(second).is_open


def test_order_ids_look_like_those_of_their_category(venue):
    assert len(venue.rest().order_id) == 36
    spot = venue.rest(category=Category.SPOT)
    assert len(spot.order_id) == 19
    assert spot.order_id.isdigit()


def test_events_of_a_fill_come_in_order_and_the_orders_are_copies(venue):
    venue.events.clear()
    order = venue.place(Side.BUY, "0.010", venue.best(Side.SELL) + 10, order_link_id="x")
    kinds = [type(event) for event in venue.events if not isinstance(event, PublicTrade)]
    assert kinds.index(Executed) < kinds.index(OrderChanged) < kinds.index(BookChanged) < kinds.index(WalletChanged)
    told = [event.order for event in venue.events if isinstance(event, OrderChanged)]
    assert told[-1] == order
    assert told[-1] is not venue.order(order)


def test_same_seed_and_commands_give_the_same_history(make_venue):
    def run(seed):
        venue = make_venue(seed=seed)
        order = venue.rest(away="5")
        venue.tick(50)
        venue.place(Side.SELL, "0.010")
        return list(venue.events), order.order_id

    assert run(3) == run(3)
    assert run(3) != run(4)
