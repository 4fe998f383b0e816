"""A bundle as a journal to read: a zip file from a stranger, of which nothing is believed and nothing is unpacked.

Guarantees
- Members are read as streams, never written anywhere, and within bounds on their number, size and compression that
  are checked before the first byte of one is inflated: a bundle made to exhaust memory is refused.
- What is not a bundle, is cut short or of absurd size raises JournalRefused; a bundle that contradicts itself (a member
  missing or one too many, bytes that do not have their checksum, fewer or more rows than it says) JournalDamaged.

Reading goes forwards. Rows before those that were read last mean reading from the beginning again.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Final

from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.export.bundle import (
    CHECKPOINTS,
    CONSISTENCY,
    COSIGNED,
    INCLUSION,
    MANIFEST,
    MEMBER_BYTES_MAX,
    RANGE_MEMBERS,
    RATIO_MAX,
    README,
    ROWS,
    Inclusion,
    Manifest,
    consistency_of,
    inclusions_of,
    is_plausible,
    lines_of,
    notes_of,
    parse_manifest,
    readme,
    row_of,
)
from trade_journal.export.growth import Consistency
from trade_journal.log.checkpoint import said_name
from trade_journal.log.verify import StoredRow

CHUNK_BYTES: Final = 256 * 1024
DIRECTORY_BYTES_MAX: Final = 16 * 1024
MEMBERS_MAX: Final = 16
_LOCAL: Final = b"PK\x03\x04"
# The ends of a zip file without a comment (PKWARE APPNOTE 4.3.14 to 4.3.16): record and locator of zip64, then the end.
_END: Final = struct.Struct("<4s4H2LH")
_LOCATOR: Final = struct.Struct("<4sLQL")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")


def is_bundle(path: Path) -> bool:
    """Tell whether a path is meant as a bundle: by its first bytes, or by its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_LOCAL)) == _LOCAL or path.suffix == ".zip"


