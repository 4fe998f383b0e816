"""The journal writer as a process on PostgreSQL: outlives its server, tells nobody the password, and is alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from journal.gate import until
from journal.postgres_server import WRITER, PostgresServer
from journal.writer.test_writer_process import ORIGIN, client_of, row, running, writable, write_ring
from journal.writer.test_writer_settings import written

from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import RowKind
from trade_journal.store.postgres_address import schema_of
from trade_journal.writer.writer_cli import main

pytestmark = pytest.mark.slow


def deployed(folder: Path, url: str) -> Path:
    """Make key, ring and settings of a writer whose journal is at a URL."""
    folder.mkdir(exist_ok=True)
    config = written(folder, journal_url=url)
    assert main(["init", "--config", str(config)]) == 0
    write_ring(folder, json.loads((folder / "state" / "public.json").read_text())["log_key"])
    return config


def visible(pid: int) -> list[str]:
    """Read what a list of processes shows of one."""
    return [Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ")]


async def test_process_goes_on_when_its_server_is_back_and_tells_nobody_the_password(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    config = deployed(tmp_path, postgres.make_journal(ORIGIN))
    with running(config) as process:
        journal = await client_of(tmp_path)
        assert await journal.append(row(0)) == 0
        postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{WRITER}'")
        with pytest.raises(JournalUnavailable):
            await journal.append(row(1))
        await writable(journal)
        assert await journal.append(row(2)) == 2
        rows = await journal.read(0, 10)
        assert [one.kind for one in rows] == [
            RowKind.ORDER_INTENT,
            RowKind.JOURNAL_RECOVERED,
            RowKind.ORDER_INTENT,
        ]
        seen = [*visible(process.pid), *(str(one.fields) for one in rows)]
        await journal.close()
        process.terminate()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0
    assert not [text for text in [*seen, said] if postgres.password in text]


def test_second_process_is_refused_in_one_sentence_that_names_the_first(
    tmp_path: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.make_journal(ORIGIN)
    first, second = deployed(tmp_path / "first", url), deployed(tmp_path / "second", url)
    capsys.readouterr()
    with running(first) as process:
        asyncio.run(until((tmp_path / "first" / "gateway.sock").exists))
        assert main(["--config", str(second)]) == 2
        said = capsys.readouterr().err
        assert f"trade-journal pid {process.pid})" in said
        assert ORIGIN in said


def test_role_with_too_many_rights_ends_the_process_in_one_sentence(
    tmp_path: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    config = deployed(tmp_path, postgres.make_journal(ORIGIN))
    postgres.run(f"GRANT DELETE ON {schema_of(ORIGIN)}.rows TO {WRITER}")
    capsys.readouterr()
    assert main(["--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert f"role {WRITER} may do more than INSERT and SELECT: DELETE on rows" in said
    assert "Traceback" not in said
    assert postgres.password not in said
