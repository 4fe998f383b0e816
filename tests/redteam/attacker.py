"""A hostile bot with a valid virtual key, and what is asserted about each of its attacks at the wire.

A denial means: the simulator received no write and nothing on the attacked path, exactly one more request is on
record (a row of a request kind, or one count), and the denials metric of the expected code rose by exactly one.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx
from integration.bot import Bot
from integration.stack import Stack, wait_until

from trade_journal.log.rows import REQUEST_KINDS

CREATE = "/v5/order/create"
CANCEL = "/v5/order/cancel"
_KINDS = frozenset(kind.value for kind in REQUEST_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the gateway and the simulator have on record at a moment."""

    seen: int
    recorded: int
    denials: Mapping[str, int]
    received: int


class Attacker:
    """Sends what a bot never would, and checks what came of it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.bot = Bot(stack.gateway)
        self._exchange = httpx.Client(base_url=stack.simulator["url"], timeout=30)

    def close(self) -> None:
        """Close the connections."""
        self.bot.close()
        self._exchange.close()

    def order(self, **changes: Any) -> dict[str, Any]:
        """An order that would pass, with changes; a value of None leaves the key out."""
        query = {"category": "spot", "symbol": "XRPUSDT"}
        ticker = self._exchange.get("/v5/market/tickers", params=query).json()["result"]["list"][0]
        order = query | {
            "side": "Buy",
            "orderType": "Limit",
            "timeInForce": "PostOnly",
            "price": f"{float(ticker['lastPrice']) * 0.97:.3f}",
            "qty": "10",
        }
        return {key: value for key, value in (order | changes).items() if value is not None}

    def facts(self) -> Facts:
        """Count what is on record, once everything seen so far is."""
        wait_until(lambda: is_settled(self.stack), what="rows and counts written")
        samples = metric_samples(self.stack)
        return Facts(
            seen=sum(value for (name, _), value in samples.items() if name == "trade_gateway_requests_total"),
            recorded=recorded_requests(self.stack),
            denials={
                labels["code"]: value
                for (name, packed), value in samples.items()
                if name == "trade_gateway_denials_total" and (labels := dict(packed))
            },
            received=last_received(self.stack),
        )

    def facts_after(self, before: Facts) -> Facts:
        """Count again, once something more has come: not every answer is one that a client can wait for."""

        def later() -> Facts | None:
            return found if (found := self.facts()).seen > before.seen else None

        found: Facts = wait_until(later, what="one more request seen")
        return found

    @contextmanager
    def denied(
        self, code: str, *, path: str = CREATE, query: str | None = None, state: str = "ACTIVE", times: int = 1
    ) -> Iterator[None]:
        """Assert that what happens inside is denied with this code, on record once each, and never left.

        `query` tells an attacked read from those that the gateway itself asks for on the same path.
        """
        before = self.facts()
        yield
        after = self.facts()
        assert after.recorded == before.recorded + times
        assert after.seen == before.seen + times
        risen = {name: count - before.denials.get(name, 0) for name, count in after.denials.items()}
        assert {name: count for name, count in risen.items() if count} == {code: times}
        left = [
            item
            for item in received_since(self.stack, before.received)
            if item["method"] == "POST" or (item["path"] == path and query in (None, item["query"]))
        ]
        assert left == []
        # A busy machine may let a lease or price lapse for a moment, which clears by itself; a latch never does.
        self.stack.wait_for_state(state)

    def denied_order(self, code: str, body: Mapping[str, Any] | str, *, state: str = "ACTIVE") -> dict[str, Any]:
        """Send an order that must be denied with this code; return the answer."""
        self.stack.wait_for_state(state)
        with self.denied(code, state=state):
            answer = self.bot.post(CREATE, body if isinstance(body, str) else dict(body))
        assert answer["retCode"] != 0
        assert answer["retMsg"].split(":")[0] == code
        return answer

    def denied_post(self, code: str, path: str, body: Mapping[str, Any] | str = "{}", *, state: str = "ACTIVE") -> None:
        """Send a signed write that must be denied with this code."""
        with self.denied(code, path=path, state=state):
            answer = self.bot.post(path, body if isinstance(body, str) else dict(body))
        assert (answer["retCode"] != 0, answer["retMsg"].split(":")[0]) == (True, code)

    def denied_get(self, code: str, path: str, query: str = "") -> None:
        """Send a signed read that must be denied with this code."""
        with self.denied(code, path=path, query=query):
            answer = self.bot.get(path, query)
        assert (answer["retCode"] != 0, answer["retMsg"].split(":")[0]) == (True, code)

    def place(self, **changes: Any) -> dict[str, Any]:
        """Place an order that must pass; return it with its order id."""
        order = self.order(**changes)
        answer = self.bot.create(order)
        assert answer["retCode"] == 0, answer
        return order | {"orderId": answer["result"]["orderId"]}

    def cancel(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Cancel an order by its id."""
        return self.bot.post(CANCEL, {key: order[key] for key in ("category", "symbol", "orderId")})

    def signed_bytes(self, body: str, *, target: str = CREATE, extra: str = "", method: str = "POST") -> bytes:
        """A signed request as bytes, with header lines of the attacker's choice."""
        headers = "".join(f"{name}: {value}\r\n" for name, value in self.bot.headers(body).items())
        head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}{extra}Content-Length: {len(body)}\r\n\r\n"
        return (head + body).encode("latin-1")

    def raw(self, data: bytes, *, timeout_s: float = 30) -> bytes:
        """Send bytes on a connection of their own and return what comes back until an answer is whole."""
        with socket.create_connection(self.address, timeout=timeout_s) as connection:
            connection.sendall(data)
            return read_answer(connection)

    @property
    def address(self) -> tuple[str, int]:
        """Where the bot's listener is."""
        parts = urlsplit(self.stack.gateway["url"])
        return str(parts.hostname), int(parts.port or 0)


