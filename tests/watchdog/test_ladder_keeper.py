"""The keeper: what the ladder says is refused first, remembered, told, and pursued until it has happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from watchdog.keepers import EffectsList, JournalList, keeper_of

from trade_core.clock import ManualClock
from trade_watchdog import ladder_keeper as module
from trade_watchdog.account_watch import Look
from trade_watchdog.ceiling import Ceiling, EquitySample, Finding
from trade_watchdog.effects import KillCondition, Severity
from trade_watchdog.equity import Flow, LogMark, open_book
from trade_watchdog.ladder import Rung
from trade_watchdog.ladder_keeper import ROW_EVERY_S, LadderKeeper
from trade_watchdog.releases import Told

NS_PER_S = 1_000_000_000
SAMPLE = EquitySample(
    equity_usdt=Decimal(1000), coins=(), exchange_time_ms=1, received_wall_ns=1, received_monotonic_ns=1
)
FLOW = Flow(entry_id="e1", kind="WITHDRAW", coin="USDT", amount=Decimal(-70), value_usdt=Decimal(-70), at_ms=1)
Until = Callable[..., Awaitable[None]]


@dataclass
class Scene:
    """A keeper with its clock, rows and hands."""

    clock: ManualClock = field(default_factory=ManualClock)
    journal: JournalList = field(default_factory=JournalList)
    effects: EffectsList = field(default_factory=EffectsList)
    keeper: LadderKeeper = field(init=False)

    def __post_init__(self) -> None:
        self.keeper = keeper_of(clock=self.clock, journal=self.journal, effects=self.effects)

    def take(self, *prices: str, after_ms: int = 1000, flows: tuple[Flow, ...] = (), absorbed: str = "0") -> None:
        for price in prices:
            self.clock.advance(after_ms * 1_000_000)
            now = replace(
                SAMPLE,
                exchange_time_ms=self.clock.wall_ns() // 1_000_000,
                received_monotonic_ns=self.clock.monotonic_ns(),
            )
            book = replace(open_book(SAMPLE, mark=LogMark(entry_id="", at_ms=0)), price=Decimal(price))
            look = Look(finding=Finding.GOOD, sample=now, book=book, flows=flows, absorbed_usdt=Decimal(absorbed))
            self.keeper.take(look)

    def sampled(self) -> int:
        return len(self.journal.fields_of("equity:sampled"))


@pytest.fixture
def scene() -> Scene:
    """An account that has stood at one."""
    made = Scene()
    made.take("1", "1", "1")
    return made


@contextlib.asynccontextmanager
async def pursuing(keeper: LadderKeeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.pursue())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_verdict_is_renewed_before_anything_is_written_or_told(scene: Scene) -> None:
    seen: list[tuple[Ceiling, int, int]] = []
    scene.keeper.on_moved = lambda: seen.append(
        (scene.keeper.ladder.demand().ceiling, len(scene.journal.entries), len(scene.effects.alerts))
    )
    rows = len(scene.journal.entries)
    scene.take("0.85", "0.85", "0.85")
    assert seen[-1] == (Ceiling.HALTED, rows, 0)
    assert [row["rung"] for row in scene.journal.fields_of("rung:fired")] == ["daily", "weekly", "monthly"]


def test_alerts_say_the_figures_and_who_must_answer(scene: Scene) -> None:
    scene.take("0.82", "0.82", "0.82")
    alerts = {alert.subject: alert for alert in scene.effects.alerts}
    assert list(alerts) == ["rung:daily", "rung:weekly", "rung:monthly", "rung:high_water"]
    assert [alert.needs_acknowledgement for alert in alerts.values()] == [True, False, True, True]
    assert [alert.severity for alert in alerts.values()] == [Severity.WARNING] * 2 + [Severity.CRITICAL] * 2
    assert alerts["rung:daily"].text == (
        "the daily rung has fired: 18 % below the peak (unit price 0.820000, peak 1.000000); "
        "review the positions and acknowledge"
    )


def test_cleared_rung_is_told_as_news(scene: Scene) -> None:
    scene.take("0.92", "0.92", "0.92", "1", "1", "1")
    last = scene.effects.alerts[-1]
    assert (last.subject, last.severity) == ("rung:weekly", Severity.INFO)
    assert last.text.startswith("the weekly rung is armed again: 0 %")
    assert [row["rung"] for row in scene.journal.fields_of("rung:cleared")] == ["weekly"]


def test_acknowledgement_is_remembered_with_its_name(scene: Scene) -> None:
    assert not scene.keeper.acknowledge("rung:daily", by="kim")
    scene.take("0.95", "0.95", "0.95")
    before = scene.sampled()
    assert scene.keeper.acknowledge("rung:daily", by="kim")
    assert scene.journal.fields_of("rung:acknowledged")[0]["by"] == "kim"
    assert scene.sampled() == before + 1
    assert scene.effects.acknowledged == ["rung:daily", "rung:daily"]


def test_alert_that_is_no_review_is_acknowledged_and_loosens_nothing(scene: Scene) -> None:
    scene.take("0.85", "0.85", "0.85", flows=(FLOW,))
    for subject in ("rogue_outflow", "rung:monthly"):
        assert scene.keeper.acknowledge(subject, by="kim")
    assert not scene.keeper.acknowledge("gateway_silent", by="kim")
    reasons = [row["reason"] for row in scene.journal.fields_of("action:done")]
    assert reasons == ["rogue_outflow by kim", "rung:monthly by kim"]
    assert scene.keeper.ladder.demand().ceiling is Ceiling.HALTED


def test_start_alerts_again_of_what_has_fired(scene: Scene) -> None:
    scene.take("0.85", "0.85", "0.85")
    again = Scene()
    again.keeper.ladder.restore(scene.keeper.ladder.memory())
    again.keeper.remind()
    assert [(alert.subject, alert.needs_acknowledgement) for alert in again.effects.alerts] == [
        ("rung:daily", True),
        ("rung:monthly", True),
    ]
    assert again.keeper.acknowledge("rung:daily", by="kim")
    again.effects.alerts.clear()
    again.keeper.remind()
    assert [alert.subject for alert in again.effects.alerts] == ["rung:monthly"]


async def test_outflow_of_the_run_before_is_told_again_and_halts(scene: Scene, until: Until) -> None:
    scene.keeper.rogue_outflow = "70 USDT left, entry e1"
    scene.keeper.remind()
    (alert,) = scene.effects.alerts
    assert (alert.subject, alert.severity, alert.needs_acknowledgement) == ("rogue_outflow", Severity.CRITICAL, True)
    assert alert.text == "before the watchdog was started, 70 USDT left, entry e1"
    async with pursuing(scene.keeper):
        await until(lambda: scene.effects.done == ["halt"])
    assert scene.journal.fields_of("action:done")[0]["reason"] == "70 USDT left, entry e1"


def test_acknowledgement_before_any_sample_needs_none() -> None:
    assert not Scene().keeper.acknowledge("rung:daily", by="kim")


def test_rows_are_written_once_a_minute_and_at_every_new_high(scene: Scene) -> None:
    before = scene.sampled()
    scene.take(*["1"] * (ROW_EVERY_S - 3))
    assert scene.sampled() == before
    scene.take("1", "1", "1", "1")
    assert scene.sampled() == before + 1
    scene.take("1.0001", "1.0001", "1.0001")
    assert scene.sampled() == before + 1
    scene.take("1.00011", "1.00011", "1.00011")
    assert scene.sampled() == before + 2
    assert scene.journal.fields_of("equity:sampled")[-1]["high"] == "1.00011"


def test_flows_and_absorbed_steps_are_written_at_once(scene: Scene) -> None:
    before = scene.sampled()
    scene.take("1", flows=(FLOW,))
    assert scene.sampled() == before + 1
    scene.take("1", absorbed="-5")
    assert scene.sampled() == before + 2
    assert scene.journal.fields_of("equity:absorbed") == [{"value_usdt": "-5"}]


def test_outflow_that_was_announced_is_seen_and_no_more(scene: Scene) -> None:
    scene.clock.advance(NS_PER_S)
    movement_id = scene.keeper.announce(coin="USDT", amount=Decimal(70), by="kim")
    scene.take("1", flows=(replace(FLOW, at_ms=scene.clock.wall_ns() // 1_000_000),))
    said, seen = scene.journal.fields_of("capital_movement:recorded")
    assert (said["movement_id"], said["status"], said["by"], said["amount"]) == (movement_id, "announced", "kim", "70")
    assert (seen["movement_id"], seen["status"], seen["confirm_txn"]) == (movement_id, "seen", "e1")
    assert scene.journal.fields_of("equity:flowed")[0]["is_announced"]
    assert (scene.effects.alerts, scene.keeper.rogue_outflow) == ([], "")


def test_money_that_comes_needs_no_announcement(scene: Scene) -> None:
    scene.take("1", flows=(replace(FLOW, amount=Decimal(70), kind="DEPOSIT"),))
    (seen,) = scene.journal.fields_of("capital_movement:recorded")
    assert (seen["movement_id"], seen["direction"], seen["amount"], seen["status"]) == ("e1", "in", "70", "seen")
    assert scene.effects.alerts == []


async def test_outflow_that_nobody_announced_halts(scene: Scene, until: Until) -> None:
    async with pursuing(scene.keeper):
        scene.take("1", flows=(FLOW,))
        await until(lambda: scene.effects.done == ["halt"])
        scene.take("1", "1")
        await asyncio.sleep(0.05)
        assert scene.effects.done == ["halt"]
        scene.take("1", flows=(replace(FLOW, entry_id="e2"),))
        await until(lambda: scene.effects.done == ["halt", "halt"])
    alert = scene.effects.alerts[0]
    assert (alert.subject, alert.severity) == ("rogue_outflow", Severity.CRITICAL)
    assert alert.text == "70 USDT left the account (WITHDRAW) and nobody had announced it"
    assert scene.journal.fields_of("incident:opened")[0]["type"] == "outflow nobody announced"
    assert scene.journal.fields_of("action:done")[0]["reason"] == f"{alert.text}, entry e1"
    assert not scene.journal.fields_of("equity:flowed")[0]["is_announced"]


async def test_outflow_and_rung_halt_with_both_reasons(scene: Scene, until: Until) -> None:
    scene.take("0.85", "0.85", "0.85", flows=(FLOW,))
    async with pursuing(scene.keeper):
        await until(lambda: "halt" in scene.effects.done)
    (reason,) = [row["reason"] for row in scene.journal.fields_of("action:done") if row["action"] == "halt"]
    assert reason.startswith("the monthly rung has fired; 70 USDT left")


async def test_outflow_halts_by_the_lease_until_the_gateway_was_halted(scene: Scene, until: Until) -> None:
    seen: list[tuple[Ceiling, int]] = []
    scene.keeper.on_moved = lambda: seen.append((scene.keeper.demand().ceiling, len(scene.effects.alerts)))
    scene.take("1", flows=(FLOW,))
    assert (Ceiling.HALTED, 0) in seen
    assert scene.keeper.demand().reason == scene.keeper.rogue_outflow
    async with pursuing(scene.keeper):
        await until(lambda: seen[-1][0] is Ceiling.ACTIVE)
    assert scene.effects.done == ["halt"]


async def test_release_of_a_rung_does_not_halt_again_for_an_outflow_that_was_halted_for(
    scene: Scene, until: Until
) -> None:
    scene.take("0.85", "0.85", "0.85", flows=(FLOW,))
    async with pursuing(scene.keeper):
        await until(lambda: sorted(scene.effects.done) == ["flatten", "halt", "scale_bot"])
        scene.keeper.release((Rung.DAILY, Rung.WEEKLY, Rung.MONTHLY))
        scene.take("0.85", "0.85")
        await until(lambda: sorted(scene.effects.done) == ["flatten", "halt", "scale_bot", "spare_bot"])
        scene.take("0.7", "0.7", "0.7")
        await until(lambda: scene.effects.done.count("halt") == 2)


def test_release_spares_the_bot_only_when_nothing_demands_its_end_any_more(scene: Scene) -> None:
    scene.take("0.82", "0.82", "0.82")
    scene.keeper.release((Rung.MONTHLY,))
    assert scene.effects.done == []
    scene.keeper.release((Rung.HIGH_WATER,))
    assert scene.effects.done == ["spare_bot"]


def test_announcements_that_wait_have_a_bound() -> None:
    keeper = Scene().keeper
    made = [keeper.announce(coin="USDT", amount=Decimal(1), by="kim") for _ in range(51)]
    assert [one is None for one in made] == [False] * 50 + [True]


def test_release_rebases_at_the_last_believed_price(scene: Scene) -> None:
    scene.take("0.85", "0.85", "0.85")
    moved: list[Ceiling] = []
    scene.keeper.on_moved = lambda: moved.append(scene.keeper.ladder.demand().ceiling)
    scene.keeper.release((Rung.DAILY, Rung.WEEKLY, Rung.MONTHLY))
    assert moved == [Ceiling.ACTIVE]
    rows = scene.journal.fields_of("rung:rebased")
    assert [(row["rung"], row["unit_price"], row["by"]) for row in rows] == [
        ("daily", "0.85", "release"),
        ("weekly", "0.85", "release"),
        ("monthly", "0.85", "release"),
    ]
    assert scene.journal.fields_of("equity:sampled")[-1]["stages"]["monthly"] == "armed"
    scene.take("0.85")
    assert len(scene.journal.fields_of("rung:rebased")) == 3


def test_release_before_any_price_waits_for_the_first(scene: Scene) -> None:
    scene.take("0.85", "0.85", "0.85")
    again = Scene()
    again.keeper.ladder.restore(scene.keeper.ladder.memory())
    again.keeper.release((Rung.DAILY, Rung.WEEKLY))
    again.keeper.release((Rung.WEEKLY, Rung.MONTHLY))
    assert again.journal.entries == []
    assert again.keeper.ladder.demand().ceiling is Ceiling.HALTED
    again.take("0.84")
    assert [row["rung"] for row in again.journal.fields_of("rung:rebased")] == ["daily", "weekly", "monthly"]
    assert again.keeper.ladder.demand().ceiling is Ceiling.ACTIVE


def test_release_that_names_no_rung_changes_nothing(scene: Scene) -> None:
    scene.take("0.85", "0.85", "0.85")
    rows = len(scene.journal.entries)
    scene.keeper.release(())
    assert len(scene.journal.entries) == rows
    assert scene.keeper.ladder.demand().ceiling is Ceiling.HALTED


def told(rows: int) -> Told:
    return Told(rows=rows, peaks={Rung.MONTHLY: Decimal("1.3"), Rung.DAILY: Decimal("0.5")})


@pytest.mark.parametrize(("began", "rows"), [(None, 50), (50, 50), (51, 50)])
def test_what_was_told_is_left_when_our_own_journal_is_as_long(scene: Scene, began: int | None, rows: int) -> None:
    scene.keeper.began_with_rows = began
    scene.keeper.recall(told(rows))
    scene.keeper.recall(None)
    assert scene.keeper.ladder.peaks() == dict.fromkeys(Rung, Decimal(1))
    assert scene.effects.alerts == []


def test_journal_that_was_put_back_takes_the_peaks_back_once(scene: Scene) -> None:
    scene.keeper.began_with_rows = 49
    scene.keeper.recall(told(50))
    assert scene.keeper.ladder.peaks() == {**dict.fromkeys(Rung, Decimal(1)), Rung.MONTHLY: Decimal("1.3")}
    assert scene.journal.fields_of("incident:opened")[0]["type"] == "watchdog journal put back"
    assert scene.effects.alerts[-1].subject == "watchdog_journal"
    scene.keeper.recall(told(60))
    assert len(scene.effects.alerts) == 1


def test_journal_that_is_not_the_one_of_before_takes_the_peaks_back_however_long_it_is(scene: Scene) -> None:
    scene.keeper.began_with_rows = 60
    scene.keeper.recall(told(50), is_ours=False)
    assert scene.keeper.ladder.peaks()[Rung.MONTHLY] == Decimal("1.3")
    (opened,) = scene.journal.fields_of("incident:opened")
    assert opened["detail"] == ("the watchdog's journal of 60 rows is not the one that once had 50: it was put back")


@pytest.mark.parametrize(
    ("fall", "outflow", "value"),
    [
        ("1", "", ""),
        ("0.9", "", ""),
        ("0.8499", "", "0.1501"),
        ("1", "5.5 BTC left", "5.5 BTC"),
        ("0.81", "5.5 BTC left", "0.19"),
        ("0.9", "5.5 BTC left", "5.5 BTC"),
        ("1", "9" * 61 + " BTC left", ""),
        ("1", "5 ₿ left", ""),
    ],
)
def test_figure_of_a_halt_is_the_fall_or_what_left(scene: Scene, fall: str, outflow: str, value: str) -> None:
    scene.take("1", "1", "1", fall, fall, fall)
    scene.keeper.rogue_outflow = outflow
    assert scene.keeper.trigger_value() == value


async def test_halt_is_told_with_its_figure(scene: Scene, until: Until) -> None:
    async with pursuing(scene.keeper):
        scene.take("0.85", "0.85", "0.85")
        await until(lambda: bool(scene.effects.trigger_values))
    assert scene.effects.trigger_values == ["0.15"]


def test_peaks_are_told_rounded_up(scene: Scene) -> None:
    high = "1.000000000000000001"
    scene.take(high, high, high)
    assert {peak.price for peak in scene.keeper.told_peaks()} == {"1.000000000001"}
    assert [peak.rung for peak in scene.keeper.told_peaks()] == ["daily", "weekly", "monthly", "high_water"]


async def test_halt_and_bot_are_pursued_for_the_monthly_rung(scene: Scene, until: Until) -> None:
    async with pursuing(scene.keeper):
        await asyncio.sleep(0)
        scene.take("0.95", "0.95", "0.95", "0.92", "0.92", "0.92")
        await asyncio.sleep(0.05)
        assert scene.effects.done == []
        scene.take("0.85", "0.85", "0.85")
        await until(lambda: len(scene.effects.done) == 3)
        scene.take("0.85", "0.85", "0.85")
        await asyncio.sleep(0.05)
    assert sorted(scene.effects.done) == ["flatten", "halt", "scale_bot"]
    assert scene.effects.flattened == [f"monthly@{scene.keeper.ladder.readings()[2].since_ms}"]
    rows = scene.journal.fields_of("action:done")
    assert sorted(row["action"] for row in rows) == ["flatten", "halt", "scale_bot"]
    assert rows[0]["reason"] == "the monthly rung has fired"


async def test_kill_is_asked_for_with_its_figures(scene: Scene, until: Until) -> None:
    async with pursuing(scene.keeper):
        scene.take("0.82", "0.82", "0.82")
        await until(lambda: len(scene.effects.done) == 4)
    (request,) = scene.effects.kills
    assert request.condition is KillCondition.DRAWDOWN
    assert request.request_id == f"high_water@{scene.clock.wall_ns() // 1_000_000}"
    assert request.evidence == {
        "fraction": "0.18",
        "peak": "1",
        "drawdown": "0.18",
        "unit_price": "0.82",
        "units": "1000",
        "equity_usdt": "1000",
    }


async def test_action_that_fails_is_tried_again_and_delays_no_other(
    scene: Scene, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    scene.effects.failing = {"halt": "the gateway does not answer"}
    async with pursuing(scene.keeper):
        scene.take("0.82", "0.82", "0.82")
        await until(lambda: sorted(scene.effects.done) == ["flatten", "kill", "scale_bot"])
        await until(lambda: scene.keeper.pursuits["halt"].failure == "the gateway does not answer")
        await asyncio.sleep(0.05)
        assert len(scene.journal.fields_of("action:failed")) == 1
        scene.effects.failing = {}
        await until(lambda: "halt" in scene.effects.done)
        await until(lambda: scene.keeper.pursuits["halt"].failure == "")
    assert len(scene.journal.fields_of("action:done")) == 4


async def test_action_that_hangs_is_given_up_and_tried_again(
    scene: Scene, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    monkeypatch.setattr(module, "ACTION_WITHIN_S", 0.05)
    hanging = asyncio.Event()

    async def hang(_reason: str, **_: object) -> None:
        await hanging.wait()

    monkeypatch.setattr(scene.effects, "halt", hang)
    async with pursuing(scene.keeper):
        scene.take("0.85", "0.85", "0.85")
        await until(lambda: scene.keeper.pursuits["halt"].failure == "no answer within 0 s")
        hanging.set()
        await until(lambda: bool(scene.keeper.pursuits["halt"].done_for))


async def test_restart_pursues_again_what_has_fired(scene: Scene, until: Until) -> None:
    scene.take("0.82", "0.82", "0.82")
    again = Scene()
    again.keeper.ladder.restore(scene.keeper.ladder.memory())
    async with pursuing(again.keeper):
        await until(lambda: len(again.effects.done) == 4)
    assert again.effects.kills[0].request_id == f"high_water@{scene.clock.wall_ns() // 1_000_000}"
    assert again.effects.kills[0].evidence["unit_price"] == ""


async def test_closing_is_asked_for_until_it_is_flat_and_no_more_after_a_release(
    scene: Scene, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    scene.effects.failing = {"flatten": "not flat yet: going_on"}
    async with pursuing(scene.keeper):
        scene.take("0.85", "0.85", "0.85")
        await until(lambda: scene.keeper.pursuits["flatten"].failure == "not flat yet: going_on")
        assert "flatten" not in scene.effects.done
        scene.keeper.release((Rung.DAILY, Rung.WEEKLY, Rung.MONTHLY))
        scene.effects.failing = {}
        await asyncio.sleep(0.05)
    assert "flatten" not in scene.effects.done
