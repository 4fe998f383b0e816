"""Signed statements: a JSON object {"payload": base64 of canonical bytes, "signature": base64}.

The verifier checks the signature over the bytes received and only then parses them; it never serialises again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted, decode_base64, sign, verify

MAX_STATEMENT_BYTES = 16 * 1024
_MAX_INTEGER = 2**53 - 1


def sign_statement(content: dict[str, Any], private_key: Ed25519PrivateKey, *, purpose: str) -> bytes:
    """Serialise and sign a flat object for one purpose."""
    payload = canonical_json(content)
    signed = {"payload": base64.b64encode(payload).decode("ascii")}
    signed["signature"] = sign(private_key, purpose=purpose, payload=payload)
    return json.dumps(signed).encode()


def open_statement(raw: bytes, *, what: str, purpose: str, public_key: str) -> dict[str, Any]:
    """Verify a signed statement and return its object. Raises NotTrusted before believing any field."""
    payload, signature = _split(raw, what)
    verify(public_key, purpose=purpose, payload=payload, signature=signature)
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        raise NotTrusted(f"{what}: payload is not JSON") from None
    if not isinstance(content, dict):
        raise NotTrusted(f"{what}: payload is not an object")
    return content


def is_signed_for(raw: bytes, *, purpose: str, public_key: str) -> bool:
    """Tell whether a statement bears a good signature for a purpose; to explain a refusal, never to believe it."""
    try:
        payload, signature = _split(raw, purpose)
        verify(public_key, purpose=purpose, payload=payload, signature=signature)
    except NotTrusted:
        return False
    return True


def check_fields(content: dict[str, Any], *, what: str, fields: Iterable[str], integers: frozenset[str]) -> None:
    """Check that an object has exactly these fields, whole numbers where named, texts elsewhere. Raises NotTrusted."""
    if set(content) != set(fields):
        raise NotTrusted(f"{what}: its fields are not those of a {what}")
    for name, value in content.items():
        wanted = int if name in integers else str
        if type(value) is not wanted:
            raise NotTrusted(f"{what}: {name} must be {wanted.__name__}")
        if isinstance(value, int) and not 0 <= value <= _MAX_INTEGER:
            raise NotTrusted(f"{what}: {name} is out of range")


def _split(raw: bytes, what: str) -> tuple[bytes, str]:
    if len(raw) > MAX_STATEMENT_BYTES:
        raise NotTrusted(f"{what}: {len(raw)} bytes, at most {MAX_STATEMENT_BYTES}")
    try:
        signed = json.loads(raw)
    except (ValueError, RecursionError):
        raise NotTrusted(f"{what}: not JSON") from None
    if not isinstance(signed, dict) or set(signed) != {"payload", "signature"}:
        raise NotTrusted(f"{what}: must hold exactly payload and signature")
    if not isinstance(signed["payload"], str) or not isinstance(signed["signature"], str):
        raise NotTrusted(f"{what}: payload and signature must be texts")
    return decode_base64(signed["payload"], length=None, what=f"{what} payload"), signed["signature"]
