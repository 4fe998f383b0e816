"""The simulated exchange, reached by calls over a link: below the gateway's own client, and below the watchdog's ccxt.

What is signed too long ago, or by a clock that is wrong, is refused as the exchange refuses it; that is what makes
"not found" final after a while. Answers about the wallet can be made stale or wild, for the watchdog alone.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, unique
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from hostile.venue import COINS, TICKERS_PATH, Venue
from simulation.clocks import ProcessClock
from simulation.wire import BadGateway, Fault, Link, NoAnswer, NotConnected

from trade_core.bybit.envelope import Answer, parse_answer
from trade_core.clock import NS_PER_MS, ManualClock
from trade_core.errors import ExchangeUnavailable, UnknownOutcome
from trade_simulator.api.authentication import check_time
from trade_simulator.api.envelope import Answer as Reply
from trade_simulator.api.envelope import encode, envelope
from trade_simulator.api.fields import Fields, parse_json, parse_query
from trade_simulator.api.reception import refusal_answer
from trade_simulator.api.routes import ROUTES
from trade_simulator.keys import ApiKey
from trade_simulator.rejections import Rejected
from trade_watchdog.audited_exchange import AuditedExchange
from trade_watchdog.ccxt_parts import errors as ccxt
from trade_watchdog.exchange import WatchedExchange

CREATE_PATH: Final = "/v5/order/create"
WALLET_PATH: Final = "/v5/account/wallet-balance"
INDEX_PATH: Final = "/v5/market/index-price-kline"
MOVES_KEPT: Final = 2000
MINUTE_MS: Final = 60_000
_GATEWAY_WINDOW_MS: Final = 2000
_WATCHDOG_WINDOW_MS: Final = 5000
_WATCHDOG_TIMEOUT_S: Final = 4.0


@unique
class Wallet(Enum):
    """What an answer about the wallet is made into."""

    TRUE = "true"
    STALE = "stale"  # an old answer, with its old time
    WILD_PRICE = "wild price"  # a coin is worth something else for once
    WILD_BALANCE = "wild balance"  # a balance that nothing explains
    NULL = "null"
    NAN = "nan"
    NEGATIVE = "negative"
    CONTRADICTORY = "contradictory"


BELIEVABLE: Final = frozenset({Wallet.TRUE, Wallet.WILD_PRICE})


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletTold:
    """An answer that the watchdog was sent: what it says, what was true, and by which exchange time it is known."""

    at_ms: int
    said_usdt: Decimal
    true_usdt: Decimal
    kind: Wallet


class SimulatedVenue(Venue):
    """The exchange with its orders and books. `on_told` hears of each answer about the wallet to the watchdog."""

    def __init__(self, *, clock: ManualClock, seed: int, equity_usdt: Decimal, draw: random.Random) -> None:
        super().__init__(clock=clock, seed=seed, equity_usdt=equity_usdt, is_thin=True)
        self.draw = draw
        self.frames: Link | None = None
        self.wallet_faults: deque[tuple[Wallet, Decimal]] = deque()
        self.on_told: Callable[[WalletTold], None] = lambda _: None
        self._last_wallet: dict[str, Any] | None = None
        self._moves = {coin: deque([(0, self.index(coin))], maxlen=MOVES_KEPT) for coin in COINS}
        keys = {key.note: key for key in self.exchange.keys._keys.values()}
        self.watch_key, self.master_key, self.exit_key = keys["watch"], keys["master_read"], keys["exit"]

    def called(
        self, path: str, query: bytes, body: bytes, key: ApiKey | None, *, signed_ms: int, window_ms: int
    ) -> Any:
        """Answer one request, with the exchange's own judgement of when it was signed."""
        now_ms = self.clock.wall_ns() // NS_PER_MS
        endpoint = ROUTES[path]
        try:
            if not endpoint.is_public:
                check_time(timestamp=str(signed_ms), recv_window=str(window_ms), now_ms=now_ms)
            fields = Fields(parse_json(body) if endpoint.method == "POST" else parse_query(query))
            if path == TICKERS_PATH:
                reply = Reply(result={"list": [self.ticker(fields.text("symbol"))]})
            elif path == INDEX_PATH:
                reply = Reply(result={"list": self._index_candles(fields, now_ms)})
            elif endpoint.is_public or key is None:
                reply = self.reception._handle(endpoint, fields, None, path)
            else:
                reply = self.reception.answer_call(path, endpoint, fields, key).answer
        except Rejected as rejected:
            reply = refusal_answer(rejected)
        return envelope(reply, now_ms=now_ms)

    def note_index(self, coin: str) -> None:
        """Remember where the index of a coin has moved to, for its candles."""
        self._moves[coin].append((self.clock.wall_ns() // NS_PER_MS, self.index(coin)))

    def _index_candles(self, fields: Fields, now_ms: int) -> list[list[str]]:
        """Fold the moves of a coin into minutes, newest first; those that are forgotten are left out."""
        moves = self._moves[fields.text("symbol").removesuffix("USDT")]
        first_ms, last_ms = int(fields.text("start")), min(int(fields.text("end")), now_ms)
        candles = []
        for start_ms in range(first_ms, last_ms + 1, MINUTE_MS):
            before = [price for at_ms, price in moves if at_ms <= start_ms][-1:]
            within = [price for at_ms, price in moves if start_ms < at_ms < start_ms + MINUTE_MS]
            prices = [*before, *within]
            if before:
                shown = (before[0], max(prices), min(prices), prices[-1])
                candles.append([str(start_ms), *(str(price) for price in shown)])
        return candles[::-1]

    def told_to_watchdog(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Make an answer about the wallet stale or wild, when one is due."""
        if answer["retCode"] != 0:
            return answer
        true_usdt = Decimal(answer["result"]["list"][0]["totalEquity"])
        kind, factor = self.wallet_faults.popleft() if self.wallet_faults else (Wallet.TRUE, Decimal(1))
        fresh = json.loads(json.dumps(answer))
        if kind is Wallet.STALE and self._last_wallet is not None:
            return self._last_wallet
        answer = _spoiled(fresh, kind, factor)
        self._last_wallet = fresh if kind is Wallet.TRUE else self._last_wallet
        said = answer["result"]["list"][0]["totalEquity"]
        if kind in BELIEVABLE:
            told = WalletTold(at_ms=answer["time"], said_usdt=Decimal(said), true_usdt=true_usdt, kind=kind)
            self.on_told(told)
        return answer

    def _send_frame(self, name: str, raw: bytes) -> None:
        link = self.frames
        if link is None or self.network.is_private_down:
            return
        fault = link.fault()
        if fault is not Fault.NONE:
            link.counts[f"private stream {fault.value}"] += 1
        if fault in {Fault.DROP, Fault.LOSE, Fault.REFUSE}:
            return
        loop, text = asyncio.get_running_loop(), raw.decode()
        due_s = loop.time() + link.latency_s() + (0.4 if fault is Fault.DELAY else 0.0)
        if fault is not Fault.DELAY:
            self._latest_frame_at_s = due_s = max(due_s, self._latest_frame_at_s)
        for _ in range(2 if fault is Fault.DUPLICATE else 1):
            loop.call_at(due_s, self._tell, text)

    def _tell(self, text: str) -> None:
        self.on_frame(text)


def _spoiled(answer: dict[str, Any], kind: Wallet, factor: Decimal) -> dict[str, Any]:
    account = answer["result"]["list"][0]
    coins = account["coin"]
    match kind:
        case Wallet.NULL:
            account["totalEquity"] = None
        case Wallet.NAN:
            account["totalEquity"] = "NaN"
        case Wallet.NEGATIVE:
            account["totalEquity"] = "-" + account["totalEquity"]
        case Wallet.CONTRADICTORY:
            account["totalEquity"] = str(Decimal(account["totalEquity"]) * factor)
        case Wallet.WILD_PRICE | Wallet.WILD_BALANCE:
            coin = max((coin for coin in coins if coin["coin"] != "USDT"), key=lambda one: Decimal(one["usdValue"]))
            names = ("usdValue",) if kind is Wallet.WILD_PRICE else ("usdValue", "walletBalance", "equity")
            before = Decimal(coin["usdValue"])
            for name in names:
                coin[name] = str(Decimal(coin[name]) * factor)
            account["totalEquity"] = str(Decimal(account["totalEquity"]) + Decimal(coin["usdValue"]) - before)
        case _:
            pass
    return answer


class GatewayClient:
    """Stands where the gateway's HTTP client stands. `on_sent` is told of each order in the moment it leaves."""

    def __init__(
        self,
        *,
        venue: SimulatedVenue,
        link: Link,
        clock: ProcessClock,
        is_signed: bool,
        on_sent: Callable[[bytes], None],
    ) -> None:
        self._venue, self._link, self._clock, self._on_sent = venue, link, clock, on_sent
        self._key = venue.key if is_signed else None

    async def warm(self) -> None:
        """Hold a connection ready."""
        if self._link.is_cut:
            raise ExchangeUnavailable("ConnectError")

    async def get_public(self, path: str, query: str = "", *, timeout_s: float = 5.0) -> Answer:
        """Read without a signature."""
        return await self.get(path, query, timeout_s=timeout_s)

    async def get(self, path: str, query: str = "", *, timeout_s: float = 5.0) -> Answer:
        """Read."""
        try:
            return await self._carried(path, query.encode(), b"", timeout_s)
        except (NotConnected, NoAnswer, BadGateway) as error:
            raise ExchangeUnavailable(f"{path}: {type(error).__name__}") from None

    async def post(
        self, path: str, body: bytes, *, timeout_s: float = 5.0, may_send: Callable[[], bool] | None = None
    ) -> Answer:
        """Send a body once."""
        if may_send is not None and not may_send():
            raise ExchangeUnavailable("not sent: withheld")
        if path == CREATE_PATH:
            self._on_sent(body)
        try:
            return await self._carried(path, b"", body, timeout_s)
        except NotConnected:
            raise ExchangeUnavailable("not sent: ConnectError") from None
        except (NoAnswer, BadGateway) as error:
            raise UnknownOutcome(f"sent, no usable answer: {type(error).__name__}") from None

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _carried(self, path: str, query: bytes, body: bytes, timeout_s: float) -> Answer:
        signed_ms = self._clock.wall_ns() // NS_PER_MS

        async def deliver() -> Answer:
            answer = self._venue.called(path, query, body, self._key, signed_ms=signed_ms, window_ms=_GATEWAY_WINDOW_MS)
            return parse_answer(encode(answer))

        return await self._link.carry(path, deliver, within_s=timeout_s)


class CcxtDouble:
    """Stands where ccxt's client stands: the same names, the exchange's own answers, ccxt's own errors."""

    last_response_headers: ClassVar[Mapping[str, str]] = {"X-Trade-Environment": "SIMULATED"}
    timeout_on_exit = 0
    _is_equity = False

    def __init__(self, *, venue: SimulatedVenue, link: Link, clock: ProcessClock, key: ApiKey) -> None:
        self._venue, self._link, self._clock, self._key = venue, link, clock, key

    def __getattr__(self, name: str) -> Callable[..., Any]:
        path = _PATHS[name]
        return lambda parameters=None: self._read(path, parameters or {})

    async def request(self, path: str, _api: object, _method: str, parameters: Mapping[str, Any]) -> Any:
        """Read a path that ccxt has no name for."""
        return await self._read("/" + path, parameters)

    async def close(self) -> None:
        """Nothing is open."""

    async def _read(self, path: str, parameters: Mapping[str, Any]) -> Any:
        query = urlencode(parameters).encode()
        signed_ms = self._clock.wall_ns() // NS_PER_MS

        async def deliver() -> Any:
            answer = self._venue.called(path, query, b"", self._key, signed_ms=signed_ms, window_ms=_WATCHDOG_WINDOW_MS)
            answer = json.loads(encode(answer))
            return self._venue.told_to_watchdog(answer) if path == WALLET_PATH and self._is_equity else answer

        try:
            answer = await self._link.carry(path, deliver, within_s=_WATCHDOG_TIMEOUT_S)
        except NotConnected:
            raise ccxt.NetworkError("no connection") from None
        except NoAnswer:
            raise ccxt.RequestTimeout("timed out") from None
        except BadGateway:
            raise ccxt.ExchangeNotAvailable("502") from None
        if answer["retCode"] == 10002:
            raise ccxt.InvalidNonce("10002")
        if answer["retCode"] != 0:
            raise ccxt.ExchangeError(str(answer["retCode"]))
        return answer


class EquityDouble(CcxtDouble):
    """The connection that reads the equity: its answers about the wallet can be spoiled."""

    _is_equity = True


_PATHS: Final[Mapping[str, str]] = {
    "publicGetV5MarketTime": "/v5/market/time",
    "publicGetV5MarketIndexPriceKline": INDEX_PATH,
    "publicGetV5MarketTickers": "/v5/market/tickers",
    "privateGetV5UserQueryApi": "/v5/user/query-api",
    "privateGetV5AccountWalletBalance": WALLET_PATH,
    "privateGetV5AccountTransactionLog": "/v5/account/transaction-log",
    "privateGetV5OrderRealtime": "/v5/order/realtime",
    "privateGetV5OrderHistory": "/v5/order/history",
    "privateGetV5ExecutionList": "/v5/execution/list",
    "privateGetV5PositionList": "/v5/position/list",
    "privateGetV5AccountInfo": "/v5/account/info",
    "privateGetV5UserSubApikeys": "/v5/user/sub-apikeys",
}


class _Closed:
    async def close(self) -> None:
        """Nothing is open."""


class SimulatedWatched(WatchedExchange):
    """The watchdog's own reading of answers, over the double."""

    def __init__(self, *, client: CcxtDouble, clock: ProcessClock) -> None:
        self._clock, self._is_simulated = clock, True
        self._session = _Closed()  # type: ignore[assignment]
        self._client = client  # type: ignore[assignment]


class SimulatedAudited(AuditedExchange):
    """The same for the lists of the audit."""

    def __init__(self, *, client: CcxtDouble, clock: ProcessClock) -> None:
        self._clock, self._is_simulated = clock, True
        self._session = _Closed()  # type: ignore[assignment]
        self._client = client  # type: ignore[assignment]
