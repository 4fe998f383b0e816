"""The incidents that this watchdog has opened, as its own journal has them, and what a person did about each.

Guarantees
- An incident is open until a row says that a person has dealt with it. Rows are added and none is changed: settling is
  a row of its own, with who and what, durable before the person is told.
- Settling twice writes once: the first word counts, and is what the second one is answered with.
- Nothing is loosened by it: a halt stays until it is released.

It reads the journal's rows on, a page at a time, and parses those that are of these two kinds alone. At most OPEN_MAX
open incidents are listed, the newest; an older one can be settled all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trade_core.clock import Clock
from trade_core.errors import TradeError
from trade_journal.errors import JournalError
from trade_journal.log.rows import Entry, Fields, Row, RowKind, parse_row
from trade_journal.log.verify import StoredRow
from trade_journal.trades.remark import checked_remark
from trade_journal.writer.journal import Journal

ACTOR: Final = "watchdog"
LOOK_EVERY_S: Final = 5.0
PAGE_ROWS: Final = 500
OPEN_MAX: Final = 256
SETTLED_MAX: Final = 65_536
DETAIL_CHARACTERS: Final = 400
_KINDS: Final = (RowKind.INCIDENT_OPENED, RowKind.INCIDENT_MITIGATED)
_MARKS: Final = tuple(f'"kind":"{kind.value}"'.encode() for kind in _KINDS)
_log = logging.getLogger(__name__)


class NoIncident(TradeError):
    """There is no such incident; the message says what stands in its place."""


class NotSettled(TradeError):
    """The row could not be made durable; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnIncident:
    """One incident, by the number of the row that opened it."""

    row: int
    at_ns: int
    kind: str
    severity: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a person did about an incident, and the row that says so."""

    row: int
    by: str
    mitigation: str
    is_new: bool = False


class OwnIncidents:
    """Reads on in this watchdog's own journal, and writes what a person did."""

    def __init__(self, *, journal: Journal, clock: Clock) -> None:
        """Prepare; nothing is read before the first `look`."""
        self._journal = journal
        self._clock = clock
        self._read_rows = 0
        self._open: OrderedDict[int, OwnIncident] = OrderedDict()
        self._settled: OrderedDict[int, Settlement] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()

    def open_ones(self) -> tuple[OwnIncident, ...]:
        """List what nobody has dealt with, newest first, as of the last look."""
        return tuple(reversed(self._open.values()))

    async def run(self) -> None:
        """Read on for ever."""
        while True:
            try:
                async with self._one_at_a_time:
                    await self._look()
            except JournalError as error:
                _log.warning("the watchdog's own incidents cannot be read: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def settle(self, incident: int, *, text: str, by: str) -> Settlement:
        """Make durable what a person did about the incident of a row; answers the word that counts.

        Raises RemarkRefused, NoIncident, NotSettled.
        """
        mitigation = checked_remark(text, what="what was done")
        async with self._one_at_a_time:
            try:
                return await self._settle(incident, mitigation=mitigation, by=by)
            except JournalError as error:
                raise NotSettled(f"the watchdog's journal: {error}") from error

    async def _settle(self, incident: int, *, mitigation: str, by: str) -> Settlement:
        await self._look()
        if (before := self._settled.get(incident)) is not None:
            return before
        row = await self._incident_row(incident)
        fields: Fields = {
            "incident": incident,
            "type": str(row.fields.get("type", "unknown")),
            "mitigation": mitigation,
            "by": by,
        }
        entry = Entry(at_ns=self._clock.wall_ns(), kind=RowKind.INCIDENT_MITIGATED, actor=ACTOR, fields=fields)
        seq = await self._journal.append(entry)
        self._note_settled(incident, Settlement(row=seq, by=by, mitigation=mitigation))
        return Settlement(row=seq, by=by, mitigation=mitigation, is_new=True)

    async def _incident_row(self, incident: int) -> Row:
        rows = await self._journal.read(incident, 1)
        if not rows:
            raise NoIncident(f"no row {incident} in the watchdog's journal, which has {self._journal.size}")
        if rows[0].kind is not RowKind.INCIDENT_OPENED:
            raise NoIncident(f"row {incident} of the watchdog's journal is {rows[0].kind.value}, no incident")
        return rows[0]

    async def _look(self) -> None:
        while page := await self._journal.stored(self._read_rows, PAGE_ROWS):
            self._take(page)
            self._read_rows = page[-1].seq + 1

    def _take(self, page: Sequence[StoredRow]) -> None:
        for stored in page:
            if any(mark in stored.body for mark in _MARKS):
                row = parse_row(stored.body)
                if row.kind is RowKind.INCIDENT_OPENED:
                    self._note_opened(row)
                elif row.kind is RowKind.INCIDENT_MITIGATED:
                    self._take_settled(row)

    def _note_opened(self, row: Row) -> None:
        said = " ".join(f"{name}={value}" for name, value in row.fields.items() if name not in {"type", "severity"})
        self._open[row.seq] = OwnIncident(
            row=row.seq,
            at_ns=row.at_ns,
            kind=str(row.fields.get("type", "unknown")),
            severity=str(row.fields.get("severity", "unknown")),
            detail=said[:DETAIL_CHARACTERS],
        )
        if len(self._open) > OPEN_MAX:
            self._open.popitem(last=False)

    def _take_settled(self, row: Row) -> None:
        incident = row.fields.get("incident")
        if isinstance(incident, int):
            by, mitigation = (str(row.fields.get(name, "")) for name in ("by", "mitigation"))
            self._note_settled(incident, Settlement(row=row.seq, by=by, mitigation=mitigation))

    def _note_settled(self, incident: int, settlement: Settlement) -> None:
        self._open.pop(incident, None)
        self._settled.setdefault(incident, settlement)
        if len(self._settled) > SETTLED_MAX:
            self._settled.popitem(last=False)
