"""A bot that runs as a systemd unit which our user may stop (polkit, or a rule for this unit alone)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from trade_core.bot_hosts.port import BotHostFailed, BotSight
from trade_core.logs import neutralise

SYSTEMCTL: Final = ("/usr/bin/systemctl",)
SYSTEMCTL_WAIT_S: Final = 20.0
_KNOWN: Final = frozenset({"loaded", "masked"})
_GONE: Final = frozenset({"inactive", "failed"})
_WORD_CHARACTERS: Final = 40
_OUTPUT_BYTES_MAX: Final = 4096


class SystemdHost:
    """One unit of this machine."""

    def __init__(self, unit: str, *, systemctl: Sequence[str] = SYSTEMCTL) -> None:
        """Prepare. The unit's name is checked by the settings."""
        self._unit = unit
        self._systemctl = tuple(systemctl)

    async def scale_to_zero(self) -> None:
        """Stop the unit. Raises BotHostFailed."""
        await self._run("stop")
        if not (await self.look()).is_gone:
            raise BotHostFailed(f"unit {self._unit} is not gone after its stop")

    async def look(self) -> BotSight:
        """Tell whether the unit runs nothing. Raises BotHostFailed, for a unit that systemd does not know as well."""
        output = await self._run("show", "--property=LoadState,ActiveState")
        said = dict(line.partition("=")[::2] for line in output.splitlines())
        loaded, active = (
            neutralise(said.get(name, ""), limit=_WORD_CHARACTERS) for name in ("LoadState", "ActiveState")
        )
        if loaded not in _KNOWN:
            raise BotHostFailed(f"unit {self._unit}: systemd does not know it (LoadState {loaded or 'not said'})")
        return BotSight(is_gone=active in _GONE, evidence={"unit": self._unit, "state": active or "not said"})

    async def _run(self, verb: str, *options: str) -> str:
        command = (*self._systemctl, "--no-ask-password", verb, *options, "--", self._unit)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            )
        except OSError as error:
            raise BotHostFailed(f"systemctl cannot be run: {error.strerror}") from None
        try:
            async with asyncio.timeout(SYSTEMCTL_WAIT_S):
                output, _ = await process.communicate()
        except TimeoutError:
            raise BotHostFailed(f"systemctl {verb} took more than {SYSTEMCTL_WAIT_S:g} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            raise BotHostFailed(f"systemctl {verb} {self._unit}: exit code {process.returncode}")
        return output[:_OUTPUT_BYTES_MAX].decode("ascii", "replace")
