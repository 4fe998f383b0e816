"""Halts when somebody else has written to the gateway's own journal; see `trade_journal.writer.foreign_hand`.

Which row was touched, the watchdog finds when it reads the journal again, and `trade-journal verify` at once.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final, Protocol

from trade_gateway.policy.trading_state import TradingState
from trade_journal.log.rows import Fields, RowKind
from trade_journal.writer.foreign_hand import Counting, ForeignHand

REASON: Final = "somebody else has written to the gateway's journal: verify it with trade-journal verify"


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
    """Looks at one journal, and halts."""

    journal: Counting
    recorder: _Recording
    latch: _Latching
    _hand: ForeignHand = field(init=False)

    def __post_init__(self) -> None:
        """Begin to look."""
        self._hand = ForeignHand(journal=self.journal)

    async def look(self) -> None:
        """Latch HALTED for each time that is new, and open an incident."""
        if not self._hand.is_new():
            return
        self.recorder.append_later(
            RowKind.INCIDENT_OPENED, {"type": "foreign write", "severity": "critical", "reason": REASON}
        )
        await self.latch(TradingState.HALTED, reason=REASON, by="gateway")
