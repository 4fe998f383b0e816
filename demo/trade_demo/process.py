"""The stack's processes: each in its own process group and virtual environment, with its own log file.

Guarantees
- No secret stands in a command line or an environment variable; the environment is built here, not inherited.
- A process that does not end on SIGTERM by its deadline is killed with everything it started.
- All end when this process ends, even by SIGKILL: see child_guard.

A process that ends by itself is not started again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trade_core.errors import TradeError

_GUARD = Path(__file__).with_name("child_guard.py")
# Long enough for a service's initialisation on a busy two-core machine.
INIT_TIMEOUT_S = 180
# What every service of ours ends with when it refuses its settings.
REFUSED = 2
_MAX_SHOWN_CHARACTERS = 600
_MAX_OUTPUT_BYTES = 1024 * 1024
KILL_WAIT_S = 1.0


class ProcessFailed(TradeError):
    """The stack cannot be started or prepared. `exit_code` is what the demo ends with."""

    exit_code = 1


class ProcessRefused(ProcessFailed):
    """A service found its settings, policy or input absurd and said which: the same code as an absurd option."""

    exit_code = REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One long-running process: what runs and in which environment. Named as in the description file."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log_file: Path


@dataclass(slots=True, kw_only=True)
class RunningProcess:
    """A started process. `exit_code` is None while it lives; `is_stopping` once we asked it to end."""

    spec: ProcessSpec
    process: asyncio.subprocess.Process
    is_stopping: bool = False
    exit_code: int | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        """Return the process id, which is its process group's too."""
        return self.process.pid

    @property
    def has_died(self) -> bool:
        """Return whether it ended without being asked to."""
        return self.exit_code is not None and not self.is_stopping


def service_command(service: str, command: str) -> str:
    """Return the absolute path of a command in a service's own virtual environment, beside ours.

    Raises ProcessFailed with what to run when it is not there.
    """
    path = Path(sys.prefix).parent / service / "bin" / command
    if not path.is_file():
        raise ProcessFailed(f"{path} is missing: run `make setup` (or `make demo`, which does it) first")
    return str(path)


def minimal_environment(home: Path) -> dict[str, str]:
    """Return the whole environment that a service gets: nothing of ours is passed on."""
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
    }


async def start_process(spec: ProcessSpec) -> RunningProcess:
    """Start a process with its output in its log file."""
    with spec.log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *guarded(spec.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(spec.environment),
            cwd=spec.environment["HOME"],
            start_new_session=True,
        )
    return RunningProcess(spec=spec, process=process)


def guarded(command: Sequence[str]) -> list[str]:
    """Return the command behind the guard that binds its life to ours."""
    return [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *command]


async def watch(running: RunningProcess) -> None:
    """Note the exit code when the process ends, and end whatever it left behind in its group."""
    running.exit_code = await running.process.wait()
    # At once, while the group's number cannot have been given to anybody else.
    _signal_group(running.pid, signal.SIGKILL)
    running.ended.set()


async def run_to_end(command: Sequence[str], *, environment: Mapping[str, str], log_file: Path) -> bytes:
    """Run a command that prepares something and return its standard output; its standard error is logged.

    Raises ProcessFailed with the end of its standard error when it fails or takes longer than INIT_TIMEOUT_S.
    """
    process = await asyncio.create_subprocess_exec(
        *guarded(command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        cwd=environment["HOME"],
        start_new_session=True,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), INIT_TIMEOUT_S)
    except TimeoutError:
        raise ProcessFailed(f"{_shown(command)} did not end within {INIT_TIMEOUT_S} s") from None
    finally:
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()
    with log_file.open("ab") as log:
        log.write(errors[-_MAX_OUTPUT_BYTES:])
    if process.returncode != 0:
        reason = errors.decode("utf-8", "replace").strip()[-_MAX_SHOWN_CHARACTERS:]
        raise failure_of(f"{_shown(command)} ended with code {process.returncode}: {reason}", process.returncode)
    return output


def failure_of(sentence: str, exit_code: int | None) -> ProcessFailed:
    """Return the error for a process that ended with this code."""
    return ProcessRefused(sentence) if exit_code == REFUSED else ProcessFailed(sentence)


async def stop_processes(group: Sequence[RunningProcess], *, deadline_s: float) -> None:
    """Ask these processes to end together; whoever is still there at the deadline is killed with its children."""
    alive = [running for running in group if running.exit_code is None]
    for running in alive:
        running.is_stopping = True
        _signal_group(running.pid, signal.SIGTERM)
    await _wait_for_end(alive, deadline_s)
    stubborn = [running for running in alive if running.exit_code is None]
    for running in stubborn:
        _signal_group(running.pid, signal.SIGKILL)
    await _wait_for_end(stubborn, KILL_WAIT_S)


async def _wait_for_end(group: Sequence[RunningProcess], timeout_s: float) -> None:
    waiting = [asyncio.ensure_future(running.ended.wait()) for running in group]
    if waiting:
        _, unfinished = await asyncio.wait(waiting, timeout=timeout_s)
        for task in unfinished:
            task.cancel()


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _shown(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:]])


def resident_bytes(pid: int) -> tuple[int, int] | None:
    """Return the resident memory of a process and its highest value so far; None when it is gone.

    Source: proc(5), /proc/PID/status, VmRSS and VmHWM in kB.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    values = {name: value.split()[0] for name, _, value in (line.partition(":") for line in text.splitlines())
              if name in {"VmRSS", "VmHWM"}}  # fmt: skip
    if values.keys() != {"VmRSS", "VmHWM"}:  # a zombie has no memory left
        return None
    return int(values["VmRSS"]) * 1024, int(values["VmHWM"]) * 1024
