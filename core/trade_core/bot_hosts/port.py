"""What can bring the bot to zero, as a port: ask, and look.

Guarantees of every host
- `scale_to_zero` returns when nothing of the bot runs any more and raises BotHostFailed else, within a bound of its
  own. To ask again is harmless.
- `look` changes nothing. What cannot be told raises: nothing is taken for gone because nobody answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from trade_core.errors import TradeError


class BotHostFailed(TradeError):
    """The bot is not known to be gone; the message says what stands in the way, and asking again does no harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSight:
    """What was seen. `evidence` are plain texts by name, for a report."""

    is_gone: bool
    evidence: Mapping[str, str]


class BotHost(Protocol):
    """One bot, where it runs."""

    async def scale_to_zero(self) -> None:
        """End the bot; returns when it is gone. Raises BotHostFailed."""
        ...

    async def look(self) -> BotSight:
        """Tell whether nothing of the bot runs. Raises BotHostFailed when that cannot be told."""
        ...
