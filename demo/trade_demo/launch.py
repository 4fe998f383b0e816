"""Starts the stack in order, and ends it: freqtrade first, so that its cancels still pass, the exchange last.

simulator   first: it makes the accounts and keys of this run
watchdog    `init`: makes its lease key, whose public half the gateway pins
journal-writer `init`: makes the key that signs the gateway's log
executor    `init`: makes the key that signs its own log
gateway     `init`: makes its own keys, the key ring, and a handover file for each of its users
journal-writer runs, and has the ring's word for whose log it writes
executor    runs, before anything that it may have to sweep is traded
gateway     and watchdog run; the gateway becomes ACTIVE with the watchdog's first lease
freqtrade   paused, with the configuration that the gateway prints, and then told to start
console     once there is something to see: the page for people
shim        last: follows freqtrade's trades into the journal
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx

from trade_core.clock import Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_demo.bot_files import write_bot_handover, write_freqtrade_config
from trade_demo.commands import (
    console_code_command,
    freqtrade_config_command,
    freqtrade_spec,
    init_executor_command,
    init_gateway_command,
    init_journal_writer_command,
    init_watchdog_command,
    service_spec,
    shim_spec,
)
from trade_demo.credentials import ExchangeCredentials, read_exchange_credentials, read_handover
from trade_demo.desk import lay_out
from trade_demo.exchange_reader import ExchangeReader, get_json, http_client
from trade_demo.files import CONSOLE, EXECUTOR, JOURNAL_WRITER, SHIM, Files
from trade_demo.freqtrade_control import FreqtradeAccess, FreqtradeControl
from trade_demo.observe import ExchangeObserver, GatewayObserver, observe_forever
from trade_demo.options import Bot, Mode, Options, Scenario
from trade_demo.policy import CRASH_AMOUNT, CRASH_COIN
from trade_demo.ports import Ports, console_url
from trade_demo.process import (
    ProcessFailed,
    ProcessSpec,
    RunningProcess,
    failure_of,
    minimal_environment,
    run_to_end,
    service_command,
    start_process,
    stop_processes,
    watch,
)
from trade_demo.scenarios.play import play
from trade_demo.scenarios.stage import Stage
from trade_demo.settings_files import (
    write_console_settings,
    write_executor_settings,
    write_gateway_settings,
    write_journal_writer_settings,
    write_shim_settings,
    write_simulator_settings,
    write_watchdog_settings,
)
from trade_demo.software_keys import SoftwareKeys
from trade_demo.verdict import Verdict
from trade_demo.view import HappeningKind, View

# Each wait of the start: some seconds on a busy two-core machine, and much more on a slow one.
READY_TIMEOUT_S = 180
POLL_S = 0.1
# The end as a whole stays below 10 s: 3 + 1 (kill) + 1 (last look) + 2 + 1 (kill) + 1.5, the simulator dies at once.
BOT_STOP_S = 3.0
LAST_LOOK_S = 1.0
SERVICES_STOP_S = 2.0
WRITER_STOP_S = 0.5
SIMULATOR_STOP_S = 0.5
LOG_TAIL_BYTES = 600

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Stack:
    """The running processes and the observers that look at them."""

    def __init__(self, *, options: Options, files: Files, ports: Ports, view: View, clock: Clock, spawn: Spawn) -> None:
        self.running: list[RunningProcess] = []
        self.exchange: ExchangeCredentials | None = None
        self.freqtrade: FreqtradeAccess | None = None
        self._options = options
        self._files = files
        self._ports = ports
        self._view = view
        self._clock = clock
        self._spawn = spawn
        self._clients = contextlib.AsyncExitStack()
        self._at_hand = ""
        self._gateway: GatewayObserver | None = None
        self._exchange_observer: ExchangeObserver | None = None

    async def start(self) -> None:
        """Start everything and return when the bot trades, or without a bot when the gateway is ACTIVE.

        Raises ProcessFailed or ConfigurationError with a sentence for people.
        """
        self.exchange = await self._start_simulator()
        await self._prepare_services(self.exchange)
        await self._start_services(self.exchange)
        await self._start_console(self.exchange)
        if self._options.bot is Bot.FREQTRADE:
            await self._start_freqtrade()
            await self._start_shim(self.exchange)
        self._view.headline = "running"
        self._step(f"to try the commands of README and runbook, in another terminal: {self._at_hand}")
        self._step("everything is ready")

    async def stop(self, *, is_hurried: bool) -> None:
        """End every process within 10 s; at once when hurried."""
        bots = [item for item in self.running if item.spec.name == "freqtrade"]
        services = [item for item in self.running if item.spec.name in {"gateway", "watchdog", EXECUTOR, CONSOLE, SHIM}]
        writers = [item for item in self.running if item.spec.name == JOURNAL_WRITER]
        rest = [item for item in self.running if item not in (*bots, *services, *writers)]
        await stop_processes(bots, deadline_s=0 if is_hurried else BOT_STOP_S)
        if not is_hurried:
            await self._look_once_more()
        await stop_processes(services, deadline_s=0 if is_hurried else SERVICES_STOP_S)
        await stop_processes(writers, deadline_s=0 if is_hurried else WRITER_STOP_S)
        await stop_processes(rest, deadline_s=0 if is_hurried else SIMULATOR_STOP_S)
        await self._clients.aclose()

    async def _start_simulator(self) -> ExchangeCredentials:
        write_simulator_settings(self._files, ports=self._ports, options=self._options)
        simulator = await self._launch(service_spec(self._files, "simulator"))
        await self._until(simulator, _exists(self._files.credentials), "write its credentials")
        exchange = read_exchange_credentials(self._files.credentials)
        self._step(f"simulated exchange at {exchange.url}, control at {exchange.control}/__sim")
        if self._options.scenario is Scenario.CRASH:
            await self._adopt_a_holding(exchange)
        return exchange

    async def _adopt_a_holding(self, exchange: ExchangeCredentials) -> None:
        """Let the account hold a coin before its deployment begins, so that the baseline names it."""
        headers = _bearer(exchange.control_token.reveal())
        async with http_client(exchange.control, headers=headers) as control:
            answer = await control.post("/__sim/flow", json={"coin": CRASH_COIN, "amount": CRASH_AMOUNT})
            if answer.status_code != httpx.codes.OK:
                raise ProcessFailed(f"the simulator gives no {CRASH_COIN}: {answer.text[:200]}")
        self._step(f"the account holds {CRASH_AMOUNT} {CRASH_COIN} that the bot does not trade: 70 % of its equity")

    async def play(self, scenario: Scenario) -> Verdict:
        """Play a scenario on the running stack; answers how it ended, with its evidence in the view."""
        assert self.exchange is not None
        if scenario is Scenario.DRILL:
            for item in self.running:
                item.is_stopping |= item.spec.name == "freqtrade"  # the kill ends it
        async with contextlib.AsyncExitStack() as clients:
            enter = clients.enter_async_context
            operator = read_handover(self._files.handover("gateway", "operator"))
            watched = read_handover(self._files.handover("watchdog", "operator"))
            stage = Stage(
                control=await enter(
                    http_client(self.exchange.control, headers=_bearer(self.exchange.control_token.reveal()))
                ),
                gateway=await enter(http_client(operator.url, headers=_bearer(operator.token.reveal()))),
                watchdog=await enter(http_client(watched.url, headers=_bearer(watched.token.reveal()))),
                files=self._files,
                account=self.exchange.account,
                keys=SoftwareKeys(
                    folder=self._files.security_keys,
                    command=service_command("simulator", "trade-security-key"),
                    run=lambda command: self._run("security-keys", command),
                ),
                view=self._view,
                clock=self._clock,
            )
            return await play(scenario, stage)

    async def _prepare_services(self, exchange: ExchangeCredentials) -> None:
        files, ports = self._files, self._ports
        has_bot = self._options.bot is Bot.FREQTRADE
        write_watchdog_settings(files, ports=ports, exchange=exchange, has_bot=has_bot)
        write_gateway_settings(files, ports=ports, exchange=exchange, options=self._options)
        write_journal_writer_settings(files, exchange=exchange)
        write_executor_settings(files, exchange=exchange, has_bot=has_bot)
        self._at_hand = lay_out(files)
        self._step("watchdog, journal writer, gateway and kill executor make their keys and the key ring")
        await self._run("watchdog", init_watchdog_command(files))
        await self._run(JOURNAL_WRITER, init_journal_writer_command(files))
        await self._run(EXECUTOR, init_executor_command(files))
        await self._run("gateway", init_gateway_command(files))
        self._step(f"no security key is enrolled, so nothing can be released; the code that enrols two: {files.codes}")

    async def _start_services(self, exchange: ExchangeCredentials) -> None:
        writer = await self._launch(service_spec(self._files, JOURNAL_WRITER))
        await self._until(writer, _is_there(self._files.journal_socket("gateway")), "open its journal")
        self._step(f"the journal is written by a process of its own: {self._files.journal('gateway')}")
        executor = await self._launch(service_spec(self._files, EXECUTOR))
        gateway = await self._launch(service_spec(self._files, "gateway"))
        watchdog = await self._launch(service_spec(self._files, "watchdog"))
        admin = await self._observe(exchange)
        await self._until(gateway, _answers(admin, "/healthz"), "answer")
        self._step(f"gateway at http://127.0.0.1:{self._ports.gateway}, admin at {admin.base_url}")
        self._step(f"watchdog admin at http://127.0.0.1:{self._ports.watchdog_admin}")
        await self._until(executor, _is_there(self._files.executor_socket), "open its socket")
        self._step(f"kill executor, with an exit key and no port, at {self._files.executor_socket}")
        self._view.headline = "waiting for the watchdog's lease"
        watched = self._files.handover("watchdog", "operator")
        await self._until(watchdog, _exists(watched), "write its handover file")
        await self._until(gateway, self._is_active, "become ACTIVE")

    async def _start_console(self, exchange: ExchangeCredentials) -> None:
        write_console_settings(self._files, ports=self._ports, exchange=exchange)
        if not self._options.has_console:
            self._view.console = "left out, as asked"
            return
        console = await self._launch(service_spec(self._files, CONSOLE))
        url = console_url(self._ports)
        async with http_client(url) as client:
            await self._until(console, _answers(client, "/healthz"), "answer")
        code = (await self._run(CONSOLE, console_code_command(self._files))).decode("ascii", "replace").strip()
        self._view.console = f"{url}/   code {code}"
        self._step(f"console at {url}/, code {code} (good once, for ten minutes)")

    async def _observe(self, exchange: ExchangeCredentials) -> httpx.AsyncClient:
        """Start the observers of exchange and gateway and return the gateway's admin client."""
        enter = self._clients.enter_async_context
        operator = read_handover(self._files.handover("gateway", "operator"))
        admin = await enter(http_client(operator.url, headers=_bearer(operator.token.reveal())))
        control = await enter(http_client(exchange.control, headers=_bearer(exchange.control_token.reveal())))
        public = await enter(http_client(exchange.url))
        self._gateway = GatewayObserver(client=admin, view=self._view)
        self._exchange_observer = ExchangeObserver(
            reader=ExchangeReader(client=public, api_key=exchange.watch, clock=self._clock),
            control=control,
            account=exchange.account,
            category="linear" if self._options.mode is Mode.FUTURES else "spot",
            gateway=self._gateway,
            view=self._view,
        )
        self._spawn(observe_forever(self._gateway.read))
        self._spawn(observe_forever(self._exchange_observer.read))
        return admin

    async def _start_freqtrade(self) -> None:
        self._view.headline = "starting freqtrade"
        printed = await self._run(
            "gateway", freqtrade_config_command(self._files, mode=self._options.mode, ports=self._ports)
        )
        access = write_freqtrade_config(self._files, printed, mode=self._options.mode)
        freqtrade = await self._launch(freqtrade_spec(self._files))
        self.freqtrade = access
        write_bot_handover(self._files, access, pid=freqtrade.pid)
        control = FreqtradeControl(access)
        self._clients.push_async_callback(control.close)
        await self._until(freqtrade, control.is_answering, "answer its control interface")
        self._step(f"freqtrade's control at {access.url}; it is paused and is told to start")
        await self._until(freqtrade, control.start_trading, "start trading")
        self._view.freqtrade_state = "running"
        self._spawn(observe_forever(lambda: self._note_freqtrade(control)))

    async def _start_shim(self, exchange: ExchangeCredentials) -> None:
        write_shim_settings(self._files, exchange=exchange)
        await self._launch(shim_spec(self._files))
        self._step("the journal shim writes freqtrade's trades into the journal")

    async def _note_freqtrade(self, control: FreqtradeControl) -> None:
        self._view.freqtrade_state = await control.state()

    async def _is_active(self) -> bool:
        return self._view.trading_state == "ACTIVE"

    async def _launch(self, spec: ProcessSpec) -> RunningProcess:
        running = await start_process(spec)
        self.running.append(running)
        self._spawn(watch(running))
        self._view.happened(HappeningKind.PROCESS, f"{spec.name} started, process {running.pid}")
        return running

    async def _run(self, service: str, command: list[str]) -> bytes:
        home = self._files.root / service
        return await run_to_end(command, environment=minimal_environment(home), log_file=self._files.log(service))

    async def _until(self, running: RunningProcess, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until a condition holds. Raises ProcessFailed when any process ends first or it takes too long."""
        name = running.spec.name
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while not await holds():
            for item in self.running:
                if item.exit_code is not None:
                    why = log_tail(item.spec.log_file)
                    raise failure_of(f"{item.spec.name} ended with code {item.exit_code}: {why}", item.exit_code)
            if asyncio.get_running_loop().time() > deadline:
                why = "; ".join(self._view.reasons)
                raise ProcessFailed(
                    f"{name} did not {what} within {READY_TIMEOUT_S} s{f' ({why})' if why else ''}, "
                    f"see {running.spec.log_file}"
                )
            await asyncio.sleep(POLL_S)

    async def _look_once_more(self) -> None:
        """Take in what happened until the bot ended; the services may be gone."""
        if self._gateway is None or self._exchange_observer is None:
            return
        with contextlib.suppress(ExchangeUnavailable, ExchangeAnswerInvalid, TimeoutError):
            async with asyncio.timeout(LAST_LOOK_S):
                await self._exchange_observer.read()
                await self._gateway.read_rows()

    def _step(self, text: str) -> None:
        self._view.happened(HappeningKind.STEP, text)


def log_tail(file: Path) -> str:
    """Return the end of a log file on one line, for a message about why its process ended."""
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - LOG_TAIL_BYTES))
        return " ".join(log.read().decode("utf-8", "replace").split())


def _exists(file: Path) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await asyncio.to_thread(file.is_file)

    return holds


def _is_there(path: Path) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await asyncio.to_thread(path.exists)

    return holds


def _answers(client: httpx.AsyncClient, path: str) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        try:
            await get_json(client, path)
        except (ExchangeUnavailable, ExchangeAnswerInvalid):
            return False
        return True

    return holds


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
