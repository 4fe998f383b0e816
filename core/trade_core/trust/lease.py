"""The watchdog's lease: for a short time it allows risk up to a ceiling. A signed statement of its own purpose."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.trust.keys import NotTrusted
from trade_core.trust.statement import MAX_STATEMENT_BYTES, check_fields, open_statement, sign_statement

PURPOSE = "lease/v1"
MAX_LEASE_BYTES = MAX_STATEMENT_BYTES
MAX_LIFETIME_S = 30
SEND_EVERY_S = 5
CEILINGS = ("ACTIVE", "TRIMMED", "REDUCE_ONLY", "HALTED")
_INTEGERS = frozenset({"generation", "expires_at_ms"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What the watchdog vouches for. `scale` is the decimal text of the size factor; times are UTC milliseconds."""

    deployment: str
    environment: str
    account: str
    boot_nonce: str
    generation: int
    ceiling: str
    scale: str
    policy_hash: str
    ring_hash: str
    expires_at_ms: int

    def content(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def sign_lease(lease: Lease, private_key: Ed25519PrivateKey) -> bytes:
    """Serialise and sign a lease. The result is the body of POST /lease."""
    return sign_statement(lease.content(), private_key, purpose=PURPOSE)


def open_lease(raw: bytes, *, lease_key: str) -> Lease:
    """Verify a signed lease and return it. Raises NotTrusted saying what is wrong, before believing any field."""
    content = open_statement(raw, what="lease", purpose=PURPOSE, public_key=lease_key)
    check_fields(content, what="lease", fields=Lease.__slots__, integers=_INTEGERS)
    if content["ceiling"] not in CEILINGS:
        raise NotTrusted("lease: ceiling is not a trading state")
    return Lease(**content)
