"""What happens in one run: a bot trades, the market moves, money comes and goes, things break, people answer.

Everything is drawn from the seed. At the end all troubles are over, and the house must be well again by itself.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from hostile.venue import Key
from simulation.clocks import SimulatedLoop, new_clock, run
from simulation.house import HELD, SYMBOLS, TRADED, House, Setting, house
from simulation.referee import RANK, Figures
from simulation.trouble import Trouble

from trade_core.clock import NS_PER_S, ManualClock
from trade_simulator.instruments import DEFAULT_INSTRUMENTS, Category, symbol_tick_size
from trade_simulator.market.price_file import RecordedBar
from trade_simulator.market.replay import ReplayPath
from trade_simulator.orders import Side

DAY_S: Final = 86_400.0
WELL_WITHIN_S: Final = 200.0
MARKET_EVERY_S: Final = 2.0
JUMPS: Final = (-0.13, -0.09, -0.06, -0.05, -0.02, 0.04, 0.06, 0.08, 0.1)
"""Of the held coin, which is three fifths of the account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a run is: how long, and how much of what."""

    seed: int
    active_s: float = 420.0
    trouble_every_s: float = 12.0
    bot_every_s: float = 2.5
    crash_every_s: float = 60.0
    flow_every_s: float = 200.0
    rogue_every_s: float = 1500.0
    theft_every_s: float = 1500.0
    troubles: tuple[str, ...] = ()
    """The only kinds of trouble that may come; all kinds when none is named."""
    nights: int = 1
    """Spells of hours between, of which only a few seconds each ten minutes are lived through."""
    night_s: float = 6 * 3600.0
    bars: tuple[RecordedBar, ...] = ()


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of a run."""

    seed: int
    digest: str = ""
    days: float = 0.0
    events: int = 0
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    figures: Figures = field(default_factory=Figures)
    violations: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    releases: int = 0
    cpu_s: float = 0.0


