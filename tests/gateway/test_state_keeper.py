"""The state keeper: latches with rows, releases with warrants, and what voids them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from gateway.house import LIMITS
from trust_parts import KEYS, FastKey, cosigned, ring_of, signed_checkpoint, touch, watchdogs_checkpoint

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.kill_notice import kill_notice
from trade_core.trust.lease import Lease, Peak, open_lease, sign_lease
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.sign_counters import SignCounters
from trade_core.trust.signed_warrant import SignedWarrant
from trade_core.trust.warrant import Warrant
from trade_gateway.account.activity import Activity
from trade_gateway.announcer import Announce, HasReached
from trade_gateway.countdown import UNHEARD, UNHEARD_S, WAITS
from trade_gateway.ledger import OrderLedger
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.recorder import DENIAL_ROWS_PER_S, Recorder
from trade_gateway.recovery import LATCH_HOLDER, Recovered, recover
from trade_gateway.state_keeper import RELEASE_DELAY_S, StateKeeper
from trade_gateway.states import Fault
from trade_gateway.witnessed_log import WitnessedLog
from trade_journal.errors import JournalUnavailable
from trade_journal.log.checkpoint import Checkpoint
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter

OPERATOR = load_private_key(new_private_key())
RING = ring_of(OPERATOR)
UNREADABLE_SIZE = 7
OWN_SIZE = 2  # of a checkpoint that the journal gave out before this run


@pytest.fixture
def keeper(recorder: Recorder, clock: ManualClock) -> StateKeeper:
    return keeper_of(RING, recorder, clock)


def keeper_of(ring: KeyRing, recorder: Recorder, clock: ManualClock, *, order_key: str = "order1") -> StateKeeper:
    keys = gateway_log_keys(ring)
    assert keys.witness is not None

    async def has_signed(checkpoint: Checkpoint) -> bool:
        if checkpoint.size == UNREADABLE_SIZE:
            raise JournalUnavailable("the disk does not answer")
        return checkpoint.size == OWN_SIZE

    return StateKeeper(
        ring=ring,
        order_key=order_key,
        policy_hash="a" * 64,
        boot_nonce="b",
        clock=clock,
        recorder=recorder,
        witnessed=WitnessedLog(log=keys.log, witness=keys.witness, clock=clock, witnessed_size=0),
        has_signed=has_signed,
    )


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
        words="release HALTED; cause: found",
        expires_at_ms=clock.wall_ns() // NS_PER_MS + 60_000,
    )
    by = change.pop("by", KEYS[:1])
    return touch(replace(made, **change), by=by)


async def work_after(keeper: StateKeeper, clock: ManualClock, seconds: float) -> None:
    """Let time pass in the steps in which the service looks at the clocks."""
    for _ in range(int(seconds * 4)):
        clock.advance(NS_PER_S // 4)
        await keeper.work(is_journal_writable=True)


def to_list(told: list[tuple[str, str]]) -> Announce:
    """Announce to somebody who reads at once."""

    def announce(matter: str, _raw: bytes, words: str) -> HasReached:
        told.append((matter, words))
        return lambda: True

    return announce


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


async def test_keeper_release_waits_for_a_channel_that_hangs_and_counts_from_when_it_took_it(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    taken: list[bool] = []
    keeper.announce = lambda *_: lambda: bool(taken)
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    await keeper.accept_release(warrant(keeper, clock))
    await work_after(keeper, clock, RELEASE_DELAY_S * 2)
    pending = keeper.describe()["release_pending"]
    assert (keeper.latched(), pending["in_s"], pending["waits_for"]) == (TradingState.HALTED, None, WAITS)
    taken.append(True)
    await keeper.work(is_journal_writable=True)
    assert keeper.describe()["release_pending"]["in_s"] == RELEASE_DELAY_S
    await work_after(keeper, clock, RELEASE_DELAY_S - 1)
    assert keeper.latched() is TradingState.HALTED
    await work_after(keeper, clock, 1)
    assert keeper.latched() is TradingState.ACTIVE


async def test_keeper_release_that_no_channel_takes_is_void_and_says_why(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    taken: list[bool] = []
    keeper.announce = lambda *_: lambda: bool(taken)
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    await keeper.accept_release(warrant(keeper, clock))
    await work_after(keeper, clock, UNHEARD_S + 1)
    assert keeper.describe()["release_pending"] is None
    assert RowKind.RELEASE_VOIDED in await kinds(journal, recorder)
    (voided,) = [row for row in await journal.read(0, 500) if row.kind is RowKind.RELEASE_VOIDED]
    assert voided.fields["reason"] == UNHEARD
    taken.append(True)
    await work_after(keeper, clock, RELEASE_DELAY_S + 1)
    assert keeper.latched() is TradingState.HALTED


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


async def test_keeper_halt_while_a_release_is_being_announced_voids_it_and_its_warrant(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    raw = warrant(keeper, clock)
    announcing = asyncio.create_task(keeper.accept_release(raw))
    await asyncio.sleep(0)
    assert not announcing.done()
    await keeper.latch(TradingState.HALTED, reason="again", by="watchdog")
    with pytest.raises(NotTrusted, match="a halt, a release or another key ring came while it was being announced"):
        await announcing
    await work_after(keeper, clock, RELEASE_DELAY_S + 2)
    assert keeper.latched() is TradingState.HALTED
    with pytest.raises(NotTrusted, match="subject"):
        await keeper.accept_release(raw)
    assert RowKind.RELEASE_VOIDED in await kinds(journal, recorder)


@pytest.mark.parametrize("is_first", [False, True], ids=["release first", "copy first"])
async def test_keeper_copy_of_a_warrant_that_meets_its_own_release_changes_nothing(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder, *, is_first: bool
) -> None:
    """A copy that was late, on a network that doubles, must neither undo the release nor be one that waits."""
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    raw = warrant(keeper, clock, expires_at_ms=clock.wall_ns() // NS_PER_MS + 120_000)
    await keeper.accept_release(raw)
    await work_after(keeper, clock, RELEASE_DELAY_S - 1)
    clock.advance(NS_PER_S)
    both = [keeper.work(is_journal_writable=True), keeper.accept_release(raw)]
    await asyncio.gather(*(reversed(both) if is_first else both), return_exceptions=True)
    assert keeper.latched() is TradingState.ACTIVE
    await work_after(keeper, clock, RELEASE_DELAY_S + 2)
    assert (await kinds(journal, recorder)).count(RowKind.RELEASE_ANNOUNCED) == 2
    lifted = [
        row for row in await journal.read(0, 500) if row.fields.get("ceiling") == "ACTIVE" and "warrant" in row.fields
    ]
    assert len(lifted) == 1


@pytest.mark.parametrize(
    ("environment", "keys", "is_reduced"),
    [("simulated", 0, False), ("testnet", 0, True), ("live", 1, True), ("live", 2, False)],
)
async def test_keeper_adds_no_risk_for_real_without_two_security_keys(
    recorder: Recorder, clock: ManualClock, environment: str, keys: int, is_reduced: bool
) -> None:
    ring = replace(RING, environment=environment, credentials=tuple(key.credential for key in KEYS[:keys]))
    keeper = keeper_of(ring, recorder, clock)
    await keeper.work(is_journal_writable=True)
    held = keeper.describe()["holders"]["own_faults"]
    assert (held["ceiling"] == "REDUCE_ONLY", "security keys" in held["reason"]) == (is_reduced, is_reduced)


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
    with pytest.raises(NotTrusted, match="no security key of the key ring"):
        await keeper.accept_release(warrant(keeper, clock, by=[FastKey("stranger")]))


async def test_keeper_release_with_an_untrusted_clock_is_refused(keeper: StateKeeper, clock: ManualClock) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    clock.leap_wall(5 * NS_PER_S)
    with pytest.raises(NotTrusted, match="clock"):
        await keeper.accept_release(warrant(keeper, clock))


async def test_keeper_release_may_name_rungs_of_the_watchdog(keeper: StateKeeper, clock: ManualClock) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="watchdog")
    subject = f"{keeper.describe()['latch_subject']}+daily+monthly"
    await keeper.accept_release(warrant(keeper, clock, subject=subject))
    await work_after(keeper, clock, RELEASE_DELAY_S + 1)
    assert keeper.latched() is TradingState.ACTIVE


@pytest.mark.parametrize("rungs", ["+high_water+daily", "+monthly+daily", "+", "+yearly"])
async def test_keeper_release_that_names_other_rungs_is_refused(
    keeper: StateKeeper, clock: ManualClock, rungs: str
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="watchdog")
    with pytest.raises(NotTrusted):
        await keeper.accept_release(warrant(keeper, clock, subject=f"{keeper.describe()['latch_subject']}{rungs}"))


@pytest.mark.parametrize("ceiling", [None, TradingState.TRIMMED])
async def test_keeper_release_of_what_is_not_halted_is_refused(
    keeper: StateKeeper, clock: ManualClock, ceiling: TradingState | None
) -> None:
    if ceiling is not None:
        await keeper.latch(ceiling, reason="x", by="operator")
    with pytest.raises(NotTrusted, match="only HALTED or KILLED"):
        await keeper.accept_release(warrant(keeper, clock))


AFTER_KILL = "release KILLED; cause: found; decision: stays; drill: d1; order key: {}; exit key: exit2"


async def restarted(
    keeper: StateKeeper, journal: JournalWriter, recorder: Recorder, clock: ManualClock, *, order_key: str
) -> StateKeeper:
    """Start again with another order key, of which the exchange has not been asked yet."""
    again = keeper_of(RING, recorder, clock, order_key=order_key)
    activity = Activity(limits=LIMITS)
    again.restore(
        await recover(journal, OrderLedger(), activity=activity, started_at_ns=1, is_release=again.is_release)
    )
    again.set_fault(Fault.KEY_UNVERIFIED, is_there=True)
    assert (again.latched(), again.describe()["killed_keys"]) == (keeper.latched(), keeper.describe()["killed_keys"])
    return again


async def test_keeper_release_after_a_kill_takes_two_keys_new_credentials_and_everything_said(
    keeper: StateKeeper, journal: JournalWriter, recorder: Recorder, clock: ManualClock
) -> None:
    await keeper.accept_kill(killing(clock))
    assert (keeper.latched(), keeper.describe()["killed_keys"]) == (TradingState.KILLED, ["order1"])
    for by in (KEYS[:1], KEYS[1:], (KEYS[0], KEYS[0])):
        with pytest.raises(NotTrusted, match=r"two different security keys|signed twice"):
            await keeper.accept_release(warrant(keeper, clock, by=by, words=AFTER_KILL.format("order2")))
    with pytest.raises(NotTrusted, match="do not end with cause, decision, drill"):
        await keeper.accept_release(warrant(keeper, clock, by=KEYS))
    with pytest.raises(NotTrusted, match="order1 is one that was killed"):
        await keeper.accept_release(warrant(keeper, clock, by=KEYS, words=AFTER_KILL.format("order1")))
    with pytest.raises(NotTrusted, match="in use is order1, and another one is named"):
        await keeper.accept_release(warrant(keeper, clock, by=KEYS, words=AFTER_KILL.format("order2")))
    again = await restarted(keeper, journal, recorder, clock, order_key="order2")
    raw = warrant(again, clock, by=KEYS, words=AFTER_KILL.format("order2"))
    with pytest.raises(NotTrusted, match="has not been asked yet about the order key order2"):
        await again.accept_release(raw)
    again.set_fault(Fault.KEY_UNVERIFIED, is_there=False)
    await again.accept_release(raw)
    await work_after(again, clock, RELEASE_DELAY_S + 1)
    assert (again.latched(), again.describe()["killed_keys"]) == (TradingState.ACTIVE, [])
    third = keeper_of(RING, recorder, clock, order_key="order3")  # the key may change again later
    activity = Activity(limits=LIMITS)
    found = await recover(journal, OrderLedger(), activity=activity, started_at_ns=1, is_release=third.is_release)
    assert (found.latch, found.killed_keys) == (TradingState.ACTIVE, frozenset())


async def test_keeper_release_of_a_kill_is_believed_only_with_what_must_be_said(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    await keeper.accept_kill(killing(clock))
    sequence = int(str(keeper.describe()["latch_subject"]).split(":")[1])

    def is_believed(by: Any, words: str, killed_keys: tuple[str, ...] = ("order1",)) -> bool:
        raw = warrant(keeper, clock, by=by, words=words)
        return keeper.is_release(
            raw, latch_sequence=sequence, latch=TradingState.KILLED, killed_keys=frozenset(killed_keys)
        )

    assert is_believed(KEYS, AFTER_KILL.format("order2"))
    assert not is_believed(KEYS[:1], AFTER_KILL.format("order2"))
    assert not is_believed(KEYS, "release KILLED; cause: found")
    assert not is_believed(KEYS, AFTER_KILL.format("order1"))
    assert not is_believed(KEYS, AFTER_KILL.format("order2"), ())


async def test_keeper_killed_again_with_new_keys_names_them_too(
    keeper: StateKeeper, journal: JournalWriter, recorder: Recorder, clock: ManualClock
) -> None:
    await keeper.accept_kill(killing(clock))
    first = keeper.describe()["latch_subject"]
    again = await restarted(keeper, journal, recorder, clock, order_key="order2")
    again.set_fault(Fault.KEY_UNVERIFIED, is_there=False)
    assert again.describe()["latch_subject"] == first
    await again.accept_kill(killing(clock))
    assert again.describe()["killed_keys"] == ["order1", "order2"]
    assert again.describe()["latch_subject"] != first
    with pytest.raises(NotTrusted, match="order2 is one that was killed"):
        await again.accept_release(warrant(again, clock, by=KEYS, words=AFTER_KILL.format("order2")))


async def test_keeper_halt_after_a_kill_keeps_its_keys(
    keeper: StateKeeper, journal: JournalWriter, recorder: Recorder, clock: ManualClock
) -> None:
    await keeper.accept_kill(killing(clock))
    again = await restarted(keeper, journal, recorder, clock, order_key="order2")
    again.set_fault(Fault.KEY_UNVERIFIED, is_there=False)
    await again.accept_release(warrant(again, clock, by=KEYS, words=AFTER_KILL.format("order2")))
    await again.latch(TradingState.HALTED, reason="no", by="operator")  # voids it, by a row of its own
    rows = [row for row in await journal.read(0, 500) if row.fields.get("holder") == LATCH_HOLDER]
    assert (rows[-1].fields["ceiling"], rows[-1].fields["killed_keys"]) == ("KILLED", ["order1"])


async def test_keeper_release_that_nobody_outside_could_read_is_refused(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    keeper.has_channel = False
    with pytest.raises(NotTrusted, match="no channel of alerts is set up"):
        await keeper.accept_release(warrant(keeper, clock))
    assert keeper.describe()["release_pending"] is None
    assert RowKind.RELEASE_REFUSED in await kinds(journal, recorder)
    await keeper.accept_kill(killing(clock))  # what tightens needs nobody to read it


async def test_keeper_release_without_a_cause_is_refused(keeper: StateKeeper, clock: ManualClock) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    with pytest.raises(NotTrusted, match="do not end with a cause"):
        await keeper.accept_release(warrant(keeper, clock, words="release HALTED (held because: x); reason given: y"))


async def test_keeper_release_that_rebases_the_high_water_mark_takes_two_different_keys(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="watchdog")
    subject = f"{keeper.describe()['latch_subject']}+high_water"
    with pytest.raises(NotTrusted, match="two different security keys"):
        await keeper.accept_release(warrant(keeper, clock, subject=subject))
    told: list[tuple[str, str]] = []
    keeper.announce = to_list(told)
    answer = await keeper.accept_release(warrant(keeper, clock, subject=subject, by=KEYS))
    assert told == [("release", "in 60 s, unless it is halted: release HALTED; cause: found")]
    assert answer["takes_effect_in_s"] == RELEASE_DELAY_S


def killing(clock: ManualClock, *, by: Sequence[FastKey] = KEYS[:1], **change: Any) -> bytes:
    made = Warrant(
        purpose="kill",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="executor",
        account="1002",
        ring_hash=ring_hash(RING),
        subject="kill:1",
        nonce="n",
        words="stop everything",
        expires_at_ms=clock.wall_ns() // NS_PER_MS + 60_000,
    )
    return touch(replace(made, **change), by=by)


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "release"},
        {"purpose": "drill"},
        {"audience": "gateway"},
        {"account": "1003"},
        {"ring_hash": "other"},
        {"expires_at_ms": 1},
        {"by": [FastKey("stranger")]},
    ],
)
async def test_keeper_kill_that_nobody_ordered_is_refused(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder, change: dict[str, Any]
) -> None:
    with pytest.raises(NotTrusted):
        await keeper.accept_kill(killing(clock, **change))
    assert keeper.latched() is TradingState.ACTIVE
    assert RowKind.RELEASE_REFUSED in await kinds(journal, recorder)


async def test_keeper_kill_goes_on_with_an_untrusted_clock(keeper: StateKeeper, clock: ManualClock) -> None:
    clock.leap_wall(5 * NS_PER_S)
    await keeper.work(is_journal_writable=True)
    await keeper.accept_kill(killing(clock, expires_at_ms=1))
    assert keeper.latched() is TradingState.KILLED


def noticed(clock: ManualClock, *, key: Any = OPERATOR, aged_ms: int = 0, **change: Any) -> bytes:
    """Tell of a kill that a standing warrant allowed."""
    armed = killing(clock, **{"purpose": "arm", "words": "ARM an automatic KILL", **change})
    return kill_notice(armed, now_ms=clock.wall_ns() // NS_PER_MS - aged_ms, private_key=key)


async def test_keeper_automatic_kill_is_a_kill_that_two_new_keys_release(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    told: list[tuple[str, str]] = []
    keeper.announce = to_list(told)
    assert await keeper.accept_kill(noticed(clock)) == {"trading_state": "KILLED"}
    assert (keeper.latched(), keeper.describe()["killed_keys"]) == (TradingState.KILLED, ["order1"])
    assert told == [("killed", "killed automatically, as armed: ARM an automatic KILL")]
    with pytest.raises(NotTrusted, match="two different security keys"):
        await keeper.accept_release(warrant(keeper, clock, words=AFTER_KILL.format("order2")))


@pytest.mark.parametrize(
    "change",
    [
        {"key": load_private_key(new_private_key())},
        {"aged_ms": 60_001},
        {"aged_ms": -5_001},
        {"purpose": "kill"},
        {"audience": "gateway"},
        {"ring_hash": "other"},
        {"expires_at_ms": 1},
        {"by": [FastKey("stranger")]},
    ],
)
async def test_keeper_notice_that_does_not_hold_is_refused(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder, change: dict[str, Any]
) -> None:
    with pytest.raises(NotTrusted):
        await keeper.accept_kill(noticed(clock, **change))
    assert keeper.latched() is TradingState.ACTIVE
    assert RowKind.RELEASE_REFUSED in await kinds(journal, recorder)


async def test_keeper_standing_warrant_alone_kills_nothing(keeper: StateKeeper, clock: ManualClock) -> None:
    with pytest.raises(NotTrusted, match="purpose"):
        await keeper.accept_kill(killing(clock, purpose="arm"))
    assert keeper.latched() is TradingState.ACTIVE


async def test_keeper_notice_counts_by_an_untrusted_clock_too(keeper: StateKeeper, clock: ManualClock) -> None:
    raw = noticed(clock)
    clock.leap_wall(500 * NS_PER_S)
    await keeper.work(is_journal_writable=True)
    await keeper.accept_kill(raw)
    assert keeper.latched() is TradingState.KILLED


async def test_keeper_release_by_a_key_whose_counter_did_not_rise_is_refused(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    counters = SignCounters()

    def check(signed: SignedWarrant) -> None:
        nonlocal counters
        counters.check(signed)
        counters = counters.after(signed)

    keeper.check_counters = check
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    raw = warrant(keeper, clock)
    await keeper.accept_release(raw)
    with pytest.raises(NotTrusted, match="counter of 'first' did not rise"):
        await keeper.accept_release(raw)


async def test_keeper_believes_the_keys_of_another_ring_and_voids_what_the_old_ones_announced(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    old = warrant(keeper, clock)
    await keeper.accept_release(old)
    new_key = FastKey("new")
    ring = replace(RING, version=2, previous_hash=ring_hash(RING), credentials=(new_key.credential,))
    keeper.adopt_ring(ring)
    assert RowKind.RELEASE_VOIDED in await kinds(journal, recorder)
    await work_after(keeper, clock, RELEASE_DELAY_S + 1)
    assert keeper.latched() is TradingState.HALTED
    with pytest.raises(NotTrusted, match="no security key"):
        await keeper.accept_release(old)
    await keeper.accept_release(warrant(keeper, clock, by=[new_key], ring_hash=ring_hash(ring)))
    await work_after(keeper, clock, RELEASE_DELAY_S + 1)
    assert keeper.latched() is TradingState.ACTIVE
    keeper.adopt_ring(RING)


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
    assert keeper.is_release(raw, latch_sequence=sequence, latch=TradingState.HALTED, killed_keys=())
    assert not keeper.is_release(raw, latch_sequence=sequence + 1, latch=TradingState.HALTED, killed_keys=())
    assert not keeper.is_release(b"{}", latch_sequence=sequence, latch=TradingState.HALTED, killed_keys=())


async def test_keeper_reduced_is_set_exactly_while_no_risk_may_be_added(keeper: StateKeeper) -> None:
    told: list[bool] = []
    keeper.on_reduced = lambda: told.append(keeper.is_reduced)
    for _ in range(2):
        keeper.note()
        assert keeper.is_reduced  # no lease yet
    assert told == [True]


@pytest.mark.parametrize("value", [None, "0.1502"])
async def test_row_of_a_halt_has_the_figure_that_it_is_for(
    keeper: StateKeeper, journal: JournalWriter, value: str | None
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="watchdog", trigger_value=value)
    (row,) = [row for row in await journal.read(0, 500) if row.fields.get("holder") == LATCH_HOLDER]
    assert row.kind is RowKind.STATE_CHANGED
    assert row.fields == {
        "holder": LATCH_HOLDER,
        "ceiling": "HALTED",
        "reason": "x",
        "by": "watchdog",
        "trigger_value": value,
    }


async def test_row_of_a_halt_that_was_rung_for_has_its_figure(
    keeper: StateKeeper, journal: JournalWriter, recorder: Recorder
) -> None:
    keeper.bell.ring()
    keeper.hear_bell(reason="x", by="watchdog", trigger_value="5 BTC")
    await keeper.work(is_journal_writable=True)
    await kinds(journal, recorder)
    values = [row.fields["trigger_value"] for row in await journal.read(0, 500) if "trigger_value" in row.fields]
    assert values == ["5 BTC"]


@pytest.mark.parametrize(("said", "value"), [("", None), ("0.15", "0.15")])
async def test_row_of_a_halt_by_the_lease_has_the_figure_that_the_lease_says(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, said: str, value: str | None
) -> None:
    signed = signed_checkpoint(RING, OPERATOR)
    keeper.lease.witnessed.remember(signed, began_ns=clock.monotonic_ns())
    raw = lease_of(keeper, clock, cosigned(signed, RING, OPERATOR), ceiling="HALTED")
    await keeper.accept_lease(
        sign_lease(replace(open_lease(raw, lease_key=RING.lease_key), trigger_value=said), OPERATOR)
    )
    values = [row.fields["trigger_value"] for row in await journal.read(0, 500) if "trigger_value" in row.fields]
    assert values == [value]


async def test_keeper_tells_of_every_halt_also_of_one_that_changes_nothing(keeper: StateKeeper) -> None:
    told: list[tuple[str, str]] = []
    keeper.on_latched = lambda reason, by: told.append((reason, by))
    for _ in range(2):
        await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    assert told == [("x", "operator")] * 2


def lease_of(
    keeper: StateKeeper, clock: ManualClock, checkpoint: str, *, generation: int = 1, ceiling: str = "ACTIVE"
) -> bytes:
    now_ms = clock.wall_ns() // NS_PER_MS
    lease = Lease(
        deployment="d1",
        environment="simulated",
        account="1002",
        boot_nonce="b",
        generation=generation,
        ceiling=ceiling,
        scale="1",
        second_venue="none",
        second_prices=(),
        checkpoint=checkpoint,
        memory_checkpoint=watchdogs_checkpoint(RING),
        policy_hash="a" * 64,
        ring_hash=ring_hash(RING),
        signed_at_ms=now_ms,
        expires_at_ms=now_ms + 15_000,
    )
    return sign_lease(lease, OPERATOR)


def brought(size: int, root: bytes = b"r" * 32) -> str:
    return cosigned(signed_checkpoint(RING, OPERATOR, size=size, root=root), RING, OPERATOR)


async def test_keeper_lease_with_a_checkpoint_of_this_journal_counts_and_hands_it_on(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    kept: list[bytes] = []
    keeper.on_witnessed = kept.append
    keeper.lease.witnessed.remember(signed_checkpoint(RING, OPERATOR), began_ns=clock.monotonic_ns())
    await keeper.accept_lease(lease_of(keeper, clock, brought(3)))
    assert keeper.lease.is_fresh()
    assert kept == [brought(3).encode()]
    assert keeper.lease.witnessed.witnessed_size == 3


@pytest.mark.parametrize("checkpoint", [(3, b"f" * 32), (4, b"r" * 32), (1, b"r" * 32)])
async def test_keeper_lease_whose_checkpoint_this_journal_contradicts_halts_with_an_incident(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder, checkpoint: tuple[int, bytes]
) -> None:
    keeper.lease.witnessed.remember(signed_checkpoint(RING, OPERATOR), began_ns=clock.monotonic_ns())
    with pytest.raises(NotTrusted, match="its checkpoint"):
        await keeper.accept_lease(lease_of(keeper, clock, brought(*checkpoint)))
    assert keeper.latched() is TradingState.HALTED
    assert not keeper.lease.is_fresh()
    assert RowKind.INCIDENT_OPENED in await kinds(journal, recorder)


async def test_keeper_lease_with_a_checkpoint_of_before_this_run_is_refused_and_proves_nothing(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    keeper.lease.witnessed.remember(signed_checkpoint(RING, OPERATOR), began_ns=clock.monotonic_ns())
    with pytest.raises(NotTrusted, match="is not of the last 15 s"):
        await keeper.accept_lease(lease_of(keeper, clock, brought(OWN_SIZE)))
    assert (keeper.latched(), keeper.lease.is_fresh()) == (TradingState.ACTIVE, False)


async def test_keeper_old_checkpoint_that_cannot_be_looked_up_proves_nothing(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    with pytest.raises(NotTrusted, match="is not of the last 15 s"):
        await keeper.accept_lease(lease_of(keeper, clock, brought(UNREADABLE_SIZE)))
    assert (keeper.latched(), keeper.lease.is_fresh()) == (TradingState.ACTIVE, False)


async def test_keeper_halt_that_is_rung_for_counts_before_it_is_latched(keeper: StateKeeper) -> None:
    keeper.bell.ring()
    assert keeper.trading_state() is TradingState.HALTED
    assert (keeper.permits(True), keeper.permits(False), keeper.latched()) == (False, True, TradingState.ACTIVE)
    keeper.hear_bell(reason="x", by="operator")
    assert (keeper.trading_state(), keeper.latched()) == (TradingState.HALTED, TradingState.HALTED)
    assert not keeper.bell.is_ringing


async def test_keeper_bell_never_loosens_a_tighter_state(keeper: StateKeeper) -> None:
    await keeper.latch(TradingState.KILLED, reason="x", by="operator")
    keeper.bell.ring()
    assert keeper.trading_state() is TradingState.KILLED


async def test_keeper_halt_that_was_heard_is_acknowledged_once_its_row_is_durable(
    keeper: StateKeeper, journal: JournalWriter, recorder: Recorder
) -> None:
    keeper.bell.ring()
    keeper.hear_bell(reason="first", by="operator")
    await keeper.latch(TradingState.HALTED, reason="again", by="watchdog")
    assert keeper.describe()["latch_subject"] is not None
    latches = [row for row in await journal.read(0, 500) if row.fields.get("holder") == LATCH_HOLDER]
    assert [(row.fields["reason"], row.fields["by"]) for row in latches] == [("first", "operator")]


async def test_keeper_halt_that_was_heard_voids_a_pending_release(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="operator")
    await keeper.accept_release(warrant(keeper, clock))
    keeper.bell.ring()
    keeper.hear_bell(reason="again", by="operator")
    await work_after(keeper, clock, RELEASE_DELAY_S + 2)
    assert keeper.latched() is TradingState.HALTED
    assert RowKind.RELEASE_VOIDED in await kinds(journal, recorder)


async def test_keeper_lease_of_before_the_release_does_not_latch_again_and_one_of_after_does(
    keeper: StateKeeper, clock: ManualClock
) -> None:
    await keeper.latch(TradingState.HALTED, reason="x", by="watchdog")
    await keeper.accept_release(warrant(keeper, clock))
    await work_after(keeper, clock, RELEASE_DELAY_S + 1)
    assert keeper.latched() is TradingState.ACTIVE
    released_at = keeper._released_at
    assert released_at is not None
    for generation, size, latched in ((1, released_at, TradingState.ACTIVE), (2, released_at + 1, TradingState.HALTED)):
        keeper.lease.witnessed.remember(signed_checkpoint(RING, OPERATOR, size=size), began_ns=clock.monotonic_ns())
        checkpoint = cosigned(signed_checkpoint(RING, OPERATOR, size=size), RING, OPERATOR)
        await keeper.accept_lease(lease_of(keeper, clock, checkpoint, generation=generation, ceiling="HALTED"))
        assert keeper.trading_state() is TradingState.HALTED
        assert keeper.latched() is latched


async def test_keeper_writes_once_a_minute_what_the_watchdog_remembers(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    async def lease(generation: int, *peaks: Peak) -> None:
        signed = signed_checkpoint(RING, OPERATOR)
        keeper.lease.witnessed.remember(signed, began_ns=clock.monotonic_ns())
        raw = lease_of(keeper, clock, cosigned(signed, RING, OPERATOR), generation=generation)
        made = replace(open_lease(raw, lease_key=RING.lease_key), memory_rows=generation, peaks=peaks)
        await keeper.accept_lease(sign_lease(made, OPERATOR))

    peak = Peak(rung="daily", price="1.5")
    await lease(1)
    await lease(2, peak)
    clock.advance(60 * NS_PER_S - 1)
    await lease(3, peak)
    clock.advance(1)
    await lease(4, peak)
    await kinds(journal, recorder)
    rows = [row for row in await journal.read(0, 500) if row.kind is RowKind.WATCHDOG_REMEMBERED]
    note = watchdogs_checkpoint(RING)
    assert [row.fields for row in rows] == [
        {"rows": count, "peaks": {"daily": "1.5"}, "holder": "0" * 16, "memory_checkpoint": note} for count in (2, 4)
    ]


def brought_with(keeper: StateKeeper, clock: ManualClock, *, generation: int, memory: int, root: bytes) -> bytes:
    """Make a lease whose watchdog says so much of its own journal."""
    signed = signed_checkpoint(RING, OPERATOR)
    keeper.lease.witnessed.remember(signed, began_ns=clock.monotonic_ns())
    raw = lease_of(keeper, clock, cosigned(signed, RING, OPERATOR), generation=generation)
    note = watchdogs_checkpoint(RING, size=memory, root=root)
    made = replace(open_lease(raw, lease_key=RING.lease_key), memory_rows=memory, memory_checkpoint=note)
    return sign_lease(made, OPERATOR)


async def test_keeper_halts_when_the_watchdog_shows_two_histories_of_its_own_journal(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    await keeper.accept_lease(brought_with(keeper, clock, generation=1, memory=5, root=b"w" * 32))
    with pytest.raises(NotTrusted, match="another root over 5 rows"):
        await keeper.accept_lease(brought_with(keeper, clock, generation=2, memory=5, root=b"x" * 32))
    assert (keeper.latched(), keeper.lease.generation) == (TradingState.HALTED, 1)
    await kinds(journal, recorder)
    rows = [row for row in await journal.read(0, 500) if row.kind is RowKind.INCIDENT_OPENED]
    assert [(row.fields["type"], row.fields["severity"]) for row in rows] == [("watchdog journal forked", "critical")]


async def test_keeper_takes_a_fork_that_is_shown_again_for_one_matter_until_somebody_released(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    async def show(generation: int) -> None:
        with pytest.raises(NotTrusted, match="another root over 5 rows"):
            await keeper.accept_lease(brought_with(keeper, clock, generation=generation, memory=5, root=b"x" * 32))

    async def incidents() -> int:
        return (await kinds(journal, recorder)).count(RowKind.INCIDENT_OPENED)

    await keeper.accept_lease(brought_with(keeper, clock, generation=1, memory=5, root=b"w" * 32))
    for generation in range(2, 40):
        await show(generation)
    assert (keeper.latched(), await incidents()) == (TradingState.HALTED, 1)
    keeper._board.release(at_ns=clock.wall_ns())
    await show(40)
    assert (keeper.latched(), await incidents()) == (TradingState.HALTED, 2)


async def test_keeper_opens_an_incident_when_the_watchdog_s_journal_became_shorter_and_goes_on(
    keeper: StateKeeper, clock: ManualClock, journal: JournalWriter, recorder: Recorder
) -> None:
    for generation, memory in ((1, 5), (2, 4), (3, 4)):
        await keeper.accept_lease(
            brought_with(keeper, clock, generation=generation, memory=memory, root=bytes([memory]) * 32)
        )
    assert (keeper.latched(), keeper.lease.generation) == (TradingState.ACTIVE, 3)
    await kinds(journal, recorder)
    rows = [row for row in await journal.read(0, 500) if row.kind is RowKind.INCIDENT_OPENED]
    assert [row.fields["type"] for row in rows] == ["watchdog journal shorter"]


async def test_latch_counts_at_once_and_is_unrecorded_until_its_row_is_durable(
    keeper: StateKeeper, journal: JournalWriter
) -> None:
    assert keeper.is_latch_recorded
    await journal.close()
    await keeper.latch(TradingState.HALTED, reason="by hand", by="operator")
    assert (keeper.trading_state(), keeper.is_latch_recorded) == (TradingState.HALTED, False)


async def test_keeper_flood_of_what_is_refused_gets_few_rows(
    keeper: StateKeeper, journal: JournalWriter, recorder: Recorder
) -> None:
    for accept in (keeper.accept_lease, keeper.accept_release, keeper.accept_kill):
        for _ in range(100):
            with pytest.raises(NotTrusted):
                await accept(b"{}")
    refused = [
        kind for kind in await kinds(journal, recorder) if kind in {RowKind.LEASE_REFUSED, RowKind.RELEASE_REFUSED}
    ]
    assert len(refused) == DENIAL_ROWS_PER_S
