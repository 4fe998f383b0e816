"""The other services as the console reads them: each on its own, bounded, the last good answer beside a failure.

Guarantees
- Nothing read here is believed beyond being shown: documents are data of other processes, bounded in bytes and time.
- A service that is down, hangs or answers nonsense costs its own panels and nothing else; since when stands beside it.
- An executor or gateway that was started again, with other files, is found by the next reading.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from trade_core.administration import admin_address
from trade_core.clock import Clock
from trade_core.closing import close_all
from trade_core.errors import ConfigurationError, TradeError
from trade_core.logs import neutralise
from trade_core.secrets import read_secret_file, secret_text
from trade_core.tls import tls_context
from trade_core.unix_sockets import short_path

REQUEST_TIMEOUT_S: Final = 3.0
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
"""512 rows of at most 8 KiB, and room."""
DETAIL_CHARACTERS_MAX: Final = 300


class Unreadable(TradeError):
    """A service could not be read or asked; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service answered: an HTTP status and its body."""

    status: int
    body: bytes

    def document(self, what: str) -> dict[str, Any]:
        """Read the body of a good answer as a JSON object. Raises Unreadable."""
        if not httpx.codes.is_success(self.status):
            raise Unreadable(f"{what} answers HTTP {self.status}: {self.detail()}")
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError):
            raise Unreadable(f"{what} answers something that is not JSON") from None
        if not isinstance(content, dict):
            raise Unreadable(f"{what} answers something that is no object")
        return content

    def detail(self) -> str:
        """Return what an answer says, in one line."""
        text = self.body[: 4 * DETAIL_CHARACTERS_MAX].decode("utf-8", "replace")
        try:
            content = json.loads(text)
            said = content["detail"] if isinstance(content, dict) else text
        except (ValueError, LookupError, RecursionError):
            said = text
        return neutralise(said.strip() if isinstance(said, str) else json.dumps(said), limit=DETAIL_CHARACTERS_MAX)


class Asked(Protocol):
    """One service that can be asked."""

    name: str

    async def ask(self, method: str, path: str, content: bytes | None = None) -> Answer:
        """Send one request. Raises Unreadable."""
        ...


class HandoverService:
    """A service's admin listener, by its handover file, which is read anew until it can be, and after each failure."""

    def __init__(self, name: str, handover: Path | None) -> None:
        self.name = name
        self._handover = handover
        self._client: httpx.AsyncClient | None = None

    async def ask(self, method: str, path: str, content: bytes | None = None) -> Answer:
        """Send one request. Raises Unreadable."""
        if self._client is None:
            self._client = self._connected()
        try:
            return await _asked(self._client, method, path, content)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            await self.close()
            raise Unreadable(f"{self.name} does not answer ({type(error).__name__})") from None

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await close_all(client.aclose)

    def _connected(self) -> httpx.AsyncClient:
        if self._handover is None:
            raise Unreadable(f"{self.name} is not named in the console's settings")
        try:
            content = read_secret_file(self._handover)
            address = admin_address(secret_text(content, "admin_url", path=self._handover).reveal())
            token = secret_text(content, "admin_token", path=self._handover)
        except (ConfigurationError, ValueError) as error:
            raise Unreadable(f"{self.name}: {error}") from None
        return address.async_client(
            headers={"authorization": f"Bearer {token.reveal()}", "accept-encoding": "identity"},
            timeout=REQUEST_TIMEOUT_S,
            limits=httpx.Limits(max_connections=2),
        )


class SocketService:
    """The kill executor's socket; connects anew for each request, so that one which was started again is found."""

    def __init__(self, name: str, socket: Path | None) -> None:
        self.name = name
        self._socket = socket

    async def ask(self, method: str, path: str, content: bytes | None = None) -> Answer:
        """Send one request. Raises Unreadable."""
        if self._socket is None:
            raise Unreadable(f"{self.name} is not named in the console's settings")
        try:
            with short_path(self._socket) as short:
                transport = httpx.AsyncHTTPTransport(uds=short, verify=tls_context(), trust_env=False)
                async with httpx.AsyncClient(
                    transport=transport,
                    base_url="http://executor",
                    headers={"accept-encoding": "identity"},
                    timeout=REQUEST_TIMEOUT_S,
                    trust_env=False,
                ) as client:
                    return await _asked(client, method, path, content)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise Unreadable(f"{self.name} does not answer ({type(error).__name__})") from None


async def _asked(client: httpx.AsyncClient, method: str, path: str, content: bytes | None) -> Answer:
    headers = {"content-type": "application/json"} if content is not None else {}
    body = bytearray()
    # The client bounds each read; this bounds the whole, however slowly an answer drips.
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        async with client.stream(method, path, content=content, headers=headers) as response:
            async for part in response.aiter_raw():
                body += part
                if len(body) > ANSWER_BYTES_MAX:
                    raise Unreadable(f"an answer longer than {ANSWER_BYTES_MAX} bytes")
            return Answer(status=response.status_code, body=bytes(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of one service: its last good document and when that was, and a failure since then.

    Times are nanoseconds of wall time (UTC), for people; an empty `failure` says that the document is of the last look.
    """

    document: Mapping[str, Any] | None = None
    read_at_ns: int | None = None
    failure: str = ""
    failing_since_ns: int | None = None


class Source:
    """One document of one service, read again and again."""

    def __init__(self, service: Asked, path: str, *, clock: Clock) -> None:
        self.service = service
        self.reading = Reading(failure="not read yet", failing_since_ns=clock.wall_ns())
        self._path = path
        self._clock = clock

    async def read(self) -> Reading:
        """Read once; a failure is noted, never raised."""
        before = self.reading
        try:
            document = (await self.service.ask("GET", self._path)).document(self.service.name)
        except Unreadable as error:
            self.reading = Reading(
                document=before.document,
                read_at_ns=before.read_at_ns,
                failure=str(error),
                failing_since_ns=before.failing_since_ns or self._clock.wall_ns(),
            )
        else:
            self.reading = Reading(document=document, read_at_ns=self._clock.wall_ns())
        return self.reading
