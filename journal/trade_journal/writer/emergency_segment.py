"""The emergency segment: a small file with its blocks already on the disk, for rows that cannot wait for the journal.

Guarantees
- A row is durable once `append` has returned: framed, checksummed and synced (fdatasync) into blocks that were written
  when the file was made, so that a full disk cannot refuse it.
- It holds SEGMENT_ROWS_MAX rows of any permitted size, and refuses the next one.
- Rows stand there with their final sequence numbers, gapless. Reading stops at the first frame that is not the next
  one: a torn frame was never acknowledged, and an older frame was left from an emergency that is over.
- A segment of another journal is refused, never overwritten, and so is one with a slot that no writer left so: it may
  have held rows that were acknowledged.

It does not know what the journal holds: that is compared by whoever opens both.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from trade_journal.errors import JournalFull, JournalRefused, JournalUnavailable
from trade_journal.log.rows import ROW_BYTES_MAX

SEGMENT_FILE: Final = "emergency.segment"  # in the writer's own folder
SEGMENT_ROWS_MAX: Final = 512
SLOT_BYTES: Final = ROW_BYTES_MAX + 512  # a slot for each row: an overwritten frame never shifts the next one
SEGMENT_BYTES: Final = SEGMENT_ROWS_MAX * SLOT_BYTES
_PIECE_BYTES: Final = SEGMENT_BYTES // 4
_MAGIC: Final = b"TRDEMRG1"
_EMPTY: Final = bytes(8)
_HEADER: Final = struct.Struct(">8s32sQI32s")  # magic, SHA-256 of the origin, sequence number, length, checksum
_CHECKED_BYTES: Final = _HEADER.size - 32


class EmergencySegment:
    """One open segment. Used by one thread at a time, by whoever holds the journal's lock."""

    __slots__ = ("_count", "_descriptor", "_origin", "_path", "rows", "torn_rows")

    def __init__(self, *, path: Path, descriptor: int, origin: bytes) -> None:
        self._path = path
        self._descriptor = descriptor
        self._origin = origin
        self.rows, self.torn_rows = self._read()
        self._count = len(self.rows)

    @classmethod
    def open(cls, path: Path, *, origin: str) -> EmergencySegment:
        """Open the segment, or make it where none is. Raises JournalRefused, which names the file and what is wrong."""
        try:
            if not os.path.lexists(path):
                _make(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise JournalRefused(f"{path}: the emergency segment cannot be made or opened: {error.strerror}") from error
        try:
            _check_size(path, descriptor)
            return cls(path=path, descriptor=descriptor, origin=hashlib.sha256(origin.encode()).digest())
        except OSError as error:
            os.close(descriptor)
            raise JournalRefused(f"{path}: the emergency segment cannot be read: {error.strerror}") from error
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def room(self) -> int:
        """Count the rows that still fit."""
        return SEGMENT_ROWS_MAX - self._count

    def append(self, rows: Sequence[tuple[int, bytes]]) -> None:
        """Make numbered rows durable, all or none acknowledged. Raises JournalFull, JournalUnavailable."""
        if len(rows) > self.room:
            raise JournalFull(f"the emergency segment holds {SEGMENT_ROWS_MAX} rows and is full", cause="segment_full")
        try:
            for index, (seq, body) in enumerate(rows):
                frame = self._frame(seq, body)
                written = os.pwrite(self._descriptor, frame, (self._count + index) * SLOT_BYTES)
                if written != len(frame):
                    raise JournalUnavailable(f"{self._path}: cut short after {written} bytes", cause="segment")
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise JournalUnavailable(f"{self._path}: {error.strerror}", cause="segment") from error
        self._count += len(rows)

    def clear(self) -> None:
        """Let the rows go, once the journal has them. If that fails, the next opening finds them in both places."""
        self._count = 0
        self.rows = []
        with suppress(OSError):
            os.pwrite(self._descriptor, bytes(_HEADER.size), 0)
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file; what is in it stays."""
        os.close(self._descriptor)

    def _frame(self, seq: int, body: bytes) -> bytes:
        head = _HEADER.pack(_MAGIC, self._origin, seq, len(body), b"")[:_CHECKED_BYTES]
        return head + hashlib.sha256(head + body).digest() + body

    def _read(self) -> tuple[list[tuple[int, bytes]], int]:
        """Read the rows in order, and count the torn frame after them, if there is one."""
        rows: list[tuple[int, bytes]] = []
        for number in range(SEGMENT_ROWS_MAX):
            slot = os.pread(self._descriptor, SLOT_BYTES, number * SLOT_BYTES)
            magic, origin, seq, length, checksum = _HEADER.unpack_from(slot)
            if magic == _EMPTY:
                return rows, 0
            if magic != _MAGIC:
                raise JournalRefused(
                    f"{self._path}: the emergency segment is damaged in slot {number}; rows that it held were "
                    "acknowledged: put it back from a copy, or move it away and keep it"
                )
            body = slot[_HEADER.size : _HEADER.size + length]
            if hashlib.sha256(slot[:_CHECKED_BYTES] + body).digest() != checksum:
                return rows, 1
            if origin != self._origin:
                raise JournalRefused(f"{self._path}: the emergency segment of another journal")
            if rows and seq != rows[-1][0] + 1:
                return rows, 0
            rows.append((seq, body))
        return rows, 0


def _make(path: Path) -> None:
    """Write every block of a new file: a file system may need room to turn promised blocks into real ones.

    It gets its name last, so that a crash leaves none or a whole one.
    """
    temporary = path.with_name(f".{path.name}.partial")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, SEGMENT_BYTES)
        for place in range(0, SEGMENT_BYTES, _PIECE_BYTES):
            if os.pwrite(descriptor, bytes(_PIECE_BYTES), place) != _PIECE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_size(path: Path, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size != SEGMENT_BYTES:
        raise JournalRefused(f"{path}: not an emergency segment; {status.st_size} bytes, expected {SEGMENT_BYTES}")
