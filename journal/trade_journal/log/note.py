"""Signed notes (C2SP signed-note): a text that people can read, and signature lines under it. Pure.

    <text, one or more lines>
    <an empty line>
    — <key name> <base64 of 4 bytes of key id and the signature>

Guarantees
- What was signed is the text's own bytes as received, to the newline before the empty line; nothing is serialised
  again.
- A signature line whose key is not asked about is skipped, as the format demands; one that names the key and does not
  verify makes the note untrustworthy, and is never skipped.
- Everything is bounded: 1 MiB would be another format, so a note has at most 16 KiB and 16 signatures.

Signature types are bytes of the key id: 0x01 is Ed25519 over the text, 0x04 a cosignature/v1 (see `checkpoint`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trade_journal.errors import NoteRefused

NOTE_BYTES_MAX: Final = 16 * 1024
SIGNATURES_MAX: Final = 16
KEY_ID_BYTES: Final = 4
ED25519: Final = 0x01
COSIGNATURE_V1: Final = 0x04
_DASH: Final = "\u2014 "
_NAME: Final = re.compile(r"[!-*,-~]{1,200}", re.ASCII)  # printable, without space and plus
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE_LINE: Final = re.compile(rf"{_DASH}([!-*,-~]{{1,200}}) ([A-Za-z0-9+/]+={{0,2}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature line: who is said to have signed, the first bytes of his key's hash, and the signature's bytes."""

    name: str
    key_id: bytes
    body: bytes

    def line(self) -> str:
        """Return the line as it stands under a note."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.body).decode('ascii')}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text, which ends in a newline, and the signatures under it, none of which has been believed yet."""

    text: str
    signatures: tuple[Signature, ...]

    def rendered(self) -> str:
        """Return the note as it is stored and sent."""
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Someone's public key for one type of signature, under a name."""

    name: str
    kind: int
    public: Ed25519PublicKey
    key_id: bytes = field(init=False)
    """The first four bytes of SHA-256 over name, newline, type and key (C2SP signed-note)."""

    def __post_init__(self) -> None:
        """Compute the id once: it is asked for with every signature."""
        object.__setattr__(self, "key_id", key_id(self.name, kind=self.kind, public=self.public))

    def text(self) -> str:
        """Return the key in the format's own words: name+id+base64 of type and key."""
        raw = bytes([self.kind]) + self.public.public_bytes_raw()
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(raw).decode('ascii')}"


def key_id(name: str, *, kind: int, public: Ed25519PublicKey) -> bytes:
    """Name a key in a signature line."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public.public_bytes_raw()).digest()[:KEY_ID_BYTES]


def check_name(name: str) -> str:
    """Return a key name that a note can carry. Raises NoteRefused."""
    if not _NAME.fullmatch(name):
        raise NoteRefused(f"a key name is printable ASCII without space and plus, at most 200 characters: {name!r}")
    return name


def parse_verifier(text: str) -> Verifier:
    """Read a public key from its text. Raises NoteRefused."""
    name, _, rest = text.strip().partition("+")
    identity, _, encoded = rest.partition("+")
    raw = _decoded(encoded, what="public key")
    if len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE_V1):
        raise NoteRefused(f"the key of {name!r} is not an Ed25519 key of a known type")
    verifier = Verifier(name=check_name(name), kind=raw[0], public=Ed25519PublicKey.from_public_bytes(raw[1:]))
    if verifier.key_id.hex() != identity:
        raise NoteRefused(f"the key of {name!r} has the id {verifier.key_id.hex()}, not {identity!r}")
    return verifier


def sign_text(text: str, *, name: str, private_key: Ed25519PrivateKey) -> Signature:
    """Sign a note's text with Ed25519."""
    identity = key_id(check_name(name), kind=ED25519, public=private_key.public_key())
    return Signature(name=name, key_id=identity, body=private_key.sign(text.encode()))


def parse_note(raw: bytes) -> Note:
    """Split a note into its text and its signature lines. Raises NoteRefused; nothing is verified here."""
    if len(raw) > NOTE_BYTES_MAX:
        raise NoteRefused(f"a note of {len(raw)} bytes; at most {NOTE_BYTES_MAX}")
    try:
        whole = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NoteRefused("a note is UTF-8") from None
    if _CONTROL.search(whole):
        raise NoteRefused("a note holds no control characters but newlines")
    text, gap, lines = whole.rpartition("\n\n")
    if not gap or not text or not lines.endswith("\n"):
        raise NoteRefused("a note is a text, an empty line and signature lines, each with its newline")
    signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > SIGNATURES_MAX:
        raise NoteRefused(f"a note with {len(signatures)} signatures; at most {SIGNATURES_MAX}")
    return Note(text=text + "\n", signatures=signatures)


def find_signature(note: Note, *, verifier: Verifier) -> Signature:
    """Return the one signature line that names a key. Raises NoteRefused when there is none or more than one."""
    named = [one for one in note.signatures if one.name == verifier.name]
    found = [one for one in named if one.key_id == verifier.key_id]
    if len(found) != 1:
        others = ", ".join(one.key_id.hex() for one in named if one not in found)
        raise NoteRefused(
            f"{len(found)} signatures by {verifier.name} ({verifier.key_id.hex()}); exactly 1 is needed"
            + (f"; there are some by other keys of that name: {others}" if others else "")
        )
    return found[0]


def check_signed(note: Note, *, verifier: Verifier) -> None:
    """Check that a key has signed a note's text. Raises NoteRefused."""
    check_bytes(find_signature(note, verifier=verifier).body, note.text.encode(), verifier=verifier)


def check_bytes(signature: bytes, signed: bytes, *, verifier: Verifier) -> None:
    """Check a bare Ed25519 signature. Raises NoteRefused."""
    try:
        verifier.public.verify(signature, signed)
    except InvalidSignature:
        raise NoteRefused(f"the signature by {verifier.name} does not verify") from None


def _signature(line: str) -> Signature:
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise NoteRefused(f"not a signature line: {line[:60]!r}")
    raw = _decoded(match[2], what=f"signature by {match[1]}")
    if len(raw) <= KEY_ID_BYTES:
        raise NoteRefused(f"the signature by {match[1]} is too short")
    return Signature(name=match[1], key_id=raw[:KEY_ID_BYTES], body=raw[KEY_ID_BYTES:])


def _decoded(text: str, *, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise NoteRefused(f"{what}: not base64") from None
    if base64.b64encode(raw).decode("ascii") != text:
        raise NoteRefused(f"{what}: not base64 in its one canonical form")
    return raw
