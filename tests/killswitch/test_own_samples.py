"""Reading the account for our own samples: which rows count, over which time, and what is said when it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from http_double import Asked, envelope, http_double
from killswitch.kill_scene import client_of

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock, SystemClock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import Secret
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.own_samples import (
    LOST_SUBJECT,
    READY,
    RELEASES_KEPT,
    SAMPLE_EVERY_S,
    SAMPLES_FILE,
    SETTLE_EVERY_S,
    SPANS_AT_ONCE,
    STALE_S,
    UNREADABLE_SUBJECT,
    OwnSamples,
)

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


@dataclass
class World:
    """An exchange that keeps a log, and refuses spans of more than seven days as the real one does."""

    folder: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(wall_ns=START_MS * NS_PER_MS))
    equity: str = "1000"
    flows: list[dict[str, Any]] = field(default_factory=list)
    is_up: bool = True
    refused: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def now_ms(self) -> int:
        return self.clock.wall_ns() // NS_PER_MS

    def answer(self, asked: Asked) -> bytes | None:
        if not self.is_up:
            return None
        if asked.path == "/v5/account/wallet-balance":
            coins = [{"coin": "USDT", "equity": self.equity, "usdValue": self.equity}]
            coins.append({"coin": "BTC", "equity": "2", "usdValue": "100"})
            return envelope({"list": [{"totalEquity": self.equity, "coin": coins}]})
        start, end = int(asked.parameter("startTime") or 0), int(asked.parameter("endTime") or 0)
        if not 0 <= end - start <= 7 * DAY_MS:
            self.refused += 1
            return envelope({}, ret_code=10001)
        self.spans.append((start, end))
        kind = asked.parameter("type")
        rows = [
            {**one, "transactionTime": str(one["transactionTime"])}
            for one in self.flows
            if one["type"] == kind and start <= one["transactionTime"] <= end
        ]
        return envelope({"list": rows, "nextPageCursor": ""})

    def flow(self, change: str, *, row_id: str, ago_ms: int = 1000, currency: str = "USDT") -> None:
        row = {"id": row_id, "type": "TRANSFER_IN" if Decimal(change) > 0 else "WITHDRAW", "change": change}
        self.flows.append({**row, "currency": currency, "transactionTime": self.now_ms - ago_ms})

    @asynccontextmanager
    async def samples(self) -> AsyncIterator[OwnSamples]:
        async with http_double(self.answer) as double:
            exchange = ExitExchange(
                client=client_of(double.url, Secret("exit"), Secret("s")),
                requests_per_s=10_000,
                metrics=ExecutorMetrics(),
                clock=SystemClock(),
            )
            made = OwnSamples(
                exchange=exchange,
                clock=self.clock,
                state_dir=self.folder,
                tell=lambda subject, _: self.told.append(subject),
            )
            made.load()
            try:
                yield made
            finally:
                await exchange.close()

    async def settled(self, samples: OwnSamples) -> None:
        for _ in range(3):
            await self.after(samples, minutes=1)

    async def after(self, samples: OwnSamples, *, minutes: float) -> None:
        self.clock.advance(int(minutes * 60 * NS_PER_S))
        await samples.sample()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_ready_once_three_samples_were_read(world: World) -> None:
    async with world.samples() as samples:
        assert samples.words == "not ready: not sampled since the start"
        assert samples.pause_s == SETTLE_EVERY_S
        for _ in range(2):
            await world.after(samples, minutes=1)
            assert samples.words == "not ready: it takes three samples to know a highest point"
            assert (samples.drawdown, samples.pause_s) == (None, SETTLE_EVERY_S)
        await world.after(samples, minutes=1)
        assert (samples.words, samples.drawdown, samples.pause_s) == (READY, 0, SAMPLE_EVERY_S)
        world.equity = "820"
        await world.after(samples, minutes=1)
    async with world.samples() as again:
        assert again.words == "not ready: not sampled since the start"
        assert again.drawdown == Decimal("0.18")
        await world.after(again, minutes=1)
        assert (again.words, again.drawdown) == (READY, Decimal("0.18"))


async def test_account_without_equity_says_so(world: World) -> None:
    world.equity = "0"
    async with world.samples() as samples:
        await world.settled(samples)
        assert samples.words == "not ready: the account shows no equity to measure from"
        assert samples.drawdown is None
    async with world.samples() as again:
        assert world.told == []
        assert again.book is None


async def test_flow_counts_once_and_at_what_its_coin_is_worth(world: World) -> None:
    world.flow("300", row_id="before us")
    async with world.samples() as samples:
        await world.settled(samples)
        world.equity = "600"
        world.flow("-400", row_id="out")
        for _ in range(3):
            await world.after(samples, minutes=1)
            assert samples.drawdown == 0
        world.equity = "700"
        world.flow("2", row_id="coins", currency="BTC")
        await world.after(samples, minutes=1)
        assert samples.drawdown == 0
        assert samples.book is not None
        assert samples.book.last.units == 700
    async with world.samples() as again:
        await world.after(again, minutes=1)
        assert again.book is not None
        assert again.book.last.units == 700


async def test_row_that_the_log_shows_late_is_not_missed(world: World) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
        world.equity = "1500"
        await world.after(samples, minutes=1)
        await world.after(samples, minutes=4)
        world.flow("500", row_id="late", ago_ms=5 * MINUTE_MS)
        await world.after(samples, minutes=1)
        await world.after(samples, minutes=1)
        assert samples.book is not None
        assert (samples.book.last.units, samples.book.peak) == (1500, 1)


async def test_time_in_which_nobody_sampled_is_read_in_spans_that_the_exchange_takes(world: World) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
    world.equity = "1600"
    for days in (1, 6, 7, 12, 20):
        world.flow("120", row_id=f"{days}", ago_ms=-days * DAY_MS)
    async with world.samples() as again:
        await world.after(again, minutes=30 * 24 * 60)
        assert world.refused == 0
        assert again.book is not None
        assert (again.book.last.units, again.drawdown) == (1600, 0)
        assert max(end - start for start, end in world.spans) <= 7 * DAY_MS


async def test_years_are_caught_up_with_a_bounded_number_of_spans_at_a_time(world: World) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
        world.equity = "1500"
        world.flow("500", row_id="x", ago_ms=-10 * DAY_MS)
        world.clock.advance(100 * DAY_MS * NS_PER_MS)
        world.spans.clear()
        for _ in range(2):
            with pytest.raises(ExchangeUnavailable, match="is being caught up with"):
                await samples.sample()
        assert len(world.spans) == 2 * SPANS_AT_ONCE * 4
        await samples.sample()
        assert samples.book is not None
        assert samples.book.last.units == 1500
        assert world.refused == 0


async def test_clock_that_went_back_asks_for_no_span_that_ends_before_it_begins(world: World) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
        world.clock.leap_wall(-3600 * NS_PER_S)
        await samples.sample()
        assert world.refused == 0


async def test_two_looks_at_once_count_a_flow_once(world: World) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
        world.equity = "1500"
        world.flow("500", row_id="x")
        world.clock.advance(60 * NS_PER_S)
        await asyncio.gather(samples.sample(), samples.sample(), samples.sample())
        assert samples.book is not None
        assert samples.book.last.units == 1500


async def test_account_that_cannot_be_read_is_named_and_a_person_is_called_once_a_day(world: World) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
        world.is_up = False
        await samples.try_sample()
        assert (samples.words, world.told) == (READY, [])
        world.clock.advance(int(STALE_S * NS_PER_S) - 1)
        assert samples.words == READY
        world.clock.advance(1)
        assert samples.words.startswith("not ready: our own equity was not read for 5 minutes: ")
        for _ in range(3):
            await samples.try_sample()
        assert world.told == [UNREADABLE_SUBJECT]
        world.clock.advance(DAY_MS * NS_PER_MS)
        await samples.try_sample()
        assert world.told == [UNREADABLE_SUBJECT] * 2
        world.is_up = True
        await samples.try_sample()
        assert samples.words == READY


async def test_exchange_that_hangs_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trade_killswitch.own_samples.SAMPLE_PATIENCE_S", 0.0)
    async with world.samples() as samples:
        await samples.try_sample()
        assert samples.words == "not ready: no answer within 0 s"


@pytest.mark.parametrize(
    "changed",
    [
        {"id": None},
        {"id": ""},
        {"id": 7},
        {"transactionTime": "soon"},
        {"change": "much"},
    ],
)
async def test_odd_row_counts_nothing(world: World, changed: dict[str, Any]) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
        world.flow("1", row_id="good")
        world.flow("500", row_id="odd")
        before = samples.book
        odd = {**world.flows[1], "transactionTime": "1", **changed}
        with pytest.raises(ExchangeAnswerInvalid):
            samples._take([{**world.flows[0], "transactionTime": "1"}, odd], {"coin": []})
        with pytest.raises(ExchangeAnswerInvalid):
            samples._take(["a row"], {"coin": []})
        assert samples.book == before
        assert samples._due == []


@pytest.mark.parametrize(
    "changed",
    [{"read_to_ms": "1"}, {"seen": []}, {"seen": {"x": "1"}}, {"samples": [[1, "x", "1"]]}, {"began_ms": None}],
)
async def test_kept_samples_that_are_none_are_told_and_begin_anew(world: World, changed: dict[str, Any]) -> None:
    kept = {"began_ms": 1, "past_peak": "1", "samples": [[1, "10", "10"]], "read_to_ms": 1, "seen": {"x": 1}}
    file = world.folder / SAMPLES_FILE
    file.write_text(json.dumps(kept))
    file.chmod(0o600)
    async with world.samples() as samples:
        assert samples.book is not None
        assert world.told == []
    file.write_text(json.dumps({**kept, **changed}))
    async with world.samples() as samples:
        assert samples.book is None
        assert world.told == [LOST_SUBJECT]
        await world.settled(samples)
        assert samples.words == READY


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 60_000])
async def test_damaged_file_of_samples_is_told_and_stops_no_executor(world: World, content: bytes) -> None:
    file = world.folder / SAMPLES_FILE
    file.write_bytes(content)
    file.chmod(0o600)
    async with world.samples() as samples:
        assert samples.book is None
        assert world.told == [LOST_SUBJECT]
        await world.settled(samples)
        assert samples.words == READY


async def test_rebased_samples_outlive_a_restart(world: World) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
        world.equity = "800"
        assert await samples.rebase("r1") == Decimal("0.2")
        assert samples.drawdown == 0
        world.equity = "600"
        await world.after(samples, minutes=1)
        assert samples.drawdown == Decimal("0.25")
    async with world.samples() as again:
        assert again.drawdown == Decimal("0.25")
        assert await again.rebase("r1") is None  # each release once, over restarts too
        assert again.drawdown == Decimal("0.25")
        assert await again.rebase("r2") == Decimal("0.25")


async def test_samples_are_rebased_at_what_can_be_read_now_or_not_at_all(world: World) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
        world.equity = "800"
        await world.after(samples, minutes=1)
        world.is_up = False
        with pytest.raises(ExchangeUnavailable):
            await samples.rebase("r1")
        assert samples.drawdown == Decimal("0.2")
        world.is_up = True
        world.equity = "700"
        assert await samples.rebase("r1") == Decimal("0.3")


async def test_account_without_equity_is_not_rebased(world: World) -> None:
    world.equity = "0"
    async with world.samples() as samples:
        with pytest.raises(ExchangeUnavailable, match="no equity"):
            await samples.rebase("r1")
        world.equity = "10"
        assert await samples.rebase("r1") == 0


async def test_releases_that_rebased_are_remembered_to_a_bound(world: World) -> None:
    async with world.samples() as samples:
        await world.settled(samples)
        for number in range(RELEASES_KEPT + 1):
            await samples.rebase(f"r{number}")
        assert await samples.rebase(f"r{RELEASES_KEPT}") is None
        assert len(json.loads((world.folder / SAMPLES_FILE).read_text())["rebased_by"]) == RELEASES_KEPT


async def test_full_disk_stops_no_sample(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trade_killswitch.own_samples.write_secret_file", full)
    async with world.samples() as samples:
        await world.settled(samples)
        assert samples.words == READY
