"""Keys that a person keeps on paper: a code of letters and digits, and the Ed25519 key that is derived from it.

`init` prints two, once: the bootstrap code, which enrols the first two security keys and then nothing ever again, and
the recovery key for cold storage. Only their public halves are written anywhere. A code has 120 random bits, so that
nobody finds it by trying, however often he tries.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.trust.keys import NotTrusted

CODE_CHARACTERS = 24
_GROUP = 4
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: without I, L, O and U, which people misread."""
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1"})


def new_code() -> str:
    """Make a code, in groups of four to be read aloud."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(CODE_CHARACTERS))
    return "-".join(letters[start : start + _GROUP] for start in range(0, CODE_CHARACTERS, _GROUP))


def printed_key(code: str, *, purpose: str) -> Ed25519PrivateKey:
    """Derive the private key of a code as it was typed. Raises NotTrusted, never with the code in it."""
    letters = "".join(code.split()).replace("-", "").upper().translate(_MISREAD)
    if len(letters) != CODE_CHARACTERS or set(letters) - set(_ALPHABET):
        raise NotTrusted(f"{purpose} code: must be {CODE_CHARACTERS} letters and digits")
    seed = hmac.new(b"trade/" + purpose.encode("ascii"), letters.encode("ascii"), hashlib.sha256).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)
