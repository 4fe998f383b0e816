"""What the watchdog may do to the world, as a port: halt, alert, stop the bot, sweep, ask for a kill.

Who decides calls these in order: refuse first, talk later. So `alert` returns at once and never raises, and everything
else ends within a bound of its own or raises EffectFailed; the caller asks again at its next look, since every effect
may be asked for any number of times.

It does not decide: why and when is the ladder's, the audit's and the monitor's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Protocol

from trade_core.alerts.model import Alert, Severity
from trade_core.errors import TradeError

__all__ = ["Alert", "EffectFailed", "Effects", "KillCondition", "KillRequest", "Severity"]


class EffectFailed(TradeError):
    """An effect did not come about, or nobody knows whether it did; asking again does no harm."""


@unique
class KillCondition(Enum):
    """Why a kill may be asked for without a touch: the closed list of the standing warrant."""

    DRAWDOWN = "drawdown"
    ROGUE_ORDER = "rogue_order"
    ROGUE_KEY = "rogue_key"
    FORKED_JOURNAL = "forked_journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class KillRequest:
    """What is asked for and why; `evidence` are plain texts by name, for a person and for the executor to check.

    `request_id` stays the same while the same thing is asked for again.
    """

    request_id: str
    condition: KillCondition
    reason: str
    at_ns: int
    evidence: Mapping[str, str] = field(default_factory=dict)


class Effects(Protocol):
    """The hands of the watchdog. Each method may be called again with the same words."""

    async def halt(self, reason: str, *, trigger_value: str = "") -> None:
        """Latch the gateway HALTED; returns when it says so. Raises EffectFailed.

        `trigger_value` is the figure that it is for; empty where there is none.
        """
        ...

    async def scale_bot(self, reason: str) -> None:
        """Stop the bot: pause, then scale to zero; returns when it is asked to. Raises EffectFailed."""
        ...

    def spare_bot(self) -> None:
        """End what would still stop the bot: a person has released what it was for. Returns at once, never raises."""
        ...

    async def sweep(self, reason: str) -> None:
        """Have the executor cancel everything that adds risk; returns when it has begun. Raises EffectFailed."""
        ...

    async def request_kill(self, request: KillRequest) -> None:
        """Ask the executor for a kill; returns when it has taken the request. Raises EffectFailed."""
        ...

    async def flatten(self, request_id: str, reason: str) -> None:
        """Have the executor close what its settings say of a halt; returns when it is flat. Raises EffectFailed.

        `request_id` stays the same while the same halt asks for it.
        """
        ...

    def alert(self, alert: Alert) -> None:
        """Hand an alert to every channel. Returns at once, never raises; what cannot be told is counted."""
        ...

    def acknowledge(self, subject: str) -> bool:
        """Stop repeating the alerts of a subject; False when there were none. Returns at once, never raises."""
        ...
