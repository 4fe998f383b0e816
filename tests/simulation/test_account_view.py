"""The account view against the simulator: after storms of orders, fills and faults it equals the exchange's own truth.

The events are random with a printed seed; TRADE_VIEW_EVENTS says how many there are.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway.house import LIMITS
from simulator.support import Simulation, running

from trade_core.bybit.client import BybitClient
from trade_core.clock import SystemClock
from trade_core.secrets import Secret
from trade_gateway.account.activity import Activity
from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.private_stream import private_stream
from trade_gateway.account.resync import AccountSync
from trade_gateway.account.tally import tally
from trade_gateway.account.trust import Trusted, Untrusted
from trade_gateway.conductor import Conductor
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.metrics import Metrics
from trade_gateway.order_care import OrderCare
from trade_gateway.order_flow import cancel_order, place_order
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.recorder import Recorder
from trade_gateway.recovery import recover
from trade_gateway.startup import EXPECTED_TROUBLE
from trade_gateway.upstream import Upstream
from trade_gateway.wire.intents import Category, OrderIntent, Side, StopIntent, TriggerBy
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter

EVENTS = int(os.environ.get("TRADE_VIEW_EVENTS", "1000"))
EVENTS_A_ROUND = 250
QUIET_WITHIN_S = 300  # the last rounds have hundreds of working orders, and a busy machine reads them slowly
RECORDED_WITHIN_S = 120
SYMBOLS = {"BTCUSDT": ("0.001", "0.01"), "ETHUSDT": ("0.01", "0.2"), "XRPUSDT": ("10", "200")}
TICKS = {"BTCUSDT": "0.1", "ETHUSDT": "0.01", "XRPUSDT": "0.0001"}
FAULTS: list[dict[str, Any]] = [
    {"path": "ws:private", "mode": "gap", "count": 3},
    {"path": "ws:private", "mode": "duplicate", "count": 5},
    {"path": "ws:private", "mode": "reorder", "count": 5},
    {"path": "ws:private", "mode": "delay", "ms": 120, "count": 5},
    {"path": "ws:private", "mode": "close", "count": 1},
    {"path": "/v5/order/realtime", "mode": "delay", "ms": 150, "count": 2},
    {"path": "/v5/order/realtime", "mode": "error", "ret_code": 10016, "count": 2},
    {"path": "/v5/account/wallet-balance", "mode": "status", "status": 503, "count": 2},
    {"path": "/v5/account/wallet-balance", "mode": "delay", "ms": 150, "count": 2},
    {"path": "/v5/position/list", "mode": "delay", "ms": 150, "count": 2},
    {"path": "/v5/position/list", "mode": "drop", "ms": 100, "count": 1},
    {"path": "/v5/execution/list", "mode": "error", "ret_code": 10016, "count": 1},
    {"path": "/v5/order/create", "mode": "lose_response", "ms": 100, "count": 1},
    {"path": "/v5/order/create", "mode": "drop", "ms": 100, "count": 1},
    {"path": "/v5/order/cancel", "mode": "lose_response", "ms": 100, "count": 1},
]


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with running(tmp_path_factory.mktemp("simulator"), speed="20", equity_usdt="400000") as started:
        started.control("POST", "limits", {"enabled": False})
        yield started


@dataclass
class Rig:
    """The gateway's parts that make the account view, without the policy that would refuse most of a storm."""

    simulation: Simulation
    ledger: OrderLedger
    keeper: AccountKeeper
    sync: AccountSync
    conductor: Conductor
    care: OrderCare
    journal: JournalWriter
    control_http: httpx.AsyncClient
    random: random.Random
    placed: int = 0
    stops: int = 0
    reasons: set[str] = field(default_factory=set)
    flows: set[asyncio.Task[Any]] = field(default_factory=set)
    last: Any = None

    async def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = await self.control_http.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def note_trust(self) -> None:
        trust = self.keeper.note_trust()
        if isinstance(trust, Untrusted):
            self.reasons.add(trust.reason.partition(" T")[0].partition(" coin")[0].partition(" order ")[0])

    async def place(self, prices: dict[str, Any]) -> None:
        category = self.random.choice(list(Category))
        symbol = self.random.choice(sorted(SYMBOLS))
        side = self.random.choice(list(Side))
        quantity = Decimal(self.random.choice(SYMBOLS[symbol]))
        price = Decimal(prices[category.value][symbol]["mark" if category is Category.LINEAR else "last"])
        away = Decimal(self.random.choice(["0.0001", "0.0005", "0.002", "0.02"]))
        price = price * (1 - away if side is Side.BUY else 1 + away)
        self.placed += 1
        intent = OrderIntent(
            category=category,
            symbol=symbol,
            side=side,
            quantity=quantity,
            price=price.quantize(Decimal(TICKS[symbol])),
            reduce_only=False,
            client_link_id=None,
        )
        self._send(intent, adds_risk=True)

    async def stop(self, prices: dict[str, Any]) -> None:
        """Leave a stop near the price, with a position to reduce or without one."""
        symbol = self.random.choice(sorted(SYMBOLS))
        side = self.random.choice(list(Side))
        away = Decimal(self.random.choice(["0.001", "0.003", "0.02"]))
        sign = -1 if side is Side.SELL else 1
        trigger = Decimal(prices["linear"][symbol]["mark"]) * (1 + sign * away)
        intent = StopIntent(
            symbol=symbol,
            side=side,
            quantity=Decimal(self.random.choice(SYMBOLS[symbol])),
            trigger_price=trigger.quantize(Decimal(TICKS[symbol])),
            trigger_by=TriggerBy.MARK,
            limit_price=(trigger * (1 + sign * Decimal("0.004"))).quantize(Decimal(TICKS[symbol])),
            client_link_id=None,
        )
        self.stops += 1
        self._send(intent, adds_risk=False)

    def _send(self, intent: OrderIntent | StopIntent, *, adds_risk: bool) -> None:
        order = TrackedOrder(tag=f"T{self.random.getrandbits(64):016x}", intent=intent, adds_risk=adds_risk)
        order.signed_at_ns = SystemClock().monotonic_ns()
        self.ledger.reserve(order)
        flow = place_order(order, ledger=self.ledger, arrived_at_ns=order.signed_at_ns)
        self._begin(self.conductor.run(flow))

    async def cancel(self) -> None:
        working = [order for order in self.ledger.open_orders() if order.phase is Phase.WORKING]
        if working:
            self._begin(self.conductor.run(cancel_order(self.random.choice(working))))

    async def event(self, prices: dict[str, Any]) -> None:
        """One random thing that happens to the account."""
        kind = self.random.choices(
            ["place", "cancel", "price", "flow", "foreign", "fault", "stop"], weights=[50, 20, 8, 3, 3, 6, 8]
        )[0]
        match kind:
            case "place":
                await self.place(prices)
            case "cancel":
                await self.cancel()
            case "price":
                symbol = self.random.choice(sorted(SYMBOLS))
                price = Decimal(prices["linear"][symbol]["mark"]) * Decimal(self.random.choice(["0.997", "1.003"]))
                body = {"symbol": symbol, "price": str(price.quantize(Decimal(TICKS[symbol])))}
                await self.control("POST", "price", body)
            case "flow":
                await self.control("POST", "flow", {"coin": "USDT", "amount": "25"})
            case "foreign":
                await self.foreign_order(prices)
            case "stop":
                await self.stop(prices)
            case "fault":
                await self.control("POST", "faults", self.random.choice(FAULTS))

    async def lose_news(self) -> None:
        """Open a gap that nothing else can explain: another hand's order, of which the stream tells nothing."""
        await self.control("POST", "faults", {"path": "ws:private", "mode": "gap", "count": 1000})
        await self.foreign_order((await self.truth())["prices"])
        async with asyncio.timeout(QUIET_WITHIN_S):
            while not any("did not tell" in reason for reason in self.reasons):  # noqa: ASYNC110 - readings of others
                await asyncio.sleep(0.1)

    async def foreign_order(self, prices: dict[str, Any]) -> None:
        """Another hand's order, far from the market."""
        price = Decimal(prices["spot"]["ETHUSDT"]["last"]) * Decimal("0.9")
        order = {"category": "spot", "symbol": "ETHUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01"}
        body = {**order, "price": str(price.quantize(Decimal("0.01"))), "timeInForce": "GTC"}
        await self.control("POST", "order", body)

    async def truth(self) -> dict[str, Any]:
        return await self.control("GET", "state")  # type: ignore[no-any-return]

    async def quiet(self) -> None:
        """Let the storm end: no faults, no flows, trust; then view and truth are one."""
        await self.control("DELETE", "faults")
        async with asyncio.timeout(QUIET_WITHIN_S):
            await asyncio.gather(*self.flows)
            while True:
                before = self.shown(await self.truth())
                seen = self.seen()
                is_still = before == self.shown(await self.truth())
                if is_still and isinstance(self.keeper.trust(), Trusted) and seen == before:
                    return
                self.last = (before, seen, self.keeper.trust())
                await asyncio.sleep(0.1)

    def shown(self, truth: dict[str, Any]) -> dict[str, Any]:
        """The simulator's truth about our account, in the view's words."""
        uid = self.simulation.accounts["sub_uid"]
        orders = [order for order in truth["orders"] if order["uid"] == uid]
        coins = {item["coin"]: Decimal(item["walletBalance"]) for item in truth["wallets"][uid]["coin"]}
        positions = [p for p in truth["positions"] if p["uid"] == uid and Decimal(p["size"])]
        return {
            "own": {o["orderLinkId"]: Decimal(o["cumExecQty"]) for o in orders if o["orderLinkId"].startswith("T")},
            "foreign": {o["orderId"] for o in orders if not o["orderLinkId"].startswith("T")},
            "coins": {coin: amount for coin, amount in coins.items() if amount},
            "positions": {p["symbol"]: Decimal(p["size"]) * (1 if p["side"] == "Buy" else -1) for p in positions},
        }

    def seen(self) -> dict[str, Any]:
        view = self.keeper.view
        return {
            "own": {order.tag: order.filled for order in self.ledger.open_orders()},
            "foreign": {order.order_id for order in view.foreign_orders},
            "coins": {coin: amount for coin, amount in view.coins.items() if amount},
            "positions": view.positions,
        }

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.flows.add(task)
        task.add_done_callback(self.flows.discard)


