"""Framing: one unambiguous body, plain JSON, no query on writes, no body on reads."""

from __future__ import annotations

import pytest

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.request import RawRequest, check_framing, check_host, hosts_of

JSON = (b"content-type", b"application/json")


def request(
    method: bytes = b"POST",
    target: bytes = b"/v5/order/create",
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,),
    body: bytes = b"{}",
) -> RawRequest:
    return RawRequest(method=method, target=target, headers=headers, body=body, client="127.0.0.1:5")


def code_of(checked: RawRequest) -> DenyCode | None:
    refusal = check_framing(checked)
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/v5/market/time", b"/v5/market/time", b""),
        (b"/v5/market/time?", b"/v5/market/time", b""),
        (b"/a?b=c?d", b"/a", b"b=c?d"),
        (b"/a%3Fb?c=%20", b"/a%3Fb", b"c=%20"),
    ],
)
def test_target_is_split_at_the_first_question_mark_only(target: bytes, path: bytes, query: bytes) -> None:
    assert (request(target=target).raw_path, request(target=target).raw_query) == (path, query)


def test_header_is_found_by_name_or_missing() -> None:
    assert request().header(b"content-type") == b"application/json"
    assert request().header(b"host") is None


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b"application/json;charset=UTF-8",
        b"Application/JSON",
    ],
)
def test_framing_of_a_plain_json_post_passes(content_type: bytes) -> None:
    assert code_of(request(headers=((b"content-type", content_type), (b"content-length", b"2")))) is None


@pytest.mark.parametrize(
    "content_type",
    [b"", b"text/plain", b"application/json; charset=utf-16", b"application/jsonx", b"multipart/form-data"],
)
def test_framing_of_another_content_type_is_refused(content_type: bytes) -> None:
    assert code_of(request(headers=((b"content-type", content_type),))) is DenyCode.REQUEST_CONTENT_TYPE


def test_framing_without_content_type_is_refused() -> None:
    assert code_of(request(headers=())) is DenyCode.REQUEST_CONTENT_TYPE


@pytest.mark.parametrize(
    "name",
    [b"host", b"content-length", b"content-type", b"content-encoding", b"x-bapi-sign", b"x-bapi-anything"],
)
def test_framing_with_a_deciding_header_twice_is_refused(name: bytes) -> None:
    twice = (JSON, (name, b"1"), (name, b"1"))
    assert code_of(request(headers=twice)) is DenyCode.REQUEST_HEADER_DUPLICATE


def test_framing_with_another_header_twice_passes() -> None:
    assert code_of(request(headers=(JSON, (b"accept", b"a"), (b"accept", b"b")))) is None


@pytest.mark.parametrize(
    "name", [b"transfer-encoding", b"upgrade", b"x-http-method", b"x-http-method-override", b"x-method-override"]
)
def test_framing_with_a_header_that_changes_the_meaning_is_refused(name: bytes) -> None:
    assert code_of(request(headers=(JSON, (name, b"x")))) is DenyCode.REQUEST_HEADER_FORBIDDEN


def test_framing_of_an_encoded_body_is_refused() -> None:
    for value in (b"gzip", b"identity", b""):
        encoded = request(headers=(JSON, (b"content-encoding", value)))
        assert code_of(encoded) is DenyCode.REQUEST_CONTENT_ENCODING


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (4095, None),
        (4096, None),
        (4097, DenyCode.REQUEST_BODY_TOO_LARGE),
        (10 * 1024 * 1024, DenyCode.REQUEST_BODY_TOO_LARGE),
    ],
)
def test_framing_bounds_the_body(size: int, code: DenyCode | None) -> None:
    assert code_of(request(body=b" " * size)) is code


def test_framing_of_a_get_refuses_a_body_and_nothing_else() -> None:
    assert code_of(request(method=b"GET", target=b"/a?b=c", headers=(JSON,), body=b"")) is None
    assert code_of(request(method=b"GET", headers=(), body=b"x")) is DenyCode.REQUEST_BODY_UNEXPECTED


@pytest.mark.parametrize("target", [b"/v5/order/create?", b"/v5/order/create?a=b"])
def test_framing_of_a_post_refuses_a_query(target: bytes) -> None:
    assert code_of(request(target=target)) is DenyCode.REQUEST_QUERY_UNEXPECTED


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.5",
        b"127.0.0.5:22000",
        b"127.0.0.1",
        b"127.0.0.1:1",
        b"localhost",
        b"localhost:65535",
        b"LocalHost:22000",
        b"[::1]",
        b"[::1]:22000",
    ],
)
def test_host_that_means_this_listener_passes(host: bytes) -> None:
    assert check_host((JSON, (b"host", host)), hosts=hosts_of("127.0.0.5")) is None


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (JSON,),
        ((b"host", b"127.0.0.1"), (b"host", b"127.0.0.1")),
        ((b"host", b"127.0.0.1"), (b"host", b"evil.example")),
        *(
            ((b"host", host),)
            for host in (
                b"",
                b"x",
                b"evil.example",
                b"evil.example:22000",
                b"127.0.0.1.evil.example",
                b"localhost.evil.example:22000",
                b"127.0.0.6",
                b"127.0.0.1:",
                b"127.0.0.1:123456",
                b"127.0.0.1:80:80",
                b"127.0.0.1:8o",
                b" 127.0.0.1",
                b"127.0.0.1\n",
                b"user@127.0.0.1",
                b"::1",
                b"[::1",
                b":22000",
            )
        ),
    ],
)
def test_host_that_means_another_listener_is_refused(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    refusal = check_host(headers, hosts=hosts_of("127.0.0.5"))
    assert refusal is not None
    assert refusal.code is DenyCode.REQUEST_HOST
