"""Verifies a journal from its bytes: rows, the checkpoints over them, and the public keys of log and witness. Pure.

Guarantees
- A journal that passes holds, up to `signed_rows`, exactly the rows that the log vouched for, and up to
  `witnessed_rows` those that the witness saw too. Rows after those are numbered in sequence and well formed, no more.
- The first fault that is found is named with the row, or with the narrowest range of rows that the checkpoints allow.

Does not tell: who owns both keys can make another journal that passes; a row that was never written; rows cut off
after the last checkpoint that is left. The witness's own copy, alerts and the audit of orders tell of those.

One pass, rows in order, hashing each row's stored bytes as they are: what is not canonical has another hash. The
checkpoints come along in the order of their sizes; memory follows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

from trade_journal.errors import JournalDamaged, NoteRefused
from trade_journal.log.checkpoint import Checkpoint, check_cosigned, open_checkpoint, said_name, said_size
from trade_journal.log.note import Note, Verifier
from trade_journal.log.row_times import RowTimes
from trade_journal.log.rows import leaf_hash, parse_row
from trade_journal.log.tree import Frontier

BATCH_ROWS: Final = 1024
BATCH_NOTES: Final = 512
HASHED_ROWS: Final = 256
"""Rows that are hashed together elsewhere: a perfect subtree, so that most of them need no look at each leaf here."""
UNSIGNED_S_MAX: Final = 60
"""A writer signs every few seconds while rows come: those of a minute have a checkpoint."""
UNSIGNED_ROWS_MAX: Final = 50_000
"""More than any writer appends between two checkpoints, whatever the times of the rows say."""
PAUSE_S: Final = 5
"""What a longer pause between two rows counts: the writer was away, and signs soon after it is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeys:
    """Whose signatures count. Without a witness nothing is called witnessed.

    `former` are the logs that the journal was in before, the first one first; each went on where a disk was lost.
    """

    log: Verifier
    witness: Verifier | None
    former: tuple[Verifier, ...] = ()

    @property
    def journal(self) -> str:
        """Name the journal, as its first log."""
        return (*self.former, self.log)[0].name

    def log_of(self, note: bytes) -> Verifier:
        """Give the log that a note must be signed by: the one that it names, or else the present one."""
        name = said_name(note)
        return next((log for log in self.former if log.name == name), self.log)

    def age_of(self, note: bytes) -> int:
        """Count the logs before the one that a believed note is of."""
        name = said_name(note)
        return next((age for age, log in enumerate(self.former) if log.name == name), len(self.former))


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
    clock_back: tuple[int, int] | None = None
    """The first row that is older than a row before it by more than CLOCK_BACK_S, and by how many seconds; no fault."""

    @property
    def is_good(self) -> bool:
        """Tell whether nothing contradicts anything and, where there are rows, somebody vouches for some of them."""
        return self.fault is None and bool(self.signed_rows or not self.rows)


class Point(NamedTuple):
    """A checkpoint that is believed, with its note; `witnessed_at_s` is None without a known witness's signature."""

    note: bytes
    size: int
    root: bytes
    witnessed_at_s: int | None


