"""Faults and hostile input over real sockets."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from simulator.support import Simulation, eventually, signed_headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.slow

TIME = "/v5/market/time"
CREATE = "/v5/order/create"
CLOSED = (httpx.RemoteProtocolError, httpx.ReadError)
ORDER = {"category": "spot", "symbol": "XRPUSDT", "side": "Buy", "orderType": "Limit", "qty": "10", "price": "1.5"}


@pytest.fixture(autouse=True)
def no_faults_left(simulation: Simulation) -> Iterator[None]:
    yield
    simulation.control("DELETE", "faults")


def fault(simulation: Simulation, **fields: object) -> None:
    simulation.control("POST", "faults", fields)


def place(simulation: Simulation, link_id: str, *, timeout_s: float = 60) -> httpx.Response:
    body = json.dumps(ORDER | {"orderLinkId": link_id}).encode()
    headers = signed_headers(simulation.keys["client"], body, now_ms=time.time_ns() // 1_000_000)
    return httpx.post(simulation.url + CREATE, content=body, headers=headers, timeout=timeout_s)


def order_exists(simulation: Simulation, link_id: str) -> bool:
    return link_id in {row["orderLinkId"] for row in simulation.control("GET", "state")["orders"]}


def test_delay_holds_the_request_back_and_no_other(simulation: Simulation) -> None:
    fault(simulation, path=TIME, mode="delay", ms=300, count=1)
    started = time.monotonic()
    assert httpx.get(simulation.url + TIME).status_code == 200
    assert time.monotonic() - started >= 0.3
    assert simulation.control("GET", "faults") == []


def test_delay_beyond_the_recv_window_makes_the_request_too_old(simulation: Simulation) -> None:
    fault(simulation, path=CREATE, mode="delay", ms=400, count=1)
    body = json.dumps(ORDER).encode()
    now_ms = time.time_ns() // 1_000_000
    headers = signed_headers(simulation.keys["client"], body, now_ms=now_ms, recv_window=200)
    assert httpx.post(simulation.url + CREATE, content=body, headers=headers).json()["retCode"] == 10002


def test_close_ends_the_connection_unprocessed(simulation: Simulation) -> None:
    fault(simulation, path=CREATE, mode="close", count=1)
    with pytest.raises(CLOSED):
        place(simulation, "closed-1")
    assert not order_exists(simulation, "closed-1")


def test_drop_leaves_the_client_waiting_unprocessed(simulation: Simulation) -> None:
    fault(simulation, path=CREATE, mode="drop", count=1)
    with pytest.raises(httpx.ReadTimeout):
        place(simulation, "dropped-1", timeout_s=0.5)
    assert not order_exists(simulation, "dropped-1")


def test_lost_response_leaves_the_client_waiting_with_the_order_placed(simulation: Simulation) -> None:
    fault(simulation, path=CREATE, mode="lose_response", count=1)
    with pytest.raises(httpx.ReadTimeout):
        place(simulation, "lost-1", timeout_s=0.5)
    assert order_exists(simulation, "lost-1")


def test_lost_response_with_ms_closes_the_connection_after_them(simulation: Simulation) -> None:
    fault(simulation, path=CREATE, mode="lose_response", ms=100, count=1)
    with pytest.raises(CLOSED):
        place(simulation, "lost-2")
    assert order_exists(simulation, "lost-2")


def open_stream(simulation: Simulation, kind: str) -> ClientConnection:
    return connect(f"{simulation.ws}/v5/{kind}", open_timeout=60)


def ask(stream: ClientConnection, **message: object) -> dict[str, Any]:
    stream.send(json.dumps(message))
    answer: dict[str, Any] = json.loads(stream.recv(timeout=60))
    return answer


def books(stream: ClientConnection, number: int) -> list[int]:
    """Read the update numbers of so many book messages."""
    seen: list[int] = []
    while len(seen) < number:
        message = json.loads(stream.recv(timeout=60))
        if "topic" in message:
            seen.append(message["data"]["u"])
    return seen


@pytest.mark.parametrize(
    ("mode", "unusual"),
    [("gap", [2]), ("duplicate", [0]), ("reorder", [2, -1, 2])],
)
def test_stream_with_a_fault_shows_it_in_the_update_numbers(
    simulation: Simulation, mode: str, unusual: list[int]
) -> None:
    with open_stream(simulation, "public/linear") as stream:
        stream.send('{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}')
        numbers = books(stream, 1)
        fault(simulation, path="ws:public", mode=mode, count=1)
        numbers += books(stream, 30)
    steps = [later - earlier for earlier, later in itertools.pairwise(numbers)]
    assert [step for step in steps if step != 1] == unusual


def test_stream_without_faults_numbers_its_updates_without_gaps(simulation: Simulation) -> None:
    with open_stream(simulation, "public/linear") as stream:
        stream.send('{"op":"subscribe","args":["orderbook.200.ETHUSDT"]}')
        numbers = books(stream, 30)
    assert numbers == list(range(numbers[0], numbers[0] + 30))


def test_close_cuts_streams_that_are_open(simulation: Simulation) -> None:
    with open_stream(simulation, "public/spot") as stream:
        assert ask(stream, op="ping")["ret_msg"] == "pong"
        fault(simulation, path="ws:public", mode="close", count=1)
        with pytest.raises(ConnectionClosed):
            stream.recv(timeout=60)
    with open_stream(simulation, "public/spot") as stream:
        assert ask(stream, op="ping")["ret_msg"] == "pong"


def test_status_refuses_the_next_upgrade(simulation: Simulation) -> None:
    fault(simulation, path="ws:private", mode="status", status=503, count=1)
    with pytest.raises(InvalidStatus) as refused:
        open_stream(simulation, "private")
    assert refused.value.response.status_code == 503
    with open_stream(simulation, "private") as stream:
        assert ask(stream, op="ping")["op"] == "pong"


def test_lost_response_on_the_order_stream_swallows_the_answer_only(simulation: Simulation) -> None:
    with open_stream(simulation, "trade") as stream:
        fault(simulation, path="ws:trade", mode="lose_response", count=1)
        stream.send('{"op":"ping"}')
        assert ask(stream, op="ping", reqId="second")["reqId"] == "second"


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        b"GET /v5/market/time HTTP/1.1\r\nHost : x\r\n\r\n",
    ],
)
def test_request_that_is_no_http_is_refused_and_logged(simulation: Simulation, raw: bytes) -> None:
    before = simulation.control("GET", "requests")[-1]["n"]
    with socket.create_connection(("127.0.0.1", int(simulation.url.rsplit(":", 1)[1])), timeout=60) as client:
        client.sendall(raw)
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
    logged = eventually(lambda: simulation.control("GET", f"requests?since={before}"))
    assert [(row["method"], row["ret_code"]) for row in logged] == [("?", 400)]


def test_dotted_path_is_not_resolved(simulation: Simulation) -> None:
    with socket.create_connection(("127.0.0.1", int(simulation.url.rsplit(":", 1)[1])), timeout=60) as client:
        client.sendall(b"GET /v5/user/../market/time HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 404 ")
