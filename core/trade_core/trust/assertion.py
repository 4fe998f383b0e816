"""One touch of a security key, checked (WebAuthn Level 3, section 7.2) against the key ring. Pure.

Guarantees: a touch counts only when
- a credential of the ring signed it, over exactly the bytes received;
- the browser or client names the challenge of this very warrant, an exact origin of the ring, the type webauthn.get,
  and says that it was not in another site's frame;
- the key names the ring's rp id, and says that a person was present and was verified (PIN, finger);
- outside the simulated exchange, the key does not say that it can be copied.

The key's data must be exactly its 37 fixed bytes: we ask for no extensions, so none is parsed. The counter is read
here and judged by `sign_counters`; single use and expiry are the warrant's affair.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fido2.webauthn import AuthenticatorData

from trade_core.trust.credential import MAX_CREDENTIAL_ID_BYTES, Credential, verify_by
from trade_core.trust.keys import NotTrusted, decode_base64
from trade_core.trust.one_form import strict_object
from trade_core.trust.statement import check_fields

GET = "webauthn.get"
AUTHENTICATOR_DATA_BYTES = 37
MAX_CLIENT_DATA_BYTES = 1024
MAX_SIGNATURE_BYTES = 80
"""An ES256 signature in DER has at most 72 bytes, an Ed25519 one 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """What a security key answers, as bytes: see `AuthenticatorAssertionResponse` in WebAuthn."""

    credential_id: bytes
    authenticator_data: bytes
    client_data: bytes
    signature: bytes

    def content(self) -> dict[str, str]:
        """Return the fields as base64."""
        return {name: base64.b64encode(value).decode("ascii") for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """A touch that was verified: by which key of the ring, and the counter that it showed."""

    credential: Credential
    counter: int


def challenge_of(payload: bytes) -> bytes:
    """What a security key must sign for a payload."""
    return hashlib.sha256(payload).digest()


def parse_assertion(item: object) -> Assertion:
    """Read an assertion from plain values. Raises NotTrusted."""
    if not isinstance(item, dict):
        raise NotTrusted("assertion: not an object")
    check_fields(item, what="assertion", fields=Assertion.__slots__, integers=frozenset())
    bounds = {
        "credential_id": MAX_CREDENTIAL_ID_BYTES,
        "authenticator_data": AUTHENTICATOR_DATA_BYTES,
        "client_data": MAX_CLIENT_DATA_BYTES,
        "signature": MAX_SIGNATURE_BYTES,
    }
    found = {name: decode_base64(item[name], length=None, what=f"assertion: {name}") for name in bounds}
    for name, value in found.items():
        if len(value) > bounds[name]:
            raise NotTrusted(f"assertion: {name} has {len(value)} bytes, at most {bounds[name]}")
    return Assertion(**found)


def check_assertion(
    assertion: Assertion,
    *,
    challenge: bytes,
    rp_id: str,
    origins: Sequence[str],
    credentials: Sequence[Credential],
    is_simulated: bool,
) -> Touch:
    """Check one touch. Raises NotTrusted naming what is wrong."""
    named = base64.b64encode(assertion.credential_id).decode("ascii")
    credential = next((one for one in credentials if one.credential_id == named), None)
    if credential is None:
        raise NotTrusted("assertion: no security key of the key ring made it")
    check_client_data(assertion.client_data, ceremony=GET, challenge=challenge, origins=origins)
    data = _authenticator_data(assertion.authenticator_data)
    check_authenticator(data, rp_id=rp_id, is_simulated=is_simulated)
    message = assertion.authenticator_data + hashlib.sha256(assertion.client_data).digest()
    verify_by(credential, message=message, signature=assertion.signature)
    return Touch(credential=credential, counter=data.counter)


def check_client_data(raw: bytes, *, ceremony: str, challenge: bytes, origins: Sequence[str]) -> None:
    """Check what the browser says that it asked. Raises NotTrusted. Further fields are the browser's own."""
    told: dict[str, Any] = strict_object(raw, what="client data", most_bytes=MAX_CLIENT_DATA_BYTES)
    expected = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode("ascii")
    if told.get("type") != ceremony:
        raise NotTrusted(f"client data: type is not {ceremony}")
    if told.get("challenge") != expected:
        raise NotTrusted("client data: the challenge is another one")
    if told.get("origin") not in origins:
        raise NotTrusted("client data: the origin is none of the key ring's")
    if told.get("crossOrigin", False) is not False or "topOrigin" in told:
        raise NotTrusted("client data: it was asked from within another site's page")


def check_authenticator(data: AuthenticatorData, *, rp_id: str, is_simulated: bool) -> None:
    """Check what the security key says of itself and of its person. Raises NotTrusted."""
    if data.rp_id_hash != hashlib.sha256(rp_id.encode()).digest():
        raise NotTrusted("authenticator data: the rp id is not the key ring's")
    if not data.is_user_present():
        raise NotTrusted("authenticator data: nobody was present")
    if not data.is_user_verified():
        raise NotTrusted("authenticator data: the person was not verified")
    if data.is_backup_eligible() and not is_simulated:
        raise NotTrusted("authenticator data: the key can be copied, which counts on the simulated exchange only")


def _authenticator_data(raw: bytes) -> AuthenticatorData:
    if len(raw) != AUTHENTICATOR_DATA_BYTES:
        raise NotTrusted(f"authenticator data: {len(raw)} bytes, must be {AUTHENTICATOR_DATA_BYTES}")
    try:
        return AuthenticatorData(raw)
    except (ValueError, IndexError):  # it announces a credential or extensions, and has no room for them
        raise NotTrusted("authenticator data: it says more than a touch does") from None
