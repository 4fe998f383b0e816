"""The admin listener beside the gateway: it runs in a thread of its own, so that no order delays a halt.

Guarantees
- A halt by who may halt counts from the moment in which its body has arrived, however much the gateway's event loop
  has to do: from then on the last question before a write is answered with no. Latch, row and answer follow.
- The answer is made in the gateway's event loop, after the latch: every order that passed the last question before is
  named in it or has been answered.
- Everything else is done in the gateway's event loop too, one call after the other; here it is only asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError
from starlette.datastructures import Headers

from trade_core.secrets import Secret
from trade_core.trust.lease import MAX_LEASE_BYTES
from trade_gateway.admin import READERS, HaltRequest, refusal_of, role_of
from trade_gateway.identity import Role

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
_G = TypeVar("_G")


class Running(Protocol):
    """A gateway in its own event loop; see `admin.Controlled` for what the calls mean."""

    def is_ready(self) -> bool: ...
    def state(self) -> dict[str, Any]: ...
    def cosigned(self) -> bytes: ...
    def ring_halt(self) -> None: ...
    def hear_halt(self, reason: str, *, by: str, trigger_value: str | None = None) -> None: ...
    async def halt(self, reason: str, *, by: str, trigger_value: str | None = None) -> dict[str, Any]: ...
    async def accept_lease(self, raw: bytes) -> dict[str, Any]: ...
    async def accept_release(self, raw: bytes) -> dict[str, Any]: ...
    async def accept_kill(self, raw: bytes) -> dict[str, Any]: ...
    async def accept_ring(self, raw: bytes) -> dict[str, Any]: ...
    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]: ...
    async def entries(self, from_seq: int, limit: int) -> bytes: ...
    async def checkpoint(self) -> bytes: ...


class FromAnotherThread:
    """Asks a gateway for what the admin listener needs, in the gateway's own event loop. Made there."""

    def __init__(self, gateway: Running) -> None:
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()

    def stop_orders(self, asked: HaltRequest, *, by: str) -> None:
        """Make a halt count at once; the gateway latches it as soon as its event loop comes to it."""
        self._gateway.ring_halt()
        self._loop.call_soon_threadsafe(
            lambda: self._gateway.hear_halt(asked.reason, by=by, trigger_value=asked.trigger_value)
        )

    async def is_ready(self) -> bool:
        """Ask whether it is ready."""
        return await self._given(self._gateway.is_ready)

    async def state(self) -> dict[str, Any]:
        """Ask for its state."""
        return await self._given(self._gateway.state)

    async def cosigned(self) -> bytes:
        """Ask for the last cosigned checkpoint."""
        return await self._given(self._gateway.cosigned)

    async def halt(self, reason: str, *, by: str, trigger_value: str | None = None) -> dict[str, Any]:
        """Have it latch HALTED."""
        return await self._done(self._gateway.halt(reason, by=by, trigger_value=trigger_value))

    async def accept_lease(self, raw: bytes) -> dict[str, Any]:
        """Hand a lease over."""
        return await self._done(self._gateway.accept_lease(raw))

    async def accept_release(self, raw: bytes) -> dict[str, Any]:
        """Hand a release over."""
        return await self._done(self._gateway.accept_release(raw))

    async def accept_kill(self, raw: bytes) -> dict[str, Any]:
        """Hand a kill over."""
        return await self._done(self._gateway.accept_kill(raw))

    async def accept_ring(self, raw: bytes) -> dict[str, Any]:
        """Hand a key ring over."""
        return await self._done(self._gateway.accept_ring(raw))

    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]:
        """Ask for rows."""
        return await self._done(self._gateway.rows(from_seq, limit))

    async def entries(self, from_seq: int, limit: int) -> bytes:
        """Ask for the bytes of rows."""
        return await self._done(self._gateway.entries(from_seq, limit))

    async def checkpoint(self) -> bytes:
        """Have it sign a checkpoint."""
        return await self._done(self._gateway.checkpoint())

    async def _given(self, ask: Callable[[], _G]) -> _G:
        async def asked() -> _G:
            return ask()

        return await self._done(asked())

    async def _done(self, work: Coroutine[Any, Any, _G]) -> _G:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


class HaltFirst:
    """An ASGI application before the admin listener's: of a proper halt it tells at once, and hands all on as it is."""

    def __init__(
        self, app: App, *, tokens: Mapping[Role, Secret], stop_orders: Callable[[HaltRequest, Role], None]
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._stop_orders = stop_orders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] == "/halt" and scope["method"] == "POST":
            role = self._who_may(Headers(scope=scope))
            if role is not None:
                receive = await self._looked_into(receive, role)
        await self._app(scope, receive, send)

    def _who_may(self, headers: Headers) -> Role | None:
        if refusal_of(headers) is not None or not headers.get("content-type", "").startswith("application/json"):
            return None
        role = role_of(headers.get("authorization", ""), tokens=self._tokens)
        return role if role in READERS else None

    async def _looked_into(self, receive: Receive, role: Role) -> Receive:
        """Read the body, up to what the listener takes; return what gives the same messages again."""
        messages: list[Message] = []
        body = b""
        while len(body) <= MAX_LEASE_BYTES:
            messages.append(await receive())
            body += messages[-1].get("body", b"")
            if not messages[-1].get("more_body", False):
                break
        with suppress(ValidationError):  # the listener says what is wrong with it
            self._stop_orders(HaltRequest.model_validate_json(body), role)

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        return again
