"""The account as a small exchange shows it."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from gateway.house import LIMITS
from gateway.parts import order_intent, rows_of, tracked
from http_double import HANG, Asked, HttpDouble, envelope, http_double, reply

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_S, ManualClock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, TradeError
from trade_core.secrets import Secret
from trade_gateway.account import resync
from trade_gateway.account.activity import Activity
from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.resync import AccountSync
from trade_gateway.account.trust import STALE_AFTER_NS
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.order_flow import TERMINAL_STATUSES
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.recorder import Recorder
from trade_gateway.upstream import Upstream
from trade_gateway.wire.intents import Category, Side
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter

BTC = Instrument(
    category=Category.SPOT,
    symbol="BTCUSDT",
    base_coin="BTC",
    quote_coin="USDT",
    tick_size=Decimal("0.1"),
    quantity_step=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    max_quantity=Decimal(100),
    min_notional=Decimal(5),
)
INSTRUMENTS = {(Category.SPOT, "BTCUSDT"): BTC}


def shown(tag: str = "a", *, status: str = "New", filled: str = "0", **changed: str) -> dict[str, str]:
    return {
        "orderLinkId": tag,
        "orderId": f"x-{tag}",
        "orderStatus": status,
        "cumExecQty": filled,
        "symbol": "BTCUSDT",
        "side": "Buy",
        "qty": "0.01",
        "price": "30000",
        **changed,
    }


@dataclass
class Exchange:
    """What the exchange would show; raw bytes in `instead` are answered in place of a path's own answer."""

    open_orders: list[Any] = field(default_factory=list)
    history: list[Any] = field(default_factory=list)
    coins: list[Any] = field(default_factory=lambda: [{"coin": "BTC", "walletBalance": "0.5"}])
    equity: object = "4000"
    positions: list[Any] = field(default_factory=list)
    executions: list[Any] = field(default_factory=list)
    instead: dict[str, bytes | None] = field(default_factory=dict)
    pages: dict[str, Callable[[Asked], bytes]] = field(default_factory=dict)
    cursor: Callable[[], object] = lambda: ""

    def answer(self, asked: Asked) -> bytes | None:
        if asked.path in self.instead:
            return self.instead[asked.path]
        if asked.path in self.pages:
            return self.pages[asked.path](asked)
        match asked.path:
            case "/v5/order/realtime":
                tag = asked.parameter("orderLinkId")
                items = [i for i in self.open_orders if tag is None or i["orderLinkId"] == tag]
                return envelope({"list": items, "nextPageCursor": self.cursor()})
            case "/v5/order/history":
                return envelope(
                    {"list": [i for i in self.history if i["orderLinkId"] == asked.parameter("orderLinkId")]}
                )
            case "/v5/account/wallet-balance":
                return envelope({"list": [{"totalEquity": self.equity, "coin": self.coins}]})
            case "/v5/position/list":
                return envelope({"list": self.positions})
            case "/v5/execution/list":
                return envelope({"list": self.executions})
            case _:
                raise AssertionError(asked.path)


@dataclass
class Account:
    sync: AccountSync
    ledger: OrderLedger
    exchange: Exchange
    double: HttpDouble

    def working(self, tag: str = "a", **options: Any) -> TrackedOrder:
        order = tracked(tag, intent=order_intent(**options))
        order.is_in_flow = False
        self.ledger.reserve(order)
        self.ledger.acknowledge(tag, f"x-{tag}")
        return order

    def sellable(self) -> Decimal:
        return self.sync.facts(frozenset(), MessageLevel.FREE).sellable_base.get("BTC", Decimal(0))

    def is_trusted(self) -> bool:
        return self.sync.facts(frozenset(), MessageLevel.FREE).is_trusted


