"""Runs the simulation over many seeds and says what it measured: `make simulate SEEDS=A..B ARGS="..."`.

Each seed is one account's life: half a day or more, with troubles, trades, and people who answer. A seed that violates
an invariant is named with what was violated and its last events; the same seed brings the same again, event by event.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from simulation.house import HELD
from simulation.story import Plan, Report, tell

from trade_simulator.instruments import DEFAULT_INSTRUMENTS, symbol_tick_size
from trade_simulator.market.price_file import RecordedBar, read_bars

SEEDS_MAX: Final = 1_000_000
TAIL_SHOWN: Final = 25
RUNGS: Final = ("daily", "weekly", "monthly", "high_water")


@dataclass(slots=True, kw_only=True)
class Total:
    """What all runs measured."""

    runs: int = 0
    days: float = 0.0
    events: int = 0
    steps: int = 0
    cpu_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    false: int = 0
    other_violations: int = 0
    orders: int = 0
    kills: int = 0
    sweeps: int = 0
    alerts: int = 0
    releases: int = 0
    breaches_timed: int = 0
    worst_breach_to_refusing_s: float = 0.0
    worst_fire_to_alert_s: float = 0.0
    violating_seeds: list[int] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """Take in a run."""
        figures = report.figures
        self.runs += 1
        self.days += report.days
        self.events += report.events
        self.steps += report.steps
        self.cpu_s += report.cpu_s
        self.counts += report.counts
        self.fired += figures.fired
        self.orders += figures.orders
        self.kills += figures.kills
        self.sweeps += figures.sweeps
        self.alerts += figures.alerts
        self.releases += report.releases
        self.breaches_timed += figures.breaches_timed
        self.worst_breach_to_refusing_s = max(self.worst_breach_to_refusing_s, figures.worst_breach_to_refusing_s)
        self.worst_fire_to_alert_s = max(self.worst_fire_to_alert_s, figures.worst_fire_to_alert_s)
        for words in report.violations:
            self.missed += "has not fired" in words or "not refused in time" in words
            self.false += "and must not" in words or "nothing is there" in words
        self.other_violations += bool(report.violations)
        if report.violations:
            self.violating_seeds.append(report.seed)

    def lines(self) -> list[str]:
        """Say it for people."""
        fired = ", ".join(f"{name} {self.fired[name]}" for name in RUNGS)
        troubles = {name: count for name, count in self.counts.items() if not name.startswith("order ")}
        faults = ", ".join(f"{name} {count}" for name, count in sorted(troubles.items()))
        return [
            f"{self.runs} runs, {self.days:.1f} account-days, {self.events} events, {self.steps} steps, "
            f"{self.cpu_s:.0f} s of CPU",
            f"orders sent: {self.orders}; sweeps: {self.sweeps}; kill requests: {self.kills}; "
            f"releases by a person: {self.releases}; alerts: {self.alerts}",
            f"rungs fired: {fired}; missed: {self.missed}; false: {self.false}",
            f"breach to refusing, nothing else being wrong: {self.breaches_timed} times, "
            f"at worst {self.worst_breach_to_refusing_s:.2f} s; "
            f"third sample to alert handed over: at worst {self.worst_fire_to_alert_s:.2f} s",
            f"troubles and faults: {faults}",
            f"runs that violated an invariant: {len(self.violating_seeds)} {self.violating_seeds[:20] or ''}".rstrip(),
        ]


def seeds_of(text: str) -> range:
    """Read A..B, both included, or one number. Raises ValueError."""
    first, dots, last = text.partition("..")
    begin = int(first)
    end = int(last) if dots else begin
    if not 0 <= begin <= end < begin + SEEDS_MAX:
        raise ValueError(f"{text}: seeds are A..B with 0 <= A <= B, at most {SEEDS_MAX} of them")
    return range(begin, end + 1)


def bars_of(path: Path) -> tuple[RecordedBar, ...]:
    """Read a price history of the held coin. Raises PriceFileError and OSError."""
    return read_bars(path, tick_size=symbol_tick_size(DEFAULT_INSTRUMENTS, f"{HELD}USDT"))


def plan_of(seed: int, *, active_s: float | None, bars: tuple[RecordedBar, ...]) -> Plan:
    """Plan a seed's life. One in three is calm enough to time what happens."""
    plan = Plan(seed=seed, bars=bars)
    if seed % 3 == 0:
        plan = Plan(seed=seed, bars=bars, trouble_every_s=90.0)
    if active_s is None:
        return plan
    return Plan(seed=seed, bars=bars, trouble_every_s=plan.trouble_every_s, active_s=active_s)


def quieten() -> None:
    """Let no service write into the report: every trouble here would be a warning."""
    for name in ("trade_gateway", "trade_watchdog", "trade_simulator", "trade_core", "trade_journal", "asyncio"):
        logging.getLogger(name).propagate = name in {"trade_gateway", "trade_watchdog", "asyncio"}
    logging.lastResort = None


def main() -> int:
    """Run, and print; 1 when an invariant was violated, 2 for arguments that cannot be used."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seeds", default="1..20", help="A..B, both included")
    parser.add_argument("--active-s", type=float, default=None, help="seconds a run that are lived through in full")
    parser.add_argument("--market", type=Path, default=None, help="a CSV of the held coin's prices")
    parser.add_argument("--twice", action="store_true", help="run each seed twice and compare every event")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON line at the end")
    arguments = parser.parse_args()
    try:
        seeds = seeds_of(arguments.seeds)
        bars = () if arguments.market is None else bars_of(arguments.market)
    except (ValueError, OSError) as error:
        print(f"make simulate: {error}", file=sys.stderr)
        return 2
    quieten()
    total, began_s = Total(), time.monotonic()
    for number, seed in enumerate(seeds, 1):
        plan = plan_of(seed, active_s=arguments.active_s, bars=bars)
        report = tell(plan)
        if arguments.twice and (again := tell(plan)).digest != report.digest:
            report.violations.append(f"the seed brings another run the second time: {again.digest}")
        total.add(report)
        _show(report, number, len(seeds), time.monotonic() - began_s)
    print(*total.lines(), sep="\n")
    if arguments.json:
        print(json.dumps({name: getattr(total, name) for name in Total.__slots__}))
    return 1 if total.violating_seeds else 0


def _show(report: Report, number: int, count: int, elapsed_s: float) -> None:
    fired = " ".join(f"{name}:{report.figures.fired[name]}" for name in RUNGS if report.figures.fired[name]) or "none"
    print(
        f"[{number}/{count} {elapsed_s:.0f} s] seed {report.seed}: {report.days:.2f} days, {report.events} events, "
        f"rungs {fired}, {report.digest}",
        flush=True,
    )
    if report.violations:
        print(*(f"  VIOLATED: {words}" for words in report.violations[:5]), sep="\n")
        print(*(f"    {line}" for line in report.tail[-TAIL_SHOWN:]), sep="\n", flush=True)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of texts are walked in another order in each process else, and no seed would bring the same again.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "simulation.simulate", *sys.argv[1:]])
    sys.exit(main())
