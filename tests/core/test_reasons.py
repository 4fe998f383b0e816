"""A reason is cut or named, and never what a halt fails by."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from trade_core.reasons import NO_REASON, REASON_CHARACTERS_MAX, Reason


class Asked(BaseModel):
    model_config = ConfigDict(strict=True)
    reason: Reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", NO_REASON), ("why", "why"), ("x" * REASON_CHARACTERS_MAX, "x" * 200), ("y" * 201, "y" * 200)],
)
def test_reason_is_cut_or_named(text: str, reason: str) -> None:
    assert Asked.model_validate({"reason": text}).reason == reason


@pytest.mark.parametrize("value", [None, 1, ["why"], {}])
def test_reason_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        Asked.model_validate({"reason": value})
