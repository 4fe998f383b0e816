"""Reads one flat JSON object, more strictly than JSON itself.

Guarantees
- What is accepted is valid JSON and means the same to every JSON reader: no key twice, no nesting, no null, no
  escapes, no character beyond printable ASCII, no byte after the closing brace.
- Numbers are plain decimals without sign or exponent and stay text; nothing ever becomes a float.
- Work is linear in the body, which the caller bounds.

Does not know which keys or values mean something; see `order_bodies` and `pin_bodies`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.refusal import Refused, refuse

MAX_FIELDS = 64
"""More than the exchange documents for an order (about 40), so that a forbidden field is named as such."""
MAX_KEY_CHARACTERS = 64
MAX_TEXT_CHARACTERS = 512

_SPACE = rb"[ \t\n\r]*"
_CHARACTERS = rb"[ !#-\[\]-~]"  # printable ASCII without quote and backslash
_OPEN = re.compile(_SPACE + rb"\{" + _SPACE)
_PAIR = re.compile(
    rb'"(?P<key>' + _CHARACTERS + rb"{1,%d})" % MAX_KEY_CHARACTERS + rb'"' + _SPACE + rb":" + _SPACE + rb"(?:"
    rb'"(?P<text>' + _CHARACTERS + rb"{0,%d})" % MAX_TEXT_CHARACTERS + rb'"'
    rb"|(?P<word>true|false)"
    rb"|(?P<number>(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,12})?)"
    rb")" + _SPACE + rb"(?P<next>[,}])" + _SPACE
)


@dataclass(frozen=True, slots=True)
class JsonNumber:
    """A number that stood unquoted in the body, as the text it was."""

    text: str


Value = str | bool | JsonNumber


def read_flat_object(body: bytes) -> dict[str, Value]:
    """Return the object's fields in their order. Raises Refused."""
    opening = _OPEN.match(body)
    if opening is None:
        raise _not_flat(0)
    fields: dict[str, Value] = {}
    position = opening.end()
    for _ in range(MAX_FIELDS):
        pair = _PAIR.match(body, position)
        if pair is None:
            raise _not_flat(position)
        key = pair["key"].decode("ascii")
        if key in fields:
            raise Refused(refuse(DenyCode.BODY_KEY_DUPLICATE, key=key))
        fields[key] = _value(pair)
        position = pair.end()
        if pair["next"] == b"}":
            break
    else:
        raise _not_flat(position)
    if position != len(body):
        raise _not_flat(position)
    return fields


def _value(pair: re.Match[bytes]) -> Value:
    text, word = pair["text"], pair["word"]
    if text is not None:
        return str(text, "ascii")
    if word is not None:
        return bool(word == b"true")
    return JsonNumber(pair["number"].decode("ascii"))


def _not_flat(position: int) -> Refused:
    return Refused(refuse(DenyCode.BODY_NOT_FLAT_JSON, at_byte=position))
