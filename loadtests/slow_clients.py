"""The second part of `make bench`: what bad clients cost an honest one and the gateway's memory, in one run.

The promise: beside slow readers, slow senders and idle connections, on the bot's listener and on the admin one, an
honest client's p99 stays within three times its own quiet p99 of the same run, nothing that it asks fails, and the
gateway grows by at most 20 MB. A flood of denied requests is measured beside them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from integration.bot import Bot, resting_order  # noqa: E402 - the tests' own harness
from integration.stack import Stack  # noqa: E402

BAD_CLIENTS = Path(__file__).with_name("bad_clients.py")
RESULTS = ROOT / "loadtests" / "slow_clients.json"
TURNS_PER_S = 8  # below the gateway's own budget for new orders
MAX_RATIO = 3.0
MAX_GROWTH_MB = 20.0
UP_WITHIN_S = 30
QUIET = "quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What goes on beside the honest client: the kind and number of bad clients, and whose door they knock at."""

    name: str
    kind: str | None = None
    count: int | None = None
    listener: str = "url"
    is_promised: bool = True  # beyond the promise only that nobody is locked out is judged, and the growth

    def arguments(self, stack: Stack) -> list[str]:
        """Return the command line of the bad clients."""
        port = urlsplit(stack.gateway[self.listener]).port
        command = [sys.executable, str(BAD_CLIENTS), str(self.kind), str(port)]
        return command if self.count is None else [*command, "--count", str(self.count)]


CONDITIONS = (
    Condition(name=QUIET),
    Condition(name="100 that never read", kind="slow-readers"),
    Condition(name="200 slow heads", kind="slow-heads"),
    Condition(name="200 slow bodies", kind="slow-bodies"),
    Condition(name="1,000 idle", kind="idle"),
    # More than are admitted: they are thrown out and come back, thousands a second.
    Condition(name="2,000 idle", kind="idle", count=2000, is_promised=False),
    Condition(name="1,000 idle, admin", kind="idle", listener="admin"),
    Condition(name="4 that are denied", kind="denied"),
)


@dataclass(slots=True)
class Measured:
    """What one condition did."""

    times_us: dict[str, list[float]] = field(default_factory=lambda: {"read": [], "order": [], "new connection": []})
    failures: list[str] = field(default_factory=list)
    growth_mb: float = 0.0


