"""The three WebSockets with a plain client: exact acknowledgements, refusals, and what is sent when."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from decimal import Decimal
from typing import Any

import httpx
import pytest
from simulator.support import Key, Simulation, signed_headers
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.slow

ORDER = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.001", "price": "60000"}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def open_stream(simulation: Simulation, path: str) -> ClientConnection:
    return connect(f"{simulation.ws}/v5/{path}", open_timeout=60)


def read(stream: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(stream.recv(timeout=60))
    return message


def ask(stream: ClientConnection, message: object) -> dict[str, Any]:
    """Send an operation and read its answer past any data of topics."""
    stream.send(message if isinstance(message, str) else json.dumps(message))
    while True:
        answer = read(stream)
        if "topic" not in answer:
            return answer


def login(key: Key, *, expires: int | None = None, **extra: object) -> dict[str, object]:
    until = now_ms() + 5000 if expires is None else expires
    signature = hmac.new(key.secret.encode(), f"GET/realtime{until}".encode(), hashlib.sha256).hexdigest()
    return {"op": "auth", "args": [key.key, until, signature], **extra}


def test_stream_says_that_it_is_simulated(simulation: Simulation) -> None:
    with open_stream(simulation, "public/spot") as stream:
        assert stream.response is not None
        assert stream.response.headers["X-Trade-Environment"] == "SIMULATED"


@pytest.mark.parametrize("path", ["public/inverse", "public", "private/x", "x"])
def test_stream_that_does_not_exist_answers_404(simulation: Simulation, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_stream(simulation, path)
    assert refused.value.response.status_code == 404


def test_public_acknowledgements_have_their_exact_keys(simulation: Simulation) -> None:
    with open_stream(simulation, "public/linear") as stream:
        pong = ask(stream, {"op": "ping", "req_id": "7"})
        connection = pong.pop("conn_id")
        assert pong == {"success": True, "ret_msg": "pong", "req_id": "7", "op": "ping"}
        acknowledged = ask(stream, {"op": "subscribe", "req_id": "8", "args": ["tickers.BTCUSDT"]})
        assert acknowledged == {
            "success": True, "ret_msg": "subscribe", "conn_id": connection, "req_id": "8", "op": "subscribe",
        }  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        "\x00",
        {"op": "subscribe"},
        {"op": "subscribe", "args": ["orderbook.7.BTCUSDT"]},
        {"op": "subscribe", "args": ["tickers.DOGEUSDT"]},
        {"op": "subscribe", "args": [["x"]]},
        {"op": ["x"]},
        {"op": "order.create", "args": [ORDER]},
    ],
)
@pytest.mark.parametrize("path", ["public/spot", "private", "trade"])
def test_operation_that_makes_no_sense_is_refused_and_the_stream_lives(
    simulation: Simulation, path: str, message: object
) -> None:
    with open_stream(simulation, path) as stream:
        answer = ask(stream, message)
        assert answer.get("success") is False or answer.get("retCode") not in {0, 10016, None}
        assert "pong" in json.dumps(ask(stream, {"op": "ping"}))


def test_spot_takes_at_most_ten_topics_at_a_time(simulation: Simulation) -> None:
    topics = [
        f"kline.{interval}.BTCUSDT" for interval in ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D")
    ]
    with open_stream(simulation, "public/spot") as stream:
        assert ask(stream, {"op": "subscribe", "args": topics})["success"] is False
        assert ask(stream, {"op": "subscribe", "args": topics[:10]})["success"] is True


def test_second_subscription_of_a_topic_is_refused(simulation: Simulation) -> None:
    with open_stream(simulation, "public/spot") as stream:
        assert ask(stream, {"op": "subscribe", "args": ["publicTrade.BTCUSDT"]})["success"] is True
        assert ask(stream, {"op": "subscribe", "args": ["publicTrade.BTCUSDT"]})["success"] is False
        assert ask(stream, {"op": "unsubscribe", "args": ["publicTrade.BTCUSDT"]})["success"] is True
        assert ask(stream, {"op": "subscribe", "args": ["publicTrade.BTCUSDT"]})["success"] is True


@pytest.mark.parametrize("category", ["spot", "linear"])
def test_deltas_on_a_snapshot_give_a_book_that_never_crosses(simulation: Simulation, category: str) -> None:
    with open_stream(simulation, f"public/{category}") as stream:
        stream.send('{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}')
        assert read(stream)["success"] is True
        snapshot = read(stream)
        assert snapshot["type"] == "snapshot"
        sides = {name: {Decimal(p): Decimal(q) for p, q in snapshot["data"][name]} for name in ("b", "a")}
        for _ in range(40):
            message = read(stream)
            assert message["type"] == "delta"
            for name in ("b", "a"):
                for price, size in message["data"][name]:
                    if Decimal(size):
                        sides[name][Decimal(price)] = Decimal(size)
                    else:
                        del sides[name][Decimal(price)]
            assert max(sides["b"]) < min(sides["a"])
            assert len(sides["b"]) <= 50
            assert len(sides["a"]) <= 50


def test_level_one_is_repeated_as_a_snapshot(simulation: Simulation) -> None:
    with open_stream(simulation, "public/spot") as stream:
        stream.send('{"op":"subscribe","args":["orderbook.1.BTCUSDT"]}')
        assert read(stream)["success"] is True
        messages = [read(stream) for _ in range(5)]
    assert {message["type"] for message in messages} == {"snapshot"}
    assert all(len(message["data"]["b"]) == 1 for message in messages)


def test_linear_ticker_starts_whole_and_goes_on_with_changes(simulation: Simulation) -> None:
    with open_stream(simulation, "public/linear") as stream:
        stream.send('{"op":"subscribe","args":["tickers.BTCUSDT"]}')
        assert read(stream)["success"] is True
        first, second = read(stream), read(stream)
    assert (first["type"], second["type"]) == ("snapshot", "delta")
    assert {"lastPrice", "markPrice", "indexPrice", "fundingRate", "openInterest", "tickDirection"} <= first[
        "data"
    ].keys()
    assert len(second["data"]) < len(first["data"])
    assert second["data"]["symbol"] == "BTCUSDT"


def test_private_stream_wants_a_login_first(simulation: Simulation) -> None:
    with open_stream(simulation, "private") as stream:
        refused = ask(stream, {"op": "subscribe", "args": ["order"]})
        assert (refused["success"], refused["op"]) == (False, "subscribe")


def test_private_login_answers_with_its_exact_keys(simulation: Simulation) -> None:
    with open_stream(simulation, "private") as stream:
        answer = ask(stream, login(simulation.keys["watch"], req_id="3"))
        del answer["conn_id"]
        assert answer == {"success": True, "ret_msg": "", "req_id": "3", "op": "auth"}
        pong = ask(stream, {"op": "ping", "req_id": "4"})
        assert (pong["op"], pong["req_id"], len(pong["args"])) == ("pong", "4", 1)
        assert "conn_id" in pong


@pytest.mark.parametrize("path", ["private", "trade"])
def test_wrong_login_is_refused(simulation: Simulation, path: str) -> None:
    key = simulation.keys["watch"]
    attempts: list[object] = [
        login(Key(key=key.key, secret="wrong")),
        login(Key(key="unknown", secret="x")),
        login(key, expires=now_ms() - 1),
        {"op": "auth", "args": []},
        {"op": "auth", "args": [key.key, {}, 1]},
    ]
    with open_stream(simulation, path) as stream:
        for attempt in attempts:
            answer = ask(stream, attempt)
            assert answer.get("success") is False or answer["retCode"] in {10001, 10002, 10003, 10004}


def test_private_topic_and_its_variant_are_not_taken_together(simulation: Simulation) -> None:
    with open_stream(simulation, "private") as stream:
        ask(stream, login(simulation.keys["watch"]))
        assert ask(stream, {"op": "subscribe", "args": ["order", "order.linear"]})["success"] is False
        assert ask(stream, {"op": "subscribe", "args": ["order.linear", "execution.spot"]})["success"] is True


def place(simulation: Simulation, role: str, body: dict[str, object]) -> dict[str, Any]:
    raw = json.dumps(body).encode()
    headers = signed_headers(simulation.keys[role], raw, now_ms=now_ms())
    answer: dict[str, Any] = httpx.post(f"{simulation.url}/v5/order/create", content=raw, headers=headers).json()
    return answer


def test_private_variant_hears_of_its_category_only(simulation: Simulation) -> None:
    with open_stream(simulation, "private") as stream:
        ask(stream, login(simulation.keys["watch"]))
        ask(stream, {"op": "subscribe", "args": ["order.spot"]})
        linear = ORDER | {"category": "linear", "qty": "0.01"}
        assert place(simulation, "order", linear)["retCode"] == 0
        assert place(simulation, "order", ORDER)["retCode"] == 0
        message = read(stream)
        assert message.keys() == {"id", "topic", "creationTime", "data"}
        assert message["topic"] == "order.spot"
        assert message["data"][0]["category"] == "spot"


def test_private_stream_tells_nothing_of_other_accounts(simulation: Simulation) -> None:
    with open_stream(simulation, "private") as stream:
        ask(stream, login(simulation.keys["master_read"]))
        ask(stream, {"op": "subscribe", "args": ["order", "wallet"]})
        assert place(simulation, "order", ORDER)["retCode"] == 0
        stream.send('{"op":"ping"}')
        assert read(stream)["op"] == "pong"


def trade_order(req_id: object = None, **changed: object) -> dict[str, object]:
    message: dict[str, object] = {
        "header": {"X-BAPI-TIMESTAMP": str(now_ms()), "X-BAPI-RECV-WINDOW": "5000"},
        "op": "order.create",
        "args": [ORDER],
        **changed,
    }
    return message if req_id is None else {"reqId": req_id} | message


def test_order_stream_answers_with_its_exact_keys(simulation: Simulation) -> None:
    with open_stream(simulation, "trade") as stream:
        answer = ask(stream, login(simulation.keys["client"], reqId="a"))
        connection = answer["connId"]
        assert answer == {"reqId": "a", "retCode": 0, "retMsg": "OK", "op": "auth", "connId": connection}
        created = ask(stream, trade_order("b"))
        assert created.keys() == {"reqId", "retCode", "retMsg", "op", "data", "retExtInfo", "header", "connId"}
        assert created["data"].keys() == {"orderId", "orderLinkId"}
        assert all(isinstance(value, str) for value in created["header"].values())
        assert {"X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp"} <= created["header"].keys()
        pong = ask(stream, {"op": "ping"})
        assert (pong["retCode"], pong["op"], "reqId" in pong) == (0, "pong", False)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (trade_order(op="order.destroy"), 10404),
        (trade_order(args=[{**ORDER, "category": "inverse"}]), 10404),
        (trade_order("x" * 37), 10001),
        (trade_order(5), 10001),
        (trade_order(args=[]), 10001),
        (trade_order(args=[ORDER, ORDER]), 10001),
        (trade_order(header=None), 10001),
        (trade_order(header={"X-BAPI-TIMESTAMP": "1"}), 10002),
        (trade_order(args=[{**ORDER, "qty": "-1"}]), 10001),
        (login(Key(key="x", secret="x")), 20001),
    ],
)
def test_order_stream_refuses_with_the_exchanges_code(
    simulation: Simulation, message: dict[str, object], code: int
) -> None:
    if isinstance(message.get("header"), dict) and message["header"] != {"X-BAPI-TIMESTAMP": "1"}:
        message = message | {"header": {"X-BAPI-TIMESTAMP": str(now_ms())}}
    with open_stream(simulation, "trade") as stream:
        ask(stream, login(simulation.keys["client"]))
        assert ask(stream, message)["retCode"] == code


def test_order_stream_takes_a_request_id_once(simulation: Simulation) -> None:
    with open_stream(simulation, "trade") as stream:
        ask(stream, login(simulation.keys["client"]))
        assert ask(stream, trade_order("once"))["retCode"] == 0
        assert ask(stream, trade_order("once"))["retCode"] == 20006


def test_order_stream_refuses_a_read_only_key(simulation: Simulation) -> None:
    with open_stream(simulation, "trade") as stream:
        ask(stream, login(simulation.keys["watch"]))
        assert ask(stream, trade_order("r"))["retCode"] == 10005


def test_order_stream_batches_answer_each_by_itself(simulation: Simulation) -> None:
    order = {name: value for name, value in ORDER.items() if name != "category"}
    request = {"category": "spot", "request": [order, order | {"qty": "0"}]}
    with open_stream(simulation, "trade") as stream:
        ask(stream, login(simulation.keys["client"]))
        answer = ask(stream, trade_order("batch", op="order.create-batch", args=[request]))
    assert answer["retCode"] == 0
    assert [row["code"] == 0 for row in answer["retExtInfo"]["list"]] == [True, False]


def test_streams_of_a_key_that_dies_are_of_no_more_use(simulation: Simulation) -> None:
    made = simulation.control(
        "POST", "key", {"uid": simulation.accounts["sub_uid"], "permissions": {"Spot": ["SpotTrade"]}, "readOnly": 0}
    )
    key = Key(key=made["key"], secret=made["secret"])
    with open_stream(simulation, "trade") as stream:
        ask(stream, login(key))
        assert ask(stream, trade_order("first"))["retCode"] == 0
        raw = json.dumps({"apikey": key.key}).encode()
        headers = signed_headers(simulation.keys["revoker"], raw, now_ms=now_ms())
        deleted = httpx.post(f"{simulation.url}/v5/user/delete-sub-api", content=raw, headers=headers)
        assert deleted.json()["retCode"] == 0
        assert ask(stream, trade_order("second"))["retCode"] == 10003


def test_frames_are_logged_with_their_key_and_code(simulation: Simulation) -> None:
    key = simulation.keys["watch"]
    before = simulation.control("GET", "requests")[-1]["n"]
    with open_stream(simulation, "private") as stream:
        ask(stream, login(Key(key=key.key, secret="wrong")))
        ask(stream, login(key))
        ask(stream, {"op": "subscribe", "args": ["order"]})
    rows = simulation.control("GET", f"requests?since={before}")
    assert [(row["method"], row["path"], row["key"], row["ret_code"]) for row in rows] == [
        ("WS", "/v5/private", key.key, 10004),
        ("WS", "/v5/private", key.key, 0),
        ("WS", "/v5/private", key.key, 0),
    ]
    assert json.loads(rows[2]["body"])["op"] == "subscribe"
