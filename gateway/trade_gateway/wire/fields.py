"""Takes typed values out of a flat body; every leaf names the key that it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from trade_core.errors import InvalidNumber
from trade_core.money import parse_decimal
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.flat_json import JsonNumber, Value
from trade_gateway.wire.refusal import Refused, refuse

E = TypeVar("E", bound=Enum)

SYMBOL = re.compile(r"[A-Z0-9]{1,30}", re.ASCII)
COIN = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)
ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)

ZERO = JsonNumber("0")


def refuse_unknown_keys(fields: Mapping[str, Value], known: Set[str]) -> None:
    """Refuse a body with a key outside the list."""
    for key in fields:
        if key not in known:
            raise Refused(refuse(DenyCode.BODY_KEY_UNKNOWN, key=key))


def require_keys(fields: Mapping[str, Value], required: tuple[str, ...]) -> None:
    """Refuse a body that lacks a key."""
    for key in required:
        if key not in fields:
            raise Refused(refuse(DenyCode.BODY_KEY_MISSING, key=key))


def invalid(key: str, value: Value) -> Refused:
    """Say that a value is not one of those permitted for its key."""
    return Refused(refuse(DenyCode.BODY_VALUE_INVALID, key=key, value=shown(value)))


def shown(value: Value | None) -> str:
    """Write a value for a detail: what stood in the body, or `missing`."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.text if isinstance(value, JsonNumber) else value


def text_of(fields: Mapping[str, Value], key: str, grammar: re.Pattern[str]) -> str:
    """Return a required text of the given grammar."""
    value = fields[key]
    if not isinstance(value, str) or grammar.fullmatch(value) is None:
        raise invalid(key, value)
    return value


def optional_text_of(fields: Mapping[str, Value], key: str, grammar: re.Pattern[str]) -> str | None:
    """Return an optional text of the given grammar, or None when the key is absent."""
    return text_of(fields, key, grammar) if key in fields else None


def optional_id_of(fields: Mapping[str, Value], key: str, grammar: re.Pattern[str]) -> str | None:
    """Return an optional id, or None when the key is absent or its text empty, which the exchange takes for absent."""
    return None if fields.get(key) == "" else optional_text_of(fields, key, grammar)


def member_of(fields: Mapping[str, Value], key: str, kind: type[E]) -> E:
    """Return the enum member whose value is exactly the field's text."""
    value = fields[key]
    member: E | None = _members(kind).get(value)  # no flag or number equals a text
    if member is None:
        raise invalid(key, value)
    return member


@cache
def _members(kind: type[Enum]) -> dict[Value, Any]:
    """Look members up by their values once: going through an enum calls into Python for each."""
    return {member.value: member for member in kind}


def flag_of(fields: Mapping[str, Value], key: str) -> bool:
    """Return an optional real boolean; absent means false."""
    value = fields.get(key, False)
    if not isinstance(value, bool):
        raise invalid(key, value)
    return value


def positive_decimal_of(fields: Mapping[str, Value], key: str, code: DenyCode) -> Decimal:
    """Return a required number above zero that was sent as text, of the one strict grammar."""
    value = fields[key]
    if not isinstance(value, str):
        raise Refused(refuse(code, key=key, value=shown(value), type="not a string"))
    try:
        number = parse_decimal(value)
    except InvalidNumber:
        raise Refused(refuse(code, key=key, value=value)) from None
    if number <= 0:
        raise Refused(refuse(code, key=key, value=value))
    return number
