"""The signed text is written out here by hand from the exchange's guidance, not taken from the code under test."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from trade_core.bybit.signing import sign_request, sign_websocket

SECRET = b"t7T0YlFnYXk0Fx3JswQsDrViLg1Gh3DUU5Mr"


def test_sign_request_of_a_get_signs_timestamp_key_window_and_query() -> None:
    text = b"1658385579423XXXXXXXXXX5000category=linear&symbol=BTCUSDT"
    expected = hmac.new(SECRET, text, hashlib.sha256).hexdigest()
    signature = sign_request(
        secret=SECRET,
        timestamp_ms=1658385579423,
        key="XXXXXXXXXX",
        recv_window_ms=5000,
        payload=b"category=linear&symbol=BTCUSDT",
    )
    assert signature == expected


def test_sign_request_of_a_post_signs_the_raw_body() -> None:
    text = b'1658385579423XXXXXXXXXX2000{"category":"spot"}'
    expected = hmac.new(SECRET, text, hashlib.sha256).hexdigest()
    signature = sign_request(
        secret=SECRET, timestamp_ms=1658385579423, key="XXXXXXXXXX", recv_window_ms=2000, payload=b'{"category":"spot"}'
    )
    assert signature == expected


def test_sign_request_known_vector() -> None:
    # echo -n "1k2" | openssl dgst -sha256 -hmac key
    signature = sign_request(secret=b"key", timestamp_ms=1, key="k", recv_window_ms=2, payload=b"")
    assert signature == hmac.new(b"key", b"1k2", hashlib.sha256).hexdigest()
    assert signature == signature.lower()


@pytest.mark.parametrize(
    "changed",
    [{"secret": b"other"}, {"timestamp_ms": 2}, {"key": "j"}, {"recv_window_ms": 3}, {"payload": b"y"}],
)
def test_sign_request_each_part_changes_the_signature(changed: dict[str, object]) -> None:
    parts: dict[str, object] = {"secret": b"s", "timestamp_ms": 1, "key": "k", "recv_window_ms": 2, "payload": b"x"}
    assert sign_request(**parts) != sign_request(**{**parts, **changed})  # type: ignore[arg-type]


def test_sign_websocket_signs_the_realtime_path_and_expiry() -> None:
    expected = hmac.new(SECRET, b"GET/realtime1662350400000", hashlib.sha256).hexdigest()
    assert sign_websocket(secret=SECRET, expires_ms=1662350400000) == expected
