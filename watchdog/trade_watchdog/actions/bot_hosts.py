"""Where the bot runs, and how it is brought to zero there: a process, a systemd unit, or nowhere that we know.

Guarantees
- `scale_to_zero` returns when nothing of the bot runs any more, and raises EffectFailed else; to ask again is harmless.
- A process is only ever signalled by the handle that was opened before it was looked at, so never another one that got
  its number.

Kubernetes has a module of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from trade_watchdog.effects import EffectFailed

TERM_WAIT_S: Final = 12.0
"""Freqtrade ends in 2 to 4 s; one that is wedged would take more than a minute."""
KILL_WAIT_S: Final = 3.0
SYSTEMCTL: Final = ("/usr/bin/systemctl",)
SYSTEMCTL_WAIT_S: Final = 20.0
_PID_FILE_BYTES_MAX: Final = 32
_COMMAND_BYTES_MAX: Final = 64 * 1024
_GONE: Final = frozenset({"inactive", "failed", "unknown"})


class BotHost(Protocol):
    """What can bring the bot to zero."""

    async def scale_to_zero(self) -> None:
        """End the bot; returns when it is gone. Raises EffectFailed."""
        ...

    async def is_gone(self) -> bool:
        """Tell whether nothing of the bot runs. Raises EffectFailed when that cannot be told."""
        ...


class ProcessHost:
    """A bot that runs as a process of our own user, whose number stands in a file."""

    def __init__(self, pid_file: Path, *, command_word: str = "freqtrade") -> None:
        """Prepare. `command_word` must stand in the process's command line: a stale file signals nobody else."""
        self._pid_file = pid_file
        self._word = command_word.encode()

    async def scale_to_zero(self) -> None:
        """Send SIGTERM, and SIGKILL to what does not go. Raises EffectFailed."""
        pid = await asyncio.to_thread(self._pid)
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError as error:
            raise EffectFailed(f"process {pid} cannot be opened: {error.strerror}") from None
        try:
            await self._end(pid, handle)
        finally:
            os.close(handle)

    async def is_gone(self) -> bool:
        """Tell whether the process has ended. Raises EffectFailed."""
        try:
            handle = os.pidfd_open(await asyncio.to_thread(self._pid))
        except ProcessLookupError:
            return True
        except OSError as error:
            raise EffectFailed(f"the bot's process cannot be opened: {error.strerror}") from None
        try:
            return await _has_ended(handle, within_s=0)
        finally:
            os.close(handle)

    async def _end(self, pid: int, handle: int) -> None:
        if await _has_ended(handle, within_s=0):
            return
        if self._word not in await asyncio.to_thread(_command_line, pid):
            raise EffectFailed(f"process {pid} is not the bot: {self._pid_file} is out of date")
        for number, patience_s in ((signal.SIGTERM, TERM_WAIT_S), (signal.SIGKILL, KILL_WAIT_S)):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return
            except OSError as error:
                raise EffectFailed(f"process {pid} cannot be ended: {error.strerror}") from None
            if await _has_ended(handle, within_s=patience_s):
                return
        raise EffectFailed(f"process {pid} does not end")

    def _pid(self) -> int:
        try:
            with self._pid_file.open("rb") as file:
                text = file.read(_PID_FILE_BYTES_MAX).strip()
        except OSError as error:
            raise EffectFailed(f"{self._pid_file}: cannot be read: {error.strerror}") from None
        if not text.isdigit() or not 1 < int(text) < 2**31:
            raise EffectFailed(f"{self._pid_file}: holds no process number")
        return int(text)


class SystemdHost:
    """A bot that runs as a systemd unit which our user may stop (polkit, or a rule for this unit alone)."""

    def __init__(self, unit: str, *, systemctl: Sequence[str] = SYSTEMCTL) -> None:
        """Prepare. The unit's name is checked by the settings."""
        self._unit = unit
        self._systemctl = tuple(systemctl)

    async def scale_to_zero(self) -> None:
        """Stop the unit. Raises EffectFailed."""
        await self._run("stop")
        if not await self.is_gone():
            raise EffectFailed(f"unit {self._unit} is not gone after its stop")

    async def is_gone(self) -> bool:
        """Tell whether the unit runs nothing. Raises EffectFailed."""
        return await self._run("is-active") in _GONE

    async def _run(self, verb: str) -> str:
        command = (*self._systemctl, "--no-ask-password", verb, "--", self._unit)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            )
        except OSError as error:
            raise EffectFailed(f"systemctl cannot be run: {error.strerror}") from None
        try:
            async with asyncio.timeout(SYSTEMCTL_WAIT_S):
                output, _ = await process.communicate()
        except TimeoutError:
            raise EffectFailed(f"systemctl {verb} took more than {SYSTEMCTL_WAIT_S:g} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if verb == "stop" and process.returncode != 0:
            raise EffectFailed(f"systemctl stop {self._unit}: exit code {process.returncode}")
        return output.decode("ascii", "replace").strip()


def _command_line(pid: int) -> bytes:
    try:
        with Path(f"/proc/{pid}/cmdline").open("rb") as file:
            return file.read(_COMMAND_BYTES_MAX)
    except OSError:
        return b""


async def _has_ended(handle: int, *, within_s: float) -> bool:
    """Tell whether a process has ended: its handle is readable then (pidfd_open(2))."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(max(within_s, 0.01)):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
    return True
