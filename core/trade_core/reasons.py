"""Why somebody halts or sweeps: a text that is cut and never refused, since what it comes with must not fail by it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, Field

REASON_CHARACTERS_MAX: Final = 200
NO_REASON: Final = "no reason was given"


def cut_reason(value: object) -> object:
    """Cut a text that is too long, and name an empty one; anything else is left for its type to refuse."""
    if not isinstance(value, str):
        return value
    return value[:REASON_CHARACTERS_MAX] or NO_REASON


Reason = Annotated[str, BeforeValidator(cut_reason), Field(min_length=1, max_length=REASON_CHARACTERS_MAX)]