@asynccontextmanager
async def rig(simulation: Simulation, folder: Path, seed: int) -> AsyncIterator[Rig]:
    clock = SystemClock()
    key = simulation.keys["order"]
    journal = await JournalWriter.open(f"sqlite:///{folder}/gateway.db", origin="trade/test", clock=clock)
    recorder = Recorder(journal=journal, clock=clock, metrics=Metrics(), policy_hash="a" * 64)
    ledger = OrderLedger()
    client = BybitClient(
        base_url=simulation.url, clock=clock, is_simulated=True, key=Secret(key.key), secret=Secret(key.secret)
    )
    upstream = Upstream(client=client, clock=clock)
    keeper = AccountKeeper(ledger=ledger, activity=Activity(limits=LIMITS), recorder=recorder, clock=clock)
    conductor = Conductor(recorder=recorder, upstream=upstream, clock=clock, permits=lambda _: True)
    sync = AccountSync(
        client=client, upstream=upstream, ledger=ledger, keeper=keeper, clock=clock, categories=frozenset(Category)
    )
    care = OrderCare(
        ledger=ledger,
        conductor=conductor,
        clock=clock,
        is_reduced=lambda: False,
        time_to_live_s=lambda: 3600,
        permits_symbol=lambda _: True,
        is_flat=lambda symbol, since_ns: keeper.is_flat(symbol, since_ns=since_ns),
        on_changed=sync.request,
    )
    stream = private_stream(
        exchange_ws_url=simulation.ws,
        is_simulated=True,
        clock=clock,
        key=Secret(key.key),
        secret=Secret(key.secret),
        keeper=keeper,
    )
    http = httpx.AsyncClient(
        base_url=simulation.control_url, headers={"Authorization": f"Bearer {simulation.token}"}, timeout=60
    )
    made = Rig(
        simulation=simulation,
        ledger=ledger,
        keeper=keeper,
        sync=sync,
        conductor=conductor,
        care=care,
        journal=journal,
        control_http=http,
        random=random.Random(seed),
    )

    async def readings() -> None:
        while True:
            with suppress(*EXPECTED_TROUBLE):
                await sync.read()
            made.note_trust()
            await sync.wait_for_turn()

    async def rounds() -> None:
        while True:
            await care.resolve_round()
            care.withdraw_round()
            made.note_trust()
            await asyncio.sleep(0.2)

    tasks = [asyncio.create_task(work) for work in (stream.run(), readings(), rounds())]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await conductor.drain(within_s=60)
        await client.aclose()
        await http.aclose()
        await journal.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_view_equals_the_exchanges_truth_at_every_quiet_moment(simulation: Simulation, tmp_path: Path) -> None:
    seed = int(os.environ.get("TRADE_VIEW_SEED", "11"))
    async with rig(simulation, tmp_path, seed) as it:
        await it.quiet()
        for number in range(EVENTS // EVENTS_A_ROUND):
            for count in range(EVENTS_A_ROUND):
                if count % 25 == 0:
                    prices = (await it.truth())["prices"]
                await it.event(prices)
                if len(it.flows) > 40:
                    await asyncio.wait(it.flows, return_when=asyncio.FIRST_COMPLETED)
            try:
                await it.quiet()
            except TimeoutError:
                raise AssertionError(f"seed {seed}, round {number}: {it.last}") from None
        await rows_agree(it)
        reasons = sorted(it.reasons)
        print(f"seed {seed}: {EVENTS} events, {it.placed} orders, {it.stops} stops, reasons for distrust: {reasons}")
        await it.lose_news()
        await it.quiet()
        await check_restart(it)


async def rows_agree(it: Rig) -> None:
    """Wait until rows and truth agree: the market goes on, and rows that nobody waits for come a moment later."""
    deadline_s = time.monotonic() + RECORDED_WITHIN_S
    while True:
        rows = [row for start in range(0, it.journal.size, 512) for row in await it.journal.read(start, 512)]
        try:
            check_rows(it, await it.truth(), rows)
        except AssertionError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.3)
        else:
            return


