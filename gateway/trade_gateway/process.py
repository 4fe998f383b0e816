"""The gateway as a process: its journal's writer reached, gateway and listeners put together and ended in order."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping

from trade_core.administration import admin_listener
from trade_core.alerts.model import Sender
from trade_core.alerts.outbox import Outbox
from trade_core.alerts.setup import read_channels
from trade_core.clock import SystemClock
from trade_core.garbage import Garbage
from trade_core.guarded_protocol import MAX_CONNECTIONS, guarded_protocol
from trade_core.logs import RefusalLog
from trade_core.open_files import connections_within_limit
from trade_core.secrets import Secret
from trade_core.serving import Listener, UnixListener, serve
from trade_core.trust.ring import ring_hash
from trade_gateway.admin import admin_app
from trade_gateway.admin_thread import FromAnotherThread, HaltFirst
from trade_gateway.genesis import check_genesis, remember_genesis
from trade_gateway.identity import Role, load_identity, load_order_key
from trade_gateway.listener import BotListener
from trade_gateway.parts import Parts
from trade_gateway.service import Gateway
from trade_gateway.settings import GatewaySettings
from trade_gateway.stream_frames import MAX_FRAME_CHARACTERS
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.writer.client import JournalClient

# As on the bot's listener, more than a thousand idle ones are let be: to throw them out again and again costs both.
ADMIN_CONNECTIONS = 1_200
# Threads take turns; with the usual 5 ms the admin listener's would wait that long for its own while orders come.
SWITCH_EVERY_S = 0.0005
JOURNAL_WITHIN_S = 15  # the journal writer may be starting too
log = logging.getLogger("trade_gateway")


async def run(settings: GatewaySettings) -> None:
    """Run until a signal ends it. Raises TradeError for what must not be started with, or what ended it."""
    sys.setswitchinterval(SWITCH_EVERY_S)
    identity, ring = load_identity(settings)
    order_key = load_order_key(settings)
    channels = [] if settings.alerts_file is None else read_channels(settings.alerts_file)
    clock = SystemClock()
    origin = gateway_log_keys(ring).log.name
    journal = await JournalClient.open(settings.journal_socket, origin=origin, clock=clock, within_s=JOURNAL_WITHIN_S)
    try:
        await check_genesis(settings.state_dir, journal, ring_hash=ring_hash(ring))
    except BaseException:
        await journal.close()
        raise
    outbox = Outbox(
        sender=Sender(service="gateway", environment=settings.environment, account=settings.account),
        channels=channels,
        clock=clock,
    )
    parts = Parts(
        settings=settings,
        identity=identity,
        ring=ring,
        order_key=order_key,
        journal=journal,
        clock=clock,
        tell=outbox.alert,
        told=outbox.told,
    )
    gateway = Gateway(parts)
    stop, beside = asyncio.Event(), [asyncio.create_task(outbox.run())]
    try:
        await gateway.start(stop=stop)
        await remember_genesis(settings.state_dir, journal)
        beside.append(asyncio.create_task(Garbage(clock=clock, is_quiet=gateway.is_quiet).run()))
        await serve(
            _listeners(settings, gateway, tokens=identity.admin_tokens),
            stop=stop,
            on_ready=lambda: log.info("%s", _where(settings)),
        )
    finally:
        await gateway.stop()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    if gateway.fatal is not None:
        raise gateway.fatal


def _listeners(
    settings: GatewaySettings, gateway: Gateway, *, tokens: Mapping[Role, Secret]
) -> list[Listener | UnixListener]:
    room = connections_within_limit(MAX_CONNECTIONS + ADMIN_CONNECTIONS)
    for_admin = room * ADMIN_CONNECTIONS // (MAX_CONNECTIONS + ADMIN_CONNECTIONS)
    bot = Listener(
        app=BotListener(judge=gateway.judge, relay=gateway.relay),
        host=settings.listen_host,
        port=settings.listen_port,
        setting="listen_port",
        http=guarded_protocol(gateway.judge.count_refusal, max_connections=room - for_admin),
        # The protocol itself bounds connections, and counts what it refuses.
        options={"limit_concurrency": None, "ws_max_size": MAX_FRAME_CHARACTERS * 4, "interface": "asgi3"},
    )
    asked = FromAnotherThread(gateway)
    admin = admin_listener(
        settings,
        app=HaltFirst(
            admin_app(asked, tokens=tokens, registry=gateway.metrics.registry),
            tokens=tokens,
            stop_orders=lambda request, role: asked.stop_orders(request, by=role.value),
        ),
        has_own_thread=True,
        on_refusal=RefusalLog("admin listener").note,
        max_connections=for_admin,
        options={},
    )
    return [admin, bot]


def _where(settings: GatewaySettings) -> str:
    return (
        f"listening for the bot on {settings.listen_host}:{settings.listen_port}, "
        f"for administration on {settings.admin_url}"
    )
