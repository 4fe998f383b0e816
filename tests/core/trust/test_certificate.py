"""Root certificates in a key ring."""

from __future__ import annotations

import base64

import pytest

from trade_core.trust.certificate import MAX_ROOT_BYTES, parse_root
from trade_core.trust.keys import NotTrusted
from trade_simulator.security_key.maker import new_maker

ROOT = new_maker().root


def test_root_is_read() -> None:
    assert "Simulated maker root" in parse_root(base64.b64encode(ROOT).decode()).subject.rfc4514_string()


@pytest.mark.parametrize(
    ("raw", "reason"), [(b"", "not a certificate"), (ROOT[:-1], "not a certificate"), (b"x" * 901, "at most 900")]
)
def test_root_that_is_none_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(NotTrusted, match=f"attestation root: .*{reason}"):
        parse_root(base64.b64encode(raw).decode())
    with pytest.raises(NotTrusted, match="attestation root: not base64"):
        parse_root("A")
    with pytest.raises(NotTrusted, match="not a certificate"):
        parse_root(base64.b64encode(b"x" * 900).decode())
    assert MAX_ROOT_BYTES == 900
