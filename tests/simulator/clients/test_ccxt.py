"""Unmodified ccxt, sync, async and pro, against a real simulator process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest
from simulator.support import Simulation

pytestmark = pytest.mark.slow

SPOT, LINEAR = "BTC/USDT", "BTC/USDT:USDT"
# A fetch that watches for a fill asks this often at most.
POLLS = 200


def options(simulation: Simulation) -> dict[str, Any]:
    """Point a ccxt exchange at the simulator with settings alone."""
    url, ws = simulation.url, simulation.ws
    key = simulation.keys["client"]
    public = {kind: f"{ws}/v5/public/{kind}" for kind in ("spot", "linear", "inverse", "option")}
    private = {
        "spot": {"unified": f"{ws}/v5/private", "nonUnified": f"{ws}/v5/private"},
        "contract": f"{ws}/v5/private",
        "usdc": f"{ws}/v5/private",
        "trade": f"{ws}/v5/trade",
    }
    api = dict.fromkeys(("spot", "futures", "v2", "public", "private"), url)
    return {
        "apiKey": key.key,
        "secret": key.secret,
        "enableRateLimit": False,
        "urls": {"api": {**api, "ws": {"public": public, "private": private}}},
    }


@pytest.fixture(scope="module")
def exchange(simulation: Simulation) -> Iterator[ccxt.bybit]:
    made = ccxt.bybit(options(simulation))
    made.load_markets()
    yield made
    made.session.close()


@pytest.fixture
async def async_exchange(simulation: Simulation) -> AsyncIterator[ccxt.async_support.bybit]:
    made = ccxt.async_support.bybit(options(simulation))
    yield made
    await made.close()


@pytest.fixture
async def pro(simulation: Simulation) -> AsyncIterator[Any]:
    made = ccxt.pro.bybit(options(simulation))
    await made.load_markets()
    yield made
    await made.close()


def low_price(exchange: Any, symbol: str, book: dict[str, Any]) -> float:
    """A buy price 1 % below the market: it rests."""
    return float(exchange.price_to_precision(symbol, book["bids"][0][0] * 0.99))


class TestSync:
    """The sync class, as freqtrade uses it for orders."""

    def test_markets_are_the_listed_ones(self, exchange: ccxt.bybit) -> None:
        bases = ("BTC", "ETH", "XRP")
        expected = {f"{base}/USDT" for base in bases} | {f"{base}/USDT:USDT" for base in bases}
        assert set(exchange.symbols) == expected
        market = exchange.market(LINEAR)
        assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.001)
        assert market["limits"]["cost"]["min"] == 5

    @pytest.mark.parametrize("symbol", [SPOT, LINEAR])
    def test_market_data_is_read(self, exchange: ccxt.bybit, symbol: str) -> None:
        assert exchange.fetch_ticker(symbol)["last"] > 0
        book = exchange.fetch_order_book(symbol, limit=50)
        assert book["bids"][0][0] < book["asks"][0][0]
        candles = exchange.fetch_ohlcv(symbol, "5m", limit=1000)
        assert len(candles) == 1000
        assert all(later[0] - earlier[0] == 300_000 for earlier, later in itertools.pairwise(candles))
        assert exchange.fetch_trades(symbol, limit=10) is not None

    def test_tickers_of_both_kinds_are_read(self, exchange: ccxt.bybit) -> None:
        assert len(exchange.fetch_tickers(["BTC/USDT", "ETH/USDT"])) == 2
        assert len(exchange.fetch_tickers([LINEAR])) == 1

    def test_funding_and_leverage_tiers_are_read(self, exchange: ccxt.bybit) -> None:
        assert exchange.fetch_funding_rate(LINEAR)["fundingRate"] is not None
        assert exchange.fetch_funding_rate_history(LINEAR, limit=3)
        assert exchange.fetch_market_leverage_tiers(LINEAR)[0]["maxLeverage"] == 100
        assert exchange.fetch_open_interest_history(LINEAR, "1h", limit=3)

    @pytest.mark.parametrize(("symbol", "amount"), [(SPOT, 0.001), (LINEAR, 0.01)])
    def test_limit_order_is_created_edited_fetched_and_cancelled(
        self, exchange: ccxt.bybit, symbol: str, amount: float
    ) -> None:
        price = low_price(exchange, symbol, exchange.fetch_order_book(symbol))
        order = exchange.create_order(symbol, "limit", "buy", amount, price, {"timeInForce": "PO"})
        opened = exchange.fetch_open_orders(symbol)
        assert order["id"] in {one["id"] for one in opened}
        exchange.edit_order(order["id"], symbol, "limit", "buy", amount, price - 10)
        fetched = exchange.fetch_order(order["id"], symbol, {"acknowledged": True})
        assert (fetched["status"], fetched["price"], fetched["amount"]) == ("open", price - 10, amount)
        assert fetched["postOnly"] is True
        exchange.cancel_order(order["id"], symbol)
        fetched = exchange.fetch_order(order["id"], symbol, {"acknowledged": True})
        assert (fetched["status"], fetched["filled"]) == ("canceled", 0)
        assert order["id"] in {one["id"] for one in exchange.fetch_canceled_orders(symbol)}

    @pytest.mark.parametrize(("symbol", "amount"), [(SPOT, 0.001), (LINEAR, 0.01)])
    def test_post_only_order_that_crosses_ends_cancelled(
        self, exchange: ccxt.bybit, symbol: str, amount: float
    ) -> None:
        ask = exchange.fetch_order_book(symbol)["asks"][0][0]
        price = float(exchange.price_to_precision(symbol, ask * 1.01))
        order = exchange.create_order(symbol, "limit", "buy", amount, price, {"postOnly": True})
        fetched = exchange.fetch_order(order["id"], symbol, {"acknowledged": True})
        assert (fetched["status"], fetched["filled"]) == ("canceled", 0)
        assert fetched["info"]["rejectReason"] == "EC_PostOnlyWillTakeLiquidity"

    def test_order_at_the_best_price_is_filled_as_maker(self, exchange: ccxt.bybit) -> None:
        """Synthetic takers reach the best price; an order that has been left behind follows it."""
        symbol = "XRP/USDT"
        order = None
        for _ in range(POLLS):
            if order is None:
                bid = exchange.fetch_order_book(symbol, limit=1)["bids"][0][0]
                order = exchange.create_order(symbol, "limit", "buy", 10, bid, {"timeInForce": "PO"})
            fetched = exchange.fetch_order(order["id"], symbol, {"acknowledged": True})
            if fetched["status"] == "closed":
                break
            if fetched["status"] == "canceled":
                order = None
                continue
            bid = exchange.fetch_order_book(symbol, limit=1)["bids"][0][0]
            if bid > fetched["price"]:
                exchange.edit_order(order["id"], symbol, "limit", "buy", 10, bid)
            exchange.sleep(100)
        assert order is not None
        trades = exchange.fetch_order_trades(order["id"], symbol)
        assert {trade["takerOrMaker"] for trade in trades} == {"maker"}
        assert sum(trade["amount"] for trade in trades) == pytest.approx(10)

    def test_balance_and_my_trades_agree_with_a_market_order(self, exchange: ccxt.bybit) -> None:
        before = exchange.fetch_balance()["ETH"]["total"]
        order = exchange.create_order("ETH/USDT", "market", "sell", 0.1)
        assert exchange.fetch_balance()["ETH"]["total"] == pytest.approx(before - 0.1)
        trades = [trade for trade in exchange.fetch_my_trades("ETH/USDT") if trade["order"] == order["id"]]
        assert sum(trade["amount"] for trade in trades) == pytest.approx(0.1)
        assert {trade["fee"]["currency"] for trade in trades} == {"USDT"}

    def test_linear_position_with_leverage_and_stop(self, exchange: ccxt.bybit) -> None:
        symbol = "ETH/USDT:USDT"
        exchange.set_margin_mode("isolated", symbol)
        exchange.set_position_mode(False, symbol)
        exchange.set_leverage(5, symbol)
        exchange.create_order(symbol, "market", "buy", 0.1)
        position = exchange.fetch_positions([symbol])[0]
        assert (position["side"], position["contracts"], position["leverage"]) == ("long", 0.1, 5)
        trigger = float(exchange.price_to_precision(symbol, position["entryPrice"] * 0.9))
        stop = exchange.create_order(
            symbol, "market", "sell", 0.1, None, {"stopLossPrice": trigger, "reduceOnly": True}
        )
        fetched = exchange.fetch_order(stop["id"], symbol, {"acknowledged": True})
        assert (fetched["status"], fetched["triggerPrice"]) == ("open", trigger)
        exchange.cancel_order(stop["id"], symbol)
        exchange.create_order(symbol, "market", "sell", 0.1, None, {"reduceOnly": True})
        assert exchange.fetch_positions([symbol])[0]["contracts"] in (0, None)
        exchange.set_margin_mode("cross", symbol)

    def test_cancel_all_orders_of_a_symbol(self, exchange: ccxt.bybit) -> None:
        price = low_price(exchange, LINEAR, exchange.fetch_order_book(LINEAR))
        for _ in range(3):
            exchange.create_order(LINEAR, "limit", "buy", 0.01, price)
        exchange.cancel_all_orders(LINEAR)
        assert exchange.fetch_open_orders(LINEAR) == []

    def test_errors_are_of_the_class_that_ccxt_maps(self, exchange: ccxt.bybit) -> None:
        with pytest.raises(ccxt.OrderNotFound):
            exchange.cancel_order("1", SPOT)
        with pytest.raises(ccxt.InsufficientFunds):
            exchange.create_order(SPOT, "limit", "sell", 80, exchange.fetch_ticker(SPOT)["last"])
        with pytest.raises(ccxt.BaseError):
            exchange.create_order(SPOT, "limit", "buy", 0.000011, 1)

    def test_ledger_and_fees_are_read(self, exchange: ccxt.bybit) -> None:
        assert exchange.fetch_trading_fee(SPOT)["maker"] == 0.001
        assert exchange.fetch_ledger("USDT")
        assert exchange.fetch_deposits("USDT") is not None

    def test_unknown_key_is_an_authentication_error(self, simulation: Simulation) -> None:
        stranger = ccxt.bybit(options(simulation) | {"apiKey": "unknown"})
        with pytest.raises(ccxt.AuthenticationError):
            stranger.fetch_balance()
        stranger.session.close()


class TestAsync:
    """The async class, as freqtrade uses it for candles."""

    async def test_markets_candles_and_orders(self, async_exchange: Any) -> None:
        await async_exchange.load_markets()
        candles = await asyncio.gather(
            *(async_exchange.fetch_ohlcv(symbol, "1m", limit=1000) for symbol in (SPOT, LINEAR))
        )
        assert [len(rows) for rows in candles] == [1000, 1000]
        price = low_price(async_exchange, SPOT, await async_exchange.fetch_order_book(SPOT))
        order = await async_exchange.create_order(SPOT, "limit", "buy", 0.001, price)
        assert order["id"] in {one["id"] for one in await async_exchange.fetch_open_orders(SPOT)}
        await async_exchange.cancel_order(order["id"], SPOT)
        assert (await async_exchange.fetch_balance())["USDT"]["free"] > 0

    async def test_older_candles_join_newer_ones(self, async_exchange: Any) -> None:
        newest = await async_exchange.fetch_ohlcv(SPOT, "1m", limit=500)
        since = newest[0][0] - 500 * 60_000
        older = await async_exchange.fetch_ohlcv(SPOT, "1m", since=since, limit=500)
        assert older[-1][0] == newest[0][0] - 60_000


class TestPro:
    """The streaming class: public data, private data, order entry."""

    @pytest.mark.parametrize("symbol", [SPOT, LINEAR])
    async def test_public_streams(self, pro: Any, symbol: str) -> None:
        async with asyncio.timeout(60):
            for _ in range(5):
                book = await pro.watch_order_book(symbol)
                assert book["bids"][0][0] < book["asks"][0][0]
            assert (await pro.watch_ticker(symbol))["last"] > 0
            assert await pro.watch_trades(symbol)
            assert await pro.watch_ohlcv(symbol, "1m")

    async def test_private_streams_and_order_entry(self, pro: Any) -> None:
        price = low_price(pro, LINEAR, await pro.fetch_order_book(LINEAR))
        async with asyncio.timeout(60):
            orders = asyncio.ensure_future(pro.watch_orders(LINEAR))
            await asyncio.sleep(0)
            order = None
            while not orders.done():
                # The subscription may come after the first order: place again until the stream tells of one.
                order = await pro.create_order_ws(LINEAR, "limit", "buy", 0.01, price)
                await asyncio.wait([orders], timeout=1)
            assert order is not None
            assert (await orders)[-1]["symbol"] == LINEAR
            edited = await pro.edit_order_ws(order["id"], LINEAR, "limit", "buy", 0.02, price)
            assert edited["id"] == order["id"]
            cancelled = await pro.cancel_order_ws(order["id"], LINEAR)
            assert cancelled["id"] == order["id"]
        await pro.cancel_all_orders(LINEAR)

    async def test_my_trades_positions_and_balance_are_watched(self, pro: Any) -> None:
        async with asyncio.timeout(60):
            watching = [
                asyncio.ensure_future(pro.watch_my_trades(LINEAR)),
                asyncio.ensure_future(pro.watch_positions([LINEAR])),
                asyncio.ensure_future(pro.watch_balance()),
            ]
            pending = set(watching)
            while pending:
                await pro.create_order(LINEAR, "market", "buy", 0.01)
                await pro.create_order(LINEAR, "market", "sell", 0.01, None, {"reduceOnly": True})
                _, pending = await asyncio.wait(pending, timeout=1)
            assert watching[0].result()[-1]["symbol"] == LINEAR
            assert watching[2].result()["USDT"]["total"] > 0
