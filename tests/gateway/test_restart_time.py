"""How long a gateway takes to come back on a long journal: its real process, from its start until it would trade.

Exchange, streams, the journal's writer and the watchdog's leases are in this process; rows go over the real socket.
`pytest -s` shows the figures; docs/performance.md has the last ones. What is asserted is the processor time of the
gateway on a long journal beside that on an empty one: seconds belong to the machine, and to whatever else it does.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway.deployment import LEASE_KEY, LEASE_PRIVATE, LOG_KEY, LOG_PRIVATE, WITNESS_KEY, WITNESS_PRIVATE, deployment
from gateway.parts import tracked
from gateway.test_service import Exchange
from http_double import http_double
from ports import free_ports
from trust_parts import cosigned, watchdogs_checkpoint
from ws_double import ws_double

from trade_core.clock import NS_PER_MS, SystemClock
from trade_core.trust.baseline import baseline_of
from trade_core.trust.lease import Lease, sign_lease
from trade_core.trust.ring import KeyRing, ring_hash
from trade_gateway.identity import Identity, Role, initialise, load_identity
from trade_gateway.order_flow import intent_fields
from trade_gateway.policy.limits import policy_hash
from trade_gateway.policy_file import read_policy
from trade_journal.log.ring_keys import gateway_log_keys, gateway_log_signer
from trade_journal.log.rows import Entry, RowKind
from trade_journal.writer.peers import Peer
from trade_journal.writer.server import Door, JournalServer
from trade_journal.writer.writer import JournalWriter

pytestmark = pytest.mark.slow
ROWS = 10_000
DEARER_BY_MOST = 2
"""How many times the computing of a start on an empty journal so many rows may cost more, on any machine."""
_LEASE_AGAIN_S = 1.0
_WRITTEN_AT_ONCE = 256
GATEWAY = Path(sys.executable).with_name("trade-gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """Seconds from the start of the process until it answered, and until it would have taken an order.

    `processor_s` is what the process has computed from its start to its end.
    """

    answers_s: float
    trades_s: float
    processor_s: float

    def told(self) -> str:
        """Say it in a line."""
        came = f"answers after {self.answers_s:.2f} s, trades after {self.trades_s:.2f} s"
        return f"{came}, computes {self.processor_s:.2f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a gateway can be started: its settings file, who it is, and the address of its admin listener."""

    config: Path
    identity: Identity
    ring: KeyRing
    admin: str
    writer: JournalWriter


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    """Make a deployment with everything around it, and no gateway yet."""
    listen, admin = free_ports(2)
    async with http_double(Exchange().answer) as double, ws_double() as streams:
        settings = deployment(
            folder, exchange_url=double.url, exchange_ws_url=streams.url, listen_port=listen, admin_port=admin
        )
        initialise(
            settings,
            log_key=LOG_KEY,
            lease_key=LEASE_KEY,
            witness_key=WITNESS_KEY,
            policy_hash=policy_hash(read_policy(settings.policy_file)),
            baseline=baseline_of(taken_at_ms=1),
        )
        identity, ring = load_identity(settings)
        signer = gateway_log_signer(ring, LOG_PRIVATE)
        clock = SystemClock()
        writer = await JournalWriter.open(
            f"sqlite:///{folder}/gateway.db", origin=signer.origin, clock=clock, signer=signer
        )
        server = JournalServer(writer=writer, keys=gateway_log_keys(ring), clock=clock)
        door = Door(
            peer=Peer.GATEWAY, path=settings.journal_socket, uid=os.getuid(), mode=0o600, setting="gateway_socket"
        )
        await server.start([door])
        try:
            yield Place(
                config=folder / "gateway.toml",
                identity=identity,
                ring=ring,
                admin=f"http://127.0.0.1:{admin}",
                writer=writer,
            )
        finally:
            await writer.close()
            await server.close()


