"""The admin listener's thread: a halt counts before anything else is done; every call reaches the gateway's loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from trade_core.secrets import Secret
from trade_core.trust.keys import NotTrusted
from trade_core.trust.lease import MAX_LEASE_BYTES
from trade_gateway.admin import HaltRequest
from trade_gateway.admin_thread import FromAnotherThread, HaltFirst
from trade_gateway.identity import Role

TOKENS = {role: Secret(f"token-of-{role.value}") for role in Role}
HALT = b'{"reason":"enough"}'


class Gateway:
    """A gateway in this thread's event loop; remembers in which thread each call came, and what was said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []
        self.threads: set[int] = set()

    def note(self, name: str, value: Any = None) -> None:
        self.said.append((name, value))
        self.threads.add(threading.get_ident())

    def is_ready(self) -> bool:
        self.note("is_ready")
        return True

    def state(self) -> dict[str, Any]:
        self.note("state")
        return {"trading_state": "ACTIVE"}

    def cosigned(self) -> bytes:
        self.note("cosigned")
        return b"cosigned"

    def ring_halt(self) -> None:
        self.said.append(("ring", None))

    def hear_halt(self, reason: str, *, by: str, trigger_value: str | None = None) -> None:
        self.note("hear", (reason, by, trigger_value))

    async def halt(self, reason: str, *, by: str, trigger_value: str | None = None) -> dict[str, Any]:
        self.note("halt", (reason, by, trigger_value))
        return {"trading_state": "HALTED"}

    async def accept_lease(self, raw: bytes) -> dict[str, Any]:
        self.note("lease", raw)
        raise NotTrusted("not this one")

    async def accept_release(self, raw: bytes) -> dict[str, Any]:
        self.note("release", raw)
        return {}

    async def accept_kill(self, raw: bytes) -> dict[str, Any]:
        self.note("kill", raw)
        return {}

    async def accept_ring(self, raw: bytes) -> dict[str, Any]:
        self.note("accept_ring", raw)
        return {}

    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]:
        self.note("rows", (from_seq, limit))
        return []

    async def entries(self, from_seq: int, limit: int) -> bytes:
        self.note("entries", (from_seq, limit))
        return b""

    async def checkpoint(self) -> bytes:
        self.note("checkpoint")
        return b"note"


async def test_every_call_is_made_in_the_gateways_own_thread() -> None:
    gateway = Gateway()
    asked = FromAnotherThread(gateway)

    async def ask_all() -> list[Any]:
        return [
            await asked.is_ready(),
            await asked.state(),
            await asked.cosigned(),
            await asked.halt("r", by="operator", trigger_value="0.15"),
            await asked.accept_release(b"w"),
            await asked.accept_kill(b"k"),
            await asked.accept_ring(b"g"),
            await asked.rows(1, 2),
            await asked.entries(3, 4),
            await asked.checkpoint(),
        ]

    given = await asyncio.to_thread(lambda: asyncio.run(ask_all()))
    halted = {"trading_state": "HALTED"}
    assert given == [True, {"trading_state": "ACTIVE"}, b"cosigned", halted, {}, {}, {}, [], b"", b"note"]
    assert gateway.threads == {threading.get_ident()}
    assert dict(gateway.said)["halt"] == ("r", "operator", "0.15")
    assert dict(gateway.said)["rows"] == (1, 2)
    assert dict(gateway.said)["entries"] == (3, 4)


async def test_refusal_of_the_gateway_arrives_in_the_other_thread() -> None:
    asked = FromAnotherThread(Gateway())
    with pytest.raises(NotTrusted, match="not this one"):
        await asyncio.to_thread(lambda: asyncio.run(asked.accept_lease(b"l")))


async def test_halt_counts_while_the_gateways_loop_is_busy_and_is_heard_afterwards() -> None:
    gateway = Gateway()
    asked = FromAnotherThread(gateway)
    halt = HaltRequest(reason="enough", trigger_value="5 BTC")
    other = threading.Thread(target=asked.stop_orders, args=(halt,), kwargs={"by": "operator"})
    other.start()
    other.join()  # the loop does nothing meanwhile
    assert gateway.said == [("ring", None)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert gateway.said == [("ring", None), ("hear", ("enough", "operator", "5 BTC"))]


async def halted(
    content: bytes = HALT,
    *,
    role: Role | None = Role.OPERATOR,
    method: str = "POST",
    path: str = "/halt",
    **headers: str,
) -> tuple[list[tuple[str, Role]], bytes]:
    """Send one request through; returns what was told at once, and the body that the application read."""
    told: list[tuple[str, Role]] = []
    read = bytearray()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            event = await receive()
            read.extend(event.get("body", b""))
            more = event.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    first = HaltFirst(app, tokens=TOKENS, stop_orders=lambda request, by: told.append((request.reason, by)))
    authorization = {} if role is None else {"authorization": f"Bearer {TOKENS[role].reveal()}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=first), base_url="http://127.0.0.1:9") as client:
        await client.request(
            method, path, content=content, headers={"content-type": "application/json", **authorization, **headers}
        )
    return told, bytes(read)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.WATCHDOG])
async def test_proper_halt_is_told_at_once_and_handed_on(role: Role) -> None:
    assert await halted(role=role) == ([("enough", role)], HALT)


@pytest.mark.parametrize(
    "changed",
    [
        {"role": None},
        {"role": Role.PROBE},
        {"content": b"{"},
        {"content": b'{"reason":1}'},
        {"content": b'{"reason":"x","more":1}'},
        {"content": b" " * (MAX_LEASE_BYTES + 1)},
        {"method": "PUT"},
        {"path": "/halts"},
        {"origin": "http://evil"},
        {"host": "evil"},
        {"content-type": "text/plain"},
        {"authorization": "Bearer token"},
    ],
)
async def test_what_the_listener_refuses_is_not_told_and_handed_on_as_it_came(changed: dict[str, Any]) -> None:
    told, read = await halted(**changed)
    assert (told, read) == ([], changed.get("content", HALT))
