"""Releases: found in the journal's rows, believed only with the operator's warrant for that very latch."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from trust_parts import KEYS, FastKey, ring_of, touch, watchdogs_checkpoint

from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.release_subject import RELEASABLE_RUNGS
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import Warrant
from trade_journal.log.checkpoint import read_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.rows import Row, RowKind, leaf_hash, row_bytes
from trade_journal.log.verify import StoredRow
from trade_watchdog import releases as module
from trade_watchdog.ladder import RELEASABLE, Rung
from trade_watchdog.releases import Position, Releases, Told

OPERATOR = load_private_key(new_private_key())
RING = ring_of(OPERATOR)
AFTER_KILL = "release KILLED; cause: found; decision: stays; drill: d1; order key: order2; exit key: exit2"
ALL = (Rung.DAILY, Rung.WEEKLY, Rung.MONTHLY)


class Copy:
    """A copy of a journal in memory, which counts how often it is closed."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.closed = 0

    def size(self) -> int:
        return len(self.rows)

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        bodies = [row_bytes(row) for row in self.rows[from_seq:][:limit]]
        return [StoredRow(seq=seq, body=body, leaf_hash=leaf_hash(body)) for seq, body in enumerate(bodies, from_seq)]

    def close(self) -> None:
        self.closed += 1


def journal(*fields: Any) -> list[Row]:
    """Make rows: a mapping is a change of state, a kind is a row of that kind without fields."""
    return [
        Row(seq=seq, at_ns=seq, kind=one, actor="gateway", fields={})
        if isinstance(one, RowKind)
        else Row(seq=seq, at_ns=seq, kind=RowKind.STATE_CHANGED, actor="gateway", fields=one)
        for seq, one in enumerate(fields)
    ]


def halted(**change: Any) -> dict[str, Any]:
    return {"holder": "operator_latch", "ceiling": "HALTED", "reason": "why", "by": "watchdog", **change}


def released(subject: str, /, **change: Any) -> dict[str, Any]:
    made = Warrant(
        purpose="release",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="gateway",
        account="1002",
        ring_hash=ring_hash(RING),
        subject=subject,
        nonce="n",
        words="release HALTED; cause: found",
        expires_at_ms=1,
    )
    by = change.pop("by", KEYS[:1])
    text = base64.b64encode(touch(replace(made, **change), by=by)).decode()
    parts = [text[start : start + 400] for start in range(0, len(text), 400)]
    return {"holder": "operator_latch", "ceiling": "ACTIVE", "reason": "w", "by": "warrant", "warrant": parts}


def reading(rows: list[Row], position: Position | None = None) -> Releases:
    copy = Copy(rows)
    return Releases(ring=RING, open_copy=lambda: copy, position=position or Position())


async def rungs_in(*fields: Any) -> Sequence[Rung]:
    return await reading(journal(*fields)).read_on()


def test_rungs_that_a_release_names_are_those_of_the_ladder() -> None:
    assert tuple(rung.value for rung in RELEASABLE) == RELEASABLE_RUNGS


async def test_release_of_the_last_latch_names_its_rungs_once() -> None:
    it = reading(journal(RowKind.LEASE_GAINED, halted(), released("latch:1+daily+monthly")))
    assert await it.read_on() == (Rung.DAILY, Rung.MONTHLY)
    assert it.position == Position(rows=3, latch=-1)
    assert await it.read_on() == ()


async def test_release_without_rungs_rebases_none() -> None:
    assert await rungs_in(halted(), released("latch:0")) == ()


async def test_release_counts_for_the_newest_latch_only() -> None:
    rows = journal(halted(), halted(reason="again"), released("latch:0+daily"), released("latch:1+weekly"))
    it = reading(rows)
    assert await it.read_on() == (Rung.WEEKLY,)


async def test_release_counts_once(caplog: pytest.LogCaptureFixture) -> None:
    good = released("latch:0+daily+weekly+monthly")
    assert await rungs_in(halted(), good, good) == ALL
    assert await rungs_in(halted(), good, halted(), good) == ALL
    assert "releases another latch than 2" in caplog.text


async def test_release_after_a_kill_takes_two_different_keys(caplog: pytest.LogCaptureFixture) -> None:
    killed = halted(ceiling="KILLED", killed_keys=["order1"])
    assert await rungs_in(killed, released("latch:0+daily", words=AFTER_KILL)) == ()
    assert "two different security keys" in caplog.text
    assert await rungs_in(killed, released("latch:0+daily", by=KEYS, words=AFTER_KILL)) == (Rung.DAILY,)
    assert await rungs_in(halted(), killed, released("latch:1+daily", by=KEYS, words=AFTER_KILL)) == (Rung.DAILY,)
    assert await rungs_in(halted(), released("latch:0+high_water", by=KEYS)) == (Rung.HIGH_WATER,)
    # The latch is read from the copy itself, so that a start that goes on behind it knows what it was.
    it = reading(journal(killed, released("latch:0+daily")), Position(rows=1, latch=0))
    assert await it.read_on() == ()


async def test_release_that_rebases_the_high_water_mark_is_kept_as_it_was_signed() -> None:
    good = released("latch:0+high_water", by=KEYS)
    it = reading(journal(halted(), good))
    assert it.high_water == b""
    await it.read_on()
    assert it.high_water == base64.b64decode("".join(good["warrant"]))
    for row in (released("latch:0+daily"), released("latch:9+high_water", by=KEYS), released("latch:0+high_water")):
        it = reading(journal(halted(), row))
        await it.read_on()
        assert it.high_water == b""


