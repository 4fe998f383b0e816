"""Freqtrade's own REST control: is it up, and start it once the gateway lets it trade.

Source: freqtrade's REST API (`/api/v1`), Basic authentication; `ping` answers without.
"""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import Secret
from trade_core.tls import tls_context
from trade_demo.exchange_reader import get_json

TIMEOUT_S = 5.0
RUNNING = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreqtradeAccess:
    """Where freqtrade's control is and who may use it."""

    url: str
    username: str
    password: Secret


class FreqtradeControl:
    """A client of one freqtrade process."""

    def __init__(self, access: FreqtradeAccess) -> None:
        self._client = httpx.AsyncClient(
            base_url=access.url,
            auth=httpx.BasicAuth(access.username, access.password.reveal()),
            verify=tls_context(),
            timeout=TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def state(self) -> str:
        """Return freqtrade's own state: running, paused or stopped.

        Raises ExchangeUnavailable when it does not answer, ExchangeAnswerInvalid when it answers something else.
        """
        return str((await get_json(self._client, "/api/v1/show_config")).get("state", "unknown"))

    async def start(self) -> None:
        """Ask it to trade. Raises as `state`."""
        try:
            response = await self._client.post("/api/v1/start")
        except (httpx.HTTPError, OSError) as error:
            raise ExchangeUnavailable(f"freqtrade: {type(error).__name__}") from error
        if response.status_code != httpx.codes.OK:
            raise ExchangeAnswerInvalid(f"freqtrade: /start answered HTTP {response.status_code}")

    async def is_answering(self) -> bool:
        """Return whether its control interface is up."""
        try:
            await self.state()
        except (ExchangeUnavailable, ExchangeAnswerInvalid):
            return False
        return True

    async def start_trading(self) -> bool:
        """Ask it to trade unless it does, and return whether it says that it does."""
        try:
            if await self.state() == RUNNING:
                return True
            await self.start()
            return await self.state() == RUNNING
        except (ExchangeUnavailable, ExchangeAnswerInvalid):
            return False
