"""`trade-journal mitigated` through the shim's socket of a real writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from journal.writing import Writing, writing

from trade_journal.cli import main
from trade_journal.log.rows import Entry, RowKind
from trade_journal.store.store import JournalReader
from trade_journal.writer.peers import Peer


@pytest_asyncio.fixture
async def there(tmp_path: Path) -> AsyncIterator[Writing]:
    """A writer whose journal has a start in row 0 and an incident in row 1."""
    (tmp_path / "shim.toml").write_text(
        'environment = "simulated"\naccount = "1002"\nstate_dir = "shim"\njournal_socket = "shim.sock"\n'
        'bot_database = "trades.sqlite"\n'
    )
    async with writing(tmp_path) as started:
        gateway = await started.client(Peer.GATEWAY)
        await gateway.append(Entry(at_ns=1, kind=RowKind.THROTTLE_REARMED, actor="gateway", fields={}))
        fields = {"type": "order of a stranger", "severity": "critical"}
        await gateway.append(Entry(at_ns=1, kind=RowKind.INCIDENT_OPENED, actor="gateway", fields=fields))
        await gateway.close()
        yield started


async def mitigated(there: Writing, *arguments: str) -> int:
    """Run the command in a thread: it has an event loop of its own."""
    command = ["mitigated", "--config", str(there.folder / "shim.toml"), *arguments]
    return await asyncio.to_thread(main, command)


def written(there: Writing) -> list[dict[str, object]]:
    reader = JournalReader(there.url)
    try:
        rows = reader.read(0, 100)
    finally:
        reader.close()
    return [dict(row.fields) for row in rows if row.kind is RowKind.INCIDENT_MITIGATED]


async def test_what_was_done_about_an_incident_is_a_row(there: Writing, capsys: pytest.CaptureFixture[str]) -> None:
    assert await mitigated(there, "1", "  sold it by hand\x1b[31m ") == 0
    assert capsys.readouterr().out == "row 2: the incident of row 1 is mitigated\n"
    remark = "sold it by hand\\x1b[31m"
    assert written(there) == [{"incident": 1, "type": "order of a stranger", "mitigation": remark}]


@pytest.mark.parametrize(
    ("row", "text", "refusal"),
    [
        ("0", "x", "row 0 is throttle:rearmed, no incident"),
        ("2", "x", "no row 2 in the journal, which has 2"),
        ("1", " ", "what was done is empty"),
        ("1", "x" * 401, "what was done has 401 characters; at most 400"),
    ],
)
async def test_what_settles_nothing_is_refused_by_name(
    there: Writing, capsys: pytest.CaptureFixture[str], row: str, text: str, refusal: str
) -> None:
    assert await mitigated(there, row, text) == 2
    assert refusal in capsys.readouterr().err
    assert written(there) == []


@pytest.mark.parametrize("row", ["-1", "x", "1.0", "\u0661", "9" * 19])
async def test_what_is_no_row_number_is_refused(there: Writing, capsys: pytest.CaptureFixture[str], row: str) -> None:
    with pytest.raises(SystemExit):
        await mitigated(there, row, "x")
    assert "is not the number of a row" in capsys.readouterr().err or row == "-1"
