"""What the gateway's journal tells a person: last denials, incidents, lessons owed, changes of state. Pure.

Rows are taken in any order and more than once: the console reads the newest first, and then goes back. They are shown,
not believed: whether a journal is genuine is for `trade-journal verify` and the witness.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar

from trade_killswitch.console.ring_chain import CHANGES_MAX, RingProof, proof_of_row

DENIALS_SHOWN: Final = 12
INCIDENTS_SHOWN: Final = 12
CHANGES_SHOWN: Final = 8
TRADES_KEPT: Final = 4096
MITIGATIONS_KEPT: Final = 4096
LESSONS_SHOWN: Final = 20
FIELDS_SHOWN: Final = 8
_DENIALS: Final = frozenset({"order:denied", "request:denied", "stream:denied", "request:counted"})


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Note:
    """One row in words. `subject` is a deny code, an incident's type or a state; sorted by the row's number."""

    seq: int
    at_ns: int
    subject: str
    detail: str
    count: int = 1


T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class _Newest(Generic[T]):
    """The newest of what was noted, by row number, at most `most`."""

    most: int
    notes: dict[int, Note] = field(default_factory=dict)

    def take(self, note: Note) -> None:
        self.notes[note.seq] = note
        if len(self.notes) > 2 * self.most:
            self.notes = {note.seq: note for note in heapq.nlargest(self.most, self.notes.values())}

    def newest(self) -> tuple[Note, ...]:
        return tuple(heapq.nlargest(self.most, self.notes.values()))


class Digest:
    """What stands in the rows taken so far."""

    def __init__(self) -> None:
        self._denials: _Newest[Note] = _Newest(most=DENIALS_SHOWN)
        self._incidents: _Newest[Note] = _Newest(most=INCIDENTS_SHOWN)
        self._changes: _Newest[Note] = _Newest(most=CHANGES_SHOWN)
        self._mitigated: dict[int, str] = {}
        self._closed: dict[str, Note] = {}
        self._with_lesson: set[str] = set()
        self.ring_changes: list[RingProof] = []

    def take(self, row: Mapping[str, Any]) -> None:
        """Take in one row; what is not of a row's form is passed over, since nothing here decides anything."""
        kind, fields, seq = row.get("kind"), row.get("fields"), row.get("seq")
        at_ns = _whole(row.get("at_ns"))
        if not isinstance(kind, str) or not isinstance(fields, dict) or type(seq) is not int or at_ns is None:
            return
        if kind in _DENIALS:
            subject, detail = _denied(fields)
            count = fields.get("count")
            self._denials.take(
                Note(seq=seq, at_ns=at_ns, subject=subject, detail=detail, count=count if type(count) is int else 1)
            )
        elif kind == "incident:opened":
            subject = f"{fields.get('type', 'unknown')} ({fields.get('severity', 'severity unknown')})"
            detail = _flat(fields, {"type", "severity"})
            self._incidents.take(Note(seq=seq, at_ns=at_ns, subject=subject, detail=detail))
        elif kind == "incident:mitigated":
            self._take_mitigated(fields)
        elif kind == "state:changed":
            subject = f"{fields.get('holder', '')}: {fields.get('ceiling', '')}"
            self._changes.take(Note(seq=seq, at_ns=at_ns, subject=subject, detail=str(fields.get("reason") or "")))
        elif kind == "ring:changed":
            self._take_ring(fields)
        elif kind == "swing_trade:closed":
            self._take_closed(fields, seq=seq, at_ns=at_ns)
        elif kind == "swing_trade:lesson":
            self._with_lesson.add(str(fields.get("trade_id")))

    def _take_closed(self, fields: Mapping[str, Any], *, seq: int, at_ns: int) -> None:
        trade_id = str(fields.get("trade_id"))
        if len(self._closed) < TRADES_KEPT:
            detail = _flat(fields, {"trade_id", "closed_at_ns", "exit_fee"})
            self._closed[trade_id] = Note(seq=seq, at_ns=at_ns, subject=f"trade {trade_id}", detail=detail)

    def _take_mitigated(self, fields: Mapping[str, Any]) -> None:
        incident = _whole(fields.get("incident"))
        if incident is not None and len(self._mitigated) < MITIGATIONS_KEPT:
            self._mitigated.setdefault(incident, str(fields.get("mitigation")))

    def _take_ring(self, fields: Mapping[str, Any]) -> None:
        proof = proof_of_row(fields)
        if proof is not None and len(self.ring_changes) < CHANGES_MAX and proof not in self.ring_changes:
            self.ring_changes.append(proof)

    @property
    def denials(self) -> tuple[Note, ...]:
        """Return the last denials, newest first."""
        return self._denials.newest()

    @property
    def incidents(self) -> tuple[Note, ...]:
        """Return the last incidents, newest first; one that a person dealt with stays, and says how."""
        return tuple(
            note if (done := self._mitigated.get(note.seq)) is None else replace(note, detail=f"mitigated: {done}")
            for note in self._incidents.newest()
        )

    @property
    def changes(self) -> tuple[Note, ...]:
        """Return the last changes of the trading state, newest first."""
        return self._changes.newest()

    @property
    def lessons_owed(self) -> tuple[Note, ...]:
        """Return closed trades that nobody wrote a lesson for, newest first, at most LESSONS_SHOWN."""
        owed = (note for trade_id, note in self._closed.items() if trade_id not in self._with_lesson)
        return tuple(heapq.nlargest(LESSONS_SHOWN, owed))


def rows_of(body: bytes) -> list[Mapping[str, Any]]:
    """Read rows, one JSON object a line, as `/journal/entries` gives them; lines of another form are left out."""
    rows: list[Mapping[str, Any]] = []
    for line in body.split(b"\n"):
        try:
            row = json.loads(line) if line else None
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _denied(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Say what was denied, and the particulars; a counted row names every code that it counts."""
    codes = fields.get("codes")
    if not isinstance(codes, dict) or not codes:
        return str(fields.get("code", "unknown")), _flat(fields, {"code", "count"})
    most = sorted(codes, key=lambda code: (-(_whole(codes[code]) or 0), code))
    more = f" and {len(most) - 1} more" if len(most) > 1 else ""
    return f"{most[0]}{more}", _flat({code: codes[code] for code in most}, set())


def _flat(fields: Mapping[str, Any], left_out: set[str]) -> str:
    shown = [(name, value) for name, value in fields.items() if name not in left_out and value not in ("", None)]
    return ", ".join(f"{name} {value}" for name, value in shown[:FIELDS_SHOWN])


def _whole(value: object) -> int | None:
    """Read nanoseconds, which stand as text in a row's bytes and as a number where rows are shown."""
    if type(value) is int:
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else None
