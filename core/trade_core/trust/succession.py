"""Which key ring may follow the pinned one: security keys come, go and are lost. Pure.

Guarantees
- A process that has pinned a ring believes that ring, or the next version of it that people have ordered by a warrant
  under it; nothing else, wherever it comes from.
- The next version is one higher and names the pinned one's hash. It can change who a person is (credentials, origins,
  roots, recovery key) and nothing else: not the deployment, the processes' keys, the policy or the baseline.
- At once: by two different security keys; or, while no credential was ever enrolled and for its few minutes, by the
  bootstrap key, which can only enrol two credentials.
- After RING_WAIT_MS, announced: by one security key; or by the recovery key, which can only change credentials. Any
  security key of the pinned ring cancels it meanwhile.
- From the first enrolment on, no ring has fewer than two credentials, and none a bootstrap key.
- A new credential is proved to be made in a security key of a maker that the pinned ring names, where it names any.

The warrant names the version that it replaces and the hash of the one that it puts there, so that it can be used for
nothing else and not twice. Gateway, watchdog and executor each check the same warrant: its audience is the deployment.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trade_core.canonical import canonical_json
from trade_core.trust.attestation import Attestation, check_attestation, parse_attestation
from trade_core.trust.credential import Credential, parse_credentials
from trade_core.trust.keys import NotTrusted, decode_base64, key_id
from trade_core.trust.one_form import canonical_object
from trade_core.trust.ring import FIRST_VERSION, SIMULATED, KeyRing, parse_origins, parse_roots, ring_hash
from trade_core.trust.signed_warrant import MAX_TOUCHES, SignedWarrant, Signer, check_order, open_warrant
from trade_core.trust.warrant import WarrantPurpose, check_in_time

AUDIENCE = "deployment"
RING_WAIT_MS = 72 * 60 * 60 * 1000
MIN_CREDENTIALS = 2
MAX_CHANGE_BYTES = 3072
MAX_OFFER_BYTES = 16 * 1024
"""As much as an admin listener reads."""
MAX_PROOF_BYTES = 5400
"""Change and warrant together: one row of a journal holds both, as base64."""
_CHANGEABLE = frozenset({"origins", "attestation_roots", "credentials", "recovery_key"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RingOffer:
    """A next ring that was ordered: it counts `wait_ms` after it was announced, 0 for at once.

    `change` and `warrant` are the bytes that prove it ever after; see `replayed_ring`.
    """

    ring: KeyRing
    signed: SignedWarrant
    wait_ms: int
    change: bytes
    warrant: bytes


def ring_subject(pinned: KeyRing, offered: KeyRing) -> str:
    """Return the subject of a warrant that puts one ring in another's place."""
    return f"ring:{pinned.version}:{ring_hash(offered)}"


def cancel_subject(pinned: KeyRing, offered: KeyRing) -> str:
    """Return the subject of a warrant that stops a ring from taking another's place."""
    return f"ring-cancel:{pinned.version}:{ring_hash(offered)}"


def next_ring(pinned: KeyRing, change: bytes) -> KeyRing:
    """Return the ring that a change makes of the pinned one. Raises NotTrusted."""
    fields = canonical_object(change, what="ring change", most_bytes=MAX_CHANGE_BYTES)
    if set(fields) != _CHANGEABLE:
        raise NotTrusted("ring change: its fields are not those of one")
    for name in ("origins", "attestation_roots"):
        if not isinstance(fields[name], list):
            raise NotTrusted(f"ring change: {name} must be list")
    recovery_key = fields["recovery_key"]
    if not isinstance(recovery_key, str):
        raise NotTrusted("ring change: recovery_key must be str")
    if recovery_key:
        key_id(recovery_key)
    credentials = parse_credentials(fields["credentials"], is_simulated=pinned.environment == SIMULATED)
    if len(credentials) < MIN_CREDENTIALS:
        raise NotTrusted(f"ring change: {len(credentials)} credentials, at least {MIN_CREDENTIALS}")
    return replace(
        pinned,
        version=pinned.version + 1,
        previous_hash=ring_hash(pinned),
        origins=parse_origins(fields["origins"], rp_id=pinned.rp_id, environment=pinned.environment),
        attestation_roots=parse_roots(fields["attestation_roots"]),
        credentials=credentials,
        recovery_key=recovery_key,
        bootstrap_key="",
        bootstrap_expires_at_ms=0,
    )


def ring_change(
    pinned: KeyRing,
    *,
    credentials: Sequence[Credential],
    origins: Sequence[str] | None = None,
    attestation_roots: Sequence[str] | None = None,
    recovery_key: str | None = None,
) -> bytes:
    """Write a change of the pinned ring; what is not given stays."""
    return canonical_json(
        {
            "credentials": [credential.content() for credential in credentials],
            "origins": list(pinned.origins if origins is None else origins),
            "attestation_roots": list(pinned.attestation_roots if attestation_roots is None else attestation_roots),
            "recovery_key": pinned.recovery_key if recovery_key is None else recovery_key,
        }
    )


