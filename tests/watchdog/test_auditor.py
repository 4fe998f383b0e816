"""The audit at work: what each finding sets in motion, in which order, and what holds while it cannot look."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from watchdog.audit_world import NOW_MS, WIDE, listed_key, listed_order, tag
from watchdog.audit_world import AuditWorld as World

from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import RowKind
from trade_journal.log.verify import StoredRow
from trade_watchdog import auditor
from trade_watchdog.audit.key_inventory import KeyAlarm
from trade_watchdog.audit.limit_audit import AuditedLimits
from trade_watchdog.audit.listing import seen_order
from trade_watchdog.audit.order_audit import OVERDUE_S
from trade_watchdog.audit_mark import AGAIN_MS
from trade_watchdog.auditor import (
    JOURNAL_AGE_MAX_S,
    KEYS_AGE_MAX_S,
    LIMITS_AGE_MAX_S,
    LOOK_AGE_MAX_S,
    POSTURE_AGE_MAX_S,
)
from trade_watchdog.ceiling import Ceiling
from trade_watchdog.effects import KillCondition, KillRequest, Severity


@pytest.fixture
def world() -> World:
    return World()


async def do_duties(world: World) -> None:
    await world.auditor.duties.halt()
    await world.auditor.duties.ask_for_kills()


async def test_nothing_is_vouched_for_before_the_first_look(world: World) -> None:
    assert world.auditor.verdict().ceiling is Ceiling.REDUCE_ONLY
    await world.auditor.look()
    assert world.auditor.verdict().reason == "the account's keys are not audited: the keys were not read yet"
    await world.auditor.read_keys()
    assert world.auditor.verdict().reason.startswith(
        "how the account stands is not audited: how the account stands was"
    )
    await world.auditor.read_posture()
    assert world.auditor.verdict().reason.startswith("the gateway's journal cannot be read again: the journal was not")
    await world.auditor.reread_journal()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    assert world.changes == 3


async def test_rogue_order_halts_first_and_asks_for_a_kill_then(world: World) -> None:
    world.orders = [listed_order()]
    await world.auditor.look()
    await do_duties(world)
    assert world.done == ["halt", "kill"]
    assert [(kind, severity) for kind, severity, _ in world.incidents] == [("order:rogue", Severity.CRITICAL)]
    assert world.incidents[0][2] == {
        "order_id": "o-1",
        "link_id": "",
        "category": "spot",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "reason": "its order link id is no tag of this deployment for it",
    }
    (kill,) = world.kills
    assert (kill.condition, kill.request_id) == (KillCondition.ROGUE_ORDER, "rogue_order:o-1")
    assert (world.alerts[0].subject, world.alerts[0].needs_acknowledgement) == ("order:rogue", True)
    assert world.auditor.state.rogue_orders == 1


async def test_what_is_done_is_not_done_again(world: World) -> None:
    world.orders = [listed_order()]
    for _ in range(3):
        await world.auditor.look()
        await do_duties(world)
    assert world.done == ["halt", "kill"]
    assert (len(world.alerts), len(world.incidents)) == (1, 1)


async def test_halt_that_fails_keeps_no_kill_from_being_asked_for_and_is_tried_again(world: World) -> None:
    world.orders = [listed_order()]
    world.failing = {"halt", "kill"}
    await world.auditor.look()
    await do_duties(world)
    world.failing = {"kill"}
    await do_duties(world)
    world.failing = set()
    await do_duties(world)
    await do_duties(world)
    assert world.done == ["halt failed", "kill failed", "halt", "kill failed", "kill"]
    assert world.auditor.duties.owed == []
    assert len({kill.request_id for kill in world.kills}) == 1


async def test_what_is_not_halted_yet_is_halted_by_the_lease(world: World) -> None:
    world.orders = [listed_order()]
    world.failing = {"halt"}
    await world.auditor.look()
    assert world.changes == 2  # the lease is sent anew at once, and not when the look has ended
    await do_duties(world)
    verdict = world.auditor.verdict()
    assert (verdict.ceiling, world.done) == (Ceiling.HALTED, ["halt failed", "kill"])
    assert verdict.reason.startswith("the gateway is to be halted: spot Buy order o-1 on BTCUSDT")
    world.failing = set()
    await world.auditor.duties.halt()
    assert (world.auditor.verdict().ceiling, world.auditor.duties.owed) == (Ceiling.REDUCE_ONLY, [])


async def test_executor_that_hangs_delays_no_halt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = asyncio.Event()

    async def hang(_request: KillRequest) -> None:
        await hanging.wait()

    monkeypatch.setattr(world, "request_kill", hang)
    task = asyncio.create_task(world.auditor.run())
    async with asyncio.timeout(60):
        for number in (1, 2):
            world.orders = [listed_order(number)]
            world.auditor.look_soon()
            while world.done != ["halt"] * number:  # noqa: ASYNC110 - a loop of its own acts
                await asyncio.sleep(0.005)
    task.cancel()


async def test_rogue_order_is_read_again_by_a_start_until_the_gateway_has_halted(world: World) -> None:
    world.orders = [listed_order()]
    world.failing = {"halt", "kill"}
    await world.auditor.look()
    await do_duties(world)
    await world.auditor.look()
    assert world.marks == []
    world.failing = {"kill"}
    await do_duties(world)
    await world.auditor.look()
    assert len(world.marks) == 1


async def test_rogue_order_that_a_person_has_released_is_not_found_again_by_a_start(world: World) -> None:
    world.orders = [listed_order(updatedTime=str(NOW_MS))]
    await world.auditor.look()
    await do_duties(world)
    assert world.done == ["halt", "kill"]
    world.pass_s(1)
    world.orders, world.ended = [], [listed_order(orderStatus="Cancelled", updatedTime=str(NOW_MS + 1000))]
    world.pass_s(3600)
    await world.auditor.look()
    again = World(clock=world.clock)
    again.auditor.drop_copy.read_until_ms = world.marks[-1] - AGAIN_MS
    again.ended = world.ended
    await again.auditor.look()
    await do_duties(again)
    assert (again.done, again.auditor.state.rogue_orders) == ([], 0)


@pytest.mark.parametrize(
    ("changes", "subject"),
    [({"side": "Sell"}, "order:reduces"), ({"createType": "CreateByLiq"}, "order:exchanges")],
)
async def test_what_may_be_a_persons_or_is_the_exchanges_halts_and_does_not_kill(
    world: World, changes: dict[str, Any], subject: str
) -> None:
    world.orders = [listed_order(**changes)]
    await world.auditor.look()
    await do_duties(world)
    assert world.done == ["halt"]
    assert [kind for kind, _, _ in world.incidents] == [subject]
    assert (world.auditor.state.rogue_orders, world.auditor.state.other_orders) == (0, 1)


async def test_unproven_order_freezes_searches_and_does_neither_halt_nor_kill(world: World) -> None:
    world.orders = [listed_order(orderLinkId=tag())]
    await world.read_all()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    assert world.auditor.state.pending == 1
    world.pass_s(OVERDUE_S + 1)
    await world.auditor.reread_journal()
    await world.auditor.look()
    await do_duties(world)
    assert world.done == ["search 1"]
    assert world.auditor.verdict().reason == "1 orders at the exchange are unproven"
    assert world.alerts[0].severity is Severity.WARNING
    world.journaled.take(
        seq=1,
        at_ns=NOW_MS * 1_000_000,
        kind=RowKind.ORDER_INTENT,
        fields={
            "tag": tag(),
            "category": "spot",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "quantity": "1",
            "price": "100",
            "reduce_only": False,
        },
    )
    await world.auditor.look()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE


async def test_order_whose_row_is_not_there_once_the_journal_was_read_is_rogue(world: World) -> None:
    world.orders = [listed_order(orderLinkId=tag())]
    await world.auditor.look()
    world.pass_s(1)
    world.read_through_ns = world.clock.monotonic_ns()
    await world.auditor.look()
    await do_duties(world)
    assert world.done == ["halt", "kill"]


async def test_exchange_that_does_not_answer_freezes_after_a_while_and_never_halts(world: World) -> None:
    await world.read_all()
    world.is_down = True
    world.pass_s(LOOK_AGE_MAX_S)
    world.auditor.state.journal_reread_at_ns = world.clock.monotonic_ns()
    await world.auditor.look()
    await world.auditor.read_keys()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    world.pass_s(0.001)
    verdict = world.auditor.verdict()
    assert verdict.ceiling is Ceiling.REDUCE_ONLY
    assert verdict.reason == "the orders are not audited: the exchange does not answer"
    assert world.done == []


async def test_keys_that_cannot_be_read_freeze_after_a_while(world: World) -> None:
    await world.auditor.read_keys()
    world.pass_s(KEYS_AGE_MAX_S)
    await world.auditor.look()
    await world.auditor.read_posture()
    await world.auditor.reread_journal()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    world.pass_s(0.001)
    assert world.auditor.verdict().reason == "the account's keys are not audited: no reading came to its end"


async def test_standing_that_cannot_be_read_freezes_after_a_while(world: World) -> None:
    await world.auditor.read_posture()
    world.pass_s(POSTURE_AGE_MAX_S)
    await world.auditor.look()
    await world.auditor.read_keys()
    await world.auditor.reread_journal()
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    world.is_down = True
    await world.auditor.read_posture()
    world.pass_s(0.001)
    verdict = world.auditor.verdict()
    assert verdict.ceiling is Ceiling.REDUCE_ONLY
    assert verdict.reason == "how the account stands is not audited: the exchange does not answer"


async def test_limits_that_are_not_known_freeze_from_the_start_on(world: World) -> None:
    world.limits = None
    await world.read_all()
    verdict = world.auditor.verdict()
    assert verdict.ceiling is Ceiling.REDUCE_ONLY
    assert verdict.reason == "the limits are not audited: the journal shows no policy of the authorised hash"
    world.limits = WIDE
    changes = world.changes
    await world.auditor.reread_journal()
    assert (world.auditor.verdict().ceiling, world.changes) == (Ceiling.ACTIVE, changes + 1)


async def test_limits_that_are_not_known_any_more_freeze_after_a_while(world: World) -> None:
    await world.read_all()
    world.limits = None
    world.pass_s(LIMITS_AGE_MAX_S)
    await world.read_all()
    assert (world.auditor.verdict().ceiling, world.auditor.state.are_limits_known) == (Ceiling.ACTIVE, False)
    world.pass_s(0.001)
    assert world.auditor.verdict().reason.startswith("the limits are not audited")
    assert "halt" not in world.done


async def test_limits_that_the_newest_rows_do_not_hold_are_looked_for_in_all_once_a_minute(world: World) -> None:
    world.limits = None
    for _ in range(3):
        await world.auditor.reread_journal()
    assert world.done == ["find limits"]
    world.pass_s(LIMITS_AGE_MAX_S + 1)
    world.lost_limits = WIDE
    await world.auditor.reread_journal()
    assert (world.done, world.auditor.state.are_limits_known) == (["find limits"] * 2, True)


async def test_copy_that_cannot_be_searched_for_limits_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise JournalUnavailable("the disk is gone")

    world.limits = None
    monkeypatch.setattr(world.auditor, "find_limits", refuse)
    await world.read_all()
    assert world.auditor.verdict().reason.startswith("the limits are not audited")


async def test_rogue_key_halts_and_asks_for_a_kill(world: World) -> None:
    world.keys.append(listed_key("thief"))
    await world.auditor.read_keys()
    await world.auditor.read_keys()
    await do_duties(world)
    assert [seen.listed.key for seen in world.auditor.state.keys][-1] == "thief"
    assert world.done == ["halt", "kill"]
    assert world.kills[0].condition is KillCondition.ROGUE_KEY
    assert world.incidents == [
        ("key:rogue", Severity.CRITICAL, {"key": "thief", "detail": "nobody expects it; it may read"})
    ]


async def test_widened_key_halts_and_does_not_kill(world: World) -> None:
    world.keys = [listed_key("read1", readOnly=False)]
    await world.auditor.read_keys()
    await do_duties(world)
    assert world.done == ["halt"]


@pytest.mark.parametrize("keys", [[], [listed_key("read1", deadlineDay=3)]])
async def test_key_that_is_gone_or_ends_is_told_and_halts_nothing(world: World, keys: list[dict[str, Any]]) -> None:
    world.keys = keys
    await world.auditor.read_keys()
    await do_duties(world)
    assert world.done == []
    assert world.alerts[0].severity is Severity.WARNING
    (finding,) = world.auditor.state.key_alarms
    assert finding.alarm in {KeyAlarm.MISSING, KeyAlarm.EXPIRING}


async def test_key_is_told_again_when_it_comes_back_or_comes_nearer_its_end(world: World) -> None:
    for days in (7, 7, 6, 3):
        world.keys = [listed_key("read1", deadlineDay=days)]
        await world.auditor.read_keys()
    assert [alert.text for alert in world.alerts] == [
        "exchange key read1: the read key ends within 7 days",
        "exchange key read1: the read key ends within 3 days",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ips": ["198.51.100.7"]}, "is bound to other addresses than before"),
        ({"permissions": {"Spot": ["SpotTrade"]}}, "has other permissions than before"),
    ],
)
async def test_key_that_is_not_what_it_was_is_told_once_and_remembered(
    world: World, changes: dict[str, Any], words: str
) -> None:
    await world.auditor.read_keys()
    assert len(world.kept_keys) == 1
    world.keys = [listed_key("read1", **changes)]
    for _ in range(2):
        await world.auditor.read_keys()
    assert [(alert.subject, alert.text) for alert in world.alerts] == [
        ("key:changed", f"exchange key read1: the read key {words}")
    ]
    assert world.incidents[0][0] == "key:changed"
    assert (len(world.kept_keys), world.done) == (2, [])
    world.keys = []
    await world.auditor.read_keys()
    world.keys = [listed_key("read1")]
    await world.auditor.read_keys()
    assert [alert.subject for alert in world.alerts].count("key:changed") == 2


async def test_row_that_was_edited_halts_once_and_asks_for_no_kill(world: World) -> None:
    await world.auditor.reread_journal()
    assert world.done == []
    world.served[1] = StoredRow(seq=1, body=b"edited", leaf_hash=b"")
    for _ in range(4):
        await world.auditor.reread_journal()
        await do_duties(world)
    assert world.done == ["halt"]
    words = "row 1 of the gateway's journal is not what it was when it was witnessed"
    assert world.incidents == [("journal:edited", Severity.CRITICAL, {"detail": words})]


async def test_journal_that_is_not_served_proves_nothing(world: World) -> None:
    await world.read_all()
    world.is_down = True
    world.pass_s(JOURNAL_AGE_MAX_S)
    await world.auditor.reread_journal()
    await do_duties(world)
    assert (world.done, world.incidents) == ([], [])
    assert world.auditor.verdict().ceiling is Ceiling.ACTIVE
    world.pass_s(0.001)
    assert world.auditor.verdict().reason.endswith("cannot be read again: the exchange does not answer")


POSITION = {
    "symbol": "BTCUSDT",
    "side": "Buy",
    "size": "1",
    "leverage": "1",
    "positionIdx": 0,
    "markPrice": "100",
}
LIMITS = AuditedLimits(
    leverage=1,
    max_open_orders=5,
    max_order_notional_usdt=Decimal(99),
    allocated_capital_usdt=Decimal(1000),
    max_gross_exposure=Decimal(1),
    turnover_budget_24h=Decimal(1),
    collar=Decimal("0.01"),
    reference_max_divergence=Decimal("0.02"),
    reference_max_age_s=5,
    stress_gap=Decimal("0.1"),
    per_symbol={("spot", "BTCUSDT"): Decimal(500)},
)


async def test_account_that_stands_as_it_should_raises_nothing(world: World) -> None:
    world.held_positions = [POSITION]
    world.limits = LIMITS
    await world.auditor.read_posture()
    await do_duties(world)
    assert (world.done, world.alerts) == ([], [])
    assert (world.auditor.state.posture_detail, world.auditor.state.are_limits_known) == ("", True)


async def test_hedge_mode_halts_once(world: World) -> None:
    world.held_positions = [{**POSITION, "positionIdx": 1}]
    for _ in range(2):
        await world.auditor.read_posture()
        await do_duties(world)
    assert world.done == ["halt"]
    assert world.incidents == [
        ("posture:position_mode", Severity.CRITICAL, {"name": "BTCUSDT", "detail": "BTCUSDT is in hedge mode"})
    ]


async def test_other_leverage_is_told_and_halts_nothing(world: World) -> None:
    world.held_positions = [{**POSITION, "leverage": "3"}]
    world.limits = None
    await world.auditor.read_posture()
    assert (world.alerts, world.auditor.state.are_limits_known) == ([], False)
    world.limits = LIMITS
    await world.auditor.read_posture()
    await do_duties(world)
    assert world.done == []
    assert [alert.subject for alert in world.alerts] == ["posture:leverage"]


async def test_limit_that_is_exceeded_three_times_in_a_row_halts(world: World) -> None:
    world.orders = [listed_order(orderLinkId=tag())]
    world.limits = LIMITS
    await world.auditor.look()
    for _ in range(2):
        await world.auditor.read_posture()
    world.orders = []
    await world.auditor.look()
    await world.auditor.read_posture()
    assert world.incidents == []
    world.orders = [listed_order(orderLinkId=tag())]
    await world.auditor.look()
    for _ in range(4):
        await world.auditor.read_posture()
        await do_duties(world)
    assert world.done == ["halt"]
    assert [kind for kind, _, _ in world.incidents] == ["limit:order_notional"]


async def test_order_that_has_ended_counts_against_no_limit(world: World) -> None:
    world.orders = [listed_order(orderLinkId=tag(), orderStatus="Cancelled")]
    world.limits = LIMITS
    await world.auditor.look()
    await world.auditor.read_posture()
    assert world.auditor.state.limit_alarms == ()


async def test_spot_order_that_filled_at_once_beyond_its_limit_halts_at_the_first_look(world: World) -> None:
    world.limits = LIMITS
    filled = {"orderStatus": "Filled", "cumExecQty": "1", "updatedTime": str(NOW_MS)}
    world.ended = [listed_order(orderLinkId=tag(), **filled), listed_order(2, price="98", orderLinkId=tag(), **filled)]
    await world.auditor.look()
    assert [(kind, fields["name"]) for kind, _, fields in world.incidents if kind.startswith("limit")] == [
        ("limit:order_notional", "o-1")
    ]
    await world.auditor.duties.halt()
    assert world.done == ["halt"]


async def test_order_that_filled_before_the_limits_are_known_is_not_measured(world: World) -> None:
    world.limits = None
    world.ended = [listed_order(orderLinkId=tag(), orderStatus="Filled", cumExecQty="1")]
    await world.auditor.look()
    assert world.incidents == []


async def test_standing_that_cannot_be_read_is_said_and_proves_nothing(world: World) -> None:
    world.is_down = True
    await world.auditor.read_posture()
    await do_duties(world)
    assert (world.done, world.auditor.state.posture_detail) == ([], "the exchange does not answer")


async def test_journal_that_was_read_while_the_look_went_on_proves_nothing_of_what_it_saw(world: World) -> None:
    """The order's row may have been written after that reading and before the order was listed."""

    def read_the_journal_and_go_on() -> None:
        world.pass_s(0.1)
        world.read_through_ns = world.clock.monotonic_ns()
        world.pass_s(0.1)

    world.orders = [listed_order(orderLinkId=tag())]
    world.during_look = read_the_journal_and_go_on
    await world.auditor.look()
    await do_duties(world)
    assert (world.done, world.auditor.state.pending) == ([], 1)
    world.during_look = lambda: None
    world.pass_s(0.1)
    world.read_through_ns = world.clock.monotonic_ns()
    await world.auditor.look()
    await do_duties(world)
    assert world.done == ["halt", "kill"]


