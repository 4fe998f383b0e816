"""Puts a simulator together: engine, reception, streams, control and tick loop, behind two listeners."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trade_core.clock import Clock
from trade_core.serving import Listener
from trade_simulator.api.connection import protocol_logging_to
from trade_simulator.api.rate_limits import RateLimits
from trade_simulator.api.reception import Reception
from trade_simulator.api.server import ExchangeApplication
from trade_simulator.bootstrap import Opening, open_exchange
from trade_simulator.control import ControlApplication, Controls
from trade_simulator.exchange import Exchange
from trade_simulator.exchange_clock import ExchangeClock
from trade_simulator.faults import Faults
from trade_simulator.instruments import DEFAULT_INSTRUMENTS, SPOT_ONLY_INSTRUMENTS
from trade_simulator.market.price_file import RecordedBar
from trade_simulator.market.series import Interval
from trade_simulator.request_log import RequestLog
from trade_simulator.settings import SimulatorSettings
from trade_simulator.stream.hub import StreamHub
from trade_simulator.stream.session import MAX_FRAME_BYTES, StreamContext
from trade_simulator.ticker import TickLoop

# Protocol pings are the client's business here; compression would only cost processor time on loopback.
_EXCHANGE_OPTIONS: dict[str, Any] = {
    "ws_max_size": MAX_FRAME_BYTES,
    "ws_ping_interval": None,
    "ws_ping_timeout": None,
    "ws_per_message_deflate": False,
    "timeout_graceful_shutdown": 1,
}
_CONTROL_OPTIONS: dict[str, Any] = {"timeout_graceful_shutdown": 1, "ws": "none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """A simulator that is ready to be served."""

    exchange: Exchange
    opening: Opening
    ticker: TickLoop
    listeners: tuple[Listener, Listener]


def warm_up(exchange: Exchange) -> None:
    """Compute the histories of minutes now: asked for first in the midst of trading they would hold up the market."""
    for category, symbol in exchange.instruments:
        exchange.market.candles(category, symbol, Interval.M1, limit=1)
    exchange.tick()
    # The histories live as long as the process: the collector need not walk them at every turn.
    gc.collect()
    gc.freeze()


def assemble(
    settings: SimulatorSettings,
    *,
    clock: Clock,
    control_token: str,
    stop: asyncio.Event,
    replay: Mapping[str, Sequence[RecordedBar]] | None = None,
) -> Simulator:
    """Build everything; nothing is opened yet."""
    exchange_clock = ExchangeClock(clock)
    exchange = Exchange(
        now_ms=exchange_clock.now_ms,
        seed=settings.seed,
        instruments=(*DEFAULT_INSTRUMENTS, *(SPOT_ONLY_INSTRUMENTS if settings.spot_only else ())),
        speed=Decimal(settings.speed),
        replay=replay,
    )
    opening = open_exchange(exchange, equity_usdt=settings.equity_usdt)
    reception = Reception(exchange=exchange, clock=exchange_clock, limits=RateLimits())
    faults = Faults()
    log = RequestLog(clock=clock)
    hub = StreamHub(
        StreamContext(reception=reception, faults=faults, log=log, base_latency_ms=settings.base_latency_ms)
    )

    def step() -> None:
        exchange.tick()
        hub.on_tick()

    ticker = TickLoop(step=step, clock=clock)
    application = ExchangeApplication(
        reception=reception,
        faults=faults,
        log=log,
        streams=hub,
        stop=stop,
        base_latency_ms=settings.base_latency_ms,
    )
    controls = Controls(
        reception=reception,
        faults=faults,
        log=log,
        opening=opening,
        ticker=ticker,
        open_sessions=lambda: hub.open_sessions,
    )
    listeners = (
        Listener(
            app=application,
            host=settings.host,
            port=settings.port,
            setting="port",
            http=protocol_logging_to(log),
            options=_EXCHANGE_OPTIONS,
        ),
        Listener(
            app=ControlApplication(controls, token=control_token),
            host=settings.host,
            port=settings.control_port,
            setting="control_port",
            options=_CONTROL_OPTIONS,
        ),
    )
    return Simulator(exchange=exchange, opening=opening, ticker=ticker, listeners=listeners)
