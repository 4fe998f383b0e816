"""Measures the candidates in turns, so that what the machine does meanwhile meets all of them.

A turn is one candidate under one load: one connection for the latency, many for what it carries. The orders of a
candidate that checks signatures are signed just before its turn and sent once; each must have reached the exchange, so
that what is counted is orders and not denials.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rig.bare_disk import BareDisk
from rig.candidates import Candidate
from rig.children import LoadTestFailed, processor_s
from rig.loader import Load, load
from rig.signed_orders import LONGEST_AHEAD_S, Ladder, OrderFile, write_orders

MANY = 64
_ROOM = 1.5  # more orders than the last turn sent: the file must not run out
_FIRST_GUESS_PER_S = 3_000
_MOST_IN_A_FILE = 200_000
_DISK_ROWS = 100
_TRIES = 5
_SETTLED_S = 0.7
_LONGEST_TURN_S = int(LONGEST_AHEAD_S) - 2  # signing takes its time too


@dataclass(slots=True)
class Found:
    """What the turns of one candidate measured."""

    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    orders_per_s: list[float] = field(default_factory=list)
    p50_at_many_us: list[float] = field(default_factory=list)
    processor_s_per_1000: list[float] = field(default_factory=list)
    orders: int = 0


@dataclass(slots=True)
class Comparison:
    """What was measured of all of them."""

    found: dict[str, Found]
    fdatasync_us: list[float]

    def p50_us(self, name: str) -> float:
        """Return the median over the turns of a candidate's median latency with one connection."""
        return statistics.median(self.found[name].p50_us)

    def orders_per_s(self, name: str) -> float:
        """Return the median over the turns of what a candidate carried with many connections."""
        return statistics.median(self.found[name].orders_per_s)


class SideBySide:
    """The turns. `ladders` is where orders of the moment begin."""

    def __init__(self, candidates: Sequence[Candidate], *, folder: Path, ladders: Sequence[Ladder]) -> None:
        self._candidates = candidates
        self._folder = folder
        self._ladders = ladders
        self._pace: dict[tuple[str, int], float] = defaultdict(lambda: _FIRST_GUESS_PER_S)
        self._kept: dict[str, OrderFile] = {}

    def measure(self, *, rounds: int, seconds: int, advance: Callable[[int], None]) -> Comparison:
        """Give every candidate so many turns of so many seconds a load. Raises LoadTestFailed."""
        if seconds > _LONGEST_TURN_S:
            raise LoadTestFailed(f"a turn of {seconds} s outlives its signatures")
        found = {candidate.name: Found() for candidate in self._candidates}
        disk, fdatasync_us = BareDisk(self._folder), list[float]()
        for candidate in self._candidates:
            self._turn(candidate, connections=1, seconds=1)  # warms everything
        for number in range(1, rounds + 1):
            for candidate in self._candidates:
                fdatasync_us += disk.rows_us(_DISK_ROWS)
                self._take(found[candidate.name], candidate, seconds=seconds)
            advance(number)
        disk.close()
        return Comparison(found=found, fdatasync_us=fdatasync_us)

    def _take(self, found: Found, candidate: Candidate, *, seconds: int) -> None:
        alone = self._turn(candidate, connections=1, seconds=seconds)
        before_s = processor_s(candidate.pids)
        many = self._turn(candidate, connections=MANY, seconds=seconds)
        found.processor_s_per_1000.append((processor_s(candidate.pids) - before_s) / many.orders * 1000)
        found.p50_us.append(alone.p50_us)
        found.p99_us.append(alone.p99_us)
        found.orders_per_s.append(many.orders_per_s)
        found.p50_at_many_us.append(many.p50_us)
        found.orders += alone.orders + many.orders

    def _turn(self, candidate: Candidate, *, connections: int, seconds: int) -> Load:
        name = (candidate.name, connections)
        for _ in range(_TRIES):
            before = _settled(candidate)  # the last turn's stragglers are not of this one
            orders = self._orders(candidate, count=int(self._pace[name] * seconds * _ROOM) + 1_000)
            done = load(candidate.url, orders, connections=connections, seconds=seconds)
            self._pace[name] = max(done.orders_per_s, _FIRST_GUESS_PER_S / 10)
            if not done.orders and seconds < _LONGEST_TURN_S:
                seconds = _LONGEST_TURN_S  # the machine is busy with something else
                continue
            if candidate.is_signature_checked and done.is_used_up:
                continue  # some were sent twice, and denied
            arrived = _settled(candidate) - before
            if not 0 < done.orders <= arrived <= done.orders + connections + 1:
                raise LoadTestFailed(f"{candidate.name}: {done.orders} answered and {arrived} arrived at the exchange")
            return done
        raise LoadTestFailed(f"{candidate.name} sent more orders than could be signed ahead, or none, {_TRIES} times")

    def _orders(self, candidate: Candidate, *, count: int) -> OrderFile:
        path = self._folder / f"{candidate.name.replace(' ', '-')}.orders"
        host = candidate.url.removeprefix("http://")
        if candidate.is_signature_checked:
            count = min(count, _MOST_IN_A_FILE)
            return write_orders(path, count=count, key=candidate.key, ladders=self._ladders, host=host)
        if candidate.name not in self._kept:  # nobody looks at these, so that one file does
            self._kept[candidate.name] = write_orders(
                path, count=_FIRST_GUESS_PER_S, key=candidate.key, ladders=self._ladders, host=host
            )
        return self._kept[candidate.name]


def _settled(candidate: Candidate) -> int:
    """Count what arrived once nothing more does: the loader leaves while its last orders are on their way."""
    last, changed_at_s = candidate.arrived(), time.monotonic()
    while time.monotonic() - changed_at_s < _SETTLED_S:
        time.sleep(0.1)
        now = candidate.arrived()
        if now != last:
            last, changed_at_s = now, time.monotonic()
    return last