async def test_gap_lets_nothing_new_through_until_it_is_read(world: World) -> None:
    await world.auditor.read_keys()
    await world.auditor.read_posture()
    await world.auditor.reread_journal()
    world.auditor.drop_copy.read_until_ms -= 3 * 24 * 3_600_000
    await world.auditor.look()
    assert world.auditor.verdict().reason == (
        "the orders are not audited: a gap is read from the exchange's history: 48.0 h are left"
    )
    assert world.auditor.state.behind_ms == 48 * 3_600_000
    await world.auditor.look()
    assert (world.auditor.verdict().ceiling, world.auditor.state.behind_ms) == (Ceiling.ACTIVE, 0)


async def test_gap_that_the_exchange_does_not_remember_lets_nothing_new_through(world: World) -> None:
    world.auditor.drop_copy.read_until_ms -= 3 * 365 * 24 * 3_600_000
    await world.auditor.look()
    assert "nobody has looked for 1095 days" in world.auditor.verdict().reason
    assert (world.done, world.marks) == ([], [])


async def test_mark_is_kept_unless_an_order_is_unproven(world: World) -> None:
    await world.auditor.look()
    begin_ms = world.marks[0]
    world.orders = [listed_order(orderLinkId=tag())]
    world.pass_s(2)
    await world.auditor.look()
    world.pass_s(OVERDUE_S + 1)
    await world.auditor.look()
    assert world.marks == [begin_ms, begin_ms + 2000]