def read_answer(connection: socket.socket) -> bytes:
    """Read one answer, or until the other end closes or is silent for the socket's timeout."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
            if is_whole(received):
                break
    except (TimeoutError, ConnectionResetError):
        pass
    return received


def is_whole(received: bytes) -> bool:
    """Tell whether the bytes hold a whole answer with a length."""
    head, found, body = received.partition(b"\r\n\r\n")
    lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(found and lengths and len(body) >= int(lengths[0]))


def metric_samples(stack: Stack) -> dict[tuple[str, tuple[tuple[str, str], ...]], int]:
    """Read the gateway's counters and gauges."""
    samples = {}
    for line in stack.admin.get("/metrics").raise_for_status().text.splitlines():
        if line.startswith("trade_gateway_"):
            series, _, value = line.rpartition(" ")
            name, _, labels = series.partition("{")
            pairs = [pair.split("=", 1) for pair in labels.rstrip("}").split(",") if pair]
            samples[(name, tuple((key, text.strip('"')) for key, text in pairs))] = int(float(value))
    return samples


def is_settled(stack: Stack) -> bool:
    """Tell whether every request seen so far is in the journal."""
    journal = stack.state()["journal"]
    return bool(journal["pending"] == 0 and journal["pending_count"] == 0)


@dataclass(slots=True, kw_only=True)
class _Read:
    """How far a stack's records have been read, so that no test reads them from the start again."""

    rows: int = 0
    requests: int = 0
    entries: int = 0


_READ: WeakKeyDictionary[Stack, _Read] = WeakKeyDictionary()


def recorded_requests(stack: Stack) -> int:
    """Count the requests that the journal knows: one a row of a request kind, or what a counted row says."""
    read = _READ.setdefault(stack, _Read())
    while rows := stack.admin.get("/journal/rows", params={"from": read.rows, "limit": 500}).json()["rows"]:
        read.rows += len(rows)
        read.requests += sum(int(row["fields"]["count"]) for row in rows if row["kind"] == "request:counted")
        read.requests += sum(1 for row in rows if row["kind"] in _KINDS)
    return read.requests


def received_since(stack: Stack, number: int) -> list[dict[str, Any]]:
    """What the simulator received after an entry, but for what came with keys of the watchdog and the executor."""
    others = _keys_of_others(stack.folder / "state")
    return [item for item in _entries_since(stack, number) if item.get("key") not in others]


def _entries_since(stack: Stack, number: int) -> list[dict[str, Any]]:
    return list(stack.control.get("/requests", params={"since": number}).raise_for_status().json())


@lru_cache(maxsize=64)
def _keys_of_others(state: Path) -> frozenset[str]:
    files = (*state.glob("watchdog/*secrets.json"), *state.glob("executor/*secrets.json"))
    return frozenset(str(json.loads(file.read_text())["exchange_key"]) for file in files)


def last_received(stack: Stack) -> int:
    """The number of the simulator's last entry."""
    read = _READ.setdefault(stack, _Read())
    entries = _entries_since(stack, read.entries)
    read.entries = int(entries[-1]["n"]) if entries else read.entries
    return read.entries


def orders_at_exchange(stack: Stack) -> list[dict[str, Any]]:
    """The orders that the simulator knows."""
    return list(stack.control.get("/state").raise_for_status().json()["orders"])


def working_ids(stack: Stack) -> set[str]:
    """The ids of working orders at the simulator."""
    working = {"New", "PartiallyFilled", "Untriggered"}
    return {str(order["orderId"]) for order in orders_at_exchange(stack) if order["orderStatus"] in working}


def rss_bytes(pid: int) -> int:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def dumps(value: Mapping[str, Any]) -> str:
    """Write JSON as most clients do, characters beyond ASCII as they are."""
    return json.dumps(value, ensure_ascii=False)
