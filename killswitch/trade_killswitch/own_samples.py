"""The executor's own samples of the account: equity and flows, read with the exit key, kept over restarts.

Guarantees
- A sample counts when the equity and every flow up to its moment were read, and else not at all.
- The log is read again over the last ten minutes each time, and each of its rows counts once: a row that the exchange
  shows late is not missed.
- However long nobody sampled, it is caught up with, in spans that the exchange takes and a bounded number at a time.
- The highest point begins anew by a release that two persons signed, at a sample taken then, and by each release once.
- Whether the samples can confirm anything is said in words; samples that fail for minutes are not ready, and a person
  is called.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from trade_core.clock import NS_PER_MS, NS_PER_S, Clock
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable, InvalidNumber
from trade_core.money import parse_exchange_decimal
from trade_core.secrets import read_secret_file, write_secret_file
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.own_book import KEPT_MS, OwnBook, OwnFlow, book_of, rebased, sampled

SAMPLES_FILE: Final = "samples.json"
SAMPLE_EVERY_S: Final = 60.0
SETTLE_EVERY_S: Final = 1.0
SAMPLE_PATIENCE_S: Final = 30.0
STALE_S: Final = 300.0
"""Five samples: an outage that the exchange is forgiven."""
TELL_EVERY_S: Final = 24 * 3600.0
OVERLAP_MS: Final = KEPT_MS
SPAN_MS: Final = 6 * 24 * 3600 * 1000
"""The exchange takes seven days at most."""
SPANS_AT_ONCE: Final = 8
RELEASES_KEPT: Final = 64
"""A release counts for a day, and each takes two persons."""
READY: Final = "ready"
UNREADABLE_SUBJECT: Final = "own_samples:unreadable"
LOST_SUBJECT: Final = "own_samples:lost"
_FLOWS: Final = ("TRANSFER_IN", "TRANSFER_OUT", "DEPOSIT", "WITHDRAW")
log = logging.getLogger(__name__)


class BehindError(ExchangeUnavailable):
    """The log is not read up to now yet; asking again goes on."""


@dataclass(slots=True, kw_only=True)
class OwnSamples:
    """What the executor saw of one account."""

    exchange: ExitExchange
    clock: Clock
    state_dir: Path
    tell: Callable[[str, str], None]
    book: OwnBook | None = None
    _rebased_by: list[str] = field(default_factory=list)
    _read_to_ms: int = 0
    _seen: dict[str, int] = field(default_factory=dict)
    _due: list[OwnFlow] = field(default_factory=list)
    _good_at_ns: int = 0
    _has_sampled: bool = False
    _trouble: str = "not sampled since the start"
    _told_at_ns: int | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def load(self) -> None:
        """Read what was kept; a person is told of what cannot be, and the executor works without it."""
        self._good_at_ns = self.clock.monotonic_ns()
        file = self.state_dir / SAMPLES_FILE
        if not file.exists():
            return
        try:
            kept = read_secret_file(file)
        except ConfigurationError as error:
            self.tell(LOST_SUBJECT, f"{error}; the highest point of our own samples begins anew")
            return
        self.book = book_of(kept)
        rebased_by = kept.get("rebased_by")
        self._rebased_by = [str(one) for one in rebased_by] if isinstance(rebased_by, list) else []
        read_to_ms, seen = kept.get("read_to_ms"), kept.get("seen")
        if (
            type(read_to_ms) is int
            and isinstance(seen, dict)
            and all(type(at) is int for at in seen.values())
            and (self.book is not None or "samples" not in kept)
        ):
            self._read_to_ms, self._seen = read_to_ms, dict(seen)
            return
        self.book = None
        self.tell(LOST_SUBJECT, f"{file}: not what we keep of our own samples; the highest point begins anew")

    @property
    def words(self) -> str:
        """Say whether the samples can confirm a drawdown: READY, or why not."""
        silent_s = (self.clock.monotonic_ns() - self._good_at_ns) / NS_PER_S
        if silent_s >= STALE_S:
            return f"not ready: our own equity was not read for {silent_s / 60:.0f} minutes: {self._trouble}"
        if not self._has_sampled:
            return f"not ready: {self._trouble}"
        if self.book is None:
            return "not ready: the account shows no equity to measure from"
        return READY if self.drawdown is not None else "not ready: it takes three samples to know a highest point"

    @property
    def drawdown(self) -> Decimal | None:
        """Return the newest sample's fraction below the highest point; None when it is not known."""
        return None if self.book is None else self.book.drawdown

    @property
    def pause_s(self) -> float:
        """Return how long to wait before the next sample."""
        is_settling = self.book is not None and self.book.drawdown is None
        return SETTLE_EVERY_S if is_settling or not self._has_sampled else SAMPLE_EVERY_S

    async def try_sample(self) -> None:
        """Sample once; what fails is remembered, and told when it has failed for minutes."""
        try:
            async with asyncio.timeout(SAMPLE_PATIENCE_S):
                await self.sample()
        except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
            self._trouble = str(error)
        except TimeoutError:
            self._trouble = f"no answer within {SAMPLE_PATIENCE_S:g} s"
        self._complain()

    async def sample(self) -> None:
        """Read equity and flows once. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        async with self._turn:
            now_ms = self.clock.wall_ns() // NS_PER_MS
            answer = await self.exchange.calls.get("/v5/account/wallet-balance", "accountType=UNIFIED")
            wallet = _wallet(answer.result)
            equity = _number(wallet, "totalEquity")
            await self._read_log(wallet, to_ms=now_ms)
            self.book = sampled(self.book, equity=equity, at_ms=now_ms, flows=self._due)
            self._due = []
            self._good_at_ns, self._has_sampled, self._told_at_ns = self.clock.monotonic_ns(), True, None
            self._keep()

    async def rebase(self, release_id: str) -> Decimal | None:
        """Sample, and make that the highest point; gives the drawdown before. None for a release that did it before.

        Raises ExchangeUnavailable, ExchangeAnswerInvalid, with nothing changed: it can be asked for again.
        """
        if release_id in self._rebased_by:
            return None
        await self.sample()
        if self.book is None:
            raise ExchangeUnavailable("the account shows no equity to measure from")
        before = self.book.drawdown or Decimal(0)
        self.book = rebased(self.book)
        self._rebased_by = [*self._rebased_by, release_id][-RELEASES_KEPT:]
        self._keep()
        return before

    async def _read_log(self, wallet: dict[str, Any], *, to_ms: int) -> None:
        start_ms = min(self._read_to_ms or to_ms, to_ms) - OVERLAP_MS
        for _ in range(SPANS_AT_ONCE):
            end_ms = min(start_ms + SPAN_MS, to_ms)
            rows: list[Any] = []
            for kind in _FLOWS:
                query = f"accountType=UNIFIED&type={kind}&limit=50&startTime={start_ms}&endTime={end_ms}"
                rows += await self.exchange.calls.pages("/v5/account/transaction-log", query)
            self._take(rows, wallet)
            self._read_to_ms = start_ms = end_ms
            # No row older than that is read again.
            self._seen = {one: at for one, at in self._seen.items() if at >= end_ms - 2 * OVERLAP_MS}
            if end_ms == to_ms:
                return
        raise BehindError(f"the log of transfers is read up to {self._read_to_ms} ms, and is being caught up with")

    def _take(self, rows: list[Any], wallet: dict[str, Any]) -> None:
        read = [_read(row, wallet) for row in rows]  # all of them, or none counts
        for row_id, flow in read:
            if row_id not in self._seen:
                self._seen[row_id] = flow.at_ms
                self._due.append(flow)

    def _keep(self) -> None:
        kept = {} if self.book is None else self.book.content()
        try:
            content = {
                **kept,
                "read_to_ms": self._read_to_ms,
                "seen": self._seen,
                "rebased_by": self._rebased_by,
            }
            write_secret_file(self.state_dir / SAMPLES_FILE, content)
        except OSError as error:
            log.error("the file of our own samples cannot be written: %s", error.strerror)

    def _complain(self) -> None:
        """Call a person once a day while the account cannot be sampled."""
        now_ns = self.clock.monotonic_ns()
        if now_ns - self._good_at_ns < STALE_S * NS_PER_S:
            return
        if self._told_at_ns is None or now_ns - self._told_at_ns >= TELL_EVERY_S * NS_PER_S:
            self._told_at_ns = now_ns
            self.tell(UNREADABLE_SUBJECT, f"{self.words}; no drawdown can be confirmed, so an automatic kill may fail")


def _wallet(result: dict[str, Any]) -> dict[str, Any]:
    wallets = result.get("list")
    if not isinstance(wallets, list) or len(wallets) != 1 or not isinstance(wallets[0], dict):
        raise ExchangeAnswerInvalid("the wallet is not one")
    return wallets[0]


def _read(row: object, wallet: dict[str, Any]) -> tuple[str, OwnFlow]:
    """Read a row of the log, worth what the exchange says now of its coin. Raises ExchangeAnswerInvalid."""
    if not isinstance(row, dict):
        raise ExchangeAnswerInvalid("the log holds something else")
    row_id, time = row.get("id"), row.get("transactionTime")
    if not isinstance(row_id, str) or not row_id or not isinstance(time, str) or not time.isdecimal():
        raise ExchangeAnswerInvalid("a row of the log has no id or no time")
    return row_id, OwnFlow(at_ms=int(time), worth=_worth(row, wallet))


def _worth(row: dict[str, Any], wallet: dict[str, Any]) -> Decimal:
    change = _number(row, "change")
    for coin in wallet.get("coin") or []:
        if isinstance(coin, dict) and coin.get("coin") == row.get("currency"):
            amount = _number(coin, "equity")
            return change * _number(coin, "usdValue") / amount if amount else change
    return change


def _number(row: dict[str, Any], key: str) -> Decimal:
    try:
        return parse_exchange_decimal(row.get(key))
    except InvalidNumber:
        raise ExchangeAnswerInvalid(f"a row has no number in {key}") from None
