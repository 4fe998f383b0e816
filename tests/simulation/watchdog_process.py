"""The watchdog's process: its own `run`, from its files to its loops, over in-memory ports; killed where it stands."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from simulation.clocks import ProcessClock
from simulation.disk import SimulatedDisk, SimulatedJournal
from simulation.exchange_edge import CcxtDouble, EquityDouble, SimulatedAudited, SimulatedVenue, SimulatedWatched
from simulation.gateway_process import GatewayProcess, Refused
from simulation.wire import BadGateway, Link, NoAnswer, NotConnected

from trade_core.alerts.channels import ChannelKind, Outcome, Sent
from trade_core.alerts.model import Message
from trade_core.secrets import write_atomically, write_secret_file
from trade_core.trust.lease import ONLY_HOLDER
from trade_core.trust.ring import KeyRing, ring_bytes, ring_hash
from trade_journal.errors import JournalUnavailable
from trade_journal.log.checkpoint import LogSigner
from trade_journal.log.note import Verifier
from trade_journal.log.ring_keys import watchdog_log_name
from trade_journal.log.verify import StoredRow
from trade_journal.writer.witness import Witness
from trade_watchdog import audit_mark, identity, key_memory, log_witness, policy_chain, reconciler, service
from trade_watchdog.account_watch import Look
from trade_watchdog.actions import setup
from trade_watchdog.actions.setup import run_beside
from trade_watchdog.effects import EffectFailed, KillRequest
from trade_watchdog.gateway_link import REQUEST_TIMEOUT_S, GatewayLink, GatewayRefused, GatewayUnavailable
from trade_watchdog.history import History
from trade_watchdog.ladder import Rung
from trade_watchdog.ladder_keeper import LadderKeeper
from trade_watchdog.monitor import Monitor
from trade_watchdog.settings import WatchdogSettings

FRACTIONS: Final = {
    "daily_fraction": "0.05",
    "weekly_fraction": "0.08",
    "monthly_fraction": "0.15",
    "high_water_fraction": "0.18",
}


class Ears:
    """What the judge of a run listens to; each call is told before or after the product has acted on it."""

    def before_sample(self, look: Look) -> None:
        """A sample is believed."""

    def after_sample(self, keeper: LadderKeeper) -> None:
        """The ladder has taken it in."""

    def rebased(self, rungs: tuple[Rung, ...]) -> None:
        """Rungs are re-based."""

    def started(self) -> None:
        """A process begins."""

    def kill_asked(self, request: KillRequest) -> None:
        """A kill is asked for."""

    def swept(self, reason: str) -> None:
        """A sweep is asked for."""

    def alerted(self, message: Message) -> None:
        """People are told."""

    def lease_offered(self, signed: bytes) -> None:
        """A lease reaches the gateway."""

    def lease_answered(self, signed: bytes, *, is_accepted: bool) -> None:
        """The gateway has answered a lease."""

    def halt_answered(self) -> None:
        """The gateway has answered a halt."""


@dataclass(slots=True, kw_only=True)
class WatchdogProcess:
    """One watchdog, alive or not."""

    venue: SimulatedVenue
    gateway: GatewayProcess
    to_exchange: Link
    to_gateway: Link
    clock: ProcessClock
    disk: SimulatedDisk
    copy: SimulatedDisk
    ring: KeyRing
    private: Ed25519PrivateKey
    tag_key: bytes
    folder: Path
    ears: Ears
    sweep: Callable[[], int]
    pause_bot: Callable[[bool], None]
    is_executor_up: bool = True
    is_bot_up: bool = True
    monitor: Monitor | None = None
    keeper: LadderKeeper | None = None
    failure: BaseException | None = None
    starts: int = 0
    _journal: SimulatedJournal | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Tell whether the process runs."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Start on the disk as it stands."""
        self.starts += 1
        self.monitor = self.keeper = None
        self.ears.started()
        self._task = asyncio.create_task(self._run())

    async def crash(self, *, survive: int = 0) -> None:
        """Kill it; of the rows that are not durable yet the first few survive."""
        task, self._task = self._task, None
        if self._journal is not None:
            self._journal.crash(survive=survive)
            self._journal = None
        self.monitor = self.keeper = None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _run(self) -> None:
        try:
            await service.run(self._settings(), clock=self.clock)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the end of a process, whatever ends it
            self.failure = error
            if self._journal is not None:
                self._journal.crash(survive=10**6)

    def patched(self, patch: pytest.MonkeyPatch) -> None:
        """Replace what stands at the edges, for as long as the simulation runs."""
        patch.setattr(service, "GatewayLink", lambda *_, **__: SimulatedLink(self))
        patch.setattr(service, "WatchedExchange", lambda **_: SimulatedWatched(client=self._equity(), clock=self.clock))
        patch.setattr(service, "AuditedExchange", self._audited)
        patch.setattr(service, "ExchangeStream", SilentStream)
        patch.setattr(service, "_executor_witness", lambda *_, **__: None)
        patch.setattr(service, "holder_of", lambda *_, **__: ONLY_HOLDER)
        patch.setattr(service, "History", _history(self))
        patch.setattr(service, "LadderKeeper", lambda **parts: HeardKeeper(ears=self.ears, **parts))
        patch.setattr(service, "_serve_and_watch", self._watch)
        patch.setattr(log_witness, "Witness", _witness(self.copy))
        patch.setattr(setup, "ExecutorLink", lambda *_, **__: SimulatedExecutor(self))
        patch.setattr(setup, "FreqtradeRest", lambda *_, **__: SimulatedBotControl(self))
        patch.setattr(setup, "read_channels", lambda *_, **__: [SimulatedChannel(self)])
        for module in (audit_mark, identity, key_memory, policy_chain, reconciler):
            patch.setattr(module, "write_atomically", self._write)

    async def _watch(self, _listener: object, monitor: Monitor, beside: list[Any], **_: object) -> None:
        self.monitor, self.keeper = monitor, monitor.keeper
        await run_beside(monitor.run(), beside)

    def _write(self, path: Path, content: bytes, *, mode: int) -> None:
        if self.disk.is_full:
            raise OSError(28, "No space left on device")
        write_atomically(path, content, mode=mode)

    def _equity(self) -> CcxtDouble:
        return EquityDouble(venue=self.venue, link=self.to_exchange, clock=self.clock, key=self.venue.watch_key)

    def _audited(self, *, key: Any, **_: object) -> SimulatedAudited:
        keys = {
            self.venue.watch_key.api_key: self.venue.watch_key,
            self.venue.master_key.api_key: self.venue.master_key,
        }
        client = CcxtDouble(venue=self.venue, link=self.to_exchange, clock=self.clock, key=keys[key.key.reveal()])
        return SimulatedAudited(client=client, clock=self.clock)

    def opened_journal(self, signer: LogSigner) -> SimulatedJournal:
        """Open the watchdog's own journal."""
        self._journal = SimulatedJournal(self.disk, signer=signer, commit_s=0.002)
        return self._journal

    def prepare_files(self) -> None:
        """Write what `init` and the genesis leave in the watchdog's folder."""
        private = self._private_text()
        names = ("lease_key", "witness_key", "log_key")
        write_secret_file(
            self.folder / identity.IDENTITY_FILE,
            {**dict.fromkeys(names, private), "admin_token": "token-of-the-watchdog"},
        )
        (self.folder / "ring-given.json").write_bytes(ring_bytes(self.ring))
        write_secret_file(
            self.folder / "handover.json",
            {"admin_url": "http://127.0.0.1:1", "admin_token": "t", "tag_key": self.tag_key.hex()},
        )
        for name, key in (("watch.json", self.venue.watch_key), ("master.json", self.venue.master_key)):
            write_secret_file(self.folder / name, {"exchange_key": key.api_key, "exchange_secret": key.secret})

    def _private_text(self) -> str:
        return base64.b64encode(self.private.private_bytes_raw()).decode()

    def _settings(self) -> WatchdogSettings:
        return WatchdogSettings.model_validate(
            {
                "environment": "simulated",
                "exchange": "simulated",
                "exchange_url": "http://127.0.0.1:1",
                "exchange_ws_url": "ws://127.0.0.1:1",
                "account": self.venue.uid,
                "admin_port": 3,
                "state_dir": str(self.folder),
                "secrets_file": str(self.folder / "watch.json"),
                "master_secrets_file": str(self.folder / "master.json"),
                "order_key": self.venue.key.api_key,
                "exit_key": self.venue.exit_key.api_key,
                "gateway_handover": str(self.folder / "handover.json"),
                "ring_file": str(self.folder / "ring-given.json"),
                "executor_socket": str(self.folder / "executor.sock"),
                "alerts_file": str(self.folder / "alerts.json"),
                "freqtrade_file": str(self.folder / "freqtrade.json"),
                **FRACTIONS,
            }
        )


