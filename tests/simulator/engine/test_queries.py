"""Lists of orders, executions, records and strategies."""

from decimal import Decimal

import pytest

from trade_simulator.algos import RUNNING_MAX, AlgoQuery, AlgoRequest
from trade_simulator.instruments import Category
from trade_simulator.orders import ExecType, ExecutionQuery, OrderFilter, OrderQuery, OrderStatus, Side
from trade_simulator.records import RecordQuery, TransactionType

D = Decimal
LINEAR = Category.LINEAR
DAY_MS = 86_400_000


def working(venue, **fields):
    values = {"category": LINEAR, "symbol": "BTCUSDT"}
    return venue.exchange.working_orders("1", OrderQuery(**{**values, **fields}))


def algo(**fields):
    values = {"category": "UTA_USDT", "symbol": "BTCUSDT", "side": Side.BUY, "size": D("0.1"), "strategy_type": "twap"}
    return AlgoRequest(**{**values, **fields})


def test_pages_are_newest_first_and_complete(venue):
    placed = [venue.rest().order_id for _ in range(7)]
    seen, cursor = [], ""
    for _ in range(3):
        page = working(venue, limit=3, cursor=cursor)
        seen += [order.order_id for order in page.items]
        cursor = page.next_cursor
    assert seen == placed[::-1]
    assert cursor == ""


def test_cursor_stays_valid_while_orders_arrive(venue):
    placed = [venue.rest().order_id for _ in range(4)]
    first = working(venue, limit=2)
    venue.rest()
    second = working(venue, limit=2, cursor=first.next_cursor)
    assert [order.order_id for order in second.items] == placed[1::-1]


def test_page_that_ends_exactly_has_no_cursor(venue):
    venue.rest()
    venue.rest()
    assert working(venue, limit=2).next_cursor == ""


@pytest.mark.parametrize("cursor", ["nonsense", "page_token%3D0%26", "page_token=1", "page_token%3D-1%26"])
def test_cursor_that_the_exchange_did_not_make_is_refused(venue, cursor):
    assert venue.refused(lambda: working(venue, cursor=cursor))[0] == 10001


def test_cursor_is_accepted_decoded(venue):
    venue.rest()
    second = venue.rest()
    page = working(venue, limit=1)
    decoded = page.next_cursor.replace("%3D", "=").replace("%26", "&")
    assert page.items[0].order_id == second.order_id
    assert len(working(venue, limit=1, cursor=decoded).items) == 1


def test_realtime_of_linear_needs_a_filter(venue):
    assert venue.refused(lambda: working(venue, symbol=""))[0] == 10001
    assert working(venue, symbol="", settle_coin="USDT").items == ()


def test_realtime_shows_open_orders_then_closed_ones_then_either_by_id(venue):
    kept = venue.rest()
    ended = venue.cancel(venue.rest(order_link_id="gone"))
    assert [one.order_id for one in working(venue).items] == [kept.order_id]
    assert [one.order_id for one in working(venue, open_only=1).items] == [ended.order_id]
    assert working(venue, order_link_id="gone").items[0].status is OrderStatus.CANCELLED
    assert working(venue, order_id=kept.order_id).items[0].is_open
    assert venue.refused(lambda: working(venue, open_only=3))[0] == 10001


def test_realtime_keeps_five_hundred_closed_orders(venue):
    for _ in range(501):
        venue.cancel(venue.rest())
    found, cursor = 0, ""
    for _ in range(11):
        page = working(venue, open_only=1, limit=50, cursor=cursor)
        found += len(page.items)
        cursor = page.next_cursor
        if not cursor:
            break
    assert found == 500


def test_orders_are_filtered_by_kind_and_status(venue):
    stop = venue.place(Side.BUY, "0.001", trigger_price=D(70000), trigger_direction=1)
    venue.rest()
    found = working(venue, order_filter=OrderFilter.STOP_ORDER).items
    assert [one.order_id for one in found] == [stop.order_id]
    assert len(working(venue, order_status=OrderStatus.NEW).items) == 1


def test_handed_out_orders_are_copies(venue):
    order = venue.rest()
    working(venue).items[0].price = D(1)
    assert venue.order(order).price == order.price


def test_history_holds_ended_orders_within_the_window(venue):
    old = venue.cancel(venue.rest())
    venue.now_ms += 10_000
    new = venue.cancel(venue.rest())

    def history(**fields):
        query = OrderQuery(category=LINEAR, **fields)
        return [one.order_id for one in venue.exchange.order_history("1", query).items]

    assert history() == [new.order_id, old.order_id]
    assert history(start_ms=venue.now_ms) == [new.order_id]
    assert history(end_ms=venue.now_ms - 1) == [old.order_id]


