"""Freqtrade's own REST control: no new entries (`/pause`), then nothing at all (`/stop`).

Guarantees
- A bot that is stopped is never sent `/pause`: freqtrade would start again, paused, and trade its exits. So its state
  is read before each step, one effect goes at a time, and a stop is never followed by a pause from here.
- Credentials stand in no log and no error; no redirect is followed, no proxy is taken from the environment.

It is a courtesy to the bot, which then ends its trades in order. What holds is the gateway: it permits nothing anyway.

Source: freqtrade 2026.9, its REST API: POST /api/v1/pause, /api/v1/stop; GET /api/v1/show_config, `state`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from trade_core.closing import close_all
from trade_core.errors import ConfigurationError
from trade_core.secrets import Secret, read_secret_file, secret_text
from trade_core.setting_types import is_loopback_host
from trade_core.tls import tls_context
from trade_watchdog.effects import EffectFailed

REQUEST_TIMEOUT_S: Final = 4.0
ANSWER_BYTES_MAX: Final = 256 * 1024


@unique
class BotState(Enum):
    """What freqtrade says of itself."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreqtradeAccess:
    """Where freqtrade's control is, and who may use it."""

    url: str
    username: str
    password: Secret


class FreqtradeRest:
    """One freqtrade. Its file is read at each use: freqtrade may be set up, or get another password, after us."""

    def __init__(self, file: Path) -> None:
        """Prepare. Raises ConfigurationError for a file that is there and wrong."""
        self._file = file
        self._turn = asyncio.Lock()
        if file.exists():
            read_access(file)

    async def pause(self) -> None:
        """See to it that no new trade is entered; exits go on. Raises EffectFailed."""
        async with self._control() as control:
            if await control.state() is not BotState.RUNNING:
                return
            await control.ask("POST", "/api/v1/pause")
            if await control.state() is BotState.RUNNING:
                raise EffectFailed("freqtrade took the pause and still runs")

    async def stop(self) -> None:
        """See to it that the bot does nothing any more. Raises EffectFailed."""
        async with self._control() as control:
            if await control.state() is BotState.STOPPED:
                return
            await control.ask("POST", "/api/v1/stop")
            if await control.state() is not BotState.STOPPED:
                raise EffectFailed("freqtrade took the stop and is not stopped")

    @asynccontextmanager
    async def _control(self) -> AsyncIterator[_Control]:
        """Hold the bot's control alone: between what it says of itself and what it is sent, no other effect comes."""
        async with self._turn:
            try:
                access = await asyncio.to_thread(read_access, self._file)
            except ConfigurationError as error:
                raise EffectFailed(str(error)) from None
            control = _Control(access)
            try:
                yield control
            finally:
                await control.close()


class _Control:
    """A connection for one effect."""

    def __init__(self, access: FreqtradeAccess) -> None:
        self._client = httpx.AsyncClient(
            base_url=access.url,
            auth=(access.username, access.password.reveal()),
            verify=tls_context(),
            timeout=REQUEST_TIMEOUT_S,
            limits=httpx.Limits(max_connections=2),
            follow_redirects=False,
            trust_env=False,
            headers={"accept-encoding": "identity"},
        )

    async def close(self) -> None:
        await close_all(self._client.aclose)

    async def state(self) -> BotState:
        answer = await self.ask("GET", "/api/v1/show_config")
        try:
            return BotState(str(answer["state"]).lower())
        except (LookupError, TypeError, ValueError):
            raise EffectFailed("freqtrade does not say in which state it is") from None

    async def ask(self, method: str, path: str) -> Any:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                async with self._client.stream(method, path) as response:
                    body = bytearray()
                    async for part in response.aiter_raw():
                        body += part
                        if len(body) > ANSWER_BYTES_MAX:
                            raise EffectFailed(f"freqtrade answers {path} with more than {ANSWER_BYTES_MAX} bytes")
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise EffectFailed(f"freqtrade does not answer {path}: {type(error).__name__}") from None
        if not response.is_success:
            raise EffectFailed(f"freqtrade refuses {path}: HTTP {response.status_code}")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise EffectFailed(f"freqtrade answers {path} with no JSON") from None


def read_access(path: Path) -> FreqtradeAccess:
    """Read {"url", "username", "password"} from a secret file. Raises ConfigurationError."""
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; it holds url, username and password of freqtrade's control")
    content = read_secret_file(path)
    url = secret_text(content, "url", path=path).reveal()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    is_permitted = parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host))
    if not host or not is_permitted or parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(f"{path}: url: must be https, or http on a loopback address, without credentials")
    return FreqtradeAccess(
        url=url,
        username=secret_text(content, "username", path=path).reveal(),
        password=secret_text(content, "password", path=path),
    )
