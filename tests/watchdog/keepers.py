"""A ladder's keeper whose journal is a list and whose hands write down what they were asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from trade_core.clock import Clock, ManualClock
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Entry, Row, draft, leaf_hash, numbered, parse_row
from trade_journal.log.verify import StoredRow
from trade_journal.writer.writer import JournalWriter
from trade_watchdog.effects import Alert, EffectFailed, KillRequest
from trade_watchdog.history import History
from trade_watchdog.ladder import Ladder, Rung, Thresholds
from trade_watchdog.ladder_keeper import LadderKeeper

THRESHOLDS = Thresholds(
    fractions={
        Rung.DAILY: Decimal("0.05"),
        Rung.WEEKLY: Decimal("0.08"),
        Rung.MONTHLY: Decimal("0.15"),
        Rung.HIGH_WATER: Decimal("0.18"),
    },
    trim_scale=Decimal("0.5"),
)


@dataclass
class JournalList:
    """What a history needs of its journal, without a disk; rows are checked as the real one does."""

    entries: list[Entry] = field(default_factory=list)
    is_writable: bool = True
    last_failure: str = ""
    checkpoints: int = 0

    async def append(self, entry: Entry) -> int:
        self.append_later(entry)
        return len(self.entries) - 1

    async def read(self, from_seq: int, limit: int) -> list[Row]:
        return [parse_row(stored.body) for stored in await self.stored(from_seq, limit)]

    async def stored(self, from_seq: int, limit: int) -> list[StoredRow]:
        bodies = [
            numbered(draft(entry).head, seq)
            for seq, entry in enumerate(self.entries[from_seq : from_seq + limit], from_seq)
        ]
        return [StoredRow(seq=seq, body=body, leaf_hash=leaf_hash(body)) for seq, body in enumerate(bodies, from_seq)]

    async def checkpoint(self) -> bytes:
        self.checkpoints += 1
        if not self.is_writable:
            raise JournalUnavailable("the disk is gone")
        return b""

    @property
    def size(self) -> int:
        return len(self.entries)

    def append_later(self, entry: Entry) -> None:
        if not self.is_writable:
            raise JournalUnavailable("the disk is gone")
        draft(entry)
        self.entries.append(entry)

    def fields_of(self, kind: str) -> list[Any]:
        """Give the fields of each row of a kind."""
        return [entry.fields for entry in self.entries if entry.kind.value == kind]


@dataclass
class EffectsList:
    """Hands that only write down; those in `failing` fail with these words."""

    done: list[str] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    kills: list[KillRequest] = field(default_factory=list)
    flattened: list[str] = field(default_factory=list)
    trigger_values: list[str] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)

    def _do(self, action: str) -> None:
        if action in self.failing:
            raise EffectFailed(self.failing[action])
        self.done.append(action)

    async def halt(self, reason: str, *, trigger_value: str = "") -> None:
        self._do("halt")
        self.trigger_values.append(trigger_value)

    async def scale_bot(self, reason: str) -> None:
        self._do("scale_bot")

    def spare_bot(self) -> None:
        self.done.append("spare_bot")

    async def sweep(self, reason: str) -> None:
        self._do("sweep")

    async def flatten(self, request_id: str, reason: str) -> None:
        self._do("flatten")
        self.flattened.append(request_id)

    async def request_kill(self, request: KillRequest) -> None:
        self._do("kill")
        self.kills.append(request)

    def alert(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def acknowledge(self, subject: str) -> bool:
        self.acknowledged.append(subject)
        return any(alert.subject == subject for alert in self.alerts)


def keeper_of(
    *, clock: Clock | None = None, journal: JournalList | None = None, effects: EffectsList | None = None
) -> LadderKeeper:
    """Put a keeper together that nothing has happened to."""
    clock = clock or ManualClock()
    history = History(cast("JournalWriter", journal or JournalList()), clock=clock)
    return LadderKeeper(
        ladder=Ladder(THRESHOLDS),
        thresholds=THRESHOLDS,
        history=history,
        effects=effects or EffectsList(),
        clock=clock,
    )