async def test_reading_that_fails_keeps_no_mark(world: World) -> None:
    world.is_down = True
    await world.auditor.look()
    assert world.marks == []


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "LOOK_EVERY_S", 60)
    monkeypatch.setattr(auditor, "LOOK_SOON_S", 0.01)


async def _looked(world: World, times: int) -> None:
    async with asyncio.timeout(60):
        while world.looks < times:  # noqa: ASYNC110 - a loop of its own counts
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("_hasty")
async def test_stream_brings_the_next_look_forward(world: World) -> None:
    task = asyncio.create_task(world.auditor.run())
    await _looked(world, 1)
    await asyncio.sleep(0.05)
    assert world.looks == 1
    world.auditor.look_soon()
    await _looked(world, 2)
    await asyncio.sleep(0.05)
    assert world.looks == 2
    task.cancel()


@pytest.mark.usefixtures("_hasty")
async def test_gap_is_read_without_waiting_for_the_period(world: World) -> None:
    world.auditor.drop_copy.read_until_ms -= 3 * 24 * 3_600_000
    task = asyncio.create_task(world.auditor.run())
    await _looked(world, 2)
    assert world.auditor.state.behind_ms == 0
    task.cancel()


async def test_streams_are_told_the_positions_and_which_order_is_strange(world: World) -> None:
    world.held_positions = [
        {"symbol": "BTCUSDT", "side": "Sell", "size": "2", "leverage": "3", "positionIdx": 0, "markPrice": "100"}
    ]
    assert world.auditor.sizes() == {}
    await world.auditor.read_posture()
    assert world.auditor.sizes() == {"BTCUSDT": Decimal(-2)}
    assert world.auditor.is_strange(seen_order(listed_order(), category="spot"))
    assert not world.auditor.is_strange(seen_order(listed_order(orderLinkId=tag()), category="spot"))
    assert world.auditor.is_strange(seen_order(listed_order(orderLinkId=tag()), category="linear"))


