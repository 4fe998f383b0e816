"""Bad input on real sockets: an envelope or a closed connection, one row or count, nothing upstream."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from integration.bot import Bot, resting_order
from integration.stack import Stack, most_rows, wait_until

pytestmark = pytest.mark.slow

CREATE = "/v5/order/create"
REQUEST_KINDS = {
    "order:intent",
    "order:denied",
    "cancel:intent",
    "cancel:answered",
    "read:forwarded",
    "read:answered",
    "read:failed",
    "pin:answered",
    "request:denied",
    "stream:opened",
    "stream:denied",
}


@pytest.fixture
def bot(stack: Stack) -> Iterator[Bot]:
    client = Bot(stack.gateway)
    yield client
    client.close()


def requests_recorded(stack: Stack) -> int:
    rows = stack.rows()
    counted = sum(row["fields"]["count"] for row in rows if row["kind"] == "request:counted")
    return counted + sum(1 for row in rows if row["kind"] in REQUEST_KINDS)


def requests_seen(stack: Stack) -> int:
    text = stack.admin.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("trade_gateway_requests_total")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


def settled(stack: Stack) -> bool:
    journal = stack.state()["journal"]
    return bool(journal["pending"] == 0 and journal["pending_count"] == 0)


def assert_every_request_is_recorded(stack: Stack) -> None:
    wait_until(
        lambda: settled(stack) and requests_recorded(stack) == requests_seen(stack),
        what=f"rows and counts ({requests_recorded(stack)}) equal requests seen ({requests_seen(stack)})",
    )


def raw(stack: Stack, data: bytes) -> bytes:
    parts = urlsplit(stack.gateway["url"])
    with socket.create_connection((parts.hostname, parts.port), timeout=8) as connection:
        connection.sendall(data)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
                body = received.partition(b"\r\n\r\n")[2]
                if body and body.count(b"{") == body.count(b"}") and b"{" in body:
                    break
        except (TimeoutError, ConnectionResetError):
            pass
        return received


def orders_at_exchange(stack: Stack) -> int:
    return len(stack.requests_at_exchange(CREATE))


def test_signature_wrong_expired_unknown_and_replayed_are_refused_with_the_exchange_s_codes(
    stack: Stack, bot: Bot
) -> None:
    before = orders_at_exchange(stack)
    body = json.dumps(resting_order(stack))
    wrong = bot.headers(body) | {"X-BAPI-SIGN": "0" * 64}
    assert bot.http.post(CREATE, content=body, headers=wrong).json()["retCode"] == 10004
    late = bot.headers(body, at_ms=time.time_ns() // 1_000_000 - 20_000)
    assert bot.http.post(CREATE, content=body, headers=late).json()["retCode"] == 10002
    wide = bot.headers(body, at_ms=time.time_ns() // 1_000_000 - 20_000, recv_window="60000")
    assert bot.http.post(CREATE, content=body, headers=wide).json()["retCode"] == 10002
    ahead = bot.headers(body, at_ms=time.time_ns() // 1_000_000 + 5_000)
    assert bot.http.post(CREATE, content=body, headers=ahead).json()["retCode"] == 10002
    unknown = bot.headers(body) | {"X-BAPI-API-KEY": "somebody"}
    assert bot.http.post(CREATE, content=body, headers=unknown).json()["retCode"] == 10003
    assert orders_at_exchange(stack) == before
    headers = bot.headers(body)
    first = bot.http.post(CREATE, content=body, headers=headers).json()
    assert first["retCode"] == 0
    assert "AUTH_SIGNATURE_SPENT" in bot.http.post(CREATE, content=body, headers=headers).json()["retMsg"]
    assert orders_at_exchange(stack) == before + 1
    order = json.loads(body)
    bot.post(
        "/v5/order/cancel",
        {"category": order["category"], "symbol": order["symbol"], "orderId": first["result"]["orderId"]},
    )
    assert_every_request_is_recorded(stack)


@pytest.mark.parametrize(
    "number",
    [
        '"NaN"',
        "NaN",
        '"Infinity"',
        '"1e9"',
        '"-1"',
        '"+1"',
        '"\uff11"',
        '"1_000"',
        '" 5 "',
        '"' + "9" * 400 + '"',
        "20",
        '"0"',
    ],
)
def test_number_tricks_are_denied(stack: Stack, bot: Bot, number: str) -> None:
    before = orders_at_exchange(stack)
    order = resting_order(stack)
    body = json.dumps(order, ensure_ascii=False).replace(f'"{order["qty"]}"', number)
    answer = bot.post(CREATE, body)
    assert answer["retCode"] == 10024
    assert orders_at_exchange(stack) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"qty"', '"qty": "1", "qty"'),
        lambda text: text.replace("}", ', "timeInForce": "IOC"}'),
        lambda text: text.replace("}", ', "takeProfit": "1"}'),
        lambda text: text.replace("}", ', "unknown": "1"}'),
        lambda text: text.replace('"PostOnly"', '"PostOnly "'),
        lambda text: text.replace('"PostOnly"', '"postonly"'),
        lambda text: "[" + text + "]",
        lambda text: text + " {}",
        lambda text: text[:-1],
        lambda text: text[:0],
    ],
)
def test_body_tricks_are_denied(stack: Stack, bot: Bot, change: Any) -> None:
    before = orders_at_exchange(stack)
    answer = bot.post(CREATE, change(json.dumps(resting_order(stack))))
    assert answer["retCode"] == 10024
    assert orders_at_exchange(stack) == before


@pytest.mark.parametrize(
    "target",
    [
        "/v5/order%2Fcreate",
        "//v5/order/create",
        "/v5/order/../asset/withdraw/create",
        "/v5/order/create/",
        "/v5/order/create;x=1",
        "/V5/order/create",
        "http://evil.example/v5/order/create",
        "/v5/order/create#fragment",
        "/v5/order/create?x=1",
    ],
)
def test_path_tricks_are_denied_on_the_raw_target(stack: Stack, bot: Bot, target: str) -> None:
    before = orders_at_exchange(stack)
    body = json.dumps(resting_order(stack))
    headers = "".join(f"{name}: {value}\r\n" for name, value in bot.headers(body).items())
    request = f"POST {target} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}"
    answer = raw(stack, request.encode())
    assert b'"retCode":10024' in answer or answer.startswith(b"HTTP/1.1 400")
    assert orders_at_exchange(stack) == before
    assert_every_request_is_recorded(stack)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n" + b"X-Many: a\r\n" * 500 + b"\r\n",
    ],
    ids=["two-lengths", "length-and-chunked", "tls-hello", "version", "long-head", "many-headers"],
)
def test_malformed_requests_are_refused_and_counted(stack: Stack, head: bytes) -> None:
    before = requests_seen(stack)
    answer = raw(stack, head)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400") or b'"retCode":10024' in answer
    wait_until(lambda: requests_seen(stack) == before + 1, what="one more request seen")
    assert_every_request_is_recorded(stack)


def test_oversized_body_is_refused_and_the_connection_closed(stack: Stack) -> None:
    request = b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"a" * 100_000
    answer = raw(stack, request)
    assert b"REQUEST_BODY_TOO_LARGE" in answer
    assert b"connection: close" in answer.lower()
    assert_every_request_is_recorded(stack)


def test_wrong_content_type_is_refused(stack: Stack, bot: Bot) -> None:
    body = json.dumps(resting_order(stack))
    headers = bot.headers(body) | {"Content-Type": "text/plain"}
    assert "REQUEST_CONTENT_TYPE" in bot.http.post(CREATE, content=body, headers=headers).json()["retMsg"]


def test_denial_flood_of_a_bot_becomes_counted_rows(stack: Stack, bot: Bot) -> None:
    before, began = len(stack.rows()), time.monotonic()
    for _ in range(300):
        bot.post("/v5/order/amend", "{}")
    flood_s = time.monotonic() - began
    assert_every_request_is_recorded(stack)
    assert len(stack.rows()) - before < most_rows(flood_s)


def test_bot_credential_opens_nothing_on_the_admin_listener(stack: Stack, bot: Bot) -> None:
    for token in ("x", bot.key, bot.secret):
        answer = bot.http.get(stack.gateway["admin"] + "/state", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def idle_connections(stack: Stack, service: str, listener: str, count: int) -> list[socket.socket]:
    parts = urlsplit(stack.description[service][listener])
    return [socket.create_connection((parts.hostname, parts.port), timeout=8) for _ in range(count)]


@pytest.mark.parametrize(
    ("service", "listener", "count"), [("gateway", "url", 2_000), ("gateway", "admin", 200), ("watchdog", "admin", 200)]
)
def test_idle_strangers_lock_nobody_out(stack: Stack, bot: Bot, service: str, listener: str, count: int) -> None:
    assert bot.get("/v5/account/info")["retCode"] == 0
    generation = stack.state()["lease"]["generation"]
    strangers = idle_connections(stack, service, listener, count)
    newcomer = Bot(stack.gateway)
    watchdog = stack.description["watchdog"]
    headers = {"Authorization": f"Bearer {watchdog['admin_token']}"}
    try:
        assert bot.get("/v5/account/info")["retCode"] == 0
        assert newcomer.get("/v5/account/info")["retCode"] == 0
        assert httpx.get(f"{stack.gateway['admin']}/healthz").status_code == 200
        assert httpx.get(f"{watchdog['admin']}/state", headers=headers).status_code == 200
        wait_until(lambda: stack.state()["lease"]["generation"] > generation, what="the next lease")
        assert stack.state_name() == "ACTIVE"
    finally:
        newcomer.close()
        for stranger in strangers:
            stranger.close()
    assert_every_request_is_recorded(stack)
