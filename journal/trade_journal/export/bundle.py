"""The format of a bundle: rows of a journal, the checkpoints over them and Merkle proofs, for strangers. Pure.

A bundle is one zip file with these members, in this order, and no others:

    README.txt             what this is, in plain words
    rows.jsonl             the rows' exact bytes, one a line
    checkpoints.notes      signed notes (C2SP tlog-checkpoint), an empty line after each
    cosigned.notes         the same, of those that came back from the witness
    consistency.proofs     proofs between one size of the checkpoints and the next (RFC 6962 section 2.1.2)
    inclusion.tlog-proofs  only of a range: a proof a row (C2SP tlog-proof), an empty line after each
    manifest.json          what to expect; it is not signed, and is believed in nothing but what is missing

A consistency proof is `old SIZE`, `new SIZE`, base64 of a hash a line, and an empty line. A proof of a row has no
`extra` line, since the row itself stands in rows.jsonl.

Guarantees
- Everything has one form; what is not in it is refused. Whoever reads holds one line or one proof at a time.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from typing import Final

from trade_journal.errors import JournalDamaged, JournalRefused
from trade_journal.export.growth import Consistency
from trade_journal.log.note import NOTE_BYTES_MAX
from trade_journal.log.proof import HASHES_MAX, HEADER
from trade_journal.log.rows import INTEGER_MAX, ROW_BYTES_MAX, leaf_hash
from trade_journal.log.tree import HASH_BYTES
from trade_journal.log.verify import StoredRow

FORMAT: Final = "trade-journal-bundle/1"
README: Final = "README.txt"
ROWS: Final = "rows.jsonl"
CHECKPOINTS: Final = "checkpoints.notes"
COSIGNED: Final = "cosigned.notes"
CONSISTENCY: Final = "consistency.proofs"
INCLUSION: Final = "inclusion.tlog-proofs"
MANIFEST: Final = "manifest.json"

WHOLE_MEMBERS: Final = (README, ROWS, CHECKPOINTS, COSIGNED, CONSISTENCY, MANIFEST)
RANGE_MEMBERS: Final = (README, ROWS, CHECKPOINTS, COSIGNED, CONSISTENCY, INCLUSION, MANIFEST)
# Rows and proofs are streamed, so their bound is of time only; notes are held in memory, as `verify` holds them.
MEMBER_BYTES_MAX: Final = {
    README: 16 * 1024,
    ROWS: 64 * 1024**3,
    CHECKPOINTS: 1024**3,
    COSIGNED: 1024**3,
    CONSISTENCY: 4 * 1024**3,
    INCLUSION: 256 * 1024**3,
    MANIFEST: 4 * 1024,
}
# Deflate can reach 1,032; rows of the largest size that differ in number and time only stay below 400.
RATIO_MAX: Final = 500
LINE_BYTES_MAX: Final = max(ROW_BYTES_MAX, NOTE_BYTES_MAX)

_SIZE: Final = re.compile(rb"(old|new|index) (0|[1-9][0-9]{0,15})")
_NUMBER: Final = re.compile(rb'.*,"seq":(0|[1-9][0-9]{0,15})\}', re.DOTALL)
_HEADER: Final = HEADER.encode()

_ABOUT: Final = """\
This is an export of a journal: the record of what a trading gateway was asked, decided and did.

rows.jsonl             {rows}
checkpoints.notes      checkpoints that the gateway signed: the journal's name, a number of rows, and the root of the
                       Merkle tree over them (C2SP tlog-checkpoint; an empty line after each)
cosigned.notes         checkpoints that its witness, another process with a key of its own, has cosigned as well
                       (C2SP cosignature/v1)
consistency.proofs     proofs that the tree of each checkpoint begins with the tree of the one before
                       (RFC 6962 section 2.1.2; `old SIZE`, `new SIZE`, base64 of hashes, an empty line)
{inclusion}manifest.json          how many of each there are; it is not signed

HOW TO VERIFY
You need the public keys of the gateway's log and of its witness, from somebody you trust, NOT from whoever gave you
this file. With trade-journal:

    trade-journal verify --journal THIS.zip --keys public-keys.txt