@pytest.mark.parametrize(
    ("latched", "words", "why"),
    [
        (halted(), "release HALTED", "do not end with a cause"),
        (
            halted(ceiling="KILLED", killed_keys=["order1"]),
            "release KILLED; cause: found",
            "do not end with cause",
        ),
        (halted(ceiling="KILLED", killed_keys=["order2"]), AFTER_KILL, "order2 is one that was killed"),
        (halted(ceiling="KILLED", killed_keys=["exit2"]), AFTER_KILL, "exit2 is one that was killed"),
        (halted(ceiling="KILLED"), AFTER_KILL, "names no key that it killed"),
    ],
)
async def test_release_that_does_not_say_what_it_must_is_not_believed(
    latched: dict[str, Any], words: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await rungs_in(latched, released("latch:0+daily", by=KEYS, words=words)) == ()
    assert why in caplog.text


async def test_release_is_believed_under_the_ring_that_counts() -> None:
    it = reading(journal(halted(), released("latch:0+daily")))
    it.adopt_ring(replace(RING, version=2, previous_hash=ring_hash(RING)))
    assert await it.read_on() == ()


async def test_warrant_of_before_any_halt_releases_nothing() -> None:
    assert await rungs_in(released("latch:0+daily"), released("latch:1+daily")) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"by": [FastKey("stranger")]},
        {"purpose": "policy"},
        {"deployment": "d2"},
        {"environment": "live"},
        {"audience": "watchdog"},
        {"account": "1003"},
        {"ring_hash": "other"},
        {"subject": "latch:0+high_water"},  # by one key
        {"subject": "policy:0"},
    ],
)
async def test_warrant_that_does_not_fit_is_not_believed(
    change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert await rungs_in(halted(), released("latch:0+daily", **change)) == ()
    assert "is not believed" in caplog.text


@pytest.mark.parametrize("warrant", [None, "text", [], ["!"], ["e30="]])
async def test_row_without_a_warrant_releases_nothing(warrant: Any) -> None:
    assert await rungs_in(halted(), {**released("latch:0+daily"), "warrant": warrant}) == ()


async def test_state_of_other_holders_is_passed_over() -> None:
    rows = journal(
        {"holder": "effective", "ceiling": "HALTED"},
        released("latch:0+daily"),
        {**halted(), "ceiling": "REDUCE_ONLY"},
        released("latch:2+daily"),
    )
    assert await reading(rows).read_on() == ()


async def test_reading_goes_on_where_it_ended_over_restarts() -> None:
    rows = journal(halted())
    before = reading(rows)
    assert await before.read_on() == ()
    assert before.position == Position(rows=1, latch=0)
    rows += journal(RowKind.LEASE_LOST, RowKind.LEASE_LOST)[1:]
    rows.append(Row(seq=2, at_ns=2, kind=RowKind.STATE_CHANGED, actor="gateway", fields=released("latch:0+monthly")))
    assert await reading(rows, before.position).read_on() == (Rung.MONTHLY,)


async def test_long_journal_is_read_in_bounded_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_ROWS", 2)
    monkeypatch.setattr(module, "PAGES_AT_ONCE", 2)
    copy = Copy(journal(*[RowKind.LEASE_LOST] * 5, halted(), released("latch:5+daily")))
    it = Releases(ring=RING, open_copy=lambda: copy, position=Position())
    assert await it.read_on() == ()
    assert (it.position.rows, copy.closed, it.is_at_end) == (4, 1, False)
    assert await it.read_on() == (Rung.DAILY,)
    assert (it.position.rows, copy.closed, it.is_at_end) == (7, 2, True)


async def test_copy_that_is_not_open_is_read_later() -> None:
    assert await Releases(ring=RING, open_copy=lambda: None, position=Position()).read_on() == ()


def remembered(**fields: Any) -> Row:
    return Row(seq=0, at_ns=0, kind=RowKind.WATCHDOG_REMEMBERED, actor="gateway", fields=fields)


async def test_last_word_of_what_was_told_counts() -> None:
    rows = [
        remembered(rows=5, peaks={"daily": "1.5"}),
        replace(remembered(rows=9, peaks={"daily": "1.4", "high_water": "2"}), seq=1),
    ]
    it = reading(rows)
    assert await it.read_on() == ()
    assert it.told == Told(rows=9, peaks={Rung.DAILY: Decimal("1.4"), Rung.HIGH_WATER: Decimal(2)})
    assert it.is_at_end


async def test_checkpoint_that_was_told_is_read_with_its_holder() -> None:
    note = watchdogs_checkpoint(RING, size=8)
    it = reading([remembered(rows=9, peaks={}, holder="0" * 16, memory_checkpoint=note)])
    await it.read_on()
    assert it.told is not None
    assert (it.told.holder, it.told.checkpoint) == ("0" * 16, read_checkpoint(parse_note(note.encode())))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rows": 9, "peaks": {}, "memory_checkpoint": "nonsense"},
        {"rows": "9", "peaks": {}},
        {"rows": 9, "peaks": None},
        {"rows": 9, "peaks": {"yearly": "1"}},
        {"rows": 9, "peaks": {"daily": "-1"}},
        {"rows": 9, "peaks": {"daily": None}},
    ],
)
async def test_word_that_says_not_what_it_must_is_none(
    fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    it = reading([remembered(**fields)])
    await it.read_on()
    assert it.told is None
    assert "does not say what the watchdog remembered" in caplog.text
