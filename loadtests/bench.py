"""`make bench`: what the gateway adds to a request, side by side with the exchange alone, in one interleaved run.

Absolute figures move with the machine; the ratios are what to compare. The exchange is the simulator on loopback, so
the gateway's share is shown at its worst: no network hides it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from integration.bot import Bot, resting_order  # noqa: E402 - the tests' own harness
from integration.stack import Stack  # noqa: E402

ORDERS_PER_S = 8  # below the gateway's own budget for new orders
RESULTS = ROOT / "loadtests" / "results.json"


def timed_us(call: Callable[[], object]) -> float:
    """Run a call and return how long it took, in microseconds."""
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1000


def fdatasync_us(folder: Path) -> Callable[[], float]:
    """Measure one append of a row's size and its fdatasync on the disk of the journal."""
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def once() -> float:
        os.write(descriptor, b"x" * 500)
        return timed_us(lambda: os.fdatasync(descriptor))

    return once


def place_and_cancel(bot: Bot, order: dict[str, str]) -> tuple[float, float]:
    """Measure one order and its cancel. Raises RuntimeError when either was not accepted."""
    answers: list[dict[str, object]] = []
    placed_us = timed_us(lambda: answers.append(bot.post("/v5/order/create", order)))
    result = answers[0]["result"]
    if answers[0]["retCode"] != 0 or not isinstance(result, dict):
        raise RuntimeError(f"an order was not accepted: {answers[0]['retMsg']}")
    cancel = {"category": order["category"], "symbol": order["symbol"], "orderId": result["orderId"]}
    cancelled_us = timed_us(lambda: answers.append(bot.post("/v5/order/cancel", cancel)))
    if answers[1]["retCode"] != 0:
        raise RuntimeError(f"a cancel was not accepted: {answers[1]['retMsg']}")
    return placed_us, cancelled_us


def measure(stack: Stack, rounds: int) -> dict[str, list[float]]:
    """Interleave every measure, round by round."""
    through = Bot(stack.gateway)
    client = stack.simulator["client"]
    direct = Bot({"url": stack.simulator["url"], "key": client["key"], "secret": client["secret"]})
    sync_once = fdatasync_us(stack.folder)
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for _ in range(rounds):
        began = time.monotonic()
        order = resting_order(stack)
        for name, bot in (("exchange alone", direct), ("through the gateway", through)):
            found[f"read, {name}"].append(timed_us(lambda bot=bot: bot.get("/v5/market/time")))
            placed_us, cancelled_us = place_and_cancel(bot, order)
            found[f"order, {name}"].append(placed_us)
            found[f"cancel, {name}"].append(cancelled_us)
        found["bare fdatasync"].append(sync_once())
        time.sleep(max(0.0, 1 / ORDERS_PER_S - (time.monotonic() - began)))
    through.close()
    direct.close()
    return found


MEASURES = (
    "read, exchange alone",
    "read, through the gateway",
    "order, exchange alone",
    "order, through the gateway",
    "cancel, exchange alone",
    "cancel, through the gateway",
    "bare fdatasync",
)


def main() -> int:
    """Run the benchmark, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="how often each measure is taken (200)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.wait_for_state("ACTIVE")
            found = measure(stack, rounds)
        finally:
            stack.stop()
    medians = {name: statistics.median(values) for name, values in found.items()}
    ratios = {
        kind: medians[f"{kind}, through the gateway"] / medians[f"{kind}, exchange alone"]
        for kind in ("read", "order", "cancel")
    }
    added_us = medians["order, through the gateway"] - medians["order, exchange alone"]
    ratios["time added to an order / bare fdatasync"] = added_us / medians["bare fdatasync"]
    for name in MEASURES:
        p99 = statistics.quantiles(found[name], n=100)[98]
        print(f"{name:32} p50 {medians[name]:8.0f} us   p99 {p99:8.0f} us")
    for name, ratio in ratios.items():
        print(f"{name:42} {ratio:6.2f} x")
    machine = {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
    report = {"at": time.strftime("%Y-%m-%d", time.gmtime()), "rounds": rounds, "machine": machine}
    RESULTS.write_text(json.dumps({**report, "p50_us": medians, "ratios": ratios}, indent=1) + "\n")
    print(f"written to {RESULTS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
