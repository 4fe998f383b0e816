"""Policy warrants as the operator of a test deployment signs them."""

from __future__ import annotations

import base64
import itertools
from dataclasses import replace
from typing import Any

from trust_parts import touch

from trade_core.trust.policy_warrant import policy_subject
from trade_core.trust.ring import ring_hash
from trade_core.trust.warrant import Warrant

_NONCES = itertools.count()


def policy_warrant(made_for: Any, old_hash: str, new_hash: str, **changed: Any) -> str:
    """Sign a step from one policy to another, base64 as the gateway shows it."""
    ring = made_for.ring
    made = Warrant(
        purpose="policy",
        version=1,
        deployment=ring.deployment,
        environment=ring.environment,
        audience="gateway",
        account=ring.account,
        ring_hash=ring_hash(ring),
        subject=policy_subject(old_hash=old_hash, new_hash=new_hash),
        nonce=f"n{next(_NONCES)}",
        words="loosen it",
        expires_at_ms=1,
    )
    return base64.b64encode(touch(replace(made, **changed))).decode()
