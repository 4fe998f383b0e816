"""Blocks of rows, checked in other processes: in order, whole, and given back as None when anything is wrong."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from journal.plain_journals import plain_journal

from trade_journal import row_checks
from trade_journal.log.row_times import span_of
from trade_journal.log.tree import root_of
from trade_journal.log.verify import HASHED_ROWS, checked_leaves
from trade_journal.row_checks import Block, hashed_blocks
from trade_journal.store.store import JournalReader


@pytest.fixture(autouse=True)
def _few_rows_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_checks, "ALONE_ROWS", 1)
    monkeypatch.setattr(row_checks, "_TURN", 1)


def expected(path: Path, block: int) -> Block:
    first = block * HASHED_ROWS
    with closing(JournalReader(f"sqlite:///{path}")) as reader:
        rows = reader.stored_rows(first, HASHED_ROWS)
    leaves = checked_leaves(rows, first=first)
    return Block(leaves, root_of(leaves), span_of([row.body for row in rows]))


def test_blocks_come_whole_and_in_their_order(tmp_path: Path) -> None:
    path = plain_journal(tmp_path)
    assert list(hashed_blocks(path, rows=1_010)) == [expected(path, block) for block in range(3)]


def test_few_rows_have_no_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_checks, "ALONE_ROWS", 1_011)
    assert list(hashed_blocks(plain_journal(tmp_path), rows=1_010)) == []


@pytest.mark.parametrize(
    "change", ["body = 'text'", "body = x'00'", "leaf_hash = x'00'", "seq = 5000", "leaf_hash = 1.5"]
)
def test_block_with_a_row_that_is_not_as_it_should_be_is_to_be_looked_at(tmp_path: Path, change: str) -> None:
    path = plain_journal(tmp_path)
    whole = expected(path, 0)
    with sqlite3.connect(path) as owner:
        owner.execute("DROP TRIGGER rows_refuse_update")
        owner.execute(f"UPDATE rows SET {change} WHERE seq = 300")
    owner.close()
    assert list(hashed_blocks(path, rows=1_010))[:2] == [whole, None]


def test_blocks_of_a_file_that_has_gone_are_to_be_looked_at(tmp_path: Path) -> None:
    assert list(hashed_blocks(tmp_path / "gone.db", rows=3 * HASHED_ROWS)) == [None, None, None]


def test_blocks_of_a_process_that_dies_are_to_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = os.getpid()

    def dying(*_: object) -> bytes:
        assert os.getpid() != ours
        os.kill(os.getpid(), signal.SIGKILL)
        return b""

    monkeypatch.setattr(row_checks, "_checked", dying)
    assert list(hashed_blocks(plain_journal(tmp_path), rows=1_010)) == [None, None, None]


def test_processes_end_when_nobody_reads_on(tmp_path: Path) -> None:
    blocks = hashed_blocks(plain_journal(tmp_path), rows=1_010)
    next(blocks)
    blocks.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
