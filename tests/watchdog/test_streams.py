"""The streams: what brings a look forward, what freezes, and that nothing they say ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from watchdog.audit_world import NOW_MS, listed_order
from watchdog.keepers import THRESHOLDS

from trade_core.clock import ManualClock
from trade_core.errors import ExchangeUnavailable
from trade_watchdog import streams as streams_module
from trade_watchdog.audit.sightings import SeenOrder
from trade_watchdog.ceiling import Ceiling, CoinBalance, EquitySample
from trade_watchdog.ladder import Ladder
from trade_watchdog.status import StreamState
from trade_watchdog.streams import ALONE_S, SYMBOLS_MAX, Deliver, Streams

S_NS = 1_000_000_000


class World:
    """Streams that say what a test says, an account of 10 BTC at 100, and an audit that notes what it is asked."""

    def __init__(self) -> None:
        self.clock = ManualClock(wall_ns=NOW_MS * 1_000_000)
        self.asked: list[str] = []
        self.held: dict[str, Decimal] = {}
        self.account_fails = 0
        self.followed: list[frozenset[str]] = []
        self.account_follows = 0
        self.ends = asyncio.Event()
        self.ladder = Ladder(THRESHOLDS)
        for second in range(3):
            self.ladder.take(price=Decimal(1), at_ms=NOW_MS + second * 1000, monotonic_ns=second * S_NS)
        self.streams = Streams(
            stream=self,
            ladder=self.ladder,
            orders=self,
            clock=self.clock,
            sample_soon=lambda: self.asked.append("sample"),
            account=StreamState(),
            prices=StreamState(),
            on_change=lambda: self.asked.append("verdict"),
        )

    def is_strange(self, order: SeenOrder) -> bool:
        return order.link_id != "ours"

    def look_soon(self) -> None:
        self.asked.append("look")

    def sizes(self) -> Mapping[str, Decimal]:
        return self.held

    async def follow_account(self, deliver: Deliver) -> None:
        self.account_follows += 1
        if self.account_follows <= self.account_fails:
            raise ExchangeUnavailable("the stream has ended")
        await self.ends.wait()

    async def follow_prices(self, symbols: frozenset[str], deliver: Deliver) -> None:
        self.followed.append(symbols)
        await self.ends.wait()

    def sample(self, *, price: int = 100, coin: str = "BTC") -> None:
        """Believe a reading at this price."""
        worth = Decimal(10 * price)
        coins = (
            CoinBalance(coin=coin, wallet_balance=Decimal(10), equity=Decimal(10), value_usdt=worth),
            CoinBalance(coin="XRP", wallet_balance=Decimal(0), equity=Decimal(0), value_usdt=Decimal(0)),
        )
        read = EquitySample(
            equity_usdt=worth,
            coins=coins,
            exchange_time_ms=NOW_MS,
            received_wall_ns=self.clock.wall_ns(),
            received_monotonic_ns=self.clock.monotonic_ns(),
        )
        self.streams.take(read, unit_price=Decimal(price) / 100)

    def ticker(self, symbol: str = "BTCUSDT", **told: str) -> None:
        self.streams.deliver(f"tickers.{symbol}", {"symbol": symbol, **told})


@pytest.fixture
async def world() -> World:
    made = World()
    made.sample()
    made.ticker(indexPrice="100", markPrice="100")
    made.sample()
    return made


@pytest.mark.parametrize("topic", ["wallet", "position"])
async def test_wallet_or_position_has_the_equity_read(world: World, topic: str) -> None:
    world.streams.deliver(topic, {})
    assert world.asked == ["sample"]


@pytest.mark.parametrize(
    ("entry", "asked"),
    [
        ({**listed_order(orderLinkId="ours"), "category": "spot"}, []),
        ({**listed_order(), "category": "linear"}, ["look"]),
        ({}, ["look"]),
        ({**listed_order(orderLinkId="ours"), "qty": "NaN"}, ["look"]),
    ],
)
async def test_order_without_our_tag_has_the_orders_read(world: World, entry: dict[str, Any], asked: list[str]) -> None:
    world.streams.deliver("order", entry)
    assert world.asked == asked


@pytest.mark.parametrize(
    ("entry", "asked"),
    [
        ({"orderLinkId": "t", "execType": "Trade"}, []),
        ({"orderLinkId": "", "execType": "Trade"}, ["look"]),
        ({"execType": "Trade"}, ["look"]),
        ({"orderLinkId": "t", "execType": "AdlTrade"}, ["look"]),
    ],
)
async def test_execution_of_nobody_has_the_orders_read(world: World, entry: dict[str, Any], asked: list[str]) -> None:
    world.streams.deliver("execution", entry)
    assert world.asked == asked


async def test_price_far_from_a_rung_sets_nothing_in_motion(world: World) -> None:
    world.ticker(indexPrice="95.3")
    assert (world.asked, world.streams.prices.frames) == ([], 2)


async def test_price_next_to_a_rung_has_the_equity_read_and_freezes_nothing(world: World) -> None:
    world.ticker(indexPrice="95.1")
    world.clock.advance(S_NS)
    assert world.asked == ["sample"]
    assert world.streams.verdict().ceiling is Ceiling.ACTIVE


async def test_price_past_a_rung_freezes_when_no_reading_answers_in_time(world: World) -> None:
    world.ticker(indexPrice="95")
    assert world.asked == ["sample"]
    world.clock.advance(round(ALONE_S * S_NS) - 1)
    assert world.streams.verdict().ceiling is Ceiling.ACTIVE
    world.clock.advance(1)
    assert world.streams.verdict().ceiling is Ceiling.REDUCE_ONLY
    assert "past the daily rung and no reading has answered" in world.streams.verdict().reason


async def test_price_that_comes_back_does_not_lift_the_freeze_and_a_reading_does(world: World) -> None:
    world.ticker(indexPrice="95")
    world.clock.advance(S_NS)
    world.ticker(indexPrice="100")
    assert world.streams.verdict().ceiling is Ceiling.REDUCE_ONLY
    world.sample(price=99)
    assert world.streams.verdict().ceiling is Ceiling.ACTIVE


async def test_reading_from_before_the_fall_does_not_answer_it(world: World) -> None:
    world.ticker(indexPrice="95")
    world.sample()
    world.clock.advance(S_NS)
    assert world.streams.verdict().ceiling is Ceiling.REDUCE_ONLY


async def test_later_frames_of_a_fall_do_not_begin_its_time_anew(world: World) -> None:
    world.ticker(indexPrice="95")
    world.clock.advance(round(ALONE_S * S_NS))
    world.ticker(indexPrice="94")
    assert world.streams.verdict().ceiling is Ceiling.REDUCE_ONLY


async def test_frame_that_repeats_itself_sets_nothing_in_motion_again(world: World) -> None:
    world.ticker(indexPrice="95")
    world.ticker(indexPrice="95")
    world.ticker(indexPrice="", lastPrice="3")
    assert world.asked == ["sample"]


async def test_mark_price_moves_a_position(world: World) -> None:
    world.held = {"BTCUSDT": Decimal(-50)}
    world.ticker(markPrice="100.9")
    assert world.asked == []
    world.ticker(markPrice="101")
    assert world.asked == ["sample"]


@pytest.mark.parametrize("price", ["NaN", "0", "-1", "1e3", 5, None])
async def test_price_that_is_none_has_the_equity_read(world: World, price: Any) -> None:
    world.streams.deliver("tickers.BTCUSDT", {"indexPrice": price})
    assert world.asked == ([] if price is None else ["sample"])
    assert world.streams.verdict().ceiling is Ceiling.ACTIVE


async def test_price_of_a_contract_that_was_not_asked_for_is_passed_over(world: World) -> None:
    world.ticker("DOGEUSDT", indexPrice="NaN")
    assert world.asked == []


async def test_price_before_the_first_reading_sets_nothing_in_motion() -> None:
    world = World()
    world.ticker(indexPrice="1")
    world.streams._symbols = frozenset({"BTCUSDT"})
    world.ticker(indexPrice="1")
    assert world.asked == []


@asynccontextmanager
async def running(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[Callable[[], bool]], Any]]:
    monkeypatch.setattr(streams_module, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(streams_module, "ALONE_S", 0.01)

    async def until(is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_so():  # noqa: ASYNC110 - loops of their own
                await asyncio.sleep(0.005)

    task = asyncio.create_task(world.streams.run())
    try:
        yield until
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_fall_that_no_reading_answers_renews_the_verdict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(world, monkeypatch) as until:
        world.ticker(indexPrice="95")
        await until(lambda: "verdict" in world.asked)


async def test_fall_that_a_reading_answers_leaves_the_verdict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(world, monkeypatch):
        world.ticker(indexPrice="95")
        world.clock.advance(1)
        world.sample()
        await asyncio.sleep(0.05)
        assert world.asked == ["sample"]


async def test_stream_that_ends_is_followed_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.account_fails = 3
    async with running(world, monkeypatch) as until:
        await until(lambda: world.account_follows == 4)
        assert world.streams.account.detail == "the stream has ended"
        assert caplog.text.count("the stream of the account") == 1
        world.clock.advance(61 * S_NS)
        world.ends.set()
        await until(lambda: world.account_follows > 5)
        assert world.streams.account.detail == "it ended"


async def test_prices_are_followed_of_coins_that_are_held_and_of_new_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(world, monkeypatch) as until:
        await until(lambda: world.followed == [frozenset({"BTCUSDT"})])
        world.held = {"ETHUSDT": Decimal(1)}
        world.sample()
        await until(lambda: len(world.followed) == 2)
        world.sample()
        await asyncio.sleep(0.03)
        assert world.followed[1:] == [frozenset({"BTCUSDT", "ETHUSDT"})]


async def test_contracts_that_are_followed_are_bounded(world: World) -> None:
    world.held = {f"C{number}USDT": Decimal(1) for number in range(SYMBOLS_MAX + 5)}
    world.sample()
    assert len(world.streams._symbols) == SYMBOLS_MAX
