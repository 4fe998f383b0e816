"""The exchange's streams, through ccxt's own WebSocket client: connected, logged in, kept alive, and handed on raw.

Guarantees
- It subscribes and nothing else: no operation that trades is called by name, and the key may only read.
- The upgrade of every connection must carry the mark of the simulated exchange, or must not when the exchange is none;
  no redirect is followed.
- A frame is at most FRAME_BYTES_MAX long; a connection whose pings are not answered ends.
- What an entry says is not judged here, and nothing that it says can end the process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from trade_core.closing import close_all
from trade_core.errors import ExchangeUnavailable
from trade_core.tls import tls_context
from trade_watchdog.ccxt_parts import errors, streaming_class
from trade_watchdog.exchange import MARK, MARK_HEADER, KeyRefusedByExchange, OtherEnvironment
from trade_watchdog.http_session import bounded_session
from trade_watchdog.identity import ExchangeKey

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

_Client: Any = streaming_class("bybit")
HANDSHAKE_TIMEOUT_S: Final = 4
CONNECTIONS_MAX: Final = 4
FRAME_BYTES_MAX: Final = 1024 * 1024
ACCOUNT_TOPICS: Final = ("wallet", "position", "order", "execution")
PRIVATE_PATH: Final = "/v5/private"
PRICES_PATH: Final = "/v5/public/linear"

_log = logging.getLogger(__name__)

Deliver = Callable[[str, Mapping[str, Any]], None]


class ExchangeStream:
    """Connections to the private stream of one account and to the public prices of linear contracts."""

    def __init__(self, *, url: str, is_simulated: bool, key: ExchangeKey) -> None:
        """Prepare the client inside the event loop that uses it. `url` is a WebSocket address without a path."""
        self._url = url.rstrip("/")
        self._session = bounded_session(
            timeout_s=HANDSHAKE_TIMEOUT_S,
            connections_max=CONNECTIONS_MAX,
            answer_bytes_max=FRAME_BYTES_MAX,
            check_headers=_check_simulated if is_simulated else _check_real,
        )
        self._client = _RawClient(
            {
                "apiKey": key.key.reveal(),
                "secret": key.secret.reveal(),
                "session": self._session,
                "ssl_context": tls_context(),
                "options": {"ws": {"options": {"max_msg_size": FRAME_BYTES_MAX}}},
            }
        )

    async def follow_account(self, deliver: Deliver) -> None:
        """Hand on wallet, position, order and execution until the connection ends.

        Raises ExchangeUnavailable, and KeyRefusedByExchange.
        """
        url = self._url + PRIVATE_PATH
        self._client.receivers[url] = deliver
        await _known_errors(self._client.authenticate(url))
        await self._until_one_ends(url, ACCOUNT_TOPICS)

    async def follow_prices(self, symbols: frozenset[str], deliver: Deliver) -> None:
        """Hand on the tickers of these contracts until the connection ends; those that there are not are left out.

        Raises ExchangeUnavailable.
        """
        url = self._url + PRICES_PATH
        self._client.receivers[url] = deliver
        await self._until_one_ends(url, [f"tickers.{symbol}" for symbol in sorted(symbols)])

    async def close(self) -> None:
        """Close the connections."""
        self._client.timeout_on_exit = 0
        await close_all(self._client.close, self._session.close)

    async def _until_one_ends(self, url: str, topics: Iterable[str]) -> None:
        # One question a topic: a symbol that the exchange does not know must not take the others with it.
        waiting = [asyncio.ensure_future(self._client.watch_topics(url, [topic], [topic])) for topic in topics]
        try:
            ended, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await _known_errors(ended.pop())
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


class _RawClient(_Client):  # type: ignore[misc]
    """ccxt's client, whose frames of data go to a receiver as they are; the rest is ccxt's own affair."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.receivers: dict[str, Deliver] = {}

    def handle_message(self, client: Any, message: Any) -> None:
        if not isinstance(message, dict):
            return
        topic = message.get("topic")
        if isinstance(topic, str) and "data" in message:
            entries = message["data"] if isinstance(message["data"], list) else [message["data"]]
            for entry in entries:
                self.receivers[client.url](topic, entry if isinstance(entry, Mapping) else {})
        elif message.get("success") is False:
            self._refused(client, message.get("op"))
        else:
            super().handle_message(client, message)

    def _refused(self, client: Any, operation: object) -> None:
        """End what waits, in place of ccxt's own way, which stumbles over a refusal without words."""
        if operation == "auth":
            client.subscriptions.pop("authenticated", None)
            client.reject(errors.AuthenticationError("refused"), "authenticated")
        elif client.url.endswith(PRICES_PATH):
            _log.info("a price stream is refused; the account is read all the same")
        else:
            client.reject(errors.ExchangeError("refused"))


async def _known_errors(request: Awaitable[Any]) -> None:
    try:
        await request
    except (errors.AuthenticationError, errors.PermissionDenied) as error:
        raise KeyRefusedByExchange(f"the stream refuses the key: {type(error).__name__}") from None
    except (errors.BaseError, TimeoutError) as error:
        raise ExchangeUnavailable(f"the stream has ended: {type(error).__name__}") from None


def _check_simulated(headers: CIMultiDictProxy[str]) -> None:
    if headers.getall(MARK_HEADER, []) != [MARK]:
        raise OtherEnvironment("the stream does not say that it is simulated; check the setting exchange_ws_url")


def _check_real(headers: CIMultiDictProxy[str]) -> None:
    if MARK_HEADER in headers:
        raise OtherEnvironment("the stream says that it is simulated, which this environment is not")
