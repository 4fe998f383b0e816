"""The account as the watchdog sees it, through ccxt, so that one bug cannot blind watchdog and gateway alike.

Guarantees
- It only reads: three private and two public GETs, by name; nothing here can place, cancel or move anything.
- Every answer must carry the mark of the simulated exchange, or must not when the exchange is none; no redirect is
  followed.
- Every request ends within REQUEST_TIMEOUT_S, and no answer is longer than ANSWER_BYTES_MAX.
- A long log is read at PAGES_PER_S at most: a sixth of what the exchange allows one address (600 requests in 5 s).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from decimal import Decimal
from typing import Any, Final

from trade_core.clock import Clock
from trade_core.closing import close_all
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable, InvalidNumber
from trade_core.money import parse_decimal, parse_exchange_decimal
from trade_core.tls import tls_context
from trade_core.trust.lease import COIN
from trade_watchdog.ccxt_parts import errors, exchange_class
from trade_watchdog.ceiling import CoinBalance, EquitySample
from trade_watchdog.equity import LogEntry, LogMark
from trade_watchdog.http_session import THROTTLE, bounded_session
from trade_watchdog.identity import ExchangeKey

_CLIENT: Final = exchange_class("bybit")
REQUEST_TIMEOUT_S: Final = 4
RECEIVE_WINDOW_MS: Final = 5000
CONNECTIONS_MAX: Final = 4
ANSWER_BYTES_MAX: Final = 1024 * 1024
"""A balance of a thousand coins; nothing else that is read is longer."""
MARK_HEADER: Final = "x-trade-environment"
MARK: Final = "SIMULATED"
_TIME_MS_MAX: Final = 2**53
COINS_MAX: Final = 50
"""Coins of one account; what is remembered of each must fit in one row of the watchdog's journal."""
NAME_CHARACTERS_MAX: Final = 64
PAGE_ENTRIES: Final = 50  # the exchange's own bound
PAGES_MAX: Final = 400
"""Of one reading of the log: 20,000 entries. A longer gap stays unexplained, and counts as loss or as a flow."""
PAGES_AT_ONCE: Final = 5
PAGES_PER_S: Final = 20
INDEX_APART: Final = Decimal("0.05")
"""As far as index and mark price of one answer may differ for it to be believed."""
LOG_WINDOW_MS: Final = 7 * 24 * 3600 * 1000
"""The longest time that one question may cover. Source: Bybit V5 "Get Transaction Log"."""


class OtherEnvironment(ConfigurationError):
    """The exchange answers, but is of another environment than this process: nothing is read from it."""


class KeyRefusedByExchange(ConfigurationError):
    """The exchange knows the request and refuses the key itself; waiting does not help."""


