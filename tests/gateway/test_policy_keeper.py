"""The policy keeper: what a changed file does and does not do, what a warrant takes, and what voids it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gateway.parts import FailingJournal, rows_of
from gateway.policy.parts import POLICY
from gateway.policy_parts import LOOSER, MIXED, RING, TIGHTER, begun, policy_toml, policy_warrant

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.trust.keys import NotTrusted
from trade_core.trust.policy_warrant import MAX_POLICY_WARRANT_BYTES, open_policy_warrant, policy_subject
from trade_gateway import policy_keeper
from trade_gateway.countdown import UNHEARD, UNHEARD_S, WAITS
from trade_gateway.metrics import Metrics
from trade_gateway.policy.limits import policy_hash
from trade_gateway.policy.model import Policy
from trade_gateway.policy_file import FileStatus
from trade_gateway.policy_history import InForce, PolicyHistory
from trade_gateway.policy_keeper import PolicyKeeper, is_policy_warrant
from trade_gateway.recorder import Recorder
from trade_gateway.row_texts import warrant_parts
from trade_gateway.state_keeper import RELEASE_DELAY_S
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Entry, Fields, Row, RowKind, draft
from trade_journal.writer.writer import JournalWriter

POLICY_KINDS = {
    RowKind.POLICY_RECORDED,
    RowKind.POLICY_CHANGED,
    RowKind.POLICY_REFUSED,
    RowKind.RELEASE_ANNOUNCED,
    RowKind.RELEASE_VOIDED,
    RowKind.RELEASE_REFUSED,
}


@dataclass
class Desk:
    """A keeper with everything that it tells others in the test's hand."""

    path: Path
    keeper: PolicyKeeper
    history: PolicyHistory
    clock: ManualClock
    journal: JournalWriter
    faults: list[bool]
    changes: list[InForce]
    is_clock_trusted: list[bool] = field(default_factory=lambda: [True])

    def write(self, policy: Policy | str) -> None:
        self.path.write_text(policy if isinstance(policy, str) else policy_toml(policy))

    async def settle(self) -> None:
        for _ in range(2):
            await self.keeper.work()

    async def wait(self, seconds: float) -> None:
        self.clock.advance(int(seconds * NS_PER_S))
        await self.keeper.work()

    def warrant(self, new: Policy, **changed: Any) -> bytes:
        expires = {"expires_at_ms": self.clock.wall_ns() // NS_PER_MS + 60_000}
        return policy_warrant(self.keeper.in_force.policy, new, **{**expires, **changed})

    @property
    def status(self) -> str:
        return str(self.keeper.describe()["file"]["status"])

    async def rows(self, *kinds: RowKind) -> list[Row]:
        return [row for row in await rows_of(self.journal) if row.kind in (set(kinds) or POLICY_KINDS)]


def keeper_of(
    path: Path, history: PolicyHistory, recorder: Recorder, clock: ManualClock
) -> tuple[PolicyKeeper, list[bool], list[InForce], list[bool]]:
    faults: list[bool] = []
    changes: list[InForce] = []
    trusted = [True]
    keeper = PolicyKeeper(
        path=path,
        ring=RING,
        history=history,
        recorder=recorder,
        clock=clock,
        is_clock_trusted=lambda: trusted[0],
        on_fault=faults.append,
        on_change=changes.append,
    )
    return keeper, faults, changes, trusted


@asynccontextmanager
async def opened(tmp_path: Path, recorder: Recorder, clock: ManualClock, journal: JournalWriter) -> AsyncIterator[Desk]:
    history, path = begun(), tmp_path / "policy.toml"
    keeper, faults, changes, trusted = keeper_of(path, history, recorder, clock)
    desk = Desk(
        path=path,
        keeper=keeper,
        history=history,
        clock=clock,
        journal=journal,
        faults=faults,
        changes=changes,
        is_clock_trusted=trusted,
    )
    desk.write(POLICY)
    yield desk


@pytest.fixture
async def desk(tmp_path: Path, recorder: Recorder, clock: ManualClock, journal: JournalWriter) -> AsyncIterator[Desk]:
    async with opened(tmp_path, recorder, clock, journal) as made:
        yield made


async def test_keeper_file_that_is_in_force_clears_the_fault_at_the_first_look(desk: Desk) -> None:
    assert desk.status == "not_read_yet"
    await desk.keeper.work()
    assert (desk.status, desk.faults, desk.changes) == ("in_force", [False], [])
    assert desk.keeper.is_file_in_force
    assert await desk.rows() == []


async def test_keeper_tightening_is_in_force_after_two_looks_with_its_rows_first(desk: Desk) -> None:
    desk.write(TIGHTER)
    await desk.keeper.work()
    assert desk.changes == []
    await desk.keeper.work()
    assert [change.policy_hash for change in desk.changes] == [policy_hash(TIGHTER)]
    assert (desk.status, desk.faults) == ("in_force", [False])
    content, change = await desk.rows()
    assert (content.kind, content.fields["hash"]) == (RowKind.POLICY_RECORDED, policy_hash(TIGHTER))
    assert change.fields == {
        "old_hash": policy_hash(POLICY),
        "new_hash": policy_hash(TIGHTER),
        "changes": ["tightens collar: 0.003 -> 0.002", "tightens max_open_orders: 4 -> 3"],
    }
    described = desk.keeper.describe()
    assert described["authorised_hash"] == policy_hash(POLICY)
    assert described["in_force"]["max_open_orders"] == 3


@pytest.mark.parametrize("looser", [LOOSER, MIXED])
async def test_keeper_loosening_without_a_warrant_does_nothing_and_is_said_once(desk: Desk, looser: Policy) -> None:
    desk.write(looser)
    for _ in range(5):
        await desk.settle()
    assert (desk.changes, desk.status) == ([], "needs_warrant")
    assert True not in desk.faults
    shown = desk.keeper.describe()["file"]
    assert "loosens max_open_orders: 4 -> 5" in shown["changes"]
    assert "release --policy" in shown["needs"]
    (refused,) = await desk.rows()
    assert (refused.kind, refused.fields["new_hash"]) == (RowKind.POLICY_REFUSED, policy_hash(looser))


async def test_keeper_half_written_file_does_not_flap(desk: Desk) -> None:
    await desk.keeper.work()
    desk.write(policy_toml(POLICY)[:300])
    await desk.keeper.work()
    desk.write(POLICY)
    await desk.keeper.work()
    assert (desk.faults, desk.status) == ([False, False], "in_force")
    assert await desk.rows() == []


async def test_keeper_file_cut_off_between_two_symbols_does_not_tighten(desk: Desk) -> None:
    whole = policy_toml(POLICY)
    desk.write(whole[: whole.rindex("[[symbols]]")])
    await desk.keeper.work()
    desk.write(whole)
    await desk.settle()
    assert desk.changes == []


@pytest.mark.parametrize("content", ["", "nonsense", 'collar = "nan"', policy_toml(replace(POLICY, leverage=100))])
async def test_keeper_file_that_cannot_be_used_is_a_fault_until_it_is_good_again(desk: Desk, content: str) -> None:
    desk.write(content)
    await desk.keeper.work()
    assert desk.faults == []
    await desk.keeper.work()
    assert (desk.faults, desk.status) == ([True], "unusable")
    assert desk.keeper.describe()["file"]["reason"]
    assert not desk.keeper.is_file_in_force
    await desk.settle()
    (refused,) = await desk.rows()
    assert (refused.kind, refused.fields["new_hash"]) == (RowKind.POLICY_REFUSED, None)
    desk.write(POLICY)
    await desk.keeper.work()
    assert desk.faults[-1] is False
    assert desk.changes == []


async def test_keeper_missing_file_is_a_fault_and_comes_back(desk: Desk) -> None:
    desk.path.unlink()
    await desk.settle()
    assert desk.faults == [True]
    assert "cannot be read" in desk.keeper.describe()["file"]["reason"]
    desk.write(TIGHTER)
    await desk.settle()
    assert (desk.faults[-1], len(desk.changes)) == (False, 1)


async def test_keeper_file_beyond_the_rungs_is_not_taken_although_it_only_tightens(desk: Desk) -> None:
    desk.write(replace(POLICY, stress_gap=Decimal("0.5")))
    await desk.settle()
    assert (desk.changes, desk.faults) == ([], [True])
    assert "last rung" in desk.keeper.describe()["file"]["reason"]


async def test_keeper_disk_that_hangs_is_a_fault(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(policy_keeper, "LOOK_WITHIN_S", 0.01)
    desk.keeper._looking = never
    await desk.settle()
    assert desk.faults == [True]
    assert "did not answer" in desk.keeper.describe()["file"]["reason"]
    never.cancel()


async def test_keeper_that_cannot_look_raises_the_fault(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(policy_keeper, "judge_file", broken)
    with pytest.raises(ZeroDivisionError):
        await desk.keeper.work()
    assert desk.faults == [True]


async def test_keeper_looser_policy_waits_for_a_channel_that_hangs(desk: Desk) -> None:
    taken: list[bool] = []
    desk.keeper.announce = lambda *_: lambda: bool(taken)
    desk.write(LOOSER)
    await desk.settle()
    await desk.keeper.accept(desk.warrant(LOOSER))
    await desk.wait(RELEASE_DELAY_S * 2)
    assert (desk.changes, desk.keeper.describe()["release_pending"]["waits_for"]) == ([], WAITS)
    taken.append(True)
    await desk.wait(1)
    await desk.wait(RELEASE_DELAY_S - 1)
    assert desk.changes == []
    await desk.wait(1)
    assert [change.policy_hash for change in desk.changes] == [policy_hash(LOOSER)]


async def test_keeper_looser_policy_that_no_channel_takes_is_void_and_says_why(desk: Desk) -> None:
    desk.keeper.announce = lambda *_: lambda: False
    desk.write(LOOSER)
    await desk.settle()
    await desk.keeper.accept(desk.warrant(LOOSER))
    await desk.wait(UNHEARD_S)
    (voided,) = await desk.rows(RowKind.RELEASE_VOIDED)
    assert (voided.fields["reason"], desk.changes) == (UNHEARD, [])
    assert desk.keeper.describe()["release_pending"] is None


async def test_keeper_warrant_puts_a_looser_policy_in_force_after_the_announced_minute(desk: Desk) -> None:
    desk.write(LOOSER)
    await desk.settle()
    raw = desk.warrant(LOOSER)
    answer = await desk.keeper.accept(raw)
    assert answer == {"policy_hash": policy_hash(POLICY), "takes_effect_in_s": RELEASE_DELAY_S}
    await desk.wait(RELEASE_DELAY_S - 1)
    assert desk.changes == []
    assert desk.keeper.describe()["release_pending"]["in_s"] == 1
    await desk.wait(1)
    (change,) = desk.changes
    assert (change.policy_hash, change.authorised_hash, change.warrants) == (
        policy_hash(LOOSER),
        policy_hash(LOOSER),
        (raw,),
    )
    described = desk.keeper.describe()
    assert (described["release_pending"], described["file"]["status"], len(described["warrants"])) == (
        None,
        "in_force",
        1,
    )
    _refused, announced, _content, row = await desk.rows()
    assert announced.fields["hostile_loss_usdt_before"] == announced.fields["hostile_loss_usdt"] == "74.04"
    assert (announced.fields["words"], announced.fields["changes"]) == (
        "loosen it",
        ["loosens max_open_orders: 4 -> 5"],
    )
    assert row.fields["new_hash"] == policy_hash(LOOSER)


async def test_keeper_warrant_is_judged_by_the_file_as_it_is_and_not_by_a_look_from_before(desk: Desk) -> None:
    desk.keeper._looking = earlier = asyncio.get_running_loop().create_future()
    seen = policy_keeper.look_at(desk.path)
    desk.write(LOOSER)
    accepting = asyncio.create_task(desk.keeper.accept(desk.warrant(LOOSER)))
    await asyncio.sleep(0)
    earlier.set_result(seen)
    assert (await accepting)["takes_effect_in_s"] == RELEASE_DELAY_S


async def test_keeper_warrant_waits_for_a_disk_that_hangs_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(policy_keeper, "LOOK_WITHIN_S", 0.01)
    desk.keeper._looking = never
    desk.write(LOOSER)
    with pytest.raises(NotTrusted, match="the disk did not answer"):
        await desk.keeper.accept(desk.warrant(LOOSER))
    assert desk.keeper._looking is never
    never.cancel()


async def test_keeper_halt_voids_what_is_announced_and_its_warrant(desk: Desk) -> None:
    desk.write(LOOSER)
    await desk.settle()
    raw = desk.warrant(LOOSER)
    await desk.keeper.accept(raw)
    desk.keeper.void(reason="a halt", by="operator")
    await desk.wait(RELEASE_DELAY_S + 1)
    assert desk.changes == []
    with pytest.raises(NotTrusted, match="announced before"):
        await desk.keeper.accept(raw)
    (voided,) = await desk.rows(RowKind.RELEASE_VOIDED)
    assert (voided.fields["by"], voided.fields["reason"]) == ("operator", "a halt")


async def test_keeper_halt_while_the_announcement_is_written_voids_it(desk: Desk) -> None:
    desk.write(LOOSER)
    await desk.settle()
    accepting = asyncio.create_task(desk.keeper.accept(desk.warrant(LOOSER)))
    while not desk.history._announced_nonces:  # noqa: ASYNC110 - just before the row is durable
        await asyncio.sleep(0)
    desk.keeper.void(reason="a halt", by="operator")
    with pytest.raises(NotTrusted, match="halt came"):
        await accepting
    await desk.wait(RELEASE_DELAY_S + 1)
    assert desk.changes == []


@pytest.mark.parametrize("kind", [RowKind.POLICY_RECORDED, RowKind.POLICY_CHANGED])
async def test_keeper_halt_while_the_change_is_written_undoes_it_for_a_restart_too(
    desk: Desk, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, kind: RowKind
) -> None:
    desk.write(LOOSER)
    await desk.settle()
    await desk.keeper.accept(desk.warrant(LOOSER))
    append = recorder.append_durable

    async def append_and_halt(written: RowKind, fields: Fields) -> bool:
        is_durable = await append(written, fields)
        if written is kind:
            desk.keeper.void(reason="a halt", by="operator")
        return is_durable

    monkeypatch.setattr(recorder, "append_durable", append_and_halt)
    await desk.wait(RELEASE_DELAY_S)
    assert desk.changes == []
    assert len(await desk.rows(RowKind.POLICY_CHANGED)) == (kind is RowKind.POLICY_CHANGED)
    again = begun()
    for row in await desk.rows():
        again.take(row)
    assert again.current is not None
    assert again.current.policy_hash == desk.keeper.in_force.policy_hash == policy_hash(POLICY)


@pytest.mark.parametrize("other", [POLICY, TIGHTER, MIXED, "half a fi"])
async def test_keeper_file_that_changes_voids_what_is_announced(desk: Desk, other: Policy | str) -> None:
    desk.write(LOOSER)
    await desk.settle()
    await desk.keeper.accept(desk.warrant(LOOSER))
    desk.write(other)
    await desk.settle()
    desk.write(LOOSER)
    await desk.settle()
    await desk.wait(RELEASE_DELAY_S + 1)
    assert policy_hash(LOOSER) not in [change.policy_hash for change in desk.changes]
    assert len(await desk.rows(RowKind.RELEASE_VOIDED)) == 1


async def test_keeper_file_that_is_another_at_the_last_moment_voids_what_is_announced(desk: Desk) -> None:
    desk.write(LOOSER)
    await desk.settle()
    await desk.keeper.accept(desk.warrant(LOOSER))
    desk.write(replace(LOOSER, max_open_orders=6))
    await desk.wait(RELEASE_DELAY_S)
    assert desk.changes == []
    assert len(await desk.rows(RowKind.RELEASE_VOIDED)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"deployment": "d2"},
        {"purpose": "release"},
        {"ring_hash": "other"},
        {"subject": policy_subject(old_hash=policy_hash(POLICY), new_hash=policy_hash(MIXED))},
        {"subject": policy_subject(old_hash=policy_hash(TIGHTER), new_hash=policy_hash(LOOSER))},
        {"expires_at_ms": 1},
        {"expires_at_ms": 2**53 - 1},
        {"nonce": "n" * 129},
    ],
)
async def test_keeper_warrant_that_does_not_fit_is_refused_with_a_row(desk: Desk, change: dict[str, Any]) -> None:
    desk.write(LOOSER)
    await desk.settle()
    with pytest.raises(NotTrusted):
        await desk.keeper.accept(desk.warrant(LOOSER, **change))
    await desk.wait(RELEASE_DELAY_S + 1)
    assert desk.changes == []
    assert len(await desk.rows(RowKind.RELEASE_REFUSED)) == 1


async def test_keeper_warrant_for_what_no_file_says_or_needs_is_refused(desk: Desk) -> None:
    await desk.settle()
    for policy in (LOOSER, POLICY):
        with pytest.raises(NotTrusted, match="nothing to put in force"):
            await desk.keeper.accept(desk.warrant(policy))
    desk.write(TIGHTER)
    with pytest.raises(NotTrusted, match="tightens"):
        await desk.keeper.accept(desk.warrant(TIGHTER))


async def test_keeper_warrant_by_an_untrusted_clock_is_refused(desk: Desk) -> None:
    desk.write(LOOSER)
    await desk.settle()
    desk.is_clock_trusted[0] = False
    with pytest.raises(NotTrusted, match="clock"):
        await desk.keeper.accept(desk.warrant(LOOSER))


async def test_keeper_that_cannot_write_changes_nothing_and_tries_again(
    tmp_path: Path, clock: ManualClock, metrics: Metrics
) -> None:
    failing = FailingJournal(JournalUnavailable("the disk is full", cause="full"))
    recorder = Recorder(journal=failing, clock=clock, metrics=metrics, policy_hash="a" * 64)  # type: ignore[arg-type]
    path = tmp_path / "policy.toml"
    path.write_text(policy_toml(TIGHTER))
    keeper, faults, changes, _ = keeper_of(path, begun(), recorder, clock)
    for _ in range(3):
        await keeper.work()
    assert (changes, faults) == ([], [])
    failing.is_failing = False
    await keeper.work()
    assert [change.policy_hash for change in changes] == [policy_hash(TIGHTER)]


async def test_keeper_without_its_anchor_judges_no_file(tmp_path: Path, clock: ManualClock, metrics: Metrics) -> None:
    failing = FailingJournal(JournalUnavailable("the disk is full", cause="full"))
    recorder = Recorder(journal=failing, clock=clock, metrics=metrics, policy_hash="a" * 64)  # type: ignore[arg-type]
    path, history = tmp_path / "policy.toml", PolicyHistory(ring=RING)
    path.write_text(policy_toml(TIGHTER))
    history.begin(POLICY)
    keeper, faults, changes, _ = keeper_of(path, history, recorder, clock)
    for _ in range(3):
        await keeper.work()
    assert (changes, faults, keeper.describe()["file"]["status"]) == ([], [], "not_read_yet")
    failing.is_failing = False
    for _ in range(2):
        await keeper.work()
    assert len(changes) == 1
    assert [entry.kind for entry in failing.later] == [
        RowKind.POLICY_RECORDED,
        RowKind.POLICY_RECORDED,
        RowKind.POLICY_CHANGED,
    ]


def test_keeper_before_the_start_has_no_policy(tmp_path: Path, recorder: Recorder, clock: ManualClock) -> None:
    keeper, _, _, _ = keeper_of(tmp_path / "policy.toml", PolicyHistory(ring=RING), recorder, clock)
    with pytest.raises(RuntimeError):
        assert keeper.in_force


async def test_keeper_announcement_that_cannot_be_written_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write(LOOSER)
    await desk.settle()

    async def full(_: object) -> int:
        raise JournalUnavailable("full", cause="full")

    with monkeypatch.context() as patched:
        patched.setattr(desk.journal, "append", full)
        with pytest.raises(NotTrusted, match="cannot be announced"):
            await desk.keeper.accept(desk.warrant(LOOSER))
    await desk.wait(RELEASE_DELAY_S + 1)
    assert desk.changes == []


async def test_keeper_flapping_file_is_one_row_a_content(desk: Desk) -> None:
    for _ in range(4):
        for policy in (LOOSER, MIXED):
            desk.write(policy)
            await desk.settle()
    assert len(await desk.rows(RowKind.POLICY_REFUSED)) == 2
    assert desk.status == FileStatus.NEEDS_WARRANT.value


def test_is_policy_warrant_tells_it_from_a_release() -> None:
    raw = policy_warrant(POLICY, LOOSER)
    assert open_policy_warrant(raw, ring=RING).new_hash == policy_hash(LOOSER)
    assert is_policy_warrant(raw, ring=RING)
    assert not is_policy_warrant(policy_warrant(POLICY, LOOSER, purpose="release"), ring=RING)
    assert not is_policy_warrant(b"{}", ring=RING)


def test_keeper_largest_change_fits_a_row() -> None:
    fields: dict[str, Any] = {
        "old_hash": "a" * 64,
        "new_hash": "b" * 64,
        "changes": ["x" * 13] * 100,  # 1500 characters with their separators
        "warrant": warrant_parts(b"x" * MAX_POLICY_WARRANT_BYTES),
    }
    assert draft(Entry(at_ns=1, kind=RowKind.POLICY_CHANGED, actor="gateway", fields=fields, policy_hash="a" * 64)).head


async def test_looser_policy_that_nobody_outside_could_read_is_refused(desk: Desk) -> None:
    desk.write(LOOSER)
    await desk.settle()
    desk.keeper.has_channel = False
    with pytest.raises(NotTrusted, match="no channel of alerts is set up"):
        await desk.keeper.accept(desk.warrant(LOOSER))
    desk.keeper.has_channel = True
    assert (await desk.keeper.accept(desk.warrant(LOOSER)))["takes_effect_in_s"] == RELEASE_DELAY_S
