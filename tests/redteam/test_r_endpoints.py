"""Endpoints that no bot needs: other order entry, leverage and modes, side products, private facts. All denied."""

from __future__ import annotations

import re

import pytest

from redteam.attacker import Attacker, received_since

pytestmark = pytest.mark.slow


def test_r09_trading_stop_is_denied(attacker: Attacker) -> None:
    body = {"category": "linear", "symbol": "BTCUSDT", "stopLoss": "64000", "positionIdx": 0}
    attacker.denied_post("PATH_UNKNOWN", "/v5/position/trading-stop", body)
    attacker.denied_post("PATH_UNKNOWN", "/v5/position/trading-stop", body | {"trailingStop": "1"})


@pytest.mark.parametrize(
    "path",
    [
        "/v5/order/create-batch",
        "/v5/order/cancel-batch",
        "/v5/order/amend-batch",
        "/v5/order/cancel-all",
        "/v5/order/disconnected-cancel-all",
        "/v5/order/pre-check",
    ],
)
def test_r23_other_ways_to_enter_orders_are_denied(attacker: Attacker, path: str) -> None:
    attacker.denied_post("PATH_UNKNOWN", path, {"category": "linear", "request": "x"})


@pytest.mark.parametrize("path", ["/v5/trade", "/v5/private?x=1", "/v5/public/spot?x=1", "/v5/public/inverse", "/"])
def test_r23_websocket_order_entry_is_refused_at_the_handshake(attacker: Attacker, path: str) -> None:
    handshake = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    bare, asked, query = path.partition("?")  # the gateway's own streams ask for nothing
    with attacker.denied("STREAM_PATH_UNKNOWN", path=bare, query=query if asked else None):
        answer = attacker.raw(handshake.encode())
    assert answer.startswith(b"HTTP/1.1 403")


def test_r24_amending_a_resting_order_is_denied_and_the_order_stays_as_it_is(attacker: Attacker) -> None:
    order = attacker.place()
    amended = {key: order[key] for key in ("category", "symbol", "orderId")} | {"qty": "9999", "price": "99"}
    attacker.denied_post("PATH_UNKNOWN", "/v5/order/amend", amended)
    query = "category=spot&symbol=XRPUSDT&orderId=" + order["orderId"]
    (shown,) = attacker.bot.get("/v5/order/realtime", query)["result"]["list"]
    assert (float(shown["qty"]), float(shown["price"])) == (float(order["qty"]), float(order["price"]))
    assert attacker.cancel(order)["retCode"] == 0


def test_r25_leverage_above_the_pin_is_denied_and_blocks_entries_on_the_symbol(attacker: Attacker) -> None:
    path = "/v5/position/set-leverage"
    body = {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "100", "sellLeverage": "100"}
    attacker.denied_post("PIN_LEVERAGE_DIFFERS", path, body)
    attacker.denied_order("SYMBOL_LEVERAGE_UNPINNED", linear_order(attacker))
    pinned = attacker.bot.post(path, body | {"buyLeverage": "1", "sellLeverage": "1"})
    assert pinned["retCode"] == 110043


def linear_order(attacker: Attacker) -> dict[str, str]:
    query = "category=linear&symbol=BTCUSDT"
    last = float(attacker.bot.get("/v5/market/tickers", query)["result"]["list"][0]["lastPrice"])
    return attacker.order(category="linear", symbol="BTCUSDT", qty="0.001", price=str(round(last * 0.97)))


