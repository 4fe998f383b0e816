"""Another venue's order book, read through ccxt: public, without a key, one small request a coin.

Guarantees
- It only reads, and holds no credential: nothing here could trade anywhere.
- Live hosts are ccxt's own constants, over TLS. In the simulated environment the address is a loopback one that must
  mark each answer as simulated.
- Every request ends within REQUEST_TIMEOUT_S; answers are bounded; no redirect is followed.
- Whatever a venue answers becomes a Quote or a QuoteFinding; nothing it says can end the process.

The pairs are made from the coin's name, not from the venue's list of markets: that list is megabytes long, and a coin
that is called otherwise there must not be taken for ours.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from trade_core.clock import Clock
from trade_core.closing import close_all
from trade_core.errors import ConfigurationError
from trade_core.tls import tls_context
from trade_watchdog.ccxt_parts import errors, exchange_class
from trade_watchdog.exchange import MARK, MARK_HEADER, OtherEnvironment
from trade_watchdog.http_session import THROTTLE, bounded_session
from trade_watchdog.quotes import Quote, QuoteFinding

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

REQUEST_TIMEOUT_S: Final = 4
CONNECTIONS_MAX: Final = 4
ANSWER_BYTES_MAX: Final = 64 * 1024
"""A book of twenty levels has some kilobytes. A long one would be taken apart on the loop that sends the leases."""
QUOTE_COIN: Final = "USDT"
_TIME_MS_MAX: Final = 2**53
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Venue:
    """How a venue names the USDT pair of a coin, and the fewest levels of a book that it gives out."""

    pair: str
    levels: int


VENUES: Final[Mapping[str, _Venue]] = MappingProxyType(
    {
        "okx": _Venue(pair="{coin}-USDT", levels=1),
        "kucoin": _Venue(pair="{coin}-USDT", levels=20),
        "bitget": _Venue(pair="{coin}USDT", levels=1),
        "bybit": _Venue(pair="{coin}USDT", levels=1),
    }
)
"""Venues whose public order book carries the time that it is of; Binance's and Kraken's do not."""


class SecondVenue:
    """A reading connection to one venue."""

    def __init__(self, *, name: str, url: str | None, clock: Clock) -> None:
        """Prepare the client inside the event loop that uses it. `url` None means the venue's own hosts.

        Raises ConfigurationError when those would not be asked over TLS.
        """
        self.name = name
        self._venue = VENUES[name]
        self._clock = clock
        client_class = exchange_class(name)
        if url is None and not all(
            address.startswith("https://") for address in _addresses(client_class().urls["api"])
        ):
            raise ConfigurationError(f"second_venue: the hosts of {name} are not asked over TLS")
        self._session = bounded_session(
            timeout_s=REQUEST_TIMEOUT_S,
            connections_max=CONNECTIONS_MAX,
            answer_bytes_max=ANSWER_BYTES_MAX,
            check_headers=None if url is None else _check_mark,
        )
        self._client = client_class(
            {
                "timeout": REQUEST_TIMEOUT_S * 1000,
                "enableRateLimit": True,
                "tokenBucket": THROTTLE,
                "session": self._session,
                "ssl_context": tls_context(),
            }
        )
        self._client.parse_order_book_bid_ask = _exact_level
        if url is not None:
            self._client.urls["api"] = dict.fromkeys(self._client.urls["api"], url)
        self._known: frozenset[str] = frozenset()

    async def quote(self, coin: str) -> Quote | QuoteFinding:
        """Ask for the best bid and ask of a coin in USDT; never raises for what the venue does."""
        asked_wall_ns, asked_monotonic_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        try:
            self._know(coin)
            book = await self._client.fetch_order_book(f"{coin}/{QUOTE_COIN}", self._venue.levels)
            return Quote(
                bid=_best(book, "bids"),
                ask=_best(book, "asks"),
                venue_time_ms=_time_ms(book),
                asked_wall_ns=asked_wall_ns,
                asked_monotonic_ns=asked_monotonic_ns,
                answered_wall_ns=self._clock.wall_ns(),
            )
        except OtherEnvironment:
            return QuoteFinding.NOT_SIMULATED
        except errors.BadRequest:  # BadSymbol is one
            return QuoteFinding.PAIR_REFUSED
        except (errors.NetworkError, TimeoutError):
            return QuoteFinding.UNAVAILABLE
        except Exception as error:  # noqa: BLE001 - foreign data through a foreign library; what it says is no price
            _log.debug("quote of %s at %s: %s", coin, self.name, type(error).__name__)
            return QuoteFinding.UNREADABLE

    async def close(self) -> None:
        """Close the connections."""
        self._client.timeout_on_exit = 0
        await close_all(self._client.close, self._session.close)

    def _know(self, coin: str) -> None:
        """Tell ccxt of a coin's market, so that it never asks for the list of them."""
        if coin in self._known:
            return
        self._known |= {coin}
        self._client.set_markets([self._market(one) for one in sorted(self._known)])

    def _market(self, coin: str) -> dict[str, Any]:
        return {
            "id": self._venue.pair.format(coin=coin),
            "symbol": f"{coin}/{QUOTE_COIN}",
            "base": coin,
            "quote": QUOTE_COIN,
            "baseId": coin,
            "quoteId": QUOTE_COIN,
            "type": "spot",
            "spot": True,
            "contract": False,
            "active": True,
        }


def _exact_level(level: Any, price_key: int = 0, _amount_key: int = 1, _count_key: int = 2) -> list[Decimal]:
    """Read the price of a level, in place of ccxt's own way, which makes a float of it.

    Raises TypeError or decimal.InvalidOperation for what is no number in text, LookupError for what is no level.
    """
    text = level[price_key]
    if not isinstance(text, str):
        raise TypeError("a price must be text")
    return [Decimal(text)]


def _check_mark(headers: CIMultiDictProxy[str]) -> None:
    if headers.getall(MARK_HEADER, []) != [MARK]:
        raise OtherEnvironment("the second venue does not say that it is simulated; check the setting second_venue_url")


def _addresses(urls: object) -> Iterator[str]:
    pending = [urls]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            pending.extend(item.values())
        else:
            yield str(item)


def _best(book: Mapping[str, list[list[Decimal]]], side: str) -> Decimal | None:
    levels = book[side]
    return levels[0][0] if levels else None


def _time_ms(book: Mapping[str, Any]) -> int | None:
    value = book.get("timestamp")
    return value if type(value) is int and 0 < value < _TIME_MS_MAX else None
