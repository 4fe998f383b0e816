from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from trade_journal.log.rows import Entry, Fields, RowKind, draft
from trade_killswitch.console_rows import add_console_rows

ROW = {
    "kind": "console:acted",
    "session": "session-1",
    "address": "127.0.0.1",
    "browser": "a browser",
    "action": "halt",
    "shown": "by hand",
    "result": "the gateway is HALTED",
}


class Recorder:
    def __init__(self) -> None:
        self.rows: list[tuple[RowKind, Fields]] = []
        self.is_writable = True

    async def record(self, kind: RowKind, fields: Fields) -> bool:
        draft(Entry(at_ns=1, kind=kind, actor="executor", fields=fields))
        self.rows.append((kind, fields))
        return self.is_writable


async def post(recorder: Recorder, content: Any) -> httpx.Response:
    app = FastAPI()
    add_console_rows(app, recorder)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://executor") as client:
        return await client.post("/console/rows", json=content)


async def test_row_is_written_as_the_console_s_word() -> None:
    recorder = Recorder()
    assert (await post(recorder, ROW)).status_code == 201
    fields = {name: value for name, value in ROW.items() if name != "kind"}
    assert recorder.rows == [(RowKind.CONSOLE_ACTED, {**fields, "asked_by": "uid unknown"})]


async def test_row_that_is_not_known_to_be_written_is_said() -> None:
    recorder = Recorder()
    recorder.is_writable = False
    assert (await post(recorder, ROW)).status_code == 503


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "sweep:proved"},
        {"kind": "console:other"},
        {"session": "a b"},
        {"action": ""},
        {"shown": ""},
        {"shown": "x" * 513},
        {"shown": 1},
        {"more": "x"},
    ],
)
async def test_row_of_another_kind_or_form_is_refused(changed: dict[str, Any]) -> None:
    recorder = Recorder()
    assert (await post(recorder, {**ROW, **changed})).status_code == 422
    assert recorder.rows == []


async def test_hostile_text_is_neutralised_and_cut_to_what_a_row_takes() -> None:
    recorder = Recorder()
    assert (await post(recorder, {**ROW, "browser": "\u202e\x1b[0m" * 100})).status_code == 201
    browser = recorder.rows[0][1]["browser"]
    assert isinstance(browser, str)
    assert browser.isprintable()
    assert len(browser) <= 512
