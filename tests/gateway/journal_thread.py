"""The journal writer of a deployment in a thread of its own, for commands that bring their own event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.deployment import LOG_PRIVATE

from trade_core.clock import SystemClock
from trade_core.trust.ring import read_ring
from trade_journal.log.ring_keys import gateway_log_keys, gateway_log_signer
from trade_journal.writer.peers import Peer
from trade_journal.writer.server import Door, JournalServer
from trade_journal.writer.writer import JournalWriter


@contextmanager
def journal_thread(folder: Path) -> Iterator[None]:
    """Write the journal of the deployment in a folder until the context ends."""
    started = threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    ring = read_ring(folder / "ring.json")
    signer = gateway_log_signer(ring, LOG_PRIVATE)

    async def serve() -> None:
        writer = await JournalWriter.open(
            f"sqlite:///{folder}/gateway.db", origin=signer.origin, clock=SystemClock(), signer=signer
        )
        server = JournalServer(writer=writer, keys=gateway_log_keys(ring), clock=SystemClock())
        path = folder / "gateway.sock"
        door = Door(peer=Peer.GATEWAY, path=path, uid=os.getuid(), mode=0o600, setting="gateway_socket")
        await server.start([door])
        started.set()
        await ended.wait()
        await writer.close()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
