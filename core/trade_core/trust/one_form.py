"""Reading JSON of which a signature depends: strictly, and without trust in what a lenient parser would make of it.

Guarantees
- An object is read from exactly its bytes: no byte before or behind it, no key twice, no NaN, no other encoding.
- `canonical_object` reads one form only, RFC 8785 as `canonical_json` writes it. The bytes received are compared with
  that form and thrown away if they differ; nothing is ever verified over bytes that were written again.
"""

from __future__ import annotations

import json
from typing import Any

from trade_core.canonical import NotCanonical, canonical_json
from trade_core.trust.keys import NotTrusted


def strict_object(raw: bytes, *, what: str, most_bytes: int) -> dict[str, Any]:
    """Read a JSON object of at most so many bytes. Raises NotTrusted naming `what`."""
    if len(raw) > most_bytes:
        raise NotTrusted(f"{what}: {len(raw)} bytes, at most {most_bytes}")
    try:
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repetition, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # of the encoding, the syntax and the hooks alike
        raise NotTrusted(f"{what}: not JSON, or a key twice in it") from None
    if not isinstance(content, dict):
        raise NotTrusted(f"{what}: not an object")
    return content


def canonical_object(raw: bytes, *, what: str, most_bytes: int) -> dict[str, Any]:
    """Read an object that is written in its one canonical form. Raises NotTrusted naming `what`."""
    content = strict_object(raw, what=what, most_bytes=most_bytes)
    try:
        is_in_form = canonical_json(content) == raw
    except NotCanonical as error:
        raise NotTrusted(f"{what}: not canonical JSON: {error}") from None
    if not is_in_form:
        raise NotTrusted(f"{what}: not in its one canonical form")
    return content


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError
    return content


def _no_constant(_: str) -> None:
    raise ValueError
