"""Proof that a credential was made in a security key of a known maker (WebAuthn Level 3, section 7.1). Pure.

Guarantees
- The credential offered is the one that the key made: identifier, public key, model and whether it can be copied are
  those in the key's own data, made for the ring's rp id and an exact origin, with its person present and verified.
- It was made for this ring: the challenge is derived from the pinned ring's hash.
- Where the ring names roots, a certificate chain leads from the key to one of them. A key that vouches for itself, or
  a model that is merely named, proves nothing.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from fido2 import cbor
from fido2.attestation.base import AttestationResult, AttestationVerifier, InvalidAttestation
from fido2.attestation.packed import PackedAttestation
from fido2.webauthn import AttestationObject, AuthenticatorData

from trade_core.trust.assertion import check_authenticator, check_client_data
from trade_core.trust.certificate import parse_root
from trade_core.trust.credential import Credential
from trade_core.trust.keys import NotTrusted, decode_base64
from trade_core.trust.ring import SIMULATED, KeyRing, ring_hash
from trade_core.trust.statement import check_fields

CREATE = "webauthn.create"
MAX_ATTESTATION_BYTES = 4096
_UNREADABLE = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RecursionError,
    TypeError,
    UnsupportedAlgorithm,
    ValueError,
    struct.error,
)
"""What the parsers of CBOR, COSE and certificates raise for bytes that are none of theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What a security key answered when it made a credential; see `AuthenticatorAttestationResponse`."""

    credential_id: bytes
    attestation_object: bytes
    client_data: bytes

    def content(self) -> dict[str, str]:
        """Return the fields as base64."""
        return {
            name: base64.b64encode(getattr(self, name)).decode("ascii")
            for name in ("credential_id", "attestation_object", "client_data")
        }


def enrolment_challenge(ring: KeyRing) -> bytes:
    """What a new security key signs when it is made for the ring after this one."""
    return hashlib.sha256(b"trade/enrol\n" + ring_hash(ring).encode()).digest()


def parse_attestation(item: object) -> Attestation:
    """Read an attestation from plain values. Raises NotTrusted."""
    if not isinstance(item, dict):
        raise NotTrusted("attestation: not an object")
    check_fields(item, what="attestation", fields=Attestation.__slots__, integers=frozenset())
    found = {name: decode_base64(item[name], length=None, what=f"attestation: {name}") for name in item}
    if len(found["attestation_object"]) > MAX_ATTESTATION_BYTES:
        raise NotTrusted(f"attestation: more than {MAX_ATTESTATION_BYTES} bytes")
    return Attestation(**found)


def credential_of(attestation: Attestation, *, label: str, added_at_ms: int) -> Credential:
    """Read the credential that a security key made; nothing is checked yet. Raises NotTrusted."""
    made = _parsed(attestation).auth_data
    data = made.credential_data
    if data is None:
        raise NotTrusted("attestation: holds no credential")
    return Credential(
        credential_id=base64.b64encode(data.credential_id).decode("ascii"),
        public_key=base64.b64encode(cbor.encode(data.public_key)).decode("ascii"),
        label=label,
        aaguid=str(data.aaguid),
        is_backup_eligible=made.is_backup_eligible(),
        added_at_ms=added_at_ms,
    )


def check_attestation(attestation: Attestation, *, credential: Credential, pinned: KeyRing) -> None:
    """Check that a credential is what a security key made for the ring after the pinned one. Raises NotTrusted."""
    check_client_data(
        attestation.client_data, ceremony=CREATE, challenge=enrolment_challenge(pinned), origins=pinned.origins
    )
    made = _parsed(attestation)
    check_authenticator(made.auth_data, rp_id=pinned.rp_id, is_simulated=pinned.environment == SIMULATED)
    found = credential_of(attestation, label=credential.label, added_at_ms=credential.added_at_ms)
    if found != credential or attestation.credential_id != decode_base64(
        credential.credential_id, length=None, what="credential id"
    ):
        raise NotTrusted(f"attestation: is not of the credential {credential.label!r}")
    if pinned.attestation_roots:
        _check_maker(made, client_data=attestation.client_data, roots=pinned.attestation_roots)


def _parsed(attestation: Attestation) -> AttestationObject:
    try:
        made = AttestationObject(attestation.attestation_object)
        is_whole = cbor.encode(cbor.decode(bytes(made))) == made
    except _UNREADABLE:
        raise NotTrusted("attestation: cannot be read") from None
    if not is_whole:
        raise NotTrusted("attestation: not in its one form")
    return made


class _Maker(AttestationVerifier):
    """Follows a key's certificates to one root."""

    def __init__(self, root: str) -> None:
        super().__init__([PackedAttestation()])
        self._root = parse_root(root).public_bytes(Encoding.DER)

    def ca_lookup(self, attestation_result: AttestationResult, auth_data: AuthenticatorData) -> bytes | None:  # noqa: ARG002
        """Return the root's DER; none for a key that vouches for itself.

        Of a chain without a certificate the library would check nothing, and call it good.
        """
        return self._root if attestation_result.trust_path else None


def _check_maker(made: AttestationObject, *, client_data: bytes, roots: tuple[str, ...]) -> None:
    if not any(_leads_to(root, made, hashlib.sha256(client_data).digest()) for root in roots):
        raise NotTrusted("attestation: no certificate chain leads to a root of the key ring")


def _leads_to(root: str, made: AttestationObject, client_data_hash: bytes) -> bool:
    try:
        _Maker(root).verify_attestation(made, client_data_hash)
    except (InvalidAttestation, *_UNREADABLE):
        return False
    return True
