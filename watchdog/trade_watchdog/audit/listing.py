"""Reading the exchange's lists: orders, executions and keys from its words into the audit's. Pure.

Guarantees
- An entry is read in full or the whole list is refused, with the name of the field: half a list would look like a
  clean one.
- Every number is a plain finite decimal in text, as the exchange writes it. "" is read as zero only where the exchange
  writes it for none.

Source: Bybit V5 "Get Open & Closed Orders", "Get Trade History", "Get Sub Account All API Keys".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from trade_core.errors import ExchangeAnswerInvalid, InvalidNumber
from trade_core.money import parse_exchange_decimal
from trade_watchdog.audit.key_inventory import ListedKey
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder

TEXT_CHARACTERS_MAX: Final = 64
_NO_END_DAY: Final = -2
_NAMES_MAX: Final = 64


def seen_order(entry: Mapping[str, Any], *, category: str) -> SeenOrder:
    """Read one order. Raises ExchangeAnswerInvalid."""
    trigger = _number(entry, "triggerPrice", empty=Decimal(0))
    return SeenOrder(
        category=category,
        symbol=_text(entry, "symbol"),
        order_id=_text(entry, "orderId"),
        link_id=_text(entry, "orderLinkId", may_be_empty=True),
        side=_text(entry, "side"),
        quantity=_number(entry, "qty"),
        price=_number(entry, "price", empty=Decimal(0)),
        trigger_price=None if trigger == 0 else trigger,
        is_reduce_only=_flag(entry, "reduceOnly"),
        is_leverage=_text(entry, "isLeverage", may_be_empty=True) not in {"", "0"},
        create_type=_text(entry, "createType", may_be_empty=True),
        status=_text(entry, "orderStatus"),
        filled=_number(entry, "cumExecQty", empty=Decimal(0)),
        created_at_ms=_time_ms(entry, "createdTime"),
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
        fee=_number(entry, "execFee", empty=Decimal(0)),
        order_quantity=_number(entry, "orderQty", empty=Decimal(0)),
        order_price=_number(entry, "orderPrice", empty=Decimal(0)),
        execution_type=_text(entry, "execType"),
        create_type=_text(entry, "createType", may_be_empty=True),
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
