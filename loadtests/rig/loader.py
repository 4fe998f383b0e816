"""Runs wrk over a file of signed orders and returns what it measured."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rig.children import LoadTestFailed
from rig.signed_orders import OrderFile

FEED = Path(__file__).with_name("feed.lua")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One run of the loader. `is_used_up` when orders were sent twice, since the file was too short."""

    orders: int
    orders_per_s: float
    p50_us: float
    p99_us: float
    is_used_up: bool


def load(url: str, orders: OrderFile, *, connections: int, seconds: int) -> Load:
    """Send the orders over so many connections. Raises LoadTestFailed when any was answered with another code than 200.

    On a very busy machine none may be answered in the time that is given.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(FEED), url]
    command += ["--", str(orders.path), str(orders.length), str(orders.count)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    found = json.loads(output.partition("RESULT ")[2])
    if found["http_errors"] or found["socket_errors"]:
        raise LoadTestFailed(f"{url}: {found}")
    return Load(
        orders=found["requests"],
        orders_per_s=found["requests"] / (found["duration_us"] / 1e6),
        p50_us=found["p50_us"],
        p99_us=found["p99_us"],
        is_used_up=found["given"] > orders.count,
    )
