"""The moving market: paths, candles, books, tickers, replay."""

import statistics
import time
from decimal import Decimal
from itertools import pairwise

import pytest

from trade_simulator.events import BookChanged, CandleChanged, PublicTrade, TickerChanged
from trade_simulator.instruments import DEFAULT_INSTRUMENTS, Category
from trade_simulator.market.candles import LIVE_BARS_MAX, bar_end_ms, bar_start_ms
from trade_simulator.market.price_file import parse_bars
from trade_simulator.market.series import CandleKind, Interval
from trade_simulator.orders import OrderStatus, Side, TimeInForce

D = Decimal
LINEAR = Category.LINEAR
HEADER = "timestamp,open,high,low,close,volume\n"


def recorded(*rows):
    return parse_bars([HEADER, *rows], tick_size=D("0.1"))


def test_every_interval_has_a_thousand_aligned_and_gapless_candles(venue):
    venue.tick(5)
    for interval in Interval:
        candles = venue.exchange.market.candles(LINEAR, "BTCUSDT", interval, limit=1000)
        wanted = 240 if interval is Interval.MONTH else 1000
        assert len(candles) >= wanted, interval
        assert candles[0].start_ms == bar_start_ms(interval, venue.now_ms)
        for newer, older in pairwise(candles):
            assert bar_end_ms(interval, older.start_ms) == newer.start_ms
            assert older.low <= min(older.open, older.close) <= max(older.open, older.close) <= older.high
            assert older.close == newer.open or newer is candles[0]


def test_longer_candles_are_made_of_shorter_ones(venue):
    venue.tick(20)
    market = venue.exchange.market
    hour = market.candles(Category.SPOT, "ETHUSDT", Interval.H1, limit=2)[1]
    minutes = market.candles(
        Category.SPOT, "ETHUSDT", Interval.M1, start_ms=hour.start_ms, end_ms=hour.start_ms + 3_599_999, limit=60
    )
    assert len(minutes) == 60
    assert hour.open == minutes[-1].open
    assert hour.close == minutes[0].close
    assert hour.high == max(one.high for one in minutes)
    assert hour.volume == sum(one.volume for one in minutes)
    assert hour.turnover == sum(one.turnover for one in minutes)


def test_live_candle_follows_the_trades(venue):
    venue.now_ms = bar_start_ms(Interval.M1, venue.now_ms) + 60_000
    venue.tick()
    venue.events.clear()
    venue.tick(590)
    trades = [
        e.trade for e in venue.events if isinstance(e, PublicTrade) and (e.category, e.symbol) == (LINEAR, "BTCUSDT")
    ]
    candle = venue.exchange.market.candles(LINEAR, "BTCUSDT", Interval.M1, limit=1)[0]
    assert candle.close == trades[-1].price == venue.exchange.market.last_price(LINEAR, "BTCUSDT")
    assert candle.high >= max(one.price for one in trades)
    assert candle.volume >= sum(one.size for one in trades) > 0


def test_closed_candle_is_told_once_as_confirmed(venue):
    venue.now_ms = bar_start_ms(Interval.M1, venue.now_ms) + 59_000
    venue.tick()
    venue.events.clear()
    venue.tick(15)
    told = [
        event
        for event in venue.events
        if isinstance(event, CandleChanged)
        and (event.category, event.symbol, event.interval) == (LINEAR, "BTCUSDT", Interval.M1)
    ]
    assert sum(event.is_confirmed for event in told) == 1
    assert told[-1].candle.start_ms > next(event for event in told if event.is_confirmed).candle.start_ms


def test_told_candle_is_the_one_that_can_be_read(venue):
    for interval in Interval:
        venue.exchange.market.candles(Category.SPOT, "BTCUSDT", interval, limit=1)
    venue.tick(25)
    told = {
        event.interval: event.candle
        for event in venue.events
        if isinstance(event, CandleChanged) and (event.category, event.symbol) == (Category.SPOT, "BTCUSDT")
    }
    for interval in Interval:
        read = venue.exchange.market.candles(Category.SPOT, "BTCUSDT", interval, limit=1)[0]
        assert (told[interval].start_ms, told[interval].open) == (read.start_ms, read.open)


