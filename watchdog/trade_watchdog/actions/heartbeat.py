"""A sign of life to a dead-man service outside: when it stops coming, somebody is called.

It is sent only while the watchdog does its work, so that a process that runs and watches nothing is noticed as well.
The address is a secret, since whoever knows it can send the sign; it stands in no log. A sign that fails is counted and
nothing else: the service outside notices by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from trade_core.errors import ConfigurationError
from trade_core.secrets import Secret, read_secret_file, secret_text
from trade_core.setting_types import is_loopback_host
from trade_core.tls import tls_context

BEAT_EVERY_S: Final = 60.0
BEAT_TIMEOUT_S: Final = 8.0
_log = logging.getLogger(__name__)


class Heartbeat:
    """Sends the sign every minute."""

    def __init__(self, url: Secret, *, is_well: Callable[[], bool], on_beat: Callable[[bool], None]) -> None:
        """Prepare. `is_well` is asked before each; `on_beat` hears whether the service took it."""
        self._url = url
        self._is_well = is_well
        self._on_beat = on_beat
        self._is_heard: bool | None = None
        for name in ("httpx", "httpcore"):  # they log whole addresses
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            verify=tls_context(),
            timeout=BEAT_TIMEOUT_S,
            limits=httpx.Limits(max_connections=1),
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": "trade-watchdog", "accept-encoding": "identity"},
        )

    async def run(self) -> None:
        """Send signs until cancelled."""
        while True:
            if self._is_well():
                await self.beat()
            await asyncio.sleep(BEAT_EVERY_S)

    async def beat(self) -> None:
        """Send one sign; never raises for what the network does."""
        is_heard = await self._sent()
        if is_heard != self._is_heard:
            level = logging.INFO if is_heard else logging.WARNING
            _log.log(level, "the dead-man service %s", "takes our sign" if is_heard else "does not take our sign")
        self._is_heard = is_heard
        self._on_beat(is_heard)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _sent(self) -> bool:
        try:
            async with asyncio.timeout(BEAT_TIMEOUT_S):
                async with self._client.stream("POST", self._url.reveal()) as response:
                    return response.is_success
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError):
            return False


def load_heartbeat_url(path: Path) -> Secret:
    """Read {"url"} from a secret file. Raises ConfigurationError, never with the address in it."""
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; it holds the url of the dead-man service")
    url = secret_text(read_secret_file(path), "url", path=path)
    try:
        parts = urlsplit(url.reveal())
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host))):
        raise ConfigurationError(f"{path}: url: must be https, or http on a loopback address")
    return url
