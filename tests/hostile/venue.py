"""The simulated exchange without its listeners: requests as calls, streams as frames, and a network that misbehaves.

Thin books have no participants but the bot's accomplices, who own as much of everything as they want.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trade_core.bybit.envelope import Answer, parse_answer
from trade_core.clock import NS_PER_MS, ManualClock
from trade_core.errors import ExchangeUnavailable, UnknownOutcome
from trade_simulator.api.envelope import Answer as Reply
from trade_simulator.api.envelope import encode, envelope
from trade_simulator.api.fields import Fields, parse_json, parse_query
from trade_simulator.api.rate_limits import RateLimits
from trade_simulator.api.reception import Reception
from trade_simulator.api.routes import ROUTES
from trade_simulator.bootstrap import open_exchange
from trade_simulator.exchange import Exchange
from trade_simulator.exchange_clock import ExchangeClock
from trade_simulator.instruments import DEFAULT_INSTRUMENTS, Category, Instrument
from trade_simulator.orders import CancelAll, Order, OrderType, PlaceOrder, Side, TimeInForce
from trade_simulator.rejections import Rejected
from trade_simulator.stream.private import PrivateFeed

FEE_RATE_PATH = "/v5/account/fee-rate"
CREATE_PATH = "/v5/order/create"
TICKERS_PATH = "/v5/market/tickers"
COINS = ("BTC", "ETH", "XRP")
Key = tuple[Category, str]
_ACCOMPLICE_USDT = Decimal(10) ** 10
_ACCOMPLICE_COINS = Decimal(10) ** 8
_PRINT_APART = Decimal("0.025")  # the exchange's own limit on spot is 3 %
_MAX_PRINTS = 12


class _Silent:
    """Participants who never quote: the book is the accomplices' alone."""

    def quote(self, centre: int) -> None:
        """Do nothing."""

    def take(self) -> None:
        """Do nothing."""


@dataclass(slots=True, kw_only=True)
class Network:
    """What happens on the way. Each list is used up from the front, one entry a request or frame."""

    latency_s: Callable[[], float] = lambda: 0.0
    order_faults: list[str] = field(default_factory=list)  # "lose" the answer, "drop" the request, or "slow"
    frame_faults: list[str] = field(default_factory=list)  # "lose", "duplicate", "delay", "overtake"
    is_private_down: bool = False
    is_reading_down: bool = False
    is_ticker_down: bool = False
    dead_paths: set[str] = field(default_factory=set)
    mark_shift: Decimal = Decimal(0)  # of the mark price as it is told, as a fraction


class Listener:
    """A connection to the private stream; stands where the simulator's own session stands."""

    connection_id = "only"
    topics = frozenset({"order", "execution", "wallet", "position"})

    def __init__(self, on_frame: Callable[[str, bytes], None]) -> None:
        self._on_frame = on_frame

    def tell(self, name: str, row: dict[str, object], *, now_ms: int) -> None:
        """Take one record of a topic."""
        self._on_frame(name, encode({"id": "x", "topic": name, "creationTime": now_ms, "data": [row]}))