async def test_fork_of_the_gateway_s_journal_halts_and_is_asked_a_kill_for_once_with_its_proof(world: World) -> None:
    words = "the gateway's journal forked: the log signed a root over 3 rows that its own rows contradict"
    for _ in range(3):
        world.auditor.found_fork_of_gateway(words)
        await do_duties(world)
    assert (world.done, world.kills) == (["halt"], [])
    for _ in range(3):
        world.auditor.judged_fork_of_gateway(words, b"proof")
        await do_duties(world)
    assert world.done == ["halt", "kill"]
    assert world.kills[0].condition is KillCondition.FORKED_JOURNAL
    assert world.kills[0].evidence == {"detail": words, "proof_00": "cHJvb2Y="}
    assert world.incidents == [("journal:forked", Severity.CRITICAL, {"detail": words})]
    assert (world.alerts[0].subject, world.alerts[0].needs_acknowledgement) == ("journal:forked", True)
    world.auditor.found_fork_of_gateway("another")
    assert len(world.incidents) == 2
    world.auditor.judged_fork_of_gateway("another", b"")
    await do_duties(world)
    world.auditor.judged_fork_of_gateway("another", b"proof")  # which came later
    await do_duties(world)
    assert [list(kill.evidence) for kill in world.kills[1:]] == [["detail"], ["detail", "proof_00"]]
    assert len({kill.request_id for kill in world.kills}) == 3