class BundleSource:
    """A bundle, opened; a Source for whatever reads journals."""

    def __init__(self, path: Path) -> None:
        """Open a bundle and check all of it but its contents. Raises JournalRefused, JournalDamaged."""
        self._path = path
        self._file = path.open("rb")
        try:
            with _faults_named(path):
                _check_directory(self._file, path)
                self._zip = zipfile.ZipFile(self._file)
                self._check_members()
                self.manifest: Manifest = parse_manifest(self._whole(MANIFEST))
                self._check_names()
                if self._whole(README) != readme(is_range=self.manifest.is_range):
                    raise JournalDamaged(f"{path}: {README} is not the one of this format")
        except BaseException:
            self._file.close()
            raise
        self._cursor: Iterator[StoredRow] = iter(())
        self._at: int | None = None
        self._fault: JournalDamaged | None = None

    def origin(self) -> str:
        """Name the log, as its first checkpoint does; as the bundle says it, where there is none that can be read."""
        with suppress(JournalDamaged):
            for note in self.checkpoints():
                return said_name(note)
        return self.manifest.origin

    def size(self) -> int:
        """Count the rows, as the bundle says it; reading them raises JournalDamaged when it is not so."""
        return self.manifest.rows

    def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read rows in the order in which they lie there; fast only forwards.

        Raises JournalDamaged only after it gave every row before the damage, so that a worse fault in those is found.
        """
        if self._at is None or from_seq != self._at:
            self._cursor, self._fault = (row for row in self._rows() if row.seq >= from_seq), None
        page: list[StoredRow] = []
        try:
            if self._fault is None:
                page.extend(islice(self._cursor, limit))
        except JournalDamaged as error:
            self._fault = error
        if self._fault is not None and not page:
            raise self._fault
        self._at = page[-1].seq + 1 if page else None
        return page

    def checkpoints(self) -> list[bytes]:
        """Read every checkpoint. Raises JournalDamaged."""
        return self._notes(CHECKPOINTS, self.manifest.checkpoints)

    def cosigned(self) -> list[bytes]:
        """Read every cosigned checkpoint. Raises JournalDamaged."""
        return self._notes(COSIGNED, self.manifest.cosigned)

    def consistency(self) -> Iterator[Consistency]:
        """Read the consistency proofs. Raises JournalDamaged."""
        return consistency_of(self._lines(CONSISTENCY))

    def inclusions(self) -> Iterator[Inclusion]:
        """Read the proofs of a range's rows, one after the other. Raises JournalDamaged."""
        return inclusions_of(self._lines(INCLUSION))

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def _check_members(self) -> None:
        """Hold every member's promises to the bounds; zipfile holds the bytes to the promises."""
        names = self._zip.namelist()
        if MANIFEST not in names:
            raise JournalDamaged(f"{self._path}: {MANIFEST} is missing")
        for info in self._zip.infolist():
            name = info.filename
            if name not in RANGE_MEMBERS:
                raise JournalDamaged(f"{self._path}: {name[:60]!r} has no place in a bundle")
            if info.flag_bits & 0x1 or info.compress_type != zipfile.ZIP_DEFLATED:
                raise JournalRefused(f"{self._path}: {name} is encrypted or not deflated")
            if info.file_size > MEMBER_BYTES_MAX[name]:
                raise JournalRefused(
                    f"{self._path}: {name} has {info.file_size} bytes; at most {MEMBER_BYTES_MAX[name]}"
                )
            if not is_plausible(info.file_size, deflated=info.compress_size):
                raise JournalRefused(f"{self._path}: {name} is deflated more than {RATIO_MAX} times: a bomb")

    def _check_names(self) -> None:
        names = self._zip.namelist()
        expected = self.manifest.members
        missing = [name for name in expected if name not in names]
        if missing:
            raise JournalDamaged(f"{self._path}: {missing[0]} is missing")
        if names != list(expected):
            raise JournalDamaged(f"{self._path}: a member is there twice, too many, or not in its place")

    def _rows(self) -> Iterator[StoredRow]:
        first, count = self.manifest.first_row, 0
        for line in self._lines(ROWS):
            yield row_of(line, after=first + count)
            count += 1
        if count != self.manifest.rows:
            what = "missing: cut off" if count < self.manifest.rows else "one too many"
            bad = first + min(count, self.manifest.rows)
            raise JournalDamaged(f"row {bad}: {what}; the bundle says that it has {self.manifest.rows} rows")

    def _notes(self, member: str, count: int) -> list[bytes]:
        notes = list(notes_of(self._lines(member), member=member))
        if len(notes) != count:
            raise JournalDamaged(f"{member}: {len(notes)} checkpoints; the bundle says that it has {count}")
        return notes

    def _whole(self, member: str) -> bytes:
        return b"".join(self._chunks(member))

    def _lines(self, member: str) -> Iterator[bytes]:
        return lines_of(self._chunks(member), member=member)

    def _chunks(self, member: str) -> Iterator[bytes]:
        if member not in self._zip.NameToInfo:
            raise JournalDamaged(f"{self._path}: {member} is missing")
        with _faults_named(self._path), self._zip.open(member) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk


def _check_directory(file: IO[bytes], path: Path) -> None:
    """Bound the list of members before anybody reads it into memory. Raises JournalRefused."""
    ends = _END_64.size + _LOCATOR.size + _END.size
    length = file.seek(0, 2)
    file.seek(max(0, length - ends))
    tail = file.read(ends)
    if len(tail) < _END.size or tail[-_END.size :][:4] != b"PK\x05\x06":
        raise JournalRefused(f"{path}: not a bundle, or one that is cut short: a zip file's end is missing")
    _, _, _, _, members, directory, _, comment = _END.unpack(tail[-_END.size :])
    before = tail[: -_END.size]
    if before[-_LOCATOR.size :][:4] == b"PK\x06\x07":
        if len(before) != ends - _END.size or before[:4] != b"PK\x06\x06":
            raise JournalRefused(f"{path}: not a bundle: its zip64 end is not in its place")
        *_, members, directory, _ = _END_64.unpack(before[: _END_64.size])
    if members > MEMBERS_MAX or directory > DIRECTORY_BYTES_MAX or comment:
        raise JournalRefused(f"{path}: not a bundle: {members} members, listed in {directory} bytes")


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Turn what zipfile and zlib raise into ours."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error) as error:
        raise JournalDamaged(f"{path}: cut short or changed: {str(error)[:200]}") from error
    except (NotImplementedError, RuntimeError, ValueError) as error:
        raise JournalRefused(f"{path}: not a bundle of this format: {type(error).__name__}") from error
    except OSError as error:
        raise JournalUnavailable(f"{path}: {error.strerror or type(error).__name__}", cause="unreadable") from error
