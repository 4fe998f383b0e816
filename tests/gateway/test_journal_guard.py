"""The guard of the journal: another hand halts, once for each time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from trade_gateway.journal_guard import JournalGuard
from trade_gateway.policy.trading_state import TradingState
from trade_journal.log.rows import Fields, RowKind


@dataclass
class Around:
    """The journal's count, the rows and the latch around a guard."""

    foreign_writes: int = 0
    rows: list[tuple[RowKind, Fields]] = field(default_factory=list)
    latched: list[tuple[TradingState, str, str]] = field(default_factory=list)

    def append_later(self, kind: RowKind, fields: Fields) -> None:
        self.rows.append((kind, fields))

    async def latch(self, ceiling: TradingState, *, reason: str, by: str) -> None:
        self.latched.append((ceiling, reason, by))


@pytest.fixture
def around() -> Around:
    """Everything in order."""
    return Around()


async def test_journal_that_nobody_else_wrote_to_halts_nothing(around: Around) -> None:
    guard = JournalGuard(journal=around, recorder=around, latch=around.latch)
    await guard.look()
    assert (around.rows, around.latched) == ([], [])


async def test_another_hand_halts_and_is_an_incident_each_time(around: Around) -> None:
    guard = JournalGuard(journal=around, recorder=around, latch=around.latch)
    for count, expected in ((1, 1), (1, 1), (2, 2), (0, 2), (1, 3)):  # a writer that is begun anew counts from 0
        around.foreign_writes = count
        await guard.look()
        assert (len(around.rows), len(around.latched)) == (expected, expected)
    ceiling, reason, by = around.latched[0]
    assert (ceiling, by) == (TradingState.HALTED, "gateway")
    assert "verify it" in reason
    kind, fields = around.rows[0]
    assert kind is RowKind.INCIDENT_OPENED
    assert (fields["type"], fields["severity"], fields["reason"]) == ("foreign write", "critical", reason)
