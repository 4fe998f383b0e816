"""A bot that runs as a process of our own user, whose number stands in a file.

A process is only ever signalled by the handle that was opened before it was looked at, so never another one that got
its number.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

from trade_core.bot_hosts.port import BotHostFailed, BotSight

TERM_WAIT_S: Final = 12.0
"""Freqtrade ends in 2 to 4 s; one that is wedged would take more than a minute."""
KILL_WAIT_S: Final = 3.0
_PID_FILE_BYTES_MAX: Final = 32
_COMMAND_BYTES_MAX: Final = 64 * 1024


class ProcessHost:
    """One process of this machine."""

    def __init__(self, pid_file: Path, *, command_word: str = "freqtrade") -> None:
        """Prepare. `command_word` must stand in the process's command line: a stale file signals nobody else."""
        self._pid_file = pid_file
        self._word = command_word.encode()

    async def scale_to_zero(self) -> None:
        """Send SIGTERM, and SIGKILL to what does not go. Raises BotHostFailed."""
        pid = await asyncio.to_thread(self._pid)
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError as error:
            raise BotHostFailed(f"process {pid} cannot be opened: {error.strerror}") from None
        try:
            await self._end(pid, handle)
        finally:
            os.close(handle)

    async def look(self) -> BotSight:
        """Tell whether the process has ended. Raises BotHostFailed."""
        pid = await asyncio.to_thread(self._pid)
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return _sight(pid, is_gone=True)
        except OSError as error:
            raise BotHostFailed(f"process {pid} cannot be opened: {error.strerror}") from None
        try:
            return _sight(pid, is_gone=await _has_ended(handle, within_s=0))
        finally:
            os.close(handle)

    async def _end(self, pid: int, handle: int) -> None:
        if await _has_ended(handle, within_s=0):
            return
        if self._word not in await asyncio.to_thread(_command_line, pid):
            raise BotHostFailed(f"process {pid} is not the bot: {self._pid_file} is out of date")
        for number, patience_s in ((signal.SIGTERM, TERM_WAIT_S), (signal.SIGKILL, KILL_WAIT_S)):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return
            except OSError as error:
                raise BotHostFailed(f"process {pid} cannot be ended: {error.strerror}") from None
            if await _has_ended(handle, within_s=patience_s):
                return
        raise BotHostFailed(f"process {pid} does not end")

    def _pid(self) -> int:
        try:
            with self._pid_file.open("rb") as file:
                text = file.read(_PID_FILE_BYTES_MAX).strip()
        except OSError as error:
            raise BotHostFailed(f"{self._pid_file}: cannot be read: {error.strerror}") from None
        if not text.isdigit() or not 1 < int(text) < 2**31:
            raise BotHostFailed(f"{self._pid_file}: holds no process number")
        return int(text)


def _sight(pid: int, *, is_gone: bool) -> BotSight:
    return BotSight(is_gone=is_gone, evidence={"process": str(pid), "state": "ended" if is_gone else "runs"})


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
