"""Which key ring may follow the pinned one. Pure.

Guarantees
- A process that has pinned a ring believes that ring, or the next version of it that a person has ordered by a warrant
  under it; nothing else, wherever it comes from.
- The next version is one higher, names the pinned one's hash, and is of the same deployment, environment and account,
  with the same baseline.
- The warrant names the version that it replaces and the hash of the one that it puts there, so that it can be used for
  nothing else and not twice.

No command makes a next version yet: rings change when security keys are enrolled. Until then every other ring than
the pinned one is refused, and `difference` says why.
"""

from __future__ import annotations

from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.warrant import WarrantPurpose, check_in_time, check_warrant, open_warrant

_KEPT = ("deployment", "environment", "account", "baseline")


def ring_subject(pinned: KeyRing, offered: KeyRing) -> str:
    """Return the subject of a warrant that puts one ring in another's place."""
    return f"ring:{pinned.version}:{ring_hash(offered)}"


def difference(offered: KeyRing, *, pinned_hash: str, pinned_version: int) -> str | None:
    """Say why a ring is not the pinned one, or None when it is."""
    if ring_hash(offered) == pinned_hash:
        return None
    if offered.version < pinned_version:
        return f"version {offered.version} is older than the pinned version {pinned_version}"
    if offered.version == pinned_version:
        return f"another ring of version {pinned_version} than the pinned one"
    if offered.version > pinned_version + 1 or offered.previous_hash != pinned_hash:
        return f"version {offered.version} does not follow the pinned version {pinned_version}"
    return f"version {offered.version} follows the pinned one, but no warrant orders it"


def check_next_ring(offered: KeyRing, *, pinned: KeyRing, warrant: bytes, audience: str, now_ms: int) -> None:
    """Check that a person has ordered this ring in the pinned one's place. Raises NotTrusted naming what is wrong."""
    pinned_hash = ring_hash(pinned)
    if offered.version != pinned.version + 1:
        raise NotTrusted(f"key ring: version {offered.version} does not follow version {pinned.version}")
    if offered.previous_hash != pinned_hash:
        raise NotTrusted("key ring: does not name the pinned ring as the one before it")
    for name in _KEPT:
        if getattr(offered, name) != getattr(pinned, name):
            raise NotTrusted(f"key ring: {name} is not that of the pinned ring")
    # By the pinned ring's key, never by one that the offered ring brings along.
    opened = open_warrant(warrant, operator_key=pinned.operator_key)
    check_warrant(
        opened,
        purpose=WarrantPurpose.RING,
        deployment=pinned.deployment,
        environment=pinned.environment,
        audience=audience,
        account=pinned.account,
        ring_hash=pinned_hash,
        subject=ring_subject(pinned, offered),
    )
    check_in_time(opened, now_ms=now_ms)
