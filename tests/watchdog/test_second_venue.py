"""The second venue: real ccxt against small venues that speak their own protocols, and misbehave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import ccxt.async_support as ccxt
import pytest

from trade_core.clock import SystemClock
from trade_core.errors import ConfigurationError
from trade_watchdog import second_venue
from trade_watchdog.quotes import Quote, QuoteFinding
from trade_watchdog.second_venue import VENUES, SecondVenue

PATHS = {
    "okx": "/api/v5/market/books",
    "kucoin": "/api/v1/market/orderbook/level2_20",
    "bitget": "/api/v2/spot/market/orderbook",
    "bybit": "/v5/market/orderbook",
}


@asynccontextmanager
async def asking(double: Any, name: str = "bybit") -> AsyncIterator[SecondVenue]:
    made = SecondVenue(name=name, url=double.url, clock=SystemClock())
    try:
        yield made
    finally:
        await made.close()


async def quoted(double: Any, coin: str = "BTC", *, name: str = "bybit") -> Quote | QuoteFinding:
    async with asking(double, name) as made:
        return await made.quote(coin)


def json_answer(body: bytes, *, status: int = 200, mark: str = "SIMULATED") -> tuple[int, dict[str, str], bytes]:
    return status, {"content-type": "application/json", "X-Trade-Environment": mark}, body


@pytest.mark.parametrize("name", sorted(VENUES))
async def test_quote_is_read_exactly_with_the_venue_s_time(venue: Any, name: str) -> None:
    venue.books["BTC"] = ("64000.123456789", "64001.5")
    before_ms = time.time_ns() // 1_000_000
    quote = await quoted(venue, name=name)
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.ask) == (Decimal("64000.123456789"), Decimal("64001.5"))
    assert quote.venue_time_ms is not None
    assert before_ms <= quote.venue_time_ms <= time.time_ns() // 1_000_000
    assert quote.asked_wall_ns <= quote.answered_wall_ns


@pytest.mark.parametrize("name", sorted(VENUES))
async def test_quote_is_one_public_request_a_coin_and_no_list_of_markets(venue: Any, name: str) -> None:
    async with asking(venue, name) as made:
        await made.quote("BTC")
        await made.quote("ETH")
        await made.quote("BTC")
    assert [(method, path) for method, path, _headers, _body in venue.requests] == [("GET", PATHS[name])] * 3
    for _method, _path, headers, _body in venue.requests:
        assert not [header for header in headers if "key" in header or "sign" in header or header == "authorization"]


@pytest.mark.parametrize("name", sorted(VENUES))
async def test_quote_of_a_pair_that_the_venue_does_not_list_is_no_quote(venue: Any, name: str) -> None:
    found = await quoted(venue, "NOPE", name=name)
    assert found in {QuoteFinding.PAIR_REFUSED, QuoteFinding.UNREADABLE}


@pytest.mark.parametrize("name", sorted(VENUES))
@pytest.mark.parametrize(("bid", "ask"), [(None, "1"), ("1", None), (None, None), ("x", "1"), ("1", ""), ({}, "1")])
async def test_quote_of_half_a_book_or_of_nonsense_has_no_price(venue: Any, name: str, bid: Any, ask: Any) -> None:
    venue.books["BTC"] = (bid, ask)
    found = await quoted(venue, name=name)
    assert found is QuoteFinding.UNREADABLE or (isinstance(found, Quote) and None in {found.bid, found.ask})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"<html>",
        b"{",
        b"\xff\xfe",
        b"{}",
        b'{"retCode":0}',
        b'{"retCode":0,"result":null}',
        b'{"retCode":0,"result":{"b":null,"a":null,"ts":1}}',
        b'{"retCode":0,"result":{"b":[null],"a":[[]],"ts":1}}',
        b'{"retCode":0,"result":{"b":{"x":1},"a":7,"ts":"x"}}',
        b"[" * 100_000,
    ],
)
async def test_answer_that_is_no_order_book_is_no_quote(venue: Any, body: bytes) -> None:
    venue.override = json_answer(body)
    found = await quoted(venue)
    assert found is QuoteFinding.UNREADABLE or (isinstance(found, Quote) and found.bid is None)


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
async def test_answer_with_an_error_status_is_no_quote(venue: Any, status: int) -> None:
    venue.override = json_answer(b"busy", status=status)
    assert await quoted(venue) in {QuoteFinding.UNAVAILABLE, QuoteFinding.UNREADABLE}


async def test_venue_that_is_down_is_unavailable(venue: Any) -> None:
    await venue.stop()
    assert await quoted(venue) is QuoteFinding.UNAVAILABLE


async def test_venue_that_hangs_is_unavailable_in_time(venue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_venue, "REQUEST_TIMEOUT_S", 0.2)
    venue.is_hanging = True
    async with asyncio.timeout(60):
        assert await quoted(venue) is QuoteFinding.UNAVAILABLE


@pytest.mark.parametrize("mark", ["", "simulated", "LIVE"])
async def test_venue_without_the_mark_of_a_simulated_one_is_not_believed(venue: Any, mark: str) -> None:
    venue.mark = {"X-Trade-Environment": mark}
    assert await quoted(venue) is QuoteFinding.NOT_SIMULATED
    venue.mark = {}
    assert await quoted(venue) is QuoteFinding.NOT_SIMULATED


async def test_redirect_is_not_followed(venue: Any, exchange: Any) -> None:
    venue.override = (302, {"location": exchange.url, "X-Trade-Environment": "SIMULATED"}, b"")
    assert await quoted(venue) in {QuoteFinding.UNAVAILABLE, QuoteFinding.UNREADABLE}
    assert exchange.requests == []


@pytest.mark.parametrize(("excess", "is_read"), [(0, True), (1, False)])
async def test_answer_is_bounded(venue: Any, monkeypatch: pytest.MonkeyPatch, excess: int, *, is_read: bool) -> None:
    body = b'{"retCode":0,"result":{"b":[["1","1"]],"a":[["1.001","1"]],"ts":1},"time":1}'
    monkeypatch.setattr(second_venue, "ANSWER_BYTES_MAX", len(body) - excess)
    venue.override = json_answer(body)
    found = await quoted(venue)
    assert isinstance(found, Quote) if is_read else found is QuoteFinding.UNREADABLE


@pytest.mark.parametrize("text", ["1e3", "1E-7", "NaN", "Infinity", "-5", "0"])
async def test_numbers_are_told_as_they_are_and_judged_elsewhere(venue: Any, text: str) -> None:
    venue.books["BTC"] = (text, text)
    found = await quoted(venue)
    assert found is QuoteFinding.UNREADABLE or (isinstance(found, Quote) and str(found.bid) == str(Decimal(text)))


@pytest.mark.parametrize("name", sorted(VENUES))
async def test_live_hosts_are_ccxt_s_own_over_tls(name: str) -> None:
    made = SecondVenue(name=name, url=None, clock=SystemClock())
    own = getattr(ccxt, name)()
    try:
        assert made._client.urls["api"] == own.urls["api"]
        assert all(address.startswith("https://") for address in second_venue._addresses(own.urls["api"]))
    finally:
        await own.close()
        await made.close()


async def test_live_host_without_tls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(ccxt.bybit):  # type: ignore[misc]
        def describe(self) -> Any:
            return self.deep_extend(super().describe(), {"urls": {"api": {"public": {"rest": "http://api.example"}}}})

    monkeypatch.setattr(second_venue, "exchange_class", {"bybit": Plain}.__getitem__)
    with pytest.raises(ConfigurationError, match="not asked over TLS"):
        SecondVenue(name="bybit", url=None, clock=SystemClock())