class WatchedExchange:
    """A reading connection to one account."""

    def __init__(self, *, url: str, is_simulated: bool, key: ExchangeKey, clock: Clock) -> None:
        """Prepare the client; must be called inside the event loop that uses it."""
        self._clock = clock
        self._is_simulated = is_simulated
        self._session = bounded_session(
            timeout_s=REQUEST_TIMEOUT_S, connections_max=CONNECTIONS_MAX, answer_bytes_max=ANSWER_BYTES_MAX
        )
        self._client = _CLIENT(
            {
                "apiKey": key.key.reveal(),
                "secret": key.secret.reveal(),
                "timeout": REQUEST_TIMEOUT_S * 1000,
                "enableRateLimit": True,
                "tokenBucket": THROTTLE,
                "session": self._session,
                "ssl_context": tls_context(),  # else ccxt reads a context of its own, for nothing
                "options": {"recvWindow": RECEIVE_WINDOW_MS, "adjustForTimeDifference": False},
            }
        )
        self._client.urls["api"] = dict.fromkeys(self._client.urls["api"], url)

    async def check_environment(self) -> None:
        """Ask for the time without the key. Raises OtherEnvironment, ExchangeUnavailable, ExchangeAnswerInvalid."""
        await self._answer(self._client.publicGetV5MarketTime())

    async def key_information(self) -> Mapping[str, Any]:
        """Ask the exchange what our key is and may. Raises as check_environment, and KeyRefusedByExchange."""
        return _result(await self._answer(self._client.privateGetV5UserQueryApi()))

    async def equity(self) -> EquitySample:
        """Read the account's total equity and its coins. Raises as key_information.

        Source: Bybit V5 "Get Wallet Balance": result.list[0].totalEquity, text in USD terms, and coin[]; time in ms.
        """
        answer = await self._answer(self._client.privateGetV5AccountWalletBalance({"accountType": "UNIFIED"}))
        account = _only_account(_result(answer))
        return EquitySample(
            equity_usdt=_total_equity(account),
            coins=_coins(account),
            exchange_time_ms=answer_time_ms(answer),
            received_wall_ns=self._clock.wall_ns(),
            received_monotonic_ns=self._clock.monotonic_ns(),
        )

    async def index_price(self, coin: str) -> Decimal:
        """Read what a coin is worth in USDT by the index of its linear contract.

        Raises as equity, and ExchangeAnswerInvalid without a contract, ExchangeUnavailable while index and mark price
        are apart. Source: Bybit V5 "Get Tickers": result.list[0].indexPrice and markPrice, text.
        """
        question = {"category": "linear", "symbol": f"{coin}USDT"}
        tickers = _objects(_result(await self._answer(self._client.publicGetV5MarketTickers(question))), "list")
        if len(tickers) != 1:
            raise ExchangeAnswerInvalid(f"{coin} has no contract")
        index, mark = _number(tickers[0], "indexPrice"), _number(tickers[0], "markPrice")
        if index <= 0:
            raise ExchangeAnswerInvalid(f"{coin} has no index price")
        if abs(mark - index) > INDEX_APART * index:
            raise ExchangeUnavailable(f"index and mark price of {coin} are apart")
        return index

    async def newest_mark(self) -> LogMark:
        """Return the newest entry of the transaction log, or the time at which there was none. Raises as equity."""
        answer = await self._log_page({"limit": 1})
        entries = _entries(_result(answer))
        if not entries:
            return LogMark(entry_id="", at_ms=answer_time_ms(answer))
        return LogMark(entry_id=entries[0].entry_id, at_ms=entries[0].at_ms)

    async def log_since(self, from_ms: int, *, until_ms: int) -> list[LogEntry]:
        """Read the log's entries of this time (UTC ms, both ends included), oldest first. Raises as equity.

        Source: Bybit V5 "Get Transaction Log": newest first, PAGE_ENTRIES a page, nextPageCursor "" at the end.
        """
        entries: list[LogEntry] = []
        pages = 0
        end_ms = until_ms
        while end_ms >= from_ms and pages < PAGES_MAX:
            start_ms = max(from_ms, end_ms - LOG_WINDOW_MS + 1)
            cursor = ""
            while pages < PAGES_MAX:
                if pages >= PAGES_AT_ONCE:
                    await asyncio.sleep(1 / PAGES_PER_S)
                pages += 1
                question = {"startTime": start_ms, "endTime": end_ms, "limit": PAGE_ENTRIES}
                result = _result(await self._log_page(question | ({"cursor": cursor} if cursor else {})))
                entries += _entries(result)
                cursor = _cursor(result)
                if not cursor:
                    break
            end_ms = start_ms - 1
        entries.reverse()
        return entries

    async def _log_page(self, question: Mapping[str, int | str]) -> Mapping[str, Any]:
        return await self._answer(
            self._client.privateGetV5AccountTransactionLog({"accountType": "UNIFIED", **question})
        )

    async def close(self) -> None:
        """Close the connections."""
        self._client.timeout_on_exit = 0
        await close_all(self._client.close, self._session.close)

    async def _answer(self, request: Awaitable[Any]) -> Mapping[str, Any]:
        try:
            answer = await request
        except (errors.AuthenticationError, errors.PermissionDenied) as error:
            self._check_mark()
            raise KeyRefusedByExchange(f"the exchange refuses the key: {type(error).__name__}") from None
        except (errors.NetworkError, TimeoutError) as error:
            raise ExchangeUnavailable(f"the exchange does not answer: {type(error).__name__}") from None
        except errors.BaseError as error:
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
        if self._is_simulated and values != [MARK]:
            raise OtherEnvironment(
                "the exchange does not say that it is simulated (no header X-Trade-Environment: SIMULATED); "
                "check the setting exchange_url"
            )
        if not self._is_simulated and values:
            raise OtherEnvironment("the exchange says that it is simulated, which this environment is not")


