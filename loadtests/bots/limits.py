"""What a scenario must keep to, and the judgement. Pure: figures in, sentences out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

CALM = ", calm"
"""Ends the name of a request that was sent before the trouble began: what the others are compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured of the requests of one name."""

    count: int
    failures: int
    p95_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Of the requests of one name: how many there must be, what may fail, and how much slower than in calm they may be.

    `allowance_ms` is time that the scenario itself adds to each.
    """

    name: str
    least: int = 3
    highest_failed: float = 0.0
    highest_ratio: float | None = None
    allowance_ms: float = 0.0


def broken(limit: Limit, figures: Callable[[str], Figures], *, are_ratios_judged: bool) -> Iterator[str]:
    """Yield a sentence for each thing that a limit does not permit."""
    found = figures(limit.name)
    if found.count < limit.least:
        yield f"{limit.name}: {found.count} requests, too few to judge"
        return
    if found.failures > limit.highest_failed * found.count:
        yield f"{limit.name}: {found.failures} of {found.count} failed, {limit.highest_failed:.1%} may"
    if limit.highest_ratio is None or not are_ratios_judged:
        return
    calm = figures(limit.name + CALM)
    if calm.count < limit.least:
        yield f"{limit.name}: {calm.count} requests in calm, too few to compare with"
        return
    longest_ms = calm.p95_ms * limit.highest_ratio + limit.allowance_ms
    if found.p95_ms > longest_ms:
        yield f"{limit.name}: p95 {found.p95_ms:.0f} ms, at most {longest_ms:.0f} ms (calm {calm.p95_ms:.0f} ms)"
