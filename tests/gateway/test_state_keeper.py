"""The state keeper: latches with rows, releases with warrants, and what voids them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key, public_text
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.warrant import Warrant, open_warrant, sign_warrant
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.recorder import Recorder
from trade_gateway.recovery import Recovered
from trade_gateway.state_keeper import RELEASE_DELAY_S, StateKeeper, warrant_parts
from trade_journal.rows import RowKind
from trade_journal.writer import JournalWriter

OPERATOR = load_private_key(new_private_key())
RING = KeyRing(
    version=1,
    previous_hash="",
    deployment="d1",
    environment="simulated",
    account="1002",
    gateway_key=public_text(OPERATOR),
    lease_key=public_text(OPERATOR),
    operator_key=public_text(OPERATOR),
    tag_key_id="t",
    policy_hash="a" * 64,
    baseline=baseline_of(taken_at_ms=1),
)


@pytest.fixture
def keeper(recorder: Recorder, clock: ManualClock) -> StateKeeper:
    return StateKeeper(ring=RING, policy_hash="a" * 64, boot_nonce="b", clock=clock, recorder=recorder)


def warrant(keeper: StateKeeper, clock: ManualClock, **change: Any) -> bytes:
    made = Warrant(
        purpose="release",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="gateway",
        account="1002",
        ring_hash=ring_hash(RING),
        subject=str(keeper.describe()["latch_subject"]),
        nonce="n",
        words="release HALTED",
        expires_at_ms=clock.wall_ns() // NS_PER_MS + 60_000,
    )
    return sign_warrant(replace(made, **change), OPERATOR)


async def work_after(keeper: StateKeeper, clock: ManualClock, seconds: float) -> None:
    """Let time pass in the steps in which the service looks at the clocks."""
    for _ in range(int(seconds * 4)):
        clock.advance(NS_PER_S // 4)
        await keeper.work(is_journal_writable=True)


async def kinds(journal: JournalWriter, recorder: Recorder) -> list[RowKind]:
    assert await recorder.append_durable(RowKind.CONFIG_LOADED, {})
    return [row.kind for row in await journal.read(0, 500)]


async def test_keeper_release_takes_effect_only_after_the_announced_delay(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    await keeper.accept_release(warrant(keeper, clock))
    released: list[bool] = []
    keeper.on_released = lambda: released.append(True)
    await work_after(keeper, clock, RELEASE_DELAY_S - 1)
    assert (keeper.latched(), released) == (TradingState.HALTED, [])
    await work_after(keeper, clock, 1)
    assert (keeper.latched(), released) == (TradingState.ACTIVE, [True])


async def test_keeper_halt_while_a_release_is_pending_voids_it_and_its_warrant(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    raw = warrant(keeper, clock)
    await keeper.accept_release(raw)
    await keeper.latch(TradingState.HALTED, reason="again", by="watchdog")
    await work_after(keeper, clock, RELEASE_DELAY_S + 2)
    assert keeper.latched() is TradingState.HALTED
    with pytest.raises(NotTrusted, match="subject"):
        await keeper.accept_release(raw)
    assert RowKind.RELEASE_VOIDED in await kinds(journal, recorder)


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "latch:99"},
        {"deployment": "d2"},
        {"environment": "live"},
        {"audience": "watchdog"},
        {"account": "1003"},
        {"ring_hash": "other"},
        {"purpose": "policy"},
        {"expires_at_ms": 1},
        {"expires_at_ms": 2**53 - 1},
    ],
)
async def test_keeper_release_that_does_not_fit_is_refused_with_a_row(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder, change: dict[str, Any]
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    with pytest.raises(NotTrusted):
        await keeper.accept_release(warrant(keeper, clock, **change))
    await work_after(keeper, clock, RELEASE_DELAY_S + 2)
    assert keeper.latched() is TradingState.HALTED
    assert RowKind.RELEASE_REFUSED in await kinds(journal, recorder)


async def test_keeper_release_signed_by_another_key_is_refused(keeper: StateKeeper, clock: ManualClock) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    stranger = load_private_key(new_private_key())
    raw = warrant(keeper, clock)
    with pytest.raises(NotTrusted, match="not by key"):
        await keeper.accept_release(sign_warrant(open_warrant(raw, operator_key=RING.operator_key), stranger))


async def test_keeper_release_with_an_untrusted_clock_is_refused(keeper: StateKeeper, clock: ManualClock) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    clock.leap_wall(5 * NS_PER_S)
    with pytest.raises(NotTrusted, match="clock"):
        await keeper.accept_release(warrant(keeper, clock))


@pytest.mark.parametrize("ceiling", [None, TradingState.KILLED])
async def test_keeper_release_of_what_is_not_halted_is_refused(
    keeper: StateKeeper, clock: ManualClock, ceiling: TradingState | None
) -> None:
    if ceiling is not None:
        await keeper.latch(ceiling, reason="x", by="operator")
    with pytest.raises(NotTrusted, match="only HALTED"):
        await keeper.accept_release(warrant(keeper, clock))


async def test_keeper_release_of_a_recovered_latch_names_its_row(keeper: StateKeeper, clock: ManualClock) -> None:
    keeper.restore(Recovered(latch=TradingState.HALTED, latch_reason="before", latch_sequence=41))
    assert keeper.describe()["latch_subject"] == "latch:41"
    await keeper.accept_release(warrant(keeper, clock))
    assert keeper.describe()["release_pending"]["in_s"] == RELEASE_DELAY_S


async def test_keeper_release_in_the_journal_is_believed_only_for_its_own_row(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    sequence = int(str(keeper.describe()["latch_subject"]).removeprefix("latch:"))
    raw = warrant(keeper, clock, expires_at_ms=1)
    assert keeper.is_release(raw, latch_sequence=sequence)
    assert not keeper.is_release(raw, latch_sequence=sequence + 1)
    assert not keeper.is_release(b"{}", latch_sequence=sequence)


async def test_keeper_reduced_is_set_exactly_while_no_risk_may_be_added(keeper: StateKeeper) -> None:
    keeper.note()
    assert keeper.reduced.is_set()  # no lease yet


def test_warrant_parts_fit_a_row_and_join_again(keeper: StateKeeper, clock: ManualClock) -> None:
    parts = warrant_parts(b"x" * 2000)
    assert all(0 < len(part) <= 512 for part in parts)


async def test_keeper_tells_of_every_halt_also_of_one_that_changes_nothing(keeper: StateKeeper) -> None:
    told: list[tuple[str, str]] = []
    keeper.on_latched = lambda reason, by: told.append((reason, by))
    for _ in range(2):
        await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    assert told == [("x", "operator")] * 2
