"""HTTP/1.1 connections to one host that are kept warm: the shortest way of a request to the exchange.

Guarantees
- The host is fixed at construction; no redirect is followed, no proxy and nothing else is taken from the environment.
- A request is written at most once, whole, in one step. `may_send` is asked in that same step, after every wait, so
  that nothing of a request is written once it says no.
- A connection carries one request at a time. One that ends in any other way than with a whole answer (a timeout, a
  cancellation, an answer nobody asked for, bytes behind an answer) is closed and never used again, so that no answer
  can be taken for another request's.
- Answers are bounded in head, body and time.

It is for the few requests that must be fast; everything else uses an ordinary client. It does not retry.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import httptools

from trade_core.errors import ConfigurationError, TradeError
from trade_core.records import record

MAX_ANSWER_BYTES = 1024 * 1024
MAX_HEAD_BYTES = 16 * 1024
CONNECT_TIMEOUT_S = 2.0
IDLE_S = 50.0
"""A connection that was idle for longer is not used again: the other end may be closing it at this moment."""


class NotSent(TradeError):
    """Nothing of the request was written."""


class Withheld(NotSent):
    """`may_send` said no at the last moment."""


class NoAnswer(TradeError):
    """The request was written, in part or whole, and no usable answer came."""


@record(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer. Header names are in lower case; of a name that came twice the last one counts."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class HotHttp:
    """A pool of connections to the host of `base_url`."""

    def __init__(self, *, base_url: str, tls: ssl.SSLContext, max_connections: int) -> None:
        """Raises ConfigurationError for an address that is no plain http(s)://host[:port]."""
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
            raise ConfigurationError(f"{base_url}: not an address of the form https://host[:port]")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = tls if parts.scheme == "https" else None
        self._host_header = parts.netloc.encode("ascii")
        self._idle: deque[_Connection] = deque()
        self._all: set[_Connection] = set()
        self._slots = asyncio.Semaphore(max_connections)

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        headers: bytes,
        timeout_s: float,
        may_send: Callable[[], bool] | None = None,
    ) -> Reply:
        """Send one request. `headers` are whole lines, each with its line end. Raises NotSent, NoAnswer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        if self._slots.locked():
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + CONNECT_TIMEOUT_S)):
                    await self._slots.acquire()
            except TimeoutError as error:
                raise NotSent("no connection is free") from error
        else:
            await self._slots.acquire()  # at once
        try:
            connection = self._warm_connection() or await self._connect(deadline)
            if may_send is not None and not may_send():
                self._keep(connection)
                raise Withheld("withheld at the last moment")
            head = b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n" % (
                path.encode("ascii"),
                self._host_header,
                headers,
                len(body),
            )
            reply = await connection.exchange(head + body, deadline=deadline)
            self._keep(connection)
            return reply
        finally:
            self._slots.release()

    async def warm(self) -> None:
        """See to it that a connection waits for the next request. Raises NotSent."""
        while self._idle and not self._idle[-1].is_usable():
            self._idle.pop().close()
        if not self._idle and not self._slots.locked():
            async with self._slots:
                self._keep(await self._connect(asyncio.get_running_loop().time() + CONNECT_TIMEOUT_S))

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in list(self._all):
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)

    def _warm_connection(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()  # the one used last: the others grow old and are closed
            if connection.is_usable():
                return connection
            connection.close()
        return None

    async def _connect(self, deadline: float) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + CONNECT_TIMEOUT_S)):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._all), self._host, self._port, ssl=self._tls
                )
        except (OSError, TimeoutError) as error:  # what TLS refuses is an OSError too
            raise NotSent(f"not connected: {type(error).__name__}") from error
        return connection

    def _keep(self, connection: _Connection) -> None:
        while self._idle and not self._idle[0].is_usable():
            self._idle.popleft().close()
        if connection.is_usable():
            self._idle.append(connection)
        else:
            connection.close()


class _Connection(asyncio.Protocol):
    """One connection, and the answer that it waits for."""

    def __init__(self, registry: set[_Connection]) -> None:
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._descriptor: int | None = None  # of a connection without TLS, while it is open
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Reply] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._body = bytearray()
        self._idle_since = self._loop.time()
        self._is_broken = False

    def is_usable(self) -> bool:
        """Tell whether a request may be written to it."""
        return not self._is_broken and self._waiter is None and self._loop.time() - self._idle_since < IDLE_S

    def close(self) -> None:
        """End it at once; who waits for an answer is told so."""
        self._fail("the connection was closed")

    async def exchange(self, request: bytes, *, deadline: float) -> Reply:
        """Write one request and wait for its answer. Raises NoAnswer, and closes, unless a whole answer came."""
        assert self._transport is not None
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_at(deadline, self._fail, "no answer in time")
        self._transport.write(self._rest_of(request))
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiter = None
            if not waiter.done() or waiter.cancelled():
                self._fail("nobody waits for the answer any more")

    def _rest_of(self, request: bytes) -> bytes:
        """Hand a request to the kernel at once, and return what it does not take: mostly nothing.

        A transport of uvloop's writes at the end of the loop's turn, and while that lasts a halt may come.
        """
        if self._descriptor is None:
            return request
        try:
            return request[os.write(self._descriptor, request) :]
        except OSError:
            return request  # the transport finds out what is wrong

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        if transport.get_extra_info("sslcontext") is None:
            self._descriptor = transport.get_extra_info("socket").fileno()
        self._registry.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of an answer. Those that nobody asked for end the connection."""
        if self._is_broken:
            return
        if self._waiter is None or self._waiter.done():
            self._fail("an answer that nobody asked for")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"not an answer: {type(error).__name__}")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """End."""
        self._registry.discard(self)
        self._descriptor = None
        self._fail("the connection was lost")

    # The parser calls these.

    def on_message_begin(self) -> None:
        """Begin an answer; a second one in the same breath is nobody's."""
        if self._waiter is None or self._waiter.done():
            self._is_broken = True
        self._headers, self._body, self._head_bytes = {}, bytearray(), 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._fail("an answer with a head that is too long")
            return
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body += body
        if len(self._body) > MAX_ANSWER_BYTES:
            self._fail(f"an answer longer than {MAX_ANSWER_BYTES} bytes")

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self._is_broken = True
        if self._waiter is None or self._waiter.done():
            self._is_broken = True
            return
        if status < 200:
            self._fail(f"an interim answer {status}, which was not asked for")
            return
        self._idle_since = self._loop.time()
        self._waiter.set_result(Reply(status=status, headers=self._headers, body=bytes(self._body)))

    def _fail(self, reason: str) -> None:
        self._is_broken = True
        self._descriptor = None  # soon it may be another file's
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(NoAnswer(reason))
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()
