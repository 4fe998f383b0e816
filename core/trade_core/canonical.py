"""Canonical JSON (RFC 8785): one byte string for one value, so that a hash or signature means one thing.

Python's own encoder writes that form for text, whole numbers, booleans and None, as long as keys are ASCII (beyond it
the RFC sorts by UTF-16 units). Everything else is refused, so that the two cannot part; the tests compare it with
another implementation.
"""

from __future__ import annotations

import json

from trade_core.errors import TradeError

INTEGER_MAX = 2**53 - 1
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


class NotCanonical(TradeError):
    """A value that has no canonical form here: a float, an unknown type, a large integer, a key beyond ASCII."""


def canonical_json(value: object) -> bytes:
    """Serialise a value of strings, integers, booleans, None, lists, tuples and dictionaries.

    Floats are refused, although RFC 8785 knows them: money is text, and time is whole nanoseconds given as text
    where it exceeds 2**53. Raises NotCanonical.
    """
    _check(value)
    try:
        return _ENCODER.encode(value).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise NotCanonical(f"{type(error).__name__}: a lone surrogate, or nested too deeply") from error


def _check(value: object) -> None:
    pending: list[object] = [value]
    while pending:
        item = pending.pop()
        if item is None or isinstance(item, str | bool):
            continue
        if isinstance(item, int):
            if not -INTEGER_MAX <= item <= INTEGER_MAX:
                raise NotCanonical(f"an integer beyond 2**53: {item}")
        elif isinstance(item, dict):
            for key in item:
                if not isinstance(key, str) or not key.isascii():
                    raise NotCanonical(f"a key that is no ASCII text: {key!r}")
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
        else:
            raise NotCanonical(f"a {type(item).__name__} has no place in records: {item!r}")
