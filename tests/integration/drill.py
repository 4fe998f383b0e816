"""Kills whole stacks, every process its own, and says how long each kill took: `make drill`.

A kill destroys what it kills, so each has a stack of its own: simulator, gateway, journal writer, watchdog, executor as
`trade-demo` starts them, three orders that the gateway placed, a touch, and the secrets in files. A hundred kills of an
account without an open position, forty that close one, then one with each part of the stack broken.

With `--results FILE` a drill may be done in parts, of `--minutes N` each: what is in the file counts, and is not
done again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from integration.killed_stack import FAULTS, kill_once

HELD, CLOSED = "nothing open", "position closed"
KILLS = {HELD: 100, CLOSED: 40}
LIMIT_S = {HELD: 10.0, CLOSED: 30.0}
FAULT_LIMIT_S = 60.0
REFUSED_WITHIN_S = 1.0
AT_ONCE = 3


def kill(scene: str) -> dict[str, Any]:
    """Kill a stack of its own; answers a line of the results."""
    with tempfile.TemporaryDirectory(prefix="trade-drill-") as folder:
        done = kill_once(Path(folder), is_open=scene == CLOSED, broken=FAULTS.get(scene))
    return {"scene": scene, **asdict(done)}


def is_good(one: Mapping[str, Any]) -> bool:
    """Tell whether a kill did everything that could be done, and in the time of its scene at the most."""
    broken = FAULTS.get(one["scene"])
    pending = [broken.pending] if broken and broken.pending else []
    is_clear = one["pending"] == pending and one["working"] == one["open_positions"] == 0
    is_dead = one["scene"] == "gateway dead"
    is_refused = "refuse" in pending or one["refused_s"] < REFUSED_WITHIN_S
    return is_clear and is_refused and (is_dead or one["state"] == "KILLED") and one["took_s"] < FAULT_LIMIT_S


def left_to_do(results: Sequence[Mapping[str, Any]], wanted: Mapping[str, int]) -> list[str]:
    """List the scenes that are still to be played, one entry a kill: in turn, so that a part of a drill has of each."""
    done = Counter(one["scene"] for one in results)
    turns = [(number / count, scene) for scene, count in wanted.items() for number in range(done[scene], count)]
    return [scene for _, scene in sorted(turns)]


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the value that so large a part of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def figures(results: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Sum up scene by scene."""
    for scene in dict.fromkeys(one["scene"] for one in results):
        kills = [one for one in results if one["scene"] == scene]
        took = [one["took_s"] for one in kills]
        refused = [one["refused_s"] for one in kills if one["refused_s"] is not None]
        p95_s = percentile(took, 0.95)
        good = sum(is_good(one) for one in kills)
        yield {
            "scene": scene,
            "kills": len(kills),
            "good": good,
            "refusing_max_s": max(refused, default=None),
            "p50_s": percentile(took, 0.5),
            "p95_s": p95_s,
            "max_s": max(took),
            "is_within": good == len(kills) and p95_s < LIMIT_S.get(scene, FAULT_LIMIT_S),
        }


def main() -> int:
    """Run the drill; 0 when every kill is good and 95 of 100 are within the limit of their scene."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS[HELD], help="how many with nothing open")
    parser.add_argument("--closing", type=int, default=KILLS[CLOSED], help="how many that close a position")
    parser.add_argument("--faults", type=int, default=1, help="how many with each part of the stack broken")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many stacks at the same time")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no kill after so many minutes")
    parser.add_argument("--results", type=Path, default=Path(os.devnull), help="go on with the drill in FILE")
    asked = parser.parse_args()
    ends_at_s = time.monotonic() + asked.minutes * 60

    def kill_in_time(scene: str) -> dict[str, Any] | None:
        return kill(scene) if time.monotonic() < ends_at_s else None

    wanted = {HELD: asked.kills, CLOSED: asked.closing, **dict.fromkeys(FAULTS, asked.faults)}
    with asked.results.open("a+") as file, ThreadPoolExecutor(asked.at_once) as pool:
        file.seek(0)
        results = [json.loads(line) for line in file]
        for one in filter(None, pool.map(kill_in_time, left_to_do(results, wanted))):
            line = json.dumps(one)
            results.append(json.loads(line))
            for out in (file, sys.stdout):
                out.write(line + "\n")
                out.flush()
    summed = list(figures(results))
    sys.stdout.write(json.dumps(summed, indent=1) + "\n")
    return 0 if all(one["is_within"] for one in summed) else 1


if __name__ == "__main__":
    sys.exit(main())
