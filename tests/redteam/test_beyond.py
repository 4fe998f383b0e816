"""Attacks beyond the list: races, aliases, floods of rows and streams, hidden characters, idle crowds."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from integration.bot import Bot
from integration.stack import most_rows, wait_until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from redteam.attacker import CANCEL, CREATE, Attacker, dumps, read_answer, received_since, rss_bytes, working_ids
from trade_gateway.relay import OPENINGS_AT_ONCE, OPENINGS_PER_S

pytestmark = pytest.mark.slow

MB = 1024 * 1024
GATEWAYS_OWN = re.compile(r'\{"op":"ping"\}$|\{"req_id": ?"[a-z ]+-\d+"')


def gateway_pid(attacker: Attacker) -> int:
    return int(attacker.stack.description["processes"]["gateway"]["pid"])


def test_alias_used_by_two_orders_at_once_names_only_one(attacker: Attacker) -> None:
    order = attacker.order(orderLinkId="twice", qty="11")
    bots = [Bot(attacker.stack.gateway) for _ in range(6)]
    with ThreadPoolExecutor(len(bots)) as pool:
        answers = list(pool.map(lambda bot: bot.post(CREATE, order), bots))
    for bot in bots:
        bot.close()
    placed = [answer for answer in answers if answer["retCode"] == 0]
    assert len(placed) == 1
    assert {a["retMsg"].split(":")[0] for a in answers if a["retCode"] != 0} <= {
        "ORDER_LINK_ID_USED",
        "ORDER_DUPLICATE",
        "AUTH_SIGNATURE_SPENT",  # sent within one millisecond
    }
    assert attacker.cancel(order | placed[0]["result"])["retCode"] == 0


def test_alias_of_another_symbol_or_category_cancels_nothing(attacker: Attacker) -> None:
    order = attacker.place(orderLinkId="alias-confusion", qty="12")
    before = attacker.facts().received
    for change in ({"symbol": "BTCUSDT"}, {"category": "linear"}, {"symbol": "BTCUSDT", "category": "linear"}):
        named = {"category": "spot", "symbol": "XRPUSDT", "orderLinkId": "alias-confusion"} | change
        assert attacker.bot.post(CANCEL, named)["retCode"] in (110001, 170213)
        assert attacker.bot.post(CANCEL, named | {"orderId": order["orderId"]})["retCode"] in (110001, 170213)
    assert [item for item in received_since(attacker.stack, before) if item["path"] == CANCEL] == []
    assert order["orderId"] in working_ids(attacker.stack)
    assert attacker.cancel(order)["retCode"] == 0


def test_signature_of_an_order_does_not_open_another_path(attacker: Attacker) -> None:
    body = dumps(attacker.order(qty="14"))
    headers = attacker.bot.headers(body)
    first = attacker.bot.http.post(CREATE, content=body, headers=headers).json()
    assert first["retCode"] == 0
    with attacker.denied("AUTH_SIGNATURE_SPENT"):
        assert attacker.bot.http.post(CANCEL, content=body, headers=headers).json()["retCode"] != 0
    assert attacker.cancel(json.loads(body) | first["result"])["retCode"] == 0


def test_cancel_flood_of_one_order_sends_one_cancel(attacker: Attacker) -> None:
    order = attacker.place(qty="15")
    before = attacker.facts().received
    bots = [Bot(attacker.stack.gateway) for _ in range(8)]
    named = {key: order[key] for key in ("category", "symbol", "orderId")}
    with ThreadPoolExecutor(len(bots)) as pool:
        list(pool.map(lambda bot: [bot.post(CANCEL, named) for _ in range(10)], bots))
    for bot in bots:
        bot.close()
    sent = [item for item in received_since(attacker.stack, before) if item["path"] == CANCEL]
    assert len(sent) == 1


def test_flood_of_refused_pins_becomes_counted_rows(attacker: Attacker) -> None:
    body = {"setMarginMode": "PORTFOLIO_MARGIN"}
    before, began = len(attacker.stack.rows()), time.monotonic()
    for _ in range(200):
        attacker.bot.post("/v5/account/set-margin-mode", body)
    flood_s = time.monotonic() - began
    attacker.facts()
    assert len(attacker.stack.rows()) - before < most_rows(flood_s)


def test_flood_of_requests_answered_here_becomes_counted_rows(attacker: Attacker) -> None:
    cancel = {"category": "spot", "symbol": "XRPUSDT"}
    before, rows, began = attacker.facts(), len(attacker.stack.rows()), time.monotonic()
    for number in range(200):
        attacker.bot.post("/v5/order/cancel", cancel | {"orderId": f"unknown{number}"})
        attacker.bot.get("/v5/account/info")
    flood_s = time.monotonic() - began
    after = attacker.facts()
    assert (after.seen - before.seen, after.recorded - before.recorded) == (400, 400)
    assert len(attacker.stack.rows()) - rows < 2 * most_rows(flood_s)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "x", ""])
def test_signed_order_for_another_host_is_denied(attacker: Attacker, host: str) -> None:
    raw = attacker.signed_bytes(json.dumps(attacker.order())).replace(b"Host: 127.0.0.1", f"Host: {host}".encode())
    with attacker.denied("REQUEST_HOST"):
        attacker.raw(raw)


@pytest.mark.parametrize(
    "frame",
    [
        '{"op":"auth","args":["key",1,"sign"]}',
        '{"op":"order.create","args":[{"symbol":"BTCUSDT"}]}',
        '{"op":"subscribe","args":["order","execution","wallet","position"]}',
        '{"op":"subscribe","args":["tickers.BTCUSDT\\n"]}',
        '{"op":"subscribe","op":"auth","args":["x"]}',
        '{"op":"ping","req_id":1e400}',
        '{"op":"ping","req_id":' + "9" * 5000 + "}",
        "[" * 16000,
        '{"op":"subscribe","args":["tickers.' + "A" * 31 + '"]}',
        "\x00",
        "null",
    ],
    ids=range(11),
)
def test_stream_frame_that_is_not_a_public_subscription_does_not_go_up(attacker: Attacker, frame: str) -> None:
    before = attacker.facts()

    async def send() -> str:
        async with connect(attacker.stack.gateway["ws"] + "/v5/public/linear", proxy=None) as stream:
            await stream.send(frame)
            return str(await asyncio.wait_for(stream.recv(), 60))

    assert "STREAM_FRAME_REFUSED" in asyncio.run(send())
    # The gateway's own streams may begin anew meanwhile, with frames of their own.
    gone_up = [item["body"] for item in received_since(attacker.stack, before.received) if item["method"] == "WS"]
    assert [body for body in gone_up if not GATEWAYS_OWN.match(body)] == []
    after = attacker.facts()
    assert after.denials["STREAM_FRAME_REFUSED"] == before.denials.get("STREAM_FRAME_REFUSED", 0) + 1


def test_foreign_text_in_an_answer_and_a_row_is_harmless(attacker: Attacker) -> None:
    hostile = '\x1b[2J<script>alert(1)</script>\x07"},{'
    answer = attacker.bot.post(CREATE, dumps(attacker.order(symbol=hostile.replace('"', ""))))
    told = attacker.raw(attacker.signed_bytes("{}", target="/v5/%0d%0aSet-Cookie:x/\x7f<b>"))
    attacker.facts()
    text = json.dumps(attacker.stack.rows()[-5:]) + answer["retMsg"] + told.decode("latin-1")
    assert "<script>" not in text
    assert "\x1b" not in text
    assert b"set-cookie" not in told.lower().partition(b"\r\n\r\n")[0]


def test_tag_of_an_order_is_not_told_to_the_bot_when_the_exchange_fails(attacker: Attacker) -> None:
    stack = attacker.stack
    order = attacker.order(qty="16")
    fault = {"path": CREATE, "mode": "drop", "count": 1}
    stack.control.post("/faults", json=fault).raise_for_status()
    answer = attacker.bot.post(CREATE, order)
    assert answer["retCode"] == 10016
    assert re.search(r"T1[A-Za-z0-9_-]{34}", answer["retMsg"]) is None
    wait_until(lambda: not stack.state()["unknown_outcomes"], what="the outcome known")


def test_thousand_idle_connections_cost_little_and_lock_nobody_out(attacker: Attacker) -> None:
    before = rss_bytes(gateway_pid(attacker))
    idle = []
    try:
        for _ in range(1000):
            idle.append(socket.create_connection(attacker.address, timeout=30))
        for _ in range(20):
            assert attacker.bot.get("/v5/account/info")["retCode"] == 0
        assert rss_bytes(gateway_pid(attacker)) - before < 20 * MB
    finally:
        for connection in idle:
            connection.close()


def test_client_that_does_not_read_its_answers_is_given_up(attacker: Attacker) -> None:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    connection.settimeout(8)
    connection.connect(attacker.address)
    before = rss_bytes(gateway_pid(attacker))
    request = b"GET /v5/market/instruments-info?category=linear HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connection:
        for _ in range(50):
            try:
                connection.sendall(request)
                time.sleep(0.02)
            except OSError:
                break
        assert attacker.bot.get("/v5/account/info")["retCode"] == 0
        assert rss_bytes(gateway_pid(attacker)) - before < 20 * MB


def test_order_whose_client_left_before_the_answer_does_not_stay(attacker: Attacker) -> None:
    stack = attacker.stack
    working = stack.state()["working_orders"]
    stack.control.post("/faults", json={"path": CREATE, "mode": "delay", "ms": 1500, "count": 1}).raise_for_status()
    with socket.create_connection(attacker.address) as connection:
        connection.sendall(attacker.signed_bytes(dumps(attacker.order(qty="17"))))
    tag = wait_until(lambda: tag_of_seventeen(attacker), what="the intent")
    wait_until(lambda: ended_at_exchange(attacker, tag), what="the order that nobody knows of is cancelled")
    wait_until(lambda: stack.state()["working_orders"] == working, what="no order that nobody knows of")


def tag_of_seventeen(attacker: Attacker) -> str:
    """The tag of the intent to buy 17; nothing while it has no row."""
    intents = [row["fields"] for row in attacker.stack.rows() if row["kind"] == "order:intent"]
    return next((str(fields["tag"]) for fields in intents if fields["quantity"] == "17"), "")


def ended_at_exchange(attacker: Attacker, tag: str) -> bool:
    closed = attacker.stack.control.get("/state").json()["closed_orders"]
    return any(order["orderLinkId"] == tag for order in closed)


def test_half_closed_connection_gets_no_second_reading(attacker: Attacker) -> None:
    with socket.create_connection(attacker.address, timeout=30) as connection:
        data = attacker.signed_bytes("{}", target="/v5/order/amend")
        before = attacker.facts()
        connection.sendall(data[: len(data) // 2])
        connection.shutdown(socket.SHUT_WR)
        read_answer(connection)
    after = attacker.facts()
    assert after.received >= before.received
    assert after.recorded - before.recorded == after.seen - before.seen <= 1


def test_admin_listener_is_not_fooled_by_host_origin_or_role(attacker: Attacker) -> None:
    admin = attacker.stack.gateway["admin"]
    token = {"Authorization": f"Bearer {attacker.stack.gateway['admin_token']}"}
    assert httpx.get(admin + "/state", headers=token | {"Host": "evil.example"}).status_code == 403
    assert httpx.post(admin + "/halt", headers=token | {"Origin": "http://x"}, json={"reason": "x"}).status_code == 403
    assert httpx.post(admin + "/lease", headers=token, content=b"{}").status_code == 403
    assert httpx.post(admin + "/release", headers=token, content=b"{}").status_code == 409
    assert attacker.stack.state_name() == "ACTIVE"


def test_stream_churn_stays_far_below_the_exchange_s_connection_limit(attacker: Attacker) -> None:
    before = attacker.facts().received

    async def churn() -> int:
        opened = 0
        for _ in range(15):
            tasks = [asyncio.create_task(open_and_close()) for _ in range(10)]
            opened += sum(await asyncio.gather(*tasks))
        return opened

    async def open_and_close() -> int:
        try:
            async with connect(attacker.stack.gateway["ws"] + "/v5/public/spot", proxy=None) as stream:
                await stream.send('{"op":"ping"}')
                await stream.recv()
        except (InvalidStatus, WebSocketException, OSError):
            return 0
        return 1

    began = time.monotonic()
    opened = asyncio.run(churn())
    most = OPENINGS_AT_ONCE + OPENINGS_PER_S * (time.monotonic() - began)
    frames = [item for item in received_since(attacker.stack, before) if item["method"] == "WS"]
    assert 1 <= opened <= most
    assert len(frames) <= most
    # 500 connections in 5 minutes get an address banned; half of it leaves room for the watchdog.
    assert OPENINGS_AT_ONCE + OPENINGS_PER_S * 300 < 250
