"""Which cosigned checkpoints of a lease count: those that this journal signed just now, and never a smaller one."""

from __future__ import annotations

import pytest
from trust_parts import cosigned, ring_of, signed_checkpoint

from trade_core.clock import NS_PER_S, ManualClock
from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_gateway.witnessed_log import (
    MAX_UNWITNESSED_S,
    CheckpointForgotten,
    LogForked,
    WitnessedLog,
)
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import Checkpoint, sign_checkpoint
from trade_journal.log.ring_keys import gateway_log_keys

KEY = load_private_key(new_private_key())
STRANGER = load_private_key(new_private_key())
RING = ring_of(KEY)


def log_of(clock: ManualClock, *, witnessed_size: int = 0) -> WitnessedLog:
    keys = gateway_log_keys(RING)
    assert keys.witness is not None
    return WitnessedLog(log=keys.log, witness=keys.witness, clock=clock, witnessed_size=witnessed_size)


def signed(size: int, root: bytes = b"r" * 32) -> bytes:
    return signed_checkpoint(RING, KEY, size=size, root=root)


def brought(size: int, root: bytes = b"r" * 32) -> str:
    return cosigned(signed(size, root), RING, KEY)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock) -> WitnessedLog:
    """A log that has signed 5 rows and then 8."""
    made = log_of(clock)
    for size in (5, 8):
        made.remember(signed(size), began_ns=clock.monotonic_ns())
    return made


def test_checkpoint_signed_here_and_cosigned_counts_once_it_is_taken(log: WitnessedLog) -> None:
    checkpoint = log.judge(brought(8))
    assert (checkpoint.size, log.witnessed_size) == (8, 0)
    log.take(checkpoint)
    assert log.witnessed_size == 8


def test_checkpoint_that_was_signed_last_is_told(log: WitnessedLog, clock: ManualClock) -> None:
    assert log_of(clock).last_signed() == (0, b"")
    assert log.last_signed() == (8, b"r" * 32)
    log.remember(signed(5, b"s" * 32), began_ns=clock.monotonic_ns())
    assert log.last_signed() == (5, b"s" * 32)


def test_checkpoint_of_the_same_size_counts_again(log: WitnessedLog) -> None:
    for _ in range(2):
        log.take(log.judge(brought(5)))
    assert log.witnessed_size == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a note is"),
        ("nonsense", "a note is"),
        ("\ud800", "a note is"),
        (signed(8).decode(), "watchdog"),
        (cosigned(signed(8), RING, STRANGER), "watchdog"),
        (cosigned(signed_checkpoint(RING, STRANGER, size=8), RING, KEY), "gateway"),
    ],
)
def test_checkpoint_that_log_and_witness_did_not_both_sign_is_refused(
    log: WitnessedLog, text: str, sentence: str
) -> None:
    with pytest.raises(NotTrusted, match=f"lease: its checkpoint: .*{sentence}") as refused:
        log.judge(text)
    assert not isinstance(refused.value, LogForked | CheckpointForgotten)
    assert log.witnessed_size == 0


def test_checkpoint_whose_size_goes_back_is_refused(log: WitnessedLog) -> None:
    log.take(log.judge(brought(8)))
    with pytest.raises(NotTrusted, match="has 5 rows, after one of 8") as refused:
        log.judge(brought(5))
    assert not isinstance(refused.value, LogForked)


@pytest.mark.parametrize(("witnessed_size", "counts"), [(7, True), (8, True), (9, False)])
def test_size_never_goes_back_over_a_restart(clock: ManualClock, witnessed_size: int, counts: bool) -> None:
    log = log_of(clock, witnessed_size=witnessed_size)
    log.remember(signed(8), began_ns=clock.monotonic_ns())
    if counts:
        assert log.judge(brought(8)).size == 8
    else:
        with pytest.raises(NotTrusted, match="after one of 9"):
            log.judge(brought(8))


