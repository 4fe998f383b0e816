"""The gateway's process: the service's own object, started on its disk as it stands, and killed where it stands."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hostile.world import KEY, SECRET, _NoStream
from simulation.clocks import ProcessClock
from simulation.disk import SimulatedDisk, SimulatedJournal
from simulation.exchange_edge import GatewayClient, SimulatedVenue
from simulation.wire import Link

from trade_core.clock import NS_PER_MS
from trade_core.secrets import Secret
from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import KeyRing
from trade_gateway import parts, service
from trade_gateway.identity import Identity, Role
from trade_gateway.settings import GatewaySettings
from trade_gateway.wire.request import RawRequest
from trade_journal.errors import JournalError
from trade_journal.log.checkpoint import LogSigner

DOWN = {"retCode": -1, "retMsg": "GATEWAY_DOWN"}


class Refused(Exception):
    """The gateway's admin listener answers with an HTTP status that is not 200."""


@dataclass(slots=True, kw_only=True)
class GatewayProcess:
    """One gateway, alive or not."""

    venue: SimulatedVenue
    link: Link
    clock: ProcessClock
    disk: SimulatedDisk
    ring: KeyRing
    signer: LogSigner
    tag_key: bytes
    folder: Path
    policy_file: Path
    on_sent: Callable[[bytes], None]
    commit_s: float = 0.002
    running: service.Gateway | None = None
    starts: int = 0
    _journal: SimulatedJournal | None = None
    _requests: int = 0
    _work: set[asyncio.Task[Any]] = field(default_factory=set)

    async def start(self) -> None:
        """Start on the disk as it stands."""
        journal = SimulatedJournal(self.disk, signer=self.signer, commit_s=self.commit_s)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(parts, "BybitClient", self._client)
            made = parts.Parts(
                settings=self._settings(),
                identity=self._identity(),
                ring=self.ring,
                order_key=(Secret("k"), Secret("s")),
                journal=journal,
                clock=self.clock,
            )
        gateway = service.Gateway(made)
        gateway.parts.private_stream = gateway.parts.ticker_stream = _NoStream()  # type: ignore[assignment]
        gateway.parts.proof._ticker_stream = gateway.parts.ticker_stream
        self._journal, self.running = journal, gateway
        self.starts += 1
        await gateway.start(stop=asyncio.Event())
        self.venue.on_frame = gateway.parts.keeper.hear_frame
        if not self.venue.network.is_private_down:
            gateway.parts.keeper.stream_up()

    async def crash(self, *, survive: int = 0) -> None:
        """Kill it; of the rows that are not durable yet the first few survive."""
        gateway, journal = self.running, self._journal
        if gateway is None or journal is None:
            return
        self.running, self._journal = None, None
        self.venue.on_frame = lambda _: None
        journal.crash(survive=survive)
        tasks = [*gateway.loops.tasks, *gateway.parts.conductor._running, *self._work]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What its admin listener answers

    async def ask(self, method: str, path: str, content: bytes | None) -> bytes:
        """Answer the watchdog, as the admin listener does. Raises Refused, ConnectionError when it is dead."""
        gateway = self.running
        if gateway is None:
            raise ConnectionError
        task = asyncio.ensure_future(self._answered(gateway, method, path, content))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise ConnectionError from None  # it died meanwhile
            raise

    async def _answered(self, gateway: service.Gateway, method: str, path: str, content: bytes | None) -> bytes:
        path, _, query = path.partition("?")
        try:
            match method, path:
                case "GET", "/state":
                    return json.dumps(gateway.state()).encode()
                case "GET", "/healthz":
                    return b"{}"
                case "GET", "/journal/checkpoint":
                    return await gateway.checkpoint()
                case "GET", "/journal/entries":
                    asked = dict(part.split("=") for part in query.split("&"))
                    return await gateway.entries(int(asked["from"]), int(asked["limit"]))
                case "POST", "/halt":
                    assert content is not None
                    answer = await gateway.halt(json.loads(content)["reason"], by=Role.WATCHDOG.value)
                    return json.dumps(answer).encode()
                case "POST", "/lease":
                    assert content is not None
                    return json.dumps(await gateway.accept_lease(content)).encode()
        except NotTrusted as error:
            raise Refused(f"HTTP 409 {error}") from None
        except JournalError as error:
            raise Refused(f"HTTP 503 {error}") from None
        raise AssertionError(f"{method} {path} is not simulated")

    # What the bot asks of it

    async def bot_asks(self, path: str, body: dict[str, Any]) -> Any:
        """Send the bot's signed request; answers the parsed envelope."""
        gateway = self.running
        if gateway is None:
            return DOWN
        raw = json.dumps(body).encode()
        timestamp = str(self.clock.wall_ns() // NS_PER_MS).encode()
        signature = hmac.new(SECRET.encode(), timestamp + KEY.encode() + b"5000" + raw, hashlib.sha256).hexdigest()
        request = RawRequest(
            method=b"POST",
            target=path.encode(),
            headers=(
                (b"host", b"127.0.0.1"),
                (b"content-type", b"application/json"),
                (b"x-bapi-api-key", KEY.encode()),
                (b"x-bapi-timestamp", timestamp),
                (b"x-bapi-recv-window", b"5000"),
                (b"x-bapi-sign", signature.encode()),
            ),
            body=raw,
            client="127.0.0.1",
        )
        task = asyncio.ensure_future(_whole(lambda: gateway.judge.answer(request)))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                return DOWN
            raise
        return json.loads(answer.body)

    def _client(self, **options: Any) -> Any:
        return GatewayClient(
            venue=self.venue,
            link=self.link,
            clock=self.clock,
            is_signed=options.get("key") is not None,
            on_sent=self.on_sent,
        )

    def _identity(self) -> Identity:
        return Identity(
            deployment=self.ring.deployment,
            tag_key=self.tag_key,
            virtual_keys={KEY: Secret(SECRET)},
            admin_tokens={role: Secret(role.value) for role in Role},
            ring_hash="r",
            ring_version=1,
        )

    def _settings(self) -> GatewaySettings:
        return GatewaySettings.model_construct(
            environment="simulated",
            exchange="simulated",
            exchange_url="http://127.0.0.1:1",
            exchange_ws_url="ws://127.0.0.1:1",
            account=self.venue.uid,
            listen_port=1,
            admin_port=2,
            policy_file=self.policy_file,
            state_dir=self.folder,
            **{name: self.folder / name for name in ("journal_socket", "secrets_file", "ring_file")},
        )


async def _whole(answer: Callable[[], Awaitable[Any]]) -> Any:
    return await answer()