@pytest.mark.parametrize(
    ("code", "path", "body"),
    [
        ("PIN_MARGIN_MODE_DIFFERS", "/v5/account/set-margin-mode", {"setMarginMode": "REGULAR_MARGIN"}),
        ("PIN_MARGIN_MODE_DIFFERS", "/v5/account/set-margin-mode", {"setMarginMode": "PORTFOLIO_MARGIN"}),
        (
            "PIN_POSITION_MODE_DIFFERS",
            "/v5/position/switch-mode",
            {"category": "linear", "symbol": "BTCUSDT", "mode": 3},
        ),
        ("PATH_UNKNOWN", "/v5/position/switch-isolated", {"category": "linear", "tradeMode": 0}),
        ("PATH_UNKNOWN", "/v5/position/add-margin", {"category": "linear", "symbol": "BTCUSDT", "margin": "10"}),
        ("PATH_UNKNOWN", "/v5/spot-margin-trade/switch-mode", {"spotMarginMode": "1"}),
        ("PATH_UNKNOWN", "/v5/spot-margin-trade/set-leverage", {"leverage": "10"}),
        ("PATH_UNKNOWN", "/v5/account/borrow", {"coin": "USDT", "amount": "1000"}),
        ("PATH_UNKNOWN", "/v5/account/set-collateral-switch", {"coin": "BTC", "collateralSwitch": "ON"}),
        ("PATH_UNKNOWN", "/v5/account/set-hedging-mode", {"setHedgingMode": "ON"}),
    ],
)
def test_r25_margin_modes_and_borrowing_are_denied(
    attacker: Attacker, code: str, path: str, body: dict[str, str]
) -> None:
    attacker.denied_post(code, path, body)


@pytest.mark.parametrize(
    "path",
    [
        "/v5/asset/exchange/convert-execute",
        "/v5/rfq/execute-quote",
        "/v5/spread/order/create",
        "/v5/alpha/trade/purchase",
        "/v5/earn/place-order",
        "/v5/crypto-loan-flexible/borrow",
        "/v5/crypto-loan-fixed/supply",
        "/v5/lending/purchase",
        "/v5/spot-lever-token/purchase",
    ],
)
def test_r27_conversion_lending_and_side_products_are_denied(attacker: Attacker, path: str) -> None:
    attacker.denied_post("PATH_UNKNOWN", path, {"coin": "USDT", "amount": "100"})


@pytest.mark.parametrize(
    "path",
    [
        "/v5/user/sub-apikeys",
        "/v5/user/query-sub-members",
        "/v5/asset/withdraw/query-address",
        "/v5/asset/deposit/query-address",
        "/v5/asset/transfer/query-account-coins-balance",
        "/v5/account/transaction-log",
    ],
)
def test_r30_private_facts_are_not_read(attacker: Attacker, path: str) -> None:
    attacker.denied_get("PATH_UNKNOWN", path, "subMemberId=1")


def test_r30_what_the_bot_may_read_about_itself_names_no_key_user_or_address(attacker: Attacker) -> None:
    stack = attacker.stack
    before = attacker.facts().received
    told = [attacker.bot.get(path) for path in ("/v5/user/query-api", "/v5/account/info", "/v5/asset/coin/query-info")]
    assert [answer["retCode"] for answer in told] == [0, 0, 0]
    assert [item for item in received_since(stack, before) if item["path"].startswith(("/v5/user", "/v5/asset"))] == []
    reads = [
        attacker.bot.get("/v5/account/wallet-balance", "accountType=UNIFIED"),
        attacker.bot.get("/v5/order/history", "category=spot"),
        attacker.bot.get("/v5/execution/list", "category=spot"),
        attacker.bot.get("/v5/position/list", "category=linear&settleCoin=USDT"),
    ]
    text = repr(told + reads)
    exchange = stack.control.get("/state").json()
    secrets = [key["key"] for key in exchange["keys"]] + [account["uid"] for account in exchange["accounts"]]
    assert secrets
    assert [secret for secret in secrets if secret in text] == []
    assert re.search(r"T1[A-Za-z0-9_-]{34}", text) is None, "a provenance tag reached the bot"


def test_r61_endpoint_that_nobody_knew_yesterday_is_denied(attacker: Attacker) -> None:
    for path in ("/v5/asset/withdraw/create-v2", "/v6/asset/withdraw/create", "/v5/instant/payout", "/v5/order/market"):
        attacker.denied_post("PATH_UNKNOWN", path, '{"amount":"1"}')
