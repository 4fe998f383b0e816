"""Child processes of a load test: started with their life bound to ours, measured from /proc, and ended.

The processor time of a child includes that of every process below it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

from trade_demo.process import guarded

HOST = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections.
_LOWEST_PORT, _HIGHEST_PORT = 12_000, 20_000
_STOPPED_WITHIN_S = 10
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class LoadTestFailed(Exception):
    """A load test could not be carried out, or did not measure what it says; the text says why."""


def free_ports(count: int) -> list[int]:
    """Return so many ports that are free at this moment."""
    choice, ports = SystemRandom(), list[int]()
    with ExitStack() as held:
        while len(ports) < count:
            listener = held.enter_context(socket.socket())
            port = choice.randrange(_LOWEST_PORT, _HIGHEST_PORT)
            try:
                listener.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
    return ports


class Child:
    """One process with its output in a log file."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, environment: dict[str, str] | None = None):
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                guarded(command),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=log.parent,
            )
        self.pid = self._process.pid

    def wait_until(self, holds: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Wait for a fact. Raises LoadTestFailed, with the log's end, when the process ends or it takes too long."""
        deadline = time.monotonic() + within_s
        while not holds():
            if self._process.poll() is not None or time.monotonic() > deadline:
                state = f"ended with code {self._process.returncode}" if self._process.poll() is not None else "waits"
                raise LoadTestFailed(f"{self.name} {state}: {self._log.read_text(errors='replace')[-800:]}")
            time.sleep(0.05)

    def wait_for_port(self, port: int) -> None:
        """Wait until something listens on a port."""
        self.wait_until(lambda: is_listening(port))

    def kill(self) -> None:
        """End it at once."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=_STOPPED_WITHIN_S)

    def stop(self) -> None:
        """Ask it to end, and kill it when it does not."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(timeout=_STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()


def is_listening(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def processor_s(pids: Iterable[int]) -> float:
    """Return the processor time used so far by these processes and all below them. Source: proc_pid_stat(5)."""
    ticks, children = _table()
    waiting, total = list(pids), 0
    while waiting:
        pid = waiting.pop()
        total += ticks.get(pid, 0)
        waiting += children[pid]
    return total / _TICKS_A_SECOND


def _table() -> tuple[dict[int, int], dict[int, list[int]]]:
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(stat.parent.name)
        ticks[pid] = int(fields[11]) + int(fields[12])
        children[int(fields[1])].append(pid)
    return ticks, children
