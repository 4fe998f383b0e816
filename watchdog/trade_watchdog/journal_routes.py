"""What the watchdog's admin listener shows of its own journal, as the gateway's shows of its.

It only reads, and signs what is there: a checkpoint over all rows is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, Final, TypeVar

from fastapi import FastAPI, HTTPException, Query, Response

from trade_journal.errors import JournalError
from trade_journal.log.rendering import rendered_row
from trade_journal.log.rows import INTEGER_MAX
from trade_journal.writer.writer import JournalWriter

ROWS_MAX: Final = 512
_Given = TypeVar("_Given")


def add_journal(app: FastAPI, journal: JournalWriter, may_read: list[Any]) -> None:
    """Add what shows the watchdog's own journal, as the gateway shows its."""

    @app.get("/journal/rows", dependencies=may_read)
    async def rows(
        start: Annotated[int, Query(alias="from", ge=0, le=INTEGER_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 100,
    ) -> dict[str, Any]:
        return {"rows": [rendered_row(row) for row in await _given(journal.read(start, limit))]}

    @app.get("/journal/entries", dependencies=may_read)
    async def entries(
        start: Annotated[int, Query(alias="from", ge=0, le=INTEGER_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 100,
    ) -> Response:
        stored = await _given(journal.stored(start, limit))
        return Response(b"".join(row.body + b"\n" for row in stored), media_type="application/jsonl")

    @app.get("/journal/checkpoint", dependencies=may_read)
    async def checkpoint() -> Response:
        return Response(await _given(journal.checkpoint()), media_type="text/plain")


async def _given(answer: Awaitable[_Given]) -> _Given:
    try:
        return await answer
    except JournalError as error:
        raise HTTPException(503, f"the journal cannot be read now: {error}") from error
