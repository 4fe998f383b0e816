"""What the console writes down of what was shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trade_killswitch.console.ledger import TEXT_CHARACTERS, Ledger, Person
from trade_killswitch.console.metrics import ConsoleMetrics
from trade_killswitch.console.sources import Answer


class Executor:
    name = "the kill executor"

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    async def ask(self, method: str, path: str, content: bytes | None = None) -> Answer:
        self.rows.append(json.loads(content or b""))
        return Answer(status=201, body=b"{}")


async def noted(shown: str) -> str:
    executor = Executor()
    person = Person(session="session-1", address="127.0.0.1", browser="")
    ledger = Ledger(executor, metrics=ConsoleMetrics())
    assert await ledger.note("console:acted", person, action="draft_kill", shown=shown, result="shown")
    (row,) = executor.rows
    assert row["browser"] == "none"
    return str(row["shown"])


async def test_what_a_row_holds_is_written_whole() -> None:
    assert await noted("w" * TEXT_CHARACTERS) == "w" * TEXT_CHARACTERS


async def test_of_what_is_longer_the_row_tells_length_and_hash() -> None:
    first, second = await noted("w" * 999 + "a"), await noted("w" * 999 + "b")
    assert first.startswith("w" * TEXT_CHARACTERS + "... (1000 characters, SHA-256 ")
    assert first != second
    assert len(first) <= 512


@pytest.mark.parametrize("hostile", ["\u202e" * 300, "\x1b" * 5000, "\ud800" * 500])
async def test_hostile_text_stays_within_a_row(hostile: str) -> None:
    shown = await noted(hostile)
    assert len(shown) <= 512
    assert shown.isprintable()
