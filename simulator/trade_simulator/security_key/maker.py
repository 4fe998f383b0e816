"""The simulated maker of security keys: a root certificate, and one for a model of key (WebAuthn section 8.2.1)."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

AAGUID: Final = bytes.fromhex("7d351e0a5e2b4ad1b7c451af0d70c0de")
_AAGUID_EXTENSION: Final = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
_FROM: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_UNTIL: Final = datetime.datetime(2046, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """A maker's root, and the certificate with its private key that one model of key vouches with."""

    root: bytes
    model_certificate: bytes
    model_key: ec.EllipticCurvePrivateKey


def new_maker(*, name: str = "Simulated maker", aaguid: bytes = AAGUID) -> Maker:
    """Make a maker; certificates as DER."""
    root_key, model_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} root")])
    model = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "SE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Authenticator Attestation"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{name} model"),
        ]
    )
    root = _certificate(issuer, issuer, root_key, signed_by=root_key, is_root=True, aaguid=None)
    certificate = _certificate(model, issuer, model_key, signed_by=root_key, is_root=False, aaguid=aaguid)
    return Maker(root=root, model_certificate=certificate, model_key=model_key)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    signed_by: ec.EllipticCurvePrivateKey,
    is_root: bool,
    aaguid: bytes | None,
) -> bytes:
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
    )
    if aaguid is not None:
        made = made.add_extension(x509.UnrecognizedExtension(_AAGUID_EXTENSION, b"\x04\x10" + aaguid), critical=False)
    return made.sign(signed_by, hashes.SHA256()).public_bytes(Encoding.DER)
