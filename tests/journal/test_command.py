"""The quick way of `verify` says GOOD as the whole command does, and leaves everything else to it."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from journal.plain_journals import AT_S, plain_journal

from trade_journal import cli, command, row_checks


class Left(Exception):
    """The whole command was asked."""


@pytest.fixture(autouse=True)
def _whole_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(_: Sequence[str]) -> int:
        raise Left

    monkeypatch.setattr(cli, "main", whole)


def verify(path: Path | str, *more: str, keys: Path) -> list[str]:
    return ["verify", "--journal", str(path), "--keys", str(keys), *more]


@pytest.mark.parametrize("alone_rows", [1, 10**6])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_good_journal_is_told_as_by_the_whole_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    alone_rows: int,
    more: list[str],
) -> None:
    monkeypatch.setattr(row_checks, "ALONE_ROWS", alone_rows)
    path = plain_journal(tmp_path)
    assert command.main(verify(path, *more, keys=tmp_path / "keys")) == 0
    quick = capsys.readouterr().out
    monkeypatch.undo()
    assert cli.main(verify(path, *more, keys=tmp_path / "keys")) == 0
    assert quick == capsys.readouterr().out
    assert ("1000 signed by the log, in 8 checkpoints" in quick) is (not more)


@pytest.mark.parametrize("alone_rows", [1, 10**6])
@pytest.mark.parametrize(("fell", "noted"), [(100, 100), (700, 700), (1_005, 1_005), (256, 256), (None, None)])
def test_row_that_is_older_than_one_before_is_noted_by_both_ways(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    alone_rows: int,
    fell: int | None,
    noted: int | None,
) -> None:
    monkeypatch.setattr(row_checks, "ALONE_ROWS", alone_rows)
    begun = AT_S * 10**9
    path = plain_journal(
        tmp_path, time_of=lambda number: begun + number - (61 * 10**9 if fell is not None and number >= fell else 0)
    )
    assert command.main(verify(path, keys=tmp_path / "keys")) == 0
    quick = capsys.readouterr().out
    assert (f"note: row {noted} is 60 s older than a row before it" in quick) is (noted is not None)
    assert command.main(verify(path, "--json", keys=tmp_path / "keys")) == 0
    assert json.loads(capsys.readouterr().out)["clock_back_row"] == noted
    monkeypatch.undo()
    assert cli.main(verify(path, keys=tmp_path / "keys")) == 0
    assert quick == capsys.readouterr().out


class Terminal(io.StringIO):
    """Says that a person looks at it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("alone_rows", [1, 10**6])
def test_terminal_is_told_how_far_it_is_and_by_the_quick_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], alone_rows: int
) -> None:
    monkeypatch.setattr(row_checks, "ALONE_ROWS", alone_rows)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert command.main(verify(plain_journal(tmp_path), keys=tmp_path / "keys")) == 0
    assert terminal.getvalue().startswith(f"\r{256 if alone_rows == 1 else 1_000} of 1010 rows")
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert capsys.readouterr().out.startswith("GOOD")


def test_journal_is_found_by_its_url_and_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plain_journal(tmp_path)
    monkeypatch.chdir(tmp_path)
    for where in (f"sqlite:///{path}", "plain.db"):
        assert command.main(verify(where, keys=tmp_path / "keys")) == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rows SET body = replace(body, 'n', 'm') WHERE seq = 3",
        "UPDATE rows SET body = 'text' WHERE seq = 1005",
        "DELETE FROM rows WHERE seq = 600",
        "DELETE FROM rows WHERE seq > 990",
        "UPDATE checkpoints SET note = x'00' WHERE number = 1",
        "DROP TABLE cosignatures",
    ],
)
@pytest.mark.parametrize("alone_rows", [1, 10**6])
def test_journal_that_is_not_good_is_left_to_the_whole_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, alone_rows: int
) -> None:
    monkeypatch.setattr(row_checks, "ALONE_ROWS", alone_rows)
    path = plain_journal(tmp_path)
    with sqlite3.connect(path) as owner:
        triggers = owner.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            owner.execute(f"DROP TRIGGER {name}")
        owner.execute(change)
        for _, sql in triggers:
            if "cosignatures" not in sql or not change.startswith("DROP"):
                owner.execute(sql)
    owner.close()
    with pytest.raises(Left):
        command.main(verify(path, keys=tmp_path / "keys"))


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--help"],
        ["tail", "--journal", "plain.db"],
        ["verify"],
        ["verify", "--help"],
        ["verify", "--journal", "plain.db", "--keys", "keys", "--archive", "x"],
        ["verify", "--journal", "plain.db", "--keys", "plain.db"],
        ["verify", "--journal", "plain.db", "--keys", "missing"],
        ["verify", "--journal", "missing.db", "--keys", "keys"],
        ["verify", "--journal", "keys", "--keys", "keys"],
        ["verify", "--journal", ".", "--keys", "keys"],
        ["verify", "--journal", "http://127.0.0.1:1", "--keys", "keys"],
        ["verify", "--journal", "sqlite:///plain.db", "--keys", "keys"],
        ["verify", "--journal", "plain.db?mode=ro", "--keys", "keys"],
    ],
)
def test_everything_else_is_left_to_the_whole_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    plain_journal(tmp_path, rows=300)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Left):
        command.main(given)


def test_more_signatures_than_one_processor_should_check_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "NOTES_MAX", 7)
    with pytest.raises(Left):
        command.main(verify(plain_journal(tmp_path), keys=tmp_path / "keys"))


def test_ctrl_c_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Sequence[str]) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "is_found_good", interrupted)
    assert command.main(["verify"]) == command.EXIT_UNREADABLE


@pytest.mark.parametrize("more", [["verify", "--json", "--keys"], ["tail", "--rows", "1000"]])
def test_reader_that_has_gone_ends_it_without_a_traceback(tmp_path: Path, more: list[str]) -> None:
    path = plain_journal(tmp_path)
    if more[-1] == "--keys":
        more = [*more, str(tmp_path / "keys")]
    reading, writing = os.pipe()
    os.close(reading)
    given = [sys.executable, "-m", "trade_journal.command", *more, "--journal", str(path)]
    done = subprocess.run(given, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, "Traceback" in done.stderr, "Exception" in done.stderr) == (3, False, False)


def test_quick_way_loads_none_of_what_is_slow(tmp_path: Path) -> None:
    path = plain_journal(tmp_path)
    program = (
        "import sys; from trade_journal.command import main; code = main(sys.argv[1:]); "
        "print([name for name in ('sqlalchemy', 'httpx', 'rich', 'asyncio', 'pydantic') if name in sys.modules]); "
        "sys.exit(code)"
    )
    given = [sys.executable, "-c", program, *verify(path, "--json", keys=tmp_path / "keys")]
    done = subprocess.run(given, capture_output=True, text=True, check=True, timeout=60)
    verdict, loaded = done.stdout.splitlines()
    assert (json.loads(verdict)["rows"], loaded) == (1_010, "[]")
