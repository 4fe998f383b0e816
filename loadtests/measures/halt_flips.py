"""Halts a saturated gateway, again and again, and looks for orders that were sent after it acknowledged.

The judge is the exchange's own log: an order may arrive after the acknowledgement only if the acknowledgement named it
as in flight. Every process reads the same monotonic clock. Between two flips a touch releases the halt.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rig.children import LoadTestFailed
from rig.deployment import Deployment
from rig.loader import load
from rig.security_keys import LoadKey
from rig.signed_orders import Ladder, write_orders

NS_PER_S = 1_000_000_000
CONNECTIONS = 64
LOAD_S = 6
_HIGHEST_PACE_PER_S = 20_000
_LEAST_LEFT_S = 1.0  # of the load, when a halt begins
_QUIET_S = 0.15  # what was sent after the acknowledgement would arrive within it
_WARM_S = 0.5  # after which every connection has its order under way
_LOOK_S = 0.05
_WITHIN_S = 30.0


@dataclass(slots=True)
class Flips:
    """What the flips found. `late` names the orders that were sent after an acknowledgement that did not name them."""

    effective_ms: list[float] = field(default_factory=list)
    acknowledged_ms: list[float] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    in_flight: int = 0
    orders: int = 0

    @property
    def count(self) -> int:
        """How many halts there were."""
        return len(self.effective_ms)

    @property
    def effective_p50_ms(self) -> float:
        """The median time until the last order arrived."""
        return statistics.median(self.effective_ms)


class Saturation:
    """Keeps the gateway's listener full from another thread, in rounds as long as signatures last."""

    def __init__(self, deployment: Deployment, ladders: list[Ladder], *, folder: Path) -> None:
        self._deployment = deployment
        self._ladders = ladders
        self._file = folder / "flips.orders"
        self._pace = float(_HIGHEST_PACE_PER_S)
        self._ends_at_s = 0.0
        self._done = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Saturation:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._done.set()
        self._thread.join(timeout=LOAD_S + 60)
        if self._error is not None and error is None:
            raise self._error

    def wait(self) -> None:
        """Return while load is on, has been and will be for long enough. Raises what ended it."""
        while not _LEAST_LEFT_S <= self._ends_at_s - time.monotonic() <= LOAD_S - _WARM_S:
            if self._error is not None:
                raise self._error
            time.sleep(0.02)

    def _run(self) -> None:
        host = self._deployment.url.removeprefix("http://")
        try:
            while not self._done.is_set():
                count = int(self._pace * LOAD_S * 1.5) + 1_000
                orders = write_orders(
                    self._file, count=count, key=self._deployment.key, ladders=self._ladders, host=host
                )
                self._ends_at_s = time.monotonic() + LOAD_S
                done = load(self._deployment.url, orders, connections=CONNECTIONS, seconds=LOAD_S)
                self._pace = min(max(done.orders_per_s, 1_000.0), _HIGHEST_PACE_PER_S)
        except Exception as error:  # noqa: BLE001 - raised again by who waits
            self._error = error


def late_orders(arrivals: Sequence[tuple[int, str]], *, acknowledged_ns: int, named: Set[str]) -> list[str]:
    """Return the orders that arrived after the acknowledgement and are not named by it."""
    return [link_id for at_ns, link_id in arrivals if at_ns > acknowledged_ns and link_id not in named]


def flip_often(
    deployment: Deployment, ladders: list[Ladder], *, count: int, folder: Path, advance: Callable[[Flips], None]
) -> Flips:
    """Halt and release so many times under load. Raises LoadTestFailed when a state does not come about."""
    found = Flips()
    key = LoadKey(deployment)
    with Saturation(deployment, ladders, folder=folder) as load_on:
        for number in range(1, count + 1):
            _wait_for_orders(deployment, load_on)
            _halt(deployment, found, reason=f"flip {number} of the load test")
            key.release()
            _wait_for_state(deployment, "ACTIVE")
            advance(found)
    return found


def _halt(deployment: Deployment, found: Flips, *, reason: str) -> None:
    sent_ns = time.monotonic_ns()
    answer = deployment.admin.post("/halt", json={"reason": reason}).raise_for_status().json()
    acknowledged_ns = time.monotonic_ns()
    if answer["trading_state"] != "HALTED":
        raise LoadTestFailed(f"the gateway answered a halt with {answer['trading_state']}")
    time.sleep(_QUIET_S)
    named = set(answer["in_flight"])
    arrivals = [(at_ns, link_id) for at_ns, link_id in deployment.take_arrivals() if at_ns > sent_ns]
    found.late += late_orders(arrivals, acknowledged_ns=acknowledged_ns, named=named)
    found.orders += len(arrivals)
    found.in_flight += len(named)
    found.acknowledged_ms.append((acknowledged_ns - sent_ns) / 1e6)
    found.effective_ms.append((max((at_ns for at_ns, _ in arrivals), default=sent_ns) - sent_ns) / 1e6)


def _wait_for_orders(deployment: Deployment, load_on: Saturation) -> None:
    """Wait until orders arrive as fast as the gateway can: each connection sends the next once it is answered."""
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        load_on.wait()
        deployment.take_arrivals()
        time.sleep(_LOOK_S)
        if deployment.take_arrivals():
            return
    raise LoadTestFailed(f"no orders arrive; the gateway is {deployment.state()['holders']}")


def _wait_for_state(deployment: Deployment, name: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while (state := deployment.state())["trading_state"] != name:
        if time.monotonic() > deadline:
            raise LoadTestFailed(f"the gateway did not become {name}: {state['holders']}")
        time.sleep(0.02)
