"""Watches whether the gateway answers anything at all, and has its orders swept when it does not.

Whatever the gateway answers to anybody here counts. While nobody asks it anything, as before the first lease, the watch
asks for itself: silence is that it was asked and did not answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from trade_core.clock import Clock
from trade_watchdog.actions.silence import SILENT_S, Silence
from trade_watchdog.effects import Alert, EffectFailed, Effects, Severity
from trade_watchdog.gateway_link import GatewayAnswerInvalid, GatewayRefused, GatewayUnavailable

LOOK_EVERY_S: Final = 0.5
ASK_AFTER_S: Final = 3.0
"""A few times within what counts as silence; with leases every 5 s it is hardly ever needed."""
SUBJECT: Final = "gateway:silent"
_log = logging.getLogger(__name__)


class GatewaySilence:
    """One watch over one gateway; `hear` is called for whatever it answers."""

    def __init__(self, *, effects: Effects, ask: Callable[[], Awaitable[None]], clock: Clock) -> None:
        """Begin with the benefit of the doubt: the silence is counted from now. `ask` must end by itself."""
        self._ask = ask
        self._effects = effects
        self._clock = clock
        self._silence = Silence(heard_at_ns=clock.monotonic_ns())
        self._is_told = False

    @property
    def silent_s(self) -> float:
        """For how long the gateway has said nothing."""
        return (self._clock.monotonic_ns() - self._silence.heard_at_ns) / 1e9

    def hear(self) -> None:
        """Note that the gateway has answered."""
        self._silence.hear(self._clock.monotonic_ns())

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once, and ask for a sweep when one is due."""
        if self.silent_s >= ASK_AFTER_S:
            with suppress(GatewayUnavailable, GatewayRefused, GatewayAnswerInvalid):
                await self._ask()
        now_ns = self._clock.monotonic_ns()
        if not self._silence.is_silent(now_ns):
            if self._is_told:
                _log.warning("the gateway answers again")
            self._is_told = False
            return
        if not self._silence.is_sweep_due(now_ns):
            return
        is_taken = await self._swept()
        self._silence.asked(self._clock.monotonic_ns(), is_taken=is_taken)
        # Refuse first, talk later: the sweep is on its way before anybody is told.
        words = (
            "its orders are being swept" if is_taken else "its orders CANNOT be swept: no executor takes the request"
        )
        text = f"the gateway has not answered for {SILENT_S} s; {words}"
        self._is_told = True
        self._effects.alert(Alert(subject=SUBJECT, severity=Severity.CRITICAL, text=text, needs_acknowledgement=True))

    async def _swept(self) -> bool:
        try:
            await self._effects.sweep(f"the gateway has not answered for {SILENT_S} s")
        except EffectFailed:
            return False
        return True