@pytest.mark.parametrize(
    ("age_ns", "counts"), [(0, True), (MAX_UNWITNESSED_S * NS_PER_S, True), (15_000_000_001, False)]
)
def test_rows_stay_unwitnessed_for_fifteen_seconds_at_most(
    log: WitnessedLog, clock: ManualClock, age_ns: int, counts: bool
) -> None:
    clock.advance(age_ns)
    if counts:
        assert log.judge(brought(8)).size == 8
    else:
        with pytest.raises(NotTrusted, match="is 15 s old, at most 15 s count"):
            log.judge(brought(8))


def test_age_is_told_in_seconds(log: WitnessedLog, clock: ManualClock) -> None:
    clock.advance(62 * NS_PER_S)
    with pytest.raises(NotTrusted, match="is 62 s old"):
        log.judge(brought(8))


def test_checkpoint_of_the_same_size_that_is_signed_again_is_young_again(log: WitnessedLog, clock: ManualClock) -> None:
    clock.advance(60 * NS_PER_S)
    log.remember(signed(8), began_ns=clock.monotonic_ns())
    assert log.judge(brought(8)).size == 8


def test_root_that_this_journal_does_not_have_is_a_fork(log: WitnessedLog) -> None:
    with pytest.raises(LogForked, match="of 8 rows has another root than this journal has there"):
        log.judge(brought(8, b"f" * 32))


@pytest.mark.parametrize("size", [9, 1000])
def test_more_rows_than_this_journal_ever_signed_is_a_fork(log: WitnessedLog, size: int) -> None:
    with pytest.raises(LogForked, match=f"has {size} rows, and this journal signed 8 at most"):
        log.judge(brought(size))


@pytest.mark.parametrize("size", [0, 4, 6, 7])
def test_size_that_this_run_did_not_sign_is_for_the_journal_to_know(log: WitnessedLog, size: int) -> None:
    with pytest.raises(CheckpointForgotten, match=f"of {size} rows is not of the last 15 s") as refused:
        log.judge(brought(size))
    assert refused.value.checkpoint.size == size


def test_before_anything_was_signed_nothing_is_proved(clock: ManualClock) -> None:
    with pytest.raises(CheckpointForgotten):
        log_of(clock).judge(brought(3))


def test_only_the_last_64_checkpoints_are_remembered(clock: ManualClock) -> None:
    log = log_of(clock)
    for size in range(65):
        log.remember(signed(size), began_ns=clock.monotonic_ns())
    assert log.judge(brought(1)).size == 1
    with pytest.raises(CheckpointForgotten):
        log.judge(brought(0))


def test_checkpoint_that_is_signed_again_is_remembered_longer(clock: ManualClock) -> None:
    log = log_of(clock)
    for size in (*range(64), 0, 64):
        log.remember(signed(size), began_ns=clock.monotonic_ns())
    assert log.judge(brought(0)).size == 0
    with pytest.raises(CheckpointForgotten):
        log.judge(brought(1))


def test_note_that_the_log_did_not_sign_is_not_remembered(log: WitnessedLog) -> None:
    with pytest.raises(NoteRefused):
        log.remember(signed_checkpoint(RING, STRANGER), began_ns=0)


def test_log_that_is_followed_is_the_one_that_counts(log: WitnessedLog, clock: ManualClock) -> None:
    second = gateway_log_keys(RING, number=2).log
    log.follow(second)
    with pytest.raises(NoteRefused):
        log.remember(signed(3), began_ns=clock.monotonic_ns())
    checkpoint = Checkpoint(origin=second.name, size=3, root=b"r" * 32, ring_hash="a" * 64)
    note = sign_checkpoint(checkpoint, KEY).rendered().encode()
    log.remember(note, began_ns=clock.monotonic_ns())
    assert log.judge(cosigned(note, RING, KEY)).origin == second.name
    with pytest.raises(NotTrusted):
        log.judge(brought(3))
