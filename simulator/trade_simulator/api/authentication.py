"""Authentication as V5 does it: over the raw query string or the raw body, never over anything re-serialised.

Order of the checks: headers present (HTTP 401), not empty (10001), key known (10003), not expired (33004),
address bound (10010), time (10002), signature (10004). An unknown key is told apart from a wrong signature, so
that the death of a key can be proved without its secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from trade_simulator.api.envelope import HttpRefusal
from trade_simulator.keys import ApiKey, KeyRegistry
from trade_simulator.rejections import Rejected

DEFAULT_RECV_WINDOW_MS = 5000
# A request stamped this far ahead of the exchange or more is refused.
FUTURE_TOLERANCE_MS = 1000
MAX_DIGITS = 16
MAX_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The authentication headers of a request, and the bytes that the signature covers beside them."""

    key: str
    signature: str
    timestamp: str
    recv_window: str
    payload: bytes

    @property
    def origin(self) -> bytes:
        """The text that was signed."""
        return f"{self.timestamp}{self.key}{self.recv_window}".encode() + self.payload


def read_headers(headers: Mapping[bytes, bytes], payload: bytes) -> Signed:
    """Take the authentication headers. Raises HttpRefusal 401 when one is missing, Rejected 10001 when empty."""
    names = (b"x-bapi-api-key", b"x-bapi-sign", b"x-bapi-timestamp")
    if any(name not in headers for name in names):
        raise HttpRefusal(401, 10003, "API key is invalid.")
    key, signature, timestamp = (_text(headers[name]) for name in names)
    if not key or not signature or not timestamp:
        raise Rejected(10001, "empty value: apiTimestamp[] apiKey[] apiSignature[]")
    recv_window = _text(headers.get(b"x-bapi-recv-window", b""))
    return Signed(key=key, signature=signature, timestamp=timestamp, recv_window=recv_window, payload=payload)


def _text(value: bytes) -> str:
    return value[:MAX_HEADER_BYTES].decode("latin-1").strip()


def check_time(*, timestamp: str, recv_window: str, now_ms: int) -> None:
    """Apply `server_time - recv_window <= timestamp < server_time + 1000`. Raises Rejected 10001 or 10002."""
    sent_ms = _milliseconds(timestamp, "timestamp")
    window_ms = _milliseconds(recv_window, "recv_window") if recv_window else DEFAULT_RECV_WINDOW_MS
    if now_ms - window_ms <= sent_ms < now_ms + FUTURE_TOLERANCE_MS:
        return
    raise Rejected(
        10002,
        "invalid request, please check your server timestamp or recv_window param. "
        f"req_timestamp[{sent_ms}],server_timestamp[{now_ms}],recv_window[{window_ms}]",
    )


def _milliseconds(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        raise Rejected(10001, f"params error: {name} invalid")
    return int(text)


def verify(credential: ApiKey, *, origin: bytes, signature: str) -> bool:
    """Tell whether the signature is the credential's: HMAC-SHA256 in lower hex, or RSA PKCS#1 v1.5 in base64."""
    if credential.rsa_public_key:
        return _verify_rsa(credential.rsa_public_key, origin, signature)
    expected = hmac.new(credential.secret.encode(), origin, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


def _verify_rsa(public_key: str, origin: bytes, signature: str) -> bool:
    try:
        key = load_pem_public_key(public_key.encode())
        if not isinstance(key, RSAPublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=True), origin, padding.PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def authenticate(signed: Signed, *, keys: KeyRegistry, address: str, now_ms: int) -> ApiKey:
    """Return the key that signed the request. Raises Rejected with the exchange's own code."""
    key = keys.authenticate(signed.key, address=address)
    check_time(timestamp=signed.timestamp, recv_window=signed.recv_window, now_ms=now_ms)
    if not verify(key, origin=signed.origin, signature=signed.signature):
        shown = signed.origin.decode("utf-8", errors="backslashreplace")
        raise Rejected(10004, f"error sign! origin_string[{shown}]")
    return key