def test_clock_that_leaps_leaves_flat_candles_but_not_too_many(venue):
    venue.tick()
    venue.now_ms += 10 * LIVE_BARS_MAX * 60_000
    venue.tick()
    candles = venue.exchange.market.candles(LINEAR, "BTCUSDT", Interval.M1, limit=1000)
    assert len(candles) == 1000
    assert candles[0].start_ms == bar_start_ms(Interval.M1, venue.now_ms)


def test_mark_and_index_candles_exist_on_linear_only(venue):
    venue.tick()
    market = venue.exchange.market
    mark = market.candles(LINEAR, "BTCUSDT", Interval.M1, kind=CandleKind.MARK, limit=1)[0]
    assert mark.close == market.mark_price(LINEAR, "BTCUSDT")
    index = market.candles(LINEAR, "BTCUSDT", Interval.M1, kind=CandleKind.INDEX, limit=1)[0]
    assert index.close == market.index_price(LINEAR, "BTCUSDT")
    spot = lambda: market.candles(Category.SPOT, "BTCUSDT", Interval.M1, kind=CandleKind.MARK)  # noqa: E731
    assert venue.refused(spot)[0] == 10001


def test_candles_from_a_start_are_those_that_follow_it(venue):
    market = venue.exchange.market
    newest = market.candles(LINEAR, "BTCUSDT", Interval.M5, limit=100)
    found = market.candles(LINEAR, "BTCUSDT", Interval.M5, start_ms=newest[-1].start_ms, limit=10)
    assert found == newest[-10:]


def test_book_has_fifty_levels_a_side_with_a_tight_spread(venue):
    for instrument in DEFAULT_INSTRUMENTS:
        book = venue.exchange.market.book(instrument.category, instrument.symbol, depth=200)
        assert len(book.bids) == len(book.asks) == 50
        assert 1 <= (book.asks[0][0] - book.bids[0][0]) / instrument.tick_size <= 2
        assert [price for price, _ in book.bids] == sorted((price for price, _ in book.bids), reverse=True)
        assert all(size > 0 for _, size in (*book.bids, *book.asks))


def test_deltas_rebuild_the_book(venue):
    snapshot = venue.exchange.market.book(LINEAR, "BTCUSDT", depth=500)
    sides = {"bids": dict(snapshot.bids), "asks": dict(snapshot.asks)}
    venue.events.clear()
    venue.tick(100)
    venue.place(Side.BUY, "0.5")
    venue.jump("61000")
    last_id = snapshot.update_id
    for event in venue.events:
        if isinstance(event, BookChanged) and (event.category, event.symbol) == (LINEAR, "BTCUSDT"):
            assert event.update_id == last_id + 1
            last_id = event.update_id
            for name, levels in (("bids", event.bids), ("asks", event.asks)):
                for price, size in levels:
                    if size:
                        sides[name][price] = size
                    else:
                        sides[name].pop(price, None)
    now = venue.exchange.market.book(LINEAR, "BTCUSDT", depth=500)
    assert sides == {"bids": dict(now.bids), "asks": dict(now.asks)}


def test_prices_move_and_stay_together(venue):
    market = venue.exchange.market
    seen = set()
    for _ in range(300):
        venue.tick()
        index, mark = market.index_price(LINEAR, "BTCUSDT"), market.mark_price(LINEAR, "BTCUSDT")
        assert market.index_price(Category.SPOT, "BTCUSDT") == index
        assert abs(mark / index - 1) < D("0.0004")
        seen.add(index)
    assert len(seen) > 3


