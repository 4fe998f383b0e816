"""Paths, framing and headers that two readers could take for two things: refused on the raw bytes."""

from __future__ import annotations

import gzip
import socket
import threading

import pytest
from integration.stack import wait_until

from redteam.attacker import CREATE, Attacker, dumps, read_answer, received_since

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("code", "target"),
    [
        ("PATH_UNKNOWN", "/v5/order%2Fcreate"),
        ("PATH_UNKNOWN", "/v5/order/create%00"),
        ("PATH_UNKNOWN", "//v5/order/create"),
        ("PATH_UNKNOWN", "/v5//order/create"),
        ("PATH_UNKNOWN", "/v5/./order/create"),
        ("PATH_UNKNOWN", "/v5/order/../asset/withdraw/create"),
        ("PATH_UNKNOWN", "/v5/order/..%2fasset/withdraw/create"),
        ("PATH_UNKNOWN", "/v5/order/create/"),
        ("PATH_UNKNOWN", "/v5/order/create;jsessionid=1"),
        ("PATH_UNKNOWN", "/v5/order/create#x"),
        ("PATH_UNKNOWN", "/V5/ORDER/CREATE"),
        ("PATH_UNKNOWN", "\\v5\\order\\create"),
        ("PATH_UNKNOWN", "*"),
        ("PATH_UNKNOWN", "http://127.0.0.1/v5/order/create"),
        ("PATH_UNKNOWN", "https://api.bybit.com/v5/order/create"),
        ("REQUEST_QUERY_UNEXPECTED", "/v5/order/create?"),
        ("REQUEST_QUERY_UNEXPECTED", "/v5/order/create?category=linear"),
    ],
)
def test_r14_path_of_two_readings_is_denied(attacker: Attacker, code: str, target: str) -> None:
    data = attacker.signed_bytes(dumps(attacker.order()), target=target)
    if target[0] not in "/*h":
        code = "REQUEST_UNPARSABLE"
    with attacker.denied(code):
        answer = attacker.raw(data)
    assert code.encode() in answer or answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"])
