"""Bybit V5 request signatures (HMAC-SHA256), over the raw bytes that travel.

Source: Bybit V5 integration guidance, "Authentication": the signed text is timestamp + api key + recv window +
(query string of a GET | body of a POST), the signature lower-case hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache


def sign_request(*, secret: bytes, timestamp_ms: int, key: str, recv_window_ms: int, payload: bytes) -> str:
    """Return the lower-case hexadecimal signature of a request whose raw query or body is `payload`."""
    signing = keyed(secret).copy()
    signing.update(b"%d%b%d%b" % (timestamp_ms, key.encode(), recv_window_ms, payload))
    return signing.hexdigest()


def sign_websocket(*, secret: bytes, expires_ms: int) -> str:
    """Return the signature of a private stream's `auth` operation that is valid until `expires_ms`."""
    return hmac.new(secret, f"GET/realtime{expires_ms}".encode(), hashlib.sha256).hexdigest()


@lru_cache(8)
def keyed(secret: bytes) -> hmac.HMAC:
    """Take a key in; a copy of what this returns is ready to sign, in half the time. It must not be changed itself."""
    return hmac.new(secret, digestmod=hashlib.sha256)
