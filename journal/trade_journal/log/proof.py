"""Proofs that one row stands in a journal, in the public format C2SP tlog-proof. Pure.

    c2sp.org/tlog-proof@v1
    extra <base64 of the row's bytes>
    index <sequence number>
    <base64 of a hash, a line each, from the leaf's sibling upwards>
    <an empty line>
    <the checkpoint, as a signed note>

The format does not authenticate `extra`; here it holds the row itself, and the proof is about its hash.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import Checkpoint, check_cosigned, open_checkpoint, said_size
from trade_journal.log.note import Verifier
from trade_journal.log.rows import ROW_BYTES_MAX, leaf_hash
from trade_journal.log.tree import HASH_BYTES, is_included
from trade_journal.log.verify import PublicKeys

HEADER: Final = "c2sp.org/tlog-proof@v1"
PROOF_BYTES_MAX: Final = 64 * 1024
HASHES_MAX: Final = 64
_EXTRA: Final = re.compile(r"extra ([A-Za-z0-9+/]+={0,2})")
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,15})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProof:
    """A row's bytes, its place, its audit path, and the checkpoint's note, none of which has been believed yet."""

    body: bytes
    index: int
    path: tuple[bytes, ...]
    note: bytes

    def rendered(self) -> str:
        """Return the proof as a file."""
        lines = [HEADER, f"extra {_encoded(self.body)}", f"index {self.index}", *map(_encoded, self.path), ""]
        return "\n".join(lines) + "\n" + self.note.decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenRow:
    """A row that stands in a journal. `witnessed_at_s` is None when no witness was asked about or none signed."""

    body: bytes
    checkpoint: Checkpoint
    witnessed_at_s: int | None


def parse_proof(raw: bytes) -> RowProof:
    """Read a proof file. Raises NoteRefused; nothing is verified here."""
    if len(raw) > PROOF_BYTES_MAX:
        raise NoteRefused(f"a proof of {len(raw)} bytes; at most {PROOF_BYTES_MAX}")
    try:
        head, gap, note = raw.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError:
        raise NoteRefused("a proof is UTF-8") from None
    lines = head.split("\n")
    extra = _EXTRA.fullmatch(lines[1]) if len(lines) > 2 else None
    index = _INDEX.fullmatch(lines[2]) if len(lines) > 2 else None
    if not gap or lines[0] != HEADER or extra is None or index is None:
        raise NoteRefused(f"a proof begins with {HEADER!r}, the row and its index, and holds a checkpoint")
    path = tuple(_decoded(line) for line in lines[3:])
    if len(path) > HASHES_MAX or any(len(one) != HASH_BYTES for one in path):
        raise NoteRefused(f"a proof's path is at most {HASHES_MAX} hashes of {HASH_BYTES} bytes")
    body = _decoded(extra[1])
    if len(body) > ROW_BYTES_MAX:
        raise NoteRefused(f"a row of {len(body)} bytes; at most {ROW_BYTES_MAX}")
    return RowProof(body=body, index=int(index[1]), path=path, note=note.encode())


def check_proof(proof: RowProof, *, log: Verifier, witness: Verifier | None) -> ProvenRow:
    """Verify that a row stands in the journal that a log vouches for. Raises NoteRefused."""
    checkpoint, note = open_checkpoint(proof.note, log=log)
    leaf = leaf_hash(proof.body)
    if not is_included(leaf, index=proof.index, size=checkpoint.size, proof=proof.path, root=checkpoint.root):
        raise NoteRefused(f"the path does not lead from row {proof.index} to the checkpoint of {checkpoint.size} rows")
    is_witnessed = witness is not None and any(one.name == witness.name for one in note.signatures)
    at_s = check_cosigned(note, witness=witness) if is_witnessed and witness is not None else None
    return ProvenRow(body=proof.body, checkpoint=checkpoint, witnessed_at_s=at_s)


def first_over(notes: Iterable[bytes], index: int) -> bytes | None:
    """Return the first note that says it covers a row; it has not been believed yet."""
    return next((note for note in notes if said_size(note) > index), None)


def opened_over(note: bytes, index: int, *, keys: PublicKeys) -> Checkpoint:
    """Believe the checkpoint that covers a row. Raises NoteRefused."""
    checkpoint, _ = open_checkpoint(note, log=keys.log_of(note))
    if checkpoint.size <= index:
        raise NoteRefused(f"a checkpoint of {checkpoint.size} rows stands where one over row {index} should")
    return checkpoint


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise NoteRefused("a proof's lines are base64") from None
    if _encoded(raw) != text:
        raise NoteRefused("a proof's lines are base64 in its one canonical form")
    return raw