def _result(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    result = answer.get("result")
    if not isinstance(result, Mapping):
        raise ExchangeAnswerInvalid("the answer has no result")
    return result


def _only_account(result: Mapping[str, Any]) -> Mapping[str, Any]:
    accounts = result.get("list")
    if not isinstance(accounts, list) or len(accounts) != 1 or not isinstance(accounts[0], Mapping):
        raise ExchangeAnswerInvalid("the answer does not hold exactly one account")
    return accounts[0]


def _total_equity(account: Mapping[str, Any]) -> Decimal:
    text = account.get("totalEquity")
    if not isinstance(text, str):
        raise ExchangeAnswerInvalid("totalEquity is not text")
    try:
        return parse_decimal(text)
    except InvalidNumber:
        raise ExchangeAnswerInvalid("totalEquity is not a plain number") from None


def _coins(account: Mapping[str, Any]) -> tuple[CoinBalance, ...]:
    items = _objects(account, "coin")
    if len(items) > COINS_MAX:
        raise ExchangeAnswerInvalid(f"the account holds {len(items)} coins, at most {COINS_MAX} can be followed")
    coins = tuple(
        CoinBalance(
            coin=_coin(item, "coin"),
            wallet_balance=_number(item, "walletBalance"),
            equity=_number(item, "equity"),
            value_usdt=_number(item, "usdValue"),
        )
        for item in items
    )
    if len({coin.coin for coin in coins}) != len(coins):
        raise ExchangeAnswerInvalid("the account names a coin twice")
    return coins


def _entries(result: Mapping[str, Any]) -> list[LogEntry]:
    return [
        LogEntry(
            entry_id=_name(item, "id"),
            kind=_name(item, "type"),
            coin=_coin(item, "currency"),
            change=_number(item, "change"),
            at_ms=_text_time_ms(item),
        )
        for item in _objects(result, "list")
    ]


def _objects(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = holder.get(name)
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ExchangeAnswerInvalid(f"{name} is not a list of objects")
    return items


def _name(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS_MAX or not value.isprintable():
        raise ExchangeAnswerInvalid(f"{key} is not a name")
    return value


def _coin(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or COIN.fullmatch(value) is None:
        raise ExchangeAnswerInvalid(f"{key} is not the name of a coin")
    return value


def _number(item: Mapping[str, Any], key: str) -> Decimal:
    try:
        return parse_exchange_decimal(item.get(key))
    except InvalidNumber:
        raise ExchangeAnswerInvalid(f"{key} is not a plain number") from None


def _cursor(result: Mapping[str, Any]) -> str:
    value = result.get("nextPageCursor", "")
    if not isinstance(value, str):
        raise ExchangeAnswerInvalid("nextPageCursor is not text")
    return value


def _text_time_ms(item: Mapping[str, Any]) -> int:
    value = item.get("transactionTime")
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or int(value[:20]) >= _TIME_MS_MAX:
        raise ExchangeAnswerInvalid("transactionTime is not a time")
    return int(value)


def answer_time_ms(answer: Mapping[str, Any]) -> int:
    """Take the exchange's time out of an answer, UTC milliseconds. Raises ExchangeAnswerInvalid."""
    value = answer.get("time")
    if type(value) is not int or not 0 < value < _TIME_MS_MAX:
        raise ExchangeAnswerInvalid("the answer has no time")
    return value
