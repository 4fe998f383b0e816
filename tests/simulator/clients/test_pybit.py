"""Unmodified pybit against a real simulator process: HTTP with both kinds of key, and all three streams."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pybit._websocket_trading as trading
import pybit.unified_trading as unified
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pybit.exceptions import InvalidRequestError
from pybit.unified_trading import HTTP, WebSocket, WebSocketTrading
from simulator.support import Key, Simulation, eventually

pytestmark = pytest.mark.slow


def session(simulation: Simulation, role: str) -> HTTP:
    key = simulation.keys[role]
    made = HTTP(api_key=key.key, api_secret=key.secret)
    made.endpoint = simulation.url
    return made


@pytest.fixture
def client(simulation: Simulation) -> Iterator[HTTP]:
    made = session(simulation, "client")
    yield made
    for category in ("spot", "linear"):
        made.cancel_all_orders(category=category, settleCoin="USDT") if category == "linear" else (
            made.cancel_all_orders(category=category)
        )
    made.client.close()


def best_bid(client: HTTP, category: str, symbol: str) -> Decimal:
    book = client.get_orderbook(category=category, symbol=symbol, limit=1)["result"]
    return Decimal(book["b"][0][0])


def resting_price(client: HTTP, category: str, symbol: str) -> str:
    """A buy price 1 % below the market: it rests, and no tick of ours reaches it soon."""
    return str((best_bid(client, category, symbol) * Decimal("0.99")).quantize(Decimal("1")))


@pytest.mark.parametrize("category", ["spot", "linear"])
def test_market_data_is_read(client: HTTP, category: str) -> None:
    assert abs(int(client.get_server_time()["result"]["timeSecond"]) - time.time()) < 5
    listed = client.get_instruments_info(category=category)["result"]["list"]
    assert {row["symbol"] for row in listed} == {"BTCUSDT", "ETHUSDT", "XRPUSDT"}
    candles = client.get_kline(category=category, symbol="BTCUSDT", interval="1", limit=1000)["result"]["list"]
    assert len(candles) == 1000
    book = client.get_orderbook(category=category, symbol="BTCUSDT", limit=50)["result"]
    assert Decimal(book["b"][0][0]) < Decimal(book["a"][0][0])
    assert client.get_tickers(category=category, symbol="BTCUSDT")["result"]["list"][0]["lastPrice"]
    assert client.get_public_trade_history(category=category, symbol="BTCUSDT")["retCode"] == 0


@pytest.mark.parametrize(("category", "qty"), [("spot", "0.001"), ("linear", "0.01")])
def test_post_only_order_rests_is_amended_and_cancelled(client: HTTP, category: str, qty: str) -> None:
    price = resting_price(client, category, "BTCUSDT")
    link_id = f"pybit-{category}-{time.time_ns()}"
    placed = client.place_order(
        category=category, symbol="BTCUSDT", side="Buy", orderType="Limit", qty=qty, price=price,
        timeInForce="PostOnly", orderLinkId=link_id,
    )["result"]  # fmt: skip
    assert placed["orderLinkId"] == link_id
    order = client.get_open_orders(category=category, symbol="BTCUSDT", orderLinkId=link_id)["result"]["list"][0]
    assert (order["orderStatus"], order["price"], order["qty"]) == ("New", price, qty)
    lower = str(Decimal(price) - 10)
    client.amend_order(category=category, symbol="BTCUSDT", orderId=placed["orderId"], price=lower)
    order = client.get_open_orders(category=category, symbol="BTCUSDT", orderId=placed["orderId"])["result"]["list"][0]
    assert order["price"] == lower
    client.cancel_order(category=category, symbol="BTCUSDT", orderLinkId=link_id)
    order = client.get_order_history(category=category, orderId=placed["orderId"])["result"]["list"][0]
    assert (order["orderStatus"], order["cancelType"]) == ("Cancelled", "CancelByUser")
    assert order["cumExecQty"] == "0"


@pytest.mark.parametrize("category", ["spot", "linear"])
def test_post_only_order_that_crosses_is_acknowledged_then_cancelled(client: HTTP, category: str) -> None:
    price = str((best_bid(client, category, "BTCUSDT") * Decimal("1.01")).quantize(Decimal("1")))
    placed = client.place_order(
        category=category, symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.01", price=price,
        timeInForce="PostOnly",
    )  # fmt: skip
    assert placed["retCode"] == 0
    order = client.get_order_history(category=category, orderId=placed["result"]["orderId"])["result"]["list"][0]
    assert (order["orderStatus"], order["rejectReason"], order["cumExecQty"]) == (
        "Cancelled", "EC_PostOnlyWillTakeLiquidity", "0",
    )  # fmt: skip


def test_spot_market_order_moves_the_wallet_by_exactly_its_fills(client: HTTP) -> None:
    def balance(coin: str) -> Decimal:
        rows = client.get_wallet_balance(accountType="UNIFIED", coin=coin)["result"]["list"][0]["coin"]
        return Decimal(rows[0]["walletBalance"])

    coins = {coin: balance(coin) for coin in ("USDT", "ETH")}
    placed = client.place_order(
        category="spot", symbol="ETHUSDT", side="Buy", orderType="Market", qty="0.05", marketUnit="baseCoin"
    )["result"]
    fills = client.get_executions(category="spot", orderId=placed["orderId"])["result"]["list"]
    assert sum(Decimal(fill["execQty"]) for fill in fills) == Decimal("0.05")
    paid = sum(Decimal(fill["execValue"]) for fill in fills)
    fee = sum(Decimal(fill["execFee"]) for fill in fills)
    assert {fill["feeCurrency"] for fill in fills} == {"ETH"}
    assert balance("USDT") == coins["USDT"] - paid
    assert balance("ETH") == coins["ETH"] + Decimal("0.05") - fee


def test_linear_position_is_opened_stopped_and_closed(client: HTTP) -> None:
    client.set_leverage(category="linear", symbol="ETHUSDT", buyLeverage="3", sellLeverage="3")
    with pytest.raises(InvalidRequestError) as unchanged:
        client.set_leverage(category="linear", symbol="ETHUSDT", buyLeverage="3", sellLeverage="3")
    assert unchanged.value.status_code == 110043
    client.place_order(category="linear", symbol="ETHUSDT", side="Buy", orderType="Market", qty="0.1")
    position = client.get_positions(category="linear", symbol="ETHUSDT")["result"]["list"][0]
    assert (position["side"], position["size"], position["leverage"]) == ("Buy", "0.1", "3")
    stop = str((Decimal(position["avgPrice"]) * Decimal("0.9")).quantize(Decimal("0.01")))
    client.set_trading_stop(category="linear", symbol="ETHUSDT", stopLoss=stop, tpslMode="Full", positionIdx=0)
    position = client.get_positions(category="linear", symbol="ETHUSDT")["result"]["list"][0]
    assert Decimal(position["stopLoss"]) == Decimal(stop)
    client.place_order(category="linear", symbol="ETHUSDT", side="Sell", orderType="Market", qty="0.1", reduceOnly=True)
    position = client.get_positions(category="linear", symbol="ETHUSDT")["result"]["list"][0]
    assert (position["side"], position["size"]) == ("", "0")
    closed = client.get_closed_pnl(category="linear", symbol="ETHUSDT")["result"]["list"][0]
    assert closed["closedSize"] == "0.1"


def test_conditional_order_waits_untriggered(client: HTTP) -> None:
    trigger = str((best_bid(client, "linear", "BTCUSDT") * Decimal("0.8")).quantize(Decimal("1")))
    client.place_order(category="linear", symbol="BTCUSDT", side="Buy", orderType="Market", qty="0.01")
    placed = client.place_order(
        category="linear", symbol="BTCUSDT", side="Sell", orderType="Market", qty="0.01", triggerPrice=trigger,
        triggerDirection=2, triggerBy="MarkPrice", reduceOnly=True,
    )["result"]  # fmt: skip
    order = client.get_open_orders(category="linear", symbol="BTCUSDT", orderId=placed["orderId"])["result"]["list"][0]
    assert (order["orderStatus"], order["stopOrderType"], order["reduceOnly"]) == ("Untriggered", "Stop", True)
    client.cancel_order(category="linear", symbol="BTCUSDT", orderId=placed["orderId"])
    client.place_order(
        category="linear", symbol="BTCUSDT", side="Sell", orderType="Market", qty="0.01", reduceOnly=True
    )


def test_batch_of_orders_answers_each_by_itself(client: HTTP) -> None:
    price = resting_price(client, "linear", "BTCUSDT")
    good = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": price}
    bad = good | {"qty": "0.00001"}
    answer = client.place_batch_order(category="linear", request=[good, bad])
    assert [row["code"] for row in answer["retExtInfo"]["list"]] == [0, 10001]
    order_id = answer["result"]["list"][0]["orderId"]
    amended = client.amend_batch_order(
        category="linear", request=[{"symbol": "BTCUSDT", "orderId": order_id, "qty": "0.02"}]
    )
    assert amended["retExtInfo"]["list"] == [{"code": 0, "msg": "OK"}]
    cancelled = client.cancel_batch_order(category="linear", request=[{"symbol": "BTCUSDT", "orderId": order_id}])
    assert cancelled["retExtInfo"]["list"] == [{"code": 0, "msg": "OK"}]


def test_account_reads_are_answered(client: HTTP) -> None:
    assert client.get_account_info()["result"]["unifiedMarginStatus"] == 5
    assert client.get_fee_rates(category="linear", symbol="BTCUSDT")["result"]["list"][0]["makerFeeRate"] == "0.0002"
    assert client.get_transaction_log(accountType="UNIFIED")["retCode"] == 0
    assert client.get_api_key_information()["result"]["isMaster"] is True
    assert client.get_coin_info(coin="USDT")["result"]["rows"][0]["coin"] == "USDT"


def test_error_of_the_exchange_reaches_the_caller(client: HTTP) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        client.cancel_order(category="spot", symbol="BTCUSDT", orderId="1")
    assert refused.value.status_code == 170213


def test_rsa_key_signs_requests(simulation: Simulation) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made = simulation.control(
        "POST", "key",
        {"uid": simulation.accounts["client_uid"], "permissions": {"Spot": ["SpotTrade"]}, "readOnly": 0,
         "ips": ["127.0.0.1"], "rsaPublicKey": public.decode()},
    )  # fmt: skip
    client = HTTP(api_key=made["key"], api_secret=pem.decode(), rsa_authentication=True)
    client.endpoint = simulation.url
    assert client.get_wallet_balance(accountType="UNIFIED", coin="USDT")["retCode"] == 0
    placed = client.place_order(
        category="spot", symbol="XRPUSDT", side="Buy", orderType="Limit", qty="10", price="1.5"
    )["result"]
    assert client.cancel_order(category="spot", symbol="XRPUSDT", orderId=placed["orderId"])["retCode"] == 0
    client.client.close()


def test_calls_past_the_rate_limit_are_repeated_after_the_reset_time(simulation: Simulation, client: HTTP) -> None:
    price = resting_price(client, "linear", "BTCUSDT")
    before = simulation.control("GET", "requests")[-1]["n"]
    simulation.control("POST", "limits", {"enabled": True})
    try:
        for _ in range(15):
            client.place_order(
                category="linear", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.001", price=price
            )
    finally:
        simulation.control("POST", "limits", {"enabled": False})
    codes = [row["ret_code"] for row in simulation.control("GET", f"requests?since={before}")]
    assert codes.count(0) == 15
    assert 10006 in codes


@pytest.fixture
def streams(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.setattr(unified, "PUBLIC_WSS", simulation.ws + "/v5/public/{CHANNEL_TYPE}")
    monkeypatch.setattr(unified, "PRIVATE_WSS", simulation.ws + "/v5/private")
    monkeypatch.setattr(trading, "TRADE_WSS", simulation.ws + "/v5/trade")
    opened: list[Any] = []

    def open_stream(kind: str, key: Key | None = None) -> Any:
        pair = {} if key is None else {"api_key": key.key, "api_secret": key.secret}
        if kind == "trade":
            stream: Any = WebSocketTrading(testnet=False, **pair)
        else:
            stream = WebSocket(testnet=False, channel_type=kind, **pair)
        opened.append(stream)
        return stream

    yield open_stream
    for stream in opened:
        stream.exit()


@pytest.mark.parametrize("category", ["spot", "linear"])
@pytest.mark.parametrize("depth", [1, 50, 200, 1000])
def test_public_stream_keeps_a_book(streams: Callable[..., Any], category: str, depth: int) -> None:
    stream = streams(category)
    messages: queue.Queue[Any] = queue.Queue()
    stream.orderbook_stream(depth, "BTCUSDT", messages.put)
    updates = [messages.get(timeout=60) for _ in range(5)]
    for update in updates:
        best_bid_price, best_ask_price = update["data"]["b"][0][0], update["data"]["a"][0][0]
        assert Decimal(best_bid_price) < Decimal(best_ask_price)
        assert len(update["data"]["b"]) <= depth
    numbers = [update["data"]["u"] for update in updates]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("category", ["spot", "linear"])
def test_public_stream_sends_tickers_candles_and_trades(streams: Callable[..., Any], category: str) -> None:
    stream = streams(category)
    tickers: queue.Queue[Any] = queue.Queue()
    candles: queue.Queue[Any] = queue.Queue()
    trades: queue.Queue[Any] = queue.Queue()
    stream.ticker_stream("BTCUSDT", tickers.put)
    stream.kline_stream(1, "BTCUSDT", candles.put)
    stream.trade_stream("BTCUSDT", trades.put)
    assert Decimal(tickers.get(timeout=60)["data"]["lastPrice"]) > 0
    assert candles.get(timeout=60)["data"][0]["interval"] == "1"
    trade = trades.get(timeout=60)["data"][0]
    assert (trade["s"], trade["S"] in {"Buy", "Sell"}) == ("BTCUSDT", True)


def test_private_stream_tells_of_orders_executions_positions_and_wallets(
    simulation: Simulation, streams: Callable[..., Any], client: HTTP
) -> None:
    stream = streams("private", simulation.keys["client"])
    eventually(lambda: stream.auth, what="login")
    heard: dict[str, queue.Queue[Any]] = {}
    before = simulation.control("GET", "requests")[-1]["n"]
    for name, subscribe in (
        ("order", stream.order_stream),
        ("execution", stream.execution_stream),
        ("execution.fast", stream.fast_execution_stream),
        ("position", stream.position_stream),
        ("wallet", stream.wallet_stream),
    ):
        heard[name] = queue.Queue()
        subscribe(heard[name].put)
    eventually(
        lambda: [row["ret_code"] for row in simulation.control("GET", f"requests?since={before}")].count(0) >= 5,
        what="five subscriptions",
    )
    order_id = client.place_order(category="linear", symbol="XRPUSDT", side="Buy", orderType="Market", qty="10")[
        "result"
    ]["orderId"]
    execution = heard["execution"].get(timeout=60)["data"][0]
    assert (execution["orderId"], execution["category"]) == (order_id, "linear")
    assert heard["execution.fast"].get(timeout=60)["data"][0]["orderId"] == order_id
    statuses = []
    while "Filled" not in statuses:
        statuses.append(heard["order"].get(timeout=60)["data"][0]["orderStatus"])
    assert heard["position"].get(timeout=60)["data"][0]["symbol"] == "XRPUSDT"
    assert heard["wallet"].get(timeout=60)["data"][0]["accountType"] == "UNIFIED"
    client.place_order(category="linear", symbol="XRPUSDT", side="Sell", orderType="Market", qty="10", reduceOnly=True)


def test_order_stream_creates_amends_and_cancels(
    simulation: Simulation, streams: Callable[..., Any], client: HTTP
) -> None:
    stream = streams("trade", simulation.keys["client"])
    eventually(lambda: stream.auth, what="login")
    answers: queue.Queue[Any] = queue.Queue()
    price = resting_price(client, "spot", "BTCUSDT")
    stream.place_order(
        answers.put, category="spot", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.001", price=price
    )
    created = answers.get(timeout=60)
    assert (created["retCode"], created["op"]) == (0, "order.create")
    assert created["header"]["X-Bapi-Limit"] == "20"
    order_id = created["data"]["orderId"]
    stream.amend_order(answers.put, category="spot", symbol="BTCUSDT", orderId=order_id, qty="0.002")
    assert answers.get(timeout=60)["data"]["orderId"] == order_id
    stream.cancel_order(answers.put, category="spot", symbol="BTCUSDT", orderId=order_id)
    assert answers.get(timeout=60)["retCode"] == 0
    order = client.get_order_history(category="spot", orderId=order_id)["result"]["list"][0]
    assert (order["qty"], order["orderStatus"]) == ("0.002", "Cancelled")
