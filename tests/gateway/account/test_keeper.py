"""What the keeper writes, asks for and answers; the private stream against a small real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from gateway.account.test_messages import EXECUTION, ORDER, POSITION, WALLET, frame
from gateway.house import LIMITS
from gateway.parts import order_intent, rows_of, tracked, tracked_stop
from ws_double import ws_double

from trade_core.bybit.signing import sign_websocket
from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.secrets import Secret
from trade_gateway.account.activity import Activity
from trade_gateway.account.keeper import NO_EQUITY, AccountKeeper
from trade_gateway.account.messages import WalletSeen
from trade_gateway.account.private_stream import private_stream
from trade_gateway.account.trust import NEVER_READ, Trusted
from trade_gateway.account.view import Filled
from trade_gateway.ledger import OrderLedger, TrackedOrder
from trade_gateway.policy.facts import AccountFacts, order_key
from trade_gateway.policy.model import SymbolKey
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.recorder import Recorder
from trade_gateway.wire.intents import Category, Side
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter

SPOT, LINEAR = (Category.SPOT, "BTCUSDT"), (Category.LINEAR, "BTCUSDT")
OWN = {**ORDER, "category": "spot", "side": "Buy", "qty": "0.01", "cumExecQty": "0", "cumExecValue": "0"}


class Kept:
    def __init__(self, recorder: Recorder, clock: ManualClock) -> None:
        self.ledger = OrderLedger()
        self.clock = clock
        self.keeper = AccountKeeper(
            ledger=self.ledger, activity=Activity(limits=LIMITS), recorder=recorder, clock=clock
        )
        self.news = 0
        self.keeper.on_news = self.note_news

    def note_news(self) -> None:
        self.news += 1

    def working(self, tag: str = "T1", *, adds_risk: bool = True, **options: Any) -> TrackedOrder:
        order = tracked(tag, adds_risk=adds_risk, intent=order_intent(**options))
        order.is_in_flow = False
        self.ledger.reserve(order)
        self.ledger.acknowledge(tag, f"x-{tag}")
        return order

    def read(self, *, equity: str | None = "4000", **coins: str) -> None:
        self.keeper.stream_up()
        reading = self.keeper.view.begin_reading(now_ns=self.clock.monotonic_ns())
        wallet = WalletSeen(
            coins={coin: Decimal(amount) for coin, amount in coins.items()},
            equity_usdt=None if equity is None else Decimal(equity),
            at_ms=1,
        )
        self.keeper.view.end_reading(reading, wallet=wallet, positions=(), marks={}, now_ns=self.clock.monotonic_ns())
        self.keeper.note_trust()

    def facts(self, level: MessageLevel = MessageLevel.FREE) -> AccountFacts:
        return self.keeper.facts(unpinned=frozenset({"BTCUSDT"}), message_level=level)


@pytest.fixture
def it(recorder: Recorder, clock: ManualClock) -> Kept:
    return Kept(recorder, clock)


async def test_keeper_fill_is_a_row_and_asks_for_a_reading(it: Kept, journal: JournalWriter) -> None:
    it.working()
    it.keeper.hear_frame(frame("order", {**OWN, "orderStatus": "PartiallyFilled", "cumExecQty": "0.004"}))
    assert it.news == 1
    (row,) = await rows_of(journal)
    assert row.kind is RowKind.ORDER_FILLED
    assert row.fields == {
        "tag": "T1",
        "category": "spot",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "quantity": "0.004",
        "price": "30000",
        "filled": "0.004",
        "notional_usdt": "120",
        "reference_price": None,
        "adds_risk": True,
    }


async def test_keeper_end_is_a_row(it: Kept, journal: JournalWriter) -> None:
    it.working()
    it.keeper.hear_frame(frame("order", {**OWN, "orderStatus": "Cancelled"}))
    (row,) = await rows_of(journal)
    assert row.kind is RowKind.ORDER_RESOLVED
    assert row.fields == {"tag": "T1", "result": "ended", "status": "Cancelled", "filled": "0"}


async def test_keeper_order_that_appears_is_a_row_with_its_id(it: Kept, journal: JournalWriter) -> None:
    order = tracked("T1")
    order.is_in_flow, order.is_disowned = False, True
    it.ledger.reserve(order)
    it.keeper.hear_frame(frame("order", {**OWN, "orderStatus": "New"}))
    (row,) = await rows_of(journal)
    assert (row.fields["result"], row.fields["order_id"], row.fields["is_disowned"]) == ("found", "x1", True)


async def test_keeper_fill_of_a_disowned_order_is_an_incident(it: Kept, journal: JournalWriter) -> None:
    it.working().is_disowned = True
    it.keeper.hear_frame(frame("execution", {**EXECUTION, "execQty": "0.01"}))
    kinds = [row.kind for row in await rows_of(journal)]
    assert kinds == [RowKind.ORDER_FILLED, RowKind.INCIDENT_OPENED, RowKind.ORDER_RESOLVED]


async def test_keeper_nonsense_is_distrusted_with_a_row_and_a_reading(it: Kept, journal: JournalWriter) -> None:
    it.read()
    assert it.keeper.trust() == Trusted()
    before = it.news
    it.keeper.hear_frame("no json")
    assert it.news > before
    (row,) = await rows_of(journal)
    assert row.kind is RowKind.ACCOUNT_DISTRUSTED
    assert row.fields == {"reason": "the private stream: a frame is not JSON"}
    assert it.keeper.describe() == {
        "is_trusted": False,
        "reason": "the private stream: a frame is not JSON",
        "age_s": 0.0,
        "equity_usdt": "4000",
        "equity_reason": "",
    }


async def test_keeper_equity_that_is_lost_is_said_and_a_row_once(it: Kept, journal: JournalWriter) -> None:
    assert it.keeper.describe()["equity_reason"] == NEVER_READ
    for equity, is_known in [(None, False), ("4000", True), (None, False), ("0", False), ("5", True), ("-1", False)]:
        it.read(equity=equity)
        told = it.keeper.describe()
        assert (told["equity_usdt"], told["equity_reason"]) == ((equity, "") if is_known else (None, NO_EQUITY))
    fields = {"type": "equity unknown", "severity": "warning", "reason": NO_EQUITY}
    rows = [row for row in await rows_of(journal) if row.kind is RowKind.INCIDENT_OPENED]
    assert [row.fields for row in rows] == [fields, fields]


def test_keeper_tells_what_a_trade_was_charged_whoever_it_was_of(it: Kept) -> None:
    charged: list[tuple[SymbolKey, Decimal]] = []
    it.keeper.on_fee = lambda key, rate: charged.append((key, rate))
    it.keeper.hear_frame(frame("execution", {**EXECUTION, "feeRate": "0.0011"}, {**EXECUTION, "feeRate": "-0.1"}))
    assert charged == [(SPOT, Decimal("0.0011")), (SPOT, Decimal("-0.1"))]
    it.keeper.hear_frame(frame("execution", EXECUTION, {**EXECUTION, "execType": "BustTrade", "feeRate": "0.2"}))
    assert len(charged) == 2


def test_keeper_is_not_blind_while_an_outcome_is_unknown(it: Kept) -> None:
    it.read()
    order = tracked("T1")
    order.is_outcome_unknown = True
    it.ledger.reserve(order)
    assert not it.keeper.describe()["is_trusted"]
    assert not it.facts().is_trusted
    assert not it.keeper.is_blind()
    it.keeper.stream_down("test")
    assert it.keeper.is_blind()


def test_keeper_facts_add_up_orders_of_everybody(it: Kept) -> None:
    it.read(BTC="1", USDT="50")
    it.working("T1", quantity="0.1")
    it.working("T2", side=Side.SELL, quantity="0.2")
    it.working("T3", category=Category.LINEAR, side=Side.SELL, quantity="0.3", reduce_only=True, adds_risk=False)
    foreign = {**OWN, "orderLinkId": "", "orderStatus": "New"}
    it.keeper.hear_frame(frame("order", {**foreign, "orderId": "y1", "qty": "0.5", "cumExecQty": "0.1"}))
    it.keeper.hear_frame(frame("order", {**foreign, "orderId": "y2", "side": "Sell", "qty": "0.3"}))
    stop = {**foreign, "orderId": "y3", "category": "linear", "stopOrderType": "Stop", "reduceOnly": True}
    it.keeper.hear_frame(frame("order", {**stop, "orderStatus": "Untriggered"}))
    it.keeper.hear_frame(frame("position", {**POSITION, "size": "0.7"}))
    facts = it.facts(MessageLevel.DENY)
    assert facts.working_buys == {SPOT: Decimal("0.5")}
    assert facts.working_sells == {SPOT: Decimal("0.5"), LINEAR: Decimal("0.3")}
    assert (facts.working_orders, facts.working_stops) == (5, {"BTCUSDT": 1})
    assert facts.held_base == {"BTC": Decimal(1), "USDT": Decimal(50)}
    assert facts.sellable_base["BTC"] == Decimal("0.5")
    assert facts.positions == {"BTCUSDT": Decimal("-0.7")}
    assert facts.turnover_used_usdt == Decimal("0.3") * 30000
    assert set(facts.working_keys) == {order_key(order.intent) for order in it.ledger.open_orders()}
    assert facts.unresolved_keys == ()
    it.ledger.reserve(sent := tracked("T4"))
    assert it.facts().unresolved_keys == (sent.key,)
    assert facts.equity_usdt == 4000
    assert facts.leverage_unpinned_symbols == {"BTCUSDT"}
    assert facts.message_level is MessageLevel.DENY
    assert facts.is_trusted


def test_keeper_facts_claim_a_fill_until_a_reading_contains_it(it: Kept) -> None:
    it.read(BTC="1")
    it.working("T1", quantity="0.4")
    it.keeper.hear_frame(frame("order", {**OWN, "qty": "0.4", "orderStatus": "Filled", "cumExecQty": "0.4"}))
    assert it.facts().working_buys == {SPOT: Decimal("0.4")}
    it.ledger.settle(it.ledger.fill_marks())
    assert it.facts().working_buys == {}


def test_keeper_facts_of_a_conditional_order_that_may_add_count_it(it: Kept) -> None:
    it.read()
    waiting = {**OWN, "orderLinkId": "", "category": "linear", "stopOrderType": "Stop", "reduceOnly": False}
    it.keeper.hear_frame(frame("order", {**waiting, "orderStatus": "Untriggered", "qty": "2"}))
    assert it.facts().working_buys == {LINEAR: Decimal(2)}
    assert it.facts().working_stops == {}


def test_keeper_coins_that_are_owed_are_not_held(it: Kept) -> None:
    it.read(BTC="-1")
    assert it.facts().held_base == {}
    assert it.facts().sellable_base == {}


async def test_keeper_messages_are_counted_and_their_latch_is_a_row(it: Kept, journal: JournalWriter) -> None:
    levels = [it.keeper.count_message() for _ in range(LIMITS.messages_per_s_terminate + 1)]
    assert levels[0] is MessageLevel.FREE
    assert levels[-1] is MessageLevel.TERMINATE
    assert it.facts().is_terminated
    assert [row.kind for row in await rows_of(journal)] == [RowKind.THROTTLE_TRIPPED]


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_true():  # noqa: ASYNC110 - the stream's doing
            await asyncio.sleep(0.005)


async def test_private_stream_logs_in_subscribes_and_feeds_the_keeper(it: Kept) -> None:
    async with ws_double() as double:
        stream = private_stream(
            exchange_ws_url=double.url + "/",
            is_simulated=True,
            clock=it.clock,
            key=Secret("the-key"),
            secret=Secret("hush"),
            keeper=it.keeper,
        )
        it.read()
        task = asyncio.create_task(stream.run())
        await until(lambda: len(double.heard) == 2 and it.news >= 1)
        (path, login), (_, subscription) = double.heard
        expires_ms = it.clock.wall_ns() // NS_PER_MS + 5_000
        assert path == "/v5/private"
        assert login["args"] == ["the-key", expires_ms, sign_websocket(secret=b"hush", expires_ms=expires_ms)]
        assert subscription["args"] == ["order", "execution", "wallet", "position"]
        assert "hush" not in json.dumps(double.heard)
        assert it.news >= 1  # a reading is wanted for the time before
        await double.say(json.loads(frame("wallet", WALLET)))
        await until(lambda: it.keeper.view.coins.get("USDT") == 7)
        it.read()
        await double.drop()
        await until(it.keeper.is_blind)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_keeper_window_of_turnover_is_not_emptied_by_a_clock_that_leaps(
    recorder: Recorder, clock: ManualClock
) -> None:
    kept = Kept(recorder, clock)
    order = kept.working(quantity="0.01", price="30000")
    order.counted = order.filled = Decimal("0.01")
    kept.keeper.apply([Filled(order=order, quantity=Decimal("0.01"), price=Decimal(30_000), total=Decimal("0.01"))])
    for leap_h in (25, -50):
        clock.leap_wall(leap_h * 3600 * NS_PER_S)
        assert kept.keeper.facts(unpinned=frozenset(), message_level=MessageLevel.FREE).turnover_used_usdt == 300
    clock.advance((24 * 3600 + 61) * NS_PER_S)
    assert kept.keeper.facts(unpinned=frozenset(), message_level=MessageLevel.FREE).turnover_used_usdt == 0


STOP = {
    **ORDER,
    "orderLinkId": "T1stop",
    "qty": "0.3",
    "price": "28800",
    "cumExecQty": "0",
    "cumExecValue": "0",
    "stopOrderType": "Stop",
    "orderStatus": "Untriggered",
}


def working_stop(it: Kept, tag: str = "T1stop", **options: Any) -> TrackedOrder:
    order = tracked_stop(tag, quantity="0.3", **options)
    order.is_in_flow = False
    it.ledger.reserve(order)
    it.ledger.acknowledge(tag, f"x-{tag}")
    return order


def test_keeper_facts_count_stops_by_symbol_and_use_them_for_nothing_else(it: Kept) -> None:
    it.read()
    working_stop(it)
    working_stop(it, "T1other", symbol="ETHUSDT")
    working_stop(it, "T1own", is_gateways=True)
    it.keeper.hear_frame(frame("order", {**STOP, "orderLinkId": "", "orderId": "y1"}))
    facts = it.facts()
    assert facts.working_stops == {"BTCUSDT": 2, "ETHUSDT": 1}
    assert facts.working_orders == 0
    assert not facts.working_keys
    assert not any(facts.working_sells.values())
    assert facts.turnover_used_usdt == 0


async def test_keeper_stop_is_followed_from_its_trigger_to_its_fill(it: Kept, journal: JournalWriter) -> None:
    it.read()
    order = working_stop(it)
    shown = [
        {"orderStatus": "Untriggered"},
        {"orderStatus": "Triggered"},
        {"orderStatus": "New", "qty": "0.25"},
        {"orderStatus": "Filled", "qty": "0.25", "cumExecQty": "0.25", "cumExecValue": "7225"},
    ]
    for change in shown:
        it.keeper.hear_frame(frame("order", {**STOP, "orderId": "x-T1stop", **change}))
    assert it.facts().is_trusted
    assert it.facts().working_sells == {LINEAR: Decimal("0.25")}  # until a reading contains the fill
    assert order.filled == Decimal("0.25")
    rows = await rows_of(journal)
    assert [row.kind for row in rows] == [RowKind.ORDER_FILLED, RowKind.ORDER_RESOLVED]
    assert (rows[0].fields["price"], rows[0].fields["reference_price"]) == ("28900", "29000")


async def test_keeper_stop_that_the_exchange_deactivates_ends(it: Kept, journal: JournalWriter) -> None:
    it.read()
    working_stop(it)
    it.keeper.hear_frame(frame("order", {**STOP, "orderId": "x-T1stop", "orderStatus": "Deactivated"}))
    assert it.facts().working_stops == {}
    (row,) = await rows_of(journal)
    assert (row.kind, row.fields["status"]) == (RowKind.ORDER_RESOLVED, "Deactivated")


async def test_keeper_disaster_stop_that_fills_is_an_incident_in_rows_of_its_own(
    it: Kept, journal: JournalWriter
) -> None:
    it.read()
    working_stop(it, is_gateways=True, limit_price=None)
    filled = {**STOP, "orderId": "x-T1stop", "price": "27000", "orderStatus": "Filled", "cumExecQty": "0.3"}
    it.keeper.hear_frame(frame("order", {**filled, "cumExecValue": "8550"}))
    rows = await rows_of(journal)
    kinds = [RowKind.DISASTER_STOP_FILLED, RowKind.INCIDENT_OPENED, RowKind.DISASTER_STOP_RESOLVED]
    assert [row.kind for row in rows] == kinds
    assert rows[1].fields["type"] == "disaster stop filled"
    assert it.facts().is_trusted


def test_keeper_position_that_the_stream_tells_is_told_on(it: Kept) -> None:
    told: list[bool] = []
    it.keeper.on_position = lambda: told.append(True)
    it.keeper.hear_frame(frame("wallet", WALLET))
    assert told == []
    it.keeper.hear_frame(frame("position", {**POSITION, "entryPrice": "30000"}))
    assert told == [True]
    (held,) = it.keeper.view.held_positions
    assert (held.size, held.entry_price) == (Decimal("-0.3"), Decimal(30000))


def test_keeper_symbol_is_flat_only_when_a_later_trusted_reading_says_so(it: Kept) -> None:
    assert not it.keeper.is_flat("BTCUSDT", since_ns=0)  # never read
    it.clock.advance(10)
    it.read()
    now_ns = it.clock.monotonic_ns()
    assert it.keeper.is_flat("BTCUSDT", since_ns=now_ns - 1)
    assert not it.keeper.is_flat("BTCUSDT", since_ns=now_ns)
    it.keeper.hear_frame(frame("position", POSITION))
    assert not it.keeper.is_flat("BTCUSDT", since_ns=now_ns - 1)
    assert it.keeper.is_flat("ETHUSDT", since_ns=now_ns - 1)
    it.keeper.distrust("test")
    assert not it.keeper.is_flat("ETHUSDT", since_ns=now_ns - 1)


def test_keeper_symbol_with_a_fill_that_is_in_no_reading_is_not_flat(it: Kept) -> None:
    it.clock.advance(10)
    it.read()
    since_ns = it.clock.monotonic_ns() - 1
    it.working("T1", category=Category.LINEAR, quantity="0.5")
    assert it.keeper.is_flat("BTCUSDT", since_ns=since_ns)
    it.keeper.hear_frame(
        frame(
            "order", {**OWN, "category": "linear", "orderStatus": "PartiallyFilled", "qty": "0.5", "cumExecQty": "0.1"}
        )
    )
    assert not it.keeper.is_flat("BTCUSDT", since_ns=since_ns)
    it.ledger.settle(it.ledger.fill_marks())
    assert it.keeper.is_flat("BTCUSDT", since_ns=since_ns)
