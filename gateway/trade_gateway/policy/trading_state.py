"""The five trading states, ordered from free to stopped."""

from __future__ import annotations

from enum import IntEnum


class TradingState(IntEnum):
    """What may pass; a greater value is more restrictive, so the effective state of several holders is the maximum."""

    ACTIVE = 0
    """Every order that the policy allows passes."""
    TRIMMED = 1
    """The size limits are multiplied by a scale below one."""
    REDUCE_ONLY = 2
    """Only cancels and orders that provably reduce risk pass. Comes and goes by itself."""
    HALTED = 3
    """As REDUCE_ONLY, but latched: only a person's release ends it."""
    KILLED = 4
    """Only cancels pass."""
