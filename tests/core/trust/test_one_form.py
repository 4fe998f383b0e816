"""JSON that signatures depend on: read strictly, in one form."""

from __future__ import annotations

import pytest

from trade_core.trust.keys import NotTrusted
from trade_core.trust.one_form import canonical_object, strict_object


def test_object_is_read() -> None:
    assert strict_object(b' {"a": [1, "\xc3\xa4"]} ', what="it", most_bytes=50) == {"a": [1, "ä"]}
    assert canonical_object(b'{"a":[1,"\xc3\xa4"]}', what="it", most_bytes=50) == {"a": [1, "ä"]}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'{"a":1}x',
        b'{"a":1}\0',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' * 50_000,
    ],
)
def test_object_that_is_none_is_refused_by_both(raw: bytes) -> None:
    for read in (strict_object, canonical_object):
        with pytest.raises(NotTrusted, match="it: not"):
            read(raw, what="it", most_bytes=1_000_000)


@pytest.mark.parametrize(
    "raw",
    [b' {"a":1}', b'{"a":1}\n', b'{"a": 1}', b'{"b":1,"a":1}', b'{"a":"\\u0041"}', b'{"a":"\\/"}', b'{"a":1.5}'],
)
def test_object_in_another_form_is_refused(raw: bytes) -> None:
    strict_object(raw, what="it", most_bytes=50)
    with pytest.raises(NotTrusted, match="it: not"):
        canonical_object(raw, what="it", most_bytes=50)


def test_object_has_at_most_its_bytes() -> None:
    assert strict_object(b'{"a":1}', what="it", most_bytes=7) == {"a": 1}
    with pytest.raises(NotTrusted, match="it: 7 bytes, at most 6"):
        strict_object(b'{"a":1}', what="it", most_bytes=6)
    with pytest.raises(NotTrusted, match="it: 7 bytes, at most 6"):
        canonical_object(b'{"a":1}', what="it", most_bytes=6)