async def test_account_is_flat_by_looks_that_began_later_and_show_nothing(world: World) -> None:
    since_ns = world.clock.monotonic_ns()
    assert not world.auditor.is_flat(since_ns)
    await world.auditor.look()
    await world.auditor.read_posture()
    assert not world.auditor.is_flat(since_ns)
    world.pass_s(1)
    await world.auditor.look()
    assert not world.auditor.is_flat(since_ns)
    await world.auditor.read_posture()
    assert world.auditor.is_flat(since_ns)
    world.orders = [listed_order(side="Sell")]
    await world.auditor.look()
    assert not world.auditor.is_flat(since_ns)


async def test_account_that_holds_something_is_not_flat(world: World) -> None:
    world.pass_s(1)
    world.held_positions = [POSITION]
    await world.auditor.look()
    await world.auditor.read_posture()
    assert not world.auditor.is_flat(0)


async def test_fork_of_the_executor_s_journal_halts_and_asks_for_no_kill(world: World) -> None:
    world.auditor.found_fork("the executor's journal forked")
    await do_duties(world)
    assert world.done == ["halt"]
    assert [(kind, severity) for kind, severity, _ in world.incidents] == [
        ("journal:executor_forked", Severity.CRITICAL)
    ]
    assert world.alerts[0].needs_acknowledgement


