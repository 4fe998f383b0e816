"""Thousands of attacks, each in a world and under a policy of its own: how near does the worst come to the bound?

    python -m hostile.run [--count N] [--seed N] [--jobs N] [--only STRATEGY]

Prints a table and ends with 1 when any run lost more than the bound, or broke down.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import random
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal

from hostile.actions import Step, changed, play, random_steps
from hostile.bot import Bot
from hostile.measure import Result, measure, result_of
from hostile.strategies import STRATEGIES
from hostile.virtual_time import run
from hostile.world import Setting, new_clock, world

SEARCH = "search"
_SEARCH_SHARE = 10  # one run in so many belongs to the search for worse mixtures
_SEARCH_STEPS = 25
_SHOW_EVERY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run, or one search."""

    name: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A run that ended with a fault of its own."""

    name: str
    seed: int
    text: str


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the runs of one strategy came to."""

    results: list[Result] = field(default_factory=list)

    def line(self, name: str) -> str:
        """One line of the table."""
        worst = max(self.results, key=lambda result: result.ratio)
        median = sorted(result.ratio for result in self.results)[len(self.results) // 2]
        strict = max(result.strict_ratio for result in self.results)
        fills = sum(result.fills for result in self.results)
        return (
            f"{name:<22}{len(self.results):>6}{fills:>9}{float(median):>9.3f}{_down(worst.ratio):>10}"
            f"{_down(strict):>10}{worst.seed:>16}"
        )


HEAD = f"{'strategy':<22}{'runs':>6}{'fills':>9}{'median':>9}{'worst':>10}{'strict':>10}{'its seed':>16}"


def do(job: Job) -> list[Result | Broken]:
    """Run a job; a fault in it is its result."""
    logging.disable(logging.CRITICAL)
    try:
        if job.name == SEARCH:
            return list(search(job.seed))
        return [measure(job.name, STRATEGIES[job.name], job.seed)]
    except Exception:  # noqa: BLE001 - the boundary of a run: it is shown, and the others go on
        return [Broken(name=job.name, seed=job.seed, text=traceback.format_exc(limit=-6))]


def search(seed: int) -> Iterable[Result]:
    """Climb from a random mixture towards the worst that its changes lead to."""
    draw = random.Random(seed)
    setting = STRATEGIES["mixture"].setting(seed)
    best = random_steps(draw, 60)
    ratio = Decimal(-1)
    for _ in range(_SEARCH_STEPS):
        tried = changed(best, draw) if ratio >= 0 else best
        result = measure_steps(setting, tried, name=SEARCH, seed=seed)
        yield result
        if result.ratio >= ratio:
            best, ratio = tried, result.ratio


def measure_steps(setting: Setting, steps: Sequence[Step], *, name: str, seed: int) -> Result:
    """Play steps in a world of their own."""
    clock = new_clock()

    async def attack() -> Result:
        async with world(setting, clock) as made:
            await play(made, Bot(made), steps)
            return result_of(made, name=name, seed=seed)

    return run(attack(), clock)


def jobs(count: int, seed: int, only: str | None) -> list[Job]:
    """Spread runs over the strategies in turn."""
    names = [only] if only else list(STRATEGIES)
    made = [Job(name=names[number % len(names)], seed=seed * 1_000_000 + number) for number in range(count)]
    if only is None:
        searches = count // _SEARCH_SHARE // _SEARCH_STEPS
        made += [Job(name=SEARCH, seed=seed * 1_000_000 + number) for number in range(searches)]
    return made


def main() -> int:
    """Run and report; Ctrl-C ends early with what there is."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=3000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--only", choices=list(STRATEGIES))
    given = options.parse_args()
    began_s = time.monotonic()
    report = Report()
    wanted = jobs(given.count, given.seed, given.only)
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool, suppress(KeyboardInterrupt):
        for results in pool.imap_unordered(do, wanted):
            for result in results:
                report.take(result)
    seconds = time.monotonic() - began_s
    print(f"seed {given.seed}, {report.runs} runs under {report.policies} policies, {seconds:.0f} s")
    for line in report.lines():
        print(line)
    return 1 if report.beyond or report.broken else 0


@dataclass(slots=True, kw_only=True)
class Report:
    """What all runs came to."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    beyond: list[Result] = field(default_factory=list)

    @property
    def runs(self) -> int:
        """The runs that came to their end."""
        return sum(len(tally.results) for tally in self.tallies.values())

    @property
    def policies(self) -> int:
        """The policies that were tried: every run has its own, but a search stays with one."""
        seeds = [{(tally.results[0].name, one.seed) for one in tally.results} for tally in self.tallies.values()]
        return sum(len(found) for found in seeds)

    def take(self, result: Result | Broken) -> None:
        """Take in one run; show now and then how far it is."""
        if isinstance(result, Broken):
            self.broken.append(result)
            return
        self.tallies.setdefault(result.name, Tally()).results.append(result)
        if not result.is_within:
            self.beyond.append(result)
        if self.runs % _SHOW_EVERY == 0:
            print(f"{self.runs} runs", file=sys.stderr, flush=True)

    def lines(self) -> Iterable[str]:
        """The table, the worst run, and whatever must be looked at."""
        yield HEAD
        for name in [*STRATEGIES, SEARCH]:
            if name in self.tallies:
                yield self.tallies[name].line(name)
        everything = [result for tally in self.tallies.values() for result in tally.results]
        worst = max(everything, key=lambda result: result.ratio, default=None)
        if worst is not None and worst.window is not None:
            yield (
                f"worst hostile loss found / bound: {_down(worst.ratio)} ({worst.name}, seed {worst.seed}: "
                f"{worst.window.loss:.2f} of {worst.bound:.2f} USDT)"
            )
        yield f"beyond the bound: {len(self.beyond)}; broken down: {len(self.broken)}"
        for result in self.beyond:
            yield f"BEYOND {result.name}, seed {result.seed}: {result.window} of {result.bound}"
        for fault in self.broken:
            yield f"BROKEN {fault.name}, seed {fault.seed}:\n{fault.text}"


def _down(ratio: Decimal) -> str:
    """Show a ratio with four places, cut off: only what is not within shows as 1."""
    return str(ratio.quantize(Decimal("0.0001"), rounding="ROUND_FLOOR"))


if __name__ == "__main__":
    sys.exit(main())
