"""Whose signatures count for a log: read from the key ring, the same for its writer, its witness and strangers."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.trust.keys import load_public_key
from trade_core.trust.ring import KeyRing, ring_hash
from trade_journal.log.checkpoint import LogSigner, signer_name
from trade_journal.log.note import COSIGNATURE_V1, ED25519, Verifier
from trade_journal.log.verify import PublicKeys


def gateway_log_keys(ring: KeyRing) -> PublicKeys:
    """Return the keys of the gateway's log and of its witness, the watchdog."""
    return PublicKeys(
        log=Verifier(name=_name(ring, "gateway"), kind=ED25519, public=load_public_key(ring.gateway_key)),
        witness=Verifier(name=_name(ring, "watchdog"), kind=COSIGNATURE_V1, public=load_public_key(ring.witness_key)),
    )


def gateway_log_signer(ring: KeyRing, private_key: Ed25519PrivateKey) -> LogSigner:
    """Return who signs the checkpoints of the gateway's log."""
    return LogSigner(origin=_name(ring, "gateway"), private_key=private_key, ring_hash=ring_hash(ring))


def _name(ring: KeyRing, service: str) -> str:
    return signer_name(environment=ring.environment, account=ring.account, service=service)
