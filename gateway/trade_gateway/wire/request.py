"""A request as it arrived, and the rules of framing that hold before anybody looks at its meaning.

Guarantees: whatever passes `check_framing` has one unambiguous body, declared as plain JSON when there is one; two
readers of the bytes cannot disagree about where it ends or which header counts.
`check_host` tells whether this listener was meant. Does not: read the path, the signature or the body's content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from trade_core.records import record
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.refusal import Refusal, refuse

MAX_BODY_BYTES = 4096
"""An order of all permitted fields has under 500 bytes."""

_ONCE = frozenset({b"host", b"content-length", b"content-type", b"transfer-encoding", b"content-encoding"})
_ONCE_PREFIX = b"x-bapi-"
_FORBIDDEN = frozenset(
    {
        b"transfer-encoding",  # a chunked body has a second idea of its length
        b"upgrade",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
    }
)
_HOST = re.compile(rb"(.+?)(?::[0-9]{1,5})?", re.ASCII)
_JSON_TYPES = frozenset({b"application/json", b"application/json;charset=utf-8"})


@record(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """The bytes of one request. `target` is exactly what stood in the request line; header names are lower-case."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    client: str

    @property
    def raw_path(self) -> bytes:
        """What stands before the first question mark; nothing is decoded."""
        return self.target.partition(b"?")[0]

    @property
    def raw_query(self) -> bytes:
        """What stands after the first question mark; nothing is decoded."""
        return self.target.partition(b"?")[2]

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, or None. `check_framing` has refused those that count twice."""
        for header_name, value in self.headers:
            if header_name == name:
                return value
        return None


def check_framing(request: RawRequest) -> Refusal | None:
    """Refuse a request whose headers, body and query do not fit its method, or are open to two readings."""
    return _check_headers(request.headers) or _check_body(request)


def hosts_of(listen_host: str) -> frozenset[bytes]:
    """Return the names under which a listener on a loopback address may be called, in lower case."""
    return frozenset({b"localhost", b"127.0.0.1", b"[::1]", listen_host.lower().encode("ascii")})


def check_host(headers: Iterable[tuple[bytes, bytes]], *, hosts: frozenset[bytes]) -> Refusal | None:
    """Refuse what was meant for another host, with any port: a browser can be led here under a stranger's name.

    Exactly one Host header must be there, as HTTP/1.1 wants it (RFC 9112 section 3.2).
    """
    host, *others = [value for name, value in headers if name == b"host"] or [b""]
    matched = None if others else _HOST.fullmatch(host)
    if matched is not None and matched[1].lower() in hosts:
        return None
    return refuse(DenyCode.REQUEST_HOST, host=host)


def _check_headers(headers: tuple[tuple[bytes, bytes], ...]) -> Refusal | None:
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen and (name in _ONCE or name.startswith(_ONCE_PREFIX)):
            return refuse(DenyCode.REQUEST_HEADER_DUPLICATE, header=name)
        if name in _FORBIDDEN:
            return refuse(DenyCode.REQUEST_HEADER_FORBIDDEN, header=name)
        seen.add(name)
    return None


def _check_body(request: RawRequest) -> Refusal | None:
    if len(request.body) > MAX_BODY_BYTES:
        return refuse(DenyCode.REQUEST_BODY_TOO_LARGE, body_bytes=len(request.body))
    encoding = request.header(b"content-encoding")
    if encoding is not None:
        return refuse(DenyCode.REQUEST_CONTENT_ENCODING, content_encoding=encoding)
    if request.method != b"POST":
        return refuse(DenyCode.REQUEST_BODY_UNEXPECTED, body_bytes=len(request.body)) if request.body else None
    if b"?" in request.target:
        return refuse(DenyCode.REQUEST_QUERY_UNEXPECTED)
    content_type = request.header(b"content-type") or b""
    if content_type.lower().replace(b" ", b"") not in _JSON_TYPES:
        return refuse(DenyCode.REQUEST_CONTENT_TYPE, content_type=content_type)
    return None
