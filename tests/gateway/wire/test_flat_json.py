"""The reader of flat JSON accepts less than JSON, and never anything else than JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.flat_json import JsonNumber, Value, read_flat_object
from trade_gateway.wire.refusal import Refused

VALID = (
    b'{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","timeInForce":"PostOnly","price":"59893.9",'
    b'"category":"linear","qty":"0.009","position_idx":0,"reduceOnly":true}'
)
_STRUCTURE = st.sampled_from(
    [bytes([byte]) for byte in b'{}[]",:\\ \t\n\r0123456789.-+eE']
    + [b"true", b"false", b"null", b"NaN", b"Infinity", b"\\u0030", b"\xd9\xa1", b'"qty":"9",', b'{"a":1}', b"/*x*/"]
)


def refused(body: bytes) -> DenyCode:
    with pytest.raises(Refused) as caught:
        read_flat_object(body)
    return caught.value.refusal.code


def strict_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len({key for key, _ in pairs}) == len(pairs), "a duplicate key was accepted"
    return dict(pairs)


def as_json(value: Value) -> object:
    return value.text if isinstance(value, JsonNumber) else value


def test_read_of_each_kind_of_value_returns_it() -> None:
    body = b' { "a" : "x y" , "b":true,"c"\t:false,\r\n"d":0,"e":12.50 , "f":"" } '
    expected = {"a": "x y", "b": True, "c": False, "d": JsonNumber("0"), "e": JsonNumber("12.50"), "f": ""}
    assert read_flat_object(body) == expected
    assert list(read_flat_object(body)) == list(expected)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"{}",
        b"[]",
        b"null",
        b'"a"',
        b"1",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b'{,"a":1}',
        b'{"a":1}}',
        b'{"a":1}{"a":1}',
        b'{"a":1} x',
        b'{"a":1',
        b'{"a":1,',
        b'{"a":1 "b":2}',
        b"{'a':1}",
        b"{a:1}",
        b'{"":1}',
        b'{"a":null}',
        b'{"a":{}}',
        b'{"a":[]}',
        b'{"a":["x"]}',
        b'{"a":{"b":1}}',
        b"[" * 4000,
        b'{"a":' * 700,
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":-1}',
        b'{"a":+1}',
        b'{"a":1e9}',
        b'{"a":1E9}',
        b'{"a":01}',
        b'{"a":.5}',
        b'{"a":5.}',
        b'{"a":1_000}',
        b'{"a":0x10}',
        b'{"a":' + b"9" * 400 + b"}",
        b'{"a":0.' + b"9" * 13 + b"}",
        b'{"a":True}',
        b'{"a":"x\ny"}',
        b'{"a":"x\x00"}',
        b'{"a":"\\u0041"}',
        b'{"\\u0061":1}',
        b'{"a":"\xd9\xa1"}',
        b'{"a":"\xff"}',
        b'{"a":"\x7f"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":1}\x00',
        b'{"a":\x0b1}',
        b'{/**/"a":1}',
        b'{"a":1}//',
    ],
)
def test_read_of_anything_but_one_flat_object_is_refused(body: bytes) -> None:
    assert refused(body) is DenyCode.BODY_NOT_FLAT_JSON


@pytest.mark.parametrize(
    ("body", "at_byte"), [(b"x", 0), (b' {"a":1,}', 8), (b'{"a":1} x', 8), (b'{"a":1,"b":null}', 7)]
)
def test_refusal_of_what_is_not_flat_says_at_which_byte(body: bytes, at_byte: int) -> None:
    with pytest.raises(Refused) as caught:
        read_flat_object(body)
    assert caught.value.refusal.detail == (("at_byte", str(at_byte)),)


def test_read_of_a_duplicate_key_is_refused() -> None:
    assert refused(b'{"qty":"0.001","qty":"9999"}') is DenyCode.BODY_KEY_DUPLICATE
    assert refused(b'{"a":1,"b":2,"a":1}') is DenyCode.BODY_KEY_DUPLICATE


@pytest.mark.parametrize(("count", "is_accepted"), [(63, True), (64, True), (65, False)])
def test_read_bounds_the_number_of_fields(count: int, *, is_accepted: bool) -> None:
    body = json.dumps({f"k{index}": True for index in range(count)}).encode()
    if is_accepted:
        assert len(read_flat_object(body)) == count
    else:
        assert refused(body) is DenyCode.BODY_NOT_FLAT_JSON


def test_read_of_as_many_fields_as_permitted_and_then_a_comma_is_refused() -> None:
    body = b"{" + b"".join(b'"k%d":1,' % index for index in range(64))
    assert refused(body) is DenyCode.BODY_NOT_FLAT_JSON


def test_read_bounds_keys_and_texts() -> None:
    longest = b'{"' + b"k" * 64 + b'":"' + b"v" * 512 + b'"}'
    assert len(read_flat_object(longest)) == 1
    assert refused(longest.replace(b"kk", b"kkk", 1)) is DenyCode.BODY_NOT_FLAT_JSON
    assert refused(longest.replace(b"vv", b"vvv", 1)) is DenyCode.BODY_NOT_FLAT_JSON


@settings(max_examples=600)
@given(st.data())
def test_read_of_a_mutated_body_is_refused_or_agrees_with_json(data: st.DataObject) -> None:
    body = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(body)))
        length = data.draw(st.integers(0, 4))
        body[position : position + length] = data.draw(_STRUCTURE | st.binary(max_size=3))
    try:
        fields = read_flat_object(bytes(body))
    except Refused:
        return
    oracle = json.loads(bytes(body), object_pairs_hook=strict_pairs, parse_int=str, parse_float=str)
    assert {key: as_json(value) for key, value in fields.items()} == oracle


@given(
    st.dictionaries(
        st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), min_size=1, max_size=12),
        st.booleans()
        | st.integers(0, 10**12 - 1)
        | st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=20),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([None, 1]),
)
def test_read_of_plain_json_in_any_layout_is_accepted(content: dict[str, object], indent: int | None) -> None:
    fields = read_flat_object(json.dumps(content, indent=indent).encode())
    plain = {key: int(value.text) if isinstance(value, JsonNumber) else value for key, value in fields.items()}
    assert plain == content