class SilentStream:
    """Streams that stay open and tell nothing: what the watchdog owes, it owes without them."""

    def __init__(self, **_: object) -> None:
        self._never = asyncio.Event()

    async def follow_account(self, _deliver: object) -> None:
        """Tell nothing."""
        await self._never.wait()

    async def follow_prices(self, _symbols: object, _deliver: object) -> None:
        """Tell nothing."""
        await self._never.wait()

    async def close(self) -> None:
        """Nothing is open."""


class HeardKeeper(LadderKeeper):
    """The ladder's keeper, heard by the judge."""

    def __init__(self, *, ears: Ears, **parts: Any) -> None:
        super().__init__(**parts)
        self.ears = ears

    def take(self, look: Look) -> None:
        """Take in a look."""
        self.ears.before_sample(look)
        super().take(look)
        self.ears.after_sample(self)

    def release(self, rungs: tuple[Rung, ...]) -> None:
        """Re-base rungs."""
        self.ears.rebased(rungs)
        super().release(rungs)


class SimulatedLink(GatewayLink):
    """The watchdog's own reading of the gateway's answers, over a link."""

    def __init__(self, process: WatchdogProcess) -> None:
        self.on_heard = lambda: None
        self._process = process

    async def close(self) -> None:
        """Nothing is open."""

    async def _request(self, method: str, path: str, content: bytes | None, bytes_max: int = 0) -> bytes:
        process = self._process

        async def deliver() -> bytes:
            if path == "/lease" and content is not None:
                return await _lease_delivered(process, content)
            answer = await process.gateway.ask(method, path, content)
            if path == "/halt" and json.loads(answer)["is_recorded"]:
                process.ears.halt_answered()
            return answer

        try:
            answer = await process.to_gateway.carry(f"{method} {path}", deliver, within_s=REQUEST_TIMEOUT_S)
        except (NotConnected, NoAnswer, ConnectionError) as error:
            raise GatewayUnavailable(f"the gateway does not answer: {type(error).__name__}") from None
        except BadGateway:
            raise GatewayRefused(f"{method} {path}: HTTP 502") from None
        except Refused as error:
            if not str(error).startswith("HTTP 503"):
                self.on_heard()
            raise GatewayRefused(f"{method} {path}: {error}") from None
        self.on_heard()
        return answer


