"""How long after the lease's end the gateway still sends orders, once the watchdog is dead.

The watchdog is killed. Around the end of its last lease, as the gateway tells it, an order follows the other without a
pause. What counts is when the last of them arrived at the exchange.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from rig.children import LoadTestFailed
from rig.deployment import Deployment
from rig.signed_orders import Ladder, write_orders

NS_PER_S = 1_000_000_000
_BEFORE_S, _AFTER_S = 0.3, 1.0
_ASKS = 20
_ORDERS = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapse:
    """`late_ms` is when the last order arrived, after the lease's end; below zero when it came before it."""

    late_ms: float
    orders: int
    uncertainty_ms: float


def measure(deployment: Deployment, ladders: list[Ladder], *, folder: Path) -> Lapse:
    """Kill the watchdog and send orders until the gateway refuses. Raises LoadTestFailed when it never does."""
    deployment.watchdog.kill()
    ends_ns, uncertainty_ns = _lease_end(deployment)
    time.sleep(max(0.0, (ends_ns - time.monotonic_ns()) / NS_PER_S - _BEFORE_S - 1))
    host = deployment.url.removeprefix("http://")
    orders = write_orders(folder / "lapse.orders", count=_ORDERS, key=deployment.key, ladders=ladders, host=host)
    ends_ns, uncertainty_ns = _lease_end(deployment)
    deployment.take_arrivals()
    time.sleep(max(0.0, (ends_ns - time.monotonic_ns()) / NS_PER_S - _BEFORE_S))
    content = orders.path.read_bytes()
    requests = (content[start : start + orders.length] for start in range(0, len(content), orders.length))
    if not _send_until(host, requests, until_ns=ends_ns + int(_AFTER_S * NS_PER_S)):
        raise LoadTestFailed(f"the lease ended {_AFTER_S} s ago and orders are still taken")
    arrivals = [at_ns for at_ns, _ in deployment.take_arrivals()]
    if not arrivals:
        raise LoadTestFailed("no order was taken before the lease's end")
    late_ms = (max(arrivals) - ends_ns) / 1e6
    return Lapse(late_ms=late_ms, orders=len(arrivals), uncertainty_ms=uncertainty_ns / 1e6)


def _lease_end(deployment: Deployment) -> tuple[int, int]:
    """Return when the lease ends, in monotonic ns, and how far that may be off: half of the quickest question."""
    quickest: tuple[int, int] | None = None
    for _ in range(_ASKS):
        before_ns = time.monotonic_ns()
        left_s = deployment.state()["lease"]["expires_in_s"]
        took_ns = time.monotonic_ns() - before_ns
        if left_s and (quickest is None or took_ns < quickest[0]):
            quickest = took_ns, before_ns + took_ns // 2 + int(left_s * NS_PER_S)
    if quickest is None:
        raise LoadTestFailed("the gateway holds no lease")
    return quickest[1], quickest[0] // 2


def _send_until(host: str, requests: Iterator[bytes], *, until_ns: int) -> bool:
    """Send one order after the other. True once one is refused since there is no lease."""
    connection = HTTPConnection(host, timeout=10)
    try:
        connection.connect()
        for request in requests:
            connection.sock.sendall(request)
            answer = _read_answer(connection)
            if answer["retCode"] != 0:
                if "STATE_REDUCE_ONLY" not in str(answer["retMsg"]):
                    raise LoadTestFailed(f"an order was refused for another reason: {answer['retMsg']}")
                return True
            if time.monotonic_ns() > until_ns:
                return False
        raise LoadTestFailed("the orders did not reach to the lease's end")
    finally:
        connection.close()


def _read_answer(connection: HTTPConnection) -> dict[str, str | int]:
    answer = connection.response_class(connection.sock, method="POST")
    answer.begin()
    content: dict[str, str | int] = json.loads(answer.read())
    return content
