"""The simulation in small: whole lives without a violation, the same again from the same seed, and proof that it can
fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulation.sabotage import SABOTAGES
from simulation.simulate import bars_of, seeds_of
from simulation.story import Plan, tell

from trade_simulator.market.price_file import PriceFileError

pytestmark = pytest.mark.slow
SHORT = Plan(seed=3, active_s=100.0, nights=1, night_s=3600.0)
CSV = "timestamp,open,high,low,close,volume\n"


@pytest.mark.parametrize("seed", [11, 12])
def test_simulation_with_every_trouble_violates_nothing(seed: int) -> None:
    report = tell(replace(SHORT, seed=seed, active_s=200.0))
    assert report.violations == []
    assert report.events > 1000
    assert report.figures.orders > 0


def test_simulation_of_one_seed_brings_the_same_events_again() -> None:
    first, again, other = tell(SHORT), tell(SHORT), tell(replace(SHORT, seed=4))
    assert (first.digest, first.events, first.steps) == (again.digest, again.events, again.steps)
    assert other.digest != first.digest


@pytest.mark.parametrize("name", SABOTAGES)
def test_simulation_of_a_broken_product_finds_what_is_broken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage = SABOTAGES[name]
    sabotage.breaks(monkeypatch)
    report = tell(sabotage.plan)
    assert any(words in found for found in report.violations for words in sabotage.found_by), report.violations


@pytest.mark.parametrize("time", ["2025-11-23T12:13:20Z", "1763900000000"])
def test_simulation_of_a_price_history_walks_the_rungs(tmp_path: Path, time: str) -> None:
    path = tmp_path / "fall.csv"
    later = "2025-11-23T12:14:20Z" if "T" in time else "1763900060000"
    path.write_text(f"{CSV}{time},64000,64000,64000,64000,1\n{later},64000,64000,54000,54000,1\n")
    plan = replace(SHORT, bars=bars_of(path), crash_every_s=1e9, trouble_every_s=1e9, nights=0, flow_every_s=1e9)
    report = tell(plan)
    assert report.violations == []
    assert report.figures.fired["daily"] == 1
    assert report.figures.fired["weekly"] == 1


def test_bars_of_a_bad_file_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"{CSV}1763900000000,1,2,3,4,5\n")
    with pytest.raises(PriceFileError, match="line 2"):
        bars_of(path)


@pytest.mark.parametrize(("text", "first", "last"), [("7", 7, 7), ("1..20", 1, 20)])
def test_seeds_of_a_range_are_both_ends_and_all_between(text: str, first: int, last: int) -> None:
    seeds = seeds_of(text)
    assert (seeds[0], seeds[-1]) == (first, last)


@pytest.mark.parametrize("text", ["", "a..b", "5..4", "-1..3", "1..2000000", "1.."])
def test_seeds_of_nonsense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"seeds|invalid literal"):
        seeds_of(text)


def test_simulation_of_thefts_and_a_watchdog_that_dies_halts_for_each() -> None:
    troubles = ("cut watchdog-gateway", "watchdog crash", "watchdog crash")
    plan = replace(SHORT, seed=1, active_s=240.0, nights=0, crash_every_s=1e9, flow_every_s=1e9, rogue_every_s=1e9)
    report = tell(replace(plan, theft_every_s=50.0, troubles=troubles, trouble_every_s=10.0))
    assert report.violations == []
    assert report.counts["theft"] > 0
