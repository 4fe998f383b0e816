"""Unmodified ccxt and pybit against the gateway: what the allow-list permits works, the rest is a clean denial.

And a real Prometheus, which reads what it exposes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import httpx
import pytest
from integration.bot import resting_order
from integration.stack import Stack, wait_until
from ports import free_port
from pybit.unified_trading import HTTP

pytestmark = pytest.mark.slow

CREATE = "/v5/order/create"


def ccxt_options(stack: Stack, *, default_type: str = "spot") -> dict[str, Any]:
    url, ws = stack.gateway["url"], stack.gateway["ws"]
    public = {category: f"{ws}/v5/public/{category}" for category in ("spot", "linear", "inverse", "option")}
    return {
        "apiKey": stack.gateway["key"],
        "secret": stack.gateway["secret"],
        "timeout": 60_000,
        "urls": {"api": {"public": url, "private": url, "ws": {"public": public}}},
        "options": {
            "defaultType": default_type,
            "fetchMarkets": {"types": ["spot", "linear"]},
            "enableUnifiedMargin": False,
            "enableUnifiedAccount": True,
            "unifiedMarginStatus": 6,
            "fetchOrder": {"acknowledged": True},
        },
    }


@pytest.fixture
def exchange(stack: Stack) -> Iterator[ccxt.bybit]:
    client = ccxt.bybit(ccxt_options(stack))
    client.load_markets()
    yield client
    client.close()


def at_exchange(stack: Stack) -> list[str]:
    return [str(item["body"]) for item in stack.requests_at_exchange(CREATE)]


def order_price(exchange: ccxt.bybit, symbol: str, factor: float) -> float:
    return float(exchange.price_to_precision(symbol, exchange.fetch_ticker(symbol)["last"] * factor))


@pytest.mark.parametrize("symbol", ["XRP/USDT", "XRP/USDT:USDT"])
def test_ccxt_post_only_order_rests_carries_our_tag_and_is_cancelled(
    stack: Stack, exchange: ccxt.bybit, symbol: str
) -> None:
    price = order_price(exchange, symbol, 0.97)
    order = exchange.create_order(symbol, "limit", "buy", 20, price, {"postOnly": True})
    assert order["id"]
    shown = exchange.fetch_open_order(order["id"], symbol)
    assert (shown["status"], shown["postOnly"], shown["amount"]) == ("open", True, 20)
    assert shown["clientOrderId"] in (None, "")
    assert '"orderLinkId":"T1' in at_exchange(stack)[-1].replace(" ", "")
    exchange.cancel_order(order["id"], symbol)
    wait_until(lambda: exchange.fetch_order(order["id"], symbol)["status"] == "canceled", what="cancelled")


def test_ccxt_own_order_link_id_is_an_alias(stack: Stack, exchange: ccxt.bybit) -> None:
    price = order_price(exchange, "XRP/USDT", 0.97)
    order = exchange.create_order("XRP/USDT", "limit", "buy", 20, price, {"postOnly": True, "clientOrderId": "mine-1"})
    assert order["clientOrderId"] == "mine-1"
    assert "mine-1" not in at_exchange(stack)[-1]
    assert exchange.fetch_open_order(order["id"], "XRP/USDT")["clientOrderId"] == "mine-1"
    exchange.cancel_order(None, "XRP/USDT", {"orderLinkId": "mine-1"})
    wait_until(lambda: exchange.fetch_order(order["id"], "XRP/USDT")["status"] == "canceled", what="cancelled")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("ORDER_NOT_MAKER", ("XRP/USDT", "market", "buy", 20, 0.5)),
        ("ORDER_NOT_MAKER", ("XRP/USDT", "limit", "buy", 20, 0.5)),
        ("ORDER_NOT_MAKER", ("XRP/USDT", "limit", "buy", 20, 0.5, {"timeInForce": "IOC"})),
        ("ORDER_FIELD_FORBIDDEN", ("XRP/USDT", "limit", "buy", 20, 0.5, {"postOnly": True, "triggerPrice": "1"})),
    ],
)
def test_ccxt_forbidden_order_is_denied_and_never_reaches_the_exchange(
    stack: Stack, exchange: ccxt.bybit, code: str, arguments: tuple[Any, ...]
) -> None:
    before = at_exchange(stack)
    with pytest.raises(ccxt.ExchangeError, match=code):
        exchange.create_order(*arguments)
    assert at_exchange(stack) == before
    wait_until(lambda: stack.rows()[-1]["fields"].get("code") == code, what="the denial's row")


def test_ccxt_oversized_order_is_denied_and_never_reaches_the_exchange(stack: Stack, exchange: ccxt.bybit) -> None:
    before = at_exchange(stack)
    price = order_price(exchange, "XRP/USDT", 0.97)
    with pytest.raises(ccxt.ExchangeError, match="ORDER_NOTIONAL_ABOVE_MAXIMUM"):
        exchange.create_order("XRP/USDT", "limit", "buy", 500, price, {"postOnly": True})
    with pytest.raises(ccxt.ExchangeError, match="LIMIT_ORDER_QUANTITY"):
        exchange.create_order("XRP/USDT", "limit", "buy", 5000, price, {"postOnly": True})
    assert at_exchange(stack) == before


def test_ccxt_unlisted_symbol_is_denied_and_never_reaches_the_exchange(stack: Stack, exchange: ccxt.bybit) -> None:
    before = at_exchange(stack)
    body = {
        "category": "spot",
        "symbol": "DOGEUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "qty": "100",
        "price": "0.1",
        "timeInForce": "PostOnly",
    }
    with pytest.raises(ccxt.PermissionDenied, match="SYMBOL_NOT_PERMITTED"):
        exchange.private_post_v5_order_create(body)
    assert at_exchange(stack) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda e: e.cancel_all_orders("XRP/USDT"),
        lambda e: e.edit_order("1", "XRP/USDT", "limit", "buy", 1, 1),
        lambda e: e.create_orders([{"symbol": "XRP/USDT", "type": "limit", "side": "buy", "amount": 20, "price": 0.5}]),
    ],
    ids=["cancel-all", "amend", "batch"],
)
def test_ccxt_endpoint_outside_the_allow_list_is_denied(stack: Stack, exchange: ccxt.bybit, call: Any) -> None:
    with pytest.raises(ccxt.PermissionDenied, match="PATH_UNKNOWN"):
        call(exchange)


def test_ccxt_as_it_comes_lists_every_category(stack: Stack) -> None:
    options = ccxt_options(stack)
    del options["options"]
    client = ccxt.bybit(options)
    try:
        assert {"XRP/USDT", "XRP/USDT:USDT"} <= client.load_markets().keys()
    finally:
        client.close()


def test_ccxt_reads_work(exchange: ccxt.bybit) -> None:
    assert exchange.fetch_balance()["USDT"]["total"] > 0
    assert exchange.fetch_order_book("BTC/USDT", 1)["bids"]
    assert len(exchange.fetch_ohlcv("BTC/USDT", "1m", limit=100)) == 100
    assert exchange.fetch_trades("BTC/USDT", limit=5)
    assert exchange.fetch_positions(["BTC/USDT:USDT"]) is not None
    assert exchange.fetch_closed_orders("XRP/USDT") is not None
    assert exchange.fetch_funding_rate_history("BTC/USDT:USDT", limit=2) is not None


async def test_ccxt_async_and_pro_trade_and_stream(stack: Stack) -> None:
    async with asyncio.timeout(120):
        client = ccxt.pro.bybit(ccxt_options(stack))
        try:
            await client.load_markets()
            book = await client.watch_order_book("BTC/USDT")
            assert book["bids"][0][0] < book["asks"][0][0]
            assert (await client.watch_ticker("XRP/USDT:USDT"))["last"] > 0
            price = float(client.price_to_precision("XRP/USDT", (await client.fetch_ticker("XRP/USDT"))["last"] * 0.97))
            order = await client.create_order("XRP/USDT", "limit", "buy", 20, price, {"postOnly": True})
            await client.cancel_order(order["id"], "XRP/USDT")
        finally:
            await client.close()


def test_pybit_places_reads_and_cancels(stack: Stack) -> None:
    session = HTTP(api_key=stack.gateway["key"], api_secret=stack.gateway["secret"])
    session.endpoint = stack.gateway["url"]
    placed = session.place_order(**resting_order(stack))
    order_id = placed["result"]["orderId"]
    listed = session.get_open_orders(category="spot", symbol="XRPUSDT", orderId=order_id)["result"]["list"]
    assert [item["orderId"] for item in listed] == [order_id]
    assert session.cancel_order(category="spot", symbol="XRPUSDT", orderId=order_id)["retCode"] == 0
    assert session.get_wallet_balance(accountType="UNIFIED")["retCode"] == 0
    session.client.close()


def test_promtool_finds_no_fault_in_the_gateway_s_metrics(stack: Stack) -> None:
    text = stack.admin.get("/metrics").text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    faults = [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("trade_")]
    assert not faults


def test_prometheus_scrapes_the_gateway(stack: Stack, tmp_path: Path) -> None:
    port = free_port()
    target = httpx.URL(stack.gateway["admin"])
    config = {
        "scrape_configs": [
            {
                "job_name": "gateway",
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "authorization": {"credentials": stack.gateway["admin_token"]},
                "static_configs": [{"targets": [f"{target.host}:{target.port}"]}],
            }
        ]
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    server = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def scraped() -> list[str]:
        try:
            answer = httpx.get(
                f"http://127.0.0.1:{port}/api/v1/query", params={"query": "trade_gateway_trading_state"}, timeout=30
            )
        except httpx.HTTPError:
            return []
        if answer.status_code != 200:  # it listens before it is ready
            return []
        return [item["value"][1] for item in answer.json()["data"]["result"]]

    try:
        assert wait_until(scraped, what="a scrape") == ["0"]
    finally:
        server.terminate()
        server.wait(timeout=60)


# The last ones: the first of them halts the module's stack, and each of them halts for itself before its incident.


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (lambda e: e.transfer("USDT", 1, "unified", "funding"), "/v5/asset/transfer/inter-transfer"),
        (
            lambda e: e.withdraw("USDT", 1, "TQn9Y2khEsLJW1ChVWFMSMeRDow5KcbLSE", params={"network": "TRX"}),
            "/v5/asset/withdraw/create",
        ),
        (lambda e: e.private_post_v5_user_create_sub_api({"subuid": 1}), "/v5/user/create-sub-api"),
    ],
    ids=["transfer", "withdraw", "key-minting"],
)
def test_ccxt_endpoint_of_a_thief_is_denied_and_halts(
    stack: Stack, exchange: ccxt.bybit, call: Any, path: str, request: pytest.FixtureRequest
) -> None:
    assert stack.state()["trading_state"] == ("ACTIVE" if "transfer" in request.node.name else "HALTED")
    denied = denials(stack)
    before = len(stack.control.get("/requests").json())
    with pytest.raises(ccxt.PermissionDenied, match="PATH_FORBIDDEN"):
        call(exchange)
    assert stack.state()["trading_state"] == "HALTED"
    theft = ("/v5/asset/", "/v5/user/create")
    later = stack.control.get("/requests").json()[before:]
    assert not [item for item in later if item["path"].startswith(theft) and item["method"] == "POST"]
    wait_until(lambda: denials(stack) > denied and path in incidents(stack), what="row and incident")


def denials(stack: Stack) -> int:
    return sum(row["kind"] == "request:denied" for row in stack.rows())


def incidents(stack: Stack) -> set[str]:
    opened = [row["fields"] for row in stack.rows() if row["kind"] == "incident:opened"]
    return {str(fields.get("path")) for fields in opened if fields["severity"] == "critical"}