@asynccontextmanager
async def account(recorder: Recorder, clock: ManualClock, *categories: Category) -> AsyncIterator[Account]:
    exchange, ledger = Exchange(), OrderLedger()
    async with http_double(exchange.answer) as double:
        client = BybitClient(base_url=double.url, clock=clock, is_simulated=True, key=Secret("k"), secret=Secret("s"))
        sync = AccountSync(
            client=client,
            upstream=Upstream(client=client, clock=clock),
            ledger=ledger,
            keeper=AccountKeeper(ledger=ledger, activity=Activity(limits=LIMITS), recorder=recorder, clock=clock),
            clock=clock,
            categories=frozenset(categories or [Category.SPOT]),
        )
        sync.keeper.stream_up()
        try:
            yield Account(sync=sync, ledger=ledger, exchange=exchange, double=double)
        finally:
            await client.aclose()


async def test_account_never_read_is_stale_and_not_trusted(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock) as it:
        assert it.sync.is_stale()
        assert it.sync.age_s() is None
        assert not it.is_trusted()
        assert it.sellable() == 0


@pytest.mark.parametrize(("age_ns", "is_stale"), [(0, False), (STALE_AFTER_NS, False), (STALE_AFTER_NS + 1, True)])
async def test_account_reading_ages(recorder: Recorder, clock: ManualClock, age_ns: int, is_stale: bool) -> None:
    async with account(recorder, clock) as it:
        await it.sync.read()
        clock.advance(age_ns)
        assert it.sync.is_stale() is is_stale
        assert it.is_trusted() is not is_stale
        assert it.sync.age_s() == age_ns / NS_PER_S


async def test_account_reading_is_as_old_as_its_beginning(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock) as it:
        answer = it.exchange.answer

        def slow(asked: Asked) -> bytes | None:
            clock.advance(4 * NS_PER_S)
            return answer(asked)

        it.double.answer = slow
        await it.sync.read()
        assert it.sync.age_s() == 4.0 * len(it.double.asked)


async def test_account_holdings_less_working_sells_may_be_sold(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock) as it:
        it.working(side=Side.SELL, quantity="0.2")
        it.exchange.open_orders = [shown(side="Sell", qty="0.2")]
        await it.sync.read()
        assert it.sellable() == Decimal("0.3")


async def test_account_oversold_holdings_leave_nothing_to_sell(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock) as it:
        it.working(side=Side.SELL, quantity="0.9")
        it.exchange.open_orders = [shown(side="Sell", qty="0.9")]
        await it.sync.read()
        assert it.sellable() == 0


async def test_account_positions_are_signed(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock, Category.LINEAR) as it:
        it.exchange.positions = [
            {"symbol": "BTCUSDT", "side": "Buy", "size": "0.3"},
            {"symbol": "ETHUSDT", "side": "Sell", "size": "2"},
            {"symbol": "XRPUSDT", "side": "", "size": "0"},
        ]
        await it.sync.read()
        facts = it.sync.facts(frozenset({"BTCUSDT"}), MessageLevel.FREE)
        assert facts.positions == {"BTCUSDT": Decimal("0.3"), "ETHUSDT": Decimal(-2)}
        assert facts.leverage_unpinned_symbols == {"BTCUSDT"}


async def test_account_of_spot_alone_reads_no_positions(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock) as it:
        await it.sync.read()
        assert "/v5/position/list" not in it.double.paths()


async def test_account_order_that_is_open_goes_on_counting_with_its_fill(
    recorder: Recorder, clock: ManualClock
) -> None:
    async with account(recorder, clock) as it:
        order = it.working()
        it.exchange.open_orders = [shown(status="PartiallyFilled", filled="0.004")]
        await it.sync.read()
        assert (order.phase, order.filled) == (Phase.WORKING, Decimal("0.004"))


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
async def test_account_order_shown_in_its_end_counts_no_more(
    recorder: Recorder, journal: JournalWriter, clock: ManualClock, status: str
) -> None:
    async with account(recorder, clock) as it:
        order = it.working()
        it.exchange.history = [shown(status=status, filled="0.01")]
        await it.sync.read()
        assert (order.phase, order.status, order.filled) == (Phase.FINISHED, status, Decimal("0.01"))
        (row,) = [row for row in await rows_of(journal) if row.kind is RowKind.ORDER_RESOLVED]
        assert row.fields == {"tag": "a", "result": "ended", "status": status, "filled": "0.01"}


