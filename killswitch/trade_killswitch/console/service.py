"""Puts the console together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import stat
import sys
from typing import Final

from trade_core.clock import Clock, SystemClock
from trade_core.closing import close_all
from trade_core.errors import ConfigurationError
from trade_core.guarded_protocol import guarded_protocol
from trade_core.logs import RefusalLog
from trade_core.serving import Listener, serve
from trade_core.trust.ring import read_ring
from trade_killswitch.console.app import console_app
from trade_killswitch.console.guard import Guard
from trade_killswitch.console.ledger import Ledger
from trade_killswitch.console.metrics import SOURCES, ConsoleMetrics
from trade_killswitch.console.parts import Parts
from trade_killswitch.console.settings import ConsoleSettings
from trade_killswitch.console.sign_in import CODE_LIFETIME_S, CodeBook, Sessions, WrongCodes
from trade_killswitch.console.sources import HandoverService, SocketService
from trade_killswitch.console.watch import Watch

CONNECTIONS_MAX: Final = 64
log = logging.getLogger(__name__)


async def run(settings: ConsoleSettings, *, clock: Clock | None = None, stop: asyncio.Event | None = None) -> None:
    """Run until SIGTERM, SIGINT or `stop`. Raises TradeError for what must not be started with."""
    clock = clock or SystemClock()
    _check_ring(settings)
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    gateway = HandoverService(SOURCES[0], settings.gateway_handover)
    watchdog = HandoverService(SOURCES[1], settings.watchdog_handover)
    executor = SocketService(SOURCES[2], settings.executor_socket)
    metrics = ConsoleMetrics()
    watch = Watch(
        gateway=gateway,
        watchdog=watchdog,
        executor=executor,
        ring_file=settings.ring_file,
        state_dir=settings.state_dir,
        metrics=metrics,
        clock=clock,
    )
    codes = CodeBook(settings.state_dir, clock=clock)
    parts = Parts(
        watch=watch,
        gateway=gateway,
        watchdog=watchdog,
        executor=executor,
        codes=codes,
        wrong_codes=WrongCodes(clock=clock),
        sessions=Sessions(clock=clock),
        ledger=Ledger(executor, metrics=metrics),
        metrics=metrics,
        origin=settings.origin,
        clock=clock,
    )
    looking = asyncio.create_task(watch.run())
    try:
        await serve([_listener(settings, parts)], stop=stop or asyncio.Event(), on_ready=lambda: _tell(settings, codes))
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        await close_all(gateway.close, watchdog.close)


def _check_ring(settings: ConsoleSettings) -> None:
    """Refuse the ring of another account; one that is not there yet may come later, and the page says so."""
    if not settings.ring_file.exists():
        return
    ring = read_ring(settings.ring_file)
    for name in ("environment", "account"):
        if getattr(ring, name) != getattr(settings, name):
            raise ConfigurationError(f"{settings.ring_file}: {name} is not that of the settings")


def _listener(settings: ConsoleSettings, parts: Parts) -> Listener:
    address = f"{settings.listen_host}:{settings.listen_port}"
    return Listener(
        app=Guard(console_app(parts), origin=settings.origin, address=address),
        host=settings.listen_host,
        port=settings.listen_port,
        setting="listen_port",
        http=guarded_protocol(RefusalLog("the console").note, max_connections=CONNECTIONS_MAX),
        options={"limit_concurrency": None, "ws": "none", **_tls(settings)},
    )


def _tls(settings: ConsoleSettings) -> dict[str, str]:
    """Return what the server needs for https; empty for plain http on this machine. Raises ConfigurationError."""
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None or key is None:
        return {}
    try:
        if stat.S_IMODE(key.stat().st_mode) & 0o077:
            raise ConfigurationError(f"{key}: the key of TLS is open to others; chmod 600 it (setting tls_key_file)")
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"{certificate}, {key}: no certificate with its key (settings tls_certificate_file, tls_key_file): {why}"
        ) from None
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}


def _tell(settings: ConsoleSettings, codes: CodeBook) -> None:
    log.info("the console is at %s/", settings.origin)
    if sys.stdout.isatty():
        sys.stdout.write(
            f"{settings.origin}/   code: {codes.issue()}   (good once, for {CODE_LIFETIME_S // 60} minutes)\n"
        )
        sys.stdout.flush()
    else:
        log.info("to read it, print a code: trade-console code --config FILE")
