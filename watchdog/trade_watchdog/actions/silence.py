"""Is the gateway silent, and is a sweep due? Pure.

A gateway that has not answered for SILENT_S can cancel nothing, while its orders rest. A sweep is asked for then, and
again every ASK_AGAIN_S for as long as the silence lasts: an order that was on its way may have come to rest meanwhile.
Whether anything works is not asked here: the executor reads the books itself, and a sweep of empty books changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trade_core.clock import NS_PER_S

SILENT_S: Final = 15
ASK_AGAIN_S: Final = 30
RETRY_S: Final = 1
"""After a sweep that could not be asked for."""


@dataclass(slots=True, kw_only=True)
class Silence:
    """What is known; times are monotonic. `heard_at_ns` begins with the watch itself."""

    heard_at_ns: int
    due_at_ns: int | None = None  # nothing was asked for yet

    def hear(self, now_ns: int) -> None:
        """Note that the gateway has answered, whatever it said; the next silence is one of its own."""
        self.heard_at_ns = now_ns
        self.due_at_ns = None

    def is_silent(self, now_ns: int) -> bool:
        """Tell whether the gateway has been silent for too long."""
        return now_ns - self.heard_at_ns >= SILENT_S * NS_PER_S

    def is_sweep_due(self, now_ns: int) -> bool:
        """Tell whether to ask for a sweep now."""
        return self.is_silent(now_ns) and (self.due_at_ns is None or now_ns >= self.due_at_ns)

    def asked(self, now_ns: int, *, is_taken: bool) -> None:
        """Note that a sweep was asked for, and whether the executor took the request."""
        self.due_at_ns = now_ns + (ASK_AGAIN_S if is_taken else RETRY_S) * NS_PER_S
