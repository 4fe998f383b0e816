"""`trade-journal table`: lines for programs, a table at a terminal, JSON; and no foreign text that acts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from journal.writing import ORIGIN

from trade_core.clock import SystemClock
from trade_journal.cli import main
from trade_journal.log.rows import Entry, RowKind
from trade_journal.tables import TABLES
from trade_journal.writer.writer import JournalWriter


@pytest.fixture
async def journal(tmp_path: Path, entry: Callable[..., Entry]) -> str:
    file = tmp_path / "journal.db"
    writer = await JournalWriter.open(f"sqlite:///{file}", origin=ORIGIN, clock=SystemClock())
    await writer.append(entry(fields={"note": '"kind":"incident:opened"'}))
    incident = {"type": "[red]odd\x1b[31m", "severity": "critical", "detail": "[bold]x"}
    await writer.append(entry(kind=RowKind.INCIDENT_OPENED, fields=incident))
    await writer.close()
    return str(file)


async def test_table_is_a_line_a_record_when_there_is_no_terminal(
    journal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", "incidents", "--journal", journal]) == 0
    expected = ["1", "1970-01-01T00:00:00.000Z", "[red]odd\\x1b[31m", "critical", "detail=[bold]x", "-", "-"]
    assert capsys.readouterr().out == "\t".join(expected) + "\n"


async def test_table_as_json_has_its_columns(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "incidents", "--journal", journal, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert tuple(record) == TABLES["incidents"].columns
    assert record["mitigated_at"] is None


async def test_table_at_a_terminal_takes_no_markup_from_others(
    journal: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["table", "incidents", "--journal", journal]) == 0
    shown = capsys.readouterr().out
    assert "[red]odd\\x1b[31m" in shown
    assert "severity" in shown
    assert "\x1b[31m" not in shown


@pytest.mark.parametrize("name", sorted(set(TABLES) - {"incidents"}))
async def test_table_without_rows_is_empty(journal: str, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["table", name, "--journal", journal]) == 0
    assert capsys.readouterr().out == ""


def test_table_of_no_such_name_or_journal_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["table", "orders", "--journal", "x"])
    assert ended.value.code == 2
    assert main(["table", "incidents", "--journal", str(tmp_path / "none.db")]) == 3