async def _lease_delivered(process: WatchdogProcess, content: bytes) -> bytes:
    process.ears.lease_offered(content)
    try:
        answer = await process.gateway.ask("POST", "/lease", content)
    except BaseException:
        process.ears.lease_answered(content, is_accepted=False)
        raise
    process.ears.lease_answered(content, is_accepted=True)
    return answer


class SimulatedExecutor:
    """The kill executor: sweeps at once; a kill request is taken and told."""

    def __init__(self, process: WatchdogProcess) -> None:
        self._process = process

    async def sweep(self, reason: str) -> None:
        """Cancel everything that adds risk."""
        if not self._process.is_executor_up:
            raise EffectFailed("the kill executor does not answer")
        self._process.ears.swept(reason)
        self._process.sweep()

    async def flatten(self, request_id: str, reason: str) -> str:
        """Hold positions, as the executor's settings do by default."""
        return ""

    async def request_kill(self, request: KillRequest) -> None:
        """Take a kill request."""
        if not self._process.is_executor_up:
            raise EffectFailed("the kill executor does not answer")
        self._process.ears.kill_asked(request)


class SimulatedBotControl:
    """Freqtrade's control."""

    def __init__(self, process: WatchdogProcess) -> None:
        self._process = process

    async def pause(self) -> None:
        """No new trades."""
        if not self._process.is_bot_up:
            raise EffectFailed("freqtrade does not answer")
        self._process.pause_bot(True)

    async def stop(self) -> None:
        """Nothing at all."""
        await self.pause()


class SimulatedChannel:
    """A way to people that always works."""

    kind = ChannelKind.WEBHOOK

    def __init__(self, process: WatchdogProcess) -> None:
        self._process = process

    async def send(self, message: Message) -> Outcome:
        """Deliver."""
        self._process.ears.alerted(message)
        return Outcome(sent=Sent.DELIVERED)

    async def close(self) -> None:
        """Nothing is open."""


def _history(process: WatchdogProcess) -> type[History]:
    class SimulatedHistory(History):
        @classmethod
        async def open(cls, state_dir: Path, **parts: Any) -> History:
            ring: KeyRing = parts["ring"]
            origin = watchdog_log_name(ring)
            signer = LogSigner(origin=origin, private_key=parts["log_key"], ring_hash=ring_hash(ring))
            del state_dir
            return cls(process.opened_journal(signer), clock=parts["clock"])  # type: ignore[arg-type]

    return SimulatedHistory


class _CopyStore:
    """The witness's copy on a simulated disk."""

    place = "the copy"

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk

    def size(self) -> int:
        return len(self._disk.bodies)

    def tree(self) -> Any:
        return self._disk.tree

    def append_stored(self, rows: list[StoredRow]) -> None:
        self._need_room()
        for row in rows:
            self._disk.keep(row.body)

    def append_checkpoint(self, _note: bytes) -> None:
        self._need_room()

    def stored_rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        return self._disk.stored(from_seq, limit)

    def close(self) -> None:
        """Nothing is open."""

    def _need_room(self) -> None:
        if self._disk.is_full:
            raise JournalUnavailable("no space left", cause="full")


def _witness(disk: SimulatedDisk) -> type[Witness]:
    class SimulatedWitness(Witness):
        @classmethod
        def open(
            cls, url: str, *, log: Verifier, name: str, private_key: Ed25519PrivateKey, journal: str | None = None
        ) -> Witness:
            del journal
            Path(url.removeprefix("sqlite:///")).touch()
            return cls(store=_CopyStore(disk), url=url, log=log, name=name, private_key=private_key)  # type: ignore[arg-type]

        def reading(self) -> Any:
            return _CopyStore(disk)

        def _root_at(self, size: int) -> bytes:
            if size == self.size:
                return self.root
            tree = type(disk.tree)()
            return tree.extended(row.leaf_hash for row in disk.stored(0, size)).root()

    return SimulatedWitness
