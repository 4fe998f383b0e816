"""Authentication over raw bytes, with a window, one use a write signature, and nothing leaked in an answer."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_core.secrets import Secret
from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.authentication import (
    MAX_AHEAD_MS,
    Authenticated,
    AuthenticationFailure,
    Spending,
    SpentSignatures,
    authenticate,
    spent_capacity,
)
from trade_gateway.wire.request import RawRequest

KEY, SECRET = "virtualkey1", "canary-s3cret"
KEYS = {KEY: Secret(SECRET), "other_key-2": Secret("another")}
NOW_MS = 1_790_000_000_000
BODY = b'{"symbol":"BTCUSDT","category":"spot"}'


def sign(payload: bytes, *, timestamp: bytes, recv_window: bytes, key: str = KEY, secret: str = SECRET) -> bytes:
    text = timestamp + key.encode() + recv_window + payload
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest().encode()


def signed(
    payload: bytes = BODY,
    *,
    method: bytes = b"POST",
    timestamp_ms: int = NOW_MS,
    recv_window: bytes | None = b"5000",
    key: str = KEY,
    secret: str = SECRET,
) -> RawRequest:
    timestamp = str(timestamp_ms).encode()
    signature = sign(payload, timestamp=timestamp, recv_window=recv_window or b"", key=key, secret=secret)
    headers = [
        (b"x-bapi-api-key", key.encode()),
        (b"x-bapi-timestamp", timestamp),
        (b"x-bapi-sign", signature),
        (b"x-bapi-sign-type", b"2"),
    ]
    if recv_window is not None:
        headers.append((b"x-bapi-recv-window", recv_window))
    is_post = method == b"POST"
    return RawRequest(
        method=method,
        target=b"/v5/order/create" if is_post else b"/v5/order/realtime?" + payload,
        headers=tuple(headers),
        body=payload if is_post else b"",
        client="127.0.0.1:5",
    )


def replaced(request: RawRequest, name: bytes, value: bytes | None) -> RawRequest:
    headers = tuple((n, value if n == name and value is not None else v) for n, v in request.headers)
    if value is None:
        headers = tuple((n, v) for n, v in request.headers if n != name)
    return RawRequest(
        method=request.method, target=request.target, headers=headers, body=request.body, client=request.client
    )


def check(request: RawRequest, *, now_ms: int = NOW_MS, spent: SpentSignatures | None = None) -> DenyCode | None:
    memory = SpentSignatures() if spent is None else spent  # an empty memory is falsy
    result = authenticate(request, virtual_keys=KEYS, now_ms=now_ms, spent=memory)
    return result.code if isinstance(result, AuthenticationFailure) else None


def failure(request: RawRequest, *, now_ms: int = NOW_MS) -> AuthenticationFailure:
    result = authenticate(request, virtual_keys=KEYS, now_ms=now_ms, spent=SpentSignatures())
    assert isinstance(result, AuthenticationFailure)
    return result


def test_authenticate_of_a_signed_post_names_the_key() -> None:
    request = signed()
    result = authenticate(request, virtual_keys=KEYS, now_ms=NOW_MS, spent=SpentSignatures())
    signature = request.header(b"x-bapi-sign")
    assert signature is not None
    assert result == Authenticated(key=KEY, signature=signature.decode(), timestamp_ms=NOW_MS)


def test_authenticate_of_a_fixed_vector_matches() -> None:
    # Computed once with `openssl dgst -sha256 -hmac canary-s3cret` over 1790000000000virtualkey15000category=spot.
    vector = "2924ca5fe630fe74c36cf1ac912c30f311a1884e4172220735d14964da41c59b"
    request = signed(b"category=spot", method=b"GET")
    assert request.header(b"x-bapi-sign") == vector.encode()
    assert check(request) is None


@pytest.mark.parametrize("query", [b"", b"category=spot", b"cursor=a%3Ab%26c&limit=1", b"b=2&a=1"])
def test_authenticate_of_a_get_covers_the_raw_query(query: bytes) -> None:
    assert check(signed(query, method=b"GET")) is None


def test_authenticate_of_a_get_without_question_mark_covers_the_empty_query() -> None:
    request = signed(b"", method=b"GET")
    bare = RawRequest(
        method=b"GET", target=b"/v5/user/query-api", headers=request.headers, body=b"", client=request.client
    )
    assert check(bare) is None


def test_authenticate_of_a_second_key_uses_its_own_secret() -> None:
    assert check(signed(key="other_key-2", secret="another")) is None
    assert check(signed(key="other_key-2")) is DenyCode.AUTH_SIGNATURE_WRONG


@pytest.mark.parametrize("name", [b"x-bapi-api-key", b"x-bapi-timestamp", b"x-bapi-sign"])
def test_authenticate_without_a_header_fails_with_401(name: bytes) -> None:
    result = failure(replaced(signed(), name, None))
    assert (result.code, result.ret_code, result.http_status) == (DenyCode.AUTH_HEADER_MISSING, 10003, 401)


@pytest.mark.parametrize("name", [b"x-bapi-api-key", b"x-bapi-timestamp", b"x-bapi-sign", b"x-bapi-recv-window"])
def test_authenticate_with_a_header_twice_fails(name: bytes) -> None:
    request = signed()
    value = request.header(name)
    assert value is not None
    twice = RawRequest(
        method=b"POST", target=request.target, headers=(*request.headers, (name, value)), body=BODY, client=""
    )
    assert check(twice) is DenyCode.REQUEST_HEADER_DUPLICATE


def test_authenticate_with_a_header_of_no_concern_twice_passes() -> None:
    request = signed()
    headers = ((b"accept", b"a"), *request.headers, (b"accept", b"b"))
    twice = RawRequest(method=b"POST", target=request.target, headers=headers, body=BODY, client="")
    assert check(twice) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-bapi-api-key", b""), (b"x-bapi-api-key", b"a b"), (b"x-bapi-api-key", b"k" * 65),
        (b"x-bapi-api-key", b"\xff"),
        (b"x-bapi-timestamp", b""), (b"x-bapi-timestamp", b"179000000000"), (b"x-bapi-timestamp", b"17900000000000"),
        (b"x-bapi-timestamp", b"+790000000000"), (b"x-bapi-timestamp", b"0790000000000"),
        (b"x-bapi-timestamp", "١٧٩٠٠٠٠٠٠٠٠٠٠".encode()), (b"x-bapi-timestamp", b"1790000000000 "),
        (b"x-bapi-recv-window", b""), (b"x-bapi-recv-window", b"-1"), (b"x-bapi-recv-window", b"5e3"),
        (b"x-bapi-recv-window", b"5 000"), (b"x-bapi-recv-window", b"9" * 11),
        (b"x-bapi-sign", b""), (b"x-bapi-sign", b"a" * 63), (b"x-bapi-sign", b"a" * 65), (b"x-bapi-sign", b"A" * 64),
        (b"x-bapi-sign", b"g" * 64),
    ],
)  # fmt: skip
def test_authenticate_with_a_header_outside_its_grammar_fails(name: bytes, value: bytes) -> None:
    assert check(replaced(signed(), name, value)) is DenyCode.AUTH_HEADER_INVALID


def test_authenticate_of_an_upper_case_signature_fails() -> None:
    request = signed()
    signature = request.header(b"x-bapi-sign")
    assert signature is not None
    assert check(replaced(request, b"x-bapi-sign", signature.upper())) is DenyCode.AUTH_HEADER_INVALID


def test_authenticate_of_an_unknown_key_fails() -> None:
    result = failure(signed(key="stranger"))
    assert (result.code, result.ret_code, result.http_status) == (DenyCode.AUTH_KEY_UNKNOWN, 10003, 200)


@given(st.integers(0, 63), st.sampled_from(b"0123456789abcdef"))
def test_authenticate_of_any_other_signature_fails(position: int, digit: int) -> None:
    request = signed()
    signature = bytearray(request.header(b"x-bapi-sign") or b"")
    is_same = signature[position] == digit
    signature[position] = digit
    expected = None if is_same else DenyCode.AUTH_SIGNATURE_WRONG
    assert check(replaced(request, b"x-bapi-sign", bytes(signature))) is expected


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], b"", BODY.replace(b"spot", b"SPOT")])
def test_authenticate_of_a_changed_body_fails(body: bytes) -> None:
    request = signed()
    changed = RawRequest(method=b"POST", target=request.target, headers=request.headers, body=body, client="")
    assert check(changed) is DenyCode.AUTH_SIGNATURE_WRONG


def test_authenticate_of_a_changed_query_fails_even_when_it_means_the_same() -> None:
    request = signed(b"a=%41", method=b"GET")
    changed = RawRequest(method=b"GET", target=b"/v5/x?a=A", headers=request.headers, body=b"", client="")
    assert check(changed) is DenyCode.AUTH_SIGNATURE_WRONG


@pytest.mark.parametrize("name", [b"x-bapi-timestamp", b"x-bapi-recv-window"])
def test_authenticate_of_a_changed_header_fails(name: bytes) -> None:
    value = b"1790000000001" if name == b"x-bapi-timestamp" else b"05000"
    assert check(replaced(signed(), name, value)) is DenyCode.AUTH_SIGNATURE_WRONG


@pytest.mark.parametrize(
    ("recv_window", "age_ms", "is_inside"),
    [
        (b"5000", 0, True), (b"5000", 4_999, True), (b"5000", 5_000, True), (b"5000", 5_001, False),
        (b"5000", 10**9, False),
        (None, 5_000, True), (None, 5_001, False),
        (b"10000", 10_000, True), (b"10000", 10_001, False),
        (b"10001", 10_000, True), (b"10001", 10_001, False), (b"9999999999", 10_001, False),
        (b"0", 0, True), (b"0", 1, False), (b"0005000", 5_000, True), (b"0005000", 5_001, False),
        (b"5000", -999, True), (b"5000", -1_000, False), (b"5000", -10**9, False),
    ],
)  # fmt: skip
def test_authenticate_follows_the_time_rule(recv_window: bytes | None, age_ms: int, *, is_inside: bool) -> None:
    request = signed(timestamp_ms=NOW_MS - age_ms, recv_window=recv_window)
    assert check(request) is (None if is_inside else DenyCode.AUTH_TIMESTAMP_OUTSIDE_WINDOW)


def test_authenticate_outside_the_window_answers_as_documented() -> None:
    result = failure(signed(timestamp_ms=NOW_MS - 6_000, recv_window=b"0005000"))
    assert (result.ret_code, result.http_status) == (10002, 200)
    assert result.ret_msg == (
        "AUTH_TIMESTAMP_OUTSIDE_WINDOW: invalid request, please check your server timestamp or recv_window param. "
        "req_timestamp[1789999994000],server_timestamp[1790000000000],recv_window[5000]"
    )


def test_authenticate_of_a_wrong_signature_tells_nothing_about_the_time() -> None:
    late = signed(timestamp_ms=NOW_MS - 10**8, secret="wrong")
    assert check(late) is DenyCode.AUTH_SIGNATURE_WRONG


def test_failures_repeat_no_key_signature_or_secret() -> None:
    request = signed()
    signature = (request.header(b"x-bapi-sign") or b"").decode()
    broken = [
        signed(secret="wrong"),
        signed(key="stranger"),
        replaced(request, b"x-bapi-sign", None),
        replaced(request, b"x-bapi-sign", b"zz"),
        signed(timestamp_ms=1_000_000_000_000),
    ]
    for case in broken:
        message = failure(case).ret_msg
        assert message.startswith(failure(case).code.name + ": ")
        for canary in (KEY, "stranger", SECRET, signature, BODY.decode(), "origin_string"):
            assert canary not in message


def test_authenticate_of_a_replayed_post_fails() -> None:
    spent = SpentSignatures()
    assert check(signed(), spent=spent) is None
    assert check(signed(), spent=spent) is DenyCode.AUTH_SIGNATURE_SPENT
    assert check(signed(), now_ms=NOW_MS + 4_999, spent=spent) is DenyCode.AUTH_SIGNATURE_SPENT
    assert check(signed(timestamp_ms=NOW_MS + 1), spent=spent) is None


def test_authenticate_of_a_repeated_get_passes() -> None:
    spent = SpentSignatures()
    assert check(signed(b"a=b", method=b"GET"), spent=spent) is None
    assert check(signed(b"a=b", method=b"GET"), spent=spent) is None
    assert len(spent) == 0


def test_authenticate_of_a_refused_post_leaves_its_signature_unspent() -> None:
    spent = SpentSignatures()
    request = signed(timestamp_ms=NOW_MS + MAX_AHEAD_MS)
    assert check(request, spent=spent) is DenyCode.AUTH_TIMESTAMP_OUTSIDE_WINDOW
    assert check(request, now_ms=NOW_MS + 1, spent=spent) is None


def test_authenticate_with_a_full_memory_fails_until_signatures_expire() -> None:
    spent = SpentSignatures(capacity=2)
    assert check(signed(b"1"), spent=spent) is None
    assert check(signed(b"2"), spent=spent) is None
    assert check(signed(b"3"), spent=spent) is DenyCode.AUTH_SIGNATURE_MEMORY_FULL
    assert check(signed(b"1"), spent=spent) is DenyCode.AUTH_SIGNATURE_SPENT
    later_ms = NOW_MS + SpentSignatures.RETENTION_MS + 1
    assert check(signed(b"4", timestamp_ms=later_ms), now_ms=later_ms, spent=spent) is None
    assert len(spent) == 1


@given(st.integers(0, 999), st.integers(0, 10_000), st.integers(0, 10_999))
def test_no_signature_passes_twice_whatever_its_window(ahead_ms: int, window_ms: int, wait_ms: int) -> None:
    spent = SpentSignatures()
    request = signed(timestamp_ms=NOW_MS + ahead_ms, recv_window=str(window_ms).encode())
    assert check(request, spent=spent) is None
    assert check(request, now_ms=NOW_MS + wait_ms, spent=spent) in {
        DenyCode.AUTH_SIGNATURE_SPENT,
        DenyCode.AUTH_TIMESTAMP_OUTSIDE_WINDOW,
    }


def test_spent_signatures_forget_just_after_they_cannot_be_replayed() -> None:
    spent = SpentSignatures()
    assert spent.spend("a", now_ms=NOW_MS) is Spending.FRESH
    assert spent.spend("a", now_ms=NOW_MS + spent.RETENTION_MS) is Spending.SPENT_BEFORE
    assert spent.spend("a", now_ms=NOW_MS + spent.RETENTION_MS + 1) is Spending.FRESH


def test_spent_signatures_keep_everything_when_the_clock_goes_back() -> None:
    spent = SpentSignatures()
    assert spent.spend("a", now_ms=NOW_MS) is Spending.FRESH
    assert spent.spend("a", now_ms=NOW_MS - 10**9) is Spending.SPENT_BEFORE


def test_spent_signatures_hold_twenty_thousand() -> None:
    spent = SpentSignatures()
    assert {spent.spend(str(number), now_ms=NOW_MS) for number in range(20_000)} == {Spending.FRESH}
    assert spent.spend("one more", now_ms=NOW_MS) is Spending.MEMORY_FULL


@pytest.mark.parametrize(
    ("orders_per_s", "capacity"), [(1, 20_000), (1_818, 20_000), (1_819, 20_009), (50_000, 550_000)]
)
def test_spent_signatures_have_room_for_the_pace_of_a_load_test(orders_per_s: int, capacity: int) -> None:
    assert spent_capacity(orders_per_s) == capacity


def test_spent_signatures_without_room_are_refused() -> None:
    with pytest.raises(ValueError, match="capacity=0"):
        SpentSignatures(capacity=0)
    one = SpentSignatures(capacity=1)
    assert [one.spend(signature, now_ms=NOW_MS) for signature in "ab"] == [Spending.FRESH, Spending.MEMORY_FULL]
