"""Puts the watchdog together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from trade_core.administration import admin_listener
from trade_core.clock import Clock, SystemClock
from trade_core.clock_watch import ClockWatch
from trade_core.logs import RefusalLog
from trade_core.ring_keeper import RingKeeper
from trade_core.serving import Listener, UnixListener, serve
from trade_core.settings import shown_settings
from trade_core.trust.lease import NO_VENUE
from trade_core.trust.ring import KeyRing
from trade_journal.log.ring_keys import executor_log_keys
from trade_journal.writer.file_system import require_durable
from trade_watchdog.account_watch import AccountWatch
from trade_watchdog.actions.setup import run_beside, set_up
from trade_watchdog.admin import admin_app
from trade_watchdog.audited_exchange import AuditedExchange
from trade_watchdog.auditor import Auditor
from trade_watchdog.auditor_service import make_auditor
from trade_watchdog.effects import Effects
from trade_watchdog.exchange import WatchedExchange
from trade_watchdog.exchange_stream import ExchangeStream
from trade_watchdog.executor_journal import ExecutorJournal
from trade_watchdog.executor_witness import ExecutorWitness
from trade_watchdog.gateway_link import GatewayLink
from trade_watchdog.history import History, check_ratchet
from trade_watchdog.identity import (
    GenerationStore,
    Identity,
    holder_of,
    load_announce_token,
    load_exchange_key,
    load_executor_key,
    load_gateway_address,
    load_identity,
    load_pinned_ring,
)
from trade_watchdog.ladder import Ladder
from trade_watchdog.ladder_keeper import LadderKeeper
from trade_watchdog.lease_sender import LeaseSender
from trade_watchdog.log_witness import LogWitness
from trade_watchdog.metrics import WatchdogMetrics
from trade_watchdog.monitor import Monitor
from trade_watchdog.movements import Announcements
from trade_watchdog.policy_chain import PolicyChain
from trade_watchdog.reconciler import Reconciler
from trade_watchdog.releases import Position, Releases
from trade_watchdog.second_prices import SecondPrices
from trade_watchdog.second_venue import SecondVenue
from trade_watchdog.settings import WatchdogSettings
from trade_watchdog.status import Status
from trade_watchdog.streams import Streams

ADMIN_CONNECTIONS_MAX = 64
RING_EVERY_S = 0.5

_log = logging.getLogger(__name__)


async def run(settings: WatchdogSettings, *, clock: Clock | None = None) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigurationError or NotTrusted for what must not be started with."""
    clock = clock or SystemClock()
    require_durable({"state_dir": settings.state_dir}, environment=settings.environment)
    identity = load_identity(settings)
    ring = load_pinned_ring(settings, identity)
    address = load_gateway_address(settings.gateway_handover)
    exchange_key, master_key = map(load_exchange_key, (settings.secrets_file, settings.master_secrets_file))
    generations = GenerationStore(settings.state_dir)
    has_vouched = generations.value > 0
    registry, status = CollectorRegistry(), Status()
    async with contextlib.AsyncExitStack() as closing:
        link = GatewayLink(address)
        closing.push_async_callback(link.close)
        witness = LogWitness(
            link=link,
            state_dir=settings.state_dir,
            ring=ring,
            private_key=identity.witness_key,
            retention_days=settings.retention_days,
        )
        witness.open(has_vouched=has_vouched, clock=clock)
        closing.callback(witness.close)
        history = await History.open(
            settings.state_dir, ring=ring, log_key=identity.log_key, clock=clock, has_vouched=has_vouched
        )
        closing.push_async_callback(history.close)
        clock_watch = ClockWatch(clock=clock)
        rings = RingKeeper(
            folder=settings.state_dir,
            first=ring,
            record=history.ring_row,
            clock=clock,
            is_clock_trusted=clock_watch.is_trusted,
        )
        ring = rings.ring
        witness.adopt_ring(ring)
        policies = PolicyChain(settings.state_dir, ring=ring, rings=rings.book.rings)
        actions = set_up(
            settings,
            link=link,
            status=status,
            record=history.acted,
            registry=registry,
            clock=clock,
            lease_key=identity.lease_key,
        )
        closing.push_async_callback(actions.close)
        keeper, position = await _remembering(settings, history=history, effects=actions.hands, clock=clock)
        releases = Releases(ring=ring, open_copy=witness.reading, position=position)
        keeper.position = lambda: releases.position
        keeper.began_with_rows = history.begin(settings=shown_settings(settings), ring=ring)
        exchange = WatchedExchange(
            url=settings.exchange_http, is_simulated=settings.is_simulated, key=exchange_key, clock=clock
        )
        audited = AuditedExchange(
            url=settings.exchange_http, is_simulated=settings.is_simulated, key=exchange_key, clock=clock
        )
        master = AuditedExchange(
            url=settings.exchange_http, is_simulated=settings.is_simulated, key=master_key, clock=clock
        )
        for connection in (exchange, audited, master):
            closing.push_async_callback(connection.close)
        auditor = make_auditor(
            settings,
            ring=ring,
            tag_key=address.tag_key_of(ring),
            audited=audited,
            master=master,
            witness=witness,
            link=link,
            keeper=keeper,
            policies=policies,
            read_key=exchange_key,
            clock=clock,
        )
        metrics = WatchdogMetrics(registry=registry, status=status, keeper=keeper, auditor=auditor, clock=clock)
        second = SecondPrices(venue=_second_venue(settings, clock), status=status, metrics=metrics, clock=clock)
        closing.push_async_callback(second.close)
        app = admin_app(
            status=status,
            keeper=keeper,
            auditor=auditor,
            rings=rings,
            gateway=link,
            token=identity.admin_token,
            announce_token=load_announce_token(settings),
            registry=registry,
            clock=clock,
        )
        sender = LeaseSender(
            link=link,
            ring=ring,
            private_key=identity.lease_key,
            holder=holder_of(settings),
            generations=generations,
            second=second,
            policies=policies,
            witness=witness,
            releases=releases,
            keeper=keeper,
            clock=clock,
            on_high_water=actions.courier.carry if settings.executor_socket is not None else lambda _: None,
        )
        rings.on_ring = sender.adopt_ring
        monitor = Monitor(
            exchange=exchange,
            watch=AccountWatch(exchange=exchange, clock=clock, book=keeper.book, second=second.fresh),
            keeper=keeper,
            master=master,
            auditor=auditor,
            reconciler=Reconciler(
                reading=audited,
                open_copy=witness.reading,
                history=history,
                effects=keeper.effects,
                state_dir=settings.state_dir,
                clock=clock,
            ),
            sender=sender,
            status=status,
            metrics=metrics,
            account=settings.account,
            clock=clock,
        )
        stream = ExchangeStream(url=settings.exchange_streams, is_simulated=settings.is_simulated, key=exchange_key)
        closing.push_async_callback(stream.close)
        monitor.streams = Streams(
            stream=stream,
            ladder=keeper.ladder,
            orders=auditor,
            clock=clock,
            sample_soon=monitor.sample_soon,
            account=status.account_stream,
            prices=status.price_stream,
        )
        witnessing = _executor_witness(
            settings, ring=ring, identity=identity, auditor=auditor, status=status, clock=clock
        )
        beside = [*actions.loops(is_flat=auditor.is_flat), _keep_ring(rings, clock_watch), history.incidents.run()]
        if witnessing is not None:
            closing.callback(witnessing.close)
            beside.append(witnessing.run())
        await _serve_and_watch(_listener(settings, app), monitor, beside, where=settings.admin_url)


