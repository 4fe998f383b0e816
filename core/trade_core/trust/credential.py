"""A person's security keys as the key ring names them: public halves, what they are called, and what they may not be.

Guarantees
- Only ES256 and Ed25519 keys in the one CBOR form are read, each a point that exists on its curve.
- No credential stands twice in a ring, and outside the simulated exchange none that can be copied to a cloud.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from fido2 import cbor
from fido2.cose import ES256, CoseKey, EdDSA

from trade_core.trust.keys import NotTrusted, decode_base64
from trade_core.trust.statement import check_fields

MAX_CREDENTIALS = 5
"""A ring change, with its warrant, must fit one row of a journal."""
MAX_CREDENTIAL_ID_BYTES = 255
MAX_LABEL_CHARACTERS = 40
MAX_PUBLIC_KEY_BYTES = 128
_INTEGERS = frozenset({"added_at_ms"})
_AAGUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_UNREADABLE_CBOR = (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError, struct.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One security key of a person. `credential_id` and `public_key` (COSE, RFC 9052) are base64; times UTC ms."""

    credential_id: str
    public_key: str
    label: str
    aaguid: str
    is_backup_eligible: bool
    added_at_ms: int

    def content(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def verify_by(credential: Credential, *, message: bytes, signature: bytes) -> None:
    """Check a security key's signature. Raises NotTrusted."""
    try:
        cose_key(credential.public_key).verify(message, signature)
    except InvalidSignature:
        raise NotTrusted(f"the signature is not by security key {credential.label!r}") from None


def cose_key(text: str) -> CoseKey:
    """Read a public key from base64 of its COSE form. Raises NotTrusted unless it is one that we take."""
    raw = decode_base64(text, length=None, what="security key")
    if len(raw) > MAX_PUBLIC_KEY_BYTES:
        raise NotTrusted(f"security key: {len(raw)} bytes, at most {MAX_PUBLIC_KEY_BYTES}")
    try:
        content: Any = cbor.decode(raw)
        key = CoseKey.parse(content)
        is_in_form = cbor.encode(content) == raw
    except _UNREADABLE_CBOR:
        raise NotTrusted("security key: not a COSE key") from None
    if key.ALGORITHM not in (ES256.ALGORITHM, EdDSA.ALGORITHM):
        raise NotTrusted("security key: only ES256 and Ed25519 are taken")
    if not is_in_form or not _is_on_its_curve(key):
        raise NotTrusted("security key: not a COSE key in its one form")
    return key


def _is_on_its_curve(key: CoseKey) -> bool:
    try:
        key.verify(b"", b"")
    except InvalidSignature:
        return True  # the key could be used; nothing was signed
    except (ValueError, KeyError, TypeError):
        pass
    return False


def parse_credentials(listed: object, *, is_simulated: bool) -> tuple[Credential, ...]:
    """Read the credentials of a ring. Raises NotTrusted."""
    if not isinstance(listed, list) or len(listed) > MAX_CREDENTIALS:
        raise NotTrusted(f"key ring: credentials must be a list of at most {MAX_CREDENTIALS}")
    found = tuple(_credential(item) for item in listed)
    check_credentials(found, is_simulated=is_simulated)
    return found


def check_credentials(credentials: Sequence[Credential], *, is_simulated: bool) -> None:
    """Check that a ring may hold these together. Raises NotTrusted."""
    if len({one.credential_id for one in credentials}) != len(credentials):
        raise NotTrusted("key ring: a credential stands in it twice")
    if len({one.public_key for one in credentials}) != len(credentials):
        raise NotTrusted("key ring: two credentials have one key")
    if not is_simulated and any(one.is_backup_eligible for one in credentials):
        raise NotTrusted("key ring: a credential that can be copied counts on the simulated exchange only")


def _credential(item: object) -> Credential:
    if not isinstance(item, dict):
        raise NotTrusted("key ring: a credential must be an object")
    plain = {name: value for name, value in item.items() if name != "is_backup_eligible"}
    fields = [name for name in Credential.__slots__ if name != "is_backup_eligible"]
    check_fields(plain, what="credential", fields=fields, integers=_INTEGERS)
    is_backup_eligible = item.get("is_backup_eligible")
    if not isinstance(is_backup_eligible, bool):
        raise NotTrusted("credential: is_backup_eligible must be bool")
    made = Credential(**plain, is_backup_eligible=is_backup_eligible)
    identifier = decode_base64(made.credential_id, length=None, what="credential id")
    if not 0 < len(identifier) <= MAX_CREDENTIAL_ID_BYTES:
        raise NotTrusted(f"credential id: {len(identifier)} bytes, must be 1 to {MAX_CREDENTIAL_ID_BYTES}")
    if not 0 < len(made.label) <= MAX_LABEL_CHARACTERS or not made.label.isprintable():
        raise NotTrusted("credential: label is empty, too long or not plain text")
    if _AAGUID.fullmatch(made.aaguid) is None:
        raise NotTrusted("credential: aaguid is not the identifier of a model")
    cose_key(made.public_key)
    return made
