"""A stand-in for the exchange's order entry, fast enough to be loaded: `python exchange_stub.py --help`.

It stands between gateway and simulated exchange. New orders and cancels it answers itself, and reports each order as
Cancelled on the private stream at once. Everything else, on both ports, goes to the simulated exchange as it arrived.

It notes when each new order arrived (monotonic, the same clock for every process of the machine). On the HTTP port:
`GET /stub/count` how many orders arrived so far; `GET /stub/arrivals` a line `<ns> <order link id>` for each order
since the last such question.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections import OrderedDict
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import WebSocketException
from websockets.http11 import Request, Response

MARK = ("X-Trade-Environment", "SIMULATED")
HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
REMEMBERED_ORDERS = 100_000
PRIVATE_PATH = "/v5/private"
ITEMS_A_FRAME = 500


class OrderEntry:
    """The orders that arrived, and who is told of their end."""

    def __init__(self) -> None:
        self.count = 0
        self.arrivals: list[tuple[int, str]] = []
        self._ended: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._untold: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self.streams: set[ServerConnection] = set()

    def create(self, body: bytes) -> bytes:
        """Take an order and return the answer's body."""
        arrived_ns = time.monotonic_ns()
        order = json.loads(body)
        self.count += 1
        link_id = order.get("orderLinkId", "")
        self.arrivals.append((arrived_ns, link_id))
        order_id = f"{self.count:032x}"
        self._end(order, order_id, link_id)
        return b'{"retCode":0,"retMsg":"OK","result":{"orderId":"%b","orderLinkId":"%b"},"retExtInfo":{},"time":%d}' % (
            order_id.encode(),
            link_id.encode(),
            time.time_ns() // 1_000_000,
        )

    def _end(self, order: dict[str, Any], order_id: str, link_id: str) -> None:
        item = {
            "category": order["category"],
            "symbol": order["symbol"],
            "orderId": order_id,
            "orderLinkId": link_id,
            "side": order["side"],
            "orderStatus": "Cancelled",
            "orderType": "Limit",
            "timeInForce": "PostOnly",
            "price": order["price"],
            "qty": order["qty"],
            "cumExecQty": "0",
            "cumExecValue": "0",
            "reduceOnly": False,
            "stopOrderType": "",
        }
        self._untold.append(item)
        self._news.set()
        self._ended[link_id] = item
        if len(self._ended) > REMEMBERED_ORDERS:
            self._ended.popitem(last=False)

    def find(self, query: str) -> dict[str, Any] | None:
        """Find an order that a question names by its order link id."""
        return self._ended.get(parse_qs(query).get("orderLinkId", [""])[0])

    def take_arrivals(self) -> bytes:
        """Return a line for each order since the last call."""
        taken, self.arrivals = self.arrivals, []
        return "".join(f"{at_ns} {link_id}\n" for at_ns, link_id in taken).encode()

    async def keep_telling(self) -> None:
        """Tell the private streams of what ended; what came meanwhile rides in one frame."""
        while True:
            await self._news.wait()
            items, self._untold = self._untold[:ITEMS_A_FRAME], self._untold[ITEMS_A_FRAME:]
            if not self._untold:
                self._news.clear()
            frame = {"topic": "order", "creationTime": time.time_ns() // 1_000_000, "data": items}
            text = json.dumps(frame)
            for stream in list(self.streams):
                try:
                    await stream.send(text)
                except WebSocketException:
                    self.streams.discard(stream)


class HttpDoor(asyncio.Protocol):
    """One connection of the HTTP port. The next request is read once the one before it is answered."""

    def __init__(self, orders: OrderEntry, exchange: tuple[str, int]) -> None:
        self._orders = orders
        self._exchange = exchange
        self._buffer = b""
        self._transport: asyncio.Transport
        self._forwarding: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is the protocol's
        """End what is being asked for nobody."""
        if self._forwarding is not None:
            self._forwarding.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer every whole request that is there."""
        self._buffer += data
        while self._forwarding is None:
            head_end = self._buffer.find(HEAD_END)
            if head_end < 0:
                return
            length = CONTENT_LENGTH.search(self._buffer, 0, head_end)
            end = head_end + len(HEAD_END) + (int(length[1]) if length else 0)
            if len(self._buffer) < end:
                return
            request, self._buffer = self._buffer[:end], self._buffer[end:]
            self._answer(request, request[head_end + len(HEAD_END) :])

    def _answer(self, request: bytes, body: bytes) -> None:
        target = request.split(b" ", 2)[1].decode("latin-1")
        path, query = urlsplit(target)[2:4]
        found = self._orders.find(query) if path == "/v5/order/realtime" and "orderLinkId=" in query else None
        if path == "/v5/order/create":
            self._send(self._orders.create(body))
        elif path == "/v5/order/cancel":
            order_id = json.loads(body).get("orderId", "")
            self._send(_envelope({"orderId": order_id, "orderLinkId": ""}))
        elif found is not None:
            self._send(_envelope({"list": [found], "nextPageCursor": "", "category": found["category"]}))
        elif path == "/stub/count":
            self._send(str(self._orders.count).encode())
        elif path == "/stub/arrivals":
            self._send(self._orders.take_arrivals())
        else:
            self._forwarding = asyncio.get_running_loop().create_task(self._forward(request))

    def _send(self, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Trade-Environment: SIMULATED\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    async def _forward(self, request: bytes) -> None:
        try:
            reader, writer = await asyncio.open_connection(*self._exchange)
            writer.write(request)
            head = await reader.readuntil(HEAD_END)
            length = CONTENT_LENGTH.search(head)
            answer = head + await reader.readexactly(int(length[1]) if length else 0)
            writer.close()
            self._transport.write(answer)
        except (OSError, asyncio.IncompleteReadError):
            self._transport.close()
            return
        self._forwarding = None
        self.data_received(b"")


def _envelope(result: dict[str, Any]) -> bytes:
    answer = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": time.time_ns() // 1_000_000}
    return json.dumps(answer).encode()


class StreamDoor:
    """The WebSocket port: each stream is the exchange's own, the private ones with the ends of orders besides."""

    def __init__(self, orders: OrderEntry, exchange_ws: str) -> None:
        self._orders = orders
        self._exchange_ws = exchange_ws

    async def serve_stream(self, client: ServerConnection) -> None:
        """Relay one stream until either end closes."""
        assert client.request is not None
        path = client.request.path
        async with connect(self._exchange_ws + path, proxy=None, compression=None, max_size=None) as exchange:
            if path == PRIVATE_PATH:
                self._orders.streams.add(client)
            try:
                await _until_either_ends(_pump(client, exchange), _pump(exchange, client))
            finally:
                self._orders.streams.discard(client)


async def _pump(source: Any, target: Any) -> None:
    try:
        async for message in source:
            await target.send(message)
    except WebSocketException:
        return


async def _until_either_ends(*pumps: Any) -> None:
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _marked(_: ServerConnection, __: Request, response: Response) -> None:
    headers: Headers = response.headers
    headers[MARK[0]] = MARK[1]


async def run(arguments: argparse.Namespace) -> None:
    """Serve until the process is ended."""
    orders = OrderEntry()
    exchange = urlsplit(arguments.exchange)
    address = (str(exchange.hostname), int(exchange.port or 80))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpDoor(orders, address), "127.0.0.1", arguments.port, backlog=512)
    streams = StreamDoor(orders, arguments.exchange_ws)
    async with (
        server,
        serve(streams.serve_stream, "127.0.0.1", arguments.ws_port, compression=None, process_response=_marked),
    ):
        print("up", flush=True)
        await orders.keep_telling()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchange", required=True, metavar="URL", help="http:// address of the simulated exchange")
    parser.add_argument("--exchange-ws", required=True, metavar="URL", help="its ws:// address")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ws-port", type=int, required=True)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
