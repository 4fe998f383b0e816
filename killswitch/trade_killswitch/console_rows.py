"""Rows of the console in the executor's journal: the console has none, and must not be able to write another kind.

The executor writes them as what they are, the console's word: who was signed in, from where, what was shown and done.
"""

from __future__ import annotations

from typing import Annotated, Final, Protocol

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from trade_core.logs import neutralise
from trade_core.peer_protocol import PEER_UID_KEY
from trade_journal.log.rows import STRING_CHARACTERS_MAX, Fields, RowKind

KINDS: Final = {
    kind.value: kind for kind in (RowKind.CONSOLE_SIGNED_IN, RowKind.CONSOLE_REFUSED, RowKind.CONSOLE_ACTED)
}
_Text = Annotated[str, Field(min_length=1, max_length=STRING_CHARACTERS_MAX)]
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,47}$")]


class ConsoleRow(BaseModel):
    """One thing that a person did with the console."""

    model_config = ConfigDict(extra="forbid", strict=True)
    kind: Annotated[str, Field(pattern=r"^console:[a-z_]{1,20}$")]
    session: _Name
    address: _Text
    browser: _Text
    action: _Name
    shown: _Text
    result: _Text


class Recording(Protocol):
    """What takes the row."""

    async def record(self, kind: RowKind, fields: Fields) -> bool:
        """Write a row; True when it is known to be durable."""
        ...


def add_console_rows(app: FastAPI, recorder: Recording) -> None:
    """Serve `POST /console/rows`: 201 once the row is durable, 503 when it is not known to be."""

    @app.post("/console/rows", status_code=201)
    async def take(row: ConsoleRow, request: Request) -> dict[str, bool]:
        kind = KINDS.get(row.kind)
        if kind is None:
            raise HTTPException(422, "kind: is none of the console's")
        texts = {name: neutralise(getattr(row, name), limit=STRING_CHARACTERS_MAX) for name in _TEXTS}
        fields = {name: text[:STRING_CHARACTERS_MAX] for name, text in texts.items()}
        written = {**fields, "asked_by": f"uid {request.scope.get(PEER_UID_KEY, 'unknown')}"}
        if not await recorder.record(kind, written):
            raise HTTPException(503, "the row is not known to be written")
        return {"is_recorded": True}


_TEXTS: Final = ("session", "address", "browser", "action", "shown", "result")
