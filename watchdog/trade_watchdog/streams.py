"""What the exchange's streams set in motion: a look at once, and nothing else but a freeze.

Guarantees
- A stream never loosens and is never believed for more than a reason to look: every sample and every order that is
  judged is read from the exchange's lists. Readings go on at their own pace, so that a stream that is silent, repeats
  itself, is out of order or leaves something out costs nothing but time.
- A price that takes the account past a rung, with no reading since for ALONE_S, freezes new risk until one comes.
- What a frame says that cannot be read is a reason to look.
- Each stream is followed again after it ended, at most once in RETRY_FIRST_S, later RETRY_LAST_S.

| told | then |
|---|---|
| a wallet, a position | the equity is read at once |
| a price that takes the account to a rung, or next to one | the equity is read at once |
| an order without a tag of ours, an execution without one or of the exchange's engine | the orders are read at once |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ExchangeAnswerInvalid, InvalidNumber, TradeError
from trade_core.money import parse_exchange_decimal
from trade_watchdog.audit.listing import seen_order
from trade_watchdog.audit.provenance import EXCHANGES_EXECUTION_TYPES
from trade_watchdog.audit.sightings import SeenOrder
from trade_watchdog.ceiling import Ceiling, EquitySample, Verdict
from trade_watchdog.ladder import Ladder
from trade_watchdog.status import StreamState
from trade_watchdog.stream_estimate import NEAR, Anchor, Told, estimated_price, rung_reached, symbols_of

ALONE_S: Final = 0.5
RETRY_FIRST_S: Final = 1.0
RETRY_LAST_S: Final = 30.0
LIVED_S: Final = 60
"""A stream that has lived so long ended for a reason of its own: the next attempt is soon again."""
SYMBOLS_MAX: Final = 50
TICKERS: Final = "tickers."

_log = logging.getLogger(__name__)

Deliver = Callable[[str, Mapping[str, Any]], None]


class Stream(Protocol):
    """The streams of one account. Each call returns only when its stream has ended, or raises TradeError."""

    async def follow_account(self, deliver: Deliver) -> None:
        """Hand each entry of wallet, position, order and execution to `deliver`, with its topic."""
        ...

    async def follow_prices(self, symbols: frozenset[str], deliver: Deliver) -> None:
        """Hand each entry of the linear contracts' tickers to `deliver`."""
        ...


class OrderEye(Protocol):
    """What the audit is to the streams."""

    def is_strange(self, order: SeenOrder) -> bool:
        """Say whether an order carries no tag of ours."""
        ...

    def look_soon(self) -> None:
        """Bring the next look forward."""
        ...

    def sizes(self) -> Mapping[str, Decimal]:
        """Give the linear positions as last read, signed, by symbol."""
        ...