def test_set_price_moves_everything_at_once(venue):
    venue.jump("50000")
    market = venue.exchange.market
    for category in Category:
        assert market.index_price(category, "BTCUSDT") == 50000
        assert abs(market.mark_price(category, "BTCUSDT") / 50000 - 1) < D("0.0004")
        book = market.book(category, "BTCUSDT", depth=1)
        assert abs(book.bids[0][0] / 50000 - 1) < D("0.0004")
        assert abs(market.last_price(category, "BTCUSDT") / 50000 - 1) < D("0.0004")
    assert market.index_price(LINEAR, "ETHUSDT") == 3200


def test_set_price_rounds_to_a_tick(venue):
    venue.jump("50000.04")
    assert venue.exchange.market.index_price(LINEAR, "BTCUSDT") == 50000


@pytest.mark.parametrize(
    ("symbol", "price"), [("NOUSDT", "1"), ("BTCUSDT", "0"), ("BTCUSDT", "-1"), ("BTCUSDT", "NaN")]
)
def test_set_price_that_is_no_price_is_refused(venue, symbol, price):
    assert venue.refused(lambda: venue.jump(price, symbol))[0] == 10001


def test_speed_walks_more_steps_a_tick(make_venue):
    slow, fast = make_venue(seed=5), make_venue(seed=5, speed=D(20))
    slow.tick(20)
    fast.tick(1)
    assert fast.exchange.market.index_price(LINEAR, "BTCUSDT") == slow.exchange.market.index_price(LINEAR, "BTCUSDT")


def test_slow_speed_walks_a_step_now_and_then(make_venue):
    whole, half = make_venue(seed=5), make_venue(seed=5, speed=D("0.5"))
    whole.tick(100)
    half.tick(200)
    assert half.exchange.market.index_price(LINEAR, "BTCUSDT") == whole.exchange.market.index_price(LINEAR, "BTCUSDT")


def test_orders_of_members_do_not_bend_the_path(make_venue):
    quiet, busy = make_venue(seed=9), make_venue(seed=9)
    for _ in range(100):
        quiet.tick()
        busy.tick()
        busy.place(Side.BUY, "0.001")
    assert quiet.exchange.market.index_price(LINEAR, "BTCUSDT") == busy.exchange.market.index_price(LINEAR, "BTCUSDT")


def test_ticker_summarises_the_day(venue):
    venue.tick(30)
    ticker = venue.exchange.market.ticker(LINEAR, "BTCUSDT")
    candles = venue.exchange.market.candles(LINEAR, "BTCUSDT", Interval.M15, limit=96)
    assert ticker.high_price_24h == max(one.high for one in candles)
    assert ticker.volume_24h == sum(one.volume for one in candles)
    assert ticker.previous_price_24h == candles[-1].open
    assert ticker.open_interest > 0
    assert ticker.next_funding_ms > venue.now_ms
    spot = venue.exchange.market.ticker(Category.SPOT, "BTCUSDT")
    assert (spot.open_interest, spot.funding_rate, spot.next_funding_ms) == (None, None, None)
    assert any(isinstance(event, TickerChanged) for event in venue.events)


def test_recent_trades_are_newest_first(venue):
    venue.tick(300)
    trades = venue.exchange.market.trades(LINEAR, "BTCUSDT", limit=5)
    assert len(trades) == 5
    assert [one.seq for one in trades] == sorted((one.seq for one in trades), reverse=True)


def test_funding_and_open_interest_histories_end_now(venue):
    market = venue.exchange.market
    points = market.funding_history("BTCUSDT", limit=10)
    assert len(points) == 10
    assert points[0].at_ms <= venue.now_ms < points[0].at_ms + 8 * 3_600_000
    assert all(one.at_ms % (8 * 3_600_000) == 0 for one in points)
    interest = market.open_interest("BTCUSDT", interval_ms=300_000, limit=3)
    assert [one.at_ms for one in interest] == sorted((one.at_ms for one in interest), reverse=True)
    assert venue.refused(lambda: market.funding_history("NOUSDT"))[0] == 10001


