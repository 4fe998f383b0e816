"""Authentication: the raw bytes, the time window, and the exchange's own codes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from trade_simulator.api.authentication import authenticate, check_time, read_headers
from trade_simulator.api.envelope import HttpRefusal
from trade_simulator.keys import ApiKey, KeyRegistry
from trade_simulator.rejections import Rejected

NOW_MS = 1_700_000_000_000
PERMISSIONS = {"Spot": ("SpotTrade",)}


class Frozen:
    """Says which account is frozen, and what time it is."""

    def __init__(self) -> None:
        self.uids: set[str] = set()
        self.now_ms = NOW_MS


@pytest.fixture
def frozen() -> Frozen:
    return Frozen()


@pytest.fixture
def keys(frozen: Frozen) -> KeyRegistry:
    return KeyRegistry(now_ms=lambda: frozen.now_ms, is_frozen=lambda uid: uid in frozen.uids)


def make_key(keys: KeyRegistry, *, ips: tuple[str, ...] = (), rsa_public_key: str = "") -> ApiKey:
    return keys.create(uid="1", is_master=False, permissions=PERMISSIONS, ips=ips, rsa_public_key=rsa_public_key)


def signed_headers(
    key: ApiKey, payload: bytes, *, timestamp: str = str(NOW_MS), recv_window: str = "5000"
) -> dict[bytes, bytes]:
    origin = f"{timestamp}{key.api_key}{recv_window}".encode() + payload
    signature = hmac.new(key.secret.encode(), origin, hashlib.sha256).hexdigest()
    return {
        b"x-bapi-api-key": key.api_key.encode(),
        b"x-bapi-sign": signature.encode(),
        b"x-bapi-timestamp": timestamp.encode(),
        b"x-bapi-recv-window": recv_window.encode(),
    }


def attempt(
    keys: KeyRegistry,
    headers: Mapping[bytes, bytes],
    payload: bytes,
    *,
    address: str = "127.0.0.1",
    now_ms: int = NOW_MS,
) -> ApiKey:
    return authenticate(read_headers(headers, payload), keys=keys, address=address, now_ms=now_ms)


@pytest.mark.parametrize(
    "payload", [b"", b"b=2&a=1&cursor=x%3D1%26y", b'{"b": 1,\n "a": "2"}', '{"note":"é"}'.encode()]
)
def test_signature_over_the_raw_payload_is_accepted(keys: KeyRegistry, payload: bytes) -> None:
    key = make_key(keys)
    assert attempt(keys, signed_headers(key, payload), payload) is key


def test_signature_over_reordered_parameters_answers_10004_with_the_origin(keys: KeyRegistry) -> None:
    key = make_key(keys)
    with pytest.raises(Rejected) as refused:
        attempt(keys, signed_headers(key, b"a=1&b=2"), b"b=2&a=1")
    assert refused.value.code == 10004
    assert refused.value.message == f"error sign! origin_string[{NOW_MS}{key.api_key}5000b=2&a=1]"


def test_signature_in_upper_hex_answers_10004(keys: KeyRegistry) -> None:
    key = make_key(keys)
    headers = signed_headers(key, b"")
    headers[b"x-bapi-sign"] = headers[b"x-bapi-sign"].upper()
    with pytest.raises(Rejected) as refused:
        attempt(keys, headers, b"")
    assert refused.value.code == 10004


def test_signature_without_recv_window_header_is_accepted(keys: KeyRegistry) -> None:
    key = make_key(keys)
    headers = signed_headers(key, b"", recv_window="")
    del headers[b"x-bapi-recv-window"]
    assert attempt(keys, headers, b"") is key


@pytest.mark.parametrize("missing", [b"x-bapi-api-key", b"x-bapi-sign", b"x-bapi-timestamp"])
def test_missing_header_answers_http_401(keys: KeyRegistry, missing: bytes) -> None:
    headers = signed_headers(make_key(keys), b"")
    del headers[missing]
    with pytest.raises(HttpRefusal) as refused:
        attempt(keys, headers, b"")
    assert refused.value.answer.status == 401


@pytest.mark.parametrize("empty", [b"x-bapi-api-key", b"x-bapi-sign", b"x-bapi-timestamp"])
def test_empty_header_answers_10001(keys: KeyRegistry, empty: bytes) -> None:
    headers = signed_headers(make_key(keys), b"")
    headers[empty] = b""
    with pytest.raises(Rejected) as refused:
        attempt(keys, headers, b"")
    assert refused.value.code == 10001


def test_unknown_key_answers_10003_whatever_the_signature(keys: KeyRegistry) -> None:
    key = make_key(keys)
    headers = signed_headers(key, b"")
    keys.delete(key.api_key)
    headers[b"x-bapi-sign"] = b"junk"
    with pytest.raises(Rejected) as refused:
        attempt(keys, headers, b"")
    assert (refused.value.code, refused.value.message) == (10003, "API key is invalid.")


def test_key_bound_elsewhere_answers_10010(keys: KeyRegistry) -> None:
    key = make_key(keys, ips=("10.0.0.1",))
    with pytest.raises(Rejected) as refused:
        attempt(keys, signed_headers(key, b""), b"")
    assert refused.value.code == 10010


def test_key_bound_here_is_accepted(keys: KeyRegistry) -> None:
    key = make_key(keys, ips=("10.0.0.1", "127.0.0.1"))
    assert attempt(keys, signed_headers(key, b""), b"") is key


def test_expired_key_answers_33004(keys: KeyRegistry, frozen: Frozen) -> None:
    key = make_key(keys)
    frozen.now_ms = NOW_MS + 91 * 24 * 3600 * 1000
    with pytest.raises(Rejected) as refused:
        attempt(keys, signed_headers(key, b""), b"")
    assert refused.value.code == 33004


@pytest.mark.parametrize("offset_ms", [-5000, -1, 0, 999])
def test_time_inside_the_window_is_accepted(offset_ms: int) -> None:
    check_time(timestamp=str(NOW_MS + offset_ms), recv_window="5000", now_ms=NOW_MS)


@pytest.mark.parametrize("offset_ms", [-3_600_000, -5001, 1000, 1001, 3_600_000])
def test_time_outside_the_window_answers_10002_naming_the_times(offset_ms: int) -> None:
    with pytest.raises(Rejected) as refused:
        check_time(timestamp=str(NOW_MS + offset_ms), recv_window="5000", now_ms=NOW_MS)
    assert refused.value.code == 10002
    assert refused.value.message == (
        "invalid request, please check your server timestamp or recv_window param. "
        f"req_timestamp[{NOW_MS + offset_ms}],server_timestamp[{NOW_MS}],recv_window[5000]"
    )


def test_larger_recv_window_accepts_an_older_request() -> None:
    check_time(timestamp=str(NOW_MS - 20_000), recv_window="20000", now_ms=NOW_MS)


@pytest.mark.parametrize("text", ["abc", "1.5", "-1", "\u0661\u0662", "1" * 17, "0x10"])
def test_time_that_is_no_number_answers_10001(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_time(timestamp=text, recv_window="", now_ms=NOW_MS)
    assert refused.value.code == 10001


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class TestRsa:
    """The server holds only the public key."""

    def headers(self, key: ApiKey, private_key: rsa.RSAPrivateKey, payload: bytes) -> dict[bytes, bytes]:
        headers = signed_headers(key, payload)
        origin = f"{NOW_MS}{key.api_key}5000".encode() + payload
        signature = private_key.sign(origin, padding.PKCS1v15(), SHA256())
        return headers | {b"x-bapi-sign": base64.b64encode(signature)}

    def make(self, keys: KeyRegistry, private_key: rsa.RSAPrivateKey) -> ApiKey:
        public = private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return make_key(keys, rsa_public_key=public.decode())

    def test_rsa_signature_is_accepted(self, keys: KeyRegistry, private_key: rsa.RSAPrivateKey) -> None:
        key = self.make(keys, private_key)
        assert attempt(keys, self.headers(key, private_key, b"a=1"), b"a=1") is key

    def test_rsa_signature_over_other_bytes_answers_10004(
        self, keys: KeyRegistry, private_key: rsa.RSAPrivateKey
    ) -> None:
        key = self.make(keys, private_key)
        with pytest.raises(Rejected) as refused:
            attempt(keys, self.headers(key, private_key, b"a=1"), b"a=2")
        assert refused.value.code == 10004

    @pytest.mark.parametrize("signature", [b"junk", b"!!!!", b"e30="])
    def test_rsa_signature_that_is_junk_answers_10004(
        self, keys: KeyRegistry, private_key: rsa.RSAPrivateKey, signature: bytes
    ) -> None:
        key = self.make(keys, private_key)
        headers = self.headers(key, private_key, b"") | {b"x-bapi-sign": signature}
        with pytest.raises(Rejected) as refused:
            attempt(keys, headers, b"")
        assert refused.value.code == 10004
