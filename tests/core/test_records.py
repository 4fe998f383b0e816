"""Records are frozen dataclasses in all but one thing: what the type checker refuses, the run time does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from trade_core.records import record


@record(frozen=True, slots=True, kw_only=True)
class Fast:
    name: str
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    name: str
    size: int = 1


@record(frozen=True, slots=True, kw_only=False)
class Placed:
    name: str
    size: int


def test_record_has_defaults_equality_and_hash_of_a_frozen_dataclass() -> None:
    assert Fast(name="a") == Fast(name="a", size=1) != Fast(name="b")
    assert hash(Fast(name="a")) == hash(Fast(name="a", size=1)) == hash(Plain(name="a"))
    assert repr(Fast(name="a")) == "Fast(name='a', size=1)"


def test_record_is_replaced_and_matched_by_its_fields() -> None:
    match replace(Fast(name="a"), size=2):
        case Fast(name=name, size=size):
            assert (name, size) == ("a", 2)


def test_record_takes_no_positional_and_no_unknown_field() -> None:
    for wrong in ({"name": "a", "other": 1}, {}):
        with pytest.raises(TypeError):
            Fast(**wrong)
    assert not hasattr(Fast(name="a"), "__dict__")


@pytest.mark.parametrize("missing", ["frozen", "slots"])
def test_record_that_would_be_anything_less_is_refused(missing: str) -> None:
    options: dict[str, Any] = {"frozen": True, "slots": True, "kw_only": True, missing: False}
    with pytest.raises(TypeError, match="frozen and slotted"):
        record(**options)


def test_record_of_one_place_takes_its_fields_in_their_order() -> None:
    assert Placed("a", 2) == Placed(name="a", size=2)
