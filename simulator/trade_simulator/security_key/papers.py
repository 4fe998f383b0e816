"""The papers that enrol security keys, written from their description (docs/warrants.md), without the core's code.

So the demo and the tests that enrol with them are a second opinion on the formats.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fido2 import cbor
from fido2.webauthn import AttestationObject

from trade_core.canonical import canonical_json
from trade_simulator.security_key.client import Made

LIFETIME_MS = 120_000
Ring = Mapping[str, Any]


def ring_hash(ring: Ring) -> str:
    """Name a ring, as read from its file."""
    return hashlib.sha256(canonical_json(ring)).hexdigest()


def enrolment_challenge(ring: Ring) -> bytes:
    """What a new key signs."""
    return hashlib.sha256(b"trade/enrol\n" + ring_hash(ring).encode()).digest()


def bootstrap_offer(ring: Ring, made: Mapping[str, Made], *, code: str) -> bytes:
    """Write the offer that enrols new keys, each under its label, by the bootstrap code."""
    change = {
        "credentials": [_credential(label, one) for label, one in made.items()],
        **{name: ring[name] for name in ("origins", "attestation_roots", "recovery_key")},
    }
    following = {
        **ring,
        **change,
        "version": ring["version"] + 1,
        "previous_hash": ring_hash(ring),
        "bootstrap_key": "",
        "bootstrap_expires_at_ms": 0,
    }
    payload = canonical_json(
        {
            "purpose": "ring",
            "version": 1,
            **{name: ring[name] for name in ("deployment", "environment", "account")},
            "audience": "deployment",
            "ring_hash": ring_hash(ring),
            "subject": f"ring:{ring['version']}:{ring_hash(following)}",
            "nonce": secrets.token_hex(16),
            "words": "enrol the security keys " + " and ".join(made),
            "expires_at_ms": time.time_ns() // 1_000_000 + LIFETIME_MS,
        }
    )
    letters = code.replace("-", "").encode("ascii")
    private = Ed25519PrivateKey.from_private_bytes(hmac.new(b"trade/bootstrap", letters, hashlib.sha256).digest())
    signature = private.sign(b"trade/warrant/bootstrap_signature\n" + payload)
    warrant = canonical_json({"warrant": _text(payload), "bootstrap_signature": _text(signature)})
    proofs = [
        {
            "credential_id": _text(one.credential_id),
            "attestation_object": _text(one.attestation_object),
            "client_data": _text(one.client_data),
        }
        for one in made.values()
    ]
    return canonical_json({"change": _text(canonical_json(change)), "warrant": _text(warrant), "attestations": proofs})


def _credential(label: str, made: Made) -> dict[str, Any]:
    data = AttestationObject(made.attestation_object).auth_data
    assert data.credential_data is not None
    return {
        "credential_id": _text(made.credential_id),
        "public_key": _text(cbor.encode(data.credential_data.public_key)),
        "label": label,
        "aaguid": str(data.credential_data.aaguid),
        "is_backup_eligible": data.is_backup_eligible(),
        "added_at_ms": time.time_ns() // 1_000_000,
    }


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
