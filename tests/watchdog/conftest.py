"""Small real servers in place of exchange and gateway, and a watchdog's files in a temporary folder."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ports import free_port
from trust_parts import ring_of

from trade_core.secrets import write_secret_file
from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.lease import Lease, open_lease
from trade_core.trust.ring import KeyRing, ring_bytes, ring_hash
from trade_core.trust.tag import tag_key_id
from trade_journal.log.checkpoint import LogSigner
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import Row, RowKind, leaf_hash, row_bytes
from trade_journal.log.tree import Frontier
from trade_watchdog.identity import Identity, initialise, load_identity
from trade_watchdog.settings import WatchdogSettings

ACCOUNT = "1002"
KEY = "watchkey"
SECRET = "watchsecret"
MASTER_KEY, MASTER_SECRET, MASTER_ACCOUNT = "masterkey", "mastersecret", "1001"
ORDER_KEY = "orderkey"
TAG_KEY = b"t" * 32
TOKEN = "lease-token"
POLICY_TEXT = json.dumps(
    {
        "symbols": [["linear", "BTCUSDT", "1000", "5"], ["spot", "BTCUSDT", "1000", "5"]],
        "leverage": 1,
        "max_open_orders": 10,
        "max_order_notional_usdt": "400",
        "allocated_capital_usdt": "1200",
        "max_gross_exposure": "1",
        "turnover_budget_24h": "1",
        "collar": "0.01",
        "reference_max_divergence": "0.01",
        "reference_max_age_s": 5,
        "stress_gap": "0.1",
    }
)
POLICY_HASH = hashlib.sha256(POLICY_TEXT.encode()).hexdigest()
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Double:
    """An HTTP server that answers through a function and remembers what it was asked."""

    port: int = 0
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    is_hanging: bool = False
    _server: uvicorn.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, query: str, headers: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    async def start(self) -> None:
        """Listen; on the port it had before, if it had one."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._app, log_config=None, lifespan="off", interface="asgi3", timeout_graceful_shutdown=1, ws="none"
        )
        config.load()
        # Without uvicorn's own main loop, whose tick of 0.1 s would be most of a test's time.
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[listening])

    async def stop(self) -> None:
        """Stop listening and cut every connection, as a dead process does."""
        if self._server is None:
            return
        for listener in self._server.servers:
            listener.close()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        tasks = list(self._server.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._server = None

    async def _app(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append((scope["method"], scope["path"], headers, body))
        while self.is_hanging:  # noqa: ASYNC110 - a test flips it
            await asyncio.sleep(0.01)
        status, extra, content = self.answer(scope["path"], scope["query_string"].decode(), headers, body)
        raw = [(name.encode(), value.encode()) for name, value in extra.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})


AUDITED_LISTS = frozenset(
    {"/v5/order/realtime", "/v5/order/history", "/v5/execution/list", "/v5/position/list", "/v5/strategy/list"}
)


def listed_key(name: str, **changes: Any) -> dict[str, Any]:
    """A key as the exchange lists it; a trading key unless told otherwise."""
    plain = {
        "apiKey": name,
        "readOnly": False,
        "permissions": {"Spot": ["SpotTrade"], "ContractTrade": ["Order", "Position"], "Wallet": []},
        "ips": ["127.0.0.1"],
        "deadlineDay": -2,
    }
    return {**plain, **changes}


@dataclass
class ExchangeDouble(Double):
    """The read endpoints of Bybit V5 for two keys, with every knob that a test turns.

    The account holds USDT. What `equity` differs from `balance` by is an unrealised result, unless `coins` says all.
    """

    mark: dict[str, str] = field(default_factory=lambda: {"X-Trade-Environment": "SIMULATED"})
    key_changes: dict[str, Any] = field(default_factory=dict)
    master_changes: dict[str, Any] = field(default_factory=dict)
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=lambda: [listed_key(KEY, readOnly=True), listed_key(ORDER_KEY)])
    equity: Any = "4000.5"
    balance: str = "4000.5"
    coins: list[dict[str, Any]] | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    log_override: Answer | None = None
    tickers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    clock_offset_ms: int = 0
    frozen_time_ms: int | None = None
    override: Answer | None = None
    wallet_override: Answer | None = None

    def answer(self, path: str, query: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.override is not None:
            return self.override
        if path == "/v5/market/time":
            return self._ok({"timeSecond": "1", "timeNano": "1"})
        if path == "/v5/market/tickers":
            asked = dict(part.split("=", 1) for part in query.split("&"))
            found = self.tickers.get(asked["symbol"]) if asked["category"] == "linear" else None
            return self._error(10001, "params error: symbol invalid") if found is None else self._ok({"list": found})
        if path.startswith(("/v5/private", "/v5/public/")):
            return 404, self.mark, b""  # there are no streams here
        if not self._is_signed(query, headers):
            return self._error(10004, "error sign!")
        if path == "/v5/user/query-api":
            return self._ok(self._master() if headers["x-bapi-api-key"] == MASTER_KEY else self._key())
        if path == "/v5/user/sub-apikeys" and headers["x-bapi-api-key"] == MASTER_KEY:
            return self._ok({"result": self.keys, "nextPageCursor": ""})
        if path == "/v5/account/info":
            return self._ok({"marginMode": "ISOLATED_MARGIN", "unifiedMarginStatus": 5})
        if path in AUDITED_LISTS:
            asked = dict(part.split("=", 1) for part in query.split("&"))
            name = path if asked.get("openOnly", "0") == "0" and asked.get("category", "spot") == "spot" else ""
            return self._ok({"list": self.lists.get(name, []), "nextPageCursor": ""})
        if path == "/v5/account/wallet-balance" and self.wallet_override is not None:
            return self.wallet_override
        if path == "/v5/account/wallet-balance":
            return self._ok({"list": [{"accountType": "UNIFIED", "totalEquity": self.equity, "coin": self._coins()}]})
        if path == "/v5/account/transaction-log":
            return self.log_override or self._log(dict(part.split("=", 1) for part in query.split("&")))
        return 404, self.mark, b""

    def _coins(self) -> list[dict[str, Any]]:
        if self.coins is not None:
            return self.coins
        shown = {"coin": "USDT", "walletBalance": self.balance, "equity": self.equity, "usdValue": self.equity}
        return [{**shown, "borrowAmount": "0", "spotBorrow": "0", "accruedInterest": "0"}]

    def entry(self, kind: str, change: str, *, coin: str = "USDT", at_ms: int | None = None) -> dict[str, Any]:
        """Write an entry into the transaction log, at this moment unless told otherwise."""
        made = {
            "id": f"entry-{len(self.log)}",
            "type": kind,
            "currency": coin,
            "change": change,
            "transactionTime": str(self._time_ms() if at_ms is None else at_ms),
        }
        self.log.append(made)
        return made

    def flow(self, amount: str) -> None:
        """Let USDT come or go as a transfer, entry and all."""
        self.entry("TRANSFER_IN" if Decimal(amount) > 0 else "TRANSFER_OUT", amount)
        self.balance = str(Decimal(self.balance) + Decimal(amount))
        self.equity = str(Decimal(self.equity) + Decimal(amount))

    def _log(self, asked: dict[str, str]) -> Answer:
        start_ms, end_ms = int(asked.get("startTime", 0)), int(asked.get("endTime", 2**60))
        chosen = [item for item in reversed(self.log) if start_ms <= int(item["transactionTime"]) <= end_ms]
        begin, limit = int(asked.get("cursor", 0)), int(asked["limit"])
        cursor = str(begin + limit) if len(chosen) > begin + limit else ""
        return self._ok({"list": chosen[begin : begin + limit], "nextPageCursor": cursor})

    def _key(self) -> dict[str, Any]:
        known: dict[str, Any] = {
            "userID": int(ACCOUNT),
            "readOnly": 1,
            "parentUid": MASTER_ACCOUNT,
            "permissions": {"Spot": ["SpotTrade"], "ContractTrade": ["Order", "Position"], "Wallet": []},
        }
        return {**known, **self.key_changes}

    def _master(self) -> dict[str, Any]:
        known = {"userID": int(MASTER_ACCOUNT), "readOnly": 1, "isMaster": True, "permissions": {"Wallet": []}}
        return {**known, **self.master_changes}

    def _is_signed(self, query: str, headers: dict[str, str]) -> bool:
        signed = headers["x-bapi-timestamp"] + headers["x-bapi-api-key"] + headers["x-bapi-recv-window"] + query
        secret = {KEY: SECRET, MASTER_KEY: MASTER_SECRET}.get(headers["x-bapi-api-key"])
        if secret is None:
            return False
        expected = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        return bool(headers["x-bapi-sign"] == expected)

    def _time_ms(self) -> int:
        if self.frozen_time_ms is not None:
            return self.frozen_time_ms
        return time.time_ns() // 1_000_000 + self.clock_offset_ms

    def _ok(self, result: dict[str, Any]) -> Answer:
        return self._json({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}})

    def _error(self, code: int, message: str) -> Answer:
        return self._json({"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}})

    def _json(self, document: dict[str, Any]) -> Answer:
        content = json.dumps({**document, "time": self._time_ms()}).encode()
        return 200, {"content-type": "application/json", **self.mark}, content


def row_numbered(seq: int, *, path: str = "/v5/order/realtime") -> Row:
    """A row of the gateway's journal."""
    return Row(seq=seq, at_ns=seq + 1, kind=RowKind.READ_ANSWERED, actor="gateway", fields={"path": path})


def policy_row(seq: int) -> Row:
    """The row in which the gateway's journal records the policy that the ring names."""
    fields = {"hash": POLICY_HASH, "content": [POLICY_TEXT]}
    return Row(seq=seq, at_ns=seq + 1, kind=RowKind.POLICY_RECORDED, actor="gateway", fields=fields)


@dataclass
class GatewayDouble(Double):
    """The gateway's state, journal, lease and halt; counts a lease as the real one does, but for its checkpoint."""

    ring: KeyRing | None = None
    boot_nonce: str = "boot-1"
    generation: int = 0
    coins: tuple[str, ...] = ("BTC", "ETH")
    leases: list[Lease] = field(default_factory=list)
    lease_holder: str | None = None
    lease_expires_in_s: float = 0
    state_changes: dict[str, Any] = field(default_factory=dict)
    override: Answer | None = None
    log_key: Ed25519PrivateKey | None = None
    log_number: int = 1
    rows: list[Row] = field(default_factory=lambda: [row_numbered(0), row_numbered(1), policy_row(2)])
    halts: list[str] = field(default_factory=list)
    halt_values: list[str | None] = field(default_factory=list)
    halt_answer: bytes = b'{"is_recorded":true}'
    path_overrides: dict[str, Answer] = field(default_factory=dict)

    def answer(self, path: str, query: str, headers: dict[str, str], body: bytes) -> Answer:
        assert self.ring is not None
        if self.override is not None:
            return self.override
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {}, b"no"
        if path == "/state":
            return 200, {}, json.dumps({**self._state(self.ring), **self.state_changes}).encode()
        if path in self.path_overrides:
            return self.path_overrides[path]
        if path == "/journal/checkpoint":
            return 200, {}, self.checkpoint(self.rows)
        if path == "/journal/entries":
            asked = {name: int(value) for name, value in (part.split("=") for part in query.split("&"))}
            page = self.rows[asked["from"] :][: asked["limit"]]
            return 200, {}, b"".join(row_bytes(row) + b"\n" for row in page)
        if path == "/halt":
            content = json.loads(body)
            self.halts.append(content["reason"])
            self.halt_values.append(content.get("trigger_value"))
            return 200, {}, self.halt_answer
        lease = open_lease(body, lease_key=self.ring.lease_key)
        if lease.boot_nonce != self.boot_nonce or lease.generation <= self.generation:
            return 409, {}, b"lease: refused"
        self.generation, self.lease_holder = lease.generation, lease.holder
        self.leases.append(lease)
        return 200, {}, b"{}"

    def checkpoint(self, rows: Sequence[Row]) -> bytes:
        """Sign these rows as the gateway's journal does."""
        assert self.ring is not None
        assert self.log_key is not None
        tree = Frontier().extended(leaf_hash(row_bytes(row)) for row in rows)
        name = gateway_log_keys(self.ring, number=self.log_number).log.name
        signer = LogSigner(origin=name, private_key=self.log_key, ring_hash=ring_hash(self.ring))
        return signer.sign(tree).rendered().encode()

    def _state(self, ring: KeyRing) -> dict[str, Any]:
        return {
            "boot_nonce": self.boot_nonce,
            "lease": {
                "generation": self.generation,
                "age_s": None,
                "holder": self.lease_holder,
                "expires_in_s": self.lease_expires_in_s,
            },
            "policy": {"authorised_hash": ring.policy_hash, "warrants": []},
            "ring_hash": ring_hash(ring),
            "deployment": ring.deployment,
            "account": ring.account,
            "environment": ring.environment,
            "references": {coin: {"price": None} for coin in self.coins},
        }


@dataclass(frozen=True)
class Deployment:
    """A watchdog's settings and files beside the servers it talks to."""

    settings: WatchdogSettings
    config: Path
    ring: KeyRing
    identity: Identity
    exchange: ExchangeDouble
    gateway: GatewayDouble

    @property
    def state_dir(self) -> Path:
        return self.settings.state_dir


def settings_values(folder: Path, *, exchange_url: str) -> dict[str, Any]:
    """Give the complete settings as plain values."""
    return {
        "environment": "simulated",
        "exchange": "simulated",
        "exchange_url": exchange_url,
        "exchange_ws_url": exchange_url.replace("http", "ws"),
        "account": ACCOUNT,
        "admin_port": free_port(),
        "state_dir": str(folder / "watchdog"),
        "secrets_file": str(folder / "watchdog.secrets.json"),
        "master_secrets_file": str(folder / "master.secrets.json"),
        "order_key": ORDER_KEY,
        "gateway_handover": str(folder / "handover" / "watchdog.json"),
        "ring_file": str(folder / "ring.json"),
    }


def write_settings(path: Path, values: dict[str, Any]) -> None:
    """Write values as TOML; JSON's strings and numbers are TOML's."""
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[ExchangeDouble]:
    """Run an exchange that answers."""
    double = ExchangeDouble()
    await double.start()
    yield double
    double.is_hanging = False
    await double.stop()


@dataclass
class VenueDouble(Double):
    """A second venue: the public order books of Bybit V5, OKX, KuCoin and Bitget, each in its documented form."""

    mark: dict[str, str] = field(default_factory=lambda: {"X-Trade-Environment": "SIMULATED"})
    books: dict[str, tuple[Any, Any]] = field(
        default_factory=lambda: {"BTC": ("64000", "64001"), "ETH": ("3200", "3200.2")}
    )
    clock_offset_ms: int = 0
    override: Answer | None = None
    overrides: dict[str, Answer] = field(default_factory=dict)

    def answer(self, path: str, query: str, headers: dict[str, str], body: bytes) -> Answer:
        asked = dict(part.split("=", 1) for part in query.split("&") if part)
        name = asked.get("symbol") or asked.get("instId") or ""
        coin = name.removesuffix("USDT").rstrip("-")
        if self.override is not None or coin in self.overrides:
            return self.override or self.overrides[coin]
        book = self.books.get(coin)
        document = self._refusal(path) if book is None else self._book(path, coin, *book)
        return 200, {"content-type": "application/json", **self.mark}, json.dumps(document).encode()

    def _refusal(self, path: str) -> dict[str, Any]:
        if path.startswith("/api/v5"):
            return {"code": "51001", "msg": "Instrument ID does not exist", "data": []}
        if path.startswith("/api/v1"):
            return {"code": "400100", "msg": "symbol not exists"}
        if path.startswith("/api/v2"):
            return {"code": "40034", "msg": "Parameter does not exist", "data": None}
        return {"retCode": 10001, "retMsg": "Not supported symbols", "result": {}, "retExtInfo": {}, "time": 1}

    def _book(self, path: str, coin: str, bid: Any, ask: Any) -> dict[str, Any]:
        now_ms = time.time_ns() // 1_000_000 + self.clock_offset_ms
        bids = [] if bid is None else [[bid, "1"]]
        asks = [] if ask is None else [[ask, "1"]]
        match path:
            case "/api/v5/market/books":
                four = [[[*level, "0", "1"] for level in side] for side in (bids, asks)]
                return {"code": "0", "msg": "", "data": [{"bids": four[0], "asks": four[1], "ts": str(now_ms)}]}
            case "/api/v1/market/orderbook/level2_20":
                return {"code": "200000", "data": {"time": now_ms, "sequence": "1", "bids": bids, "asks": asks}}
            case "/api/v2/spot/market/orderbook":
                data = {"bids": bids, "asks": asks, "ts": str(now_ms)}
                return {"code": "00000", "msg": "success", "requestTime": now_ms, "data": data}
            case "/v5/market/orderbook":
                result = {"s": f"{coin}USDT", "b": bids, "a": asks, "ts": now_ms, "u": 1, "seq": 1}
                return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now_ms}
        raise AssertionError(f"asked for {path}")


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[VenueDouble]:
    """Run a second venue that answers."""
    double = VenueDouble()
    await double.start()
    yield double
    double.is_hanging = False
    await double.stop()


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[GatewayDouble]:
    """Run a gateway that answers."""
    double = GatewayDouble()
    await double.start()
    yield double
    double.is_hanging = False
    await double.stop()


@pytest.fixture
def deployment(tmp_path: Path, exchange: ExchangeDouble, gateway: GatewayDouble) -> Deployment:
    """Initialise a watchdog and hand it what the gateway's init would."""
    values = settings_values(tmp_path, exchange_url=exchange.url)
    config = tmp_path / "watchdog.toml"
    write_settings(config, values)
    settings = WatchdogSettings.model_validate(values, context={"folder": tmp_path})
    initialise(settings)
    identity = load_identity(settings)
    log_key = load_private_key(new_private_key())
    ring = ring_of(
        log_key,
        baseline=baseline_of(taken_at_ms=time.time_ns() // 1_000_000),
        witness_key=public_text(identity.witness_key),
        account=ACCOUNT,
        lease_key=public_text(identity.lease_key),
        tag_key_id=tag_key_id(TAG_KEY),
        policy_hash=POLICY_HASH,
    )
    settings.ring_file.write_bytes(ring_bytes(ring))
    write_secret_file(settings.secrets_file, {"exchange_key": KEY, "exchange_secret": SECRET})
    write_secret_file(settings.master_secrets_file, {"exchange_key": MASTER_KEY, "exchange_secret": MASTER_SECRET})
    handed = {"admin_url": gateway.url, "admin_token": TOKEN, "tag_key": TAG_KEY.hex()}
    write_secret_file(settings.gateway_handover, handed)
    gateway.ring = ring
    gateway.log_key = log_key
    return Deployment(
        settings=settings, config=config, ring=ring, identity=identity, exchange=exchange, gateway=gateway
    )


async def until(condition: Callable[[], bool], *, within_s: float = 120) -> None:
    """Poll until a condition holds; the test's failure when it never does."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is the other server's state
            await asyncio.sleep(0.01)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Awaitable[None]]:
    """Hand out the poller."""
    return until


@pytest.fixture(name="free_port")
def free_port_fixture() -> Callable[[], int]:
    """Hand out ports."""
    return free_port
