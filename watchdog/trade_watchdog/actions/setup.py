"""Puts the watchdog's hands together from its settings, with the loops that they need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from trade_core.alerts.model import JournalHead, Sender
from trade_core.alerts.outbox import Outbox
from trade_core.alerts.setup import read_channels
from trade_core.bot_hosts.selection import bot_host_of
from trade_core.clock import NS_PER_S, Clock
from trade_journal.errors import NoteRefused
from trade_journal.log.checkpoint import read_checkpoint
from trade_journal.log.note import parse_note
from trade_watchdog.actions.executor_link import ExecutorLink
from trade_watchdog.actions.freqtrade_rest import FreqtradeRest
from trade_watchdog.actions.gateway_silence import GatewaySilence
from trade_watchdog.actions.hands import Hands, Recording
from trade_watchdog.actions.heartbeat import Heartbeat, load_heartbeat_url
from trade_watchdog.actions.metrics import ActionMetrics
from trade_watchdog.actions.release_courier import ReleaseCourier
from trade_watchdog.gateway_link import GatewayLink
from trade_watchdog.settings import WatchdogSettings
from trade_watchdog.status import Phase, Status

WELL_WITHIN_S: Final = 60
"""A watchdog whose last good reading is older does not do its work, and gives no sign of life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """The effects, and the loops that run beside the monitor."""

    hands: Hands
    outbox: Outbox
    silence: GatewaySilence
    courier: ReleaseCourier
    heartbeat: Heartbeat | None

    def loops(self, *, is_flat: Callable[[int], bool]) -> list[Coroutine[Any, Any, None]]:
        """Return what must run for as long as the watchdog does. `is_flat` says when a halted bot may go."""
        self.hands.is_flat = is_flat
        loops = [self.outbox.run(), self.silence.run(), self.courier.run()]
        return loops if self.heartbeat is None else [*loops, self.heartbeat.run()]

    async def close(self) -> None:
        """Close every connection; the bot is left as it is."""
        await self.hands.close()
        if self.heartbeat is not None:
            await self.heartbeat.close()


def set_up(
    settings: WatchdogSettings,
    *,
    link: GatewayLink,
    status: Status,
    record: Recording,
    registry: CollectorRegistry,
    clock: Clock,
    lease_key: Ed25519PrivateKey,
) -> Actions:
    """Build the hands inside the running event loop. Raises ConfigurationError for a file that is wrong."""
    metrics = ActionMetrics(registry)
    outbox = Outbox(
        sender=Sender(service="watchdog", environment=settings.environment, account=settings.account),
        channels=[] if settings.alerts_file is None else read_channels(settings.alerts_file),
        clock=clock,
        count=metrics.count_alert,
        head=lambda: witnessed_head(status),
    )
    executor = None
    if settings.executor_socket is not None:
        executor = ExecutorLink(settings.executor_socket, key=lease_key, account=settings.account, clock=clock)
    hands = Hands(
        gateway=link,
        outbox=outbox,
        executor=executor,
        freqtrade=None if settings.freqtrade_file is None else FreqtradeRest(settings.freqtrade_file),
        host=bot_host_of(settings, lists_pods=False),
        halt_exit_s=settings.halt_exit_s,
        clock=clock,
        record=record,
    )
    courier = ReleaseCourier(state_dir=settings.state_dir, hand=hands.hand_release, clock=clock)
    courier.load()
    silence = GatewaySilence(effects=hands, ask=link.ping, clock=clock)
    link.on_heard = silence.hear
    metrics.read_from(silent_s=lambda: silence.silent_s, open_matters=lambda: len(outbox.unacknowledged))
    heartbeat = None
    if settings.heartbeat_file is not None:
        url = load_heartbeat_url(settings.heartbeat_file)
        heartbeat = Heartbeat(url, is_well=_is_well(status, clock), on_beat=metrics.count_heartbeat)
    return Actions(hands=hands, outbox=outbox, silence=silence, courier=courier, heartbeat=heartbeat)


def witnessed_head(status: Status) -> JournalHead | None:
    """Return the gateway's journal as we last cosigned it; None before the first lease."""
    if status.lease is None:
        return None
    try:
        checkpoint = read_checkpoint(parse_note(status.lease.checkpoint.encode()))
    except NoteRefused:
        return None
    return JournalHead(size=checkpoint.size, root=checkpoint.root.hex())


async def run_beside(main: Coroutine[Any, Any, None], loops: list[Coroutine[Any, Any, None]]) -> None:
    """Run loops for as long as the main one; the first that fails ends all, and its error is raised bare."""
    tasks = [asyncio.create_task(work) for work in (main, *loops)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            raise error


def _is_well(status: Status, clock: Clock) -> Callable[[], bool]:
    def is_well() -> bool:
        sample = status.last_good
        if status.phase is not Phase.WATCHING or sample is None:
            return False
        return clock.monotonic_ns() - sample.received_monotonic_ns <= WELL_WITHIN_S * NS_PER_S

    return is_well
