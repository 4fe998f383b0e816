"""What goes wrong, drawn from a seed: one trouble at a time or several, each with an end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Final

from simulation.exchange_edge import Wallet
from simulation.house import House
from simulation.wire import Fault, Link

from trade_core.clock import NS_PER_S

FLAKY: Final[tuple[Mapping[Fault, float], ...]] = (
    {Fault.DROP: 0.2, Fault.LOSE: 0.2},
    {Fault.DELAY: 0.3, Fault.DUPLICATE: 0.2},
    {Fault.ERROR: 0.5},
    {Fault.REFUSE: 0.6},
    {fault: 0.08 for fault in Fault if fault is not Fault.NONE},
)
_WILD: Final = (Decimal("0.5"), Decimal("0.9"), Decimal("1.1"), Decimal(2), Decimal(10))
CALM_AGAIN_S: Final = 3.0


class Trouble:
    """The troubles of one house."""

    def __init__(self, house: House, draw: random.Random) -> None:
        self.house, self.draw = house, draw
        self._tasks: set[asyncio.Task[None]] = set()
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "cut gateway-exchange": lambda: self._cut("gateway-exchange", 40.0),
            "cut watchdog-exchange": lambda: self._cut("watchdog-exchange", 40.0),
            "cut watchdog-gateway": lambda: self._cut("watchdog-gateway", 60.0),
            "flaky gateway-exchange": lambda: self._flaky("gateway-exchange"),
            "flaky watchdog-exchange": lambda: self._flaky("watchdog-exchange"),
            "flaky watchdog-gateway": lambda: self._flaky("watchdog-gateway"),
            "private stream down": self._private_down,
            "ticker stream down": self._ticker_down,
            "gateway crash": self._gateway_crash,
            "watchdog crash": self._watchdog_crash,
            "gateway clock leap": self._gateway_leap,
            "watchdog clock leap": self._watchdog_leap,
            "gateway disk full": self._gateway_disk,
            "gateway disk dead": self._gateway_disk_dead,
            "watchdog disk full": self._watchdog_disk,
            "wild wallet": self._wild_wallet,
            "executor down": self._executor_down,
            "machine sleeps": self._sleeps,
        }

    def begin(self, name: str) -> None:
        """Begin a trouble beside the rest."""
        self.house.counts[name] += 1
        self.house.trace.note(f"trouble {name}")
        task = asyncio.create_task(self._last(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _last(self, name: str) -> None:
        calm = self.house.calm
        calm.begin(name)
        try:
            await self.kinds[name]()
            await asyncio.sleep(CALM_AGAIN_S)
        finally:
            calm.end(name)

    async def over(self) -> None:
        """Wait until all that lasts has ended."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def end(self) -> None:
        """End what lasts, at the end of a run."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _for_s(self, most_s: float) -> None:
        await asyncio.sleep(self.draw.uniform(0.5, most_s))

    async def _cut(self, name: str, most_s: float) -> None:
        link = self.house.links[name]
        link.is_cut = True
        self._stream(link, is_up=False)
        await self._for_s(most_s)
        link.is_cut = False
        self._stream(link, is_up=True)

    async def _flaky(self, name: str) -> None:
        link = self.house.links[name]
        link.rates = dict(self.draw.choice(FLAKY))
        await self._for_s(45.0)
        link.rates = {}

    def _stream(self, link: Link, *, is_up: bool) -> None:
        if link is self.house.links["gateway-exchange"]:
            self._private(is_up=is_up)
            self.house.venue.network.is_ticker_down = not is_up

    def _private(self, *, is_up: bool) -> None:
        network, running = self.house.venue.network, self.house.gateway.running
        if network.is_private_down != is_up:
            return
        network.is_private_down = not is_up
        if running is None:
            return
        if is_up:
            running.parts.keeper.stream_up()
        else:
            running.parts.keeper.stream_down("cut")

    async def _private_down(self) -> None:
        self._private(is_up=False)
        await self._for_s(30.0)
        self._private(is_up=True)

    async def _ticker_down(self) -> None:
        self.house.venue.network.is_ticker_down = True
        await self._for_s(30.0)
        self.house.venue.network.is_ticker_down = False

    async def _gateway_crash(self) -> None:
        if self.house.gateway.running is None:
            return
        await self.house.gateway.crash(survive=self.draw.choice((0, 0, 1, 5)))
        await self._for_s(self.draw.choice((2.0, 40.0)))
        if self.house.gateway.running is None:
            await self.house.gateway.start()

    async def _watchdog_crash(self) -> None:
        if not self.house.watchdog.is_up:
            return
        await self.house.watchdog.crash(survive=self.draw.choice((0, 0, 1, 5)))
        await self._for_s(self.draw.choice((2.0, 60.0)))
        if not self.house.watchdog.is_up:
            self.house.watchdog.start()

    async def _gateway_leap(self) -> None:
        await self._leap(self.house.gateway.clock)

    async def _watchdog_leap(self) -> None:
        await self._leap(self.house.watchdog.clock)

    async def _leap(self, clock: object) -> None:
        # A clock stays untrusted until the latest time that it ever showed: no further ahead than people wait here.
        by_s = self.draw.choice((-86_400, -600, -20, -3, 2, 8, 45))
        clock.offset_ns += by_s * NS_PER_S  # type: ignore[attr-defined]
        await self._for_s(40.0)
        clock.offset_ns = 0  # type: ignore[attr-defined]

    async def _gateway_disk(self) -> None:
        self.house.gateway.disk.is_full = True
        await self._for_s(30.0)
        self.house.gateway.disk.is_full = False

    async def _gateway_disk_dead(self) -> None:
        disk = self.house.gateway.disk
        disk.is_full = disk.is_dead = True
        await self._for_s(30.0)
        disk.is_full = disk.is_dead = False

    async def _watchdog_disk(self) -> None:
        self.house.watchdog.disk.is_full = self.house.watchdog.copy.is_full = True
        await self._for_s(30.0)
        self.house.watchdog.disk.is_full = self.house.watchdog.copy.is_full = False

    async def _wild_wallet(self) -> None:
        kind = self.draw.choice([one for one in Wallet if one is not Wallet.TRUE])
        count = self.draw.randint(1, 2) if kind is Wallet.WILD_PRICE else self.draw.randint(1, 6)
        factor = self.draw.choice(_WILD)
        self.house.venue.wallet_faults.extend([(kind, factor)] * count)
        self.house.counts[f"wallet {kind.value}"] += count
        await asyncio.sleep(10.0)
        self.house.venue.wallet_faults.clear()

    async def _executor_down(self) -> None:
        self.house.watchdog.is_executor_up = self.house.watchdog.is_bot_up = False
        await self._for_s(30.0)
        self.house.watchdog.is_executor_up = self.house.watchdog.is_bot_up = True

    async def _sleeps(self) -> None:
        self.house.skip(self.draw.choice((1.5, 14.0, 31.0, 600.0, 4 * 3600.0)))
        for coin in ("BTC", "ETH", "XRP"):
            self.house.referee.price_moved(coin)
        await asyncio.sleep(0.5)
