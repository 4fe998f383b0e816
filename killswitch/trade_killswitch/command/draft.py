"""A warrant as it is drafted, and as a person is shown it before he signs. Pure.

Guarantees
- What is shown is what is signed: every field of the bytes that the security key hashes, none left out.
- A draft of another deployment, environment, account or key ring than the one at hand is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from trade_core.logs import neutralise
from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.warrant import (
    MAX_ARMED_MS,
    MAX_LIFETIME_MS,
    MAX_WARRANT_BYTES,
    WARRANT_VERSION,
    Warrant,
    parse_warrant,
    warrant_bytes,
)

CLOCK_MARGIN_MS: Final = 10_000
"""The executor's clock may be behind ours, and a warrant for more than five minutes is refused."""
_DRAFTED: Final = ("purpose", "audience", "subject", "words")
_HOUSE: Final = ("deployment", "environment", "account")
_DAY_MS: Final = 24 * 60 * 60 * 1000
ARMED_DAYS_MAX: Final = MAX_ARMED_MS // _DAY_MS - 1
"""A day less than is allowed, for clocks that differ."""


def draft_warrant(
    told: Mapping[str, Any], *, ring: KeyRing, nonce: str, now_ms: int, armed_days: int | None = None
) -> bytes:
    """Draft the bytes of a warrant from what the executor told. Raises NotTrusted.

    A warrant is good for less than five minutes; one that arms an automatic kill is good for `armed_days`, 1 to
    ARMED_DAYS_MAX, and its words say until when.
    """
    wrong = [name for name in _DRAFTED if not isinstance(told.get(name), str)]
    if wrong:
        raise NotTrusted(f"the executor's draft does not say its {wrong[0]}")
    for name in _HOUSE:
        if told.get(name) != getattr(ring, name):
            raise NotTrusted(f"the executor is of another {name} than the key ring")
    if told.get("ring_hash") != ring_hash(ring):
        raise NotTrusted("the executor has pinned another key ring than this one")
    words, expires_at_ms = told["words"], now_ms + MAX_LIFETIME_MS - CLOCK_MARGIN_MS
    if armed_days is not None:
        expires_at_ms = now_ms + armed_days * _DAY_MS
        words = f"{words} It lapses on {time_text(expires_at_ms)}."
    warrant = Warrant(
        purpose=told["purpose"],
        version=WARRANT_VERSION,
        deployment=ring.deployment,
        environment=ring.environment,
        audience=told["audience"],
        account=ring.account,
        ring_hash=ring_hash(ring),
        subject=told["subject"],
        nonce=nonce,
        words=words,
        expires_at_ms=expires_at_ms,
    )
    payload = warrant_bytes(warrant)
    parse_warrant(payload)  # what the executor would refuse is refused here
    return payload


def read_draft(payload: bytes, *, ring: KeyRing) -> Warrant:
    """Read a warrant that somebody drafted elsewhere. Raises NotTrusted unless it is of this key ring."""
    warrant = parse_warrant(payload)
    for name, wanted in {**{name: getattr(ring, name) for name in _HOUSE}, "ring_hash": ring_hash(ring)}.items():
        if getattr(warrant, name) != wanted:
            raise NotTrusted(f"the warrant names another {name} than the key ring")
    return warrant


def shown(warrant: Warrant, *, now_ms: int) -> str:
    """Show a warrant to the person who is to sign it."""
    left_s = (warrant.expires_at_ms - now_ms) // 1000
    left = f", for {left_s} s" if left_s > 0 else ", which is OVER"
    lines = [
        "You are about to sign:",
        "",
        f"  {warrant.words}",
        "",
        f"  purpose      {warrant.purpose}, for the {warrant.audience}",
        f"  subject      {warrant.subject}",
        f"  environment  {warrant.environment}",
        f"  account      {warrant.account}",
        f"  deployment   {warrant.deployment}, key ring {warrant.ring_hash[:16]}",
        f"  valid until  {time_text(warrant.expires_at_ms)}{left}",
        f"  nonce        {warrant.nonce}",
    ]
    return "\n".join(neutralise(line, limit=MAX_WARRANT_BYTES) for line in lines)


def time_text(at_ms: int) -> str:
    """Write a time for a person, in UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
