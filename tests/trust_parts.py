"""A key ring, and a witness's cosignature, for whatever is tried with them."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.trust.baseline import baseline_of
from trade_core.trust.keys import public_text
from trade_core.trust.ring import KeyRing
from trade_journal.log.checkpoint import Checkpoint, cosign, sign_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.ring_keys import gateway_log_keys


def ring_of(key: Ed25519PrivateKey, **changed: Any) -> KeyRing:
    """Make the first ring of deployment d1, in which one key is everybody's, but for what is changed."""
    public = public_text(key)
    content: dict[str, Any] = {
        "version": 1,
        "previous_hash": "",
        "deployment": "d1",
        "environment": "simulated",
        "account": "1002",
        "gateway_key": public,
        "lease_key": public,
        "witness_key": public,
        "operator_key": public,
        "tag_key_id": "t",
        "policy_hash": "a" * 64,
        "baseline": baseline_of(taken_at_ms=1),
    }
    return KeyRing(**{**content, **changed})


def signed_checkpoint(ring: KeyRing, key: Ed25519PrivateKey, *, size: int = 3, root: bytes = b"r" * 32) -> bytes:
    """Sign a checkpoint as the gateway's log does."""
    checkpoint = Checkpoint(origin=gateway_log_keys(ring).log.name, size=size, root=root, ring_hash="a" * 64)
    return sign_checkpoint(checkpoint, key).rendered().encode()


def cosigned(signed: bytes, ring: KeyRing, key: Ed25519PrivateKey) -> str:
    """Cosign a checkpoint as the watchdog does, without looking at a row."""
    witness = gateway_log_keys(ring).witness
    assert witness is not None
    return cosign(parse_note(signed), name=witness.name, private_key=key, at_s=1).rendered()
