"""Strict reading of parameters: every refusal is 10001, nothing raises anything else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade_simulator.api.fields import Fields, parse_json, parse_query
from trade_simulator.instruments import Category
from trade_simulator.rejections import Rejected


def code_of(call: Any) -> int:
    with pytest.raises(Rejected) as refused:
        call()
    return refused.value.code


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 2}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
)
def test_body_that_is_no_single_json_object_answers_10001(raw: bytes) -> None:
    assert code_of(lambda: parse_json(raw)) == 10001


@given(st.binary(max_size=200))
def test_body_of_any_bytes_is_parsed_or_refused(raw: bytes) -> None:
    try:
        assert isinstance(parse_json(raw), dict)
    except Rejected as refused:
        answered = refused.code
    else:
        answered = 10001
    assert answered == 10001


@given(st.binary(max_size=200))
def test_query_of_any_bytes_is_parsed_or_refused(raw: bytes) -> None:
    try:
        assert all(parse_query(raw).values())
    except Rejected as refused:
        answered = refused.code
    else:
        answered = 10001
    assert answered == 10001


def test_query_with_a_repeated_name_answers_10001() -> None:
    assert code_of(lambda: parse_query(b"a=1&a=2")) == 10001


def test_query_value_is_decoded_once() -> None:
    assert parse_query(b"cursor=page%253D1%2526&blank=") == {"cursor": "page%3D1%26"}


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-1", "+1", "1e5", "1E5", " 1", "1 ", "01", ".5", "1.", "1_000", "\u0661", "0x1", "1,0"]
)
def test_number_outside_the_grammar_answers_10001(text: str) -> None:
    assert code_of(lambda: Fields({"qty": text}).decimal("qty")) == 10001


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}])
def test_number_that_is_not_text_answers_10001(value: object) -> None:
    assert code_of(lambda: Fields({"qty": value}).required_decimal("qty")) == 10001


def test_number_as_plain_text_is_exact() -> None:
    assert Fields({"qty": "0.1"}).decimal("qty") == Decimal("0.1")


@pytest.mark.parametrize(("value", "expected"), [(3, 3), ("3", 3), ("-3", -3), ("", 0), (None, 0)])
def test_integer_as_number_or_text_is_read(value: object, expected: int) -> None:
    assert Fields({"mode": value}).integer("mode") == expected


@pytest.mark.parametrize("value", [True, 1.0, "1.0", "x", 10**18, [], "\u0661"])
def test_integer_of_another_form_answers_10001(value: object) -> None:
    assert code_of(lambda: Fields({"mode": value}).integer("mode")) == 10001


@pytest.mark.parametrize("value", ["true", 1, 0, "1", []])
def test_boolean_that_is_only_like_one_answers_10001(value: object) -> None:
    assert code_of(lambda: Fields({"reduceOnly": value}).boolean("reduceOnly")) == 10001


@pytest.mark.parametrize("value", [0, -1, 51, "x"])
def test_limit_outside_its_range_answers_10001(value: object) -> None:
    assert code_of(lambda: Fields({"limit": value}).limit(default=20, most=50)) == 10001


@pytest.mark.parametrize("value", [1, 50, "50"])
def test_limit_inside_its_range_is_read(value: object) -> None:
    assert Fields({"limit": value}).limit(default=20, most=50) == int(str(value))


@pytest.mark.parametrize("value", ["inverse", "SPOT", "", None, 1, ["spot"]])
def test_category_that_is_not_listed_answers_10001(value: object) -> None:
    assert code_of(lambda: Fields({"category": value}).category()) == 10001


def test_category_that_is_listed_is_read() -> None:
    assert Fields({"category": "spot"}).category() is Category.SPOT


@pytest.mark.parametrize("value", [None, [], {}, [1], [{}] * 21, "x"])
def test_objects_that_are_not_a_short_list_answer_10001(value: object) -> None:
    assert code_of(lambda: Fields({"request": value}).objects("request", most=20)) == 10001
