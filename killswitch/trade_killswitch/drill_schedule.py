"""When the next kill drill is due, from the drills that the journal knows. Pure.

A kill that was never tried is not known to work: keys, rights and addresses change unseen. A drill counts when it came
to its end complete and proved; one that did not is worse than none, and is due again at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from trade_journal.log.rows import Fields

DAY_NS: Final = 24 * 3600 * 1_000_000_000
COMPLETE: Final = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One drill that ended. `took_ms` is what the report says of the whole."""

    ended_at_ns: int
    took_ms: int
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the schedule stands: the last complete drill, and whether one after it did not end so."""

    last: Drill | None
    has_failed_since: bool
    due_at_ns: int
    is_overdue: bool

    def shown(self) -> dict[str, Any]:
        """Say it for `/status`."""
        return {
            "last_at_ns": None if self.last is None else self.last.ended_at_ns,
            "took_ms": None if self.last is None else self.last.took_ms,
            "has_failed_since": self.has_failed_since,
            "due_at_ns": self.due_at_ns,
            "is_overdue": self.is_overdue,
        }


def drill_of(fields: Fields, *, at_ns: int) -> Drill | None:
    """Read a drill's end from the row of a kill's report; None for a kill in earnest and for what says no time."""
    took_ms = fields.get("took_ms")
    if fields.get("is_drill") is not True or type(took_ms) is not int:
        return None
    return Drill(ended_at_ns=at_ns, took_ms=took_ms, is_complete=fields.get("verdict") == COMPLETE)


def standing(drills: list[Drill], *, since_ns: int, every_days: int, now_ns: int) -> Standing:
    """Say where the schedule stands; `since_ns` is when this executor's journal began.

    A clock that went back makes nothing overdue that was not: it is the distance that counts.
    """
    complete = [drill for drill in drills if drill.is_complete]
    last = max(complete, key=lambda drill: drill.ended_at_ns, default=None)
    from_ns = since_ns if last is None else last.ended_at_ns
    has_failed = any(drill.ended_at_ns > from_ns for drill in drills)  # behind the last complete one, none is
    due_at_ns = from_ns if has_failed else from_ns + every_days * DAY_NS
    return Standing(last=last, has_failed_since=has_failed, due_at_ns=due_at_ns, is_overdue=now_ns >= due_at_ns)


def in_words(found: Standing, *, now_ns: int) -> str:
    """Say what a person is told of an overdue drill."""
    if found.has_failed_since:
        return "the last kill drill did not come to a complete end: find out why, and drill again (trade-kill --drill)"
    late_days = max(0, (now_ns - found.due_at_ns) // DAY_NS)
    before = "there was none yet" if found.last is None else f"the last one took {found.last.took_ms / 1000:.1f} s"
    return f"a kill drill is due since {late_days} days; {before}. Drill on a spare sub-account: trade-kill --drill"
