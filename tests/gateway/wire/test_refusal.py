"""Foreign text in details is harmless wherever it is shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.refusal import (
    MAX_DETAIL_CHARACTERS,
    Refused,
    detail_of,
    neutralised,
    refuse,
)


@given(st.text() | st.binary())
def test_neutralised_any_value_is_short_and_plain(value: str | bytes) -> None:
    text = neutralised(value)
    assert len(text) <= MAX_DETAIL_CHARACTERS
    assert re.fullmatch(r"[A-Za-z0-9 _.,:;=+/@#()\[\]-]*", text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("GTC", "GTC"),
        ("a\nb", "a(u000a)b"),
        ("<b>", "(u003c)b(u003e)"),
        ("\u0661", "(u0661)"),
        (b"\xff", "(u00ff)"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 61 + "..."),
        ("\n" * 9, "(u000a)" * 9),
        ("\n" * 10, ("(u000a)" * 10)[:61] + "..."),
        (7, "7"),
    ],
)
def test_neutralised_value_is_written_as_expected(value: object, expected: str) -> None:
    assert neutralised(value) == expected


def test_refuse_keeps_the_order_of_details() -> None:
    refusal = refuse(DenyCode.BODY_VALUE_INVALID, key="b", value="a\t")
    assert refusal.code is DenyCode.BODY_VALUE_INVALID
    assert refusal.detail == (("key", "b"), ("value", "a(u0009)"))
    assert detail_of() == ()


def test_refused_carries_its_refusal() -> None:
    refusal = refuse(DenyCode.BODY_VALUE_INVALID)
    assert Refused(refusal).refusal is refusal
