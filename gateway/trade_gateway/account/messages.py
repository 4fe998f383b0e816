"""Parses what the exchange says of the account, by stream or by REST, into domain types. Pure.

Guarantees: a message becomes facts only when every part that the gateway relies on is there, finite and plain;
anything else is NonsenseSaid. Products that the gateway does not trade, and topics that it does not know, are None.

Source of the field names: Bybit V5, websocket/private/{order,execution,position,wallet} and the REST pages of
order/realtime, execution/list, position/list and account/wallet-balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, assert_never

import msgspec

from trade_core.errors import ExchangeAnswerInvalid, InvalidNumber
from trade_core.money import parse_exchange_decimal
from trade_core.records import record
from trade_gateway.wire.intents import Category, OrderIntent, Side, StopIntent

MAX_ITEMS = 1_000  # of one message or page
_MAX_WORD = 64
_ZERO = Decimal(0)
_TRADE_TYPE = "Trade"
_CATEGORIES = {category.value: category for category in Category}
_SIDES = {side.value: side for side in Side}


class NonsenseSaid(ExchangeAnswerInvalid):
    """A message about the account that cannot be believed; the text is our own."""


@record(frozen=True, slots=True, kw_only=True)
class OrderSeen:
    """One order as the exchange shows it. `value` is the quote coin that its fills took, where it is told."""

    category: Category
    symbol: str
    order_id: str
    tag: str
    side: Side
    status: str
    quantity: Decimal
    price: Decimal
    filled: Decimal
    value: Decimal | None
    is_reducing: bool
    is_conditional: bool

    def is_as_sent(self, sent: OrderIntent | StopIntent) -> bool:
        """Tell whether the exchange shows an order as it was sent.

        Two liberties are the exchange's own: it cuts a reduce-only order down to the position, and it may show a
        market order with a price once it is triggered.
        """
        if (self.category, self.symbol, self.side) != (sent.category, sent.symbol, sent.side):
            return False
        is_market = isinstance(sent, StopIntent) and sent.limit_price is None
        is_quantity = _ZERO < self.quantity <= sent.quantity if sent.reduce_only else self.quantity == sent.quantity
        return is_quantity and (is_market or self.price == sent.price)


@record(frozen=True, slots=True, kw_only=True)
class ExecutionSeen:
    """One execution. `is_trade` is False for what no order of anybody did: liquidation, ADL, settlement.

    `fee_rate` is a fraction of the value, below zero for a rebate; None where it is not told, or in no plain number.
    """

    execution_id: str
    category: Category
    symbol: str
    order_id: str
    tag: str
    quantity: Decimal
    price: Decimal
    is_trade: bool
    fee_rate: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletSeen:
    """Coins and total equity at a time of the exchange's clock. A stream may name only what changed.

    Of a message, an equity of None says nothing; of a complete reading, that there is none to be believed.
    """

    coins: Mapping[str, Decimal]
    equity_usdt: Decimal | None
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionSeen:
    """One linear position, signed: above zero is long. `sequence` grows with each change of the symbol.

    `entry_price` is None when the exchange names none, as of a closed position.
    """

    symbol: str
    size: Decimal
    sequence: int
    entry_price: Decimal | None = None


Seen = OrderSeen | ExecutionSeen | WalletSeen | PositionSeen


class Topic(Enum):
    """The topics of the private stream that the view is made of; the value is the exchange's own word."""

    ORDER = "order"
    EXECUTION = "execution"
    WALLET = "wallet"
    POSITION = "position"


_TOPICS = {topic.value: topic for topic in Topic}


def parse_frame(text: str) -> tuple[Seen, ...]:
    """Parse one data frame of the private stream; empty for topics that are not followed. Raises NonsenseSaid."""
    content = parse_object(text)
    name = content.get("topic")
    topic = _TOPICS.get(name) if isinstance(name, str) else None
    if topic is None:
        return ()
    rows = content.get("data")
    if not isinstance(rows, list) or len(rows) > MAX_ITEMS:
        raise NonsenseSaid(f"a message of the topic {topic.value} has no list of data")
    created_ms = content.get("creationTime")
    if type(created_ms) is not int:
        raise NonsenseSaid(f"a message of the topic {topic.value} has no time")
    return tuple(seen for row in rows if (seen := _parse_row(topic, row, created_ms)) is not None)


def parse_object(text: str) -> dict[str, Any]:
    """Parse a frame into one JSON object. Raises NonsenseSaid."""
    try:
        content = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        raise NonsenseSaid("a frame is not JSON") from None
    if not isinstance(content, dict):
        raise NonsenseSaid("a frame is not a JSON object")
    return content


def _parse_row(topic: Topic, row: object, created_ms: int) -> Seen | None:
    match topic:
        case Topic.ORDER:
            return parse_order(row)
        case Topic.EXECUTION:
            return parse_execution(row)
        case Topic.WALLET:
            return parse_wallet(row, at_ms=created_ms)
        case Topic.POSITION:
            return parse_position(row)
        case _:
            assert_never(topic)


