"""The gateway's admin listener as the executor uses it: halt, hand the kill's warrant on, be told that it is so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from trade_core.administration import AdminAddress, admin_address
from trade_core.errors import ConfigurationError, TradeError
from trade_core.secrets import Secret, read_secret_file, secret_text

REQUEST_TIMEOUT_S: Final = 0.8
ANSWER_BYTES_MAX: Final = 256 * 1024
REASON_CHARACTERS: Final = 200
_REFUSING: Final = frozenset({"HALTED", "KILLED"})


class GatewayNotHalted(TradeError):
    """The gateway is not known to refuse; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Halted:
    """What the gateway answered: its state, and how many orders were still on the wire."""

    trading_state: str
    in_flight: int


class GatewayHalt:
    """One gateway."""

    def __init__(self, *, admin: AdminAddress, token: Secret) -> None:
        """Prepare; nothing is sent yet."""
        self._client = admin.async_client(
            headers={
                "authorization": f"Bearer {token.reveal()}",
                "accept-encoding": "identity",
                "content-type": "application/json",
            },
            timeout=REQUEST_TIMEOUT_S,
            limits=httpx.Limits(max_connections=2),
        )

    async def halt(self, reason: str) -> Halted:
        """Have the gateway latch HALTED; returns when it says that it is. Raises GatewayNotHalted."""
        body = json.dumps({"reason": reason[:REASON_CHARACTERS]}).encode()
        status, raw = await self._ask("POST", "/halt", body)
        if status != httpx.codes.OK:
            raise GatewayNotHalted(f"the gateway refuses to halt: HTTP {status}")
        return _parsed(raw)

    async def kill(self, envelope: bytes, *, within_s: float) -> Halted:
        """Hand on the warrant that ordered a kill, which the gateway verifies itself. Raises GatewayNotHalted."""
        try:
            async with asyncio.timeout(within_s):
                status, raw = await self._ask("POST", "/kill", envelope)
        except TimeoutError:
            raise GatewayNotHalted(f"the gateway does not take the warrant within {within_s:.1f} s") from None
        if status != httpx.codes.OK:
            raise GatewayNotHalted(f"the gateway does not take the warrant: HTTP {status}")
        return _parsed(raw)

    async def look(self) -> None:
        """See that the gateway answers and knows us. Raises GatewayNotHalted."""
        status, _ = await self._ask("GET", "/state", b"")
        if status != httpx.codes.OK:
            raise GatewayNotHalted(f"the gateway does not let us read its state: HTTP {status}")

    async def admits_risk(self) -> bool | None:
        """Tell whether the gateway says that it is not halted; None when it says nothing that can be read."""
        try:
            status, raw = await self._ask("GET", "/state", b"")
            state = json.loads(raw)["trading_state"] if status == httpx.codes.OK else None
        except (GatewayNotHalted, ValueError, LookupError, TypeError, RecursionError):
            return None
        return None if not isinstance(state, str) else state not in _REFUSING

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                async with self._client.stream(method, path, content=body) as response:
                    raw = bytearray()
                    async for part in response.aiter_raw():
                        raw += part
                        if len(raw) > ANSWER_BYTES_MAX:
                            raise GatewayNotHalted("the gateway's answer has no end")
                    return response.status_code, bytes(raw)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise GatewayNotHalted(f"the gateway does not answer: {type(error).__name__}") from None


def _parsed(raw: bytes) -> Halted:
    try:
        content = json.loads(raw)
        state, in_flight = content["trading_state"], len(content.get("in_flight", ()))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise GatewayNotHalted("the gateway answers something else than its state") from None
    if state not in _REFUSING:
        raise GatewayNotHalted("the gateway answers, and is not halted")
    return Halted(trading_state=state, in_flight=in_flight)


def load_gateway(path: Path) -> GatewayHalt:
    """Read the file that the gateway's `init` hands over. Raises ConfigurationError."""
    if not path.exists():
        raise ConfigurationError(f"{path}: not there; it is written by trade-gateway init")
    content = read_secret_file(path)
    try:
        admin = admin_address(secret_text(content, "admin_url", path=path).reveal())
    except ValueError as error:
        raise ConfigurationError(f"{path}: admin_url: {error}") from error
    return GatewayHalt(admin=admin, token=secret_text(content, "admin_token", path=path))
