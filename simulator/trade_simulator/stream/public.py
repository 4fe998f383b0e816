"""Public streams: order books, tickers, candles and trades of one category.

Events only mark what changed; one flush at the end of the loop's turn sends every topic its message, so that a
market step of many book changes is one delta. Without subscribers nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trade_simulator.api.connection import Receive, Scope, Send
from trade_simulator.api.envelope import encode
from trade_simulator.api.market import levels, ticker_shape
from trade_simulator.api.shapes import Shape, number
from trade_simulator.events import BookChanged, CandleChanged, Event, PublicTrade, TickerChanged
from trade_simulator.exchange import Exchange
from trade_simulator.instruments import Category
from trade_simulator.market.candles import bar_end_ms
from trade_simulator.market.series import Candle, Trade
from trade_simulator.rejections import Rejected, parameter_error
from trade_simulator.stream.session import Session, StreamContext
from trade_simulator.stream.topics import (
    MAX_SPOT_ARGUMENTS,
    PublicTopic,
    TopicKind,
    arguments,
    parse_public_topic,
)

# Level 1 is repeated when nothing changed for so long.
REPEAT_MS = 3_000
MAX_TOPICS = 1_000
MAX_TRADES = 1_024
Side = Mapping[Decimal, Decimal]


@dataclass(slots=True, kw_only=True)
class _Publication:
    """One topic that somebody listens to, and what was last said on it."""

    topic: PublicTopic
    sessions: dict[str, PublicSession] = field(default_factory=dict)
    bids: Side = field(default_factory=dict)
    asks: Side = field(default_factory=dict)
    update_id: int = 0
    sent_at_ms: int = 0
    ticker: Shape = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    candles: list[tuple[Candle, bool]] = field(default_factory=list)


class PublicFeed:
    """The publications of both categories."""

    def __init__(
        self, exchange: Exchange, *, now_ms: Callable[[], int], schedule: Callable[[Callable[[], None]], object]
    ) -> None:
        self._exchange = exchange
        self._now_ms = now_ms
        self._schedule = schedule
        self._publications: dict[tuple[Category, str], _Publication] = {}
        self._dirty: dict[tuple[Category, str], None] = {}
        self._is_scheduled = False

    def on_event(self, event: Event) -> None:
        """Note what changed; nothing is sent before the flush."""
        match event:
            case BookChanged():
                for depth in ("1", "50", "200", "1000"):
                    self._mark(event.category, f"orderbook.{depth}.{event.symbol}")
            case TickerChanged():
                self._mark(event.category, f"tickers.{event.symbol}")
            case PublicTrade():
                publication = self._mark(event.category, f"publicTrade.{event.symbol}")
                if publication is not None:
                    publication.trades.append(event.trade)
            case CandleChanged():
                publication = self._mark(event.category, f"kline.{event.interval}.{event.symbol}")
                if publication is not None:
                    _note_candle(publication.candles, event)
            case _:
                return

    def _mark(self, category: Category, name: str) -> _Publication | None:
        key = (category, name)
        publication = self._publications.get(key)
        if publication is None:
            return None
        self._dirty[key] = None
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self.flush)
        return publication

    def flush(self) -> None:
        """Send every changed topic its message."""
        self._is_scheduled = False
        dirty, self._dirty = self._dirty, {}
        for key in dirty:
            publication = self._publications.get(key)
            if publication is None:
                continue
            for message in self._messages(publication):
                _broadcast(publication, message)

    def repeat(self) -> None:
        """Repeat level 1 of books that stood still for 3 s."""
        now_ms = self._now_ms()
        for publication in self._publications.values():
            if publication.topic.depth == 1 and now_ms - publication.sent_at_ms >= REPEAT_MS:
                _broadcast(publication, self._book_snapshot(publication))

    def subscribe(self, topic: PublicTopic, session: PublicSession) -> None:
        """Add a session to a topic and send it what the topic starts with."""
        key = (topic.category, topic.name)
        publication = self._publications.get(key)
        if publication is None:
            publication = self._publications[key] = _Publication(topic=topic)
        elif key in self._dirty:
            # The newcomer's snapshot must be the state that the next delta builds on.
            self.flush()
        publication.sessions[session.connection_id] = session
        match topic.kind:
            case TopicKind.BOOK:
                session.publish(encode(self._book_snapshot(publication)).decode())
            case TopicKind.TICKER:
                publication.ticker = self._ticker(topic)
                session.publish(encode(self._ticker_message(topic, publication.ticker, "snapshot")).decode())
            case TopicKind.KLINE | TopicKind.TRADE:
                pass

    def unsubscribe(self, topic: PublicTopic, session: PublicSession) -> None:
        """Remove a session from a topic; a topic without sessions costs nothing."""
        publication = self._publications.get((topic.category, topic.name))
        if publication is None:
            return
        publication.sessions.pop(session.connection_id, None)
        if not publication.sessions:
            del self._publications[topic.category, topic.name]

    def _messages(self, publication: _Publication) -> list[Shape]:
        topic = publication.topic
        match topic.kind:
            case TopicKind.BOOK:
                return self._book_messages(publication)
            case TopicKind.TICKER:
                return self._ticker_messages(publication)
            case TopicKind.TRADE:
                trades, publication.trades = publication.trades, []
                chunks = [trades[at : at + MAX_TRADES] for at in range(0, len(trades), MAX_TRADES)]
                return [self._trade_message(topic, chunk) for chunk in chunks]
            case TopicKind.KLINE:
                candles, publication.candles = publication.candles, []
                return [self._candle_message(topic, candle, is_confirmed) for candle, is_confirmed in candles]

    def _book_snapshot(self, publication: _Publication) -> Shape:
        topic = publication.topic
        book = self._exchange.market.book(topic.category, topic.symbol, depth=topic.depth)
        publication.bids, publication.asks = dict(book.bids), dict(book.asks)
        publication.update_id = publication.update_id or book.update_id
        publication.sent_at_ms = self._now_ms()
        data: Shape = {"s": topic.symbol, "b": levels(book.bids), "a": levels(book.asks)}
        data |= {"u": publication.update_id, "seq": book.seq}
        return self._book_message(topic, "snapshot", data, book.at_ms)

    def _book_messages(self, publication: _Publication) -> list[Shape]:
        topic = publication.topic
        book = self._exchange.market.book(topic.category, topic.symbol, depth=topic.depth)
        bids, asks = dict(book.bids), dict(book.asks)
        changed = (_difference(publication.bids, bids), _difference(publication.asks, asks))
        if not any(changed):
            return []
        publication.update_id += 1
        if topic.depth == 1:
            return [self._book_snapshot(publication)]
        publication.bids, publication.asks = bids, asks
        publication.sent_at_ms = self._now_ms()
        data: Shape = {"s": topic.symbol, "b": levels(changed[0]), "a": levels(changed[1])}
        data |= {"u": publication.update_id, "seq": book.seq}
        return [self._book_message(topic, "delta", data, book.at_ms)]

    def _book_message(self, topic: PublicTopic, kind: str, data: Shape, at_ms: int) -> Shape:
        return {"topic": topic.name, "type": kind, "ts": self._now_ms(), "data": data, "cts": at_ms}

    def _ticker(self, topic: PublicTopic) -> Shape:
        ticker = self._exchange.market.ticker(topic.category, topic.symbol)
        shape = ticker_shape(ticker, self._exchange.instruments[topic.category, topic.symbol])
        if topic.category is Category.LINEAR:
            shape["tickDirection"] = ticker.last_tick_direction
        else:
            for name in ("bid1Price", "bid1Size", "ask1Price", "ask1Size"):
                del shape[name]
        return shape | {"cs": ticker.seq}

    def _ticker_messages(self, publication: _Publication) -> list[Shape]:
        topic = publication.topic
        now = self._ticker(topic)
        before, publication.ticker = publication.ticker, now
        changed = {name: value for name, value in now.items() if before.get(name) != value}
        if not changed.keys() - {"cs"}:
            return []
        if topic.category is Category.SPOT:
            return [self._ticker_message(topic, now, "snapshot")]
        return [self._ticker_message(topic, changed | {"symbol": topic.symbol, "cs": now["cs"]}, "delta")]

    def _ticker_message(self, topic: PublicTopic, shape: Shape, kind: str) -> Shape:
        data = dict(shape)
        sequence = data.pop("cs")
        return {"topic": topic.name, "type": kind, "data": data, "cs": sequence, "ts": self._now_ms()}

    def _trade_message(self, topic: PublicTopic, trades: list[Trade]) -> Shape:
        rows = [
            {
                "T": trade.at_ms,
                "s": trade.symbol,
                "S": str(trade.side),
                "v": number(trade.size),
                "p": number(trade.price),
                "i": trade.trade_id,
                "BT": False,
                "RPI": False,
                "seq": trade.seq,
            }
            for trade in trades
        ]
        if topic.category is Category.LINEAR:
            rows = [row | {"L": "PlusTick" if row["S"] == "Buy" else "MinusTick"} for row in rows]
        return {"topic": topic.name, "type": "snapshot", "ts": self._now_ms(), "data": rows}

    def _candle_message(self, topic: PublicTopic, candle: Candle, is_confirmed: bool) -> Shape:
        now_ms = self._now_ms()
        row = {
            "start": candle.start_ms,
            "end": bar_end_ms(topic.interval, candle.start_ms) - 1,
            "interval": str(topic.interval),
            "open": number(candle.open),
            "close": number(candle.close),
            "high": number(candle.high),
            "low": number(candle.low),
            "volume": number(candle.volume),
            "turnover": number(candle.turnover),
            "confirm": is_confirmed,
            "timestamp": now_ms,
        }
        return {"topic": topic.name, "type": "snapshot", "ts": now_ms, "data": [row]}


def _note_candle(candles: list[tuple[Candle, bool]], event: CandleChanged) -> None:
    """Keep every closed candle, and of an open one only the latest state."""
    if candles and not candles[-1][1] and candles[-1][0].start_ms == event.candle.start_ms:
        candles.pop()
    candles.append((event.candle, event.is_confirmed))


def _difference(before: Side, now: Side) -> list[tuple[Decimal, Decimal]]:
    changed = [(price, size) for price, size in now.items() if before.get(price) != size]
    gone = [(price, Decimal(0)) for price in before if price not in now]
    return changed + gone


def _broadcast(publication: _Publication, message: Shape) -> None:
    text = encode(message).decode()
    for session in publication.sessions.values():
        session.publish(text)


class PublicSession(Session):
    """A connection to the public stream of one category."""

    stream = "ws:public"

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        context: StreamContext,
        *,
        feed: PublicFeed,
        category: Category,
    ) -> None:
        super().__init__(scope, receive, send, context)
        self._feed = feed
        self._category = category
        self._topics: dict[str, PublicTopic] = {}

    def operate(self, message: dict[str, Any]) -> None:
        """Answer ping, subscribe and unsubscribe."""
        match message.get("op"):
            case "ping":
                self.answer(self.acknowledgement(message, ret_msg="pong"))
            case "subscribe":
                topics = self._read_topics(message, is_new=True)
                self.answer(self.acknowledgement(message, ret_msg="subscribe"))
                for topic in topics:
                    self._topics[topic.name] = topic
                    self._feed.subscribe(topic, self)
            case "unsubscribe":
                for topic in self._read_topics(message, is_new=False):
                    self._topics.pop(topic.name, None)
                    self._feed.unsubscribe(topic, self)
                self.answer(self.acknowledgement(message, ret_msg=""))
            case _:
                raise parameter_error("op invalid")

    def _read_topics(self, message: dict[str, Any], *, is_new: bool) -> list[PublicTopic]:
        names = arguments(message)
        if self._category is Category.SPOT and len(names) > MAX_SPOT_ARGUMENTS:
            raise parameter_error("args size >10")
        topics = []
        for name in names:
            topic = parse_public_topic(name, self._category)
            if topic is None or (self._category, topic.symbol) not in self.context.reception.exchange.instruments:
                raise Rejected(10001, f"error:handler not found,topic:{name}")
            if is_new and name in self._topics:
                raise Rejected(10001, f"error:already subscribed,topic:{name}")
            topics.append(topic)
        if is_new and len(self._topics) + len(topics) > MAX_TOPICS:
            raise parameter_error("too many topics")
        return topics

    def refuse(self, code: int, text: str, message: dict[str, Any]) -> None:
        """Answer an operation that failed."""
        self.answer(self.acknowledgement(message, ret_msg=text, success=False), code=code)

    def closed(self) -> None:
        """Leave every topic."""
        for topic in self._topics.values():
            self._feed.unsubscribe(topic, self)
        self._topics.clear()
