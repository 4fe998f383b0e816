"""Grows one journal from 10,000 rows to millions and sees that nothing grows faster than it should.

At each size, ten times the one before: how fast rows are appended in a burst, how large the file is, how long the
writer takes to open it, the gateway to replay it and `trade-journal verify` to verify it, and how much memory each
needs.
- Opening costs the same at every size, in time and in memory.
- Replay and verify cost the same for each row, and their memory does not follow the rows.
- A row is appended as fast at the end as at the beginning, and takes as much of the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from growth.measures import MEASURES, Figures

FIRST_ROWS = 10_000
STEP = 10
ORDER_ROW_BYTES_MAX = 1024
# What a busy machine may add to one measure without anybody being told that it grows.
SLACK = 2.0
OPENING_SLACK_S = 0.25
MEMORY_SLACK_MIB = 96  # the gateway remembers 20,000 ended orders, which the first sizes do not have yet
HOURS_MAX = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """Everything that was measured at one size."""

    rows: int
    figures: dict[str, Figures]

    def a_row_us(self, measure: str) -> float:
        """Processor time for each row, in microseconds."""
        found = self.figures[measure]
        return found["cpu_s"] / found.get("rows", self.rows) * 1e6


def sizes_to(rows: int) -> list[int]:
    """List the sizes up to a number of rows, which is the last one."""
    sizes = [FIRST_ROWS]
    while sizes[-1] * STEP < rows:
        sizes.append(sizes[-1] * STEP)
    return sizes if rows <= sizes[-1] else [*sizes, rows]


def grown(folder: Path, sizes: Sequence[int]) -> Iterator[Sized]:
    """Let one journal grow and measure it at each size."""
    for rows in sizes:
        yield Sized(rows=rows, figures={name: _measured(name, folder / "journal.db", rows) for name in MEASURES})


def _measured(measure: str, journal: Path, rows: int) -> Figures:
    command = [sys.executable, "-m", "growth.measures", measure, str(journal), str(rows)]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=HOURS_MAX * 3600,
    )
    found: Figures = json.loads(done.stdout)
    return found


def complaints(first: Sized, last: Sized, *, slack: float = SLACK) -> list[str]:
    """Say what grew faster than it should between two sizes."""
    found: list[str] = []

    def hold(what: str, value: float, limit: float) -> None:
        if value > limit:
            found.append(f"{what}: {value:.2f} at {last.rows:,} rows, at most {limit:.2f} after {first.rows:,}")

    hold("opening, s of the processor", last.figures["opening"]["cpu_s"], _opening_limit_s(first, slack))
    for measure in ("append", "replay", "verify"):
        hold(f"{measure}, us of the processor a row", last.a_row_us(measure), first.a_row_us(measure) * slack)
    for measure in ("opening", "replay", "verify"):
        limit = first.figures[measure]["peak_mib"] + MEMORY_SLACK_MIB
        hold(f"{measure}, MiB", last.figures[measure]["peak_mib"], limit)
    hold("bytes of an order's row", last.figures["size"]["bytes_an_order_row"], ORDER_ROW_BYTES_MAX)
    return found


def _opening_limit_s(first: Sized, slack: float) -> float:
    return first.figures["opening"]["cpu_s"] * slack + OPENING_SLACK_S


HEADER = (
    f"{'rows':>11} {'append/s':>9} {'B a row':>8} {'B order':>8} {'open s':>7} {'MiB':>5}"
    f" {'replay s':>9} {'us a row':>8} {'MiB':>5} {'verify s':>9} {'us a row':>8} {'rows/s':>8} {'MiB':>6}"
)


def line_of(sized: Sized) -> str:
    """Render what was measured at one size; us a row are of the processor, everything else is of the clock."""
    append, size, opening, replay, verify = (sized.figures[name] for name in MEASURES)
    return (
        f"{sized.rows:>11,} {append['rows'] / append['wall_s']:>9,.0f}"
        f" {size['bytes_a_row']:>8.0f} {size['bytes_an_order_row']:>8.0f}"
        f" {opening['wall_s']:>7.2f} {opening['peak_mib']:>5.0f}"
        f" {replay['wall_s']:>9.1f} {sized.a_row_us('replay'):>8.1f} {replay['peak_mib']:>5.0f}"
        f" {verify['wall_s']:>9.1f} {sized.a_row_us('verify'):>8.1f}"
        f" {sized.rows / verify['wall_s']:>8,.0f} {verify['peak_mib']:>6.0f}"
    )


def main() -> int:
    """Grow a journal and measure what it costs at each size."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="how far to grow (1,000,000)")
    parser.add_argument("--folder", type=Path, help="where the journal grows; 1.1 GB for each million rows")
    options = parser.parse_args()
    began_s = time.monotonic()
    print(HEADER, flush=True)
    first: Sized | None = None
    found: list[str] = []
    with tempfile.TemporaryDirectory(prefix="trade-growth-", dir=options.folder) as folder:
        for sized in grown(Path(folder), sizes_to(options.rows)):
            print(line_of(sized), flush=True)
            first = first or sized
            found += complaints(first, sized)
    for complaint in found:
        print(f"GROWS: {complaint}")
    print(f"{'grows' if found else 'holds'}, after {time.monotonic() - began_s:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
