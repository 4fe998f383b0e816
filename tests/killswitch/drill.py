"""Kills the simulated account again and again, and says how long each took: `make drill`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from killswitch.kill_scene import killable, ordered
from killswitch.scene import simulator
from killswitch.test_with_simulator import protected_position

KILLS = 100
LIMIT_S = {"hold": 10.0, "flatten": 30.0}


@dataclass(frozen=True, kw_only=True)
class Done:
    """One kill: its verdict, how long it took, and until when the gateway refused."""

    verdict: str
    took_s: float
    refused_s: float


async def kills(
    folder: Path, credentials: dict[str, Any], *, count: int, endings: Mapping[str, str], says: bool = False
) -> list[Done]:
    """Kill `count` times an account with orders and, when it is to be closed, a position with its stop."""
    done = []
    for number in range(count):
        place = folder / f"kill-{number}"
        place.mkdir()
        async with killable(place, credentials) as killing:
            if endings:
                await protected_position(killing.scene)
            await asyncio.gather(*(killing.scene.order("spot", "XRPUSDT", "Buy") for _ in range(3)))
            # As the gateway does when it is halted: what adds risk is cancelled at once.
            cancelled = asyncio.create_task(
                killing.scene.post("/v5/order/cancel-all", {"category": "spot", "orderFilter": "Order"})
            )
            report = await killing.killed(ordered(f"{number:016x}", is_drill=True, **endings))
            await cancelled
        refused_s = next(step["ended_s"] for step in report["steps"] if step["step"] == "refuse")
        done.append(Done(verdict=report["verdict"], took_s=report["took_s"], refused_s=refused_s))
        if says:
            steps = " ".join(f"{step['step']} {step['ended_s']:.2f}" for step in report["steps"] if step["ended_s"])
            sys.stdout.write(f"{number + 1:4} {report['verdict']:<9} {report['took_s']:6.2f} s  {steps}\n")
            sys.stdout.flush()
    return done


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the value that so large a part of the values does not exceed."""
    ordered_values = sorted(values)
    return ordered_values[min(len(ordered_values) - 1, int(fraction * len(ordered_values)))]


async def _run(count: int) -> int:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="trade-drill-") as name:
        folder = Path(name)
        async with simulator(folder) as credentials:
            for ending, kind in (("hold", {}), ("flatten", {"linear": "flatten", "spot": "flatten"})):
                place = folder / ending
                place.mkdir()
                sys.stdout.write(f"{count} kills, open positions: {ending}\n")
                done = await kills(place, credentials, count=count, endings=kind, says=True)
                took = [one.took_s for one in done]
                figures[ending] = {
                    "kills": count,
                    "complete": sum(one.verdict == "complete" for one in done),
                    "refusing_max_s": max(one.refused_s for one in done),
                    "p50_s": percentile(took, 0.5),
                    "p95_s": percentile(took, 0.95),
                    "max_s": max(took),
                    "limit_s": LIMIT_S[ending],
                }
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    is_good = all(one["complete"] == count and one["p95_s"] < one["limit_s"] for one in figures.values())
    return 0 if is_good else 1


def main() -> int:
    """Run the drill; 0 when every kill is complete and 95 of 100 are within their limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="how many of each kind")
    return asyncio.run(_run(parser.parse_args().kills))


if __name__ == "__main__":
    sys.exit(main())
