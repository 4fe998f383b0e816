"""Effects of a watchdog that stands alone with its gateway: it can halt, and say in its log what else is needed."""

from __future__ import annotations

import logging

from trade_watchdog.effects import Alert, EffectFailed, KillRequest, Severity
from trade_watchdog.gateway_link import GatewayAnswerInvalid, GatewayLink, GatewayRefused, GatewayUnavailable

_LEVELS = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.CRITICAL: logging.ERROR}
_log = logging.getLogger(__name__)


class GatewayEffects:
    """Halts over the gateway's admin listener. No bot control, executor or alert channel is set up."""

    def __init__(self, link: GatewayLink) -> None:
        """Prepare; nothing is sent yet."""
        self._link = link

    async def halt(self, reason: str) -> None:
        """Latch the gateway HALTED. Raises EffectFailed."""
        try:
            await self._link.halt(reason)
        except (GatewayUnavailable, GatewayRefused, GatewayAnswerInvalid) as error:
            raise EffectFailed(str(error)) from error

    async def scale_bot(self, reason: str) -> None:
        """Raise EffectFailed: nothing here reaches the bot."""
        raise EffectFailed(f"no bot control is set up ({reason})")

    async def sweep(self, reason: str) -> None:
        """Raise EffectFailed: nothing here reaches an executor."""
        raise EffectFailed(f"no kill executor is set up ({reason})")

    async def request_kill(self, request: KillRequest) -> None:
        """Raise EffectFailed: nothing here reaches an executor."""
        raise EffectFailed(f"no kill executor is set up ({request.reason})")

    def alert(self, alert: Alert) -> None:
        """Say it in the log."""
        _log.log(_LEVELS[alert.severity], "alert %s: %s", alert.subject, alert.text)

    def acknowledge(self, subject: str) -> None:
        """Say it in the log."""
        _log.info("acknowledged: %s", subject)
