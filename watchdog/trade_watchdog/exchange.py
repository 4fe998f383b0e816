"""The account as the watchdog sees it, through ccxt, so that one bug cannot blind watchdog and gateway alike.

Guarantees
- It only reads: two private and one public GET, by name; nothing here can place, cancel or move anything.
- Every answer must carry the mark of the simulated exchange, and no redirect is followed.
- Every request ends within REQUEST_TIMEOUT_S, and no answer is longer than ANSWER_BYTES_MAX.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from decimal import Decimal
from typing import Any, Final

import ccxt.async_support as ccxt

from trade_core.clock import Clock
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable, InvalidNumber
from trade_core.money import parse_decimal
from trade_core.tls import tls_context
from trade_watchdog.ceiling import EquitySample
from trade_watchdog.http_session import bounded_session
from trade_watchdog.identity import ExchangeKey

REQUEST_TIMEOUT_S: Final = 4
RECEIVE_WINDOW_MS: Final = 5000
CONNECTIONS_MAX: Final = 4
ANSWER_BYTES_MAX: Final = 1024 * 1024
"""A balance of a thousand coins; nothing else that is read is longer."""
MARK_HEADER: Final = "x-trade-environment"
MARK: Final = "SIMULATED"
_TIME_MS_MAX: Final = 2**53


class NotSimulated(ConfigurationError):
    """The exchange answers, but not as a simulated one: nothing is read from it."""


class KeyRefusedByExchange(ConfigurationError):
    """The exchange knows the request and refuses the key itself; waiting does not help."""


class WatchedExchange:
    """A reading connection to one account."""

    def __init__(self, *, url: str, key: ExchangeKey, clock: Clock) -> None:
        """Prepare the client; must be called inside the event loop that uses it."""
        self._clock = clock
        self._session = bounded_session(
            timeout_s=REQUEST_TIMEOUT_S, connections_max=CONNECTIONS_MAX, answer_bytes_max=ANSWER_BYTES_MAX
        )
        self._client = ccxt.bybit(
            {
                "apiKey": key.key.reveal(),
                "secret": key.secret.reveal(),
                "timeout": REQUEST_TIMEOUT_S * 1000,
                "enableRateLimit": True,
                "session": self._session,
                "ssl_context": tls_context(),  # else ccxt reads a context of its own, for nothing
                "options": {"recvWindow": RECEIVE_WINDOW_MS, "adjustForTimeDifference": False},
            }
        )
        self._client.urls["api"] = dict.fromkeys(self._client.urls["api"], url)

    async def check_environment(self) -> None:
        """Ask for the time without the key. Raises NotSimulated, ExchangeUnavailable, ExchangeAnswerInvalid."""
        await self._answer(self._client.publicGetV5MarketTime())

    async def key_information(self) -> Mapping[str, Any]:
        """Ask the exchange what our key is and may. Raises as check_environment, and KeyRefusedByExchange."""
        return _result(await self._answer(self._client.privateGetV5UserQueryApi()))

    async def equity(self) -> EquitySample:
        """Read the account's total equity. Raises as key_information.

        Source: Bybit V5 "Get Wallet Balance": result.list[0].totalEquity, text in USD terms; time in ms.
        """
        answer = await self._answer(self._client.privateGetV5AccountWalletBalance({"accountType": "UNIFIED"}))
        return EquitySample(
            equity_usdt=_total_equity(_result(answer)),
            exchange_time_ms=_time_ms(answer),
            received_wall_ns=self._clock.wall_ns(),
            received_monotonic_ns=self._clock.monotonic_ns(),
        )

    async def close(self) -> None:
        """Close the connections."""
        self._client.timeout_on_exit = 0
        await self._client.close()
        await self._session.close()

    async def _answer(self, request: Awaitable[Any]) -> Mapping[str, Any]:
        try:
            answer = await request
        except (ccxt.AuthenticationError, ccxt.PermissionDenied) as error:
            self._check_mark()
            raise KeyRefusedByExchange(f"the exchange refuses the key: {type(error).__name__}") from None
        except (ccxt.NetworkError, TimeoutError) as error:
            raise ExchangeUnavailable(f"the exchange does not answer: {type(error).__name__}") from None
        except ccxt.BaseError as error:
            # Its text holds the exchange's whole answer, which is foreign; its type says enough.
            raise ExchangeAnswerInvalid(f"the exchange answers an error: {type(error).__name__}") from None
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise ExchangeAnswerInvalid(f"not an answer of the exchange: {type(error).__name__}") from None
        self._check_mark()
        if not isinstance(answer, Mapping):
            raise ExchangeAnswerInvalid("not an answer of the exchange: no JSON object")
        return answer

    def _check_mark(self) -> None:
        headers = self._client.last_response_headers
        values = [value for name, value in (headers or {}).items() if str(name).lower() == MARK_HEADER]
        if values != [MARK]:
            raise NotSimulated(
                "the exchange does not say that it is simulated (no header X-Trade-Environment: SIMULATED); "
                "check the setting exchange_url"
            )


def _result(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    result = answer.get("result")
    if not isinstance(result, Mapping):
        raise ExchangeAnswerInvalid("the answer has no result")
    return result


def _total_equity(result: Mapping[str, Any]) -> Decimal:
    accounts = result.get("list")
    if not isinstance(accounts, list) or len(accounts) != 1 or not isinstance(accounts[0], Mapping):
        raise ExchangeAnswerInvalid("the answer does not hold exactly one account")
    text = accounts[0].get("totalEquity")
    if not isinstance(text, str):
        raise ExchangeAnswerInvalid("totalEquity is not text")
    try:
        return parse_decimal(text)
    except InvalidNumber:
        raise ExchangeAnswerInvalid("totalEquity is not a plain number") from None


def _time_ms(answer: Mapping[str, Any]) -> int:
    value = answer.get("time")
    if type(value) is not int or not 0 < value < _TIME_MS_MAX:
        raise ExchangeAnswerInvalid("the answer has no time")
    return value
