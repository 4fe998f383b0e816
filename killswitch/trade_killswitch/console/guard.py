"""What every request passes first, and every answer leaves with. Pure ASGI, in front of the application.

Guarantees
- Host is exactly the console's name and port. Probes may also use the address: `/healthz` and `/metrics` only.
- Nothing but GET, HEAD and POST. A POST names the console's own origin, exactly, with its port, and has a short JSON
  body: a page of another site, or of another port of this machine, changes nothing here.
- Every answer, a refusal too, forbids scripts, styles, frames and requests of others, sniffing, referrers and caches.

A cookie knows no ports: a page on another port of `localhost` makes browsers send the session. It cannot read answers
(no CORS header is ever sent), cannot frame pages, and is refused at any POST by its origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX: Final = 64 * 1024
"""Two assertions with the certificates of an enrolment fit in half of it."""
_LENGTH_DIGITS_MAX: Final = 9
PROBE_PATHS: Final = frozenset({"/healthz", "/metrics"})
METHODS: Final = frozenset({"GET", "HEAD", "POST"})
JSON: Final = "application/json"
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_Pairs: TypeAlias = Iterable[tuple[bytes, bytes]]


class Guard:
    """Wraps the application; a refusal never reaches it."""

    def __init__(self, app: ASGIApp, *, origin: str, address: str) -> None:
        """`origin` is the console's own; `address` is the host:port that it listens on."""
        self._app = app
        self._origin = origin
        self._host = origin.partition("://")[2]
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on; either way with the headers."""
        if scope["type"] != "http":
            return
        answer = self._refusal(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0].decode("latin-1").lower() not in HEADERS]
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*kept, *own]}
            await send(message)

        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Mapping[str, Any]) -> Response | None:
        method, path = scope["method"], scope["path"]
        host = _only(scope["headers"], b"host")
        if host == self._address and host != self._host and path not in PROBE_PATHS:
            # Security keys know the console by its name; whoever typed the address is taken there.
            return (
                RedirectResponse(f"{self._origin}/", status_code=307)
                if method == "GET"
                else _refused(421, f"the console is at {self._origin}")
            )
        if host not in {self._host, self._address}:
            return _refused(421, "this is not the host that was meant")
        if method not in METHODS:
            return _refused(405, "only GET, HEAD and POST")
        return self._refusal_of_change(scope["headers"]) if method == "POST" else None

    def _refusal_of_change(self, headers: _Pairs) -> Response | None:
        if _only(headers, b"origin") != self._origin:
            return _refused(403, "a request that changes something must come from the console's own page")
        if _only(headers, b"content-type").partition(";")[0].strip().lower() != JSON:
            return _refused(415, f"a body must be {JSON}")
        length = _only(headers, b"content-length")
        has_frames = any(name == b"transfer-encoding" for name, _ in headers)
        is_number = length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS_MAX
        if has_frames or not is_number or int(length) > BODY_BYTES_MAX:
            return _refused(413, f"a body needs its length, at most {BODY_BYTES_MAX} bytes")
        return None


def _only(headers: _Pairs, wanted: bytes) -> str:
    """Return the one value of a header; none or several are an empty text, which nothing here permits."""
    values = [value for name, value in headers if name == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _refused(status: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=status)