def ring_offer(*, change: bytes, warrant: bytes, attestations: Sequence[Attestation] = ()) -> bytes:
    """Put a change, its warrant and the proofs of new credentials together: the body of POST /ring."""
    return canonical_json(
        {
            "change": base64.b64encode(change).decode("ascii"),
            "warrant": base64.b64encode(warrant).decode("ascii"),
            "attestations": [attestation.content() for attestation in attestations],
        }
    )


def open_ring_offer(raw: bytes, *, pinned: KeyRing, now_ms: int, is_clock_trusted: bool) -> RingOffer:
    """Verify an offer under the pinned ring. Raises NotTrusted naming what is wrong; counters are not judged."""
    content = canonical_object(raw, what="ring offer", most_bytes=MAX_OFFER_BYTES)
    if set(content) != {"change", "warrant", "attestations"}:
        raise NotTrusted("ring offer: its fields are not those of one")
    change, warrant = (_bytes(content, name) for name in ("change", "warrant"))
    if len(change) + len(warrant) > MAX_PROOF_BYTES:
        raise NotTrusted(f"ring offer: change and warrant have more than {MAX_PROOF_BYTES} bytes")
    offered = replayed_ring(pinned, change=change, warrant=warrant)
    signed = open_warrant(warrant, ring=pinned)
    check_in_time(signed.warrant, now_ms=now_ms, is_clock_trusted=is_clock_trusted)
    if signed.signer is Signer.BOOTSTRAP_KEY and now_ms >= pinned.bootstrap_expires_at_ms:
        raise NotTrusted("ring offer: the bootstrap code has expired; a new deployment gets a new one")
    _check_attestations(content["attestations"], pinned=pinned, offered=offered)
    is_at_once = signed.signer is Signer.BOOTSTRAP_KEY or len(signed.touches) == MAX_TOUCHES
    wait_ms = 0 if is_at_once else RING_WAIT_MS
    return RingOffer(ring=offered, signed=signed, wait_ms=wait_ms, change=change, warrant=warrant)


def replayed_ring(pinned: KeyRing, *, change: bytes, warrant: bytes) -> KeyRing:
    """Verify again a ring that was taken once, and return it. Raises NotTrusted. Its time has been judged."""
    offered = next_ring(pinned, change)
    signed = open_warrant(warrant, ring=pinned)
    check_order(signed, purpose=WarrantPurpose.RING, audience=AUDIENCE, subject=ring_subject(pinned, offered))
    _check_authority(signed.signer, pinned=pinned, offered=offered)
    return offered


def check_cancel(
    raw: bytes, *, pinned: KeyRing, offered: KeyRing, now_ms: int, is_clock_trusted: bool
) -> SignedWarrant:
    """Verify a warrant that stops an announced ring. Raises NotTrusted."""
    signed = open_warrant(raw, ring=pinned)
    check_order(signed, purpose=WarrantPurpose.RING, audience=AUDIENCE, subject=cancel_subject(pinned, offered))
    if signed.signer is not Signer.SECURITY_KEYS:
        raise NotTrusted("warrant: only a security key cancels a ring")
    check_in_time(signed.warrant, now_ms=now_ms, is_clock_trusted=is_clock_trusted)
    return signed


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


def _bytes(content: Mapping[str, Any], name: str) -> bytes:
    if not isinstance(content[name], str):
        raise NotTrusted(f"ring offer: {name} must be text")
    return decode_base64(content[name], length=None, what=f"ring offer: {name}")


def _check_authority(signer: Signer, *, pinned: KeyRing, offered: KeyRing) -> None:
    """Check that who signed may make this change at all."""
    if signer is Signer.SECURITY_KEYS:
        return
    for name in sorted(_CHANGEABLE - {"credentials"}):
        if getattr(offered, name) != getattr(pinned, name):
            raise NotTrusted(f"ring offer: a key on paper cannot change {name}")
    if signer is Signer.BOOTSTRAP_KEY:
        if pinned.credentials or pinned.version != FIRST_VERSION:
            raise NotTrusted("ring offer: security keys are enrolled, so the bootstrap code counts no more")
        if len(offered.credentials) != MIN_CREDENTIALS:
            raise NotTrusted(f"ring offer: the bootstrap code enrols exactly {MIN_CREDENTIALS} security keys")


def _check_attestations(listed: object, *, pinned: KeyRing, offered: KeyRing) -> None:
    if not isinstance(listed, list) or len(listed) > len(offered.credentials):
        raise NotTrusted("ring offer: attestations must be a list, of new credentials only")
    given = {proof.credential_id: proof for proof in map(parse_attestation, listed)}
    known = {(one.credential_id, one.public_key) for one in pinned.credentials}
    for credential in offered.credentials:
        if (credential.credential_id, credential.public_key) in known:
            continue
        proof = given.get(decode_base64(credential.credential_id, length=None, what="credential id"))
        if proof is not None:
            check_attestation(proof, credential=credential, pinned=pinned)
        elif pinned.attestation_roots:
            raise NotTrusted(f"ring offer: nothing proves who made the security key {credential.label!r}")
