"""Reading the exchange's lists: orders, executions, positions and keys from its words into the audit's. Pure.

Guarantees
- An entry is read in full or the whole list is refused, with the name of the field: half a list would look like a
  clean one.
- Every number is a plain finite decimal in text, as the exchange writes it. "" is read as zero only where the exchange
  writes it for none.
- What the exchange leaves out of some of its answers is read as the word for none, and as nothing else: `createType`
  (then nothing says that its own engine made the order, and a stranger's stays a stranger's) and `isLeverage` (then a
  sale of coins is taken for one of what is held: it halts like every stranger's order, and what was borrowed for it is
  an alarm of its own). An order without `updatedTime` is never taken for one that was looked at before. All else that
  is missing refuses the list.

Source: Bybit V5 "Get Open & Closed Orders", "Get Trade History", "Get Sub Account All API Keys",
"Get Position Info", "Get Wallet Balance", "Get Account Info", "Get Strategy List", "Get Transaction Log",
"Get Index Price Kline".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from trade_core.errors import ExchangeAnswerInvalid, InvalidNumber
from trade_core.money import parse_exchange_decimal
from trade_watchdog.audit.collar_audit import IndexCandle
from trade_watchdog.audit.key_inventory import ListedKey
from trade_watchdog.audit.posture import SeenAlgorithm, SeenPosition
from trade_watchdog.audit.reconciliation import StatementTrade
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

TEXT_CHARACTERS_MAX: Final = 64
_NO_END_DAY: Final = -2
_NAMES_MAX: Final = 64
_STRATEGY_ENDED: Final = 3
_CANDLE_FIELDS: Final = ("start", "open", "high", "low")
_LOANS: Final = ("borrowAmount", "spotBorrow", "accruedInterest")
ZERO: Final = Decimal(0)


def seen_order(entry: Mapping[str, Any], *, category: str) -> SeenOrder:
    """Read one order. Raises ExchangeAnswerInvalid."""
    trigger = _number(entry, "triggerPrice", empty=ZERO)
    return SeenOrder(
        category=category,
        symbol=_text(entry, "symbol"),
        order_id=_text(entry, "orderId"),
        link_id=_text(entry, "orderLinkId", may_be_empty=True),
        side=_text(entry, "side"),
        quantity=_number(entry, "qty"),
        price=_number(entry, "price", empty=ZERO),
        trigger_price=None if trigger == 0 else trigger,
        is_reduce_only=_flag(entry, "reduceOnly"),
        is_leverage=_text_or_none(entry, "isLeverage") not in {"", "0"},
        create_type=_text_or_none(entry, "createType"),
        status=_text(entry, "orderStatus"),
        filled=_number(entry, "cumExecQty", empty=ZERO),
        created_at_ms=_time_ms(entry, "createdTime"),
        updated_at_ms=_time_ms(entry, "updatedTime") if _text_or_none(entry, "updatedTime") else None,
    )


def seen_execution(entry: Mapping[str, Any], *, category: str) -> SeenExecution:
    """Read one execution. Raises ExchangeAnswerInvalid."""
    return SeenExecution(
        category=category,
        symbol=_text(entry, "symbol"),
        execution_id=_text(entry, "execId"),
        order_id=_text(entry, "orderId", may_be_empty=True),
        link_id=_text(entry, "orderLinkId", may_be_empty=True),
        side=_text(entry, "side"),
        quantity=_number(entry, "execQty"),
        price=_number(entry, "execPrice"),
        fee=_number(entry, "execFee", empty=ZERO),
        order_quantity=_number(entry, "orderQty", empty=ZERO),
        order_price=_number(entry, "orderPrice", empty=ZERO),
        execution_type=_text(entry, "execType"),
        create_type=_text_or_none(entry, "createType"),
        executed_at_ms=_time_ms(entry, "execTime"),
    )


def listed_key(entry: Mapping[str, Any]) -> ListedKey:
    """Read one key of a sub-account. Raises ExchangeAnswerInvalid."""
    days = _whole(entry, "deadlineDay")
    return ListedKey(
        key=_text(entry, "apiKey"),
        is_read_only=_is_read_only(entry),
        permissions={name: frozenset(granted) for name, granted in _permissions(entry).items()},
        addresses=frozenset(_names(entry.get("ips"), "ips")),
        days_left=None if days <= _NO_END_DAY else days,
    )


def stated_trade(entry: Mapping[str, Any]) -> StatementTrade:
    """Read one trade of the transaction log. Raises ExchangeAnswerInvalid.

    A spot trade is booked in both coins, and the quantity of each entry is in the entry's own coin: the symbol begins
    with the base coin's.
    """
    is_base = _text(entry, "category") != "spot" or _text(entry, "symbol").startswith(_text(entry, "currency"))
    return StatementTrade(
        trade_id=_text(entry, "tradeId"),
        order_id=_text(entry, "orderId", may_be_empty=True),
        at_ms=_time_ms(entry, "transactionTime"),
        quantity=abs(_number(entry, "qty")) if is_base else None,
    )


def seen_position(entry: Mapping[str, Any], *, category: str) -> SeenPosition:
    """Read one position; its size is signed by its side. Raises ExchangeAnswerInvalid."""
    side = _text(entry, "side", may_be_empty=True)
    size = _number(entry, "size")
    if side not in {"Buy", "Sell", ""} or (not side and size != 0):
        raise _wrong("side", "is none of a position")
    return SeenPosition(
        category=category,
        symbol=_text(entry, "symbol"),
        size=-size if side == "Sell" else size,
        leverage=_number(entry, "leverage"),
        index=_whole(entry, "positionIdx"),
        mark_price=_number(entry, "markPrice", empty=ZERO),
    )


def seen_algorithm(entry: Mapping[str, Any]) -> SeenAlgorithm | None:
    """Read one strategy; None for one that has ended. Raises ExchangeAnswerInvalid."""
    if _whole(entry, "status") == _STRATEGY_ENDED:
        return None
    return SeenAlgorithm(
        strategy_id=_text(entry, "strategyId"),
        symbol=_text(entry, "symbol", may_be_empty=True),
        created_at_ms=_time_ms(entry, "createdTimeE3"),
    )


def seen_candles(result: Mapping[str, Any]) -> list[IndexCandle]:
    """Read a page of index candles: [start, open, high, low, close] each. Raises ExchangeAnswerInvalid."""
    listed = result.get("list")
    if not isinstance(listed, list) or not all(isinstance(line, list) for line in listed):
        raise _wrong("list", "is no list of candles")
    return [_candle(dict(zip(_CANDLE_FIELDS, line, strict=False))) for line in listed]


def _candle(entry: Mapping[str, Any]) -> IndexCandle:
    return IndexCandle(start_ms=_time_ms(entry, "start"), highest=_number(entry, "high"), lowest=_number(entry, "low"))


def borrowed_coins(account: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the coins of a wallet that are owed. Raises ExchangeAnswerInvalid."""
    return tuple(
        _text(coin, "coin") for coin in _coins(account) if any(_number(coin, name, empty=ZERO) for name in _LOANS)
    )


