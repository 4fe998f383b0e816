"""A simulated year of one account: does what the services hold in memory stay as large as it is?

Most of the year the machine sleeps, and every ten minutes or so it is awake for a few seconds: in those it reads, walks
the ladder, sends leases, trades and writes its rows. `python -m simulation.year --days 365` prints the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, field

import pytest
from simulation.clocks import new_clock, run
from simulation.house import HELD, TRADED, House, Setting, house
from simulation.simulate import quieten
from simulation.story import Plan, Story
from simulation.weigh import weigh

from trade_core.clock import NS_PER_S, ManualClock
from trade_gateway import ledger
from trade_gateway.account import view
from trade_journal.log.rows import RowKind
from trade_watchdog import collar_watch, drop_copy, ladder
from trade_watchdog.audit import journaled, order_audit, turnover_audit

AWAKE_S = 6.0
WEIGHED_A_YEAR = 40
REMEMBERED = 100


@dataclass(slots=True, kw_only=True)
class Year:
    """What was measured."""

    days: int
    weights: list[int] = field(default_factory=list)
    rows: int = 0
    orders: int = 0
    incidents: list[str] = field(default_factory=list)
    """What the watchdog found: nothing goes wrong here, so that each is false."""
    violations: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """The second half's mean over that of the first, without the first tenth, in which everything fills."""
        settled = self.weights[len(self.weights) // 10 :]
        half = len(settled) // 2
        return statistics.mean(settled[half:]) / statistics.mean(settled[:half])


async def _lived(days: int, wakes_a_day: int, seed: int, clock: ManualClock) -> Year:
    year = Year(days=days)
    async with house(Setting(seed=seed), clock) as made:
        story = Story(made, Plan(seed=seed, trouble_every_s=1e9, bot_every_s=0.5))
        story.volatility = 0.0001
        await made.wait_until(lambda: made.state == "ACTIVE", within_s=30.0)
        bot = asyncio.create_task(story._bot())
        began_ns = due_ns = clock.monotonic_ns()
        every_ns = int(days * 86_400 / WEIGHED_A_YEAR) * NS_PER_S
        for _ in range(days * wakes_a_day):
            made.skip(86_400 / wakes_a_day - AWAKE_S)
            for coin in (HELD, *TRADED):
                made.move(coin, 1 + story.draw.gauss(0, 0.0005))
            await asyncio.sleep(AWAKE_S)
            if clock.monotonic_ns() >= due_ns:
                due_ns += every_ns
                year.weights.append(_weighed(made))
                _show(year, clock.monotonic_ns() - began_ns)
            if made.referee.violations:
                break
        bot.cancel()
        year.rows, year.orders = len(made.gateway.disk.bodies), made.referee.figures.orders
        year.violations, year.incidents = made.referee.violations, _incidents(made)
    return year


def _show(year: Year, lived_ns: int) -> None:
    day, held_kb = lived_ns / NS_PER_S / 86_400, year.weights[-1] // 1000
    print(
        f"day {day:.0f} of {year.days}: {held_kb} kB, {time.process_time():.0f} s of CPU", file=sys.stderr, flush=True
    )


def lower_bounds(patch: pytest.MonkeyPatch) -> None:
    """Lower the bounds on what is remembered of orders: a year of this bot would only begin to fill them.

    Windows of the ladder count ten minutes of each sleep, so that thirty days of them would take three years: here they
    count it whole.
    """
    patch.setattr(ledger, "MAX_FINISHED", REMEMBERED)
    patch.setattr(ledger, "MAX_OWN_TAGS", REMEMBERED)
    patch.setattr(order_audit, "MAX_REMEMBERED", 4 * REMEMBERED)
    patch.setattr(turnover_audit, "MAX_ORDERS", REMEMBERED)
    patch.setattr(collar_watch, "MAX_REMEMBERED", REMEMBERED)
    patch.setattr(journaled, "MAX_ORDERS", REMEMBERED)
    patch.setattr(view, "MAX_REMEMBERED", REMEMBERED)
    patch.setattr(ladder, "STEP_MAX_MS", 86_400_000)
    patch.setattr(drop_copy, "ENDED_REMEMBERED", 4 * REMEMBERED)


def _incidents(made: House) -> list[str]:
    mark = f'"kind":"{RowKind.INCIDENT_OPENED.value}"'.encode()
    rows = (
        json.loads(body) for disk in (made.gateway.disk, made.watchdog.disk) for body in disk.bodies if mark in body
    )
    return [json.dumps(row["fields"]) for row in rows]


def _weighed(made: House) -> int:
    roots = [made.gateway.running, made.watchdog.monitor, made.watchdog.keeper]
    loop = asyncio.get_running_loop()
    beyond = [made, made.venue, made.venue.exchange, made.referee, made.trace, made.counts, made.clock, made.watchdog]
    beyond += [made.gateway, made.gateway.disk, made.watchdog.disk, made.watchdog.copy, loop, *made.links.values()]
    return weigh(roots, beyond=beyond)


def live(days: int, *, wakes_a_day: int, seed: int) -> Year:
    """Live through so many days."""
    clock = new_clock()
    with pytest.MonkeyPatch.context() as patch:
        lower_bounds(patch)
        return run(_lived(days, wakes_a_day, seed, clock), clock)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--wakes-a-day", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    quieten()
    began = time.process_time()
    year = live(arguments.days, wakes_a_day=arguments.wakes_a_day, seed=arguments.seed)
    print(f"{year.days} days, {year.rows} rows, {year.orders} orders, {time.process_time() - began:.0f} s of CPU")
    print("held in memory, kB: " + " ".join(str(weight // 1000) for weight in year.weights))
    print(f"second half over first: {year.growth:.4f}; violated: {year.violations or 'nothing'}")
    print(f"incidents: {len(year.incidents)}", *year.incidents[:3], sep="\n")


if __name__ == "__main__":
    main()