@pytest.mark.parametrize("status", ["New", "PartiallyFilled", "Untriggered", "Triggered", "Active", "SomethingNew"])
async def test_account_order_in_no_known_end_goes_on_counting(
    recorder: Recorder, clock: ManualClock, status: str
) -> None:
    async with account(recorder, clock) as it:
        order = it.working()
        it.exchange.history = [shown(status=status)]
        await it.sync.read()
        assert order.phase is Phase.WORKING
        assert order.status == status


async def test_account_order_that_the_exchange_does_not_show_goes_on_counting(
    recorder: Recorder, clock: ManualClock
) -> None:
    async with account(recorder, clock) as it:
        order = it.working()
        await it.sync.read()
        assert order.phase is Phase.WORKING
        assert it.ledger.open_count() == 1
        assert not it.sync.is_stale()


async def test_account_order_whose_outcome_is_unknown_is_left_to_the_resolver(
    recorder: Recorder, clock: ManualClock
) -> None:
    async with account(recorder, clock) as it:
        it.ledger.reserve(tracked("a"))
        it.exchange.history = [shown(status="Cancelled")]
        await it.sync.read()
        assert it.ledger.open_count() == 1


@pytest.mark.parametrize("status", ["Filled", "PartiallyFilled"])
async def test_account_fill_of_an_order_that_the_bot_does_not_know_is_an_incident(
    recorder: Recorder, journal: JournalWriter, clock: ManualClock, status: str
) -> None:
    async with account(recorder, clock) as it:
        it.working().is_disowned = True
        it.exchange.history = [shown(status=status, filled="0.01")]
        await it.sync.read()
        await it.sync.read()
        incidents = [row for row in await rows_of(journal) if row.kind is RowKind.INCIDENT_OPENED]
        assert [row.fields["filled"] for row in incidents] == ["0.01"]


async def test_account_many_ended_orders_are_looked_up_within_the_budget(
    recorder: Recorder, clock: ManualClock
) -> None:
    async with account(recorder, clock) as it:
        for n in range(45):
            it.working(f"o{n}")
        it.exchange.history = [shown(f"o{n}", status="Cancelled") for n in range(45)]
        await it.sync.read()
        assert 0 < it.ledger.open_count() < 45
        assert not it.sync.is_stale()
        assert len(it.double.asked) < 30
        for _ in range(5):
            clock.advance(NS_PER_S)
            await it.sync.read()
        assert it.ledger.open_count() == 0


NONSENSE = {
    "/v5/account/wallet-balance": [
        {},
        {"list": []},
        {"list": None},
        {"list": [None]},
        {"list": [{"coin": None}]},
        {"list": [{"coin": ["BTC"]}]},
        {"list": [{"coin": [{"coin": "BTC"}]}]},
        {"list": [{"coin": [{"coin": "BTC", "walletBalance": "NaN"}]}]},
        {"list": [{"coin": [{"coin": "BTC", "walletBalance": 1.5}]}]},
        {"list": [{"coin": [{"coin": "BTC", "walletBalance": ""}]}]},
    ],
    "/v5/position/list": [
        {},
        {"list": None},
        {"list": ["BTCUSDT"]},
        {"list": [{"symbol": "BTCUSDT", "side": "Buy"}]},
        {"list": [{"symbol": "BTCUSDT", "side": "Buy", "size": "Infinity"}]},
        {"list": [{"side": "Buy", "size": "1"}]},
        {"list": [{"symbol": "BTCUSDT", "size": "1"}]},
    ],
    "/v5/order/realtime": [
        {},
        {"list": [1]},
        {"list": [shown(filled="NaN")]},
        {"list": [shown(filled="1e9")]},
    ],
}


