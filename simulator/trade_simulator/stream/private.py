"""The private stream: orders, executions, positions and wallets of the account that logged in.

Nothing is sent on subscription; a wallet is sent once a turn of the loop however often it changed in it. A
session whose key has died is cut off at the next event.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from trade_simulator.api.account import wallet_shape
from trade_simulator.api.connection import Receive, Scope, Send
from trade_simulator.api.envelope import encode
from trade_simulator.api.positions import position_message
from trade_simulator.api.shapes import Shape, execution_message, fast_execution_message, order_message
from trade_simulator.events import Event, Executed, OrderChanged, PositionChanged, WalletChanged
from trade_simulator.exchange import Exchange
from trade_simulator.instruments import Category
from trade_simulator.keys import ApiKey
from trade_simulator.orders import ExecType
from trade_simulator.rejections import Rejected, parameter_error
from trade_simulator.stream.login import log_in
from trade_simulator.stream.session import Session, StreamContext, request_id
from trade_simulator.stream.topics import arguments

_BY_CATEGORY = ("order", "execution", "execution.fast", "position")
TOPICS = frozenset({"order", "execution", "execution.fast", "position", "wallet"}) | {
    f"{topic}.{category}" for topic in _BY_CATEGORY for category in Category
}


class PrivateFeed:
    """Who listens to which account."""

    def __init__(
        self, exchange: Exchange, *, now_ms: Callable[[], int], schedule: Callable[[Callable[[], None]], object]
    ) -> None:
        self._exchange = exchange
        self._now_ms = now_ms
        self._schedule = schedule
        self._sessions: dict[str, dict[str, PrivateSession]] = {}
        self._wallets: dict[str, None] = {}

    def join(self, uid: str, session: PrivateSession) -> None:
        """Let a session hear of an account."""
        self._sessions.setdefault(uid, {})[session.connection_id] = session

    def leave(self, uid: str, session: PrivateSession) -> None:
        """Forget a session."""
        sessions = self._sessions.get(uid, {})
        sessions.pop(session.connection_id, None)
        if not sessions:
            self._sessions.pop(uid, None)

    def on_event(self, event: Event) -> None:
        """Tell the sessions of the account what happened."""
        match event:
            case OrderChanged(uid=uid, order=order) if uid in self._sessions:
                self._tell(uid, "order", order.category, order_message(order))
            case Executed(uid=uid, execution=execution) if uid in self._sessions:
                self._tell(uid, "execution", execution.category, execution_message(execution))
                if execution.exec_type is ExecType.TRADE:
                    shape = fast_execution_message(execution)
                    self._tell(uid, "execution.fast", execution.category, shape)
            case PositionChanged(uid=uid, position=position) if uid in self._sessions:
                self._tell(uid, "position", Category.LINEAR, position_message(position))
            case WalletChanged(uid=uid) if uid in self._sessions:
                if not self._wallets:
                    self._schedule(self.flush)
                self._wallets[uid] = None
            case _:
                return

    def flush(self) -> None:
        """Send the wallets that changed."""
        wallets, self._wallets = self._wallets, {}
        for uid in wallets:
            if uid in self._sessions:
                self._tell(uid, "wallet", None, wallet_shape(self._exchange.wallet(uid)))

    def _tell(self, uid: str, topic: str, category: Category | None, row: Shape) -> None:
        names = (topic,) if category is None else (topic, f"{topic}.{category}")
        for session in list(self._sessions.get(uid, {}).values()):
            for name in names:
                if name in session.topics:
                    session.tell(name, row, now_ms=self._now_ms())


class PrivateSession(Session):
    """A connection to the private stream."""

    stream = "ws:private"

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, context: StreamContext, *, feed: PrivateFeed
    ) -> None:
        super().__init__(scope, receive, send, context)
        self._feed = feed
        self._key: ApiKey | None = None
        self.topics: set[str] = set()

    @property
    def logged_key(self) -> str:
        """Give the key that logged in."""
        return self._key.api_key if self._key else ""

    def tell(self, name: str, row: Shape, *, now_ms: int) -> None:
        """Send one record of a topic, unless the key has died."""
        if self._key is None or not _lives(self._key, self.context):
            self.cut()
            return
        message: Shape = {"topic": name, "creationTime": now_ms, "data": [row]}
        if not name.startswith("execution.fast"):
            message = {"id": secrets.token_hex(16)} | message
        self.publish(encode(message).decode())

    def operate(self, message: dict[str, Any]) -> None:
        """Answer auth, ping, subscribe and unsubscribe."""
        match message.get("op"):
            case "auth":
                self._log_in(message)
            case "ping":
                self.answer(
                    {
                        "req_id": request_id(message),
                        "op": "pong",
                        "args": [str(self.now_ms())],
                        "conn_id": self.connection_id,
                    }
                )
            case "subscribe":
                self.topics |= self._read_topics(message)
                self.answer(self.acknowledgement(message, ret_msg=""))
            case "unsubscribe":
                self.topics -= self._read_topics(message)
                self.answer(self.acknowledgement(message, ret_msg=""))
            case _:
                raise parameter_error("op invalid")

    def _log_in(self, message: dict[str, Any]) -> None:
        key = log_in(message, reception=self.context.reception, address=self.address)
        if self._key is not None:
            self._feed.leave(self._key.uid, self)
        self._key = key
        self._feed.join(key.uid, self)
        self.answer(self.acknowledgement(message, ret_msg=""))

    def _read_topics(self, message: dict[str, Any]) -> set[str]:
        if self._key is None:
            raise Rejected(10003, "Request not authorized")
        names = set(arguments(message))
        for name in names:
            if name not in TOPICS:
                raise parameter_error(f"error:handler not found,topic:{name}")
            parent, _, last = name.rpartition(".")
            if last in set(Category) and parent in names:
                raise parameter_error(f"error:{parent} and {name} cannot be subscribed in one request")
        return names

    def refuse(self, code: int, text: str, message: dict[str, Any]) -> None:
        """Answer an operation that failed."""
        self.answer(self.acknowledgement(message, ret_msg=text, success=False), code=code)

    def closed(self) -> None:
        """Stop hearing of the account."""
        if self._key is not None:
            self._feed.leave(self._key.uid, self)


def _lives(key: ApiKey, context: StreamContext) -> bool:
    try:
        context.reception.exchange.keys.find(key.api_key)
    except Rejected:
        return False
    return True
