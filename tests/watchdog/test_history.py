"""The watchdog's own journal: what was remembered is there again, and nothing looser, older or foreign is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from trust_parts import ring_of
from watchdog.keepers import THRESHOLDS, JournalList, keeper_of

from trade_core.clock import ManualClock
from trade_core.errors import ConfigurationError
from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.ring import ring_hash
from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.log.rows import Entry, RowKind
from trade_watchdog import history as history_module
from trade_watchdog.account_watch import Look
from trade_watchdog.ceiling import EquitySample, Finding
from trade_watchdog.effects import Severity
from trade_watchdog.equity import Book, Flow, LogMark
from trade_watchdog.history import JOURNAL_FILE, History, check_ratchet
from trade_watchdog.ladder import Ladder, Rung, Stage
from trade_watchdog.movements import Announcement
from trade_watchdog.releases import Position

KEY = load_private_key(new_private_key())
RING = ring_of(KEY)
BOOK = Book(
    units=Decimal("1000.000000000000000001"),
    price=Decimal("0.999999999999999999"),
    balances={"USDT": Decimal("-12.5"), "BTC": Decimal("0.00000001")},
    prices={"USDT": Decimal(1), "BTC": Decimal("64000.123456789012345678901234567")},
    mark=LogMark(entry_id="entry_1-a", at_ms=77),
)


@asynccontextmanager
async def opened(folder: Path, *, has_vouched: bool = False) -> AsyncIterator[History]:
    history = await History.open(folder, ring=RING, log_key=KEY, clock=ManualClock(), has_vouched=has_vouched)
    try:
        yield history
    finally:
        await history.close()


def write(history: History, ladder: Ladder, *, book: Book = BOOK, high: str | None = None) -> None:
    history.sampled(
        book=book,
        equity_usdt=Decimal("999.99"),
        high=None if high is None else Decimal(high),
        memory=ladder.memory(),
        thresholds=THRESHOLDS,
        position=Position(rows=41, latch=7),
    )


def walked(*prices: str, step_ms: int = 60_000) -> Ladder:
    ladder = Ladder(THRESHOLDS)
    for count, price in enumerate(prices, 1):
        ladder.take(price=Decimal(price), at_ms=1_700_000_000_000 + count * step_ms, monotonic_ns=count * 10**9)
    return ladder


async def test_empty_journal_remembers_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as history:
        assert history.is_writable
        assert await history.restore(Ladder(THRESHOLDS)) is None


async def test_memory_is_there_again_after_a_restart(tmp_path: Path) -> None:
    before = walked("1.1", "1.1", "1.1", "0.9", "0.9", "0.9")
    async with opened(tmp_path) as history:
        write(history, walked("1"), high="1.1")
        write(history, before)
    again = Ladder(THRESHOLDS)
    async with opened(tmp_path, has_vouched=True) as history:
        remembered = await history.restore(again)
        assert remembered is not None
        again.restore(remembered.memory)
    assert remembered.book == replace(
        BOOK, prices={"USDT": Decimal(1), "BTC": Decimal("64000.123456789012345678")}, unexplained_since_ns=None
    )
    assert again.memory() == before.memory()
    assert again.peaks() == dict.fromkeys(Rung, Decimal("1.1"))
    assert (remembered.position, remembered.thresholds) == (Position(rows=41, latch=7), THRESHOLDS)


async def test_rung_that_moved_after_the_last_memory_is_where_it_went(tmp_path: Path) -> None:
    ladder = walked("1", "1", "1")
    async with opened(tmp_path) as history:
        write(history, ladder, high="1")
        for change in ladder.take(price=Decimal("0.5"), at_ms=1, monotonic_ns=4 * 10**9):
            history.moved(change, observed_ms=1, by="ladder")
        for count in (5, 6):
            for change in ladder.take(price=Decimal("0.5"), at_ms=1, monotonic_ns=count * 10**9):
                history.moved(change, observed_ms=ladder.observed_ms, by="ladder")
        acknowledged = ladder.acknowledge(Rung.DAILY)
        rebased = ladder.rebase(Rung.MONTHLY)
        assert acknowledged is not None
        assert rebased is not None
        history.moved(acknowledged, observed_ms=ladder.observed_ms, by="kim")
        history.moved(rebased, observed_ms=ladder.observed_ms, by="release")
    again = Ladder(THRESHOLDS)
    async with opened(tmp_path) as history:
        remembered = await history.restore(again)
        assert remembered is not None
        rows = await history.journal.read(0, 100)
    assert remembered.memory.stages == {
        Rung.DAILY: Stage.ACKNOWLEDGED,
        Rung.WEEKLY: Stage.FIRED,
        Rung.MONTHLY: Stage.ARMED,
        Rung.HIGH_WATER: Stage.FIRED,
    }
    assert again.peaks() == {**dict.fromkeys(Rung, Decimal(1)), Rung.MONTHLY: Decimal("0.5")}
    fired = next(row.fields for row in rows if row.kind is RowKind.RUNG_FIRED)
    assert (fired["rung"], fired["drawdown"], fired["by"]) == ("daily", "0.5", "ladder")


async def test_outflow_that_nobody_announced_is_there_again_until_it_has_halted(tmp_path: Path) -> None:
    async with opened(tmp_path) as history:
        write(history, walked("1"))
        for detail in ("70 USDT left, entry e1", "8 USDT left, entry e2"):
            history.open_incident(
                kind="outflow nobody announced", severity=Severity.CRITICAL, fields={"detail": detail}
            )
        history.open_incident(kind="key:rogue", severity=Severity.CRITICAL, fields={"detail": "a key"})
        history.acted("scale_bot", reason="8 USDT left, entry e2")
        history.acted("halt", reason="70 USDT left, entry e1")
        history.acted("halt", reason="8 USDT left, entry e2", failure="the gateway does not answer")
    async with opened(tmp_path) as history:
        remembered = await history.restore(Ladder(THRESHOLDS))
        assert remembered is not None
        assert remembered.rogue_outflow == "8 USDT left, entry e2"
        history.acted("halt", reason="the monthly rung has fired; 8 USDT left, entry e2")
    async with opened(tmp_path) as history:
        remembered = await history.restore(Ladder(THRESHOLDS))
    assert remembered is not None
    assert remembered.rogue_outflow == ""


async def test_announcements_that_wait_are_there_again(tmp_path: Path) -> None:
    waiting = Announcement(movement_id="a", coin="BTC", amount=Decimal("0.5"), at_ms=7)
    flow = Flow(entry_id="e1", kind="WITHDRAW", coin="BTC", amount=Decimal("-0.5"), value_usdt=Decimal(-1), at_ms=9)
    async with opened(tmp_path) as history:
        write(history, walked("1"))
        history.announced(waiting, by="kim")
        history.announced(replace(waiting, movement_id="b"), by="kim")
        history.moved_capital(flow, movement_id="b")
        history.moved_capital(flow, movement_id="unannounced")
    async with opened(tmp_path) as history:
        remembered = await history.restore(Ladder(THRESHOLDS))
    assert remembered is not None
    assert remembered.announcements == (waiting,)


async def test_reading_back_ends_where_the_longest_window_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "READ_ROWS_MAX", 10)
    day_ms = 24 * 3600 * 1000
    ladder = Ladder(THRESHOLDS)
    async with opened(tmp_path) as history:
        for day in range(60):
            memory = replace(ladder.memory(), observed_ms=day * day_ms)
            history.sampled(
                book=BOOK,
                equity_usdt=Decimal(1),
                high=Decimal(100 - day),
                memory=memory,
                thresholds=THRESHOLDS,
                position=Position(),
            )
    async with opened(tmp_path) as history:
        rows = await history._rows_of_longest_window()
        again = Ladder(THRESHOLDS)
        await history.restore(again)
    assert rows[-1].seq == 59
    assert rows[0].seq == 20  # the page that holds the day before the window
    assert again.peaks()[Rung.MONTHLY] == 100 - 29
    assert again.peaks()[Rung.DAILY] == 100 - 58


async def test_move_is_durable_and_signed_at_once(tmp_path: Path) -> None:
    ladder = walked("1", "1", "1", "0.9", "0.9", "0.9")
    async with opened(tmp_path) as history:
        signing = asyncio.create_task(history.keep_signed(every_s=3600))
        await asyncio.sleep(0.1)
        rebased = ladder.rebase(Rung.DAILY)
        assert rebased is not None
        history.moved(rebased, observed_ms=1, by="release")
        async with asyncio.timeout(60):
            while history.journal.size == 0:  # noqa: ASYNC110 - another thread writes
                await asyncio.sleep(0.005)
        signing.cancel()


async def test_run_is_journaled_from_its_settings_to_its_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as history:
        assert history.begin(settings={"environment": "simulated"}, ring=RING) == 0
    async with opened(tmp_path) as history:
        rows = await history.journal.read(0, 10)
    kinds = [RowKind.PROCESS_STARTED, RowKind.CONFIG_LOADED, RowKind.PROCESS_STOPPED]
    assert [row.kind for row in rows] == kinds
    assert rows[0].fields == {"process": "watchdog", "ring_hash": ring_hash(RING)}
    assert rows[1].fields == {"settings": {"environment": "simulated"}}


async def test_start_that_did_not_come_to_anything_has_no_end(tmp_path: Path) -> None:
    for _ in range(2):
        async with opened(tmp_path) as history:
            assert history.journal.size == 0


async def test_first_rows_of_a_run_are_signed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trade_watchdog.history.FIRST_SIGNED_S", 0.01)
    journal = JournalList()
    signing = asyncio.create_task(keeper_of(journal=journal).history.keep_signed(every_s=3600))
    async with asyncio.timeout(60):
        while journal.checkpoints < 2:  # noqa: ASYNC110 - it runs by itself
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    signing.cancel()
    assert journal.checkpoints == 2


async def test_journal_that_cannot_be_signed_is_said_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    journal = JournalList(is_writable=False)
    history = keeper_of(journal=journal).history
    signing = asyncio.create_task(history.keep_signed(every_s=0.01))
    async with asyncio.timeout(60):
        while journal.checkpoints < 3:  # noqa: ASYNC110 - it runs by itself
            await asyncio.sleep(0.005)
    signing.cancel()
    assert "could not be signed" in caplog.text


async def test_journal_that_is_gone_after_vouching_refuses_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has vouched"):
        async with opened(tmp_path, has_vouched=True):
            pass
    assert not (tmp_path / JOURNAL_FILE).exists()


async def test_journal_that_is_empty_after_vouching_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_FILE).touch()
    with pytest.raises(ConfigurationError, match="holds no rows, but this watchdog has vouched"):
        async with opened(tmp_path, has_vouched=True):
            pass
    async with opened(tmp_path) as history:
        assert history.journal.size == 0


async def test_journal_of_another_key_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as history:
        write(history, walked("1"))
        await history.journal.checkpoint()
    other = load_private_key(new_private_key())
    with pytest.raises(JournalRefused):
        await History.open(tmp_path, ring=RING, log_key=other, clock=ManualClock(), has_vouched=True)


SAMPLED: dict[str, Any] = {
    "equity_usdt": "1",
    "unit_price": "1",
    "units": "1",
    "high": None,
    "balances": {},
    "prices": {},
    "log_entry": "",
    "log_time_ms": 1,
    "observed_ms": 1,
    "exchange_time_ms": 1,
    "high_water": None,
    "stages": {rung.value: "armed" for rung in Rung},
    "since_ms": {rung.value: 0 for rung in Rung},
    "thresholds": {rung.value: "0.1" for rung in Rung},
    "trim_scale": "0.5",
    "gateway_rows": 0,
    "gateway_latch": -1,
}


@pytest.mark.parametrize(
    "change",
    [
        {"units": "NaN"},
        {"unit_price": 5},
        {"balances": "none"},
        {"balances": {"USDT": "1e3"}},
        {"stages": {"daily": "armed"}},
        {"stages": {**SAMPLED["stages"], "daily": "sleeping"}},
        {"since_ms": {"daily": 0}},
        {"observed_ms": "1"},
        {"gateway_rows": None},
        {"thresholds": {"weakly": "0.1"}},
        {"high": ""},
        {"high_water": "-"},
    ],
)
async def test_row_that_does_not_say_what_it_must_refuses_the_start(tmp_path: Path, change: dict[str, Any]) -> None:
    async with opened(tmp_path) as history:
        entry = Entry(at_ns=1, kind=RowKind.EQUITY_SAMPLED, actor="watchdog", fields={**SAMPLED, **change})
        await history.journal.append(entry)
        with pytest.raises(JournalDamaged):
            await history.restore(Ladder(THRESHOLDS))


async def test_complete_row_is_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as history:
        await history.journal.append(Entry(at_ns=1, kind=RowKind.EQUITY_SAMPLED, actor="watchdog", fields=SAMPLED))
        remembered = await history.restore(Ladder(THRESHOLDS))
    assert remembered is not None
    assert remembered.memory.high_water is None


@pytest.mark.parametrize("rung", Rung)
@pytest.mark.parametrize(("by", "is_refused"), [("0.001", True), ("0", False), ("-0.001", False)])
def test_looser_thresholds_than_before_are_refused(rung: Rung, by: str, *, is_refused: bool) -> None:
    fractions = {**THRESHOLDS.fractions, rung: THRESHOLDS.fractions[rung] + Decimal(by)}
    asked = replace(THRESHOLDS, fractions=fractions)
    if not is_refused:
        check_ratchet(asked=asked, stood=THRESHOLDS)
        return
    with pytest.raises(ConfigurationError, match=f"{rung.value}_fraction"):
        check_ratchet(asked=asked, stood=THRESHOLDS)


def test_larger_scale_than_before_is_refused() -> None:
    check_ratchet(asked=replace(THRESHOLDS, trim_scale=Decimal("0.4")), stood=THRESHOLDS)
    with pytest.raises(ConfigurationError, match=r"trim_scale: 0\.6 is looser than 0\.5"):
        check_ratchet(asked=replace(THRESHOLDS, trim_scale=Decimal("0.6")), stood=THRESHOLDS)


def test_rows_that_the_disk_does_not_take_are_said_and_nothing_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    journal = JournalList(is_writable=False)
    keeper = keeper_of(journal=journal)
    keeper.history.absorbed(Decimal(-5))
    assert "equity:absorbed is lost" in caplog.text
    assert not keeper.history.is_writable


def test_incident_row_says_what_the_audit_found() -> None:
    journal = JournalList()
    history = keeper_of(journal=journal).history
    history.open_incident(kind="rogue order", severity=Severity.CRITICAL, fields={"symbol": "BTCUSDT"})
    assert journal.fields_of("incident:opened") == [
        {"type": "rogue order", "severity": "critical", "symbol": "BTCUSDT"}
    ]
    assert history.is_urgent.is_set()


def test_flow_row_says_what_moved() -> None:
    journal = JournalList()
    flow = Flow(
        entry_id="e1", kind="WITHDRAW", coin="BTC", amount=Decimal("-0.5"), value_usdt=Decimal("-32000.25"), at_ms=9
    )
    keeper_of(journal=journal).history.flowed(flow, is_announced=True)
    assert journal.fields_of("equity:flowed") == [
        {
            "log_entry": "e1",
            "type": "WITHDRAW",
            "coin": "BTC",
            "amount": "-0.5",
            "value_usdt": "-32000.25",
            "log_time_ms": 9,
            "is_announced": True,
        }
    ]


def test_keeper_writes_what_a_start_needs_in_the_rows_form() -> None:
    journal = JournalList()
    sample = EquitySample(
        equity_usdt=Decimal(5), coins=(), exchange_time_ms=1, received_wall_ns=1, received_monotonic_ns=1
    )
    keeper_of(journal=journal).take(Look(finding=Finding.GOOD, sample=sample, book=BOOK))
    (fields,) = journal.fields_of("equity:sampled")
    assert set(fields) == set(SAMPLED)
