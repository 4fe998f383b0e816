"""The memory of keys: what it keeps, and what a damaged or unwritable file costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from trade_watchdog.audit.key_inventory import KeyMark
from trade_watchdog.key_memory import MEMORY_FILE, KeyMemory

MARKS = {"order1": KeyMark(power="p", addresses="a"), "exit1": KeyMark(power="q", addresses="b")}


def test_marks_are_kept(tmp_path: Path) -> None:
    assert KeyMemory(state_dir=tmp_path).read() == {}
    KeyMemory(state_dir=tmp_path).keep(MARKS)
    assert KeyMemory(state_dir=tmp_path).read() == MARKS


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"keys": []}', b'{"keys": {"a": 1}}', b'{"keys": {"a": {}}}', b"[" * 60_000]
)
def test_file_that_holds_no_keys_is_a_first_sight(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / MEMORY_FILE).write_bytes(content)
    assert KeyMemory(state_dir=tmp_path).read() == {}
    assert "seen as for the first time" in caplog.text


def test_file_that_cannot_be_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / MEMORY_FILE).mkdir()
    KeyMemory(state_dir=tmp_path).keep(MARKS)
    assert "cannot be written" in caplog.text
