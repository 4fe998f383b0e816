"""Verifies a journal from its bytes: rows, the checkpoints over them, and the public keys of log and witness. Pure.

Guarantees
- A journal that passes holds, up to `signed_rows`, exactly the rows that the log vouched for, and up to
  `witnessed_rows` those that the witness saw too. Rows after those are numbered in sequence and well formed, no more.
- The first fault that is found is named with the row, or with the narrowest range of rows that the checkpoints allow.

Does not tell: who owns both keys can make another journal that passes; a row that was never written; rows cut off
after the last checkpoint that is left. The witness's own copy, alerts and the audit of orders tell of those.

One pass, rows in order, hashing each row's stored bytes as they are: what is not canonical has another hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from trade_journal.checkpoint import Checkpoint, check_cosigned, open_checkpoint
from trade_journal.errors import JournalDamaged, NoteRefused
from trade_journal.note import COSIGNATURE_V1, ED25519, Verifier, parse_verifier
from trade_journal.rows import leaf_hash, parse_row
from trade_journal.tree import Frontier

KEYS_BYTES_MAX: Final = 4096
BATCH_ROWS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeys:
    """Whose signatures count. Without a witness nothing is called witnessed."""

    log: Verifier
    witness: Verifier | None


class StoredRow(NamedTuple):
    """A row as it lies in the store: the number and the leaf hash beside it, and its bytes."""

    seq: int
    body: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong, and where: rows `first` to `last`, or no row when a checkpoint itself is at fault."""

    what: str
    first: int | None = None
    last: int | None = None

    def text(self) -> str:
        """Say it in one line."""
        if self.first is None:
            return self.what
        if self.last is None or self.last == self.first:
            return f"row {self.first}: {self.what}"
        return f"rows {self.first} to {self.last}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found. `root` is over all rows; the sizes say how many rows are vouched for by whom."""

    rows: int
    root: bytes
    signed_rows: int
    witnessed_rows: int
    witnessed_at_s: int | None
    checkpoints: int
    fault: Fault | None

    @property
    def is_good(self) -> bool:
        """Tell whether nothing contradicts anything."""
        return self.fault is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A checkpoint that is believed, with its note; `witnessed_at_s` is None without a known witness's signature."""

    note: bytes
    checkpoint: Checkpoint
    witnessed_at_s: int | None