async def test_halt_says_what_was_found_of_what_is_allowed(world: World) -> None:
    world.orders = [listed_order(qty="0.5")]
    await world.auditor.look()
    assert world.auditor.verdict().figure == "0.5 BTCUSDT of 0"
    world.held_positions = [{**POSITION, "positionIdx": 1}]
    await world.auditor.read_posture()
    await world.auditor.duties.halt()
    assert world.figures == ["0.5 BTCUSDT of 0"]


async def test_figure_of_another_form_costs_no_halt(world: World) -> None:
    world.keys = [listed_key("read1"), listed_key("k" * 64)]
    await world.auditor.read_keys()
    assert world.auditor.verdict().ceiling is Ceiling.HALTED
    assert world.auditor.verdict().figure == ""
    await world.auditor.duties.halt()
    assert (world.done, world.figures) == (["halt"], [""])


async def test_another_hand_in_our_own_journal_halts_and_is_told(world: World) -> None:
    touched = [False, True, False]
    world.auditor.is_own_journal_touched = lambda: touched.pop(0)
    await world.auditor.look_at_own_journal()
    assert world.incidents == []
    await world.auditor.look_at_own_journal()
    assert world.auditor.verdict().ceiling is Ceiling.HALTED
    await world.auditor.look_at_own_journal()
    await do_duties(world)
    assert (world.done, [kind for kind, _, _ in world.incidents]) == (["halt"], ["journal:foreign_write"])
    assert [(alert.subject, alert.needs_acknowledgement) for alert in world.alerts] == [("journal:foreign_write", True)]