@dataclass(slots=True, kw_only=True)
class Streams:
    """Follows the streams of one account."""

    stream: Stream
    ladder: Ladder
    orders: OrderEye
    clock: Clock
    sample_soon: Callable[[], None]
    account: StreamState
    prices: StreamState
    on_change: Callable[[], object] = lambda: None
    _told: dict[str, Told] = field(default_factory=dict)
    _anchor: Anchor | None = None
    _symbols: frozenset[str] = frozenset()
    _has_symbols: asyncio.Event = field(default_factory=asyncio.Event)
    _following: asyncio.Task[None] | None = None
    _breached_at_ns: int | None = None
    _breached: str = ""
    _alone: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._again("account", self.account, self._follow_account))
            tasks.create_task(self._again("prices", self.prices, self._follow_prices))
            tasks.create_task(self._freeze_alone())

    def verdict(self) -> Verdict:
        """Freeze while a fall past a rung is told and no reading has answered; else say nothing."""
        since_ns = self._breached_at_ns
        if since_ns is not None and self.clock.monotonic_ns() - since_ns >= ALONE_S * NS_PER_S:
            reason = f"the streams tell of a fall past the {self._breached} rung and no reading has answered"
            return Verdict(ceiling=Ceiling.REDUCE_ONLY, reason=reason)
        return Verdict(ceiling=Ceiling.ACTIVE, reason="")

    def take(self, sample: EquitySample, *, unit_price: Decimal) -> None:
        """Take in a reading that was believed: prices are measured from it from now on."""
        amounts = {coin.coin: coin.equity for coin in sample.coins}
        self._anchor = Anchor(
            equity_usdt=sample.equity_usdt, unit_price=unit_price, amounts=amounts, told=dict(self._told)
        )
        if self._breached_at_ns is not None and sample.received_monotonic_ns > self._breached_at_ns:
            self._breached_at_ns = None
        held = (coin for coin, amount in amounts.items() if amount)
        wanted = symbols_of(held, self.orders.sizes())
        if not wanted <= self._symbols:
            self._symbols = frozenset(sorted(self._symbols | wanted)[:SYMBOLS_MAX])
            self._has_symbols.set()
            if self._following is not None:
                self._following.cancel()

    def deliver(self, topic: str, entry: Mapping[str, Any]) -> None:
        """Take in one entry of a frame. Never raises for what it says."""
        state = self.prices if topic.startswith(TICKERS) else self.account
        state.frames += 1
        state.last_frame_ns = self.clock.monotonic_ns()
        if topic.startswith(TICKERS):
            self._price(topic.removeprefix(TICKERS), entry)
        elif topic == "order":
            self._order(entry)
        elif topic == "execution":
            self._execution(entry)
        else:
            self.sample_soon()

    def _order(self, entry: Mapping[str, Any]) -> None:
        try:
            is_strange = self.orders.is_strange(seen_order(entry, category=str(entry.get("category"))))
        except ExchangeAnswerInvalid:
            is_strange = True
        if is_strange:
            self.orders.look_soon()

    def _execution(self, entry: Mapping[str, Any]) -> None:
        if not entry.get("orderLinkId") or entry.get("execType") in EXCHANGES_EXECUTION_TYPES:
            self.orders.look_soon()

    def _price(self, symbol: str, entry: Mapping[str, Any]) -> None:
        if symbol not in self._symbols:
            return
        known = self._told.get(symbol, Told())
        try:
            told = Told(
                mark=_price(entry, "markPrice", known.mark),
                index=_price(entry, "indexPrice", known.index),
            )
        except InvalidNumber:
            self.sample_soon()
            return
        self._told[symbol] = told
        if self._anchor is None or told == known:
            return
        estimate = estimated_price(self._anchor, sizes=self.orders.sizes(), told=self._told)
        readings = self.ladder.readings()
        if not rung_reached(estimate, readings, margin=NEAR):
            return
        self.sample_soon()
        reached = rung_reached(estimate, readings)
        if reached and self._breached_at_ns is None:
            self._breached_at_ns, self._breached = self.clock.monotonic_ns(), reached
            self._alone.set()

    async def _freeze_alone(self) -> None:
        """Have the verdict renewed when a fall that is told has waited for a reading too long."""
        while True:
            await self._alone.wait()
            self._alone.clear()
            await asyncio.sleep(ALONE_S)
            if self._breached_at_ns is not None:
                _log.warning("%s", self.verdict().reason or "a fall past a rung is told, and waits for a reading")
                self.on_change()

    async def _follow_account(self) -> None:
        await self.stream.follow_account(self.deliver)

    async def _follow_prices(self) -> None:
        await self._has_symbols.wait()
        following = asyncio.ensure_future(self.stream.follow_prices(self._symbols, self.deliver))
        self._following = following
        try:
            await asyncio.wait([following])
        finally:
            self._following = None
            following.cancel()
        if not following.cancelled():
            following.result()

    async def _again(self, name: str, state: StreamState, follow: Callable[[], Awaitable[None]]) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            began_ns = self.clock.monotonic_ns()
            try:
                await follow()
                detail = "it ended"
            except TradeError as error:
                detail = str(error)
            if detail != state.detail:
                _log.warning("the stream of the %s: %s", name, detail)
            state.detail = detail
            if self.clock.monotonic_ns() - began_ns > LIVED_S * NS_PER_S:
                pause_s = RETRY_FIRST_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_LAST_S)


def _price(entry: Mapping[str, Any], name: str, known: Decimal | None) -> Decimal | None:
    """Read a price; what a frame leaves out is unchanged. Raises InvalidNumber for what is no price."""
    value = entry.get(name)
    if value is None or value == "":
        return known
    price = parse_exchange_decimal(value)
    if price <= 0:
        raise InvalidNumber(f"{name} is not above zero")
    return price