class FaultFound(Exception):
    """The journal contradicts itself or its checkpoints; the argument is a Fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text())
        self.fault = fault


def parse_keys(text: str) -> PublicKeys:
    """Read public keys, one a line, as C2SP writes them; `#` begins a comment. Raises NoteRefused."""
    if len(text) > KEYS_BYTES_MAX:
        raise NoteRefused(f"a file of public keys has at most {KEYS_BYTES_MAX} characters")
    lines = [line.strip() for line in text.splitlines()]
    keys = [parse_verifier(line) for line in lines if line and not line.startswith("#")]
    logs = [key for key in keys if key.kind == ED25519]
    witnesses = [key for key in keys if key.kind == COSIGNATURE_V1]
    if len(logs) != 1 or len(witnesses) > 1:
        raise NoteRefused(f"{len(logs)} keys of logs and {len(witnesses)} of witnesses; 1 and at most 1 are needed")
    return PublicKeys(log=logs[0], witness=witnesses[0] if witnesses else None)


class Verification:
    """One pass over a journal. Feed it every row in order, then ask for the verdict."""

    def __init__(self, *, notes: Sequence[bytes], keys: PublicKeys, cosigned: Sequence[bytes] = ()) -> None:
        """Prepare with the checkpoints that the log kept, and those of them that came back from its witness."""
        self._tree = Frontier()
        self._signed = 0
        self._witnessed: tuple[int, int | None] = (0, None)
        self._fault: Fault | None = None
        self._points: list[Point] = []
        try:
            self._points = checked_points(notes, cosigned, keys=keys)
        except FaultFound as error:
            self._fault = error.fault
        self._next_point = 0
        self._last_sizes = self._points[-1].checkpoint.size if self._points else 0

    @property
    def points(self) -> Sequence[Point]:
        """The checkpoints that are believed, by size; none when one of them is at fault."""
        return self._points

    @property
    def has_fault(self) -> bool:
        """Tell whether reading on could change anything."""
        return self._fault is not None

    def feed(self, rows: Sequence[StoredRow]) -> None:
        """Take the next rows. After a fault nothing more is looked at."""
        if self._fault is not None:
            return
        try:
            for batch in self._split(rows):
                self._take(batch)
        except FaultFound as error:
            self._fault = error.fault

    def verdict(self) -> Verdict:
        """Conclude once every row was fed."""
        if self._fault is None:
            self._fault = self._shortness()
        return Verdict(
            rows=self._tree.size,
            root=self._tree.root(),
            signed_rows=self._signed,
            witnessed_rows=self._witnessed[0],
            witnessed_at_s=self._witnessed[1],
            checkpoints=len(self._points),
            fault=self._fault,
        )

    def _split(self, rows: Sequence[StoredRow]) -> Iterator[Sequence[StoredRow]]:
        """Cut rows where a checkpoint stands, so that the root is computed just there."""
        start = 0
        self._judge_points()
        while start < len(rows):
            size = self._tree.size
            point = self._points[self._next_point].checkpoint.size if self._next_point < len(self._points) else None
            end = len(rows) if point is None else min(len(rows), start + point - size)
            yield rows[start:end]
            start = end
            self._judge_points()

    def _take(self, rows: Sequence[StoredRow]) -> None:
        first = self._tree.size
        is_vouched_for = self._next_point < len(self._points)
        leaves = []
        for seq, row in enumerate(rows, start=first):
            if row.seq != seq:
                raise FaultFound(Fault(what=f"is missing; the next one is numbered {row.seq}", first=seq))
            leaf = leaf_hash(row.body)
            if leaf != row.leaf_hash:
                raise FaultFound(Fault(what="its bytes do not have the leaf hash beside them", first=seq))
            if not row.body.endswith(b',"seq":%d}' % seq):
                raise FaultFound(Fault(what="its bytes are of another row", first=seq))
            if not is_vouched_for:
                _check_form(row.body, seq)
            leaves.append(leaf)
        self._tree = self._tree.extended(leaves)

    def _judge_points(self) -> None:
        while self._next_point < len(self._points):
            point = self._points[self._next_point]
            size = point.checkpoint.size
            if size > self._tree.size:
                return
            if self._tree.root() != point.checkpoint.root:
                what = "changed, added, removed or swapped after the checkpoint over them was signed"
                raise FaultFound(Fault(what=what, first=self._signed, last=max(self._signed, size - 1)))
            self._signed = max(self._signed, size)
            if point.witnessed_at_s is not None:
                self._witnessed = (size, point.witnessed_at_s)
            self._next_point += 1

    def _shortness(self) -> Fault | None:
        try:
            self._judge_points()
        except FaultFound as error:
            return error.fault
        if self._tree.size >= self._last_sizes:
            return None
        what = f"missing: cut off, while a checkpoint vouches for {self._last_sizes} rows"
        return Fault(what=what, first=self._tree.size, last=self._last_sizes - 1)


def verify_journal(
    rows: Iterable[StoredRow], *, notes: Sequence[bytes], keys: PublicKeys, cosigned: Sequence[bytes] = ()
) -> Verdict:
    """Verify a whole journal at once."""
    verification = Verification(notes=notes, keys=keys, cosigned=cosigned)
    batch: list[StoredRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            verification.feed(batch)
            batch = []
    verification.feed(batch)
    return verification.verdict()


def checked_points(notes: Sequence[bytes], cosigned: Sequence[bytes], *, keys: PublicKeys) -> list[Point]:
    """Believe every checkpoint, and order them by size. Raises FaultFound."""
    return _merged(
        _checked_points(notes, keys, what="checkpoint"),
        _checked_points(cosigned, keys, what="cosigned checkpoint"),
    )


def _checked_points(notes: Sequence[bytes], keys: PublicKeys, *, what: str) -> list[Point]:
    """Believe every checkpoint or name the first that cannot be. Their sizes must not go back."""
    points: list[Point] = []
    for index, raw in enumerate(notes):
        try:
            checkpoint, note = open_checkpoint(raw, log=keys.log)
            is_witnessed = keys.witness is not None and any(one.name == keys.witness.name for one in note.signatures)
            at_s = check_cosigned(note, witness=keys.witness) if is_witnessed and keys.witness is not None else None
        except NoteRefused as error:
            raise FaultFound(Fault(what=f"{what} {index}: {error}")) from error
        before = points[-1].checkpoint if points else None
        if before is not None and checkpoint.size < before.size:
            sizes = f"of {checkpoint.size} rows, after one of {before.size}"
            raise FaultFound(Fault(what=f"{what} {index}: {sizes}: the log went back"))
        points.append(Point(note=raw, checkpoint=checkpoint, witnessed_at_s=at_s))
    return points


def _merged(one: Sequence[Point], other: Sequence[Point]) -> list[Point]:
    """Order checkpoints by size. Two of one size and two roots were signed of two logs: a fork."""
    points = sorted((*one, *other), key=lambda point: point.checkpoint.size)
    for before, point in pairwise(point.checkpoint for point in points):
        if point.size == before.size and point.root != before.root:
            raise FaultFound(Fault(what=f"two checkpoints of {point.size} rows have two roots: a fork"))
    return points


def _check_form(body: bytes, seq: int) -> None:
    try:
        parse_row(body)
    except JournalDamaged as error:
        raise FaultFound(Fault(what=str(error), first=seq)) from error
