"""The exchange connection: real ccxt against a small exchange that misbehaves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from trade_core.clock import SystemClock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import Secret
from trade_watchdog import exchange as exchange_module
from trade_watchdog.equity import LogMark
from trade_watchdog.exchange import KeyRefusedByExchange, OtherEnvironment, WatchedExchange
from trade_watchdog.http_session import THROTTLE
from trade_watchdog.identity import ExchangeKey

MARK = {"content-type": "application/json", "X-Trade-Environment": "SIMULATED"}


def connection(url: str, *, secret: str = "watchsecret") -> WatchedExchange:
    key = ExchangeKey(key=Secret("watchkey"), secret=Secret(secret))
    return WatchedExchange(url=url, is_simulated=True, key=key, clock=SystemClock())


@pytest_asyncio.fixture
async def watched(exchange: Any) -> AsyncIterator[WatchedExchange]:
    """Connect to the double."""
    made = connection(exchange.url)
    yield made
    await made.close()


async def test_equity_is_read_exactly_with_the_exchanges_time(watched: WatchedExchange, exchange: Any) -> None:
    exchange.equity = "4000.123456789"
    exchange.frozen_time_ms = 1_700_000_000_123
    sample = await watched.equity()
    assert sample.equity_usdt == Decimal("4000.123456789")
    assert sample.exchange_time_ms == 1_700_000_000_123
    assert sample.received_wall_ns > 0
    (coin,) = sample.coins
    assert (coin.coin, coin.wallet_balance) == ("USDT", Decimal("4000.5"))
    assert coin.equity == coin.value_usdt == Decimal("4000.123456789")


async def test_ccxt_looks_after_its_limit_at_the_pace_that_it_is_told(watched: WatchedExchange) -> None:
    assert watched._client.throttler.config["delay"] == THROTTLE["delay"]


async def test_only_the_named_reads_are_sent(watched: WatchedExchange, exchange: Any) -> None:
    await watched.check_environment()
    assert (await watched.key_information())["readOnly"] == 1
    await watched.equity()
    await watched.newest_mark()
    await watched.log_since(1, until_ms=2)
    exchange.tickers["BTCUSDT"] = [{"indexPrice": "5", "markPrice": "5"}]
    await watched.index_price("BTC")
    assert [(method, path) for method, path, _headers, _body in exchange.requests] == [
        ("GET", "/v5/market/time"),
        ("GET", "/v5/user/query-api"),
        ("GET", "/v5/account/wallet-balance"),
        ("GET", "/v5/account/transaction-log"),
        ("GET", "/v5/account/transaction-log"),
        ("GET", "/v5/market/tickers"),
    ]
    assert "x-bapi-api-key" not in exchange.requests[0][2]


@pytest.mark.parametrize(
    "equity",
    [None, "", "NaN", "nan", "Infinity", "1e3", "-5", 4000, 4000.5, "4,000", " 4000", "0x10", "1" * 20, [], {}],
)
async def test_equity_that_is_no_plain_number_is_invalid(
    watched: WatchedExchange, exchange: Any, equity: object
) -> None:
    exchange.equity = equity
    with pytest.raises(ExchangeAnswerInvalid):
        await watched.equity()


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        "text",
        None,
        {"retCode": 0},
        {"retCode": 0, "result": None, "time": 1},
        {"retCode": 0, "result": {"list": []}, "time": 1},
        {"retCode": 0, "result": {"list": [None]}, "time": 1},
        {"retCode": 0, "result": {"list": [{"totalEquity": "1"}, {"totalEquity": "2"}]}, "time": 1},
        {"retCode": 0, "result": {"list": [{"totalEquity": "1"}]}, "time": 1},
        {"retCode": 0, "result": {"list": [{"totalEquity": "1", "coin": []}]}},
        {"retCode": 0, "result": {"list": [{"totalEquity": "1", "coin": []}]}, "time": "1"},
        {"retCode": 0, "result": {"list": [{"totalEquity": "1", "coin": []}]}, "time": 1.5},
        {"retCode": 0, "result": {"list": [{"totalEquity": "1", "coin": []}]}, "time": 0},
        {"retCode": 10001, "retMsg": "params error", "result": {}, "time": 1},
    ],
)
async def test_answer_of_another_shape_is_invalid(watched: WatchedExchange, exchange: Any, document: Any) -> None:
    exchange.wallet_override = (200, MARK, json.dumps(document).encode())
    with pytest.raises(ExchangeAnswerInvalid):
        await watched.equity()


COIN = {"coin": "BTC", "walletBalance": "-0.5", "equity": "-0.4", "usdValue": "-20000.5"}


async def test_coins_may_be_owed(watched: WatchedExchange, exchange: Any) -> None:
    exchange.coins = [COIN]
    (coin,) = (await watched.equity()).coins
    assert (coin.wallet_balance, coin.equity, coin.value_usdt) == (
        Decimal("-0.5"),
        Decimal("-0.4"),
        Decimal("-20000.5"),
    )


@pytest.mark.parametrize(
    "coins",
    [
        None,
        {},
        [None],
        [{}],
        [COIN, COIN],
        *([{**COIN, name: bad}] for name in COIN for bad in (None, "", 1, [])),
        *([{**COIN, name: bad}] for name in ("walletBalance", "equity", "usdValue") for bad in ("NaN", "1e3", "x")),
        [{**COIN, "coin": "B" * 65}],
        [{**COIN, "coin": "B\n"}],
        [{**COIN, "coin": f"C{number}"} for number in range(51)],
    ],
)
async def test_coins_that_cannot_be_read_are_invalid(watched: WatchedExchange, exchange: Any, coins: Any) -> None:
    exchange.wallet_override = (
        200,
        MARK,
        json.dumps({"retCode": 0, "result": {"list": [{"totalEquity": "1", "coin": coins}]}, "time": 1}).encode(),
    )
    with pytest.raises(ExchangeAnswerInvalid):
        await watched.equity()


async def test_log_is_read_oldest_first_over_pages_and_weeks(
    watched: WatchedExchange, exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "PAGES_PER_S", 1000)
    week_ms = 7 * 24 * 3600 * 1000
    for number in range(120):
        exchange.entry("TRADE", f"-{number}.5", at_ms=1000 + number * (week_ms // 40))
    last_ms = 1000 + 119 * (week_ms // 40)
    entries = await watched.log_since(1000, until_ms=last_ms)
    assert [entry.entry_id for entry in entries] == [f"entry-{number}" for number in range(120)]
    assert (entries[3].kind, entries[3].coin, entries[3].change) == ("TRADE", "USDT", Decimal("-3.5"))
    assert entries[3].at_ms == 1000 + 3 * (week_ms // 40)
    assert len(await watched.log_since(1001, until_ms=last_ms - 1)) == 118
    assert await watched.log_since(last_ms + 1, until_ms=last_ms + 5) == []


async def test_log_longer_than_the_bound_is_cut(
    watched: WatchedExchange, exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "PAGES_MAX", 2)
    for _ in range(150):
        exchange.entry("TRADE", "1", at_ms=5)
    assert [entry.entry_id for entry in await watched.log_since(1, until_ms=9)] == [
        f"entry-{number}" for number in range(50, 150)
    ]


async def test_mark_is_the_newest_entry_or_the_time_without_one(watched: WatchedExchange, exchange: Any) -> None:
    exchange.frozen_time_ms = 77
    assert await watched.newest_mark() == LogMark(entry_id="", at_ms=77)
    exchange.entry("TRADE", "1", at_ms=5)
    exchange.entry("TRADE", "1", at_ms=6)
    assert await watched.newest_mark() == LogMark(entry_id="entry-1", at_ms=6)


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"type": None},
        {"currency": 5},
        {"change": "much"},
        {"change": ""},
        {"transactionTime": 5},
        {"transactionTime": "-5"},
        {"transactionTime": "5.0"},
        {"transactionTime": "9" * 19},
        {"transactionTime": "\u0665"},
    ],
)
async def test_log_entry_that_cannot_be_read_is_invalid(
    watched: WatchedExchange, exchange: Any, change: dict[str, Any]
) -> None:
    exchange.entry("TRADE", "1", at_ms=5).update(change)
    exchange.log_override = (
        200,
        MARK,
        json.dumps({"retCode": 0, "result": {"list": exchange.log, "nextPageCursor": ""}, "time": 1}).encode(),
    )
    with pytest.raises(ExchangeAnswerInvalid):
        await watched.log_since(1, until_ms=9)


@pytest.mark.parametrize("result", [{}, {"list": None}, {"list": ["x"]}, {"list": [], "nextPageCursor": 5}])
async def test_log_of_another_shape_is_invalid(watched: WatchedExchange, exchange: Any, result: Any) -> None:
    exchange.log_override = (200, MARK, json.dumps({"retCode": 0, "result": result, "time": 1}).encode())
    with pytest.raises(ExchangeAnswerInvalid):
        await watched.log_since(1, until_ms=9)


async def test_answer_that_is_not_json_is_invalid(watched: WatchedExchange, exchange: Any) -> None:
    exchange.wallet_override = (200, {**MARK, "content-type": "text/html"}, b"<html>busy</html>")
    with pytest.raises(ExchangeAnswerInvalid):
        await watched.equity()


@pytest.mark.parametrize("mark", [{}, {"X-Trade-Environment": "LIVE"}, {"X-Trade-Environment": "simulated"}])
async def test_exchange_without_the_mark_is_refused(
    watched: WatchedExchange, exchange: Any, mark: dict[str, str]
) -> None:
    exchange.mark = mark
    for read in (watched.check_environment, watched.key_information, watched.equity):
        with pytest.raises(OtherEnvironment):
            await read()


async def test_wrong_secret_is_refused_and_not_told(exchange: Any) -> None:
    wrong = connection(exchange.url, secret="another-secret")
    try:
        with pytest.raises(KeyRefusedByExchange) as caught:
            await wrong.key_information()
    finally:
        await wrong.close()
    assert "another-secret" not in str(caught.value)


async def test_redirect_is_not_followed(watched: WatchedExchange, exchange: Any) -> None:
    exchange.override = (302, {"location": exchange.url + "/stolen", **MARK}, b"")
    with pytest.raises(ExchangeAnswerInvalid):
        await watched.equity()
    assert [path for _method, path, _headers, _body in exchange.requests] == ["/v5/account/wallet-balance"]


@pytest.mark.parametrize("status", [403, 429, 500, 502, 503])
async def test_exchange_that_is_busy_or_broken_is_unavailable_or_invalid(
    watched: WatchedExchange, exchange: Any, status: int
) -> None:
    exchange.override = (status, {"content-type": "text/html"}, b"<html>no</html>")
    with pytest.raises((ExchangeUnavailable, ExchangeAnswerInvalid)):
        await watched.equity()


async def test_exchange_that_is_gone_is_unavailable_and_comes_back(watched: WatchedExchange, exchange: Any) -> None:
    await watched.equity()
    await exchange.stop()
    with pytest.raises(ExchangeUnavailable):
        await watched.equity()
    await exchange.start()
    assert (await watched.equity()).equity_usdt == Decimal("4000.5")


async def test_exchange_that_hangs_is_unavailable_in_time(exchange: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "REQUEST_TIMEOUT_S", 0.2)
    exchange.is_hanging = True
    watched = connection(exchange.url)
    try:
        with pytest.raises(ExchangeUnavailable):
            await watched.equity()
    finally:
        await watched.close()


@pytest.mark.parametrize(("excess", "is_read"), [(0, True), (1, False)])
async def test_answer_is_bounded(exchange: Any, monkeypatch: pytest.MonkeyPatch, excess: int, *, is_read: bool) -> None:
    document = {"retCode": 0, "retMsg": "OK", "result": {"list": [{"totalEquity": "7", "coin": []}]}, "time": 1}
    body = json.dumps(document).encode()
    monkeypatch.setattr(exchange_module, "ANSWER_BYTES_MAX", len(body) - excess)
    exchange.wallet_override = (200, MARK, body)
    made = connection(exchange.url)
    try:
        if is_read:
            assert (await made.equity()).equity_usdt == 7
        else:
            with pytest.raises(ExchangeAnswerInvalid):
                await made.equity()
    finally:
        await made.close()


@pytest.mark.parametrize("mark", ["95", "100", "105"])
async def test_index_price_is_that_of_the_linear_contract(watched: WatchedExchange, exchange: Any, mark: str) -> None:
    exchange.tickers["BTCUSDT"] = [{"indexPrice": "100", "markPrice": mark, "lastPrice": "1"}]
    assert await watched.index_price("BTC") == 100


@pytest.mark.parametrize("mark", ["94.9", "105.1", "0"])
async def test_index_price_that_the_mark_price_denies_is_not_to_be_had(
    watched: WatchedExchange, exchange: Any, mark: str
) -> None:
    exchange.tickers["BTCUSDT"] = [{"indexPrice": "100", "markPrice": mark}]
    with pytest.raises(ExchangeUnavailable, match="index and mark price of BTC are apart"):
        await watched.index_price("BTC")


@pytest.mark.parametrize(
    "tickers",
    [
        None,
        [],
        [{"indexPrice": "1", "markPrice": "1"}] * 2,
        [{"indexPrice": "", "markPrice": "1"}],
        [{"indexPrice": "0", "markPrice": "0"}],
        [{"indexPrice": "-1", "markPrice": "-1"}],
        [{"indexPrice": "NaN", "markPrice": "1"}],
        [{"markPrice": "1"}],
        "x",
    ],
)
async def test_index_price_of_no_contract_or_no_number_is_invalid(
    watched: WatchedExchange, exchange: Any, tickers: Any
) -> None:
    if tickers is not None:
        exchange.tickers["BTCUSDT"] = tickers
    with pytest.raises(ExchangeAnswerInvalid):
        await watched.index_price("BTC")
