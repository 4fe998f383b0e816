"""A position without its stop is told once a minute, and only when there is a position."""

from __future__ import annotations

from gateway.parts import rows_of

from trade_core.clock import ManualClock
from trade_gateway.recorder import Recorder
from trade_gateway.stop_incidents import AGAIN_AFTER_NS, StopIncidents
from trade_journal.writer.writer import JournalWriter


async def told(journal: JournalWriter) -> list[object]:
    return [(row.fields["symbol"], row.fields["reason"]) for row in await rows_of(journal)]


async def test_incident_is_told_once_a_symbol_and_minute(
    recorder: Recorder, clock: ManualClock, journal: JournalWriter
) -> None:
    incidents = StopIncidents(recorder=recorder, clock=clock)
    for symbol in ("BTCUSDT", "BTCUSDT", "ETHUSDT"):
        incidents.note(symbol, has_position=True, reason="LIMIT_STOPS")
    assert await told(journal) == [("BTCUSDT", "LIMIT_STOPS"), ("ETHUSDT", "LIMIT_STOPS")]
    clock.advance(AGAIN_AFTER_NS - 1)
    incidents.note("BTCUSDT", has_position=True, reason="LIMIT_STOPS")
    assert len(await told(journal)) == 2
    clock.advance(1)
    incidents.note("BTCUSDT", has_position=True, reason="STATE_KILLED")
    assert (await told(journal))[2:] == [("BTCUSDT", "STATE_KILLED")]


async def test_incident_without_a_position_is_none_and_uses_up_no_minute(
    recorder: Recorder, clock: ManualClock, journal: JournalWriter
) -> None:
    incidents = StopIncidents(recorder=recorder, clock=clock)
    incidents.note("BTCUSDT", has_position=False, reason="LIMIT_STOPS")
    assert await told(journal) == []
    incidents.note("BTCUSDT", has_position=True, reason="LIMIT_STOPS")
    assert len(await told(journal)) == 1
