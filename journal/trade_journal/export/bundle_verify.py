"""Verifies a bundle with the public keys alone: a whole one as a journal's file, a range by the proofs of its rows.

Guarantees
- A whole bundle that passes says what its journal's file says, and its consistency proofs hold.
- A range that passes holds exactly the rows of one stretch, each of which stands at its place in a journal that the log
  vouched for. Nothing is said of other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Final

from trade_journal.errors import JournalDamaged, JournalUnavailable
from trade_journal.export.bundle import CONSISTENCY, INCLUSION, Inclusion
from trade_journal.export.bundle_source import BundleSource
from trade_journal.log.proof import RowProof
from trade_journal.log.tree import is_consistent, is_included
from trade_journal.log.verify import (
    Fault,
    FaultFound,
    Point,
    PublicKeys,
    StoredRow,
    Verdict,
    Verification,
    checked_points,
)

PAGE_ROWS: Final = 1000
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeVerdict:
    """What was found of a range. Each of its rows is proven: `witnessed_rows` under a cosigned checkpoint."""

    first: int
    rows: int
    witnessed_rows: int
    witnessed_at_s: int | None
    checkpoints: int
    fault: Fault | None

    @property
    def is_good(self) -> bool:
        """Tell whether every row is proven."""
        return self.fault is None


def verify_bundle(source: BundleSource, *, keys: PublicKeys, advance: Advance) -> Verdict | RangeVerdict:
    """Verify a bundle; what contradicts something is a verdict's fault. Raises JournalRefused, JournalUnavailable."""
    return _range_verdict(source, keys, advance) if source.manifest.is_range else _verdict(source, keys, advance)


def row_proof(source: BundleSource, seq: int) -> RowProof:
    """Take a row of a range and its proof, to be checked. Raises JournalUnavailable when it has no such row."""
    first = source.manifest.first_row
    rows = source.rows(seq, 1) if first <= seq < first + source.manifest.rows else []
    proof = next((one for one in source.inclusions() if one.index == seq), None)
    if not rows or proof is None:
        raise JournalUnavailable(f"the bundle holds no row {seq} with its proof", cause="no_row")
    return RowProof(body=rows[0].body, index=seq, path=proof.path, note=proof.note)


def _verdict(source: BundleSource, keys: PublicKeys, advance: Advance) -> Verdict:
    verification = Verification(())
    try:
        _check_origin(source, keys)
        points = list(checked_points(source.checkpoints(), source.cosigned(), keys=keys))
        verification = Verification(points)
        from_seq = 0
        while not verification.has_fault and (page := source.rows(from_seq, PAGE_ROWS)):
            verification.feed(page)
            advance(len(page))
            from_seq = page[-1].seq + 1
        verdict = verification.verdict()
        if verdict.is_good:
            _check_consistency(source, points)
    except JournalDamaged as error:
        return replace(verification.verdict(), fault=Fault(what=str(error)))
    except FaultFound as error:
        return replace(verification.verdict(), fault=error.fault)
    return verdict


def _range_verdict(source: BundleSource, keys: PublicKeys, advance: Advance) -> RangeVerdict:
    verdict = RangeVerdict(
        first=source.manifest.first_row, rows=0, witnessed_rows=0, witnessed_at_s=None, checkpoints=0, fault=None
    )
    try:
        _check_origin(source, keys)
        points = list(checked_points(source.checkpoints(), source.cosigned(), keys=keys))
        _check_consistency(source, points)
        return _proven(source, points, replace(verdict, checkpoints=len(points)), advance)
    except JournalDamaged as error:
        return replace(verdict, fault=Fault(what=str(error)))
    except FaultFound as error:
        return replace(verdict, fault=error.fault)


def _proven(source: BundleSource, points: Sequence[Point], verdict: RangeVerdict, advance: Advance) -> RangeVerdict:
    by_note = {point.note: point for point in points}
    proofs = source.inclusions()
    seq = source.manifest.first_row
    witnessed_rows, witnessed_at_s = 0, None
    while page := source.rows(seq, PAGE_ROWS):
        for row in page:
            point = _check_row(row, seq, next(proofs, None), by_note)
            if point.witnessed_at_s is not None:
                witnessed_rows += 1
                witnessed_at_s = max(point.witnessed_at_s, witnessed_at_s or 0)
            seq += 1
        advance(len(page))
    if next(proofs, None) is not None:
        raise JournalDamaged(f"{INCLUSION}: a proof of no row")
    if seq == source.manifest.first_row:
        raise JournalDamaged("a range without rows")
    return replace(
        verdict,
        rows=seq - source.manifest.first_row,
        witnessed_rows=witnessed_rows,
        witnessed_at_s=witnessed_at_s,
    )


def _check_row(row: StoredRow, seq: int, proof: Inclusion | None, by_note: dict[bytes, Point]) -> Point:
    if row.seq != seq:
        raise FaultFound(Fault(what=f"is missing; the next one is numbered {row.seq}", first=seq))
    if proof is None or proof.index != seq:
        raise FaultFound(Fault(what="its proof is missing or not in its place", first=seq))
    point = by_note.get(proof.note)
    if point is None:
        raise FaultFound(Fault(what="its proof ends in a checkpoint that is not among those of the bundle", first=seq))
    if not is_included(row.leaf_hash, index=seq, size=point.size, proof=proof.path, root=point.root):
        what = f"its proof does not lead from it to the checkpoint of {point.size} rows: one of the three was changed"
        raise FaultFound(Fault(what=what, first=seq))
    return point


def _check_origin(source: BundleSource, keys: PublicKeys) -> None:
    if source.manifest.origin not in (log.name for log in (*keys.former, keys.log)):
        raise JournalDamaged(f"a bundle of {source.manifest.origin[:200]!r}; the keys are of {keys.log.name!r}")


def _check_consistency(source: BundleSource, points: Sequence[Point]) -> None:
    """Hold the proofs to the checkpoints: one between each size and the next, and no other. Raises FaultFound."""
    sizes = [next(same) for _, same in groupby(points, key=lambda point: point.size)]
    proofs = source.consistency()
    for number, (before, after) in enumerate(pairwise(sizes)):
        proof = next(proofs, None)
        what = f"{CONSISTENCY}: proof {number}"
        if proof is None or (proof.old_size, proof.size) != (before.size, after.size):
            raise FaultFound(Fault(what=f"{what}: is not the one from {before.size} to {after.size} rows"))
        if not is_consistent(
            old_size=before.size, old_root=before.root, size=after.size, root=after.root, proof=proof.path
        ):
            what = f"{what}: the checkpoint of {after.size} rows does not begin with that of {before.size}"
            raise FaultFound(Fault(what=what))
    if next(proofs, None) is not None:
        raise FaultFound(Fault(what=f"{CONSISTENCY}: one proof too many"))
