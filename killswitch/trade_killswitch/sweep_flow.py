"""How a sweep goes: read, cancel, read again, until a reading proves it. A flow: yields commands, does no I/O.

Guarantees
- It ends with a proof, or goes on for as long as it is let: an exchange that does not answer is asked again, at first
  at once and then at longer and longer intervals up to PAUSE_LAST_S.
- Each round leaves one row, written before its calls are sent; a row that repeats the one before is left out once the
  sweep is pending, so that an outage of a day does not fill the disk.
- After PENDING_AFTER_S without a proof it says so in a row: from then on it is pending, which the status shows.

Sending the same cancel again is harmless, and so is a second sweep: what is lost with a crash is begun anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from trade_core.clock import NS_PER_S
from trade_journal.log.rows import Fields, RowKind
from trade_killswitch.commands import AskTime, Cancelled, Flow, ReadShelves, Record, SendCancels, Wait
from trade_killswitch.sweep_plan import CancelPlain, Plan, Reading, plan

PENDING_AFTER_S: Final = 20
PAUSE_FIRST_S: Final = 0.25
PAUSE_LAST_S: Final = 15.0
_KEPT_NAMED_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """How a sweep ended: always proved. `kept` counts protective stops, `by_kind` what else works: 0 of each kind.

    `refusals` counts the exchange's codes, `unanswered` what brought no answer: of all cancels that were sent.
    """

    rounds: int
    acknowledged: int
    kept: int
    took_s: float
    by_kind: Mapping[str, int]
    refusals: Mapping[str, int]
    unanswered: int


@dataclass(slots=True, kw_only=True)
class SweepProgress:
    """Where a running sweep stands; read by the status."""

    rounds: int = 0
    acknowledged: int = 0
    working: int | None = None
    unread: int | None = None
    is_pending: bool = False
    by_kind: Mapping[str, int] = field(default_factory=dict)
    unread_why: tuple[str, ...] = ()
    refusals: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    _told: Fields | None = None

    def note(self, found: Plan, readings: Sequence[Reading]) -> None:
        """Take in what a reading showed."""
        self.rounds += 1
        self.working, self.unread, self.by_kind = found.working, len(found.unread), found.by_kind
        self.unread_why = tuple(sorted({reading.why for reading in readings if reading.orders is None}))

    def note_answers(self, answers: Cancelled) -> None:
        """Take in how the exchange answered a round of cancels."""
        self.acknowledged += answers.acknowledged
        self.refusals.update(dict(answers.refusals))
        self.unanswered += answers.unanswered

    @property
    def refusals_by_code(self) -> dict[str, int]:
        """How often the exchange refused a cancel, by its code."""
        return {str(code): count for code, count in sorted(self.refusals.items())}

    def in_the_way(self) -> str:
        """Say what keeps the sweep from its proof, and how the exchange took its cancels so far."""
        if self.working is None:
            return "the books were not read yet"
        parts = [f"{self.working} orders work that could add risk{_listed(self.by_kind)}"]
        if self.unread:
            parts.append(f"{self.unread} lists cannot be read ({', '.join(self.unread_why)})")
        if self.refusals:
            parts.append(f"cancels refused{_listed(self.refusals_by_code)}")
        if self.unanswered:
            parts.append(f"{self.unanswered} cancels not answered")
        return "; ".join(parts)


def _listed(counts: Mapping[str, int]) -> str:
    """Name what there is some of, in brackets."""
    named = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
    return f" ({named})" if named else ""


def sweep(sweep_id: str, progress: SweepProgress) -> Flow[SweepReport]:
    """Take away what adds risk, until that is proved."""
    began_ns: int = yield AskTime()
    pause_s = PAUSE_FIRST_S
    while True:
        readings = yield ReadShelves()
        found = plan(readings)
        progress.note(found, readings)
        if found.is_proved:
            break
        yield from _tell(sweep_id, progress, found)
        answers: Cancelled = yield SendCancels(calls=found.calls)
        progress.note_answers(answers)
        now_ns: int = yield AskTime()
        if not progress.is_pending and now_ns - began_ns >= PENDING_AFTER_S * NS_PER_S:
            progress.is_pending = True
            yield Record(kind=RowKind.SWEEP_PENDING, fields={"sweep_id": sweep_id, **_pending_fields(found, answers)})
        has_moved = answers.acknowledged > 0 and not found.unread
        pause_s = PAUSE_FIRST_S if has_moved else min(PAUSE_LAST_S, pause_s * 2)
        yield Wait(seconds=pause_s)
    ended_ns: int = yield AskTime()
    report = SweepReport(
        rounds=progress.rounds,
        acknowledged=progress.acknowledged,
        kept=len(found.kept),
        took_s=round((ended_ns - began_ns) / NS_PER_S, 3),
        by_kind=found.by_kind,
        refusals=progress.refusals_by_code,
        unanswered=progress.unanswered,
    )
    yield Record(kind=RowKind.SWEEP_PROVED, fields={"sweep_id": sweep_id, **_proof_fields(report, found)})
    return report


def _tell(sweep_id: str, progress: SweepProgress, found: Plan) -> Flow[None]:
    fields: Fields = {
        "sweep_id": sweep_id,
        "working": found.working,
        "stops_kept": len(found.kept),
        "unread": len(found.unread),
        "cancels_all": [call.book.name for call in found.calls if isinstance(call, CancelPlain)],
        "cancels_one": sum(not isinstance(call, CancelPlain) for call in found.calls),
    }
    if not progress.is_pending or fields != progress._told:
        yield Record(kind=RowKind.SWEEP_ROUND, fields=fields)
    progress._told = fields


def _pending_fields(found: Plan, answers: Cancelled) -> Fields:
    return {
        "working": found.working,
        "unread": [f"{shelf.book.name} {shelf.order_filter or 'all'}" for shelf in found.unread],
        "refusals": {str(code): count for code, count in answers.refusals},
        "unanswered": answers.unanswered,
    }


def _proof_fields(report: SweepReport, found: Plan) -> Fields:
    kept = Counter(f"{order.book.name}:{order.symbol}" for order in found.kept)
    return {
        "rounds": report.rounds,
        "acknowledged": report.acknowledged,
        "working": 0,
        "working_by_kind": dict(found.by_kind),
        "stops_kept": report.kept,
        "stops_by_symbol": dict(sorted(kept.items())[:_KEPT_NAMED_MAX]),
        "refusals": dict(report.refusals),
        "unanswered": report.unanswered,
        "took_ms": round(report.took_s * 1000),
    }