def check_rows(it: Rig, truth: dict[str, Any], rows: list[Any]) -> None:
    """Every fill of ours at the exchange is in the journal, once."""
    uid = it.simulation.accounts["sub_uid"]
    filled: dict[str, Decimal] = {}
    for row in rows:
        if row.kind is RowKind.ORDER_FILLED:
            tag = str(row.fields["tag"])
            filled[tag] = filled.get(tag, Decimal(0)) + Decimal(str(row.fields["quantity"]))
            assert Decimal(str(row.fields["filled"])) == filled[tag]
    everything = [o for o in [*truth["orders"], *truth["closed_orders"]] if o["uid"] == uid]
    true_fills = {o["orderLinkId"]: Decimal(o["cumExecQty"]) for o in everything if o["orderLinkId"].startswith("T")}
    assert len(true_fills) > 10
    for tag, quantity in true_fills.items():
        assert filled.get(tag, Decimal(0)) == quantity, tag


def is_believed(raw: bytes, *, latch_sequence: int, latch: TradingState, killed_keys: Collection[str]) -> bool:
    return False


async def check_restart(it: Rig) -> None:
    """A restart knows the same open orders, fills and turnover from the journal alone, once it has them all.

    The market goes on: what was filled just now is a row only with the next commit.
    """
    deadline = time.monotonic() + RECORDED_WITHIN_S
    while True:
        now_ns = SystemClock().wall_ns()
        ledger, activity = OrderLedger(), Activity(limits=LIMITS)
        await recover(it.journal, ledger, activity=activity, started_at_ns=1, is_release=is_believed)
        found = _counted(ledger, activity, now_ns)
        expected = _counted(it.ledger, it.keeper.activity, now_ns)
        if found == expected or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    assert found == expected
    assert found[1] > 0


def _counted(ledger: OrderLedger, activity: Activity, now_ns: int) -> tuple[dict[str, Decimal], Decimal]:
    orders = {order.tag: order.counted for order in ledger.open_orders()}
    return orders, activity.turnover_usdt(tally(ledger.claims()).pending_usdt, at_ns=now_ns)
