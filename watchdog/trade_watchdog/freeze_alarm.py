"""Tells people that nothing new is let through, and why: a matter a cause, at once when it begins.

Guarantees
- Whatever freezes new risk (REDUCE_ONLY) is told, also beside a halt, whose own alert says something else. While it
  lasts it is told again every AGAIN_S.
- A start freezes for some moments by itself: what began with it is told once it has lasted START_S.

It does not decide what freezes, and how often one matter may be told is the alert book's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_watchdog.effects import Alert, Severity

START_S: Final = 60
AGAIN_S: Final = 900
_TEXT_CHARACTERS: Final = 400


@dataclass(slots=True, kw_only=True)
class FreezeAlarm:
    """What is frozen by now, and when each cause was told."""

    tell: Callable[[Alert], None]
    clock: Clock
    _began_ns: int = field(init=False)
    _is_begun: bool = False
    _told_at_ns: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Count the start from now."""
        self._began_ns = self.clock.monotonic_ns()

    def take(self, frozen: Mapping[str, str]) -> None:
        """Take every cause that freezes at this moment, by its name, with its reason in our own words."""
        now_ns = self.clock.monotonic_ns()
        self._is_begun = self._is_begun or not frozen or now_ns - self._began_ns >= START_S * NS_PER_S
        self._told_at_ns = {cause: at_ns for cause, at_ns in self._told_at_ns.items() if cause in frozen}
        if not self._is_begun:
            return
        for cause, reason in frozen.items():
            told_at_ns = self._told_at_ns.get(cause)
            if told_at_ns is None or now_ns - told_at_ns >= AGAIN_S * NS_PER_S:
                self._told_at_ns[cause] = now_ns
                text = f"nothing new is let through: {reason}"[:_TEXT_CHARACTERS]
                self.tell(Alert(subject=f"frozen:{cause}", severity=Severity.WARNING, text=text))
