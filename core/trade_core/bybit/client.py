"""The HTTP client of one exchange credential: signs, sends once, and says exactly what is known afterwards.

Guarantees:
- The host is fixed at construction; no redirect is followed and no proxy is taken from the environment.
- A request is sent at most once. A POST whose effect is not known raises UnknownOutcome, never a plain failure.
- An answer without the header of the simulated environment is refused when the environment is simulated.
Orders and cancels go over warm connections of their own (see hot_http), reads through an ordinary client.
It does not retry: who calls knows whether a second try is safe.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import httpx

from trade_core.bybit.envelope import Answer, parse_answer
from trade_core.bybit.signing import sign_request
from trade_core.clock import NS_PER_MS, Clock
from trade_core.closing import close_all
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable, UnknownOutcome
from trade_core.hot_http import HotHttp, NoAnswer, NotSent
from trade_core.secrets import Secret
from trade_core.tls import tls_context

ENVIRONMENT_HEADER = "X-Trade-Environment"
SIMULATED_MARK = "SIMULATED"
RECV_WINDOW_MS = 2_000
MAX_ANSWER_BYTES = 16 * 1024 * 1024  # instruments-info of every linear contract is about 1 MiB
_CONNECT_TIMEOUT_S = 2.0
_POOL_TIMEOUT_S = 2.0
USER_AGENT = "trade-gateway"
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SIGNED = ("X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-RECV-WINDOW", "X-BAPI-SIGN")
_SIGNED_HEADERS = "".join(f"{name}: %b\r\n" for name in _SIGNED).encode("ascii")
_ENVIRONMENT_NAME = ENVIRONMENT_HEADER.lower().encode()


class WrongEnvironment(ExchangeUnavailable):
    """The other end is not the environment that this process belongs to; nothing it says is believed."""


class HttpStatus(ExchangeUnavailable):
    """A read that was answered with another HTTP status than 200."""

    def __init__(self, path: str, status: int) -> None:
        super().__init__(f"{path}: HTTP {status}")
        self.status = status


class BybitClient:
    """Sends requests to one exchange with at most one credential."""

    def __init__(
        self,
        *,
        base_url: str,
        clock: Clock,
        is_simulated: bool,
        key: Secret | None = None,
        secret: Secret | None = None,
        max_connections: int = 64,
        user_agent: str = USER_AGENT,
    ) -> None:
        self._clock = clock
        self._is_simulated = is_simulated
        if key is not None and _KEY.fullmatch(key.reveal()) is None:
            raise ConfigurationError("an exchange key has characters other than letters, digits, - and _")
        self._key = key
        self._secret = secret
        self._post_headers = f"content-type: application/json\r\nuser-agent: {user_agent}\r\n".encode("ascii")
        self._hot = HotHttp(base_url=base_url, tls=tls_context(), max_connections=max_connections)
        self._http = httpx.AsyncClient(
            base_url=base_url,
            verify=tls_context(),
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=55
            ),
            headers={"User-Agent": user_agent},
        )

    async def get_public(self, path: str, query: str = "", *, timeout_s: float = 5.0) -> Answer:
        """Read without a signature. Raises ExchangeUnavailable (HttpStatus), ExchangeAnswerInvalid."""
        return await self._read(path, query, headers={}, timeout_s=timeout_s)

    async def get(self, path: str, query: str = "", *, timeout_s: float = 5.0) -> Answer:
        """Read with a signature over the raw query. Raises ExchangeUnavailable, ExchangeAnswerInvalid."""
        return await self._read(path, query, headers=self._signed_headers(query.encode()), timeout_s=timeout_s)

    async def post(
        self, path: str, body: bytes, *, timeout_s: float = 5.0, may_send: Callable[[], bool] | None = None
    ) -> Answer:
        """Send a body once. `may_send` is asked last, just before the request is handed to the connection.

        Raises ExchangeUnavailable when it was certainly not sent, UnknownOutcome when it may have been.
        """
        signed = tuple(value.encode("ascii") for value in self._signed_headers(body).values())
        headers = _SIGNED_HEADERS % signed + self._post_headers
        try:
            reply = await self._hot.post(path, body, headers=headers, timeout_s=timeout_s, may_send=may_send)
        except NotSent as error:
            raise ExchangeUnavailable(f"not sent: {error}") from error
        except NoAnswer as error:
            raise UnknownOutcome(f"sent, no usable answer: {error}") from error
        try:
            self._require_environment(reply.headers.get(_ENVIRONMENT_NAME, b"").decode("latin-1"))
            if reply.status != httpx.codes.OK:
                raise UnknownOutcome(f"sent, answered HTTP {reply.status}")
            return self._without_credential(parse_answer(reply.body))
        except (WrongEnvironment, ExchangeAnswerInvalid) as error:
            raise UnknownOutcome(f"sent, no usable answer: {error}") from error

    async def warm(self) -> None:
        """See to it that a connection waits for the next order or cancel. Raises ExchangeUnavailable."""
        try:
            await self._hot.warm()
        except NotSent as error:
            raise ExchangeUnavailable(str(error)) from error

    async def aclose(self) -> None:
        """Close every connection: all of them also when who closes is cancelled meanwhile."""
        await close_all(self._hot.aclose, self._http.aclose)

    async def _read(self, path: str, query: str, *, headers: dict[str, str], timeout_s: float) -> Answer:
        # The query is appended as it was signed: httpx would otherwise re-encode it.
        url = httpx.URL(str(self._http.base_url).rstrip("/") + path).copy_with(query=query.encode() or None)
        request = self._http.build_request("GET", url, headers=headers, timeout=_timeout(timeout_s))
        try:
            async with asyncio.timeout(timeout_s):
                status, raw = await self._exchange(request)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ExchangeUnavailable(f"{path}: {type(error).__name__}") from error
        if status != httpx.codes.OK:
            raise HttpStatus(path, status)
        return self._without_credential(parse_answer(raw))

    async def _exchange(self, request: httpx.Request) -> tuple[int, bytes]:
        response = await self._http.send(request, stream=True)
        try:
            self._require_environment(response.headers.get(ENVIRONMENT_HEADER, ""))
            chunks = bytearray()
            async for chunk in response.aiter_bytes():
                chunks += chunk
                if len(chunks) > MAX_ANSWER_BYTES:
                    raise ExchangeAnswerInvalid(f"answer is longer than {MAX_ANSWER_BYTES} bytes")
            return response.status_code, bytes(chunks)
        finally:
            await response.aclose()

    def _without_credential(self, answer: Answer) -> Answer:
        """Take our own key and secret out of the exchange's words, which go on to the bot."""
        for own in (self._key, self._secret):
            if own is not None and own.reveal() in answer.ret_msg:
                answer = replace(answer, ret_msg=answer.ret_msg.replace(own.reveal(), "***"))
        return answer

    def _require_environment(self, mark: str) -> None:
        if self._is_simulated and mark != SIMULATED_MARK:
            raise WrongEnvironment("the other end does not answer as the simulated exchange")
        if not self._is_simulated and mark:
            raise WrongEnvironment("the other end answers as a simulated exchange")

    def _signed_headers(self, payload: bytes) -> dict[str, str]:
        if self._key is None or self._secret is None:
            raise ExchangeUnavailable("this client has no credential")
        timestamp_ms = self._clock.wall_ns() // NS_PER_MS
        key = self._key.reveal()
        signature = sign_request(
            secret=self._secret.reveal().encode(),
            timestamp_ms=timestamp_ms,
            key=key,
            recv_window_ms=RECV_WINDOW_MS,
            payload=payload,
        )
        return dict(zip(_SIGNED, (key, str(timestamp_ms), str(RECV_WINDOW_MS), signature), strict=True))


def _timeout(timeout_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s), pool=min(_POOL_TIMEOUT_S, timeout_s))
