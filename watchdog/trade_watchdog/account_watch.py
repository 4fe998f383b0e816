"""Looks at the account: reads it, and makes a unit price of what was read, or says why it cannot be believed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trade_core.clock import NS_PER_MS, Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_watchdog.ceiling import EquitySample, Finding, examine
from trade_watchdog.coin_prices import Dispute, find_dispute
from trade_watchdog.equity import Book, Flow, LogEntry, needs_log, open_book, step, unpriced_coins
from trade_watchdog.exchange import KeyRefusedByExchange, OtherEnvironment, WatchedExchange

LOG_AHEAD_MS: Final = 60_000
"""The exchange may have booked more by the time that its log is asked for."""
OPENINGS_MAX: Final = 5
PRICES_ASKED_MAX: Final = 10
QUOTE: Final = "USDT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found. `sample` and `book` are new only when the finding is GOOD.

    `absorbed_usdt` is an unexplained step that counts from now on; zero nearly always.
    """

    finding: Finding
    detail: str = ""
    sample: EquitySample | None = None
    book: Book | None = None
    flows: tuple[Flow, ...] = ()
    absorbed_usdt: Decimal = Decimal(0)


class AccountWatch:
    """One account in units. `book` is what a start goes on with, None before the first reading ever."""

    def __init__(
        self,
        *,
        exchange: WatchedExchange,
        clock: Clock,
        book: Book | None = None,
        second: Callable[[], Mapping[str, Decimal]] = dict,
    ) -> None:
        """Prepare; nothing is read yet. `second` gives what another venue says that coins are worth at this moment."""
        self._second = second
        self._exchange = exchange
        self._clock = clock
        self.book = book
        self._previous: EquitySample | None = None
        self.clock_offset_ms: int | None = None
        """How far the exchange's clock is ahead of ours, by the last answer; it holds the answer's way as well."""

    async def look(self) -> Look:
        """Read once. Never raises for what the exchange does."""
        try:
            return await self._look()
        except ExchangeUnavailable as error:
            return Look(finding=Finding.UNAVAILABLE, detail=str(error))
        except (ExchangeAnswerInvalid, KeyRefusedByExchange) as error:
            return Look(finding=Finding.UNREADABLE, detail=str(error))
        except OtherEnvironment as error:
            return Look(finding=Finding.NOT_SIMULATED, detail=str(error))

    async def _look(self) -> Look:
        sample = await self._exchange.equity()
        self.clock_offset_ms = sample.exchange_time_ms - sample.received_wall_ns // NS_PER_MS
        finding = examine(sample, previous=self._previous)
        if finding is not Finding.GOOD:
            return Look(finding=finding)
        self._previous = sample
        # Before the book takes anything: what moved meanwhile is booked when the venues agree again.
        dispute = find_dispute(sample, self._second())
        if dispute is not None:
            return Look(finding=Finding.DISPUTED, detail=_words(dispute))
        if self.book is None:
            return await self._open()
        return await self._step(self.book, sample)

    async def _open(self) -> Look:
        """Begin the book with a reading that no entry of the log came in between of."""
        before = await self._exchange.newest_mark()
        for _ in range(OPENINGS_MAX):
            sample = await self._exchange.equity()
            after = await self._exchange.newest_mark()
            finding = examine(sample, previous=None)
            if finding is not Finding.GOOD:
                return Look(finding=finding)
            if after.entry_id == before.entry_id:
                self.book = open_book(sample, mark=before)
                return Look(finding=Finding.GOOD, sample=sample, book=self.book)
            before = after
        return Look(finding=Finding.UNEXPLAINED, detail="the account changes too fast to begin with")

    async def _step(self, book: Book, sample: EquitySample) -> Look:
        entries: list[LogEntry] = []
        if needs_log(book, sample):
            until_ms = max(sample.exchange_time_ms, book.mark.at_ms) + LOG_AHEAD_MS
            entries = await self._exchange.log_since(book.mark.at_ms, until_ms=until_ms)
        asked = await self._asked_prices(unpriced_coins(book, sample, entries))
        made = step(book, sample, entries, now_ns=self._clock.monotonic_ns(), asked_prices=asked)
        self.book = made.book
        if made.finding is not Finding.GOOD:
            return Look(finding=made.finding, detail=f"{made.unexplained_usdt:f} USDT unexplained")
        return Look(
            finding=Finding.GOOD,
            sample=sample,
            book=made.book,
            flows=made.flows,
            absorbed_usdt=made.unexplained_usdt,
        )

    async def _asked_prices(self, coins: frozenset[str]) -> Mapping[str, Decimal]:
        """Ask what coins are worth of which none is left; what has no index counts as it was last known."""
        found: dict[str, Decimal] = {}
        for coin in sorted(coins - {QUOTE})[:PRICES_ASKED_MAX]:
            with contextlib.suppress(ExchangeAnswerInvalid):
                found[coin] = await self._exchange.index_price(coin)
        return found


def _words(dispute: Dispute) -> str:
    return f"{dispute.coin} is worth {dispute.price:.8g} USDT, and {dispute.second_price:.8g} at the second venue"
