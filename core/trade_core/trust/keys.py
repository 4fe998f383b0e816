"""Ed25519 keys of the processes. Private halves never leave the process that made them."""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trade_core.errors import TradeError

_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
KEY_ID_CHARACTERS = 16


class NotTrusted(TradeError):
    """A signature, key or signed statement that must not be believed; the message says which and why."""


def new_private_key() -> str:
    """Make a private key and return it as base64 text, for a secret file."""
    return base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode("ascii")


def load_private_key(text: str) -> Ed25519PrivateKey:
    """Read a private key from base64 text. Raises NotTrusted, never with the text in it."""
    return Ed25519PrivateKey.from_private_bytes(decode_base64(text, length=_KEY_BYTES, what="private key"))


def public_text(private_key: Ed25519PrivateKey) -> str:
    """Return the public half as base64 text."""
    return base64.b64encode(private_key.public_key().public_bytes_raw()).decode("ascii")


def load_public_key(text: str) -> Ed25519PublicKey:
    """Read a public key from base64 text. Raises NotTrusted."""
    return Ed25519PublicKey.from_public_bytes(decode_base64(text, length=_KEY_BYTES, what="public key"))


def key_id(public: str) -> str:
    """Name a public key: the first 16 hexadecimal characters of its SHA-256."""
    return hashlib.sha256(decode_base64(public, length=_KEY_BYTES, what="public key")).hexdigest()[:KEY_ID_CHARACTERS]


def sign(private_key: Ed25519PrivateKey, *, purpose: str, payload: bytes) -> str:
    """Sign payload for one purpose, so that a signature made for one thing never passes for another."""
    return base64.b64encode(private_key.sign(_message(purpose, payload))).decode("ascii")


def verify(public: str, *, purpose: str, payload: bytes, signature: str) -> None:
    """Check a signature over payload for a purpose. Raises NotTrusted."""
    raw = decode_base64(signature, length=_SIGNATURE_BYTES, what="signature")
    try:
        load_public_key(public).verify(raw, _message(purpose, payload))
    except InvalidSignature:
        raise NotTrusted(f"the signature of this {purpose} is not by key {key_id(public)}") from None


def decode_base64(text: str, *, length: int | None, what: str) -> bytes:
    """Decode strict base64 of an exact length. Raises NotTrusted that names what it was, not its value."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:  # of the encoding and of base64 alike
        raise NotTrusted(f"{what}: not base64") from None
    if base64.b64encode(raw).decode("ascii") != text:
        raise NotTrusted(f"{what}: not base64 in its one canonical form")
    if length is not None and len(raw) != length:
        raise NotTrusted(f"{what}: {len(raw)} bytes, must be {length}")
    return raw


def _message(purpose: str, payload: bytes) -> bytes:
    return b"trade/" + purpose.encode("ascii") + b"\n" + payload
