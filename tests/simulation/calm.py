"""What is wrong at the moment, and since when it is not: speed is asked for only where nothing is in the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

OF_CANCELS: Final = frozenset(
    {
        "cut gateway-exchange",
        "flaky gateway-exchange",
        "private stream down",
        "gateway crash",
        "gateway clock leap",
        "gateway disk full",
        "gateway disk dead",
        "machine sleeps",
    }
)
"""Troubles in which a gateway may be slow to cancel."""
OF_SWEEPS: Final = frozenset({"watchdog crash", "executor down", "machine sleeps"})
"""Troubles in which the orders of a dead gateway may stay for longer."""
OF_REFUSALS: Final = OF_CANCELS | {
    "cut watchdog-exchange",
    "cut watchdog-gateway",
    "flaky watchdog-exchange",
    "flaky watchdog-gateway",
    "watchdog crash",
    "watchdog clock leap",
    "watchdog disk full",
    "wild wallet",
}
"""Troubles in which a breach may be seen, or answered, later."""


@dataclass(slots=True)
class Calm:
    """The troubles that last, by name, and when each ended last. Times are monotonic."""

    now_ns: Callable[[], int]
    _lasting: Counter[str] = field(default_factory=Counter)
    _ended_ns: dict[str, int] = field(default_factory=dict)

    def begin(self, name: str) -> None:
        """A trouble begins."""
        self._lasting[name] += 1

    def end(self, name: str) -> None:
        """A trouble has ended."""
        self._lasting[name] -= 1
        self._ended_ns[name] = self.now_ns()

    def leapt(self) -> None:
        """The machine has slept: whatever is timed is timed from now."""
        self._ended_ns["machine sleeps"] = self.now_ns()

    def since_ns(self, names: frozenset[str]) -> int | None:
        """Say since when none of these troubles lasts; None while one does, 0 when there never was one."""
        if any(self._lasting[name] for name in names):
            return None
        return max((self._ended_ns.get(name, 0) for name in names), default=0)
