"""The audit's mark: where a start begins to read, and what becomes of a file that holds none."""

from __future__ import annotations

from pathlib import Path

import pytest

from trade_core.clock import ManualClock
from trade_watchdog.audit_mark import AGAIN_MS, KEEP_EVERY_S, MARK_FILE, AuditMark

NOW_MS = 1_700_000_000_000
READ_MS = NOW_MS + 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_ns=NOW_MS * 1_000_000)


@pytest.fixture
def mark(tmp_path: Path, clock: ManualClock) -> AuditMark:
    return AuditMark(state_dir=tmp_path, clock=clock)


def test_first_start_has_no_mark(mark: AuditMark) -> None:
    assert mark.read() is None


def test_start_begins_a_little_before_what_was_kept(mark: AuditMark) -> None:
    mark.keep(READ_MS)
    assert mark.read() == READ_MS - AGAIN_MS


def test_mark_is_kept_only_now_and_then(mark: AuditMark, clock: ManualClock) -> None:
    mark.keep(READ_MS)
    clock.advance(KEEP_EVERY_S * 1_000_000_000 - 1)
    mark.keep(READ_MS + 1)
    assert mark.read() == READ_MS - AGAIN_MS
    clock.advance(1)
    mark.keep(READ_MS + 2)
    assert mark.read() == READ_MS + 2 - AGAIN_MS


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"read_until_ms": "1"}',
        '{"read_until_ms": true}',
        '{"read_until_ms": 0}',
        '{"read_until_ms": 9007199254740992}',
        '{"read_until_ms": 1.5}',
    ],
)
def test_file_without_a_mark_is_none_and_says_so(
    mark: AuditMark, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (tmp_path / MARK_FILE).write_text(content)
    assert mark.read() is None
    assert MARK_FILE in caplog.text


def test_mark_that_cannot_be_written_is_said_once(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    mark = AuditMark(state_dir=tmp_path / "gone", clock=clock)
    mark.keep(READ_MS)
    clock.advance(KEEP_EVERY_S * 1_000_000_000)
    mark.keep(READ_MS)
    assert caplog.text.count("the next start reads further back") == 1
