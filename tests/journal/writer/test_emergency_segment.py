"""The emergency segment as a file: durable, bounded, and honest about what is torn, old or another's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trade_journal.errors import JournalFull, JournalRefused, JournalUnavailable
from trade_journal.log.rows import ROW_BYTES_MAX
from trade_journal.writer.emergency_segment import SEGMENT_BYTES, SEGMENT_ROWS_MAX, SLOT_BYTES, EmergencySegment

ORIGIN = "trade/simulated/1002/gateway"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "emergency.segment"


def opened(path: Path) -> EmergencySegment:
    return EmergencySegment.open(path, origin=ORIGIN)


def left_in(path: Path) -> tuple[list[tuple[int, bytes]], int]:
    segment = opened(path)
    segment.close()
    return segment.rows, segment.torn_rows


def test_segment_is_made_with_real_blocks_for_its_owner_alone(path: Path) -> None:
    segment = opened(path)
    segment.close()
    status = path.stat()
    assert (status.st_size, status.st_mode & 0o777) == (SEGMENT_BYTES, 0o600)
    assert status.st_blocks * 512 >= SEGMENT_BYTES
    assert list(path.parent.iterdir()) == [path]
    assert (segment.rows, segment.room) == ([], SEGMENT_ROWS_MAX)


def test_segment_gives_back_what_was_put_into_it(path: Path) -> None:
    segment = opened(path)
    segment.append([(7, b"a"), (8, b"b" * ROW_BYTES_MAX)])
    segment.append([(9, b"c")])
    assert segment.room == SEGMENT_ROWS_MAX - 3
    segment.close()
    assert left_in(path) == ([(7, b"a"), (8, b"b" * ROW_BYTES_MAX), (9, b"c")], 0)
    again = opened(path)
    again.append([(10, b"d")])
    again.close()
    assert left_in(path)[0][-1] == (10, b"d")


def test_segment_holds_so_many_rows_and_not_one_more(path: Path) -> None:
    segment = opened(path)
    segment.append([(seq, b"x") for seq in range(SEGMENT_ROWS_MAX)])
    assert segment.room == 0
    with pytest.raises(JournalFull, match=f"holds {SEGMENT_ROWS_MAX} rows"):
        segment.append([(SEGMENT_ROWS_MAX, b"x")])
    segment.close()
    rows, torn = left_in(path)
    assert ([seq for seq, _ in rows], torn) == (list(range(SEGMENT_ROWS_MAX)), 0)


def test_segment_cleared_is_empty_and_what_was_left_behind_is_never_read_again(path: Path) -> None:
    segment = opened(path)
    segment.append([(0, b"a"), (1, b"b"), (2, b"c")])
    segment.clear()
    assert (segment.rows, segment.room) == ([], SEGMENT_ROWS_MAX)
    segment.append([(5, b"d")])
    segment.close()
    assert left_in(path) == ([(5, b"d")], 0)
    cleared = opened(path)
    cleared.clear()
    cleared.close()
    assert left_in(path) == ([], 0)


@pytest.mark.parametrize("where", [40, 52, 90, 100], ids=["number", "length", "checksum", "body"])
def test_segment_torn_row_ends_what_is_read_and_is_counted(path: Path, where: int) -> None:
    segment = opened(path)
    segment.append([(0, b"a" * 100), (1, b"b" * 100), (2, b"c" * 100)])
    segment.close()
    with path.open("r+b") as file:
        file.seek(SLOT_BYTES + where)
        byte = file.read(1)
        file.seek(SLOT_BYTES + where)
        file.write(bytes([byte[0] ^ 1]))
    assert left_in(path) == ([(0, b"a" * 100)], 1)


def test_segment_of_another_journal_is_refused(path: Path) -> None:
    segment = EmergencySegment.open(path, origin="trade/simulated/1003/gateway")
    segment.append([(0, b"a")])
    segment.close()
    with pytest.raises(JournalRefused, match="of another journal"):
        opened(path)


@pytest.mark.parametrize("content", [b"", b"a text", bytes(SEGMENT_BYTES + 1)])
def test_file_that_is_no_segment_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalRefused, match="not an emergency segment"):
        opened(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("slot", [0, 1])
def test_segment_with_a_slot_that_no_writer_left_so_is_refused_and_kept(path: Path, slot: int) -> None:
    segment = opened(path)
    segment.append([(7, b"a"), (8, b"b")])
    segment.close()
    with path.open("r+b") as file:
        file.seek(slot * SLOT_BYTES)
        file.write(b"x")
    before = path.read_bytes()
    with pytest.raises(JournalRefused, match=f"damaged in slot {slot}"):
        opened(path)
    assert path.read_bytes() == before


def test_segment_that_is_a_link_or_a_folder_is_refused(path: Path, tmp_path: Path) -> None:
    opened(tmp_path / "other").close()
    path.symlink_to(tmp_path / "other")
    with pytest.raises(JournalRefused, match="emergency segment"):
        opened(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(JournalRefused, match="emergency segment"):
        opened(path)


def test_segment_where_nothing_can_be_made_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(JournalRefused, match=r"gone/emergency\.segment: the emergency segment cannot be made"):
        opened(tmp_path / "gone" / "emergency.segment")


def test_segment_half_made_by_a_crash_is_made_anew(path: Path) -> None:
    path.with_name(f".{path.name}.partial").write_bytes(b"half")
    opened(path).close()
    assert list(path.parent.iterdir()) == [path]


def test_segment_disk_that_fails_is_said_and_acknowledges_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = opened(path)

    def failing(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(JournalUnavailable, match="Input/output error"):
        segment.append([(0, b"a")])
    assert segment.room == SEGMENT_ROWS_MAX
    segment.clear()  # never raises
    segment.close()


def test_segment_write_that_is_cut_short_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = opened(path)
    monkeypatch.setattr(os, "pwrite", lambda *_: 3)
    with pytest.raises(JournalUnavailable, match="cut short after 3 bytes"):
        segment.append([(0, b"a")])
    segment.close()