class Venue:
    """One exchange; `uid` is the account that the gateway trades."""

    def __init__(self, *, clock: ManualClock, seed: int, equity_usdt: Decimal, is_thin: bool) -> None:
        exchange_clock = ExchangeClock(clock)
        self.clock = clock
        self.is_thin = is_thin
        self.network = Network()
        self.exchange = Exchange(now_ms=exchange_clock.now_ms, seed=seed, instruments=DEFAULT_INSTRUMENTS)
        opening = open_exchange(self.exchange, equity_usdt=equity_usdt)
        self.uid = opening.sub_uid
        self.key = opening.keys["order"]
        self.reception = Reception(exchange=self.exchange, clock=exchange_clock, limits=RateLimits(enabled=False))
        balances = {"USDT": _ACCOMPLICE_USDT, **dict.fromkeys(COINS, _ACCOMPLICE_COINS)}
        self.accomplice = self.exchange.create_account(name="accomplice", balances=balances).uid
        self.second = self.exchange.create_account(name="second accomplice", balances=balances).uid
        if is_thin:
            self._empty_books()
        self.on_wallet_told: Callable[[Decimal], None] = lambda _: None
        self.on_price_told: Callable[[str, Decimal, Decimal], None] = lambda *_: None
        self.on_frame: Callable[[str], None] = lambda _: None
        self._feed = PrivateFeed(
            self.exchange,
            now_ms=exchange_clock.now_ms,
            schedule=lambda action: asyncio.get_running_loop().call_soon(action),
        )
        self._feed.join(self.uid, Listener(self._send_frame))  # type: ignore[arg-type]
        self.exchange.subscribe(self._feed.on_event)
        self._latest_frame_at_s = 0.0

    def instrument(self, key: Key) -> Instrument:
        """The filters of a symbol."""
        return self.exchange.instruments[key]

    def index(self, coin: str) -> Decimal:
        """The index price of a coin."""
        return self.exchange.market.index_price(Category.LINEAR, f"{coin}USDT")

    def equity(self) -> Decimal:
        """What the account is worth."""
        return self.exchange.wallet(self.uid).total_equity

    # What an accomplice does

    def take(self, key: Key, side: Side, *, quantity: Decimal, price: Decimal) -> Decimal:
        """Trade against the bot: take up to a quantity at a price or better; returns what was filled."""
        made = self._accomplice_order(self.accomplice, key, side, quantity=quantity, price=price)
        return Decimal(0) if made is None else made.cum_exec_qty

    def print_trade(self, key: Key, price: Decimal) -> None:
        """Trade with one another, so that the last price is where they want it.

        The exchange takes no order far from the last price, so they walk there.
        """
        instrument = self.instrument(key)
        for _ in range(_MAX_PRINTS):
            last = self.exchange.market.last_price(*key)
            step = max(min(price, last * (1 + _PRINT_APART)), last * (1 - _PRINT_APART))
            self._print_once(key, instrument.nearest_price(step))
            if self.exchange.market.last_price(*key) in {last, price}:
                return

    def _print_once(self, key: Key, price: Decimal) -> None:
        instrument = self.instrument(key)
        quantity = max(instrument.min_quantity, _up(instrument.min_notional * 2 / price, instrument.quantity_step))
        rests = PlaceOrder(
            category=key[0],
            symbol=key[1],
            side=Side.SELL,
            order_type=OrderType.LIMIT,
            qty=quantity,
            price=price,
            time_in_force=TimeInForce.GTC,
        )
        with suppress(Rejected):
            self.exchange.place(self.second, rests)
            self._accomplice_order(self.accomplice, key, Side.BUY, quantity=quantity, price=price)
            self.exchange.cancel_all(self.second, CancelAll(category=key[0], symbol=key[1]))

    def sweep(self, key: Key, side: Side, price: Decimal) -> None:
        """Take every order of the book up to a price, so that nothing stands in the bot's way."""
        instrument = self.instrument(key)
        quantity = instrument.max_limit_quantity
        self._accomplice_order(self.accomplice, key, side, quantity=quantity, price=price)

    def _accomplice_order(self, uid: str, key: Key, side: Side, *, quantity: Decimal, price: Decimal) -> Order | None:
        command = PlaceOrder(
            category=key[0],
            symbol=key[1],
            side=side,
            order_type=OrderType.LIMIT,
            qty=quantity,
            price=price,
            time_in_force=TimeInForce.IOC,
        )
        try:
            return self.exchange.place(uid, command)
        except Rejected:
            return None

    # What the market does

    def move(self, coin: str, price: Decimal) -> None:
        """Set the index price of a coin; the last price follows it."""
        symbol = f"{coin}USDT"
        self.exchange.set_price(symbol, price)
        if self.is_thin:
            for category in Category:
                if (category, symbol) in self.exchange.instruments:
                    key = (category, symbol)
                    self.print_trade(key, self.instrument(key).nearest_price(price))

    def rest(self, key: Key, side: Side, *, quantity: Decimal, price: Decimal) -> None:
        """Wait in the book for what the bot will send."""
        command = PlaceOrder(
            category=key[0],
            symbol=key[1],
            side=side,
            order_type=OrderType.LIMIT,
            qty=quantity,
            price=price,
            time_in_force=TimeInForce.GTC,
        )
        with suppress(Rejected):
            self.exchange.place(self.second, command)

    def leave(self, key: Key) -> None:
        """Take back what waits."""
        self.exchange.cancel_all(self.second, CancelAll(category=key[0], symbol=key[1]))

    def requote(self) -> None:
        """Let the participants of thick books come back. No tick: a day of candles would cost more than all else."""
        for coin in COINS:
            self.exchange.set_price(f"{coin}USDT", self.index(coin))

    def ticker(self, symbol: str) -> dict[str, str]:
        """The prices of a linear contract as they are told."""
        coin = symbol.removesuffix("USDT")
        quote = self.exchange._floor.quotes[Category.LINEAR, symbol]
        mark = quote.mark * (1 + self.network.mark_shift)
        self.on_price_told(coin, quote.index, mark)
        return {"symbol": symbol, "indexPrice": str(quote.index), "markPrice": str(mark)}

    # The way to the gateway

    def _send_frame(self, name: str, raw: bytes) -> None:
        if self.network.is_private_down:
            return
        text = raw.decode()
        if name == "wallet":
            self.on_wallet_told(self.equity())
        loop = asyncio.get_running_loop()
        fault = self.network.frame_faults.pop(0) if self.network.frame_faults else ""
        if fault == "lose":
            return
        due_s = loop.time() + self.network.latency_s() + (0.4 if fault == "delay" else 0.0)
        if fault != "overtake":
            self._latest_frame_at_s = due_s = max(due_s, self._latest_frame_at_s)
        for _ in range(2 if fault == "duplicate" else 1):
            loop.call_at(due_s, self.on_frame, text)

    def answer(self, path: str, query: bytes, body: bytes, *, is_signed: bool) -> Answer:
        """Answer one request, as the reception would after it had verified the signature."""
        endpoint = ROUTES[path]
        fields = Fields(parse_json(body) if endpoint.method == "POST" else parse_query(query))
        now_ms = self.clock.wall_ns() // NS_PER_MS
        if path == TICKERS_PATH:
            # The day's summary beside the prices would cost more than all the rest.
            reply = Reply(result={"list": [self.ticker(fields.text("symbol"))]})
        elif is_signed:
            reply = self.reception.answer_call(path, endpoint, fields, self.key).answer
        else:
            reply = self.reception._handle(endpoint, fields, None, path)
        if path == FEE_RATE_PATH:
            # What a bot can be charged: it never takes, but by a stop, and a policy with stops has the taker's fee.
            for row in reply.result["list"]:  # type: ignore[index]
                row["takerFeeRate"] = row["makerFeeRate"]
        if path == "/v5/account/wallet-balance":
            self.on_wallet_told(self.equity())
        return parse_answer(encode(envelope(reply, now_ms=now_ms)))

    def _empty_books(self) -> None:
        participants = self.exchange._market._participants
        for key, those in list(participants.items()):
            for quotes in those._quotes.values():
                for ticks in list(quotes):
                    those._withdraw(quotes, ticks)
            participants[key] = _Silent()  # type: ignore[assignment]
        self.exchange._flush()


