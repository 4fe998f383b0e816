from __future__ import annotations

import json
from decimal import Decimal

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from trade_core.canonical import NotCanonical, canonical_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcXYZ09", max_size=5), inner, max_size=4),
    max_leaves=12,
)


def test_canonical_json_sorts_keys_and_leaves_no_space() -> None:
    assert canonical_json({"b": [1, None], "a": {"z": True, "y": "x"}}) == b'{"a":{"y":"x","z":true},"b":[1,null]}'


@given(VALUES)
def test_canonical_json_reads_back_as_the_same_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(VALUES)
def test_canonical_json_is_what_another_implementation_of_the_rfc_writes(value: object) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(st.text(st.characters(max_codepoint=127)), st.text(st.characters(exclude_categories=["Cs"])))
def test_canonical_json_escapes_text_as_another_implementation_does(key: str, text: str) -> None:
    assert canonical_json({key: text, key + "x": [text]}) == rfc8785.dumps({key: text, key + "x": [text]})


@given(st.dictionaries(st.text("abc", max_size=3), st.integers(0, 9), max_size=5))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        {"a": [0.5]},
        [1.0, None],
        {"a": {"b": (1.5,)}},
        2**53,
        -(2**53),
        Decimal(1),
        b"x",
        {1: 2},
        {"ä": 2},
        {"a": {"\U0001f600": 2}},
        {1, 2},
        object(),
    ],
)
def test_canonical_json_of_what_has_no_single_form_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical_json(value)


def test_canonical_json_of_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(NotCanonical):
        canonical_json({"a": "\ud800"})


def test_canonical_json_takes_the_greatest_whole_numbers_of_the_rfc() -> None:
    assert canonical_json([2**53 - 1, 1 - 2**53]) == b"[9007199254740991,-9007199254740991]"


def test_canonical_json_that_is_nested_beyond_measure_is_refused() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(NotCanonical, match="nested"):
        canonical_json(value)