@pytest.mark.parametrize("equity", [None, "", "0", "-5", "NaN", "Infinity", "much", 4000])
async def test_account_reading_without_an_equity_that_counts_is_whole_and_permits_no_new_risk(
    recorder: Recorder, clock: ManualClock, equity: object
) -> None:
    async with account(recorder, clock) as it:
        await it.sync.read()
        it.exchange.equity = equity
        it.exchange.coins = [{"coin": "BTC", "walletBalance": "0.75"}]
        await it.sync.read()
        assert it.sync.facts(frozenset(), MessageLevel.FREE).equity_usdt is None
        assert it.sellable() == Decimal("0.75")  # exits go on
        it.exchange.equity = "4001"
        await it.sync.read()
        assert it.sync.facts(frozenset(), MessageLevel.FREE).equity_usdt == 4001


@pytest.mark.parametrize(
    ("path", "result"), [(path, result) for path, results in NONSENSE.items() for result in results]
)
async def test_account_nonsense_is_no_reading_and_the_last_one_stays(
    recorder: Recorder, clock: ManualClock, path: str, result: dict[str, Any]
) -> None:
    async with account(recorder, clock, Category.LINEAR, Category.SPOT) as it:
        await it.sync.read()
        it.working(category=Category.LINEAR)
        it.exchange.coins = []
        it.exchange.instead = {path: envelope(result)}
        clock.advance(STALE_AFTER_NS + 1)
        with pytest.raises(TradeError):
            await it.sync.read()
        assert it.sync.is_stale()
        assert it.sellable() == Decimal("0.5")
        assert it.ledger.open_count() == 1


@pytest.mark.parametrize("path", ["/v5/account/wallet-balance", "/v5/order/realtime"])
@pytest.mark.parametrize("raw", [envelope({"list": []}, ret_code=10006), reply(b"", status=403), None])
async def test_account_that_cannot_be_read_is_no_reading(
    recorder: Recorder, clock: ManualClock, path: str, raw: bytes | None
) -> None:
    async with account(recorder, clock) as it:
        it.working()
        it.exchange.instead = {path: raw}
        with pytest.raises((ExchangeUnavailable, ExchangeAnswerInvalid)):
            await it.sync.read()
        assert it.sync.is_stale()


async def test_account_order_that_cannot_be_looked_up_is_no_reading(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock) as it:
        it.working()
        it.exchange.instead = {"/v5/order/history": reply(b"", status=500)}
        with pytest.raises(ExchangeUnavailable):
            await it.sync.read()
        assert it.ledger.open_count() == 1


async def test_account_endless_pages_of_orders_are_refused(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock) as it:
        it.working()
        it.exchange.open_orders = [shown(f"other{n}") for n in range(50)]
        pages = itertools.count()
        it.exchange.cursor = lambda: f"next{next(pages)}"
        with pytest.raises(ExchangeAnswerInvalid, match="more than 20 pages of open orders"):
            await it.sync.read()


@pytest.mark.parametrize("cursor", ["next", "a&limit=1", "a b", 7, ["x"]])
async def test_account_list_that_goes_on_at_an_odd_place_is_refused(
    recorder: Recorder, clock: ManualClock, cursor: object
) -> None:
    async with account(recorder, clock) as it:
        it.working()
        it.exchange.open_orders = [shown("other")]
        it.exchange.cursor = lambda: cursor  # the same again and again
        with pytest.raises(ExchangeAnswerInvalid, match="odd place"):
            await it.sync.read()


def paged(pages: list[list[dict[str, Any]]]) -> Callable[[Asked], bytes]:
    """A list in pages, under cursors with every character that has a meaning in a query."""

    def answer(asked: Asked) -> bytes:
        sent = re.search(r"&cursor=(.*)$", asked.query)
        number = 0 if sent is None else int(sent[1].removeprefix("p%3D%2B="))
        more = f"p%3D+={number + 1}" if number + 1 < len(pages) else ""
        return envelope({"list": pages[number], "nextPageCursor": more})

    return answer


