"""Puts the watchdog together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from prometheus_client import CollectorRegistry

from trade_core.clock import Clock, SystemClock
from trade_core.guarded_protocol import guarded_protocol
from trade_core.logs import RefusalLog
from trade_core.serving import Listener, serve
from trade_core.trust.lease import NO_VENUE
from trade_watchdog.admin import admin_app
from trade_watchdog.exchange import WatchedExchange
from trade_watchdog.gateway_link import GatewayLink
from trade_watchdog.identity import (
    GenerationStore,
    load_exchange_key,
    load_gateway_address,
    load_identity,
    load_pinned_ring,
)
from trade_watchdog.lease_sender import LeaseSender
from trade_watchdog.log_witness import LogWitness
from trade_watchdog.metrics import WatchdogMetrics
from trade_watchdog.monitor import Monitor
from trade_watchdog.policy_chain import PolicyChain
from trade_watchdog.second_prices import SecondPrices
from trade_watchdog.second_venue import SecondVenue
from trade_watchdog.settings import WatchdogSettings
from trade_watchdog.status import Status

ADMIN_CONNECTIONS_MAX = 64

_log = logging.getLogger(__name__)


async def run(settings: WatchdogSettings, *, clock: Clock | None = None) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigurationError or NotTrusted for what must not be started with."""
    clock = clock or SystemClock()
    identity = load_identity(settings)
    ring = load_pinned_ring(settings, identity)
    address = load_gateway_address(settings.gateway_handover)
    exchange_key = load_exchange_key(settings.secrets_file)
    generations = GenerationStore(settings.state_dir)
    policies = PolicyChain(settings.state_dir, ring=ring)
    registry = CollectorRegistry()
    status = Status()
    listener = Listener(
        app=admin_app(status=status, ring=ring, token=identity.admin_token, registry=registry, clock=clock),
        host=settings.admin_host,
        port=settings.admin_port,
        setting="admin_port",
        http=guarded_protocol(RefusalLog("admin listener").note, max_connections=ADMIN_CONNECTIONS_MAX),
        # The protocol itself bounds connections. No WebSocket is served here, nor is there a library for it.
        options={"limit_concurrency": None, "ws": "none"},
    )
    exchange = WatchedExchange(url=settings.exchange_url, key=exchange_key, clock=clock)
    link = GatewayLink(address)
    witness = LogWitness(
        link=link,
        state_dir=settings.state_dir,
        ring=ring,
        private_key=identity.witness_key,
        retention_days=settings.retention_days,
    )
    witness.open(has_vouched=generations.value > 0, clock=clock)
    metrics = WatchdogMetrics(registry=registry, status=status, clock=clock)
    second = SecondPrices(venue=_second_venue(settings, clock), status=status, metrics=metrics, clock=clock)
    monitor = Monitor(
        exchange=exchange,
        sender=LeaseSender(
            link=link,
            ring=ring,
            private_key=identity.lease_key,
            generations=generations,
            second=second,
            policies=policies,
            witness=witness,
            clock=clock,
        ),
        status=status,
        metrics=metrics,
        account=settings.account,
        clock=clock,
    )
    try:
        await _serve_and_watch(listener, monitor)
    finally:
        await link.close()
        await exchange.close()
        await second.close()
        witness.close()


def _second_venue(settings: WatchdogSettings, clock: Clock) -> SecondVenue | None:
    if settings.second_venue == NO_VENUE:
        return None
    return SecondVenue(name=settings.second_venue, url=settings.second_venue_url, clock=clock)


async def _serve_and_watch(listener: Listener, monitor: Monitor) -> None:
    """Watch once the listener stands, so that a second watchdog fails on the port before it sends anything."""
    stop = asyncio.Event()
    watching: list[asyncio.Task[None]] = []

    def start() -> None:
        _log.info("watching account %s; admin on http://%s:%d", monitor.account, listener.host, listener.port)
        task = asyncio.create_task(monitor.run())
        task.add_done_callback(lambda _task: stop.set())
        watching.append(task)

    try:
        await serve([listener], stop=stop, on_ready=start)
    finally:
        for task in watching:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
