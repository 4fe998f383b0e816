"""Processes: a clean environment, a log each, and an end for all of them however the demo ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trade_demo.process import (
    ProcessFailed,
    ProcessRefused,
    ProcessSpec,
    RunningProcess,
    minimal_environment,
    resident_bytes,
    run_to_end,
    service_command,
    start_process,
    stop_processes,
    watch,
)

pytestmark = pytest.mark.slow
DEADLINE_S = 120

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
# Starts a process of its own in the same group and names it.
PARENT = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('child', child.pid, flush=True)\n"
)


def spec(program: str, folder: Path) -> ProcessSpec:
    command = (sys.executable, "-c", program)
    environment = minimal_environment(folder)
    return ProcessSpec(name="sample", command=command, environment=environment, log_file=folder / "sample.log")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - it waits for another process
            await asyncio.sleep(0.02)


async def started(program: str, folder: Path) -> tuple[RunningProcess, asyncio.Task[None]]:
    running = await start_process(spec(program, folder))
    watching = asyncio.create_task(watch(running))
    await until(lambda: running.exit_code is not None or running.spec.log_file.stat().st_size > 0)
    return running, watching


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_process_asked_to_end_ends_and_has_not_died(tmp_path: Path) -> None:
    running, watching = await started(SLEEP, tmp_path)
    await stop_processes([running], deadline_s=DEADLINE_S)
    await watching
    assert running.exit_code == -signal.SIGTERM
    assert not running.has_died


async def test_process_that_ignores_sigterm_is_killed_at_the_deadline(tmp_path: Path) -> None:
    running, watching = await started(STUBBORN, tmp_path)
    await stop_processes([running], deadline_s=0.2)
    await watching
    assert running.exit_code == -signal.SIGKILL


async def test_process_that_ends_by_itself_has_died(tmp_path: Path) -> None:
    running, watching = await started("import sys; sys.exit(3)", tmp_path)
    await watching
    assert (running.exit_code, running.has_died) == (3, True)
    await stop_processes([running], deadline_s=0)
    assert running.has_died


async def test_process_that_leaves_a_child_takes_it_along(tmp_path: Path) -> None:
    running, watching = await started(PARENT, tmp_path)
    await watching
    child = int(running.spec.log_file.read_text().split()[1])
    await until(lambda: not is_alive(child))


async def test_process_inherits_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_OURS", "x")
    running, watching = await started("import os; print(sorted(os.environ), flush=True)", tmp_path)
    await watching
    names = running.spec.log_file.read_text()
    assert "A_SECRET_OF_OURS" not in names
    assert "HTTP_PROXY" not in names.upper()
    assert "'HOME'" in names


async def test_process_resident_memory_is_read_while_it_lives(tmp_path: Path) -> None:
    running, watching = await started(SLEEP, tmp_path)
    measured = resident_bytes(running.pid)
    await stop_processes([running], deadline_s=DEADLINE_S)
    await watching
    assert measured is not None
    assert 1_000_000 < measured[0] <= measured[1] < 200_000_000
    assert resident_bytes(running.pid) is None


def test_process_dies_with_the_demo_even_when_that_is_killed(tmp_path: Path) -> None:
    demo = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from trade_demo.process import ProcessSpec, minimal_environment, start_process\n"
        "async def main():\n"
        f"    folder = Path({str(tmp_path)!r})\n"
        f"    running = await start_process(ProcessSpec(name='sample', command=(sys.executable, '-c', {SLEEP!r}),\n"
        "        environment=minimal_environment(folder), log_file=folder / 'sample.log'))\n"
        "    print(running.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", demo], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        deadline = time.monotonic() + DEADLINE_S
        # The guard has become the command once the command has written.
        while (tmp_path / "sample.log").stat().st_size == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert is_alive(child)
        os.kill(parent.pid, signal.SIGKILL)
        while is_alive(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_alive(child)


async def test_run_to_end_success_returns_the_output_and_logs_the_errors(tmp_path: Path) -> None:
    program = "import sys; print('result'); print('remark', file=sys.stderr)"
    log = tmp_path / "init.log"
    command = [sys.executable, "-c", program]
    assert await run_to_end(command, environment=minimal_environment(tmp_path), log_file=log) == b"result\n"
    assert log.read_text() == "remark\n"


async def test_run_to_end_failure_says_what_and_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such policy')"]
    with pytest.raises(ProcessFailed, match="ended with code 1: no such policy"):
        await run_to_end(command, environment=minimal_environment(tmp_path), log_file=tmp_path / "init.log")


async def test_run_to_end_refusal_of_settings_keeps_its_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('max_open_orders: is missing', file=sys.stderr); sys.exit(2)"]
    with pytest.raises(ProcessRefused, match="max_open_orders: is missing") as refusal:
        await run_to_end(command, environment=minimal_environment(tmp_path), log_file=tmp_path / "init.log")
    assert refusal.value.exit_code == 2


def test_service_command_that_is_not_installed_says_what_to_run() -> None:
    with pytest.raises(ProcessFailed, match="make setup"):
        service_command("gateway", "no-such-command")