async def test_account_position_on_a_later_page_is_read(recorder: Recorder, clock: ManualClock) -> None:
    def position(symbol: str) -> dict[str, Any]:
        return {"symbol": symbol, "side": "Buy", "size": "2", "avgPrice": "1", "positionIdx": 0, "seq": 1}

    async with account(recorder, clock, Category.LINEAR) as it:
        it.exchange.pages = {"/v5/position/list": paged([[position("ETHUSDT")], [position("BTCUSDT")]])}
        await it.sync.read()
        assert it.sync.keeper.view.positions.keys() == {"BTCUSDT", "ETHUSDT"}


def executions_asked(it: Account) -> int:
    return sum(asked.path == "/v5/execution/list" for asked in it.double.asked)


async def test_account_executions_are_read_back_to_what_the_last_reading_saw(
    recorder: Recorder, clock: ManualClock
) -> None:
    def execution(number: int, **changed: str) -> dict[str, str]:
        names = {"execId": f"e{number}", "execType": "Trade", "symbol": "BTCUSDT", "orderId": "x1", "orderLinkId": "T1"}
        return {**names, "execQty": "0.001", "execPrice": "30000", **changed}

    async with account(recorder, clock) as it:
        pages = [[execution(2)], [execution(1)]]
        it.exchange.pages = {"/v5/execution/list": paged(pages)}
        await it.sync.read()
        assert executions_asked(it) == 1  # the first reading takes the newest page
        clock.advance(11 * NS_PER_S)
        pages[:] = [[execution(5)], [execution(4, execType="Funding")], [execution(3)], [execution(2)], [execution(1)]]
        await it.sync.read()
        assert executions_asked(it) == 1 + 4
        clock.advance(11 * NS_PER_S)
        pages[:] = [[execution(number)] for number in range(99, 50, -1)]
        with pytest.raises(ExchangeAnswerInvalid, match="more than 20 pages of executions"):
            await it.sync.read()
        before = executions_asked(it)
        await it.sync.read()  # it begins anew
        assert executions_asked(it) == before + 1


async def test_account_reading_out_of_turn_begins_after_the_question(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock) as it:
        await it.sync.read()
        clock.advance(NS_PER_S)
        assert await it.sync.read_again()
        assert it.sync.age_s() == 0.0


async def test_account_readings_out_of_turn_are_shared(recorder: Recorder, clock: ManualClock) -> None:
    async with account(recorder, clock) as it:
        await it.sync.read()
        clock.advance(NS_PER_S)
        before = len(it.double.asked)
        assert all(await asyncio.gather(*(it.sync.read_again() for _ in range(20))))
        one_reading = len(it.double.asked) - before
        clock.advance(NS_PER_S)
        await it.sync.read()
        assert len(it.double.asked) - before == 2 * one_reading


@pytest.mark.parametrize("raw", [HANG, reply(b"", status=500), envelope({"list": [{"coin": [1]}]})])
async def test_account_reading_out_of_turn_that_fails_says_so(
    recorder: Recorder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, raw: bytes
) -> None:
    monkeypatch.setattr(resync, "_READ_AGAIN_WITHIN_S", 0.1)
    async with account(recorder, clock) as it:
        await it.sync.read()
        clock.advance(NS_PER_S)
        it.exchange.instead = {"/v5/account/wallet-balance": raw}
        assert not await it.sync.read_again()


async def test_account_turn_comes_when_asked_for(
    recorder: Recorder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "SYNC_EVERY_S", 3600)
    monkeypatch.setattr(resync, "_SPACING_S", 0)
    async with account(recorder, clock) as it, asyncio.timeout(60):
        turn = asyncio.create_task(it.sync.wait_for_turn())
        await asyncio.sleep(0)
        assert not turn.done()
        it.sync.request()
        await turn


async def test_account_turn_comes_by_itself(
    recorder: Recorder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "SYNC_EVERY_S", 0.01)
    async with account(recorder, clock) as it, asyncio.timeout(60):
        await it.sync.wait_for_turn()


async def test_account_turns_asked_for_in_a_loop_keep_their_distance(
    recorder: Recorder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "_SPACING_S", 0.05)
    async with account(recorder, clock) as it:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for _ in range(3):
            it.sync.request()
            await it.sync.wait_for_turn()
        assert loop.time() - began_s >= 0.14
