"""Locks and balances of the spot wallet."""

from decimal import Decimal

from trade_simulator.instruments import Category
from trade_simulator.orders import OrderFilter, OrderStatus, Side

D = Decimal


def locked(venue, coin):
    return venue.exchange.accounts["1"].locked(coin)


def test_buy_order_locks_quote_coin_until_it_is_cancelled(venue):
    order = venue.spot(Side.BUY, "0.5", "60000")
    assert locked(venue, "USDT") == 30000
    assert venue.balance() == 100_000
    venue.cancel(order)
    assert locked(venue, "USDT") == 0


def test_sell_order_locks_base_coin(venue):
    venue.spot(Side.SELL, "0.4", "65500")
    assert locked(venue, "BTC") == D("0.4")
    assert venue.refused(lambda: venue.spot(Side.SELL, "0.600001", "65500"))[0] == 170131
    assert venue.spot(Side.SELL, "0.6", "65500").is_open


def test_locked_coins_are_not_available_to_another_order(venue):
    venue.spot(Side.BUY, "1", "60000")
    assert venue.refused(lambda: venue.spot(Side.BUY, "0.7", "60000"))[0] == 170131
    assert venue.spot(Side.BUY, "0.5", "60000").is_open


def test_fill_below_the_limit_frees_what_was_locked_too_much(venue):
    ask = venue.best(Side.SELL, category=Category.SPOT)
    order = venue.spot(Side.BUY, "0.001", ask + 1000)
    assert order.status is OrderStatus.FILLED
    assert locked(venue, "USDT") == 0
    assert venue.balance() == 100_000 - order.cum_exec_value


def test_amendment_moves_the_lock(venue):
    order = venue.spot(Side.BUY, "0.5", "60000")
    venue.amend(order, price=D(59000))
    assert locked(venue, "USDT") == 29500
    venue.amend(order, qty=D("0.2"))
    assert locked(venue, "USDT") == 11800
    venue.assert_sound()


def test_spot_conditional_order_locks_nothing_before_it_triggers(venue):
    venue.spot(Side.BUY, "0.5", "63000", trigger_price=D(63500), order_filter=OrderFilter.STOP_ORDER)
    assert locked(venue, "USDT") == 0
    venue.jump("63400")
    assert locked(venue, "USDT") == 31500


def test_spot_tpsl_order_locks_at_once_and_sells_when_triggered(venue):
    order = venue.spot(Side.SELL, "0.001", trigger_price=D(63000), order_filter=OrderFilter.TPSL_ORDER)
    assert order.status is OrderStatus.UNTRIGGERED
    assert locked(venue, "BTC") == D("0.001")
    venue.jump("62900")
    assert venue.order(order).status is OrderStatus.FILLED
    assert locked(venue, "BTC") == 0
    assert venue.balance("BTC") == D("0.999")
    venue.assert_sound()


def test_spot_stop_that_finds_no_balance_is_rejected(venue):
    order = venue.spot(Side.BUY, "1", "64000", trigger_price=D(65000), order_filter=OrderFilter.STOP_ORDER)
    venue.spot(Side.BUY, "1", "60000")
    venue.jump("65100")
    assert venue.order(order).status is OrderStatus.REJECTED
    venue.assert_sound()


def test_wallet_shows_equity_at_index_prices(venue):
    venue.jump("60000")
    wallet = venue.exchange.wallet("1")
    assert wallet.total_equity == 160_000
    assert wallet.total_margin_balance == 100_000
    coins = {view.coin: view for view in wallet.coins}
    assert coins["BTC"].usd_value == 60_000
    assert not coins["BTC"].is_collateral


def test_ledger_entries_of_a_trade_add_up_to_the_balance(venue):
    venue.spot(Side.BUY, "0.01", venue.best(Side.SELL, category=Category.SPOT) + 100)
    for coin in ("USDT", "BTC"):
        entries = [one for one in venue.exchange.accounts["1"].ledger if one.currency == coin]
        assert sum(one.change for one in entries) == venue.balance(coin) == entries[-1].cash_balance
        assert all(one.change == one.cash_flow + one.funding - one.fee for one in entries)
