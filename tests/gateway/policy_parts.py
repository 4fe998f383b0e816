"""A ring, an operator and policies that differ, for the tests of changes of policy."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal
from typing import Any

from gateway.policy.parts import POLICY
from trust_parts import ring_of, touch

from trade_core.trust.keys import load_private_key, new_private_key
from trade_core.trust.policy_warrant import policy_subject
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.warrant import Warrant
from trade_gateway.policy.content import policy_text
from trade_gateway.policy.limits import policy_content, policy_hash
from trade_gateway.policy.model import Policy
from trade_gateway.policy_history import PolicyHistory
from trade_gateway.row_texts import row_parts, warrant_parts
from trade_journal.log.rows import Fields, Row, RowKind

OPERATOR = load_private_key(new_private_key())
LOOSER = replace(POLICY, max_open_orders=5)
TIGHTER = replace(POLICY, max_open_orders=3, collar=Decimal("0.002"))
MIXED = replace(POLICY, max_open_orders=5, collar=Decimal("0.002"))
_NONCES = itertools.count()


def ring_for(policy: Policy = POLICY) -> KeyRing:
    return ring_of(OPERATOR, policy_hash=policy_hash(policy))


RING = ring_for()


def policy_warrant(old: Policy, new: Policy, **changed: Any) -> bytes:
    """Sign a step; by default it expires in the year 2100, for rows of the journal."""
    made = Warrant(
        purpose="policy",
        version=1,
        deployment="d1",
        environment="simulated",
        audience="gateway",
        account="1002",
        ring_hash=ring_hash(RING),
        subject=policy_subject(old_hash=policy_hash(old), new_hash=policy_hash(new)),
        nonce=f"n{next(_NONCES)}",
        words="loosen it",
        expires_at_ms=4_102_444_800_000,
    )
    return touch(replace(made, **changed))


def row(kind: RowKind, fields: Fields, seq: int = 0) -> Row:
    return Row(seq=seq, at_ns=1, kind=kind, actor="gateway", fields=fields)


def recorded(policy: Policy) -> Row:
    return row(RowKind.POLICY_RECORDED, {"hash": policy_hash(policy), "content": row_parts(policy_text(policy))})


def changed(old: Policy, new: Policy, raw: bytes | None = None) -> Row:
    fields: dict[str, Any] = {"old_hash": policy_hash(old), "new_hash": policy_hash(new)}
    if raw is not None:
        fields["warrant"] = warrant_parts(raw)
    return row(RowKind.POLICY_CHANGED, fields)


def begun(policy: Policy = POLICY) -> PolicyHistory:
    """A history that has taken in the anchor."""
    history = PolicyHistory(ring=ring_for(policy))
    assert history.take(recorded(policy))
    return history


def policy_toml(policy: Policy) -> str:
    """Write a policy as its file."""
    content = policy_content(policy)
    lines = []
    for key, value in content.items():
        if key in {"version", "symbols", "disaster_stop_fraction"}:
            continue
        lines.append(f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"')
    for category, symbol, notional, quantity in content["symbols"]:
        lines += [
            "[[symbols]]",
            f'category = "{category}"',
            f'symbol = "{symbol}"',
            f'max_notional_usdt = "{notional}"',
            f'max_order_quantity = "{quantity}"',
        ]
    return "\n".join(lines) + "\n"