async def write_history(writer: JournalWriter, *, rows: int) -> None:
    """Write orders that were placed, acknowledged and cancelled: three rows each, as a bot of a month leaves them."""
    entries: list[Entry] = []
    for number in range(rows // 3 + 1):
        tag = f"T1{number:030d}"
        order_id = f"x{number}"
        told: list[tuple[RowKind, dict[str, Any]]] = [
            (RowKind.ORDER_INTENT, dict(intent_fields(tracked(tag)))),
            (RowKind.ORDER_OUTCOME, {"tag": tag, "result": "acknowledged", "order_id": order_id, "is_disowned": False}),
            (RowKind.ORDER_RESOLVED, {"tag": tag, "result": "ended", "status": "Cancelled", "filled": "0"}),
        ]
        entries += [
            Entry(at_ns=1, kind=kind, actor="gateway", fields=fields, policy_hash="a" * 64) for kind, fields in told
        ]
    for start in range(0, rows, _WRITTEN_AT_ONCE):
        await writer.append_many(entries[start : min(start + _WRITTEN_AT_ONCE, rows)])


class Watchdog:
    """Vouches for the gateway, over its admin listener."""

    def __init__(self, there: Place, http: httpx.AsyncClient) -> None:
        self._there, self._http = there, http
        self._generation = 0
        token = there.identity.admin_tokens[Role.WATCHDOG].reveal()
        self._headers = {"Authorization": f"Bearer {token}"}

    async def state(self) -> dict[str, Any] | None:
        """What the gateway says of itself; None while it does not answer."""
        try:
            answer = await self._http.get("/state", headers=self._headers)
        except httpx.HTTPError:
            return None
        return dict(answer.json()) if answer.status_code == httpx.codes.OK else None

    async def lease(self, boot_nonce: str) -> None:
        """Send a lease."""
        ring = self._there.ring
        checkpoint = await self._http.get("/journal/checkpoint", headers=self._headers)
        now_ms = SystemClock().wall_ns() // NS_PER_MS
        self._generation += 1
        lease = Lease(
            deployment=ring.deployment,
            environment=ring.environment,
            account=ring.account,
            boot_nonce=boot_nonce,
            generation=self._generation,
            ceiling="ACTIVE",
            scale="1",
            second_venue="none",
            second_prices=(),
            checkpoint=cosigned(checkpoint.content, ring, WITNESS_PRIVATE),
            memory_checkpoint=watchdogs_checkpoint(ring),
            policy_hash=ring.policy_hash,
            ring_hash=ring_hash(ring),
            signed_at_ms=now_ms,
            expires_at_ms=now_ms + 15_000,
        )
        answer = await self._http.post("/lease", content=sign_lease(lease, LEASE_PRIVATE), headers=self._headers)
        assert answer.status_code == httpx.codes.OK, answer.text


async def started(there: Place) -> Came:
    """Start the gateway's process, see it come up, and end it."""
    computed_s, began = _computed_s(), time.monotonic()
    process = await asyncio.create_subprocess_exec(str(GATEWAY), "--config", str(there.config))
    try:
        async with asyncio.timeout(300), httpx.AsyncClient(base_url=there.admin, timeout=60) as http:
            watchdog = Watchdog(there, http)
            while (state := await watchdog.state()) is None:
                assert process.returncode is None
                await asyncio.sleep(0.02)
            answers_s = time.monotonic() - began
            leased_at = -_LEASE_AGAIN_S
            while state is None or state["trading_state"] != "ACTIVE":
                if state is not None and time.monotonic() - leased_at > _LEASE_AGAIN_S:
                    leased_at = time.monotonic()
                    await watchdog.lease(state["boot_nonce"])
                await asyncio.sleep(0.02)
                state = await watchdog.state()
            trades_s = time.monotonic() - began
    finally:
        process.terminate()
        await process.wait()
    return Came(answers_s=answers_s, trades_s=trades_s, processor_s=_computed_s() - computed_s)


def _computed_s() -> float:
    """Processor time of all processes that were begun here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def test_rows_of_a_long_journal_cost_little_beside_the_start_itself(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        empty = await started(there)
        await write_history(there.writer, rows=ROWS)
        long = await started(there)
    print(f"\nan empty journal: {empty.told()}\n{ROWS} rows more: {long.told()}")
    assert long.processor_s - empty.processor_s < DEARER_BY_MOST * empty.processor_s
