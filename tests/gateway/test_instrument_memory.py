"""What the journal keeps of filters."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from gateway.house import instrument
from gateway.parts import rows_of

from trade_gateway.instrument_memory import InstrumentMemory, instrument_fields, kept_instrument
from trade_gateway.recorder import Recorder
from trade_gateway.wire.intents import Category
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter

SPOT, LINEAR = (Category.SPOT, "BTCUSDT"), (Category.LINEAR, "BTCUSDT")
OLD, OTHER = instrument(Category.SPOT), instrument(Category.LINEAR)
NEW = replace(OLD, tick_size=Decimal("0.01"))


async def test_memory_writes_what_is_new_or_has_changed_once(recorder: Recorder, journal: JournalWriter) -> None:
    memory = InstrumentMemory(recorder=recorder, is_writable=lambda: True)
    memory.restore({SPOT: OLD})
    for known in ({SPOT: OLD}, {SPOT: OLD, LINEAR: OTHER}, {SPOT: NEW, LINEAR: OTHER}, {LINEAR: OTHER}, {SPOT: NEW}):
        memory.keep(known)
    rows = await rows_of(journal)
    assert {row.kind for row in rows} == {RowKind.INSTRUMENT_KEPT}
    assert [kept_instrument(row.fields) for row in rows] == [(LINEAR, OTHER), (SPOT, NEW)]


async def test_memory_takes_nothing_for_kept_while_no_row_can_be_written(
    recorder: Recorder, journal: JournalWriter
) -> None:
    is_writable = False
    memory = InstrumentMemory(recorder=recorder, is_writable=lambda: is_writable)
    memory.keep({SPOT: OLD})
    assert await rows_of(journal) == []
    is_writable = True
    memory.keep({SPOT: OLD})
    assert [row.fields for row in await rows_of(journal)] == [instrument_fields(OLD)]


def test_memory_reads_what_it_writes() -> None:
    for one in (OLD, OTHER, NEW, replace(OLD, min_quantity=Decimal("0.000000000001"))):
        assert kept_instrument(instrument_fields(one)) == ((one.category, one.symbol), one)
