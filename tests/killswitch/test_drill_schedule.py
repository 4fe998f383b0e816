"""When a drill is due."""

from __future__ import annotations

from typing import Any

import pytest

from trade_killswitch.drill_schedule import DAY_NS, Drill, drill_of, in_words, standing

REPORT: dict[str, Any] = {"kill_id": "k", "is_drill": True, "verdict": "complete", "took_ms": 4200}


def drill(day: int, *, is_complete: bool = True) -> Drill:
    return Drill(ended_at_ns=day * DAY_NS, took_ms=4200, is_complete=is_complete)


@pytest.mark.parametrize(("now_day", "is_overdue"), [(1, False), (89, False), (90, True), (400, True)])
def test_first_drill_is_due_after_the_interval(now_day: int, is_overdue: bool) -> None:
    found = standing([], since_ns=0, every_days=90, now_ns=now_day * DAY_NS)
    assert (found.last, found.due_at_ns, found.is_overdue) == (None, 90 * DAY_NS, is_overdue)


def test_day_has_its_seconds() -> None:
    assert DAY_NS == 86_400_000_000_000


def test_last_instant_before_it_is_not_overdue() -> None:
    assert not standing([], since_ns=0, every_days=90, now_ns=90 * DAY_NS - 1).is_overdue


def test_complete_drill_begins_the_interval_anew() -> None:
    found = standing([drill(50), drill(10)], since_ns=0, every_days=90, now_ns=100 * DAY_NS)
    assert (found.last, found.due_at_ns, found.is_overdue) == (drill(50), 140 * DAY_NS, False)
    assert standing([drill(50)], since_ns=0, every_days=90, now_ns=140 * DAY_NS).is_overdue


def test_drill_that_did_not_complete_is_due_at_once() -> None:
    found = standing([drill(50), drill(60, is_complete=False)], since_ns=0, every_days=90, now_ns=61 * DAY_NS)
    assert (found.last, found.has_failed_since, found.is_overdue) == (drill(50), True, True)
    assert "did not come to a complete end" in in_words(found, now_ns=61 * DAY_NS)
    alone = standing([drill(2, is_complete=False)], since_ns=DAY_NS, every_days=90, now_ns=3 * DAY_NS)
    assert (alone.last, alone.is_overdue) == (None, True)


def test_complete_drill_after_a_failed_one_makes_good() -> None:
    found = standing([drill(50, is_complete=False), drill(51)], since_ns=0, every_days=90, now_ns=60 * DAY_NS)
    assert (found.has_failed_since, found.is_overdue) == (False, False)


def test_report_of_a_drill_is_read_and_no_other() -> None:
    assert drill_of(REPORT, at_ns=5) == Drill(ended_at_ns=5, took_ms=4200, is_complete=True)
    for changed in ({"is_drill": False}, {"is_drill": "yes"}, {"is_drill": None}, {"took_ms": "4"}, {"took_ms": True}):
        assert drill_of({**REPORT, **changed}, at_ns=5) is None
    for verdict in ("pending", "not_flat", "Complete", None):
        found = drill_of({**REPORT, "verdict": verdict}, at_ns=5)
        assert found is not None
        assert not found.is_complete


def test_words_say_how_late_and_what_was() -> None:
    never = standing([], since_ns=0, every_days=90, now_ns=95 * DAY_NS)
    assert in_words(never, now_ns=95 * DAY_NS).startswith("a kill drill is due since 5 days; there was none yet.")
    once = standing([drill(0)], since_ns=0, every_days=90, now_ns=90 * DAY_NS)
    assert "due since 0 days; the last one took 4.2 s" in in_words(once, now_ns=90 * DAY_NS)
    assert "due since 0 days" in in_words(once, now_ns=0)


def test_status_shows_all_of_it() -> None:
    shown = standing([drill(50)], since_ns=0, every_days=90, now_ns=60 * DAY_NS).shown()
    assert shown == {
        "last_at_ns": 50 * DAY_NS,
        "took_ms": 4200,
        "has_failed_since": False,
        "due_at_ns": 140 * DAY_NS,
        "is_overdue": False,
    }
    assert standing([], since_ns=0, every_days=90, now_ns=0).shown()["last_at_ns"] is None
