"""The stage of a scenario: what it may do to the simulated world, what it may look at, and how it waits.

It sees the services through their read-only listeners and the exchange through its control port. Nothing here helps the
services: whatever comes about, they did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from trade_core.clock import NS_PER_S, Clock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, TradeError
from trade_demo.exchange_reader import get_json
from trade_demo.files import Files
from trade_demo.software_keys import SoftwareKeys
from trade_demo.view import HappeningKind, View

POLL_S: Final = 0.1
ROWS_A_PAGE: Final = 500


class ScenarioFailed(TradeError):
    """What should have come about did not, in the time that it may take."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """One scenario's view of the running stack. `evidence` is what it ends with, a line each."""

    control: httpx.AsyncClient
    gateway: httpx.AsyncClient
    watchdog: httpx.AsyncClient
    files: Files
    account: str
    keys: SoftwareKeys
    view: View
    clock: Clock
    evidence: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Tell the spectator what happens next."""
        self.view.happened(HappeningKind.SCENARIO, text)

    def prove(self, text: str) -> None:
        """Keep a line of evidence, and show it."""
        self.evidence.append(text)
        self.say(text)

    async def act(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do something to the simulated world. Raises ScenarioFailed when it refuses."""
        try:
            response = await self.control.post(f"/__sim{path}", json=dict(body))
        except httpx.HTTPError as error:
            raise ScenarioFailed(f"the simulator's control does not answer: {type(error).__name__}") from None
        if response.status_code != httpx.codes.OK:
            raise ScenarioFailed(f"the simulator refuses {path}: {response.text[:200]}")
        answer = response.json()
        return answer if isinstance(answer, Mapping) else {}

    async def world(self) -> Mapping[str, Any]:
        """Read the simulated world as it is."""
        return await get_json(self.control, "/__sim/state")

    async def gateway_state(self) -> Mapping[str, Any]:
        """Read the gateway's `/state`."""
        return await get_json(self.gateway, "/state")

    async def watchdog_state(self) -> Mapping[str, Any]:
        """Read the watchdog's `/state`."""
        return await get_json(self.watchdog, "/state")

    async def findings(self) -> str:
        """Say what the watchdog's audit has found, in words."""
        audit = (await self.watchdog_state()).get("audit")
        found = audit if isinstance(audit, Mapping) else {}
        alarms = "; ".join(f"key {alarm['key']} {alarm['alarm']}" for alarm in found.get("key_alarms", []))
        return f"{found.get('rogue_orders')} rogue orders, {alarms or 'no alarm about keys'}"

    async def rows(self, kinds: frozenset[str]) -> list[Mapping[str, Any]]:
        """Read the rows of these kinds from the gateway's journal, oldest first."""
        found: list[Mapping[str, Any]] = []
        begin = 0
        while True:
            page = (await get_json(self.gateway, f"/journal/rows?from={begin}&limit={ROWS_A_PAGE}")).get("rows")
            if not isinstance(page, list):
                raise ExchangeAnswerInvalid("/journal/rows holds no rows")
            found += [row for row in page if row.get("kind") in kinds]
            begin += len(page)
            if len(page) < ROWS_A_PAGE:
                return found

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]], *, within_s: float) -> float:
        """Wait until something holds; answers how many seconds it took. Raises ScenarioFailed."""
        began_ns = self.clock.monotonic_ns()
        while True:
            try:
                if await holds():
                    return (self.clock.monotonic_ns() - began_ns) / NS_PER_S
            except (ExchangeUnavailable, ExchangeAnswerInvalid):
                pass  # a service that is busy; the time runs on
            if self.clock.monotonic_ns() - began_ns > within_s * NS_PER_S:
                raise ScenarioFailed(f"{what}: not within {within_s:g} s")
            await asyncio.sleep(POLL_S)

    async def until_state(self, wanted: str, *, within_s: float) -> float:
        """Wait until the gateway's trading state is `wanted`; answers the seconds. Raises ScenarioFailed."""

        async def holds() -> bool:
            return (await self.gateway_state()).get("trading_state") == wanted

        return await self.until(f"the gateway becomes {wanted}", holds, within_s=within_s)
