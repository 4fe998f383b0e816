"""A seeded fuzzer of the bot's listener: request number N of a seed is always the same, but for time and signature.

Every request starts as a good one and is spoiled in one or more ways, signed or not after that, and written whole, in
fragments, cut off or with another one right behind it. What reached the simulator is then judged by `judge_upstream`,
which knows the permitted orders from the policy file and shares no code with the gateway.

Run by itself (`make redteam`), it starts a stack, sends ARGS' count of requests and prints what came of them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import itertools
import json
import random
import re
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from integration.stack import Stack

from redteam.attacker import CANCEL, CREATE, Attacker, is_whole, received_since, recorded_requests, rss_bytes

WORKERS = 24
WARM_UP = 500
GROWTH_LIMIT_BYTES = 20 * 1024 * 1024
ANSWER_WITHIN_S = 6.0
SPOILED_ANSWER_WITHIN_S = 0.4  # a wrong length makes the gateway wait for a body that never comes
CUT_OFF_AFTER_S = 0.02
_GOOD_EVERY = 250
"""One in so many is left unspoiled; more would trip the message throttle, and then nothing would get far."""

_NUMBERS = [
    "NaN",
    "Infinity",
    "-1",
    "+1",
    "1e9",
    "1E-3",
    "0",
    "0.0",
    "00",
    "01",
    "1.",
    ".5",
    "1_000",
    "0x10",
    "1,5",
    "9999999999999",
    "99999999999999999999",
    "0.0000000000001",
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"',
    '"',
    '"NaN"',
    '"1e3"',
    '"-5"',
    '"\u0665"',
    '"\uff11"',
    '"5',
    '"',
    '"\\u0035"',
    "1e400",
    "-0",
]
_WORDS = [
    "Market",
    "Limit",
    "limit",
    "IOC",
    "GTC",
    "FOK",
    "PostOnly",
    "postonly",
    "RPI",
    "Buy",
    "Sell",
    "buy",
    "spot",
    "linear",
    "inverse",
    "option",
    "BTCUSDT",
    "ETHUSDT",
    "XRPUSDT",
    "DOGEUSDT",
    "btcusdt",
    "BTC-USDT",
    "../x",
    "0",
    "1",
    "true",
    "StopOrder",
    "Order",
]
_FIELDS = [
    "triggerPrice",
    "stopLoss",
    "takeProfit",
    "closeOnTrigger",
    "bboSideType",
    "bboLevel",
    "reduceOnly",
    "isLeverage",
    "positionIdx",
    "orderFilter",
    "marketUnit",
    "slippageTolerance",
    "smpType",
    "orderLinkId",
    "qty",
    "price",
    "timeInForce",
    "orderType",
    "category",
    "symbol",
    "side",
    "orderIv",
    "mmp",
    "tpslMode",
    "activePrice",
    "__proto__",
    "Qty",
    "QTY",
]
_PATHS = [
    "/v5/order/create",
    "/v5/order/cancel",
    "/v5/order/amend",
    "/v5/order/create-batch",
    "/v5/order/realtime",
    "/v5/order/history",
    "/v5/position/trading-stop",
    "/v5/account/wallet-balance",
    "/v5/market/tickers",
    "/v5/market/time",
    "/v5/user/query-api",
    "/v5/trade",
    "/v5/asset/coin/query-info",
    "/v5/execution/list",
    "/",
    "/v5",
    "/v5/order",
    "/favicon.ico",
    "/metrics",
    "/state",
    "/halt",
]
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "Post", "XYZ", "PRI"]
_HEADERS = (
    "X-HTTP-Method-Override: DELETE",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Content-Encoding: gzip",
    "Content-Type: text/plain",
    "Content-Length: 3",
    "Content-Length: 0",
    "Host: evil.example",
    "Upgrade: websocket\r\nConnection: Upgrade",
    "Upgrade: h2c\r\nConnection: Upgrade",
    "Expect: 100-continue",
    "X-BAPI-RECV-WINDOW: 999999999",
    "X-BAPI-SIGN: " + "0" * 64,
    "X-BAPI-API-KEY: x",
    "Bad Name: x",
    "X: a\r\n folded",
    "X\x00: y",
    "Connection: close",
    "X-Long: " + "a" * 20_000,
    "Cookie: a=b",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One request: its bytes in the pieces in which they are written, and how long an answer is waited for."""

    pieces: tuple[bytes, ...]
    within_s: float


