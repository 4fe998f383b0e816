"""The watchdog's effects, carried out: each within a bound of its own.

Guarantees
- An alert is handed over and nothing waits for it; a bot that hangs delays no halt, sweep or kill request.
- `scale_bot` returns once the bot enters nothing new any more, and fails when it could not be told. Either way it is
  ended in the background once the account is flat, which looks from FLAT_AFTER_S on must show, or after `halt_exit_s`,
  in which it manages its exits. That is tried until it is gone. Asked for again, it looks again.
- `spare_bot` ends that: a bot whose halt was released is not ended any more. Nothing here starts one.
- What is not set up fails with a sentence: no effect is taken for done.
- Sweeps, releases and the end of the bot, which nobody else follows, leave a row when their outcome changes, and one a
  minute while it repeats: a failure of hours fills no disk. Whoever asks for the others records what came of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from trade_core.bot_hosts.port import BotHost, BotHostFailed
from trade_core.clock import NS_PER_S, Clock
from trade_watchdog.actions.executor_link import ExecutorLink
from trade_watchdog.actions.freqtrade_rest import FreqtradeRest
from trade_watchdog.effects import Alert, EffectFailed, KillRequest, Severity
from trade_watchdog.gateway_link import GatewayAnswerInvalid, GatewayRefused, GatewayUnavailable

ROW_EVERY_S: Final = 60
STOP_RETRY_S: Final = 5.0
EXIT_LOOK_S: Final = 1.0
FLAT_AFTER_S: Final = 10
"""What was on its way when the halt came is at the exchange by then, and seen."""
_DETAIL_CHARACTERS: Final = 200
_log = logging.getLogger(__name__)


class Recording(Protocol):
    """Writes what came of an action."""

    def __call__(self, action: str, *, reason: str, failure: str = "") -> None:
        """Write a row soon; never raises."""
        ...


class Halting(Protocol):
    """What halts the gateway."""

    async def halt(self, reason: str, *, trigger_value: str = "") -> object:
        """Latch HALTED. Raises GatewayUnavailable, GatewayRefused, GatewayAnswerInvalid."""
        ...


class Telling(Protocol):
    """What brings alerts to people."""

    def alert(self, alert: Alert) -> None:
        """Hand over; never raises."""
        ...

    def acknowledge(self, subject: str) -> bool:
        """Stop repeating; False when there was nothing to repeat. Never raises."""
        ...


@dataclass(slots=True, kw_only=True)
class Hands:
    """What is set up is given; the rest is None."""

    gateway: Halting
    outbox: Telling
    executor: ExecutorLink | None
    freqtrade: FreqtradeRest | None
    host: BotHost | None
    halt_exit_s: int
    clock: Clock
    record: Recording
    is_flat: Callable[[int], bool] = lambda _since_ns: False  # by looks that began after that (monotonic)
    _stopping: asyncio.Task[None] | None = None
    _noted: dict[str, tuple[str, int]] = field(default_factory=dict)

    async def halt(self, reason: str, *, trigger_value: str = "") -> None:
        """Latch the gateway HALTED. Raises EffectFailed."""
        try:
            await self.gateway.halt(reason, trigger_value=trigger_value)
        except (GatewayUnavailable, GatewayRefused, GatewayAnswerInvalid) as error:
            raise EffectFailed(str(error)) from error

    async def sweep(self, reason: str) -> None:
        """Have the executor sweep. Raises EffectFailed."""
        await self._tried("sweep", reason, self._sweep(reason))

    async def request_kill(self, request: KillRequest) -> None:
        """Hand a kill request to the executor. Raises EffectFailed."""
        if self.executor is None:
            raise EffectFailed("no kill executor is set up (setting executor_socket)")
        await self.executor.request_kill(request)

    async def flatten(self, request_id: str, reason: str) -> None:
        """Have the executor close what it closes on a halt. Raises EffectFailed until it says that it is flat."""
        if self.executor is None:
            return  # what a halt closes is the executor's setting: without one, positions are held
        left = await self.executor.flatten(request_id, reason)
        if left:
            raise EffectFailed(f"not flat yet: {left}")

    async def hand_release(self, release: bytes) -> None:
        """Hand the executor a release that re-bases the high-water mark. Raises EffectFailed."""
        await self._tried("hand_release", "it re-bases the high-water mark", self._hand_release(release))

    async def scale_bot(self, reason: str) -> None:
        """Pause the bot now and end it in the background. Raises EffectFailed when it could not be paused."""
        if self._stopping is None or self._stopping.done():
            self._stopping = asyncio.create_task(self._stop_bot(reason, began_ns=self.clock.monotonic_ns()))
        await self._pause_bot()

    def spare_bot(self) -> None:
        """End what would still stop the bot."""
        if self._stopping is not None and not self._stopping.done():
            self._stopping.cancel()
            _log.warning("the bot is not ended: its halt was released")
            self.record("spare_bot", reason="its halt was released")
        self._stopping = None

    def alert(self, alert: Alert) -> None:
        """Hand an alert to every channel."""
        self.outbox.alert(alert)

    def acknowledge(self, subject: str) -> bool:
        """Stop repeating the alerts of a subject; False when there were none."""
        return self.outbox.acknowledge(subject)

    async def close(self) -> None:
        """Leave the bot as it is."""
        if self._stopping is not None:
            self._stopping.cancel()
            with suppress(asyncio.CancelledError):
                await self._stopping

    async def _sweep(self, reason: str) -> None:
        if self.executor is None:
            raise EffectFailed("no kill executor is set up (setting executor_socket)")
        await self.executor.sweep(reason)

    async def _hand_release(self, release: bytes) -> None:
        if self.executor is None:
            raise EffectFailed("no kill executor is set up (setting executor_socket)")
        await self.executor.hand_release(release)

    async def _pause_bot(self) -> None:
        if self.freqtrade is None and self.host is None:
            raise EffectFailed("no bot control is set up (settings freqtrade_file, bot_host)")
        if self.freqtrade is None:
            return  # it is ended in a while; until then the gateway alone holds it
        try:
            await self.freqtrade.pause()
        except EffectFailed:
            if self.host is None or not await self._is_gone(self.host):
                raise

    async def _stop_bot(self, reason: str, *, began_ns: int) -> None:
        """Wait until the bot may go, then try until it is gone."""
        while not self._may_end(began_ns):  # noqa: ASYNC110 - a clock's turn, and the looks of others
            await asyncio.sleep(EXIT_LOOK_S)
        while True:
            try:
                await self._tried("end_bot", reason, self._end_bot())
            except EffectFailed as error:
                text = f"the bot could not be ended: {error}"[:400]
                self.alert(
                    Alert(subject="bot:not_ended", severity=Severity.CRITICAL, text=text, needs_acknowledgement=True)
                )
            else:
                return
            await asyncio.sleep(STOP_RETRY_S)

    def _may_end(self, began_ns: int) -> bool:
        is_over = self.clock.monotonic_ns() - began_ns >= self.halt_exit_s * NS_PER_S
        return is_over or self.is_flat(began_ns + FLAT_AFTER_S * NS_PER_S)

    async def _end_bot(self) -> None:
        """Stop the bot's own loop, then what it runs in; without a host the stopped loop is all there is."""
        stopped: EffectFailed | None = None
        if self.freqtrade is not None:
            try:
                await self.freqtrade.stop()
            except EffectFailed as error:
                stopped = error
        if self.host is not None:
            await self._scale_to_zero(self.host)  # gone is gone, whatever its control said
        elif stopped is not None:
            raise stopped
        elif self.freqtrade is None:
            raise EffectFailed("no bot control is set up (settings freqtrade_file, bot_host)")

    async def _is_gone(self, host: BotHost) -> bool:
        try:
            return (await host.look()).is_gone
        except BotHostFailed as error:
            raise EffectFailed(str(error)) from None

    async def _scale_to_zero(self, host: BotHost) -> None:
        try:
            await host.scale_to_zero()
        except BotHostFailed as error:
            raise EffectFailed(str(error)) from None

    async def _tried(self, name: str, reason: str, effect: Awaitable[None]) -> None:
        try:
            await effect
        except EffectFailed as error:
            self._note(name, reason, str(error))
            raise
        self._note(name, reason, "")

    def _note(self, name: str, reason: str, failure: str) -> None:
        now_ns = self.clock.monotonic_ns()
        before = self._noted.get(name)
        if before is not None and before[0] == failure and now_ns - before[1] < ROW_EVERY_S * NS_PER_S:
            return
        self._noted[name] = (failure, now_ns)
        if failure:
            _log.error("%s failed: %s", name, failure)
        else:
            _log.warning("%s is done: %s", name, reason)
        self.record(name, reason=reason[:_DETAIL_CHARACTERS], failure=failure[:_DETAIL_CHARACTERS])