class HonestClient:
    """A bot that measures: http.client, since a richer client would hide part of a delay behind its own time."""

    def __init__(self, stack: Stack) -> None:
        self._signer = Bot(stack.gateway)
        self._host = urlsplit(stack.gateway["url"]).netloc
        self._connection = http.client.HTTPConnection(self._host, timeout=12)

    def ask(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[dict[str, object], float]:
        """Send one signed request and return the answer and the microseconds that it took."""
        text = "" if body is None else json.dumps(body)
        headers = self._signer.headers(text)
        began_ns = time.perf_counter_ns()
        self._connection.request(method, path, body=text or None, headers=headers)
        answer: dict[str, object] = json.loads(self._connection.getresponse().read())
        return answer, (time.perf_counter_ns() - began_ns) / 1000

    def reconnect(self) -> None:
        """Leave; the next request opens a connection."""
        self._connection.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
        self._signer.close()


def rss_mb(pid: int) -> float:
    """Return a process's resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def bad_clients(condition: Condition, stack: Stack) -> Iterator[None]:
    """Have the condition's bad clients there, in a process of their own."""
    if condition.kind is None:
        yield
        return
    with subprocess.Popen(
        condition.arguments(stack), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "up\n":
                raise RuntimeError(f"the bad clients did not start: {condition.name}")
            yield
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=UP_WITHIN_S)
            finally:
                process.kill()


def turn(honest: HonestClient, order: dict[str, str], found: Measured) -> None:
    """Read on a new connection and again on the same, order and cancel; what is not answered well is a failure."""
    try:
        honest.reconnect()
        for kind in ("new connection", "read"):
            answer, read_us = honest.ask("GET", "/v5/account/info")
            found.times_us[kind].append(read_us)
        placed, order_us = honest.ask("POST", "/v5/order/create", order)
        found.times_us["order"].append(order_us)
        result = placed["result"]
        assert isinstance(result, dict)
        cancel = {"category": order["category"], "symbol": order["symbol"], "orderId": str(result.get("orderId"))}
        cancelled, _ = honest.ask("POST", "/v5/order/cancel", cancel)
        for name, item in (("read", answer), ("order", placed), ("cancel", cancelled)):
            if item["retCode"] != 0:
                found.failures.append(f"{name}: {item['retMsg']}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        found.failures.append(f"{type(error).__name__}: {error}")
        honest.reconnect()


def measure_round(stack: Stack, condition: Condition, found: Measured, turns: int) -> None:
    """Measure the honest client for some turns beside the condition's bad clients."""
    order = resting_order(stack)
    quantity = round(float(order["qty"]))
    pid = stack.description["processes"]["gateway"]["pid"]
    before_mb = rss_mb(pid)
    honest = HonestClient(stack)
    honest.ask("GET", "/v5/account/info")  # the honest client was there first
    try:
        with bad_clients(condition, stack):
            for number in range(turns):
                began = time.monotonic()
                order["qty"] = str(quantity + number % 20)  # none is a duplicate of one whose cancel failed
                turn(honest, order, found)
                found.growth_mb = max(found.growth_mb, rss_mb(pid) - before_mb)
                time.sleep(max(0.0, 1 / TURNS_PER_S - (time.monotonic() - began)))
    finally:
        honest.close()


def p50(values: list[float]) -> float:
    """Return the median; infinite when there is none."""
    return statistics.median(values) if values else float("inf")


def p99(values: list[float]) -> float:
    """Return the 99th percentile; infinite when there is nothing to count, since nothing came back."""
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else float("inf")


def verdict(found: Measured, quiet: Measured, *, is_promised: bool) -> list[str]:
    """Say what a condition broke of the promise; nothing when it holds."""
    broken = [
        f"{kind} p99 {p99(times) / p99(quiet.times_us[kind]):.1f} x quiet"
        for kind, times in found.times_us.items()
        if is_promised and not p99(times) <= MAX_RATIO * p99(quiet.times_us[kind]) < math.inf
    ]
    if found.failures:
        broken.append(f"{len(found.failures)} failed, the first: {found.failures[0]}")
    if found.growth_mb > MAX_GROWTH_MB:
        broken.append(f"grew by {found.growth_mb:.1f} MB")
    return broken


def show(measured: dict[str, Measured]) -> bool:
    """Print the table; True when the promise holds."""
    quiet = measured[QUIET]
    beyond = {condition.name for condition in CONDITIONS if not condition.is_promised}
    holds = True
    print(f"{'beside the honest client':22}{'':16}{'p50 us':>9}{'p99 us':>9}{'p99 / quiet':>13}   growth MB")
    for name, found in measured.items():
        for kind, times in found.times_us.items():
            ratio = p99(times) / p99(quiet.times_us[kind])
            growth = f"{found.growth_mb:8.1f}" if kind == "read" else ""
            print(f"{name:22}{kind:16}{p50(times):9.0f}{p99(times):9.0f}{ratio:11.2f} x   {growth}")
        for broken in verdict(found, quiet, is_promised=name not in beyond):
            holds = False
            print(f"{name}: {broken}")
    bound = f"p99 within {MAX_RATIO:.0f} x quiet, nothing failed, growth at most {MAX_GROWTH_MB:.0f} MB"
    print(f"{'holds' if holds else 'FALLS SHORT'}: {bound}")
    return holds


def figures(times: list[float], quiet: list[float]) -> dict[str, object]:
    """Return what is written of one kind of request; null where nothing came back."""
    values = {"p50_us": p50(times), "p99_us": p99(times), "p99_ratio": p99(times) / p99(quiet)}
    rounded = {name: round(value, 2) if math.isfinite(value) else None for name, value in values.items()}
    return {"count": len(times), **rounded}


def report(measured: dict[str, Measured], *, rounds: int, turns: int, holds: bool) -> dict[str, object]:
    """Return what is written as JSON."""
    quiet = measured[QUIET]
    rows = {
        name: {kind: figures(times, quiet.times_us[kind]) for kind, times in found.times_us.items()}
        | {"failures": len(found.failures), "growth_mb": round(found.growth_mb, 1)}
        for name, found in measured.items()
    }
    machine = {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
    run = {"at": time.strftime("%Y-%m-%d", time.gmtime()), "rounds": rounds, "turns": turns, "machine": machine}
    return {**run, "holds": holds, "conditions": rows}


def main() -> int:
    """Run the rounds, print the table, write it as JSON, and end with 1 when the promise is broken."""
    parser = argparse.ArgumentParser(prog="slow_clients.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="how often each condition is measured (8)")
    parser.add_argument("--turns", type=int, default=40, help="turns of the honest client in each (40)")
    arguments = parser.parse_args()
    measured = {condition.name: Measured() for condition in CONDITIONS}
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.wait_for_state("ACTIVE")
            measure_round(stack, CONDITIONS[0], Measured(), arguments.turns)  # warms everything
            for _ in range(arguments.rounds):
                for condition in CONDITIONS:
                    measure_round(stack, condition, measured[condition.name], arguments.turns)
        finally:
            stack.stop()
    holds = show(measured)
    content = report(measured, rounds=arguments.rounds, turns=arguments.turns, holds=holds)
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written to {RESULTS.relative_to(ROOT)}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