class Story:
    """One run's tellers."""

    def __init__(self, made: House, plan: Plan) -> None:
        self.house, self.plan = made, plan
        self.draw = random.Random(f"story-{plan.seed}")
        self.trouble = Trouble(made, random.Random(f"trouble-{plan.seed}"))
        self.volatility = 0.0005
        self.orders: list[tuple[Key, str]] = []
        self.releases = 0
        self._numbers = 0
        self._path = _path(plan)
        self._walked_ns = made.clock.monotonic_ns()

    async def live(self) -> None:
        """Live through the plan."""
        await self.house.wait_until(lambda: self.house.state == "ACTIVE", within_s=30.0)
        part_s = self.plan.active_s / (self.plan.nights + 1)
        for number in range(self.plan.nights + 1):
            if number:
                await self.night()
            await self._day(part_s)
        await self._end_well()

    async def _day(self, seconds: float) -> None:
        tellers = [
            self._bot(),
            self._market(),
            self._money(),
            self._people(),
            self._breaks(),
            self._rogues(),
            self._thieves(),
        ]
        tasks = [asyncio.create_task(teller) for teller in tellers]
        try:
            for _ in range(int(seconds)):  # counted, since the machine may sleep for hours in one of them
                if self._is_over():
                    break
                await asyncio.sleep(1.0)
                self._look_at(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _is_over(self) -> bool:
        """Tell whether the account's life ends: an invariant is violated, or a kill was asked for by drawdown."""
        return bool(self.house.referee.violations) or self.house.referee.figures.drawdown_kills > 1

    def _look_at(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise RuntimeError("a teller broke") from task.exception()
        failure, self.house.watchdog.failure = self.house.watchdog.failure, None
        if failure is not None:
            self.house.referee.fail(f"the watchdog's process ended: {failure!r}")

    async def night(self) -> None:
        """Let hours pass: ten minutes of sleep, then a few seconds awake, again and again."""
        await self.trouble.over()
        left_s = self.plan.night_s
        while left_s > 0 and not self._is_over():
            self.house.skip(595.0)
            self._walk_market(595.0)
            await asyncio.sleep(5.0)
            left_s -= 600.0

    async def _end_well(self) -> None:
        """Let every trouble end; then the gateway must be as free as its latch lets it, and nothing be unknown."""
        if self.house.referee.violations:
            return
        await self.trouble.over()
        if not await self.house.wait_until(lambda: not self.house.referee.unanswered, within_s=WELL_WITHIN_S):
            for what in self.house.referee.unanswered:
                self.house.referee.fail(f"nobody halted for {what}")
        if not await self.house.wait_until(self._is_well, within_s=WELL_WITHIN_S):
            running = self.house.gateway.running
            status = self.house.watchdog.monitor.status if self.house.watchdog.monitor is not None else None
            why = "dead" if running is None else str(running.states.describe())
            says = "dead" if status is None else f"{status.verdict} {status.lease_result} {status.lease_detail}"
            self.house.referee.fail(f"not well {WELL_WITHIN_S:.0f} s after all troubles: {why}; watchdog: {says}")

    def _is_well(self) -> bool:
        running, held = self.house.gateway.running, self.house.referee.held
        if running is None or held is None or self.house.watchdog.keeper is None:
            return False
        least = max(RANK[held.ceiling], RANK["HALTED"] if self.house.referee.is_halted else 0)
        state = RANK[running.states.trading_state().name]
        is_resolved = not running.parts.ledger.unresolved()
        return state == least and (least != RANK["REDUCE_ONLY"]) and is_resolved

    # The bot

    async def _bot(self) -> None:
        while True:
            await asyncio.sleep(self.draw.expovariate(1 / self.plan.bot_every_s))
            task = asyncio.create_task(self._act())
            self.house.gateway._work.add(task)
            task.add_done_callback(self.house.gateway._work.discard)

    async def _act(self) -> None:
        draw = self.draw
        key = draw.choice(SYMBOLS)
        act = draw.random()
        if act < 0.25 and self.orders:
            cancelled, order_id = self.orders.pop(draw.randrange(len(self.orders)))
            body = {"category": cancelled[0].value, "symbol": cancelled[1], "orderId": order_id}
            await self.house.gateway.bot_asks("/v5/order/cancel", body)
            return
        if act < 0.4:
            self._fill()
            return
        await self._order(
            key, draw.choice(("Buy", "Sell")) if key[0] is Category.LINEAR else draw.choice(("Buy", "Buy", "Sell"))
        )

    async def _order(self, key: Key, side: str) -> None:
        instrument, index = self.house.venue.instrument(key), self.house.venue.index(key[1].removesuffix("USDT"))
        away = Decimal(str(round(self.draw.uniform(0.0005, 0.006), 5)))
        price = instrument.nearest_price(index * (1 - away if side == "Buy" else 1 + away))
        step = instrument.quantity_step
        wanted = Decimal(self.draw.randint(8, 99)) / price
        quantity = (wanted / step).to_integral_value(rounding=ROUND_DOWN) * step
        self._numbers += 1
        body: dict[str, Any] = {
            "category": key[0].value,
            "symbol": key[1],
            "side": side,
            "orderType": "Limit",
            "timeInForce": "PostOnly",
            "qty": f"{quantity:f}",
            "price": f"{price:f}",
            "orderLinkId": f"b{self._numbers}",
        }
        answer = await self.house.gateway.bot_asks("/v5/order/create", body)
        code = "OK" if answer["retCode"] == 0 else str(answer["retMsg"]).partition(":")[0][:40]
        self.house.counts[f"order {code}"] += 1
        if answer["retCode"] == 0:
            self.orders = [*self.orders[-20:], (key, answer["result"]["orderId"])]

    def _fill(self) -> None:
        """Somebody takes one of the bot's orders, or a part of it."""
        working = [
            o for o in self.house.venue.exchange.accounts[self.house.venue.uid].known_orders.values() if o.is_open
        ]
        if not working:
            return
        order = self.draw.choice(working)
        key = (order.category, order.symbol)
        step = self.house.venue.instrument(key).quantity_step
        part = Decimal(str(self.draw.choice((1, 1, 0.5))))
        quantity = max(step, (order.leaves_qty * part / step).to_integral_value(rounding=ROUND_DOWN) * step)
        side = Side.SELL if order.side is Side.BUY else Side.BUY
        self.house.venue.take(key, side, quantity=quantity, price=order.price)

    # The market and money

    async def _market(self) -> None:
        while True:
            await asyncio.sleep(MARKET_EVERY_S)
            self._walk_market(MARKET_EVERY_S)
            has_jump = self.draw.random() < MARKET_EVERY_S / self.plan.crash_every_s
            if has_jump and self._path is None:  # a recorded price is nobody's to move
                self.house.move(HELD, 1 + self.draw.choice(JUMPS))
            if self.draw.random() < MARKET_EVERY_S / 60:
                self.volatility = self.draw.choice((0.0001, 0.0005, 0.002))

    def _walk_market(self, seconds: float) -> None:
        spread = self.volatility * min(10.0, (seconds / MARKET_EVERY_S) ** 0.5)
        for coin in TRADED:
            self.house.move(coin, 1 + max(-0.03, min(0.03, self.draw.gauss(0, spread))))
        if self._path is None:
            self.house.move(HELD, 1 + self.draw.gauss(0, spread))
        else:
            self._replay()

    def _replay(self) -> None:
        assert self._path is not None
        now_ns = self.house.clock.monotonic_ns()
        self._path.advance(max(0, (now_ns - self._walked_ns) // (NS_PER_S // 10)))
        self._walked_ns = now_ns
        tick = symbol_tick_size(DEFAULT_INSTRUMENTS, f"{HELD}USDT")
        self.house.set_price(HELD, self._path.ticks * tick)

    async def _money(self) -> None:
        while True:
            await asyncio.sleep(self.draw.expovariate(1 / self.plan.flow_every_s))
            amount = Decimal(self.draw.choice((-900, -200, 50, 400, 1500)))
            keeper = self.house.watchdog.keeper
            if amount < 0:
                if keeper is None or keeper.announce(coin="USDT", amount=-amount, by="person") is None:
                    continue
                await asyncio.sleep(2.0)
            if self.house.flow("USDT", amount):
                self.house.counts["flow"] += 1

    # People

    async def _people(self) -> None:
        """Acknowledge what is to be reviewed, and release a halt some while after it came."""
        while True:
            await asyncio.sleep(self.draw.uniform(10.0, 40.0))
            keeper = self.house.watchdog.keeper
            if keeper is not None and self.draw.random() < 0.7:
                keeper.acknowledge("rung:daily", by="person")
            if self.house.referee.is_halted and not self.house.referee.figures.fired["high_water"]:
                self.house.cancel_rogues()
                if await self.house.release():
                    self.releases += 1
                    self.house.is_paused = False

    async def _rogues(self) -> None:
        while True:
            await asyncio.sleep(self.draw.expovariate(1 / self.plan.rogue_every_s))
            if self.house.referee.unanswered:
                continue
            self.house.counts["rogue order"] += 1
            self.house.plant_rogue(is_taken=self.draw.random() < 0.5)

    async def _thieves(self) -> None:
        while True:
            await asyncio.sleep(self.draw.expovariate(1 / self.plan.theft_every_s))
            if self.house.referee.unanswered:
                continue  # one after the other: a later halt would hide that an earlier one was forgotten
            if self.house.flow("USDT", Decimal(-77), is_theft=True):
                self.house.counts["theft"] += 1

    async def _breaks(self) -> None:
        while True:
            await asyncio.sleep(self.draw.expovariate(1 / self.plan.trouble_every_s))
            self.trouble.begin(self.draw.choice(self.plan.troubles or tuple(self.trouble.kinds)))


def _path(plan: Plan) -> ReplayPath | None:
    return ReplayPath(bars=plan.bars) if plan.bars else None


async def _told(plan: Plan, clock: ManualClock) -> Report:
    began_ns = clock.monotonic_ns()
    report = Report(seed=plan.seed)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    async with house(Setting(seed=plan.seed), clock) as made:
        story = Story(made, plan)
        try:
            await story.live()
        finally:
            await story.trouble.end()
    report.days = (clock.monotonic_ns() - began_ns) / NS_PER_S / DAY_S
    report.digest, report.events, report.steps = made.trace.digest(), made.trace.events, loop.steps
    report.counts, report.figures, report.releases = made.counts, made.referee.figures, story.releases
    report.violations, report.tail = made.referee.violations, made.trace.tail[-60:]
    return report


def tell(plan: Plan) -> Report:
    """Live through one plan; the same plan gives the same report, digest included."""
    began_s = time.process_time()
    clock = new_clock()
    report = run(_told(plan, clock), clock)
    report.cpu_s = time.process_time() - began_s
    return report
