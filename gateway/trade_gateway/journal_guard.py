"""Halts when somebody else has written to the gateway's own journal.

The writer is the only one that may. It notices any other hand at its next commit, or a second later, by what SQLite
counts; which row was touched, the watchdog finds when it reads the journal again, and `trade-journal verify` at once.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Protocol

from trade_gateway.policy.trading_state import TradingState
from trade_journal.log.rows import Fields, RowKind

REASON: Final = "somebody else has written to the gateway's journal: verify it with trade-journal verify"


class _Counting(Protocol):
    @property
    def foreign_writes(self) -> int:
        """Count how often the writer's run found another hand."""
        ...


class _Recording(Protocol):
    def append_later(self, kind: RowKind, fields: Fields) -> None:
        """Hand over a row."""
        ...


class _Latching(Protocol):
    def __call__(self, ceiling: TradingState, *, reason: str, by: str) -> Awaitable[None]:
        """Latch a ceiling."""
        ...


@dataclass(slots=True, kw_only=True)
class JournalGuard:
    """Looks at the writer's count. A writer that was begun anew counts from 0 again."""

    journal: _Counting
    recorder: _Recording
    latch: _Latching
    _known: int = 0

    async def look(self) -> None:
        """Latch HALTED for each time that is new, and open an incident."""
        known, self._known = self._known, self.journal.foreign_writes
        if self._known <= known:
            return
        self.recorder.append_later(
            RowKind.INCIDENT_OPENED, {"type": "foreign write", "severity": "critical", "reason": REASON}
        )
        await self.latch(TradingState.HALTED, reason=REASON, by="gateway")
