"""Writes a bundle from rows that are verified as they come. The format is `bundle`'s.

Guarantees
- The same rows, checkpoints and range give the same bytes, whenever and wherever they are written.
- Every proof is made from the leaf hashes that were verified, in one pass over the journal; a range is read once more,
  for its rows' paths, and refused when it has changed meanwhile.
- A bundle that its readers would refuse for its size is not written.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final

from trade_journal.errors import JournalUnavailable
from trade_journal.export.bundle import (
    CHECKPOINTS,
    CONSISTENCY,
    COSIGNED,
    INCLUSION,
    MANIFEST,
    MEMBER_BYTES_MAX,
    README,
    ROWS,
    Manifest,
    consistency_block,
    hash_line,
    inclusion_head,
    is_plausible,
    note_block,
    readme,
    row_line,
)
from trade_journal.export.growth import Growth
from trade_journal.export.tiles import TILE_ROWS, Tiles
from trade_journal.log.tree import Frontier
from trade_journal.log.verify import Point, StoredRow

Pages = Iterable[Sequence[StoredRow]]
ReadRows = Callable[[int, int], Pages]
"""Reads the rows from the first to before the second number once more."""

SPOOL_BYTES: Final = 4 * 1024**2  # of consistency proofs, before they wait on the disk for their turn
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the first that a zip file knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """A journal's checkpoints in the order in which they were kept."""

    checkpoints: Sequence[bytes]
    cosigned: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Rows, both ends included, that are proven to one checkpoint."""

    point: Point
    first: int
    last: int


def stretches(points: Sequence[Point], first: int, last: int | None) -> list[Stretch]:
    """Choose the newest checkpoint for each row of a range: a cosigned one where one covers it, or else a signed one.

    Without a last row the range goes as far as a checkpoint does. Raises JournalUnavailable when none covers a row.
    """
    covered = points[-1].size if points else 0
    last = covered - 1 if last is None else last
    if max(first, last) >= covered:
        raise JournalUnavailable(f"no checkpoint covers row {max(first, covered)} yet", cause="uncovered")
    newest = [points[-1]]
    cosigned = next((point for point in reversed(points) if point.witnessed_at_s is not None), None)
    if cosigned is not None:
        newest.insert(0, cosigned)
    found: list[Stretch] = []
    for point in newest:
        end = min(last, point.size - 1)
        if first <= end:
            found.append(Stretch(point=point, first=first, last=end))
            first = end + 1
    return found


def write_whole(file: IO[bytes], pages: Pages, *, origin: str, points: Sequence[Point], notes: Notes) -> int:
    """Write a whole journal, and return the number of its rows. Raises JournalDamaged, JournalUnavailable."""
    growth = Growth(point.size for point in points)
    rows = proofs = 0
    with zipfile.ZipFile(file, "w") as bundle, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        _write(bundle, README, [readme(is_range=False)])
        with _member(bundle, ROWS) as member:
            for page in pages:
                for _, proof in growth.extended([row.leaf_hash for row in page]):
                    if proof is not None:
                        spool.write(consistency_block(proof))
                        proofs += 1
                member.write(b"".join(map(row_line, page)))
                rows += len(page)
        _write(bundle, CHECKPOINTS, map(note_block, notes.checkpoints))
        _write(bundle, COSIGNED, map(note_block, notes.cosigned))
        spool.seek(0)
        _write(bundle, CONSISTENCY, iter(lambda: spool.read(SPOOL_BYTES), b""))
        manifest = Manifest(
            origin=origin,
            is_range=False,
            first_row=0,
            rows=rows,
            checkpoints=len(notes.checkpoints),
            cosigned=len(notes.cosigned),
            consistency_proofs=proofs,
        )
        _write(bundle, MANIFEST, [manifest.rendered()])
    return rows


def write_range(
    file: IO[bytes],
    pages: Pages,
    *,
    origin: str,
    parts: Sequence[Stretch],
    read: ReadRows,
    conclude: Callable[[], object],
) -> int:
    """Write a range, and return the number of its rows. Raises JournalDamaged, JournalUnavailable.

    `conclude` is called once all pages were read, and raises when the journal is not good.
    """
    first, last = parts[0].first, parts[-1].last
    growth, tiles = Growth(part.point.size for part in parts), Tiles()
    end = parts[-1].point.size
    trees: dict[int, Frontier] = {}
    blocks: list[bytes] = []
    with zipfile.ZipFile(file, "w") as bundle:
        _write(bundle, README, [readme(is_range=True)])
        with _member(bundle, ROWS) as member:
            for page in pages:
                leaves = [row.leaf_hash for row in page if row.seq < end]
                tiles.extend(leaves)
                for tree, proof in growth.extended(leaves):
                    trees[tree.size] = tree
                    blocks += [] if proof is None else [consistency_block(proof)]
                member.write(b"".join(row_line(row) for row in page if first <= row.seq <= last))
        conclude()
        cosigned = [part.point.note for part in parts if part.point.witnessed_at_s is not None]
        checkpoints = [part.point.note for part in parts if part.point.witnessed_at_s is None]
        _write(bundle, CHECKPOINTS, map(note_block, checkpoints))
        _write(bundle, COSIGNED, map(note_block, cosigned))
        _write(bundle, CONSISTENCY, blocks)
        with _member(bundle, INCLUSION) as member:
            for part in parts:
                for block in _inclusion_blocks(part, tiles, trees[part.point.size], read):
                    member.write(block)
        manifest = Manifest(
            origin=origin,
            is_range=True,
            first_row=first,
            rows=last - first + 1,
            checkpoints=len(checkpoints),
            cosigned=len(cosigned),
            consistency_proofs=len(blocks),
        )
        _write(bundle, MANIFEST, [manifest.rendered()])
    return manifest.rows


def _inclusion_blocks(part: Stretch, tiles: Tiles, tree: Frontier, read: ReadRows) -> Iterator[bytes]:
    tail = b"\n" + note_block(part.point.note)
    for start in range(part.first - part.first % TILE_ROWS, part.last + 1, TILE_ROWS):
        end = min(start + TILE_ROWS, tree.size)
        leaves = [row.leaf_hash for page in read(start, end) for row in page]
        paths = enumerate(tiles.paths(start, leaves, tree=tree), start=start)
        yield b"".join(
            inclusion_head(seq) + b"".join(map(hash_line, path)) + tail
            for seq, path in paths
            if part.first <= seq <= part.last
        )


@contextmanager
def _member(bundle: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    info = zipfile.ZipInfo(name, date_time=_DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, wherever it is written
    info.external_attr = 0o600 << 16
    with bundle.open(info, "w", force_zip64=True) as member:
        yield member
    if info.file_size > MEMBER_BYTES_MAX[name] or not is_plausible(info.file_size, deflated=info.compress_size):
        what = f"{name}: {info.file_size} bytes, deflated to {info.compress_size}"
        raise JournalUnavailable(f"{what}: more than a bundle may hold; export a range", cause="too_large")


def _write(bundle: zipfile.ZipFile, name: str, blocks: Iterable[bytes]) -> None:
    with _member(bundle, name) as member:
        for block in blocks:
            member.write(block)