class FaultFound(Exception):
    """The journal contradicts itself or its checkpoints; the argument is a Fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text())
        self.fault = fault


class Verification:
    """One pass over a journal. Feed it every row in order, then ask for the verdict."""

    def __init__(self, points: Iterable[Point]) -> None:
        """Prepare with the journal's checkpoints, as `checked_points` gives them; each is taken when its row comes."""
        self._tree = Frontier()
        self.times = RowTimes()
        self._signed = 0
        self._witnessed: tuple[int, int | None] = (0, None)
        self._fault: Fault | None = None
        self._last_ns: int | None = None  # when the last row behind all checkpoints was written
        self._unsigned_ns = 0  # over how long such rows were written, pauses left out
        self._points = iter(points)
        self._checkpoints = 0
        self._next: Point | None = None
        try:
            self._next_point()
        except FaultFound as error:
            self._fault = error.fault

    @property
    def rows(self) -> int:
        """Count the rows that were taken: the next one has this number."""
        return self._tree.size

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

    def feed_hashed(self, leaves: Sequence[bytes], root: bytes) -> int:
        """Take the leaf hashes of the next rows, whose bytes `checked_leaves` has seen elsewhere, and their root.

        Answers how many were taken: all that a checkpoint may still vouch for. What is left is for `feed`. The times of
        the rows are for the caller to hand to `times`.
        """
        if self._fault is not None:
            return 0
        taken = 0
        try:
            self._judge_points()
            while taken < len(leaves) and self._next is not None:
                end = min(len(leaves), taken + self._next.size - self._tree.size)
                if end - taken == len(leaves) == HASHED_ROWS and self._tree.size % HASHED_ROWS == 0:
                    self._tree = self._tree.joined(root, leaves=HASHED_ROWS)
                else:
                    self._tree = self._tree.extended(leaves[taken:end])
                taken = end
                self._judge_points()
        except FaultFound as error:
            self._fault = error.fault
        return taken

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
            checkpoints=self._checkpoints,
            fault=self._fault,
            clock_back=self.times.back,
        )

    def _next_point(self) -> None:
        self._next = next(self._points, None)
        self._checkpoints += self._next is not None

    def _split(self, rows: Sequence[StoredRow]) -> Iterator[Sequence[StoredRow]]:
        """Cut rows where a checkpoint stands, so that the root is computed just there."""
        start = 0
        self._judge_points()
        while start < len(rows):
            size = self._tree.size
            end = len(rows) if self._next is None else min(len(rows), start + self._next.size - size)
            yield rows[start:end]
            start = end
            self._judge_points()

    def _take(self, rows: Sequence[StoredRow]) -> None:
        first = self._tree.size
        if self._next is not None:
            leaves = checked_leaves(rows, first=first)
        else:
            leaves = []
            for seq, row in enumerate(rows, start=first):
                leaves += checked_leaves([row], first=seq)
                at_ns = _time_of(row.body, seq)
                if self._last_ns is not None:
                    self._unsigned_ns += min(abs(at_ns - self._last_ns), PAUSE_S * 10**9)
                self._last_ns = at_ns
        self._tree = self._tree.extended(leaves)
        self.times.take([row.body for row in rows], first=first)

    def _judge_points(self) -> None:
        while self._next is not None and self._next.size <= self._tree.size:
            if self._tree.root() != self._next.root:
                what = "changed, added, removed or swapped after the checkpoint over them was signed"
                raise FaultFound(Fault(what=what, first=self._signed, last=max(self._signed, self._next.size - 1)))
            self._signed = max(self._signed, self._next.size)
            if self._next.witnessed_at_s is not None:
                self._witnessed = (self._next.size, self._next.witnessed_at_s)
            self._next_point()

    def _shortness(self) -> Fault | None:
        try:
            self._judge_points()
            vouched_for = 0
            while self._next is not None:
                vouched_for = self._next.size
                self._next_point()
        except FaultFound as error:
            return error.fault
        if not vouched_for:
            return self._unvouched()
        what = f"missing: cut off, while a checkpoint vouches for {vouched_for} rows"
        return Fault(what=what, first=self._tree.size, last=vouched_for - 1)

    def _unvouched(self) -> Fault | None:
        """Find rows for which there should be a checkpoint: whoever deletes the checkpoints could rewrite the rows."""
        unsigned = self._tree.size - self._signed
        if self._unsigned_ns <= UNSIGNED_S_MAX * 10**9 and unsigned <= UNSIGNED_ROWS_MAX:
            return None
        what = f"no checkpoint vouches for them, though a writer signs every few seconds: {unsigned} rows"
        return Fault(what=what, first=self._signed, last=self._tree.size - 1)


def checked_leaves(rows: Iterable[tuple[int, bytes, bytes]], *, first: int) -> list[bytes]:
    """Hold rows against their places and the hashes beside them; answers the hashes. Raises FaultFound."""
    leaves = []
    for seq, (found_seq, body, kept_leaf) in enumerate(rows, start=first):
        if found_seq != seq:
            raise FaultFound(Fault(what=f"is missing; the next one is numbered {found_seq}", first=seq))
        leaf = leaf_hash(body)
        if leaf != kept_leaf:
            raise FaultFound(Fault(what="its bytes do not have the leaf hash beside them", first=seq))
        if not body.endswith(b',"seq":%d}' % seq):
            raise FaultFound(Fault(what="its bytes are of another row", first=seq))
        leaves.append(leaf)
    return leaves


