"""Second prices: what the lease carries of a venue that is well, silent, or talks nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry
from watchdog.audit_world import AuditWorld
from watchdog.keepers import keeper_of

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.trust.lease import MAX_SECOND_PRICES, SecondPrice
from trade_watchdog import second_prices as second_prices_module
from trade_watchdog.metrics import WatchdogMetrics
from trade_watchdog.quotes import Quote, QuoteFinding
from trade_watchdog.second_prices import PRICE_AGE_MAX_S, SecondPrices
from trade_watchdog.status import Status

Until = Callable[..., Awaitable[None]]
SIGNED_MS = 1_700_000_100_000


class Venue:
    """Answers from a table; a coin that is not in it hangs."""

    name = "okx"

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.answers: dict[str, str | QuoteFinding] = {}
        self.asked: list[str] = []
        self.is_closed = False

    async def quote(self, coin: str) -> Quote | QuoteFinding:
        self.asked.append(coin)
        answer = self.answers.get(coin)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, QuoteFinding):
            return answer
        middle = Decimal(str(answer))
        return Quote(
            bid=middle * Decimal("0.999"),
            ask=middle * Decimal("1.001"),
            venue_time_ms=self.clock.wall_ns() // NS_PER_MS,
            asked_wall_ns=self.clock.wall_ns(),
            asked_monotonic_ns=self.clock.monotonic_ns(),
            answered_wall_ns=self.clock.wall_ns(),
        )

    async def close(self) -> None:
        self.is_closed = True


class Scene:
    def __init__(self, *, has_venue: bool = True) -> None:
        self.clock = ManualClock()
        self.venue = Venue(self.clock)
        self.status = Status()
        self.metrics = WatchdogMetrics(
            registry=CollectorRegistry(),
            status=self.status,
            keeper=keeper_of(clock=self.clock),
            auditor=AuditWorld(clock=self.clock).auditor,
            clock=self.clock,
        )
        self.second = SecondPrices(
            venue=self.venue if has_venue else None, status=self.status, metrics=self.metrics, clock=self.clock
        )

    def prices(self) -> dict[str, SecondPrice]:
        return {price.coin: price for price in self.second.for_lease(signed_at_ms=SIGNED_MS)}

    def finding(self, coin: str) -> QuoteFinding:
        return self.status.second_coins[coin].finding


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(second_prices_module, "READ_EVERY_S", 0.01)
    monkeypatch.setattr(second_prices_module, "ROUND_TIMEOUT_S", 0.05)
    return Scene()


@contextlib.asynccontextmanager
async def reading(scene: Scene) -> AsyncIterator[None]:
    task = asyncio.create_task(scene.second.keep_reading())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_nothing_is_asked_before_the_gateway_named_its_coins(scene: Scene, until: Until) -> None:
    async with reading(scene):
        await asyncio.sleep(0)
        assert scene.venue.asked == []
        scene.venue.answers["BTC"] = "100"
        scene.second.want(["BTC"])
        await until(lambda: bool(scene.prices()))
    assert scene.prices() == {"BTC": SecondPrice(coin="BTC", price="100", seen_at_ms=SIGNED_MS)}
    assert scene.second.venue_name == "okx"


async def test_prices_carry_their_age_and_are_left_out_when_old(scene: Scene, until: Until) -> None:
    scene.venue.answers["BTC"] = "100"
    scene.second.want(["BTC"])
    async with reading(scene):
        await until(lambda: bool(scene.prices()))
    scene.clock.advance(4 * NS_PER_S + 1)
    assert scene.prices()["BTC"].seen_at_ms == SIGNED_MS - 4001  # older, never younger
    scene.clock.advance((PRICE_AGE_MAX_S - 4) * NS_PER_S - 1)
    assert scene.prices()["BTC"].seen_at_ms == SIGNED_MS - PRICE_AGE_MAX_S * 1000
    scene.clock.advance(1)
    assert scene.prices() == {}


async def test_silence_lets_the_last_price_age(scene: Scene, until: Until) -> None:
    scene.venue.answers["BTC"] = "100"
    scene.second.want(["BTC"])
    async with reading(scene):
        await until(lambda: bool(scene.prices()))
        scene.venue.answers["BTC"] = QuoteFinding.UNAVAILABLE
        await until(lambda: scene.finding("BTC") is QuoteFinding.UNAVAILABLE)
        scene.clock.advance(NS_PER_S)
        assert scene.prices()["BTC"].seen_at_ms == SIGNED_MS - 1000


@pytest.mark.parametrize(
    "finding",
    sorted(set(QuoteFinding) - {QuoteFinding.GOOD, QuoteFinding.UNAVAILABLE, QuoteFinding.NEVER_ASKED}, key=str),
)
async def test_nonsense_takes_the_last_price_away(scene: Scene, until: Until, finding: QuoteFinding) -> None:
    scene.venue.answers |= {"BTC": "100", "ETH": "10"}
    scene.second.want(["BTC", "ETH"])
    async with reading(scene):
        await until(lambda: len(scene.prices()) == 2)
        scene.venue.answers["BTC"] = finding
        await until(lambda: scene.finding("BTC") is finding)
        assert set(scene.prices()) == {"ETH"}
        scene.venue.answers["BTC"] = "101"
        await until(lambda: len(scene.prices()) == 2)


async def test_coin_that_hangs_holds_up_no_other(scene: Scene, until: Until) -> None:
    scene.venue.answers["ETH"] = "10"
    scene.second.want(["BTC", "ETH"])
    async with reading(scene):
        await until(lambda: scene.finding("BTC") is QuoteFinding.UNAVAILABLE)
        await until(lambda: set(scene.prices()) == {"ETH"})


async def test_coins_that_are_no_longer_wanted_are_forgotten(scene: Scene, until: Until) -> None:
    scene.venue.answers |= {"BTC": "100", "ETH": "10"}
    scene.second.want(["BTC", "ETH"])
    async with reading(scene):
        await until(lambda: len(scene.prices()) == 2)
        scene.second.want(["ETH"])
        assert set(scene.prices()) == {"ETH"}
        asked = len(scene.venue.asked)
        await until(lambda: len(scene.venue.asked) > asked + 4)
        assert set(scene.venue.asked[asked + 1 :]) == {"ETH"}
    assert set(scene.prices()) == {"ETH"}


def test_coins_are_as_many_as_a_lease_holds(scene: Scene) -> None:
    scene.second.want(f"C{index:03}" for index in range(MAX_SECOND_PRICES + 10))
    assert len(scene.status.second_coins) == MAX_SECOND_PRICES


async def test_without_a_venue_there_is_nothing_to_read(scene: Scene) -> None:
    alone = Scene(has_venue=False)
    alone.second.want(["BTC"])
    async with asyncio.timeout(60):
        await alone.second.keep_reading()
    assert alone.prices() == {}
    assert alone.second.venue_name == "none"
    assert alone.status.second_coins == {}
    await alone.second.close()


async def test_changes_are_logged_once(scene: Scene, until: Until, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene.venue.answers["BTC"] = QuoteFinding.CROSSED
    scene.second.want(["BTC"])
    async with reading(scene):
        await until(lambda: len(scene.venue.asked) > 5)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["second price of BTC at okx: crossed"]


async def test_venue_is_closed(scene: Scene) -> None:
    await scene.second.close()
    assert scene.venue.is_closed


async def test_coins_that_the_account_holds_are_read_too_and_not_sent(scene: Scene, until: Until) -> None:
    scene.venue.answers |= {"BTC": "100", "ETH": "10"}
    scene.second.want(["BTC"])
    scene.second.hold(["ETH", "BTC"])
    async with reading(scene):
        await until(lambda: len(scene.second.fresh()) == 2)
    assert scene.second.fresh() == {"BTC": Decimal(100), "ETH": Decimal(10)}
    assert list(scene.prices()) == ["BTC"]
    scene.second.want([])
    scene.second.hold(["ETH"])
    assert list(scene.status.second_coins) == ["ETH"]
    scene.clock.advance(second_prices_module.PRICE_AGE_MAX_S * 1_000_000_000)
    assert list(scene.second.fresh()) == ["ETH"]
    scene.clock.advance(1)
    assert scene.second.fresh() == {}


async def test_the_gateway_s_coins_come_before_those_that_are_held(scene: Scene) -> None:
    scene.second.want([f"B{number}" for number in range(second_prices_module.MAX_SECOND_PRICES)])
    scene.second.hold(["A"])
    assert "A" not in scene.status.second_coins


async def test_without_a_venue_no_price_is_fresh() -> None:
    scene = Scene(has_venue=False)
    scene.second.hold(["BTC"])
    assert scene.second.fresh() == {}
    assert scene.status.second_coins == {}