@pytest.mark.parametrize("window", [(2, 1), (0, 7 * DAY_MS + 1)])
def test_window_that_is_upside_down_or_too_long_is_refused(venue, window):
    fields = {"start_ms": window[0], "end_ms": window[1]}
    for action in (
        lambda: venue.exchange.order_history("1", OrderQuery(category=LINEAR, **fields)),
        lambda: venue.exchange.executions("1", ExecutionQuery(category=LINEAR, **fields)),
        lambda: venue.exchange.transaction_log("1", RecordQuery(**fields)),
        lambda: venue.exchange.closed_pnl("1", RecordQuery(**fields)),
    ):
        assert venue.refused(action)[0] == 10001
    money = {"start_ms": window[0], "end_ms": window[1] if window[0] else 30 * DAY_MS + 1}
    for action in (
        lambda: venue.exchange.deposits("1", RecordQuery(**money)),
        lambda: venue.exchange.withdrawals("1", RecordQuery(**money)),
        lambda: venue.exchange.inter_transfers("1", RecordQuery(**money)),
    ):
        assert venue.refused(action)[0] == 10001


def test_executions_are_filtered_by_order_and_kind(venue):
    first = venue.place(Side.BUY, "0.001", order_link_id="a")
    venue.place(Side.BUY, "0.001", order_link_id="b")

    def found(**fields):
        return venue.exchange.executions("1", ExecutionQuery(category=LINEAR, **fields)).items

    assert len(found()) == 2
    assert [one.order_id for one in found(order_id=first.order_id, order_link_id="b")] == [first.order_id]
    assert [one.order_link_id for one in found(order_link_id="b")] == ["b"]
    assert found(exec_type=ExecType.FUNDING) == ()
    assert found(symbol="ETHUSDT") == ()


def test_transaction_log_is_filtered(venue):
    venue.place(Side.BUY, "0.001")
    log = venue.exchange.transaction_log
    assert {one.kind for one in log("1", RecordQuery(limit=50)).items} == {
        TransactionType.DEPOSIT,
        TransactionType.TRADE,
    }
    assert len(log("1", RecordQuery(kind=TransactionType.TRADE)).items) == 1
    assert len(log("1", RecordQuery(coin="BTC")).items) == 1
    assert log("1", RecordQuery(category=Category.SPOT)).items == ()
    assert len(log("1", RecordQuery(base_coin="BTC")).items) == 1


def test_closed_orders_beyond_the_bound_are_forgotten_with_their_link_ids(venue, monkeypatch):
    monkeypatch.setattr("trade_simulator.accounts.CLOSED_ORDERS_MAX", 3)
    for number in range(5):
        venue.cancel(venue.rest(order_link_id=f"n{number}"))
    account = venue.exchange.accounts["1"]
    assert [one.order_link_id for one in account.closed_orders] == ["n2", "n3", "n4"]
    assert len(account.known_orders) == len(account.link_ids) == 3
    assert venue.rest(order_link_id="n0").is_open


def test_strategy_is_created_listed_and_stopped(venue):
    exchange = venue.exchange
    made = exchange.create_algo("1", algo())
    assert made.status == 1
    assert exchange.algos("1", AlgoQuery(status=1)).items == (made,)
    assert exchange.algos("3", AlgoQuery()).items == ()
    stopped = exchange.stop_algo("1", made.strategy_id)
    assert (stopped.status, stopped.terminate_type) == (3, 2)
    assert venue.refused(lambda: exchange.stop_algo("1", made.strategy_id))[0] == 10001
    assert exchange.algos("1", AlgoQuery(status=1)).items == ()


def test_strategy_ends_with_its_duration(venue):
    made = venue.exchange.create_algo("1", algo(duration_s=60))
    venue.now_ms += 59_999
    assert venue.exchange.algos("1", AlgoQuery()).items[0].status == 1
    venue.now_ms += 1
    ended = venue.exchange.algos("1", AlgoQuery(strategy_id=made.strategy_id)).items[0]
    assert (ended.status, ended.terminate_type) == (3, 1)


@pytest.mark.parametrize(
    "fields", [{"size": D(0)}, {"duration_s": 0}, {"duration_s": 86_401}, {"interval_s": 0}, {"symbol": "NOUSDT"}]
)
def test_strategy_that_makes_no_sense_is_refused(venue, fields):
    assert venue.refused(lambda: venue.exchange.create_algo("1", algo(**fields)))[0] == 10001


def test_strategy_of_another_member_is_unknown(venue):
    made = venue.exchange.create_algo("1", algo())
    assert venue.refused(lambda: venue.exchange.stop_algo("3", made.strategy_id))[0] == 10001


def test_fifty_running_strategies_are_the_limit(venue):
    for _ in range(RUNNING_MAX):
        venue.exchange.create_algo("1", algo())
    assert venue.refused(lambda: venue.exchange.create_algo("1", algo()))[0] == 10001


def test_ended_strategies_are_forgotten_in_the_end(venue, monkeypatch):
    monkeypatch.setattr("trade_simulator.algos.REMEMBERED_MAX", 3)
    for _ in range(5):
        made = venue.exchange.create_algo("1", algo())
        venue.exchange.stop_algo("1", made.strategy_id)
    assert len(venue.exchange.accounts["1"].algos) == 3
