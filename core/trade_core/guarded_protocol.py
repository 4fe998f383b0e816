"""A listener's HTTP protocol: uvicorn's, with bounds, the raw target, and no refusal that goes unseen.

uvicorn answers some requests below the application, cuts `http://host` and `#fragment` from targets, and waits for
ever for a first byte. Here every refusal is counted once, the target is kept as it arrived, and head, body and silence
have limits. A request that begins before the one before it is answered is refused with its connection: uvicorn's queue
of such requests has no bound, and it would not tell the first one that its client has gone.

Connections have a limit that nobody is locked out by (see guests): the application says who has authenticated by
calling what stands in the scope under RECOGNISE_KEY. An answer that is not read is kept for a few seconds, and only so
many of them at a time.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from trade_core.guests import Guests

TARGET_KEY = "trade.target"
RECOGNISE_KEY = "trade.recognise"
CONNECTION_KEY = "trade.connection"
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 64
HEAD_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 1_500
LINGER_S = 2.0  # for a refusal to reach a client that may not be reading
DRAIN_TIMEOUT_S = 5.0
# Each may hold an answer of up to some 300 KB in our memory, beyond what the system holds for it.
MAX_LAGGARDS = 32
_SWITCHING_PROTOCOLS = 101


class Connection(Protocol):
    """What an application may ask of the connection that its request came over, without waiting."""

    def whole_body(self) -> bytes | None:
        """Give the request's body if it has arrived to its end; then it is not received any more."""
        ...

    def is_gone(self) -> bool:
        """Tell whether the client has left."""
        ...

    def answer_at_once(self, status: int, headers: bytes, body: bytes) -> bool:
        """Write a whole answer in one piece, unless it had to wait: then nothing is done, and False is given.

        `headers` are whole lines, each with its line end; that of the connection is added.
        """
        ...


def guarded_protocol(
    on_refusal: Callable[[str], None], *, max_connections: int = MAX_CONNECTIONS
) -> type[HttpToolsProtocol]:
    """Make the protocol class; `on_refusal` is called with a code for each request refused below the application.

    Each class has connections of its own to count.
    """
    guests: Guests[HttpToolsProtocol] = Guests(most=max_connections)
    laggards: dict[HttpToolsProtocol, None] = {}  # in order; whose answers are not taken yet

    class GuardedProtocol(HttpToolsProtocol):
        """One connection of a listener."""

        _head_timer: asyncio.TimerHandle | None = None
        _drain_timer: asyncio.TimerHandle | None = None
        _head_bytes = 0
        _is_in_head = True
        _has_begun = False
        _refusal = "REQUEST_UNPARSABLE"

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            leaving = guests.admit(self)
            if leaving is not None:
                on_refusal("CONNECTIONS_TOO_MANY")
                leaving.transport.abort()
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            guests.leave(self)
            self._disarm()
            self._end_drain()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            self._refusal = "REQUEST_UNPARSABLE"
            if self._is_in_head:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES + _slack(data):
                    self._refuse("HEAD_TOO_LARGE")
                    return
            super().data_received(data)
            if self._is_in_head and self._head_timer is None and not self.transport.is_closing():
                self._arm()  # a further request on the connection has begun, or pretends to

        def on_message_begin(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._refusal = "REQUEST_PIPELINED"
                raise ValueError("the request before this one is not answered yet")
            super().on_message_begin()
            self._is_in_head = True
            self._has_begun = True
            self._head_bytes = 0

        def on_header(self, name: bytes, value: bytes) -> None:
            if len(self.headers) >= MAX_HEADERS or len(name) + len(value) > MAX_HEAD_BYTES:
                raise ValueError("too many or too long headers")  # becomes a refusal in send_400_response
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._is_in_head = False
            self._has_begun = False
            self._head_bytes = 0
            self._disarm()
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]
            scope[TARGET_KEY] = self.url
            scope[RECOGNISE_KEY] = functools.partial(guests.recognise, self)
            scope[CONNECTION_KEY] = self
            super().on_headers_complete()

        def whole_body(self) -> bytes | None:
            cycle = self.cycle
            if cycle.more_body or cycle.waiting_for_100_continue:
                return None
            return bytes(cycle.body)

        def is_gone(self) -> bool:
            return self.cycle.disconnected or self.transport.is_closing()

        def answer_at_once(self, status: int, headers: bytes, body: bytes) -> bool:
            cycle = self.cycle
            if self.transport.get_write_buffer_size() > 0 or self.scope["method"] == "HEAD":
                return False
            end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + headers + end + body)
            cycle.response_started = cycle.response_complete = True
            cycle.message_event.set()
            if not cycle.keep_alive:
                self.transport.close()
            cycle.on_response()
            return True

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._is_in_head = True
            self._head_bytes = 0
            self._end_drain()
            if self.transport.get_write_buffer_size() > 0:
                self._begin_drain()

        def handle_websocket_upgrade(self) -> None:
            guests.leave(self)  # streams have a limit of their own
            super().handle_websocket_upgrade()
            # The WebSocket protocol has read the handshake by now; what it refuses never reaches the application.
            response = getattr(self.transport.get_protocol(), "response", None)
            if response is None or response.status_code != _SWITCHING_PROTOCOLS:
                on_refusal("HANDSHAKE_REFUSED")
                self.transport.close()

        def _unsupported_upgrade_warning(self) -> None:
            # The application refuses it; whatever follows on the connection could not be parsed.
            self.cycle.keep_alive = False

        def timeout_keep_alive_handler(self) -> None:
            self.transport.abort()  # close() would wait for a client that does not read

        def send_400_response(self, msg: str) -> None:
            self._refuse(self._refusal, msg)

        def _refuse(self, code: str, message: str = "Bad Request") -> None:
            on_refusal(code)
            self._disarm()
            super().send_400_response(message)
            self.loop.call_later(LINGER_S, self.transport.abort)

        def _begin_drain(self) -> None:
            laggards[self] = None
            if len(laggards) > MAX_LAGGARDS:
                oldest = next(iter(laggards))
                del laggards[oldest]
                oldest.transport.abort()
            self._drain_timer = self.loop.call_later(DRAIN_TIMEOUT_S, self._on_undrained)

        def _end_drain(self) -> None:
            laggards.pop(self, None)
            if self._drain_timer is not None:
                self._drain_timer.cancel()
                self._drain_timer = None

        def _on_undrained(self) -> None:
            self._end_drain()
            if self.transport.get_write_buffer_size() > 0:
                self.transport.abort()  # whoever takes nothing for so long has gone, or wants our memory

        def _arm(self) -> None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_silence)

        def _disarm(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _on_silence(self) -> None:
            self._head_timer = None
            if self._has_begun:
                self._refuse("HEAD_TOO_SLOW", "Request Timeout")
            elif not self.transport.is_closing():
                self.transport.close()  # connected and said nothing: no request to count

    return GuardedProtocol


def _slack(data: bytes) -> int:
    """A first segment may hold a short body behind its head; only what exceeds one segment is excess."""
    return len(data) if b"\r\n\r\n" in data else 0