def test_r14_other_method_on_an_order_path_is_denied(attacker: Attacker, method: str) -> None:
    before = attacker.facts()
    body = dumps(attacker.order())
    attacker.raw(attacker.signed_bytes(body, method=method), timeout_s=1)
    after = attacker.facts_after(before)
    assert (after.recorded - before.recorded, after.seen - before.seen) == (1, 1)
    assert sum(after.denials.values()) == sum(before.denials.values()) + 1
    assert [item for item in received_since(attacker.stack, before.received) if item["path"] == CREATE] == []


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("REQUEST_HEADER_FORBIDDEN", "X-HTTP-Method-Override: DELETE\r\n"),
        ("REQUEST_HEADER_FORBIDDEN", "X-Method-Override: GET\r\n"),
        ("REQUEST_HEADER_DUPLICATE", "Host: api.bybit.com\r\n"),
        ("REQUEST_HEADER_DUPLICATE", "content-type: application/json\r\n"),
        ("REQUEST_CONTENT_ENCODING", "Content-Encoding: identity\r\n"),
        ("REQUEST_HEADER_DUPLICATE", "X-BAPI-SIGN-TYPE: 2\r\nx-bapi-sign-type: 1\r\n"),
        ("REQUEST_HEADER_DUPLICATE", "x-bapi-timestamp: 1\r\n"),
        ("REQUEST_HEADER_DUPLICATE", "X-Bapi-Api-Key: x\r\n"),
    ],
)
def test_r15_header_of_two_readings_is_denied(attacker: Attacker, code: str, extra: str) -> None:
    data = attacker.signed_bytes(dumps(attacker.order()), extra=extra)
    with attacker.denied(code):
        assert code.encode() in attacker.raw(data)


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 2\r\nContent-Length: 400\r\n\r\n{}",
        b"Content-Length: 2, 2\r\n\r\n{}",
        b"Content-Length: +2\r\n\r\n{}",
        b"Content-Length: 0x2\r\n\r\n{}",
        b"Content-Length: -1\r\n\r\n{}",
        b"Content-Length : 2\r\n\r\n{}",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        b"Content-Length: 2\r\nX: a\r\n b\r\n\r\n{}",
        b"Content-Length: 2\r\nX\x00Y: a\r\n\r\n{}",
    ],
    ids=range(12),
)
def test_r15_smuggling_is_refused_and_closes(attacker: Attacker, framing: bytes) -> None:
    # A second request hides behind the first: whoever takes the other reading of the length would see it.
    hidden = attacker.signed_bytes(dumps(attacker.order()))
    before = attacker.facts()
    attacker.raw(b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\n" + framing + hidden, timeout_s=2)
    after = attacker.facts_after(before)
    assert [item for item in received_since(attacker.stack, before.received) if item["method"] == "POST"] == []
    # A body that breaks half-way ends a request that was under way: the parser's refusal and its end both count.
    assert 1 <= after.recorded - before.recorded == after.seen - before.seen <= 2


def test_r15_chunked_order_is_denied(attacker: Attacker) -> None:
    body = dumps(attacker.order())
    headers = "".join(f"{name}: {value}\r\n" for name, value in attacker.bot.headers(body).items())
    head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\n{headers}Transfer-Encoding: chunked\r\n\r\n"
    with attacker.denied("REQUEST_HEADER_FORBIDDEN"):
        attacker.raw(f"{head}{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode())


def test_r15_compressed_body_is_denied(attacker: Attacker) -> None:
    packed = gzip.compress(dumps(attacker.order()).encode()).decode("latin-1")
    with attacker.denied("REQUEST_CONTENT_ENCODING"):
        body = packed.encode("latin-1")
        headers = attacker.bot.headers(packed) | {"Content-Encoding": "gzip"}
        attacker.bot.http.post(CREATE, content=body, headers=headers | {"X-BAPI-SIGN": "0" * 64})


def test_r15_body_of_ten_megabytes_is_refused_before_it_is_read(attacker: Attacker) -> None:
    head = b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
    with attacker.denied("REQUEST_BODY_TOO_LARGE"):
        assert b"REQUEST_BODY_TOO_LARGE" in attacker.raw(head + b"a" * 65_536)


def test_r15_slow_and_silent_clients_lock_nobody_out(attacker: Attacker) -> None:
    connections = [socket.create_connection(attacker.address, timeout=15) for _ in range(300)]
    try:
        for connection in connections[::2]:
            connection.sendall(b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        for turn in range(20):
            for connection in connections[turn::20]:
                connection.sendall(b"a") if connections.index(connection) % 2 == 0 else None
            assert attacker.bot.get("/v5/account/info")["retCode"] == 0
    finally:
        for connection in connections:
            connection.close()


def test_r15_head_that_never_ends_is_cut_off(attacker: Attacker) -> None:
    before = attacker.facts().denials.get("HEAD_TOO_SLOW", 0)
    with socket.create_connection(attacker.address, timeout=15) as connection:
        connection.sendall(b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\nX: ")
        done = threading.Event()

        def drip() -> None:
            while not done.wait(0.5):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert read_answer(connection).startswith(b"HTTP/1.1 400")
        finally:
            done.set()
            dripping.join()
    wait_until(lambda: attacker.facts().denials.get("HEAD_TOO_SLOW", 0) == before + 1, what="one more slow head")


def test_r16_headers_of_the_client_are_not_relayed(attacker: Attacker) -> None:
    body = dumps(attacker.order())
    extra = "Referer: thief\r\nX-Forwarded-Host: api.bybit.com\r\nCookie: a=b\r\nX-Referer: thief\r\n"
    before = attacker.facts().received
    answer = attacker.raw(attacker.signed_bytes(body, extra=extra))
    assert b'"retCode":0' in answer
    (sent,) = [item for item in received_since(attacker.stack, before) if item["path"] == CREATE]
    assert sent["key"] != attacker.bot.key
    assert "thief" not in repr(sent)
    assert (sent["query"], sent["ret_code"]) == ("", 0)
    order_id = answer.partition(b'"orderId":"')[2].partition(b'"')[0].decode()
    assert attacker.cancel(attacker.order() | {"orderId": order_id})["retCode"] == 0


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v5/order/realtime", "category=spot&symbol=http://169.254.169.254/"),
        ("/v5/order/realtime", "category=spot&cursor=x%0d%0aX-BAPI-API-KEY:%20thief"),
        ("/v5/order/realtime", "category=spot&cursor=x%20HTTP/1.1%0aHost"),
        ("/v5/order/realtime", "category=spot&cursor=x%00"),
        ("/v5/order/realtime", "category=spot&orderLinkId=a%26symbol"),
        ("/v5/order/history", "category=spot&cursor=" + "a" * 513),
        ("/v5/market/tickers", "category=spot&symbol=BTCUSDT%26category%3Dlinear"),
    ],
)
def test_r16_query_that_names_another_place_is_denied(attacker: Attacker, path: str, query: str) -> None:
    attacker.denied_get("QUERY_VALUE_INVALID", path, query)


@pytest.mark.parametrize("cursor", ["a%26orderLinkId%3DT1", "%23x", "a;b=c", "a:b,c~d", "%3F", "..%2F..%2Fasset"])
def test_r16_cursor_goes_up_as_one_value_byte_for_byte(attacker: Attacker, cursor: str) -> None:
    before = attacker.facts().received
    query = f"category=spot&limit=7&cursor={cursor}"
    answer = attacker.bot.get("/v5/order/history", query)
    assert "sign" not in answer["retMsg"]
    sent = [item for item in received_since(attacker.stack, before) if "limit=7" in item["query"]]
    assert [(item["path"], item["query"]) for item in sent] == [("/v5/order/history", query)]
