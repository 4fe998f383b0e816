"""The command `trade-simulator`: reads its settings, opens the exchange, serves it until told to end.

Exit codes: 0 ended as asked, 1 failed, 2 refused to start (usage, settings, a file or a port).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvloop

from trade_core.clock import SystemClock
from trade_core.errors import ConfigurationError
from trade_core.logs import configure_logging
from trade_core.secrets import write_secret_file
from trade_core.serving import bind, serve
from trade_core.settings import load_settings
from trade_simulator.assembly import Simulator, assemble, warm_up
from trade_simulator.bootstrap import control_token, credentials
from trade_simulator.instruments import DEFAULT_INSTRUMENTS, symbol_tick_size
from trade_simulator.market.price_file import PriceFileError, RecordedBar, read_bars
from trade_simulator.settings import SimulatorSettings

SUCCESS, FAILURE, REFUSED = 0, 1, 2
_LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulator in the foreground."""
    config = _parser().parse_args(arguments).config
    try:
        settings = load_settings(config, SimulatorSettings)
        configure_logging("trade-simulator", level=settings.log_level)
        return uvloop.run(_run(settings))
    except ConfigurationError as error:
        sys.stderr.write(f"trade-simulator: {error}\n")
        return REFUSED
    except KeyboardInterrupt:
        return SUCCESS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-simulator",
        description="A simulated Bybit V5 exchange on loopback. Nothing it shows is a real market.",
        epilog="Exit codes: 0 ended as asked, 1 failed, 2 refused to start.",
    )
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="settings, TOML")
    return parser


def _replay(settings: SimulatorSettings) -> Mapping[str, Sequence[RecordedBar]] | None:
    if settings.market == "walk":
        return None
    histories: dict[str, Sequence[RecordedBar]] = {}
    for symbol, path in settings.replay.items():
        try:
            histories[symbol] = read_bars(path, tick_size=symbol_tick_size(DEFAULT_INSTRUMENTS, symbol))
        except (OSError, PriceFileError) as error:
            raise ConfigurationError(f"replay.{symbol}: {path}: {error}") from error
    return histories


async def _run(settings: SimulatorSettings) -> int:
    stop = asyncio.Event()
    clock = SystemClock()
    token = control_token(settings.control_token_file)
    simulator = assemble(settings, clock=clock, control_token=token, stop=stop, replay=_replay(settings))
    for listener in simulator.listeners:
        bind(listener).close()
    # From here on the ports are ours, so a credentials file that exists was left by a simulator that crashed.
    settings.credentials_file.unlink(missing_ok=True)
    warm_up(simulator.exchange)
    ready = asyncio.Event()
    ticking = asyncio.create_task(_tick(simulator, ready=ready, stop=stop))
    ticking.add_done_callback(lambda _: stop.set())

    def announce() -> None:
        _announce(settings, simulator, token)
        ready.set()

    try:
        await serve(simulator.listeners, stop=stop, on_ready=announce)
    finally:
        stop.set()
        ready.set()
        settings.credentials_file.unlink(missing_ok=True)
    return await _outcome(ticking)


async def _tick(simulator: Simulator, *, ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Move the market once everything is announced: the synced write of the credentials may take long."""
    await ready.wait()
    await simulator.ticker.run(stop)


def _announce(settings: SimulatorSettings, simulator: Simulator, token: str) -> None:
    """Write the credentials file: whoever waits for it may start."""
    content = credentials(
        simulator.opening,
        host=settings.host,
        port=settings.port,
        control_port=settings.control_port,
        control_token=token,
        pid=os.getpid(),
    )
    write_secret_file(settings.credentials_file, content)
    _LOG.info("SIMULATED exchange on %s:%d, market %s", settings.host, settings.port, settings.market)


async def _outcome(ticking: asyncio.Task[None]) -> int:
    try:
        await ticking
    except Exception:  # noqa: BLE001 - the task boundary of the market: a dead market must end the process loudly
        _LOG.exception("the market stopped")
        return FAILURE
    _LOG.info("ended")
    return SUCCESS


if __name__ == "__main__":
    sys.exit(main())