Without it: a row's leaf hash is SHA-256 over a zero byte and the line without its newline; inner nodes hash a one
byte and their two children (RFC 6962 section 2.1).
{steps}
A checkpoint is signed with Ed25519 over its lines up to the empty line, newlines included (C2SP signed-note).

WHAT IT DOES NOT TELL
{untold}
Who owns both keys can make another journal that passes.
"""
_WHOLE: Final = _ABOUT.format(
    rows="every row, its exact bytes on a line of its own (canonical JSON, RFC 8785), counted from 0",
    inclusion="",
    steps="The root over the first SIZE lines must be that of each checkpoint of SIZE rows.",
    untold="A row that was never written. Rows cut off after the last checkpoint.",
)
_RANGE: Final = _ABOUT.format(
    rows="a range of rows, their exact bytes on a line each (canonical JSON, RFC 8785)",
    inclusion="""inclusion.tlog-proofs  for each row, in order, its place, the path from it to the root, and the
                       checkpoint (C2SP tlog-proof; an empty line after each)
""",
    steps="The path of each row must lead from its leaf hash to the root of its checkpoint (RFC 9162 section 2.1.3.2).",
    untold="Anything of the rows before and after this range. A row that was never written.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself; `first_row` is 0 unless it is a range."""

    origin: str
    is_range: bool
    first_row: int
    rows: int
    checkpoints: int
    cosigned: int
    consistency_proofs: int

    def rendered(self) -> bytes:
        """Return the member's bytes."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, indent=1).encode() + b"\n"

    @property
    def members(self) -> Sequence[str]:
        """The names of the members, in order."""
        return RANGE_MEMBERS if self.is_range else WHOLE_MEMBERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """A row's place and audit path, and the checkpoint's note at its end, none of which has been believed yet."""

    index: int
    path: tuple[bytes, ...]
    note: bytes


def readme(*, is_range: bool) -> bytes:
    """Return the text for people; it is the same for every bundle of a kind."""
    return (_RANGE if is_range else _WHOLE).encode()


def is_plausible(size: int, *, deflated: int) -> bool:
    """Tell whether a member is deflated no more than rows and proofs can be."""
    return size <= max(MEMBER_BYTES_MAX[MANIFEST], RATIO_MAX * deflated)


def parse_manifest(raw: bytes) -> Manifest:
    """Read what to expect. Raises JournalRefused for another format, JournalDamaged for what is no manifest."""
    try:
        document = json.loads(raw)
        name = document.pop("format")
        if name != FORMAT:
            raise JournalRefused(f"{MANIFEST}: format {str(name)[:60]!r}; this version reads {FORMAT}")
        manifest = Manifest(**document)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise JournalDamaged(f"{MANIFEST}: not a manifest ({type(error).__name__})") from error
    counts = (
        manifest.first_row,
        manifest.rows,
        manifest.checkpoints,
        manifest.cosigned,
        manifest.consistency_proofs,
    )
    is_plain = isinstance(manifest.origin, str) and isinstance(manifest.is_range, bool)
    if not is_plain or any(type(count) is not int or not 0 <= count <= INTEGER_MAX for count in counts):
        raise JournalDamaged(f"{MANIFEST}: not a manifest (values)")
    if manifest.rendered() != raw or (manifest.first_row and not manifest.is_range):
        raise JournalDamaged(f"{MANIFEST}: not a manifest in its one form")
    return manifest


def lines_of(chunks: Iterable[bytes], *, member: str) -> Iterator[bytes]:
    """Cut a member into lines, without their newlines. Raises JournalDamaged for one too long or cut short."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if len(line) > LINE_BYTES_MAX:
                raise JournalDamaged(f"{member}: a line of {len(line)} bytes; at most {LINE_BYTES_MAX}")
            yield line
        if len(rest) > LINE_BYTES_MAX:
            raise JournalDamaged(f"{member}: a line of more than {LINE_BYTES_MAX} bytes")
    if rest:
        raise JournalDamaged(f"{member}: its last line is cut short")


def row_line(row: StoredRow) -> bytes:
    """Return a row's line. Raises JournalDamaged for bytes that no line can hold; a row's canonical form always can."""
    if b"\n" in row.body or len(row.body) > ROW_BYTES_MAX:
        raise JournalDamaged(f"row {row.seq}: its bytes are not the canonical form of a row")
    return row.body + b"\n"