def verify_journal(
    rows: Iterable[StoredRow], *, notes: Iterable[bytes], keys: PublicKeys, cosigned: Iterable[bytes] = ()
) -> Verdict:
    """Verify a whole journal at once."""
    verification = Verification(checked_points(notes, cosigned, keys=keys))
    batch: list[StoredRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            verification.feed(batch)
            batch = []
    verification.feed(batch)
    return verification.verdict()


def checked_points(
    notes: Iterable[bytes], cosigned: Iterable[bytes], *, keys: PublicKeys, check: CheckBatches | None = None
) -> Iterator[Point]:
    """Believe the checkpoints that the log kept and those that came back from its witness, one by one, by size.

    They are read while they are asked for, and none is remembered. `check` may do the work elsewhere. Raises FaultFound
    at the first that cannot be believed, that goes back, or that has another root than one of its size: a fork.
    """
    kept = merge(
        _kept("checkpoint", notes), _kept("cosigned checkpoint", cosigned), key=lambda one: said_size(one.note)
    )
    batches = iter(lambda: list(islice(kept, BATCH_NOTES)), [])
    checked = (
        ((batch, check_notes([one.note for one in batch], keys=keys)) for batch in batches)
        if check is None
        else check(batches)
    )
    before: Point | None = None
    for point in _believed(checked, keys):
        if before is not None:
            if before.size == point.size and before.root != point.root:
                raise FaultFound(Fault(what=f"two checkpoints of {point.size} rows have two roots: a fork"))
            yield before
        before = point
    if before is not None:
        yield before


class KeptNote(NamedTuple):
    """A checkpoint as it lies in the store: in which list, and at which place."""

    what: str
    place: int
    note: bytes


class CheckedNotes(NamedTuple):
    """Size, root and time of each note up to the first that is not believed, and why that one is not."""

    points: list[tuple[int, bytes, int | None]]
    refusal: str | None


CheckBatches = Callable[[Iterator[list[KeptNote]]], Iterator[tuple[list[KeptNote], CheckedNotes]]]
"""Checks batches of notes and gives them back in their order."""


def check_notes(notes: Sequence[bytes], *, keys: PublicKeys) -> CheckedNotes:
    """Check the signatures of some notes. One that was cosigned is held once to the log's key, not twice."""
    points: list[tuple[int, bytes, int | None]] = []
    before: tuple[Checkpoint, Note] | None = None
    for raw in notes:
        try:
            log = keys.log_of(raw)
            like = before if before is not None and before[0].origin == log.name else None
            before = checkpoint, note = open_checkpoint(raw, log=log, like=like)
            is_witnessed = keys.witness is not None and any(one.name == keys.witness.name for one in note.signatures)
            at_s = check_cosigned(note, witness=keys.witness) if is_witnessed and keys.witness is not None else None
        except NoteRefused as error:
            return CheckedNotes(points, str(error))
        points.append((checkpoint.size, checkpoint.root, at_s))
    return CheckedNotes(points, None)


def _kept(what: str, notes: Iterable[bytes]) -> Iterator[KeptNote]:
    return (KeptNote(what, place, note) for place, note in enumerate(notes))


def _believed(checked: Iterable[tuple[list[KeptNote], CheckedNotes]], keys: PublicKeys) -> Iterator[Point]:
    """Put notes and what was found of them together. Neither sizes nor logs must go back. Raises FaultFound."""
    size = age = 0
    for batch, found in checked:
        for kept, (next_size, root, at_s) in zip(batch, found.points, strict=False):
            if next_size < size:
                sizes = f"of {next_size} rows, after one of {size}"
                raise FaultFound(Fault(what=f"{kept.what} {kept.place}: {sizes}: the log went back"))
            if keys.former:
                next_age = keys.age_of(kept.note)
                if next_age < age:
                    said = f"of {said_name(kept.note)!r}, after one of its successor: a log that was lost went on"
                    raise FaultFound(Fault(what=f"{kept.what} {kept.place}: {said}"))
                age = next_age
            size = next_size
            yield Point(kept.note, size, root, at_s)
        if found.refusal is not None:
            refused = batch[len(found.points)]
            raise FaultFound(Fault(what=f"{refused.what} {refused.place}: {found.refusal}"))


def _time_of(body: bytes, seq: int) -> int:
    try:
        return parse_row(body).at_ns
    except JournalDamaged as error:
        raise FaultFound(Fault(what=str(error), first=seq)) from error
