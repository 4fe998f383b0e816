"""A policy as text that the journal and /state can hold, and back. Pure.

Guarantees
- The text is the canonical form whose SHA-256 is the policy's hash: who has the text needs to believe nobody.
- Reading it back runs every check that the policy file runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from trade_core.canonical import canonical_json
from trade_gateway.policy import bounds
from trade_gateway.policy.limits import FORM_VERSION, Counts, Policy, PolicyError, check_policy, policy_content

_SYMBOL_KEYS = ("category", "symbol", *sorted(bounds.SYMBOL_AMOUNTS))


def policy_text(policy: Policy) -> str:
    """Return the canonical form (RFC 8785)."""
    return canonical_json(policy_content(policy)).decode()


def policy_of(text: str, *, expected_hash: str, counts: Counts = bounds.COUNTS) -> Policy:
    """Read a canonical form back. Raises PolicyError when it is not the policy of that hash."""
    if hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() != expected_hash:
        raise PolicyError(f"policy: the text is not that of {expected_hash}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"policy: not JSON ({type(error).__name__})") from None
    if not isinstance(content, dict) or content.get("version") != FORM_VERSION:
        raise PolicyError("policy: its form is not one of this version")
    return check_policy(_file_keys(content), counts=counts)


def _file_keys(content: Mapping[str, object]) -> dict[str, object]:
    """Give the keys and values that a policy file of the same content has."""
    keys = {key: value for key, value in content.items() if key not in {"version", "disaster_stop_fraction", "symbols"}}
    tables = content.get("symbols")
    keys["symbols"] = [_symbol_table(table) for table in tables] if isinstance(tables, list) else tables
    fraction = content.get("disaster_stop_fraction")
    return keys if fraction is None else {**keys, "disaster_stop": {"fraction": fraction}}


def _symbol_table(values: object) -> object:
    if not isinstance(values, list) or len(values) != len(_SYMBOL_KEYS):
        return values
    return dict(zip(_SYMBOL_KEYS, values, strict=True))
