"""One run of the demo from its options to its exit code: start, show, wait, end, judge."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trade_core.clock import SystemClock
from trade_core.errors import ConfigurationError, TradeError
from trade_core.secrets import write_secret_file
from trade_demo.describe import describe
from trade_demo.files import Files
from trade_demo.launch import Stack
from trade_demo.observe import ProcessObserver, observe_forever
from trade_demo.options import Options, Scenario
from trade_demo.ports import Ports, choose_ports
from trade_demo.process import ProcessFailed
from trade_demo.screen import Screen, choose_screen
from trade_demo.summary import find_error_lines, measure_memory, summarise
from trade_demo.verdict import FAILED, Verdict, judge
from trade_demo.view import HappeningKind, View

REDRAW_S = 0.5
SECONDS_PER_MINUTE = 60


async def run(options: Options) -> int:
    """Run the demo and return its exit code. Raises ConfigurationError before anything was started."""
    ports = choose_ports(options.base_port)
    files = make_state_folder(options.state_dir)
    clock = SystemClock()
    view = View(clock=clock)
    tasks = Tasks()
    stack = Stack(options=options, files=files, ports=ports, view=view, clock=clock, spawn=tasks.spawn)
    screen = choose_screen(is_json=options.is_json, output=sys.stdout)
    drawing = asyncio.create_task(_redraw(screen, view))
    view.happened(HappeningKind.STEP, f"all files are in {files.root}")
    tasks.spawn(observe_forever(ProcessObserver(running=stack.running, view=view).read))
    try:
        failure = await _start_and_wait(stack, options=options, files=files, ports=ports, tasks=tasks)
    finally:
        view.headline = "ending"
        memory = measure_memory(stack.running)
        # What a scenario brings about may end the bot: the watchdog does that.
        may_end = {"freqtrade"} if options.scenario else set()
        died = [item.spec.name for item in stack.running if item.has_died and item.spec.name not in may_end]
        await _stop(stack, tasks)
        await tasks.cancel()
        drawing.cancel()
    verdict = judge(bot=options.bot, counts=view.counts, died=died, failure=failure, scenario=tasks.scenario)
    error_lines = await asyncio.to_thread(find_error_lines, files.logs)
    screen.show(view)
    screen.end(summarise(view, verdict=verdict, memory=memory, error_lines=error_lines, logs=files.logs))
    return verdict.exit_code


class Tasks:
    """The tasks of a run, and the event that ends it: a signal, or a task that failed."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.hurry = asyncio.Event()
        self.scenario: Verdict | None = None
        self._failure: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; if it fails by a mistake of ours, the run ends and says so."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def verdict(self) -> Verdict | None:
        """Return how the run ends because a task failed."""
        return None if self._failure is None else Verdict(exit_code=FAILED, sentence=self._failure)

    async def cancel(self) -> None:
        """End every task."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_signal(self) -> None:
        # The second one means now.
        if self.ending.is_set():
            self.hurry.set()
        self.ending.set()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failure = f"a task of the demo failed: {type(error).__name__}: {error}"
            self.ending.set()


async def _start_and_wait(
    stack: Stack, *, options: Options, files: Files, ports: Ports, tasks: Tasks
) -> Verdict | None:
    """Start the stack and wait for the end of the run. Returns how it ends if it failed."""
    starting = asyncio.create_task(_start(stack, options=options, files=files, ports=ports))
    ending = asyncio.create_task(tasks.ending.wait())
    await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return tasks.verdict() or Verdict(exit_code=FAILED, sentence="ended before everything was ready")
    try:
        starting.result()
    except (TradeError, OSError) as error:
        ending.cancel()
        exit_code = error.exit_code if isinstance(error, ProcessFailed) else FAILED
        return Verdict(exit_code=exit_code, sentence=str(error))
    if options.scenario is not None:
        tasks.spawn(_play(stack, options.scenario, tasks))
    duration_s = None if options.minutes is None else float(options.minutes * SECONDS_PER_MINUTE)
    await asyncio.wait({ending}, timeout=duration_s)
    ending.cancel()
    return tasks.verdict()


async def _play(stack: Stack, scenario: Scenario, tasks: Tasks) -> None:
    """Play the scenario; the run ends with it."""
    tasks.scenario = Verdict(exit_code=FAILED, sentence=f"the run ended before the scenario {scenario.value} did")
    tasks.scenario = await stack.play(scenario)
    tasks.ending.set()


async def _start(stack: Stack, *, options: Options, files: Files, ports: Ports) -> None:
    await stack.start()
    if stack.exchange is None:
        return
    description = await describe(
        files=files,
        ports=ports,
        policy_file=options.policy_file or files.policy,
        exchange=stack.exchange,
        running=stack.running,
        freqtrade=stack.freqtrade,
    )
    write_secret_file(files.description, description)
    if options.describe_file is not None:
        write_secret_file(options.describe_file.absolute(), description)


async def _stop(stack: Stack, tasks: Tasks) -> None:
    """End the stack; a second signal makes it immediate."""
    gentle = asyncio.create_task(stack.stop(is_hurried=False))
    hurry = asyncio.create_task(tasks.hurry.wait())
    await asyncio.wait({gentle, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not gentle.done():
        gentle.cancel()
        await asyncio.gather(gentle, return_exceptions=True)
        await stack.stop(is_hurried=True)
    else:
        gentle.result()


async def _redraw(screen: Screen, view: View) -> None:
    while True:
        screen.show(view)
        await asyncio.sleep(REDRAW_S)


def make_state_folder(wanted: Path | None) -> Files:
    """Make the folder of this run, closed to other users. Raises ConfigurationError when it holds something."""
    name = f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    root = (wanted or Path(".state") / name).resolve()
    try:
        root.mkdir(parents=True, mode=0o700, exist_ok=True)
        is_empty = not any(root.iterdir())
    except OSError as error:
        raise ConfigurationError(f"--state-dir: {root}: {error.strerror}") from error
    if not is_empty:
        raise ConfigurationError(f"--state-dir: {root} is not empty; name a new folder")
    root.chmod(0o700)
    files = Files(root=root)
    files.make_folders()
    return files
