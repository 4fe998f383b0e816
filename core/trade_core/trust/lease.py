"""The watchdog's signed lease: for a short time it allows risk up to a ceiling.

Format: a JSON object {"payload": base64 of the canonical bytes, "signature": base64}. The verifier checks the
signature over the bytes received and only then parses them; it never serialises again.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted, decode_base64, sign, verify

PURPOSE = "lease/v1"
MAX_LEASE_BYTES = 16 * 1024
MAX_LIFETIME_S = 30
SEND_EVERY_S = 5
CEILINGS = ("ACTIVE", "TRIMMED", "REDUCE_ONLY", "HALTED")
_INTEGERS = frozenset({"generation", "expires_at_ms"})
_MAX_INTEGER = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What the watchdog vouches for. `scale` is the decimal text of the size factor; times are UTC milliseconds."""

    deployment: str
    environment: str
    account: str
    boot_nonce: str
    generation: int
    ceiling: str
    scale: str
    policy_hash: str
    ring_hash: str
    expires_at_ms: int

    def content(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def sign_lease(lease: Lease, private_key: Ed25519PrivateKey) -> bytes:
    """Serialise and sign a lease. The result is the body of POST /lease."""
    payload = canonical_json(lease.content())
    signed = {"payload": base64.b64encode(payload).decode("ascii")}
    signed["signature"] = sign(private_key, purpose=PURPOSE, payload=payload)
    return json.dumps(signed).encode()


def open_lease(raw: bytes, *, lease_key: str) -> Lease:
    """Verify a signed lease and return it. Raises NotTrusted saying what is wrong, before believing any field."""
    payload, signature = _split(raw)
    verify(lease_key, purpose=PURPOSE, payload=payload, signature=signature)
    return _parse(payload)


def _split(raw: bytes) -> tuple[bytes, str]:
    if len(raw) > MAX_LEASE_BYTES:
        raise NotTrusted(f"lease: {len(raw)} bytes, at most {MAX_LEASE_BYTES}")
    try:
        signed = json.loads(raw)
    except (ValueError, RecursionError):
        raise NotTrusted("lease: not JSON") from None
    if not isinstance(signed, dict) or set(signed) != {"payload", "signature"}:
        raise NotTrusted("lease: must hold exactly payload and signature")
    if not isinstance(signed["payload"], str) or not isinstance(signed["signature"], str):
        raise NotTrusted("lease: payload and signature must be texts")
    return decode_base64(signed["payload"], length=None, what="lease payload"), signed["signature"]


def _parse(payload: bytes) -> Lease:
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        raise NotTrusted("lease: payload is not JSON") from None
    if not isinstance(content, dict) or set(content) != set(Lease.__slots__):
        raise NotTrusted("lease: its fields are not those of a lease")
    for name, value in content.items():
        wanted = int if name in _INTEGERS else str
        if type(value) is not wanted:
            raise NotTrusted(f"lease: {name} must be {wanted.__name__}")
        if isinstance(value, int) and not 0 <= value <= _MAX_INTEGER:
            raise NotTrusted(f"lease: {name} is out of range")
    if content["ceiling"] not in CEILINGS:
        raise NotTrusted("lease: ceiling is not a trading state")
    return Lease(**content)
