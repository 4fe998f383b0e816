"""Canonical JSON (RFC 8785): one byte string for one value, so that a hash or signature means one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import rfc8785

from trade_core.errors import TradeError


class NotCanonical(TradeError):
    """A value that has no canonical form here: a float, an unknown type, an integer beyond 2**53."""


def canonical_json(value: object) -> bytes:
    """Serialise a value of strings, integers, booleans, None, lists and mappings.

    Floats are refused, although RFC 8785 knows them: money is text, and time is whole nanoseconds given as text
    where it exceeds 2**53. Raises NotCanonical.
    """
    _refuse_floats(value)
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError as error:
        raise NotCanonical(str(error)) from error


def _refuse_floats(value: object) -> None:
    pending: list[object] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, float):
            raise NotCanonical(f"floats have no place in records: {item!r}")
        if isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, Sequence) and not isinstance(item, str | bytes):
            pending.extend(item)
