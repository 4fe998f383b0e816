"""What leases say of their watchdog's own journal: it may grow, and not have two histories."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trust_parts import ring_of, signed_checkpoint, watchdogs_checkpoint

from trade_core.trust.keys import NotTrusted, load_private_key, new_private_key
from trade_core.trust.lease import Lease
from trade_gateway.watchdog_log import WATCHDOGS_MAX, WatchdogForked, WatchdogLog
from trade_journal.log.ring_keys import watchdog_log_name

KEY = load_private_key(new_private_key())
RING = ring_of(KEY)
FIRST = f"{1:016x}"
SECOND = f"{2:016x}"


@pytest.fixture
def log() -> WatchdogLog:
    return WatchdogLog(origin=watchdog_log_name(RING))


def lease(size: int, root: bytes = b"w" * 32, *, holder: str = FIRST) -> Lease:
    return Lease(
        deployment="d1",
        environment="simulated",
        account="1002",
        boot_nonce="n1",
        generation=1,
        ceiling="ACTIVE",
        scale="1",
        second_venue="none",
        second_prices=(),
        checkpoint="",
        policy_hash="a" * 64,
        ring_hash="b" * 64,
        signed_at_ms=1,
        expires_at_ms=2,
        memory_rows=size,
        memory_checkpoint=watchdogs_checkpoint(RING, size=size, root=root),
        holder=holder,
    )


def takes(log: WatchdogLog, one: Lease) -> str:
    log.judge(one)
    return log.take(one)


def row(one: Lease) -> dict[str, str]:
    return {"holder": one.holder, "memory_checkpoint": one.memory_checkpoint}


def test_journal_that_grows_or_stays_is_believed(log: WatchdogLog) -> None:
    assert [takes(log, lease(size, bytes([size]) * 32)) for size in (0, 5, 5, 6)] == [""] * 4


def test_another_root_over_as_many_rows_is_a_fork_and_changes_nothing(log: WatchdogLog) -> None:
    takes(log, lease(5))
    with pytest.raises(WatchdogForked, match=f"the journal of watchdog {FIRST} has another root over 5 rows"):
        log.judge(lease(5, b"x" * 32))
    log.judge(lease(5))


def test_judging_alone_counts_nothing(log: WatchdogLog) -> None:
    log.judge(lease(5))
    log.judge(lease(5, b"x" * 32))


def test_journal_that_became_shorter_is_told_once_and_gone_on_from(log: WatchdogLog) -> None:
    takes(log, lease(9))
    assert takes(log, lease(8)) == f"the journal of watchdog {FIRST} had 9 rows under a checkpoint, and now has 8"
    assert takes(log, lease(8)) == ""
    assert takes(log, lease(9, b"x" * 32)) == ""


def test_each_watchdog_has_a_journal_of_its_own(log: WatchdogLog) -> None:
    takes(log, lease(5))
    assert takes(log, lease(4, b"x" * 32, holder=SECOND)) == ""
    assert takes(log, lease(5, b"x" * 32, holder=SECOND)) == ""
    with pytest.raises(WatchdogForked):
        log.judge(lease(5, b"x" * 32))


def test_whoever_was_heard_least_recently_is_forgotten(log: WatchdogLog) -> None:
    assert WATCHDOGS_MAX == 8
    names = [f"{number:016x}" for number in range(9)]
    for name in (*names[:-1], names[0], names[-1]):
        takes(log, lease(5, holder=name))
    log.judge(lease(5, b"x" * 32, holder=names[1]))
    for name in (names[0], *names[2:]):
        with pytest.raises(WatchdogForked):
            log.judge(lease(5, b"x" * 32, holder=name))


@pytest.mark.parametrize(("rows", "is_believed"), [(4, False), (5, True), (6, True)])
def test_checkpoint_of_more_rows_than_there_are_is_refused(log: WatchdogLog, rows: int, *, is_believed: bool) -> None:
    one = replace(lease(5), memory_rows=rows)
    if is_believed:
        log.judge(one)
    else:
        with pytest.raises(NotTrusted, match="has 4 rows, and a checkpoint of 5"):
            log.judge(one)


@pytest.mark.parametrize(
    ("note", "sentence"),
    [
        ("", "the checkpoint of its watchdog's journal: a note is"),
        ("nonsense", "the checkpoint of its watchdog's journal: a note is"),
        ("\ud800", "the checkpoint of its watchdog's journal: a note is"),
        (signed_checkpoint(RING, KEY).decode(), "a checkpoint of 'trade/simulated/1002/gateway', not of"),
        (
            watchdogs_checkpoint(replace(RING, account="7")),
            "of 'trade/simulated/7/watchdog', not of 'trade/simulated/1002/watchdog'",
        ),
    ],
)
def test_what_is_no_checkpoint_of_this_watchdog_is_refused(log: WatchdogLog, note: str, sentence: str) -> None:
    with pytest.raises(NotTrusted, match=sentence):
        log.judge(replace(lease(5), memory_checkpoint=note))


def test_rows_of_an_earlier_run_are_remembered(log: WatchdogLog) -> None:
    log.replay(row(lease(4)))
    log.replay(row(lease(5)))
    with pytest.raises(WatchdogForked):
        log.judge(lease(5, b"x" * 32))


@pytest.mark.parametrize("fields", [{}, {"holder": FIRST}, {"holder": FIRST, "memory_checkpoint": "nonsense"}])
def test_row_that_names_no_checkpoint_says_nothing(log: WatchdogLog, fields: dict[str, str]) -> None:
    takes(log, lease(5))
    log.replay(fields)
    with pytest.raises(WatchdogForked):
        log.judge(lease(5, b"x" * 32))
