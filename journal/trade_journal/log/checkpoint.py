"""Checkpoints: a log's name, size and root, signed by who writes it and cosigned by who witnesses it. Pure.

The text is that of C2SP tlog-checkpoint: origin, size and base64 root, a line each, then one line of ours that names
the key ring under which the log writes: `ring <hash>`. The log signs it as a note (Ed25519). The witness signs
`cosignature/v1`: a time, then the same text (C2SP tlog-cosignature).

Guarantees
- A checkpoint is believed only under the key, the name and the origin that the caller expects.
- A cosignature says that the witness saw no other tree of this size or smaller; its time is the witness's own.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_journal.errors import NoteRefused
from trade_journal.log.note import (
    COSIGNATURE_V1,
    ED25519,
    Note,
    Signature,
    Verifier,
    check_bytes,
    check_name,
    check_signed,
    find_signature,
    key_id,
    parse_note,
    sign_text,
)
from trade_journal.log.tree import HASH_BYTES, SIZE_MAX, Frontier

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_RING_LINE: Final = re.compile(r"ring ([0-9a-f]{64})", re.ASCII)
_TIME_BYTES: Final = 8
_LINES: Final = 4
_LOG_NUMBER: Final = re.compile(r"[2-9]|[1-9][0-9]{1,3}", re.ASCII)
_NAME_BYTES_MAX: Final = 512
_SIZE_DIGITS_MAX: Final = 16


def signer_name(*, environment: str, account: str, service: str) -> str:
    """Name a service as a signer: the origin of its log, and the name of its key in signed notes."""
    return f"trade/{environment}/{account}/{service}"


def log_name(journal: str, number: int) -> str:
    """Name the log of a journal that has this number: the first one as the journal, each later one with its number."""
    return journal if number == 1 else f"{journal}/{number}"


def log_number(journal: str, name: str) -> int:
    """Read the number of a journal's log from its name. Raises NoteRefused when it is no log of that journal."""
    number = name.removeprefix(f"{journal}/")
    if name == journal:
        return 1
    if number == name or not _LOG_NUMBER.fullmatch(number):
        raise NoteRefused(f"{name[:200]!r} is no log of the journal {journal!r}")
    return int(number)


def said_name(note: bytes) -> str:
    """Read the name of the log that a note says it is of, before it is believed."""
    return note.split(b"\n", 1)[0][:_NAME_BYTES_MAX].decode("utf-8", "replace")


def said_size(note: bytes) -> int:
    """Read the size that a note says, before it is believed; 0 where it says none."""
    line = note.split(b"\n", 2)[1:2]
    return int(line[0]) if line and len(line[0]) <= _SIZE_DIGITS_MAX and line[0].isdigit() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log said of itself: the first `size` rows of `origin` have this root. `ring_hash` is hexadecimal."""

    origin: str
    size: int
    root: bytes
    ring_hash: str

    def text(self) -> str:
        """Return the lines that are signed."""
        root = base64.b64encode(self.root).decode("ascii")
        return f"{self.origin}\n{self.size}\n{root}\nring {self.ring_hash}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSigner:
    """Who signs the checkpoints of a log, and under which key ring."""

    origin: str
    private_key: Ed25519PrivateKey
    ring_hash: str

    def verifier(self) -> Verifier:
        """Return the public half, as others are given it."""
        return Verifier(name=self.origin, kind=ED25519, public=self.private_key.public_key())

    def sign(self, tree: Frontier) -> Note:
        """Sign a checkpoint over a tree."""
        checkpoint = Checkpoint(origin=self.origin, size=tree.size, root=tree.root(), ring_hash=self.ring_hash)
        return sign_checkpoint(checkpoint, self.private_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """A checkpoint that its log signed and its witness cosigned at `at_s` (UTC seconds)."""

    checkpoint: Checkpoint
    at_s: int


def sign_checkpoint(checkpoint: Checkpoint, private_key: Ed25519PrivateKey) -> Note:
    """Sign a checkpoint as its log; the key's name is the origin."""
    signature = sign_text(checkpoint.text(), name=checkpoint.origin, private_key=private_key)
    return Note(text=checkpoint.text(), signatures=(signature,))


def open_checkpoint(
    raw: bytes, *, log: Verifier, like: tuple[Checkpoint, Note] | None = None
) -> tuple[Checkpoint, Note]:
    """Verify a checkpoint by its log's key and return it with its note. Raises NoteRefused.

    `like` is what was opened with the same key before: the same text under the same signature is the same checkpoint.
    """
    note = parse_note(raw)
    if like is not None and _signed_by(note, log) == _signed_by(like[1], log):
        return like[0], note
    check_signed(note, verifier=log)
    checkpoint = read_checkpoint(note)
    if checkpoint.origin != log.name:
        raise NoteRefused(f"a checkpoint of {checkpoint.origin!r}; expected {log.name!r}")
    return checkpoint, note


def _signed_by(note: Note, log: Verifier) -> tuple[str, bytes]:
    return note.text, find_signature(note, verifier=log).body


def cosign(note: Note, *, name: str, private_key: Ed25519PrivateKey, at_s: int) -> Note:
    """Add a witness's cosignature/v1, made at a time, to a checkpoint's note."""
    if not 0 < at_s < 2**63:
        raise ValueError(f"not a time in seconds: {at_s}")
    identity = key_id(check_name(name), kind=COSIGNATURE_V1, public=private_key.public_key())
    body = at_s.to_bytes(_TIME_BYTES, "big") + private_key.sign(_cosigned(note.text, at_s))
    signature = Signature(name=name, key_id=identity, body=body)
    return Note(text=note.text, signatures=(*note.signatures, signature))


def check_cosigned(note: Note, *, witness: Verifier) -> int:
    """Check a witness's cosignature and return the time that it says, in UTC seconds. Raises NoteRefused."""
    body = find_signature(note, verifier=witness).body
    if len(body) <= _TIME_BYTES:
        raise NoteRefused(f"the cosignature by {witness.name} is too short")
    at_s = int.from_bytes(body[:_TIME_BYTES], "big")
    check_bytes(body[_TIME_BYTES:], _cosigned(note.text, at_s), verifier=witness)
    return at_s


def open_cosigned(raw: bytes, *, log: Verifier, witness: Verifier) -> Cosigned:
    """Verify a checkpoint by its log's and its witness's keys. Raises NoteRefused."""
    checkpoint, note = open_checkpoint(raw, log=log)
    return Cosigned(checkpoint=checkpoint, at_s=check_cosigned(note, witness=witness))


def _cosigned(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def read_checkpoint(note: Note) -> Checkpoint:
    """Read what a note says as a checkpoint; who signed it is not asked here. Raises NoteRefused."""
    lines = note.text.removesuffix("\n").split("\n")
    ring = _RING_LINE.fullmatch(lines[-1])
    if len(lines) != _LINES or ring is None:
        raise NoteRefused("a checkpoint has origin, size, root and ring, a line each")
    if not _SIZE.fullmatch(lines[1]) or int(lines[1]) > SIZE_MAX:
        raise NoteRefused(f"a checkpoint's size is a plain number, not {lines[1][:20]!r}")
    return Checkpoint(origin=check_name(lines[0]), size=int(lines[1]), root=_root(lines[2]), ring_hash=ring[1])


def _root(text: str) -> bytes:
    try:
        root = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        root = b""
    if len(root) != HASH_BYTES or base64.b64encode(root).decode("ascii") != text:
        raise NoteRefused(f"a checkpoint's root is base64 of 32 bytes, not {text[:50]!r}")
    return root