async def _remembering(
    settings: WatchdogSettings, *, history: History, effects: Effects, clock: Clock
) -> tuple[LadderKeeper, Position]:
    """Build the ladder from what was remembered, and say how far the gateway's journal was read.

    Raises ConfigurationError for settings looser than they were.
    """
    ladder, thresholds = Ladder(settings.thresholds()), settings.thresholds()
    remembered = await history.restore(ladder)
    keeper = LadderKeeper(ladder=ladder, thresholds=thresholds, history=history, effects=effects, clock=clock)
    if remembered is None:
        _log.info("nothing is remembered of this account: its equity and peaks begin now")
        return keeper, Position()
    check_ratchet(asked=thresholds, stood=remembered.thresholds)
    ladder.restore(remembered.memory)
    keeper.book = remembered.book
    keeper.announcements = Announcements(remembered.announcements)
    keeper.rogue_outflow = remembered.rogue_outflow
    keeper.remind()
    return keeper, remembered.position


async def _keep_ring(rings: RingKeeper, clock_watch: ClockWatch) -> None:
    """Watch the clock that a waiting ring is measured by, and let the ring count when it is due."""
    while True:
        clock_watch.is_trusted()
        await rings.work()
        await asyncio.sleep(RING_EVERY_S)


def _executor_witness(
    settings: WatchdogSettings, *, ring: KeyRing, identity: Identity, auditor: Auditor, status: Status, clock: Clock
) -> ExecutorWitness | None:
    """Build the witness of the executor's journal; None when there is no way to it, or nobody names its key."""
    keys = executor_log_keys(ring, executor_key=load_executor_key(settings.executor_public_file))
    if settings.executor_socket is None or keys is None:
        status.executor_journal.detail = "no executor_socket, or neither the key ring nor a setting names its key"
        return None
    return ExecutorWitness(
        source=ExecutorJournal(settings.executor_socket),
        state_dir=settings.state_dir,
        keys=keys,
        private_key=identity.witness_key,
        on_fork=auditor.found_fork,
        state=status.executor_journal,
        clock=clock,
    )


def _listener(settings: WatchdogSettings, app: FastAPI) -> Listener | UnixListener:
    return admin_listener(
        settings,
        app=app,
        on_refusal=RefusalLog("admin listener").note,
        max_connections=ADMIN_CONNECTIONS_MAX,
        options={"ws": "none"},  # no WebSocket is served here, nor is there a library for it
    )


def _second_venue(settings: WatchdogSettings, clock: Clock) -> SecondVenue | None:
    if settings.second_venue == NO_VENUE:
        return None
    return SecondVenue(name=settings.second_venue, url=settings.second_venue_url, clock=clock)


async def _serve_and_watch(
    listener: Listener | UnixListener, monitor: Monitor, beside: list[Coroutine[Any, Any, None]], *, where: str
) -> None:
    """Watch once the listener stands."""
    stop = asyncio.Event()
    watching: list[asyncio.Task[None]] = []

    def start() -> None:
        _log.info("watching account %s; admin on %s", monitor.account, where)
        task = asyncio.create_task(run_beside(monitor.run(), beside))
        task.add_done_callback(lambda _task: stop.set())
        watching.append(task)

    try:
        await serve([listener], stop=stop, on_ready=start)
    finally:
        for task in watching:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
