"""Authenticates the bot: Bybit V5 signatures made with a virtual key that only this gateway knows.

Guarantees
- The signature covers the raw bytes that arrived (query of a GET, body of a POST), compared in constant time.
- A request is accepted only inside its own time window, which is never longer than 10 s.
- A POST signature is accepted once. The memory is bounded; when it is full, writes are refused.
- No answer repeats the signed text, the key or the signature.

What it does not do: the signature scheme leaves out the path, so a GET without a query can be replayed on another
path inside its window; reads are harmless, and writes are remembered whatever their path. If the wall clock is set
back, signatures that were forgotten before become valid again for writes of that time; the clock's leap makes the
gateway REDUCE_ONLY, so that no risk can be added that way, and cancels stay free.

Source: Bybit V5 "Integration Guidance", authentication and the rule
server_time - recv_window <= timestamp < server_time + 1000.
"""

from __future__ import annotations

import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from trade_core.bybit.signing import keyed
from trade_core.records import record
from trade_core.secrets import Secret
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.request import RawRequest

DEFAULT_RECV_WINDOW_MS = 5_000
MAX_RECV_WINDOW_MS = 10_000
MAX_AHEAD_MS = 1_000
SPENT_CAPACITY = 20_000
"""1,800 writes a second for the 11 s that they are remembered; about 3 MB when full."""

_KEY_HEADER = b"x-bapi-api-key"
_TIMESTAMP_HEADER = b"x-bapi-timestamp"
_SIGN_HEADER = b"x-bapi-sign"
_RECV_WINDOW_HEADER = b"x-bapi-recv-window"
_HEADERS = frozenset({_KEY_HEADER, _TIMESTAMP_HEADER, _SIGN_HEADER, _RECV_WINDOW_HEADER})
_KEY = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_TIMESTAMP = re.compile(rb"[1-9][0-9]{12}")
_RECV_WINDOW = re.compile(rb"[0-9]{1,10}")
_SIGNATURE = re.compile(rb"[0-9a-f]{64}")

_MESSAGES = {
    DenyCode.AUTH_HEADER_MISSING: "API key, timestamp and signature headers are required.",
    DenyCode.AUTH_HEADER_INVALID: "error sign!",
    DenyCode.AUTH_KEY_UNKNOWN: "API key is invalid.",
    DenyCode.AUTH_SIGNATURE_WRONG: "error sign!",
    DenyCode.AUTH_SIGNATURE_SPENT: "this signature was used before.",
    DenyCode.AUTH_SIGNATURE_MEMORY_FULL: "Too many visits!",
    DenyCode.REQUEST_HEADER_DUPLICATE: "an authentication header was sent twice.",
}


class Spending(Enum):
    """What became of a signature that was offered."""

    FRESH = auto()
    SPENT_BEFORE = auto()
    MEMORY_FULL = auto()


class SpentSignatures:
    """Remembers accepted POST signatures for as long as they could be replayed.

    A signature accepted now expires at most `MAX_AHEAD_MS + MAX_RECV_WINDOW_MS` later, whatever window it named, so
    that first in is first out.
    """

    RETENTION_MS = MAX_AHEAD_MS + MAX_RECV_WINDOW_MS

    def __init__(self, *, capacity: int = SPENT_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"a memory holds at least one signature: capacity={capacity}")
        self._capacity = capacity
        self._accepted_at_ms: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accepted_at_ms)

    def spend(self, signature: str, *, now_ms: int) -> Spending:
        """Take a signature for its one use."""
        self._forget_expired(now_ms)
        if signature in self._accepted_at_ms:
            return Spending.SPENT_BEFORE
        if len(self._accepted_at_ms) >= self._capacity:
            return Spending.MEMORY_FULL
        self._accepted_at_ms[signature] = now_ms
        return Spending.FRESH

    def _forget_expired(self, now_ms: int) -> None:
        while self._accepted_at_ms:
            oldest = next(iter(self._accepted_at_ms))
            if now_ms - self._accepted_at_ms[oldest] <= self.RETENTION_MS:
                return
            del self._accepted_at_ms[oldest]


_SPENDING_CODES = {
    Spending.SPENT_BEFORE: DenyCode.AUTH_SIGNATURE_SPENT,
    Spending.MEMORY_FULL: DenyCode.AUTH_SIGNATURE_MEMORY_FULL,
}


