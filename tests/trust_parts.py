"""A key ring, the security keys in it, and a witness's cosignature, for whatever is tried with them."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fido2 import cbor
from fido2.cose import EdDSA

from trade_core.trust.assertion import Assertion, challenge_of
from trade_core.trust.baseline import baseline_of
from trade_core.trust.credential import Credential
from trade_core.trust.keys import public_text
from trade_core.trust.printed_key import printed_key
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.ring_book import Change, RingBook
from trade_core.trust.signed_warrant import Signer, printed_envelope, touched_envelope
from trade_core.trust.succession import next_ring, open_ring_offer, ring_change, ring_offer, ring_subject
from trade_core.trust.warrant import Warrant, warrant_bytes
from trade_journal.log.checkpoint import Checkpoint, cosign, sign_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.ring_keys import gateway_log_keys, watchdog_log_name

RP_ID = "localhost"
ORIGIN = "http://localhost:8650"
PRESENT_AND_VERIFIED = 0x05
_WATCHDOGS_LOG = Ed25519PrivateKey.generate()


class FastKey:
    """A security key in a few lines of memory: what it signs is like a real one's, and it says whatever it is told."""

    def __init__(self, label: str) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.identifier = secrets.token_bytes(32)
        self.counter = 0
        self.credential = Credential(
            credential_id=base64.b64encode(self.identifier).decode("ascii"),
            public_key=base64.b64encode(cbor.encode(EdDSA.from_cryptography_key(self._private.public_key()))).decode(
                "ascii"
            ),
            label=label,
            aaguid="00000000-0000-0000-0000-000000000000",
            is_backup_eligible=False,
            added_at_ms=1,
        )

    def touch(
        self,
        payload: bytes,
        *,
        rp_id: str = RP_ID,
        flags: int = PRESENT_AND_VERIFIED,
        counter: int | None = None,
        client: dict[str, Any] | None = None,
        more: bytes = b"",
    ) -> Assertion:
        """Sign a payload; `client` changes what the browser says, `more` comes behind the key's own data."""
        self.counter = self.counter + 1 if counter is None else counter
        challenge = base64.urlsafe_b64encode(challenge_of(payload)).rstrip(b"=").decode("ascii")
        told = {"type": "webauthn.get", "challenge": challenge, "origin": ORIGIN, "crossOrigin": False}
        told = {name: value for name, value in {**told, **(client or {})}.items() if value is not None}
        return self.sign(
            hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.counter.to_bytes(4, "big") + more,
            json.dumps(told).encode(),
        )

    def sign(self, authenticator_data: bytes, client_data: bytes) -> Assertion:
        """Sign whatever is there."""
        return Assertion(
            credential_id=self.identifier,
            authenticator_data=authenticator_data,
            client_data=client_data,
            signature=self._private.sign(authenticator_data + hashlib.sha256(client_data).digest()),
        )


KEYS = (FastKey("first"), FastKey("second"))


def touch(warrant: Warrant, *, by: Sequence[FastKey] = KEYS[:1]) -> bytes:
    """Sign a warrant with security keys; the envelope is what a service is handed."""
    payload = warrant_bytes(warrant)
    return touched_envelope(payload, [key.touch(payload) for key in by])


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
        "executor_key": public,
        "tag_key_id": "t",
        "policy_hash": "a" * 64,
        "rp_id": RP_ID,
        "origins": (ORIGIN,),
        "attestation_roots": (),
        "credentials": tuple(key.credential for key in KEYS),
        "recovery_key": "",
        "bootstrap_key": "",
        "bootstrap_expires_at_ms": 0,
        "baseline": baseline_of(taken_at_ms=1),
    }
    return KeyRing(**{**content, **changed})


def enrolled(ring: KeyRing, code: str, *, keys: Sequence[FastKey] = KEYS) -> bytes:
    """Make the offer that enrols two keys by the bootstrap code: the body of POST /ring, where a deployment began."""
    change = ring_change(ring, credentials=[key.credential for key in keys])
    order = Warrant(
        purpose="ring",
        version=1,
        deployment=ring.deployment,
        environment=ring.environment,
        audience="deployment",
        account=ring.account,
        ring_hash=ring_hash(ring),
        subject=ring_subject(ring, next_ring(ring, change)),
        nonce=secrets.token_hex(16),
        words="enrol the first two security keys",
        expires_at_ms=time.time_ns() // 1_000_000 + 120_000,
    )
    private = printed_key(code, purpose="bootstrap")
    return ring_offer(
        change=change, warrant=printed_envelope(warrant_bytes(order), private, signer=Signer.BOOTSTRAP_KEY)
    )


def keep_enrolled(ring: KeyRing, code: str, *, folder: Path) -> KeyRing:
    """Write the book of a process that has taken `enrolled` already; answers the ring that counts."""
    now_ms = time.time_ns() // 1_000_000
    offer = open_ring_offer(enrolled(ring, code), pinned=ring, now_ms=now_ms, is_clock_trusted=True)
    book = RingBook(rings=(ring,)).taking(offer.ring, Change(change=offer.change, warrant=offer.warrant))
    (folder / "rings.json").write_text(json.dumps(book.content()))
    return offer.ring


def signed_checkpoint(ring: KeyRing, key: Ed25519PrivateKey, *, size: int = 3, root: bytes = b"r" * 32) -> bytes:
    """Sign a checkpoint as the gateway's log does."""
    checkpoint = Checkpoint(origin=gateway_log_keys(ring).log.name, size=size, root=root, ring_hash="a" * 64)
    return sign_checkpoint(checkpoint, key).rendered().encode()


def cosigned(signed: bytes, ring: KeyRing, key: Ed25519PrivateKey) -> str:
    """Cosign a checkpoint as the watchdog does, without looking at a row."""
    witness = gateway_log_keys(ring).witness
    assert witness is not None
    return cosign(parse_note(signed), name=witness.name, private_key=key, at_s=1).rendered()


def watchdogs_checkpoint(ring: KeyRing, *, size: int = 0, root: bytes = b"w" * 32) -> str:
    """Sign a checkpoint as the watchdog's own log does, by a key that the ring does not name."""
    checkpoint = Checkpoint(origin=watchdog_log_name(ring), size=size, root=root, ring_hash="a" * 64)
    return sign_checkpoint(checkpoint, _WATCHDOGS_LOG).rendered()
