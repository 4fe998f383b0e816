"""Brings the executor the release that re-bases the high-water mark, so that its own highest point begins anew too.

Guarantees
- A release is kept on disk until the executor has taken it, or a day has passed, after which it takes none: a restart
  in between loses none. A newer one takes its place.
- It is brought as it was signed: the executor verifies it by itself, and we decide nothing about it.
- A file that cannot be written, or read, costs no more than that: it is brought as long as this process lives.

Without it the executor would go on measuring from the highest point before the kill, and would confirm every drawdown.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_core.secrets import write_atomically
from trade_watchdog.effects import EffectFailed

RELEASE_FILE: Final = "release.json"
RETRY_S: Final = 30.0
GIVE_UP_S: Final = 24 * 3600
_FILE_BYTES_MAX: Final = 16 * 1024
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class ReleaseCourier:
    """Carries one release at a time. `hand` gives it to the executor; raises EffectFailed."""

    state_dir: Path
    hand: Callable[[bytes], Awaitable[None]]
    clock: Clock
    _release: bytes = b""
    _since_ns: int = 0
    _is_there: asyncio.Event = field(default_factory=asyncio.Event)

    def load(self) -> None:
        """Go on with what was not handed over before a restart."""
        path = self.state_dir / RELEASE_FILE
        if not path.exists():
            return
        try:
            kept = json.loads(path.read_bytes()[:_FILE_BYTES_MAX])
            release, since_ns = base64.b64decode(kept["release"], validate=True), kept["since_ns"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            _log.error("%s: holds no release (%s); the executor's own highest point stays", path, type(error).__name__)
            return
        if type(since_ns) is int and release:
            self._release, self._since_ns = release, since_ns
            self._is_there.set()

    def carry(self, release: bytes) -> None:
        """Take a release over; it is brought soon. Never raises."""
        self._release, self._since_ns = release, self.clock.wall_ns()
        content = {"release": base64.b64encode(release).decode("ascii"), "since_ns": self._since_ns}
        try:
            write_atomically(self.state_dir / RELEASE_FILE, json.dumps(content).encode() + b"\n", mode=0o600)
        except OSError as error:
            _log.error("%s: cannot be written: %s", self.state_dir / RELEASE_FILE, error.strerror)
        self._is_there.set()

    async def run(self) -> None:
        """Bring what there is, again and again until it is taken, for ever."""
        while True:
            await self._is_there.wait()
            release = self._release
            try:
                await self.hand(release)
            except EffectFailed as error:
                _log.warning("a release is not taken yet: %s", error)
                if self.clock.wall_ns() - self._since_ns < GIVE_UP_S * NS_PER_S:
                    await asyncio.sleep(RETRY_S)
                    continue
                _log.error("a release was not taken for a day: the executor's own highest point stays as it was")
            self._done(release)

    def _done(self, release: bytes) -> None:
        if release != self._release:
            return  # a newer one came meanwhile
        self._release = b""
        self._is_there.clear()
        try:
            (self.state_dir / RELEASE_FILE).unlink(missing_ok=True)
        except OSError as error:
            _log.error("%s: cannot be removed: %s", self.state_dir / RELEASE_FILE, error.strerror)