@pytest.mark.parametrize("method", ["last_price", "mark_price", "index_price", "ticker"])
def test_unknown_symbol_has_no_market(venue, method):
    assert venue.refused(lambda: getattr(venue.exchange.market, method)(Category.SPOT, "NOUSDT"))[0] == 170121


def test_replay_walks_open_low_high_close_and_then_holds(make_venue):
    bars = recorded("1700000000000,100,120,90,110,5\n", "1700000060000,110,115,80,85,5\n")
    venue = make_venue(replay={"BTCUSDT": bars})
    seen = []
    for _ in range(1300):
        seen.append(venue.exchange.market.index_price(LINEAR, "BTCUSDT"))
        venue.tick()
    assert seen[0] == 100
    assert min(seen[:600]) == 90
    assert max(seen[:600]) == 120
    assert seen.index(D(90)) < seen.index(D(120))
    second = seen[600:1200]
    assert max(second) == 115
    assert second.index(D(115)) < second.index(D(80))
    assert seen[-1] == 85
    assert seen[-50] == 85


def test_fast_replay_does_not_skip_the_extremes(make_venue):
    bars = recorded("1700000000000,60000,60000,60000,60000,5\n", "1700000060000,60000,66000,54000,60000,5\n",
                          "1700000120000,60000,60100,59900,60000,5\n")  # fmt: skip
    venue = make_venue(replay={"BTCUSDT": bars}, speed=D(1000))
    bid = venue.place(Side.BUY, "0.001", "54100", time_in_force=TimeInForce.POST_ONLY)
    offer = venue.place(Side.SELL, "0.001", "65900", time_in_force=TimeInForce.POST_ONLY)
    stop = venue.place(Side.BUY, "0.001", trigger_price=D(65950), trigger_direction=1)
    venue.tick(2)
    assert venue.exchange.market.index_price(LINEAR, "BTCUSDT") < 60200
    assert [venue.order(one).status for one in (bid, offer, stop)] == [OrderStatus.FILLED] * 3


def test_replay_of_a_gap_walks_the_bar_in_its_own_time_and_holds_the_close(make_venue):
    """A crash within a minute must not take the hours in which nobody recorded anything."""
    rows = [f"{1700000000000 + n * 60_000},100,100,100,100,5\n" for n in range(3)]
    crash, after = "1700000180000,100,100,10,10,5\n", "1700010980000,50,50,50,50,5\n"
    venue = make_venue(replay={"BTCUSDT": recorded(*rows, crash, after)}, speed=D(600))
    seen = []
    for _ in range(4 + 180):
        seen.append(venue.exchange.market.index_price(LINEAR, "BTCUSDT"))
        venue.tick()
    assert seen[:4] == [100] * 4
    assert set(seen[4:-1]) == {D(10)}
    assert venue.exchange.market.index_price(LINEAR, "BTCUSDT") == 50


def test_replay_shifts_after_a_jump(make_venue):
    bars = recorded("1700000000000,100,120,90,110,5\n")
    venue = make_venue(replay={"BTCUSDT": bars})
    venue.jump("200")
    venue.tick(700)
    assert venue.exchange.market.index_price(LINEAR, "BTCUSDT") == 210


def test_replay_of_an_unlisted_symbol_is_refused(make_venue):
    bars = recorded("1700000000000,100,120,90,110,5\n")
    with pytest.raises(ValueError, match="NOUSDT"):
        make_venue(replay={"NOUSDT": bars})


def test_tick_takes_less_than_five_milliseconds(venue):
    for number in range(50):
        venue.place(Side.BUY, "0.001", str(60000 + number))
    taken = []
    for _ in range(300):
        begun = time.perf_counter()
        venue.tick()
        taken.append(time.perf_counter() - begun)
    assert statistics.median(taken) < 0.005