class LocalClient:
    """Stands where the gateway's HTTP client stands: sends a request once, and says what is known afterwards."""

    def __init__(self, venue: Venue, *, key: object = None, **_: Any) -> None:
        self._venue = venue
        self._is_signed = key is not None

    async def warm(self) -> None:
        """Nothing is far away."""

    async def get_public(self, path: str, query: str = "", *, timeout_s: float = 5.0) -> Answer:
        """Read without a signature."""
        return await self.get(path, query, timeout_s=timeout_s)

    async def get(self, path: str, query: str = "", *, timeout_s: float = 5.0) -> Answer:
        """Read."""
        network = self._venue.network
        is_down = network.is_ticker_down if path == TICKERS_PATH else network.is_reading_down
        if is_down or path in network.dead_paths:
            await asyncio.sleep(min(timeout_s, 0.05))
            raise ExchangeUnavailable(f"{path}: ConnectError")
        answer = self._venue.answer(path, query.encode(), b"", is_signed=self._is_signed)
        if (latency_s := network.latency_s()) and path != TICKERS_PATH:
            await asyncio.sleep(latency_s)
        return answer

    async def post(
        self, path: str, body: bytes, *, timeout_s: float = 5.0, may_send: Callable[[], bool] | None = None
    ) -> Answer:
        """Send a body once. What left the gateway arrives even when the gateway dies meanwhile."""
        if may_send is not None and not may_send():
            raise ExchangeUnavailable("withheld")
        venue, loop = self._venue, asyncio.get_running_loop()
        fault = venue.network.order_faults.pop(0) if path == CREATE_PATH and venue.network.order_faults else ""
        arrived: asyncio.Future[Answer] = loop.create_future()

        def arrive() -> None:
            answer = venue.answer(path, b"", body, is_signed=True)
            if fault != "lose" and not arrived.done():
                arrived.set_result(answer)

        if fault != "drop":
            loop.call_later(1.5 if fault == "slow" else venue.network.latency_s(), arrive)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await arrived
        except TimeoutError:
            raise UnknownOutcome("sent, no usable answer: TimeoutError") from None
        if latency_s := venue.network.latency_s():
            await asyncio.sleep(latency_s)
        return answer

    async def aclose(self) -> None:
        """Nothing is open."""


def jitter(draw: random.Random, most_s: float) -> Callable[[], float]:
    """A latency between nothing and a most."""
    return lambda: draw.random() * most_s


def _up(amount: Decimal, step: Decimal) -> Decimal:
    return (amount / step).to_integral_value(rounding="ROUND_CEILING") * step
