"""`make bench`: an order through the gateway, side by side with others, in one interleaved run.

The gateway has everything on: leases flow, every order is durable and witnessed, the policy decides. Beside it nginx
that checks nothing, mitmproxy with a scripted addon, a gateway as it is written first, and the bare disk. Loader,
candidate and exchange share the machine's cores, so absolute figures say little; the ratios are what to compare.

Then, on the same gateway, what its relay adds, how fast its journal is verified and what a dead watchdog leaves; and on
another, whether halts are airtight while it is saturated.

Ends with 1 when a halt was not airtight or nothing could be measured; a ratio that falls short only says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import halts
from measures import lapsed_lease, relay_latency, table, verify_speed
from measures.side_by_side import Comparison, SideBySide
from measures.table import Measure
from rig.bench_policy import SYMBOLS, bench_policy
from rig.candidates import MITMPROXY, Candidates
from rig.children import LoadTestFailed
from rig.machine import machine, versions
from rig.signed_orders import read_ladders

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "loadtests" / "results.json"
# Beside the checkout and not in the system's temporary folder, which may be memory: a sync must reach a disk.
WORK_FOLDER = ROOT / "build" / "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured: rounds of seconds a load, seconds of frames, halts."""

    rounds: int
    seconds: int
    relay_s: float
    flips: int
    without: frozenset[str] = frozenset()


FULL = Extent(rounds=7, seconds=4, relay_s=60, flips=1000)
QUICK = Extent(rounds=1, seconds=1, relay_s=6, flips=3)


def measure(extent: Extent, folder: Path) -> tuple[Comparison, list[Measure]]:
    """Measure everything. Raises LoadTestFailed."""
    candidates = Candidates(folder, without=extent.without)
    with candidates as running:
        deployment = candidates.deployment
        ladders = read_ladders(deployment.exchange_url, SYMBOLS)
        _say(f"{extent.rounds} rounds of {extent.seconds} s a candidate and load")
        found = SideBySide(running, folder=folder, ladders=ladders).measure(
            rounds=extent.rounds, seconds=extent.seconds, advance=lambda number: _say(f"round {number} is done")
        )
        measures = table.compared(found)
        _say("the relay of public streams")
        added_us = relay_latency.added_us(
            exchange_ws=deployment.exchange_ws, gateway_ws=deployment.ws, seconds=extent.relay_s
        )
        measures.append(table.relayed(added_us))
        _say("the journal, verified")
        verified = verify_speed.verify(deployment.files.journal("gateway"), keys=deployment.files.public_keys)
        measures.append(table.verified(verified))
        _say("a dead watchdog's last lease")
        measures.append(table.lapsed(lapsed_lease.measure(deployment, ladders, folder=folder)))
    _say(f"{extent.flips} halts of a saturated gateway")
    measures += table.halted(halts.run(flips=extent.flips, folder=folder))
    return found, measures


def report(extent: Extent, found: Comparison, measures: list[Measure], folder: Path) -> dict[str, object]:
    """Return what is written as JSON."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "rounds": extent.rounds,
        "seconds_a_load": extent.seconds,
        "machine": machine(folder),
        "versions": versions(),
        "measures": [item.content() for item in measures],
        "candidates": table.candidate_content(found),
        "policy": bench_policy().splitlines(),
    }


def show(found: Comparison, measures: list[Measure]) -> None:
    """Print the policy, the candidates and the table."""
    print("\nThe bench policy\n" + "".join(f"    {line}\n" for line in bench_policy().splitlines()))
    for line in table.candidate_lines(found):
        print(line)
    print()
    for item in measures:
        print(item.line())


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> int:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a minute: shows that it runs, and no figures to quote")
    parser.add_argument("--rounds", type=int, help=f"turns of each candidate ({FULL.rounds})")
    parser.add_argument("--flips", type=int, help=f"halts under load ({FULL.flips})")
    parser.add_argument("--without-mitmproxy", action="store_true", help="where it is not installed")
    parser.add_argument("--output", type=Path, help="where the JSON goes (loadtests/results.json; quick: build/bench)")
    arguments = parser.parse_args()
    base = QUICK if arguments.quick else FULL
    extent = Extent(
        rounds=arguments.rounds or base.rounds,
        seconds=base.seconds,
        relay_s=base.relay_s,
        flips=arguments.flips or base.flips,
        without=frozenset({MITMPROXY} if arguments.without_mitmproxy else ()),
    )
    WORK_FOLDER.mkdir(parents=True, exist_ok=True)
    output = arguments.output or (WORK_FOLDER / "results.json" if arguments.quick else RESULTS)
    folder = Path(tempfile.mkdtemp(dir=WORK_FOLDER))
    try:
        found, measures = measure(extent, folder)
        content = report(extent, found, measures, folder)
    except LoadTestFailed as error:
        print(f"make bench: {error}; logs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    show(found, measures)
    output.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written to {output}")
    return 1 if any(item.name == table.AIRTIGHT and not item.holds for item in measures) else 0


if __name__ == "__main__":
    sys.exit(main())