def held_coins(account: Mapping[str, Any]) -> Mapping[str, Decimal]:
    """Read how much of each coin a wallet holds. Raises ExchangeAnswerInvalid."""
    return {_text(coin, "coin"): _number(coin, "walletBalance", empty=ZERO) for coin in _coins(account)}


def margin_mode(result: Mapping[str, Any]) -> str:
    """Read the margin mode of an account. Raises ExchangeAnswerInvalid."""
    return _text(result, "marginMode")


def _coins(account: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    coins = account.get("coin")
    if not isinstance(coins, list) or not all(isinstance(coin, Mapping) for coin in coins):
        raise _wrong("coin", "is no list of coins")
    return coins


def _is_read_only(entry: Mapping[str, Any]) -> bool:
    value = entry.get("readOnly")
    # The list says true or false where the key's own answer says 1 or 0; ccxt may hand on either.
    if value not in (True, False):
        raise _wrong("readOnly", "is neither yes nor no")
    return bool(value)


def _permissions(entry: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    value = entry.get("permissions")
    if not isinstance(value, Mapping) or len(value) > _NAMES_MAX:
        raise _wrong("permissions", "is no table")
    return {str(group)[:TEXT_CHARACTERS_MAX]: _names(granted, "permissions") for group, granted in value.items()}


def _names(value: object, name: str) -> list[str]:
    if not isinstance(value, list) or len(value) > 2 * _NAMES_MAX:
        raise _wrong(name, "is no list")
    return [str(item)[:TEXT_CHARACTERS_MAX] for item in value]


def _text(entry: Mapping[str, Any], name: str, *, may_be_empty: bool = False) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or len(value) > TEXT_CHARACTERS_MAX or not value.isascii():
        raise _wrong(name, "is no short text")
    if not value and not may_be_empty:
        raise _wrong(name, "is empty")
    return value


def _text_or_none(entry: Mapping[str, Any], name: str) -> str:
    """Read a text that the exchange leaves out of some answers; "" when it is not there."""
    return _text(entry, name, may_be_empty=True) if name in entry else ""


def _flag(entry: Mapping[str, Any], name: str) -> bool:
    value = entry.get(name)
    if not isinstance(value, bool):
        raise _wrong(name, "is neither true nor false")
    return value


def _number(entry: Mapping[str, Any], name: str, *, empty: Decimal | None = None) -> Decimal:
    value = entry.get(name)
    if value == "" and empty is not None:
        return empty
    try:
        return parse_exchange_decimal(value)
    except InvalidNumber:
        raise _wrong(name, "is no plain number") from None


def _whole(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    if type(value) is not int:
        raise _wrong(name, "is no whole number")
    return value


def _time_ms(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > len("1700000000000"):
        raise _wrong(name, "is no time in milliseconds")
    return int(value)


def _wrong(name: str, what: str) -> ExchangeAnswerInvalid:
    return ExchangeAnswerInvalid(f"an entry of a list: {name} {what}")
