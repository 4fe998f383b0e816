"""Puts the executor together and runs it until it is told to stop. It opens no TCP port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

from trade_core.alerts.model import TEXT_CHARACTERS_MAX, Alert, Sender, Severity
from trade_core.alerts.outbox import Outbox
from trade_core.alerts.setup import read_channels
from trade_core.bot_hosts.selection import bot_host_of
from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_MS, Clock, SystemClock
from trade_core.clock_watch import ClockWatch
from trade_core.closing import close_all
from trade_core.logs import RefusalLog
from trade_core.peer_protocol import peer_protocol
from trade_core.ring_keeper import BOOK_FILE, RingKeeper
from trade_core.secrets import Secret
from trade_core.serving import UnixListener, serve
from trade_core.trust.kill_notice import kill_notice
from trade_journal.errors import JournalError
from trade_journal.writer.file_system import journal_folders, require_durable
from trade_journal.writer.writer import JournalWriter
from trade_killswitch.authorisation import COUNTERS_FILE, Authorisation
from trade_killswitch.automatic import STANDING_FILE, Automatic
from trade_killswitch.console_rows import add_console_rows
from trade_killswitch.drill_watch import DrillWatch
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.exchange_calls import ExchangeCalls
from trade_killswitch.executor import Executor
from trade_killswitch.gateway_halt import load_gateway
from trade_killswitch.halt_closing import HaltClosing
from trade_killswitch.identity import load_exchange_key, load_pinned_ring, load_signer
from trade_killswitch.journal_guard import JournalGuard
from trade_killswitch.kill_steps import Parts
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.own_samples import SAMPLES_FILE, OwnSamples
from trade_killswitch.readiness import Readiness
from trade_killswitch.recorder import Recorder
from trade_killswitch.revoker import ClientOf, RevokerExchange
from trade_killswitch.secret_store.selection import secret_store_of
from trade_killswitch.settings import ExecutorSettings
from trade_killswitch.socket_app import socket_app
from trade_killswitch.socket_roles import roles_by_user
from trade_killswitch.standing import Terms
from trade_killswitch.sweeper import Sweeper

KEPT_FILES: Final = (BOOK_FILE, COUNTERS_FILE, SAMPLES_FILE, STANDING_FILE)
CONNECTIONS_MAX: Final = 32
CHECKPOINT_EVERY_S: Final = 60.0
_OWN_USER_MODE: Final = 0o600
# Another user must be able to connect; who it is, the kernel says, and everybody else is turned away.
_OTHER_USER_MODE: Final = 0o666
log = logging.getLogger(__name__)


async def run(settings: ExecutorSettings, *, clock: Clock | None = None, stop: asyncio.Event | None = None) -> None:
    """Run until SIGTERM, SIGINT or `stop`. Raises TradeError for what must not be started with, or what ended it."""
    clock = clock or SystemClock()
    folders = journal_folders(state_dir=settings.state_dir, journal_url=settings.journal_url)
    require_durable(folders, environment=settings.environment)
    ring = load_pinned_ring(settings, kept=KEPT_FILES)
    signer = load_signer(settings, ring)
    exit_key = load_exchange_key(settings.secrets_file, name="exit")
    revoker_key = None if settings.revoker_file is None else load_exchange_key(settings.revoker_file, name="revoker")
    secrets = secret_store_of(settings)
    gateway = None if settings.gateway_handover is None else load_gateway(settings.gateway_handover)
    channels = [] if settings.alerts_file is None else read_channels(settings.alerts_file)
    # The journal's lock is what makes this executor the only one; the socket comes after it.
    journal = await JournalWriter.open(settings.journal_url, origin=signer.origin, clock=clock, signer=signer)
    metrics = ExecutorMetrics()
    recorder = Recorder(journal=journal, metrics=metrics, clock=clock)
    outbox = Outbox(
        sender=Sender(service="kill executor", environment=settings.environment, account=settings.account),
        channels=channels,
        clock=clock,
        count=metrics.count_alert,
    )
    client_of = _client_maker(settings, clock)
    exchange = ExitExchange(
        client=client_of(exit_key.key, exit_key.secret),
        requests_per_s=settings.requests_per_s,
        metrics=metrics,
        clock=clock,
    )
    revoker = None
    if revoker_key is not None:
        calls = ExchangeCalls(
            client=client_of(revoker_key.key, revoker_key.secret),
            requests_per_s=settings.requests_per_s,
            metrics=metrics,
            clock=clock,
        )
        revoker = RevokerExchange(calls=calls, account=settings.account, client_of=client_of)
    parts = Parts(
        exchange=exchange,
        exit_key=exit_key.key.reveal(),
        sweeper=Sweeper(exchange=exchange, recorder=recorder, outbox=outbox, metrics=metrics, clock=clock),
        recorder=recorder,
        clock=clock,
        gateway=gateway,
        bot=bot_host_of(settings, lists_pods=True),
        secrets=secrets,
        revoker=revoker,
        baseline={holding.coin: holding.amount for holding in ring.baseline.holdings},
        quote_coin=settings.quote_coin,
        slippage=settings.flatten_slippage,
        sign_notice=lambda standing: kill_notice(
            standing, now_ms=clock.wall_ns() // NS_PER_MS, private_key=signer.private_key
        ),
    )
    call = partial(_call, outbox)
    guard = JournalGuard(journal=journal, recorder=recorder, tell=call)
    samples = OwnSamples(exchange=exchange, clock=clock, state_dir=settings.state_dir, tell=call)
    readiness = Readiness(
        account=settings.account,
        exit_key=parts.exit_key,
        exchange=exchange,
        revoker=revoker,
        gateway=gateway,
        bot=parts.bot,
        secrets=secrets,
        recorder=recorder,
        metrics=metrics,
        own_samples=lambda: samples.words,
        journal=lambda: guard.words,
    )
    drills = DrillWatch(
        rows=journal,
        every_days=settings.drill_every_days,
        tell=outbox.alert,
        overdue=metrics.drill_overdue,
        clock=clock,
    )
    clock_watch = ClockWatch(clock=clock)
    rings = RingKeeper(
        folder=settings.state_dir,
        first=ring,
        record=recorder.record_ring,
        clock=clock,
        is_clock_trusted=clock_watch.is_trusted,
    )
    authorisation = Authorisation(
        ring=lambda: rings.ring,
        clock=clock,
        state_dir=settings.state_dir,
        is_clock_trusted=clock_watch.is_trusted,
    )
    automatic = Automatic(
        authorisation=authorisation,
        readiness=readiness,
        exchange=exchange,
        revoker=revoker,
        recorder=recorder,
        clock=clock,
        state_dir=settings.state_dir,
        terms_of=lambda keys: Terms(
            account=settings.account, keys=keys, endings=settings.endings, drawdown=settings.kill_drawdown
        ),
        tell=call,
        samples=samples,
    )
    samples.load()
    automatic.load()
    executor = Executor(
        settings=settings,
        rings=rings,
        journal=journal,
        parts=parts,
        readiness=readiness,
        drills=drills,
        authorisation=authorisation,
        automatic=automatic,
        closing=HaltClosing(
            parts=parts,
            endings=settings.halt_endings,
            drawdown=settings.on_halt_drawdown,
            samples=samples,
            outbox=outbox,
        ),
        outbox=outbox,
        metrics=metrics,
        clock=clock,
        is_clock_trusted=clock_watch.is_trusted,
    )
    try:
        await executor.start()
        loops = (
            readiness.keep_proving(),
            automatic.keep_sampling(),
            executor.keep_ring(),
            _keep_signing(executor),
            drills.run(),
            guard.keep_looking(),
            outbox.run(),
        )
        await _serve(settings, executor, loops, metrics, stop=stop or asyncio.Event())
    finally:
        try:
            await executor.stop()
        finally:
            connected = [one for one in (exchange, revoker, gateway, secrets, journal) if one is not None]
            await close_all(*(one.close for one in connected))


def _call(outbox: Outbox, subject: str, text: str) -> None:
    """Call a person."""
    outbox.alert(
        Alert(subject=subject, severity=Severity.CRITICAL, text=text[:TEXT_CHARACTERS_MAX], needs_acknowledgement=True)
    )


def _client_maker(settings: ExecutorSettings, clock: Clock) -> ClientOf:
    def client_of(key: Secret, secret: Secret) -> BybitClient:
        return BybitClient(
            base_url=settings.exchange_http,
            clock=clock,
            is_simulated=settings.is_simulated,
            key=key,
            secret=secret,
            user_agent="trade-kill-executor",
        )

    return client_of


async def _serve(
    settings: ExecutorSettings,
    executor: Executor,
    loops: Sequence[Coroutine[Any, Any, None]],
    metrics: ExecutorMetrics,
    *,
    stop: asyncio.Event,
) -> None:
    tasks = [asyncio.create_task(loop) for loop in loops]
    for task in tasks:
        task.add_done_callback(lambda _: stop.set())
    listener = _listener(settings, executor, metrics)
    try:
        await serve([listener], stop=stop, on_ready=lambda: log.info("takes requests at %s", settings.socket))
        for task in tasks:
            if task.done():
                task.result()  # a refused key must not look like a clean end
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


def _listener(settings: ExecutorSettings, executor: Executor, metrics: ExecutorMetrics) -> UnixListener:
    own = os.getuid()
    roles = roles_by_user(own_uid=own, watchdog_uid=settings.watchdog_uid, console_uid=settings.console_uid)
    users = frozenset(roles)
    refusals = RefusalLog("the socket")
    app = socket_app(executor, registry=metrics.registry, roles=roles, on_refusal=refusals.note)
    add_console_rows(app, executor.recorder)
    settings.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return UnixListener(
        app=app,
        path=settings.socket,
        mode=_OWN_USER_MODE if users == {own} else _OTHER_USER_MODE,
        setting="socket",
        http=peer_protocol(refusals.note, allowed_uids=users, max_connections=CONNECTIONS_MAX),
        options={"limit_concurrency": None, "ws": "none"},
    )


async def _keep_signing(executor: Executor) -> None:
    """Sign a checkpoint every minute, so that rows are vouched for although nobody asks."""
    while True:
        with contextlib.suppress(JournalError):
            await executor.checkpoint()
        await asyncio.sleep(CHECKPOINT_EVERY_S)
