"""The time between what was announced and its effect, in which somebody outside can still halt.

Guarantees
- It begins when a channel of alerts has taken the announcement, not when the announcement was written: while every
  channel hangs or refuses, nobody outside has read what is loosened.
- What no channel has taken UNHEARD_S after it was announced never takes effect: whoever ordered it has left by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trade_core.clock import NS_PER_S

UNHEARD_S: Final = 300
"""As long as a warrant lives."""
UNHEARD: Final = (
    f"no channel of alerts took its announcement within {UNHEARD_S} s, so nobody could read what it loosens"
)
WAITS: Final = "no channel of alerts has taken the announcement yet"


@dataclass(slots=True, kw_only=True)
class Countdown:
    """One announcement. Times are monotonic; `has_reached` tells whether somebody outside has it."""

    announced_at_ns: int
    delay_s: int
    has_reached: Callable[[], bool]
    _began_at_ns: int | None = None

    def look(self, now_ns: int) -> None:
        """See whether the announcement has got through."""
        if self._began_at_ns is None and self.has_reached():
            self._began_at_ns = now_ns

    def is_due(self, now_ns: int) -> bool:
        """Tell whether it takes effect."""
        return self._began_at_ns is not None and now_ns - self._began_at_ns >= self.delay_s * NS_PER_S

    def is_unheard(self, now_ns: int) -> bool:
        """Tell whether it is void, since nobody outside got it in time."""
        return self._began_at_ns is None and now_ns - self.announced_at_ns >= UNHEARD_S * NS_PER_S

    def describe(self, now_ns: int) -> dict[str, Any]:
        """Say in how many seconds it takes effect; while that is not known, what it waits for."""
        if self._began_at_ns is None:
            return {"in_s": None, "waits_for": WAITS}
        left_ns = self._began_at_ns + self.delay_s * NS_PER_S - now_ns
        return {"in_s": max(0, left_ns) / NS_PER_S, "waits_for": ""}
