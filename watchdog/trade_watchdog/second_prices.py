"""The second venue's prices: read in a loop of their own, and handed to the lease as they stand.

Guarantees
- A lease never waits for the venue: it takes what was last read, with its age.
- What a venue says nonsensically is no price, and what it said before does not outlive that. Its silence lets the last
  price age; beyond PRICE_AGE_MAX_S it is left out.
- Coins, requests and time a round are bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, Protocol

from trade_core.clock import NS_PER_MS, NS_PER_S, Clock
from trade_core.money import format_decimal
from trade_core.trust.lease import MAX_SECOND_PRICES, NO_VENUE, SecondPrice
from trade_watchdog.metrics import WatchdogMetrics
from trade_watchdog.quotes import Quote, QuoteFinding, SeenPrice, examine_quote
from trade_watchdog.status import SecondCoin, Status

READ_EVERY_S: Final = 3.0
ROUND_TIMEOUT_S: Final = 8.0
"""Fifty coins at the pace of the slowest venue take 6 s; what is not answered by then is asked anew."""
PRICE_AGE_MAX_S: Final = 30
"""The gateway takes no older one; see its `references`."""
_UNTOLD = frozenset({QuoteFinding.NEVER_ASKED, QuoteFinding.UNAVAILABLE})

_log = logging.getLogger(__name__)


class Venue(Protocol):
    """What is needed of a venue."""

    name: str

    async def quote(self, coin: str) -> Quote | QuoteFinding:
        """Ask for the best bid and ask of a coin."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class SecondPrices:
    """Reads the coins that the gateway names at one venue; without a venue it has no prices and says so."""

    def __init__(self, *, venue: Venue | None, status: Status, metrics: WatchdogMetrics, clock: Clock) -> None:
        self._venue = venue
        self._status = status
        self._metrics = metrics
        self._clock = clock
        self._changed = asyncio.Event()
        self._for_gateway: frozenset[str] = frozenset()
        self._held: frozenset[str] = frozenset()
        status.second_venue = NO_VENUE if venue is None else venue.name

    @property
    def venue_name(self) -> str:
        """The name that leases carry."""
        return self._status.second_venue

    def want(self, coins: Iterable[str]) -> None:
        """Follow these coins for the gateway from now on; beyond the bound of a lease the rest is left out."""
        self._for_gateway = frozenset(sorted(set(coins))[:MAX_SECOND_PRICES])
        self._follow()

    def hold(self, coins: Iterable[str]) -> None:
        """Follow these coins too, since the account holds them; the gateway's come first."""
        self._held = frozenset(coins)
        self._follow()

    def fresh(self) -> Mapping[str, Decimal]:
        """Give every price that still counts, in USDT by coin."""
        now_ns = self._clock.monotonic_ns()
        return {
            coin: known.seen.price
            for coin, known in self._status.second_coins.items()
            if known.seen is not None and now_ns - known.seen.seen_monotonic_ns <= PRICE_AGE_MAX_S * NS_PER_S
        }

    def _follow(self) -> None:
        named = [*sorted(self._for_gateway), *sorted(self._held - self._for_gateway)]
        wanted = sorted(named[:MAX_SECOND_PRICES]) if self._venue is not None else []
        held = self._status.second_coins
        if wanted == list(held):
            return
        self._status.second_coins = {coin: held.get(coin, SecondCoin()) for coin in wanted}
        self._changed.set()

    def for_lease(self, *, signed_at_ms: int) -> tuple[SecondPrice, ...]:
        """The prices that a lease signed now carries, each with the time that it is of."""
        now_ns = self._clock.monotonic_ns()
        prices = []
        for coin, known in self._status.second_coins.items():
            if known.seen is None or coin not in self._for_gateway:
                continue
            age_ns = now_ns - known.seen.seen_monotonic_ns
            if age_ns > PRICE_AGE_MAX_S * NS_PER_S:
                continue
            age_ms = -(-age_ns // NS_PER_MS)
            text = format_decimal(known.seen.price)
            prices.append(SecondPrice(coin=coin, price=text, seen_at_ms=max(0, signed_at_ms - age_ms)))
        return tuple(prices)

    async def keep_reading(self) -> None:
        """Read for ever; returns at once without a venue."""
        venue = self._venue
        while venue is not None:
            began_ns = self._clock.monotonic_ns()
            self._changed.clear()
            await self._read_round(venue)
            rest_s = READ_EVERY_S - (self._clock.monotonic_ns() - began_ns) / NS_PER_S
            await self._wait_for_change(max(0.0, rest_s))

    async def close(self) -> None:
        """Close the connections to the venue."""
        if self._venue is not None:
            await self._venue.close()

    async def _wait_for_change(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _read_round(self, venue: Venue) -> None:
        await asyncio.gather(*(self._read_coin(venue, coin) for coin in tuple(self._status.second_coins)))

    async def _read_coin(self, venue: Venue, coin: str) -> None:
        try:
            async with asyncio.timeout(ROUND_TIMEOUT_S):
                answer = await venue.quote(coin)
        except TimeoutError:
            answer = QuoteFinding.UNAVAILABLE
        self._note(coin, examine_quote(answer) if isinstance(answer, Quote) else answer)

    def _note(self, coin: str, found: SeenPrice | QuoteFinding) -> None:
        finding = found if isinstance(found, QuoteFinding) else QuoteFinding.GOOD
        self._metrics.second_quotes.labels(finding.value).inc()
        before = self._status.second_coins.get(coin)
        if before is None:
            return  # no longer wanted
        if finding is not before.finding:
            level = logging.INFO if finding is QuoteFinding.GOOD else logging.WARNING
            _log.log(level, "second price of %s at %s: %s", coin, self.venue_name, finding.value)
        seen = found if isinstance(found, SeenPrice) else before.seen if finding in _UNTOLD else None
        self._status.second_coins[coin] = SecondCoin(finding=finding, seen=seen)
