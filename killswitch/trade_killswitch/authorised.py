"""What somebody is allowed to have done, after his warrant was verified. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field

from trade_journal.log.rows import Fields
from trade_killswitch.kill_order import KillOrder

AUDIENCE = "executor"
"""The audience of every warrant that the executor takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorisedKill:
    """A kill, what the journal keeps of who allowed it, and what to alarm with although it goes on."""

    order: KillOrder
    fields: Fields
    alarms: tuple[str, ...] = field(default=())
