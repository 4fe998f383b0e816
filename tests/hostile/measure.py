"""Runs one attack and says how near it came to the bound."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from hostile.bot import Bot
from hostile.oracle import Window
from hostile.strategies import Strategy
from hostile.virtual_time import run
from hostile.world import World, new_clock, world

# Fees are charged to ten digits and rounded up; no run has a hundred thousand fills.
ROUNDING_USDT = Decimal("0.00001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one run. `ratio` is the worst window's loss over its bound; both are in USDT."""

    name: str
    seed: int
    ratio: Decimal
    strict_ratio: Decimal
    window: Window | None
    bound: Decimal
    fills: int
    liquidations: int
    codes: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_within(self) -> bool:
        """Whether the loss stayed within the bound."""
        return self.window is None or self.window.loss <= self.bound + ROUNDING_USDT


def measure(name: str, strategy: Strategy, seed: int) -> Result:
    """Run a strategy in the world of a seed."""
    clock = new_clock()

    async def attack() -> Result:
        async with world(strategy.setting(seed), clock) as made:
            await strategy.attack(made, Bot(made), random.Random(seed))
            return result_of(made, name=name, seed=seed)

    return run(attack(), clock)


def result_of(made: World, *, name: str, seed: int) -> Result:
    """Measure what a world's bot has lost."""
    window = made.oracle.worst(made.bound)
    bound = Decimal(0) if window is None else made.bound(window)
    return Result(
        name=name,
        seed=seed,
        ratio=Decimal(0) if window is None else window.loss / bound,
        strict_ratio=Decimal(0) if window is None else window.strict / bound,
        window=window,
        bound=bound,
        fills=len(made.oracle.fills),
        liquidations=made.oracle.liquidations,
        codes=dict(made.codes),
    )
