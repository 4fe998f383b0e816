"""What the journal knows of the last good references, row by row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from gateway.parts import rows_of

from trade_gateway.account import reference_memory
from trade_gateway.account.reference_memory import ReferenceMemory, kept_references
from trade_gateway.policy.references import KeptReference
from trade_gateway.recorder import Recorder
from trade_journal.log.rows import RowKind
from trade_journal.writer.writer import JournalWriter


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows follow one another at once."""
    monkeypatch.setattr(reference_memory, "APART_S", 0)


@dataclass
class Memory:
    memory: ReferenceMemory
    journal: JournalWriter
    within: list[Decimal]
    is_writable: list[bool] = field(default_factory=lambda: [True])

    async def rows(self, at_least: int) -> list[Any]:
        """Return the rows once there are so many, and nothing is left to be written."""
        async with asyncio.timeout(60):
            while len(found := await rows_of(self.journal)) < at_least:  # noqa: ASYNC110 - the loop's doing
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        found = await rows_of(self.journal)
        assert {row.kind for row in found} <= {RowKind.REFERENCE_KEPT}
        return [row.fields for row in found]


@asynccontextmanager
async def keeping(recorder: Recorder, journal: JournalWriter) -> AsyncIterator[Memory]:
    within, is_writable = [Decimal("0.002")], [True]
    memory = ReferenceMemory(recorder=recorder, within=lambda: within[0], is_writable=lambda: is_writable[0])
    task = asyncio.create_task(memory.keep())
    try:
        yield Memory(memory=memory, journal=journal, within=within, is_writable=is_writable)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_memory_writes_what_went_further_than_it_may_and_nothing_else(
    recorder: Recorder, journal: JournalWriter
) -> None:
    async with keeping(recorder, journal) as it:
        it.memory.note("BTC", Decimal(1000))
        it.memory.note("ETH", Decimal(50))
        first = {"within": "0.002", "prices": {"BTC": "1000", "ETH": "50"}}
        assert await it.rows(1) == [first]
        for price in ("1002", "998", "1000.5"):
            it.memory.note("BTC", Decimal(price))
        assert await it.rows(1) == [first]
        it.memory.note("BTC", Decimal("1002.01"))
        assert await it.rows(2) == [first, {"within": "0.002", "prices": {"BTC": "1002.01"}}]
        it.memory.note("BTC", Decimal("1000"))
        assert (await it.rows(3))[2:] == [{"within": "0.002", "prices": {"BTC": "1000"}}]


async def test_memory_begins_with_what_the_journal_has(recorder: Recorder, journal: JournalWriter) -> None:
    async with keeping(recorder, journal) as it:
        it.memory.restore({"BTC": KeptReference(price=Decimal(1000), within=Decimal("0.01"))})
        it.memory.note("BTC", Decimal(1010))
        assert await it.rows(0) == []
        it.memory.note("BTC", Decimal("1010.1"))
        assert await it.rows(1) == [{"within": "0.002", "prices": {"BTC": "1010.1"}}]


async def test_memory_writes_everything_again_under_another_policy(recorder: Recorder, journal: JournalWriter) -> None:
    async with keeping(recorder, journal) as it:
        it.memory.renew()
        it.memory.note("BTC", Decimal(1000))
        await it.rows(1)
        it.within[0] = Decimal("0.0005")
        it.memory.renew()
        assert (await it.rows(2))[1:] == [{"within": "0.0005", "prices": {"BTC": "1000"}}]


async def test_memory_waits_for_a_journal_that_can_be_written(recorder: Recorder, journal: JournalWriter) -> None:
    async with keeping(recorder, journal) as it:
        it.is_writable[0] = False
        it.memory.note("BTC", Decimal(1000))
        assert await it.rows(0) == []
        it.memory.note("BTC", Decimal(1001))
        it.is_writable[0] = True
        assert await it.rows(1) == [{"within": "0.002", "prices": {"BTC": "1001"}}]


async def test_memory_row_that_failed_is_written_again(
    recorder: Recorder, journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = recorder.append_durable, [1]

    async def append(*args: Any, **options: Any) -> bool:
        if failures[0]:
            failures[0] -= 1
            return False
        return await real(*args, **options)

    monkeypatch.setattr(recorder, "append_durable", append)
    async with keeping(recorder, journal) as it:
        it.memory.note("BTC", Decimal(1000))
        assert await it.rows(1) == [{"within": "0.002", "prices": {"BTC": "1000"}}]


async def test_memory_of_more_coins_than_a_row_holds_takes_two(recorder: Recorder, journal: JournalWriter) -> None:
    async with keeping(recorder, journal) as it:
        for number in range(101):
            it.memory.note(f"C{number}", Decimal(1))
        assert [len(fields["prices"]) for fields in await it.rows(2)] == [100, 1]


async def test_memory_of_an_orderly_stop_is_exact(recorder: Recorder, journal: JournalWriter) -> None:
    async with keeping(recorder, journal) as it:
        it.memory.note("BTC", Decimal(1000))
        await it.rows(1)
        it.memory.note("BTC", Decimal("1001.50"))
        await it.memory.finish()
        last = (await it.rows(2))[1]
        assert kept_references(last) == {"BTC": KeptReference(price=Decimal("1001.5"), within=Decimal(0))}