@record(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """Who signed the request, and with what."""

    key: str
    signature: str
    timestamp_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationFailure:
    """Why a request counts as nobody's, and what to answer."""

    code: DenyCode
    ret_code: int
    ret_msg: str
    http_status: int


@record(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What the headers say, in their own bytes: the signature covers the text, not the numbers."""

    key: bytes
    timestamp: bytes
    recv_window: bytes
    signature: bytes

    @property
    def recv_window_ms(self) -> int:
        asked_ms = int(self.recv_window) if self.recv_window else DEFAULT_RECV_WINDOW_MS
        return min(asked_ms, MAX_RECV_WINDOW_MS)


def spent_capacity(orders_per_s: int) -> int:
    """Return how many signatures a gateway of this pace must remember: all that its window can hold, never fewer."""
    return max(SPENT_CAPACITY, orders_per_s * SpentSignatures.RETENTION_MS // 1_000)


def authenticate(
    request: RawRequest, *, virtual_keys: Mapping[str, Secret], now_ms: int, spent: SpentSignatures
) -> Authenticated | AuthenticationFailure:
    """Decide whose request this is. A POST that passes uses up its signature in `spent`."""
    claim = _read_claim(request)
    if isinstance(claim, DenyCode):
        return _failure(claim)
    secret = virtual_keys.get(claim.key.decode("ascii"))
    if secret is None:
        return _failure(DenyCode.AUTH_KEY_UNKNOWN)
    if not hmac.compare_digest(_expected_signature(claim, request, secret), claim.signature):
        return _failure(DenyCode.AUTH_SIGNATURE_WRONG)
    if not _is_inside_window(claim, now_ms):
        return _outside_window(claim, now_ms)
    signature = claim.signature.decode("ascii")
    if request.method == b"POST":
        outcome = spent.spend(signature, now_ms=now_ms)
        if outcome is not Spending.FRESH:
            return _failure(_SPENDING_CODES[outcome])
    return Authenticated(key=claim.key.decode("ascii"), signature=signature, timestamp_ms=int(claim.timestamp))


def _read_claim(request: RawRequest) -> _Claim | DenyCode:
    values: dict[bytes, bytes] = {}
    for name, value in request.headers:
        if name in _HEADERS:
            if name in values:
                return DenyCode.REQUEST_HEADER_DUPLICATE
            values[name] = value
    if not {_KEY_HEADER, _TIMESTAMP_HEADER, _SIGN_HEADER} <= values.keys():
        return DenyCode.AUTH_HEADER_MISSING
    claim = _Claim(
        key=values[_KEY_HEADER],
        timestamp=values[_TIMESTAMP_HEADER],
        recv_window=values.get(_RECV_WINDOW_HEADER, b""),
        signature=values[_SIGN_HEADER],
    )
    return claim if _is_well_formed(claim, values) else DenyCode.AUTH_HEADER_INVALID


def _is_well_formed(claim: _Claim, values: Mapping[bytes, bytes]) -> bool:
    return (
        _KEY.fullmatch(claim.key) is not None
        and _TIMESTAMP.fullmatch(claim.timestamp) is not None
        and _SIGNATURE.fullmatch(claim.signature) is not None
        and (_RECV_WINDOW_HEADER not in values or _RECV_WINDOW.fullmatch(claim.recv_window) is not None)
    )


def _expected_signature(claim: _Claim, request: RawRequest, secret: Secret) -> bytes:
    payload = request.body if request.method == b"POST" else request.raw_query
    text = claim.timestamp + claim.key + claim.recv_window + payload
    signing = keyed(secret.reveal().encode()).copy()
    signing.update(text)
    return signing.hexdigest().encode("ascii")


def _is_inside_window(claim: _Claim, now_ms: int) -> bool:
    return now_ms - claim.recv_window_ms <= int(claim.timestamp) < now_ms + MAX_AHEAD_MS


def _failure(code: DenyCode) -> AuthenticationFailure:
    return AuthenticationFailure(
        code=code,
        ret_code=code.ret_code,
        ret_msg=f"{code.name}: {_MESSAGES[code]}",
        http_status=401 if code is DenyCode.AUTH_HEADER_MISSING else 200,
    )


def _outside_window(claim: _Claim, now_ms: int) -> AuthenticationFailure:
    code = DenyCode.AUTH_TIMESTAMP_OUTSIDE_WINDOW
    message = (
        "invalid request, please check your server timestamp or recv_window param. "
        f"req_timestamp[{int(claim.timestamp)}],server_timestamp[{now_ms}],recv_window[{claim.recv_window_ms}]"
    )
    return AuthenticationFailure(code=code, ret_code=code.ret_code, ret_msg=f"{code.name}: {message}", http_status=200)