def parse_order(row: object, category: Category | None = None) -> OrderSeen | None:
    """Parse one order; REST lists do not repeat their category. Raises NonsenseSaid."""
    item = _object(row)
    category = category or _category(item)
    if category is None:
        return None
    value = item.get("cumExecValue")
    return OrderSeen(
        category=category,
        symbol=_word(item, "symbol"),
        order_id=_word(item, "orderId"),
        tag=_text(item, "orderLinkId"),
        side=_side(item),
        status=_word(item, "orderStatus"),
        quantity=_amount(item, "qty"),
        price=_amount(item, "price", empty=Decimal(0)),
        filled=_amount(item, "cumExecQty", empty=Decimal(0)),
        value=None if _is_unset(value) else _amount(item, "cumExecValue"),
        is_reducing=item.get("reduceOnly") is True,
        is_conditional=_text(item, "stopOrderType") not in {"", "UNKNOWN"},
    )


def parse_execution(row: object, category: Category | None = None) -> ExecutionSeen | None:
    """Parse one execution; funding moves no quantity and is None. Raises NonsenseSaid."""
    item = _object(row)
    category = category or _category(item)
    kind = _text(item, "execType")
    if category is None or kind == "Funding":
        return None
    return ExecutionSeen(
        execution_id=_word(item, "execId"),
        category=category,
        symbol=_word(item, "symbol"),
        order_id=_text(item, "orderId"),
        tag=_text(item, "orderLinkId"),
        quantity=_amount(item, "execQty"),
        price=_amount(item, "execPrice"),
        is_trade=kind == _TRADE_TYPE,
        fee_rate=_number_or_none(item, "feeRate"),
    )


def parse_wallet(row: object, *, at_ms: int, is_whole: bool = False) -> WalletSeen | None:
    """Parse the unified wallet. Raises NonsenseSaid.

    Of a whole one, as a reading brings it, an equity that is no plain number is none at all, so that coins are known
    even then; in a message it is nonsense as everything else is.
    """
    item = _object(row)
    if item.get("accountType", "UNIFIED") != "UNIFIED":
        return None
    rows = item.get("coin")
    if not isinstance(rows, list) or len(rows) > MAX_ITEMS:
        raise NonsenseSaid("a wallet has no list of coins")
    coins = {}
    for entry in map(_object, rows):
        coins[_word(entry, "coin")] = _number(entry, "walletBalance")
    equity = _number_or_none(item, "totalEquity") if is_whole else _equity(item)
    return WalletSeen(coins=coins, equity_usdt=equity, at_ms=at_ms)


def _equity(item: Mapping[str, Any]) -> Decimal | None:
    return None if _is_unset(item.get("totalEquity")) else _number(item, "totalEquity")


def _number_or_none(item: Mapping[str, Any], name: str) -> Decimal | None:
    try:
        return _number(item, name)
    except NonsenseSaid:
        return None


def parse_position(row: object) -> PositionSeen | None:
    """Parse one position. Raises NonsenseSaid, for hedge mode too: it is not what the gateway pinned."""
    item = _object(row)
    if item.get("category", "linear") != "linear":
        return None
    if item.get("positionIdx", 0) != 0:
        raise NonsenseSaid("a position of hedge mode")
    size = _amount(item, "size")
    sequence = item.get("seq", -1)
    if type(sequence) is not int:
        raise NonsenseSaid("a position without a sequence number")
    side = _SIDES.get(_text(item, "side"))
    if size != 0 and side is None:
        raise NonsenseSaid("a position without a side")
    signed = -size if side is Side.SELL else size
    # The stream and the REST page have a name of their own for the same figure.
    entry = _amount(item, "entryPrice" if "entryPrice" in item else "avgPrice", empty=Decimal(0))
    entry_price = None if entry == 0 else entry
    return PositionSeen(symbol=_word(item, "symbol"), size=signed, sequence=sequence, entry_price=entry_price)


def _is_unset(value: object) -> bool:
    return value is None or value == ""


def _object(row: object) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise NonsenseSaid("an item is not a JSON object")
    return row


def _category(item: Mapping[str, Any]) -> Category | None:
    name = item.get("category")
    if not isinstance(name, str):
        raise NonsenseSaid("an item without a category")
    return _CATEGORIES.get(name)


def _side(item: Mapping[str, Any]) -> Side:
    side = _SIDES.get(_text(item, "side"))
    if side is None:
        raise NonsenseSaid("an order without a side")
    return side


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_WORD or not value.isascii() or not (value or "x").isprintable():
        raise NonsenseSaid(f"{name} is not a short plain text")
    return value


def _word(item: Mapping[str, Any], name: str) -> str:
    value = _text(item, name)
    if not value:
        raise NonsenseSaid(f"{name} is missing")
    return value


def _number(item: Mapping[str, Any], name: str) -> Decimal:
    try:
        return parse_exchange_decimal(item.get(name))
    except InvalidNumber:
        raise NonsenseSaid(f"{name} is not a plain number") from None


def _amount(item: Mapping[str, Any], name: str, *, empty: Decimal | None = None) -> Decimal:
    if empty is not None and item.get(name, "") == "":
        return empty
    amount = _number(item, name)
    if amount < 0:
        raise NonsenseSaid(f"{name} is below zero")
    return amount