def row_of(line: bytes, *, after: int) -> StoredRow:
    """Read a row from its line; whether its place and bytes are right is for `verify`. Raises JournalDamaged."""
    number = _NUMBER.fullmatch(line)
    if number is None or len(line) > ROW_BYTES_MAX:
        raise JournalDamaged(f"row {after}: line {line[:40]!r} is not a row")
    return StoredRow(seq=int(number[1]), body=line, leaf_hash=leaf_hash(line))


def note_block(note: bytes) -> bytes:
    """Return a checkpoint as it stands among others."""
    return note + b"\n"


def notes_of(lines: Iterator[bytes], *, member: str) -> Iterator[bytes]:
    """Read the checkpoints of a member. Raises JournalDamaged."""
    for line in lines:
        yield _note(chain([line], lines), member=member)


def consistency_block(proof: Consistency) -> bytes:
    """Return a consistency proof as it stands among others."""
    head = b"old %d\nnew %d\n" % (proof.old_size, proof.size)
    return head + b"".join(map(hash_line, proof.path)) + b"\n"


def consistency_of(lines: Iterator[bytes]) -> Iterator[Consistency]:
    """Read consistency proofs. Raises JournalDamaged."""
    for number, line in enumerate(lines):
        what = f"{CONSISTENCY}: proof {number}"
        old_size = _size(line, b"old", what=what)
        size = _size(next(lines, b""), b"new", what=what)
        yield Consistency(old_size=old_size, size=size, path=_path(lines, what=what))


def inclusion_head(index: int) -> bytes:
    """Return how the proof of a row begins; the lines of its hashes, an empty line and the checkpoint come after."""
    return b"%b\nindex %d\n" % (_HEADER, index)


def inclusions_of(lines: Iterator[bytes]) -> Iterator[Inclusion]:
    """Read proofs of rows. Raises JournalDamaged."""
    for number, line in enumerate(lines):
        what = f"{INCLUSION}: proof {number}"
        if line != _HEADER:
            raise JournalDamaged(f"{what} does not begin with {HEADER!r}")
        index = _size(next(lines, b""), b"index", what=what)
        path = _path(lines, what=what)
        yield Inclusion(index=index, path=path, note=_note(lines, member=what))


def hash_line(one: bytes) -> bytes:
    """Return the line of a hash in a proof, with its newline."""
    return binascii.b2a_base64(one)


def _note(lines: Iterator[bytes], *, member: str) -> bytes:
    """Take a text, an empty line, signatures and the empty line after them."""
    taken: list[bytes] = []
    length = gaps = 0
    for line in lines:
        gaps += not line
        if gaps == 2:
            return b"\n".join(taken) + b"\n"
        taken.append(line)
        length += len(line) + 1
        if length > NOTE_BYTES_MAX:
            break
    raise JournalDamaged(f"{member}: a note that is cut short or longer than {NOTE_BYTES_MAX} bytes")


def _size(line: bytes, name: bytes, *, what: str) -> int:
    match = _SIZE.fullmatch(line)
    if match is None or match[1] != name:
        raise JournalDamaged(f"{what}: expected `{name.decode()} NUMBER`, found {line[:40]!r}")
    return int(match[2])


def _path(lines: Iterator[bytes], *, what: str) -> tuple[bytes, ...]:
    path: list[bytes] = []
    for line in lines:
        if not line:
            return tuple(path)
        one = _hash(line)
        if one is None or len(path) == HASHES_MAX:
            raise JournalDamaged(
                f"{what}: its path is not at most {HASHES_MAX} hashes of {HASH_BYTES} bytes, in base64"
            )
        path.append(one)
    raise JournalDamaged(f"{what} is cut short")


@lru_cache(maxsize=4096)  # neighbours share most of their paths
def _hash(line: bytes) -> bytes | None:
    if len(line) > 2 * HASH_BYTES:
        return None
    try:
        one = base64.b64decode(line, validate=True)
    except ValueError:
        return None
    return one if len(one) == HASH_BYTES and base64.b64encode(one) == line else None
