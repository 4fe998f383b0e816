"""Faults that tests switch on: what a network or a troubled exchange does to requests and frames.

A fault names an exact path, or one of ws:private, ws:public, ws:trade. It acts `count` times, or until deleted
when no count is given. All faults of a path act together, in the order in which they were made.
On HTTP paths: delay (the request reaches the exchange `ms` later), drop (never processed, never answered),
lose_response (processed, never answered), error (not processed, answered with `ret_code`), status (not
processed, answered with HTTP `status`; the words of both are `message`), close (not processed, the connection is
closed), duplicate (processed twice, answered once), partial (of /v5/order/cancel-all: every order is acknowledged, and
every second one, from the first on, works on). `ms` bounds how long drop and lose_response hold the connection
before closing it.
On streams: delay, drop, duplicate, gap and reorder act on frames sent (gap and reorder only on data of topics),
lose_response on answers to operations, error on the next operation, status on the next upgrade, close on
connections: those open at once, then new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

MAX_FAULTS = 100
MAX_DELAY_MS = 600_000
MAX_MESSAGE_CHARACTERS = 1000
DEFAULT_MESSAGE = "simulated fault"
# Longer than any client of ours waits, short enough that a forgotten fault frees its connections.
HOLD_MS = 60_000
STREAMS = frozenset({"ws:private", "ws:public", "ws:trade"})


class FaultMode(StrEnum):
    """The closed list of what can go wrong."""

    DELAY = "delay"
    DROP = "drop"
    LOSE_RESPONSE = "lose_response"
    ERROR = "error"
    STATUS = "status"
    CLOSE = "close"
    DUPLICATE = "duplicate"
    GAP = "gap"
    REORDER = "reorder"
    PARTIAL = "partial"


CANCEL_ALL = "/v5/order/cancel-all"
STREAM_ONLY = frozenset({FaultMode.GAP, FaultMode.REORDER})
# The modes that act on a frame on its way out.
FRAME_MODES = frozenset({FaultMode.DELAY, FaultMode.DROP, FaultMode.DUPLICATE, FaultMode.GAP, FaultMode.REORDER})


class InvalidFault(ValueError):
    """A fault that cannot be; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong on one path."""

    path: str
    mode: FaultMode
    ms: int | None = None
    ret_code: int = 10016
    status: int = 503
    message: str = DEFAULT_MESSAGE
    count: int | None = None

    def __post_init__(self) -> None:
        if self.mode is FaultMode.DELAY and self.ms is None:
            raise InvalidFault("delay needs ms")
        if self.ms is not None and not 0 <= self.ms <= MAX_DELAY_MS:
            raise InvalidFault(f"ms must be between 0 and {MAX_DELAY_MS}")
        if self.count is not None and self.count < 1:
            raise InvalidFault("count must be at least 1")
        if len(self.message) > MAX_MESSAGE_CHARACTERS:
            raise InvalidFault(f"message must have at most {MAX_MESSAGE_CHARACTERS} characters")
        if not 400 <= self.status <= 599:
            raise InvalidFault("status must be between 400 and 599")
        if self.path not in STREAMS and not self.path.startswith("/"):
            raise InvalidFault("path must start with / or be one of ws:private, ws:public, ws:trade")
        if self.mode in STREAM_ONLY and self.path not in STREAMS:
            raise InvalidFault(f"{self.mode} acts on streams only")
        if self.mode is FaultMode.PARTIAL and self.path != CANCEL_ALL:
            raise InvalidFault(f"{self.mode} acts on {CANCEL_ALL} only")

    @property
    def delay_ms(self) -> int:
        """How long a delay lasts."""
        return self.ms or 0

    @property
    def hold_ms(self) -> int:
        """How long an unanswered connection is held open before it is closed."""
        return HOLD_MS if self.ms is None else self.ms


@dataclass(slots=True, kw_only=True)
class _Armed:
    fault: Fault
    left: int | None


class Faults:
    """The faults that are switched on."""

    __slots__ = ("_armed", "_watchers")

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._watchers: list[Callable[[Fault], None]] = []

    def watch(self, watcher: Callable[[Fault], None]) -> None:
        """Call the watcher with each fault as it is switched on: some act on connections already open."""
        self._watchers.append(watcher)

    def add(self, fault: Fault) -> None:
        """Switch a fault on. Raises InvalidFault when too many are."""
        if len(self._armed) >= MAX_FAULTS:
            raise InvalidFault(f"more than {MAX_FAULTS} faults at a time")
        self._armed.append(_Armed(fault=fault, left=fault.count))
        for watcher in self._watchers:
            watcher(fault)

    def clear(self) -> None:
        """Switch every fault off."""
        self._armed.clear()

    def take(self, path: str, modes: Iterable[FaultMode] | None = None) -> dict[FaultMode, Fault]:
        """Use up one count of each fault that acts on the path; one fault a mode acts at a time."""
        taken: dict[FaultMode, Fault] = {}
        if not self._armed:
            return taken
        wanted = frozenset(FaultMode) if modes is None else frozenset(modes)
        for armed in self._armed:
            fault = armed.fault
            if fault.path != path or fault.mode not in wanted or fault.mode in taken:
                continue
            taken[fault.mode] = fault
            if armed.left is not None:
                armed.left -= 1
        self._armed = [armed for armed in self._armed if armed.left is None or armed.left > 0]
        return taken

    def as_json(self) -> list[dict[str, object]]:
        """List what is switched on and how often each still acts."""
        return [{"path": armed.fault.path, "mode": str(armed.fault.mode), "left": armed.left} for armed in self._armed]
