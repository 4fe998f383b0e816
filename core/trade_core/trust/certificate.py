"""Certificates of those who make security keys, as a key ring names them: base64 of DER."""

from __future__ import annotations

from cryptography import x509

from trade_core.trust.keys import NotTrusted, decode_base64

MAX_ROOT_BYTES = 900
"""A ring change must fit one row of a journal; the roots of the known makers have 600 to 850."""


def parse_root(text: str) -> x509.Certificate:
    """Read a root certificate. Raises NotTrusted."""
    raw = decode_base64(text, length=None, what="attestation root")
    if len(raw) > MAX_ROOT_BYTES:
        raise NotTrusted(f"attestation root: {len(raw)} bytes, at most {MAX_ROOT_BYTES}")
    try:
        return x509.load_der_x509_certificate(raw)
    except ValueError:
        raise NotTrusted("attestation root: not a certificate") from None