@dataclass(slots=True, kw_only=True)
class Market:
    """What a good order looks like at the moment: resting prices and quantities by category and symbol."""

    orders: list[dict[str, str]]


class Magazine:
    """Makes the requests of one seed."""

    def __init__(self, *, seed: int, key: str, secret: str, market: Market) -> None:
        self._seed = seed
        self._key = key
        self._secret = secret
        self._market = market

    def shot(self, number: int) -> Shot:
        """Make request `number`."""
        dice = random.Random(f"{self._seed}:{number}")
        if number % _GOOD_EVERY == 0:
            return Shot(pieces=(self._good(dice, number),), within_s=ANSWER_WITHIN_S)
        data = self._spoiled(dice, number)
        if dice.random() < 0.03:
            data += self._spoiled(dice, number)
        if dice.random() < 0.05:
            return Shot(pieces=(data[: dice.randrange(1, len(data))],), within_s=CUT_OFF_AFTER_S)
        return Shot(pieces=_pieces(data, dice), within_s=SPOILED_ANSWER_WITHIN_S)

    def _good(self, dice: random.Random, number: int) -> bytes:
        body = json.dumps(self._order(dice, number)).encode()
        return self._request(dice, method="POST", target=CREATE, body=body, lines=[], is_signed=True)

    def _order(self, dice: random.Random, number: int) -> dict[str, Any]:
        order: dict[str, Any] = dict(dice.choice(self._market.orders))
        # No two of a kind, or the second one is denied as a duplicate.
        number_of_kind = number // _GOOD_EVERY % 20
        order["price"] = str(
            Decimal(order["price"]) + number_of_kind * Decimal(1).scaleb(Decimal(order["price"]).as_tuple().exponent)
        )
        order |= {"side": "Buy", "orderType": "Limit", "timeInForce": "PostOnly"}
        if dice.random() < 0.3:
            order["orderLinkId"] = f"fuzz-{self._seed}-{number}"
        return order

    def _spoiled(self, dice: random.Random, number: int) -> bytes:
        kind = dice.random()
        method, target, body = "POST", CREATE, json.dumps(self._order(dice, number)).encode()
        if kind < 0.12:
            named = {"category": "spot", "symbol": "XRPUSDT", "orderId": f"{dice.getrandbits(64):x}"}
            target, body = CANCEL, json.dumps(named).encode()
        elif kind < 0.25:
            method, target, body = "GET", dice.choice(_PATHS) + _query(dice), b""
        lines: list[str] = []
        for _ in range(dice.randrange(1, 4)):
            way = dice.random()
            if way < 0.6 and body:
                body = _spoil_body(body, dice)
            elif way < 0.8:
                target = _spoil_target(target, dice)
            elif way < 0.85:
                method = dice.choice(_METHODS)
            else:
                lines.append(dice.choice(_HEADERS))
        if not lines and target == CREATE and method == "POST":
            body = _spoil_body(body, dice)
        return self._request(dice, method=method, target=target, body=body, lines=lines, is_signed=dice.random() < 0.8)

    def _request(
        self, dice: random.Random, *, method: str, target: str, body: bytes, lines: list[str], is_signed: bool
    ) -> bytes:
        at_ms = str(time.time_ns() // 1_000_000 - (dice.choice((0, 0, 0, 8_000, -8_000)) if lines else 0))
        payload = body if method == "POST" else target.partition("?")[2].encode("latin-1", "replace")
        text = (at_ms + self._key + "5000").encode() + payload
        sign = hmac.new(self._secret.encode(), text, hashlib.sha256).hexdigest() if is_signed else "ab" * 32
        head = [
            f"{method} {target} HTTP/1.1",
            "Host: 127.0.0.1",
            f"X-BAPI-API-KEY: {self._key}",
            f"X-BAPI-TIMESTAMP: {at_ms}",
            "X-BAPI-RECV-WINDOW: 5000",
            f"X-BAPI-SIGN: {sign}",
            "Content-Type: application/json",
            *lines,
        ]
        if body:
            head.append(f"Content-Length: {len(body)}")
        return "\r\n".join(head).encode("latin-1", "replace") + b"\r\n\r\n" + body


def _query(dice: random.Random) -> str:
    return dice.choice(("", "?", "?category=spot", "?category=spot&symbol=XRPUSDT&cursor=%26a", "?x=%0d%0a", "?a&b"))


def _spoil_body(body: bytes, dice: random.Random) -> bytes:
    way = dice.randrange(9)
    at = dice.randrange(len(body) + 1)
    match way:
        case 0:
            return body[:at] + bytes([dice.randrange(256)]) + body[at + 1 :]
        case 1:
            return body[:at] + bytes(dice.randrange(256) for _ in range(dice.randrange(1, 6))) + body[at:]
        case 2:
            return body[:at] + body[at + dice.randrange(1, 20) :]
        case 3:
            return body + body[at:]
        case 4:  # another value for a key that is there
            value = dice.choice((*_NUMBERS, *(f'"{word}"' for word in _WORDS)))
            keys = re.findall(rb'"(\w+)":', body) or [b"qty"]
            return re.sub(rb'("%s": )("[^"]*"|\w+)' % dice.choice(keys), lambda m: m[1] + value.encode(), body, count=1)
        case 5:  # a key more, known, forbidden or there already
            value = dice.choice((*_NUMBERS, *(f'"{word}"' for word in _WORDS)))
            extra = f'"{dice.choice(_FIELDS)}": {value}'.encode()
            return b"{" + extra + b", " + body[1:] if dice.random() < 0.5 else body[:-1] + b", " + extra + b"}"
        case 6:
            return dice.choice((b"[" + body + b"]", body + b"{}", b"\xef\xbb\xbf" + body, b"", b"null", b"[" * 2000))
        case 7:
            return body.decode("latin-1").encode(dice.choice(("utf-16", "utf-7", "utf-32")))
        case _:
            return body[:1] + b" " * dice.randrange(1, 6000) + body[1:]


def _spoil_target(target: str, dice: random.Random) -> str:
    path, _, query = target.partition("?")
    at = dice.randrange(len(path))
    match dice.randrange(8):
        case 0:
            path = path[:at] + f"%{ord(path[at]):02x}" + path[at + 1 :]
        case 1:
            path = path[:at] + "/" + path[at:]
        case 2:
            path = path[:at] + path[at].swapcase() + path[at + 1 :]
        case 3:
            path += dice.choice(("/", ";a=b", "/..", "%00", "%20", "/../create", "#x", "."))
        case 4:
            path = "http://evil.example" + path
        case 5:
            path = path[:at] + chr(dice.choice((0x7F, 0x80, 0xFF, 0x5C, 0x3C, 0x22))) + path[at:]
        case 6:
            path = dice.choice(_PATHS)
        case _:
            query += dice.choice(("&a=b", "a=%0a", "category=linear", "=" * 10, "x" * 2000))
    return f"{path}?{query}" if query else path


def _pieces(data: bytes, dice: random.Random) -> tuple[bytes, ...]:
    if dice.random() < 0.8:
        return (data,)
    cuts = sorted({0, len(data), *(dice.randrange(len(data)) for _ in range(dice.randrange(1, 12)))})
    return tuple(data[start:end] for start, end in itertools.pairwise(cuts))


@dataclass(slots=True, kw_only=True)
class Result:
    """What a run found."""

    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    orders_upstream: int = 0
    requests_seen: int = 0
    requests_recorded: int = 0
    growth_bytes: int = 0
    seconds: float = 0
    faults: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Write the figures as lines."""
        lines = [
            f"requests sent            {self.sent}",
            f"seen by the gateway      {self.requests_seen}",
            f"on record (rows, counts) {self.requests_recorded}",
            f"orders upstream          {self.orders_upstream}",
            f"not a permitted order    {len(self.faults)}",
            f"growth of the process    {self.growth_bytes / 1e6:.1f} MB",
            f"seconds                  {self.seconds:.0f}",
            "",
        ]
        return "\n".join(lines + [f"{count:>8}  {name}" for name, count in self.outcomes.most_common()])


async def fire(magazine: Magazine, *, address: tuple[str, int], numbers: Sequence[int], result: Result) -> None:
    """Send requests with several workers and note how each ended."""
    waiting = iter(numbers)

    async def work() -> None:
        for number in waiting:
            outcome = await _send(magazine.shot(number), address)
            result.sent += 1
            result.outcomes[outcome] += 1

    await asyncio.gather(*(work() for _ in range(WORKERS)))


async def _send(shot: Shot, address: tuple[str, int]) -> str:
    reader, writer = await asyncio.open_connection(*address)
    try:
        for piece in shot.pieces:
            writer.write(piece)
            await writer.drain()
            if len(shot.pieces) > 1:
                await asyncio.sleep(0.001)
        return _outcome(await _answer(reader, shot.within_s))
    except (ConnectionError, OSError):
        return "closed"
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader, within_s: float) -> bytes:
    received = b""
    try:
        async with asyncio.timeout(within_s):
            while not is_whole(received) and (chunk := await reader.read(65536)):
                received += chunk
    except TimeoutError:
        pass
    return received


def _outcome(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not answer:
        return "no answer"
    try:
        envelope = json.loads(body)
        name = str(envelope["retMsg"]).partition(":")[0]
        return "accepted or read" if envelope["retCode"] == 0 else name[:40]
    except (ValueError, KeyError, TypeError):
        return head.split(b"\r\n")[0].decode("latin-1")[:40]


_TAG = re.compile(r"T1[A-Za-z0-9_-]{34}")
_PLAIN = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")
_ORDER_KEYS = ("category", "symbol", "side", "orderType", "qty", "price", "timeInForce", "orderLinkId")


def judge_upstream(body: str, *, policy: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Say why a body that reached the exchange is not exactly a permitted, journaled order; None when it is."""
    pairs = json.loads(body, object_pairs_hook=list)
    fields = dict(pairs)
    expected = _ORDER_KEYS + (("positionIdx",) if fields.get("category") == "linear" else ())
    if tuple(key for key, _ in pairs) != expected:
        return "keys"
    written = ",".join(f'"{key}":0' if key == "positionIdx" else f'"{key}":"{value}"' for key, value in pairs)
    if body != "{" + written + "}":
        return "bytes"
    if (fields["orderType"], fields["timeInForce"], fields["side"]) != ("Limit", "PostOnly", "Buy"):
        return "kind"
    limits = {(item["category"], item["symbol"]): item for item in policy["symbols"]}.get(
        (fields["category"], fields["symbol"])
    )
    if limits is None:
        return "symbol"
    if not all(_PLAIN.fullmatch(fields[key]) and Decimal(fields[key]) > 0 for key in ("qty", "price")):
        return "number"
    notional = Decimal(fields["qty"]) * Decimal(fields["price"])
    if not Decimal(policy["min_order_notional_usdt"]) <= notional <= Decimal(policy["max_order_notional_usdt"]):
        return "notional"
    if Decimal(fields["qty"]) > Decimal(limits["max_order_quantity"]):
        return "quantity"
    row = rows.get(fields["orderLinkId"])
    if _TAG.fullmatch(fields["orderLinkId"]) is None or row is None:
        return "no intent row"
    journaled = (row["category"], row["symbol"], row["side"], row["quantity"], row["price"])
    return None if journaled == tuple(fields[k] for k in ("category", "symbol", "side", "qty", "price")) else "row"


def run(stack: Stack, *, count: int, seed: int) -> Result:
    """Fuzz a running stack and judge what came of it."""
    stack.control.post("/limits", json={"enabled": False}).raise_for_status()
    attacker = Attacker(stack)
    market = Market(orders=[_resting(attacker, c, s) for c in ("spot", "linear") for s in ("XRPUSDT", "ETHUSDT")])
    before = attacker.facts()
    parts = urlsplit(stack.gateway["url"])
    address = (str(parts.hostname), int(parts.port or 0))
    magazine = Magazine(seed=seed, key=attacker.bot.key, secret=attacker.bot.secret, market=market)
    pid = int(stack.description["processes"]["gateway"]["pid"])
    result = Result()
    began = time.monotonic()
    first = min(WARM_UP, count // 2)
    asyncio.run(_with_sweeps(attacker, magazine, address, range(first), result))
    at_rest = rss_bytes(pid)
    asyncio.run(_with_sweeps(attacker, magazine, address, range(first, count), result))
    result.seconds = time.monotonic() - began
    result.growth_bytes = rss_bytes(pid) - at_rest
    after = attacker.facts()
    result.requests_seen = after.seen - before.seen
    result.requests_recorded = recorded_requests(stack) - before.recorded
    policy = tomllib.loads(Path(stack.gateway["policy"]).read_text())
    rows = {row["fields"]["tag"]: row["fields"] for row in stack.rows() if row["kind"] == "order:intent"}
    tags: Counter[str] = Counter()
    for item in received_since(stack, before.received):
        if item["method"] == "POST" and item["path"] == CREATE:
            result.orders_upstream += 1
            fault = judge_upstream(item["body"], policy=policy, rows=rows)
            tags[json.loads(item["body"])["orderLinkId"]] += 1
            result.faults += [f"{fault}: {item['body']}"] if fault is not None else []
        elif item["method"] == "POST" and item["path"] != CANCEL:
            result.faults.append(f"write: {item['path']}")
    result.faults += [f"sent twice: {tag}" for tag, times in tags.items() if times > 1]
    attacker.close()
    return result


async def _with_sweeps(
    attacker: Attacker, magazine: Magazine, address: tuple[str, int], numbers: Sequence[int], result: Result
) -> None:
    """Fire, and cancel what rests between volleys, so that limits on open orders do not deny everything."""
    volley = 600
    for start in range(0, len(numbers), volley):
        await fire(magazine, address=address, numbers=numbers[start : start + volley], result=result)
        await asyncio.to_thread(_sweep, attacker)


def _sweep(attacker: Attacker) -> None:
    for order in attacker.stack.control.get("/state").json()["orders"]:
        if str(order["orderLinkId"]).startswith("T1"):
            attacker.cancel({"category": order["category"], "symbol": order["symbol"], "orderId": order["orderId"]})


def _resting(attacker: Attacker, category: str, symbol: str) -> dict[str, str]:
    ticker = attacker.bot.get("/v5/market/tickers", f"category={category}&symbol={symbol}")["result"]["list"][0]
    price = Decimal(ticker["lastPrice"]) * Decimal("0.9")
    digits, quantity = {"XRPUSDT": ("0.001", "5"), "ETHUSDT": ("0.1", "0.02")}[symbol]
    text = str(price.quantize(Decimal(digits)))
    return {"category": category, "symbol": symbol, "qty": quantity, "price": text}


def main() -> int:
    """Start a stack, fuzz it and print the table; 1 when something got through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.wait_for_state("ACTIVE")
            result = run(stack, count=chosen.count, seed=chosen.seed)
            state = stack.state_name()
        finally:
            stack.stop()
    print(f"seed                     {chosen.seed}\n{result.table()}\nstate at the end: {state}")
    for fault in result.faults[:20]:
        print(f"GOT THROUGH {fault}")
    is_bad = bool(result.faults) or result.requests_seen != result.requests_recorded
    return int(is_bad or result.growth_bytes > GROWTH_LIMIT_BYTES or not result.orders_upstream)


if __name__ == "__main__":
    raise SystemExit(main())
