"""Price paths: where the index of a symbol goes, one step a tick, repeatable from the seed.

The walk computes in floating point because it only invents a price; from the moment it is a price it is a
whole number of ticks.
"""

import math
import random
from decimal import Decimal
from typing import Final, Protocol

# A walk rests for about three seconds between moves, so that quotes stand for a moment as they do on a venue.
MOVE_PROBABILITY: Final = 0.03
# One move; eighteen of them a minute make 0.04 % a minute.
MOVE_SIGMA: Final = 9.4e-5
# Pull towards the anchor: half of a deviation is gone after about six hours of moves.
REVERSION: Final = 1e-4
# Speed may be high, but a tick must stay short.
STEPS_PER_TICK_MAX: Final = 1_000


class Path(Protocol):
    """A source of index prices in ticks."""

    @property
    def ticks(self) -> int:
        """Return the price now."""

    def advance(self, steps: int) -> list[int]:
        """Walk on; return the highest and lowest prices that a fast walk passed by, in their order."""

    def jump(self, ticks: int) -> None:
        """Continue from another price."""


class WalkPath:
    """A seeded random walk that is pulled back to where it began, or was last set."""

    def __init__(self, *, seed: str, start_ticks: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a market that repeats is the point
        self._anchor_ticks = start_ticks
        self._deviation = 0.0
        self._ticks = start_ticks

    @property
    def ticks(self) -> int:
        """Return the price now."""
        return self._ticks

    def advance(self, steps: int) -> list[int]:
        """Walk a number of steps; a random walk passes nothing that anybody has recorded."""
        draw = self._random.random
        for _ in range(steps):
            if draw() < MOVE_PROBABILITY:
                pull = self._deviation * REVERSION
                self._deviation += self._random.gauss(0.0, MOVE_SIGMA) - pull
        self._ticks = max(1, round(self._anchor_ticks * math.exp(self._deviation)))
        return []

    def jump(self, ticks: int) -> None:
        """Walk on around another price."""
        self._anchor_ticks = ticks
        self._deviation = 0.0
        self._ticks = ticks


class Pace:
    """Turns a speed into whole steps a tick, carrying the fraction."""

    def __init__(self, speed: Decimal) -> None:
        self._speed = min(speed, Decimal(STEPS_PER_TICK_MAX))
        self._carry = Decimal(0)

    def next_steps(self) -> int:
        """Return the steps of the next tick."""
        self._carry += self._speed
        steps = int(self._carry)
        self._carry -= steps
        return steps
