"""A whole gateway and the simulated exchange in one process, on one hand-driven clock, with nothing but calls between.

The gateway is the service's own: judge, decision, ledger, account view, state, care and all its loops. What stands at
its edges is replaced: the HTTP client and the two streams by calls of the simulator, the journal's file by memory, the
watchdog by leases that are signed here. So the world can lose a message, crash the gateway between two steps, and let
a day pass in a moment.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hostile.memory_journal import Disk, MemoryJournal
from hostile.oracle import Oracle, Window
from hostile.venue import COINS, Key, LocalClient, Venue
from trust_parts import cosigned, ring_of, watchdogs_checkpoint

from trade_core.clock import NS_PER_MS, NS_PER_S, ManualClock
from trade_core.secrets import Secret
from trade_core.trust.baseline import Baseline
from trade_core.trust.keys import NotTrusted, load_private_key
from trade_core.trust.lease import NO_VENUE, Lease, sign_lease
from trade_core.trust.ring import KeyRing, ring_hash
from trade_gateway import parts, replay, service
from trade_gateway.identity import Identity, Role
from trade_gateway.loss_guard import LiveLoss
from trade_gateway.policy.hostile_loss import HostileLoss, StressLoss, hostile_loss
from trade_gateway.policy.limits import parse_policy, policy_hash
from trade_gateway.policy.model import Policy
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy_file import FileStatus, FileVerdict, Look
from trade_gateway.settings import GatewaySettings
from trade_gateway.wire.request import RawRequest
from trade_journal.errors import JournalError
from trade_journal.log.checkpoint import LogSigner
from trade_journal.log.ring_keys import gateway_log_signer
from trade_journal.log.rows import Entry, RowKind
from trade_simulator.rejections import Rejected

KEY, SECRET = "bot", "secret-of-the-bot"
_PRIVATE = load_private_key(base64.b64encode(bytes(range(32))).decode())
_LEASE_EVERY_S = 5.0
_TICKER_EVERY_S = 0.5
_READY_WITHIN_S = 30.0
_LOST_S = 0.5
"""Prices are judged four times a second, and written as often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a world begins with. `policy` is the text of a policy file."""

    policy: str
    equity_usdt: Decimal
    seed: int = 0
    is_thin: bool = True
    holdings: tuple[tuple[str, Decimal], ...] = ()


class _NoStream:
    """Stands where a stream's connection stands; the world itself tells what the stream would."""

    async def run(self) -> None:
        """Wait to be cancelled."""
        await asyncio.Event().wait()


class _Journal(MemoryJournal):
    """Tells the world at which moment an order was accepted: its row is the first thing after the decision."""

    def __init__(self, disk: Disk, *, signer: LogSigner, commit_s: float, oracle: Oracle) -> None:
        super().__init__(disk, signer=signer, commit_s=commit_s)
        self._oracle = oracle

    async def append(self, entry: Entry) -> int:
        """Make a row durable."""
        if entry.kind is RowKind.ORDER_INTENT:
            self._oracle.note_accepted(str(entry.fields["tag"]), str(entry.fields["symbol"]))
        return await super().append(entry)


class World:
    """Everything; made by `world`."""

    def __init__(self, setting: Setting, clock: ManualClock) -> None:
        self.setting = setting
        self.clock = clock
        self.random = random.Random(setting.seed)
        self.policy: Policy = parse_policy(setting.policy.encode())
        self.venue = Venue(
            clock=clock, seed=setting.seed % 1000, equity_usdt=setting.equity_usdt, is_thin=setting.is_thin
        )
        known_orders = self.venue.exchange.accounts[self.venue.uid].known_orders
        self.oracle = Oracle(
            uid=self.venue.uid,
            now_ns=clock.monotonic_ns,
            index=self.venue.index,
            max_divergence=self.policy.reference_max_divergence,
            is_reduce_only=lambda order_id: known_orders[order_id].reduce_only,
            trigger_of=lambda order_id: known_orders[order_id].trigger_price,
        )
        for coin in COINS:
            self.oracle.note_index(coin)
        self.venue.exchange.subscribe(self.oracle.on_event)
        self.venue.on_wallet_told = self.oracle.note_equity
        self.venue.on_price_told = self.oracle.note_told
        for coin, amount in setting.holdings:
            self.flow(coin, amount)
        self.oracle.note_equity(self.venue.equity())
        self.ceiling = TradingState.ACTIVE
        self.scale = "0.5"
        self.commit_s = 0.0
        self.gateway: service.Gateway | None = None
        self.restarts = 0
        self._disk = Disk()
        self._journal: _Journal | None = None
        self._generation = 0
        self._requests = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._ring = _ring(policy_hash(self.policy), self.venue.uid)
        self._signer = gateway_log_signer(self._ring, _PRIVATE)
        self.codes: dict[str, int] = {}

    # The gateway's life

    async def start_gateway(self) -> None:
        """Start a gateway on the journal as it stands."""
        self._journal = _Journal(self._disk, signer=self._signer, commit_s=self.commit_s, oracle=self.oracle)
        with _edges_replaced(self.venue, policy=self.policy):
            made = parts.Parts(
                settings=_settings(self.venue.uid),
                identity=_identity(),
                ring=self._ring,
                order_key=(Secret("k"), Secret("s")),
                journal=self._journal,  # type: ignore[arg-type]
                clock=self.clock,
            )
        gateway = service.Gateway(made)
        gateway.parts.private_stream = gateway.parts.ticker_stream = _NoStream()  # type: ignore[assignment]
        gateway.parts.proof._ticker_stream = gateway.parts.ticker_stream
        # As for the policy: beyond the rungs the bound must hold too.
        gateway.parts.losses_now = _nothing_to_lose  # type: ignore[method-assign]
        gateway.parts.policies._look = self._look  # type: ignore[method-assign]
        gateway.parts.policies._judge = self._judge  # type: ignore[method-assign]
        self.gateway = gateway
        self._generation = 0
        with _edges_replaced(self.venue, policy=self.policy):
            await gateway.start(stop=asyncio.Event())
        if not self.venue.network.is_private_down:
            gateway.parts.keeper.stream_up()
        self.venue.on_frame = gateway.parts.keeper.hear_frame
        self.send_lease()

    async def _look(self) -> Look:
        # A file read in a thread would take no time at all on this clock, or all of it.
        return Look(raw=self.setting.policy.encode())

    def _judge(self, look: Look) -> FileVerdict:
        # The bound must hold for policies beyond the rungs too, with which a gateway refuses to start.
        return FileVerdict(
            status=FileStatus.IN_FORCE, digest=look.digest, policy=self.policy, policy_hash=self._ring.policy_hash
        )

    async def crash_gateway(self, *, survive: int = 0) -> None:
        """Kill it where it stands; of the rows not yet durable the first few survive."""
        gateway, journal = self.gateway, self._journal
        assert gateway is not None
        assert journal is not None
        self.venue.on_frame = lambda _: None
        journal.crash(survive=survive)
        self.oracle.note_killed(lost_s=_LOST_S + 2 * self.commit_s)
        self.gateway = None
        tasks = [*gateway.loops.tasks, *gateway.parts.conductor._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.restarts += 1

    async def ready(self, state: TradingState = TradingState.ACTIVE) -> bool:
        """Wait until the trading state is at least as free as this; tells whether it became so."""
        deadline_ns = self.clock.monotonic_ns() + int(_READY_WITHIN_S * NS_PER_S)
        while self.gateway is not None and self.clock.monotonic_ns() < deadline_ns:
            if self.gateway.states.trading_state() <= state and self.gateway.parts.keeper.describe()["is_trusted"]:
                return True
            await asyncio.sleep(0.25)
        return False

    def send_lease(self) -> None:
        """Let the watchdog vouch for the gateway."""
        if self.gateway is None:
            return
        self._generation += 1
        lease = Lease(
            deployment=self._ring.deployment,
            environment=self._ring.environment,
            account=self._ring.account,
            boot_nonce=self.gateway.parts.boot_nonce,
            generation=self._generation,
            ceiling=self.ceiling.name,
            scale=self.scale,
            second_venue=NO_VENUE,
            second_prices=(),
            checkpoint="",
            memory_checkpoint=watchdogs_checkpoint(self._ring),
            policy_hash=self._ring.policy_hash,
            ring_hash=ring_hash(self._ring),
            signed_at_ms=self.clock.wall_ns() // NS_PER_MS,
            expires_at_ms=self.clock.wall_ns() // NS_PER_MS + 15_000,
        )
        self._begin(self._send_lease(self.gateway, lease))

    async def _send_lease(self, gateway: service.Gateway, lease: Lease) -> None:
        with suppress(JournalError, NotTrusted):  # as the watchdog, which tries again
            checkpoint = cosigned(await gateway.checkpoint(), self._ring, _PRIVATE)
            await gateway.accept_lease(sign_lease(replace(lease, checkpoint=checkpoint), _PRIVATE))

    # The market's and the network's life

    def tell_prices(self) -> None:
        """Let the ticker stream tell every price."""
        if self.gateway is None or self.venue.network.is_ticker_down:
            return
        for coin in self.gateway.parts.references.coins:
            row = self.venue.ticker(f"{coin}USDT")
            self.gateway.parts.references.hear_frame(json.dumps({"topic": f"tickers.{coin}USDT", "data": row}))
        self.gateway.parts.references.judge()  # as the service's watch does, four times a second

    def move(self, coin: str, price: Decimal, *, is_told: bool = True) -> None:
        """Let the index move; `is_told` says whether the gateway hears of it at once."""
        self.venue.move(coin, price)
        self.oracle.note_index(coin)
        self.oracle.note_equity(self.venue.equity())
        if is_told:
            self.tell_prices()

    def flow(self, coin: str, amount: Decimal) -> None:
        """Let a coin come from outside, or go; more than there is free stays, as at the exchange."""
        try:
            self.venue.exchange.flow(self.venue.uid, coin=coin, amount=amount)
        except Rejected:
            return
        if coin != "USDT":
            self.oracle.note_flow(coin, amount)

    def stream_down(self) -> None:
        """Cut the private stream."""
        self.venue.network.is_private_down = True
        if self.gateway is not None:
            self.gateway.parts.keeper.stream_down("cut")

    def stream_up(self) -> None:
        """Let the private stream stand again."""
        self.venue.network.is_private_down = False
        if self.gateway is not None:
            self.gateway.parts.keeper.stream_up()

    async def sleep(self, seconds: float) -> None:
        """Let time pass, with everything that happens in it."""
        await asyncio.sleep(seconds)

    async def skip(self, seconds: float) -> None:
        """Let time pass in which nothing happens, as if the machine had been suspended."""
        self.clock.advance(int(seconds * NS_PER_S))
        self.venue.requote()
        self.tell_prices()
        self.send_lease()
        await asyncio.sleep(0.5)

    # What the bot does

    async def create(self, key: Key, side: str, *, quantity: Decimal, price: Decimal, reduce: bool = False) -> Any:
        """Send an order; returns the parsed answer."""
        self._requests += 1
        body: dict[str, Any] = {
            "category": key[0].value,
            "symbol": key[1],
            "side": side,
            "orderType": "Limit",
            "timeInForce": "PostOnly",
            "qty": f"{quantity:f}",
            "price": f"{price:f}",
            "orderLinkId": f"b{self._requests}",
        }
        if reduce:
            body["reduceOnly"] = True
        return await self._post("/v5/order/create", body)

    async def create_stop(self, key: Key, side: str, *, quantity: Decimal, trigger: Decimal) -> Any:
        """Send a protective stop at the market, triggered by the index price."""
        body: dict[str, Any] = {
            "category": "linear",
            "symbol": key[1],
            "side": side,
            "orderType": "Market",
            "qty": f"{quantity:f}",
            "triggerPrice": f"{trigger:f}",
            "triggerDirection": 1 if side == "Buy" else 2,
            "triggerBy": "IndexPrice",
            "reduceOnly": True,
        }
        return await self._post("/v5/order/create", body)

    async def cancel(self, key: Key, order_id: str) -> Any:
        """Send a cancel."""
        body = {"category": key[0].value, "symbol": key[1], "orderId": order_id}
        return await self._post("/v5/order/cancel", body)

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        if self.gateway is None:
            return {"retCode": -1, "retMsg": "GATEWAY_DOWN"}
        self._requests += 1
        raw = json.dumps(body).encode()
        timestamp = str(self.clock.wall_ns() // NS_PER_MS).encode()
        signed = timestamp + KEY.encode() + b"5000" + raw
        signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
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
        try:
            answer = await self.gateway.judge.answer(request)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return {"retCode": -1, "retMsg": "GATEWAY_DOWN"}  # it crashed half-way
        content = json.loads(answer.body)
        code = "OK" if content["retCode"] == 0 else str(content["retMsg"]).partition(":")[0]
        self.codes[code] = self.codes.get(code, 0) + 1
        return content

    def begin(self, work: Any) -> asyncio.Task[Any]:
        """Do something beside the rest."""
        return self._begin(work)

    # What came of it

    def bound(self, window: Window) -> Decimal:
        """The published bound for a window: at the highest equity there was, and with what was held at its start.

        While no index has moved and no coin came from outside, the exposure limit is all that can be held.
        """
        held = window.exposure if self.oracle.has_moved or self.oracle.flows else Decimal(0)
        return hostile_loss(self.policy, equity_usdt=self.oracle.highest_equity, held_usdt=held).usdt

    # How it runs

    def _begin(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        if len(self._tasks) > 256:
            self._tasks = [one for one in self._tasks if not one.done()]
        return task

    async def _watchdog(self) -> None:
        while True:
            await asyncio.sleep(_LEASE_EVERY_S)
            self.send_lease()

    async def _ticker(self) -> None:
        while True:
            await asyncio.sleep(_TICKER_EVERY_S)
            self.tell_prices()


@asynccontextmanager
async def world(setting: Setting, clock: ManualClock) -> AsyncIterator[World]:
    """Build a world whose gateway is ready to trade."""
    made = World(setting, clock)
    await made.start_gateway()
    loops = [asyncio.create_task(loop()) for loop in (made._watchdog, made._ticker)]
    made.tell_prices()
    try:
        assert await made.ready(), made.gateway.state() if made.gateway else "no gateway"
        yield made
    finally:
        for task in [*loops, *made._tasks]:
            task.cancel()
        await asyncio.gather(*loops, *made._tasks, return_exceptions=True)
        if made.gateway is not None:
            await made.crash_gateway()


def new_clock() -> ManualClock:
    """A clock that stands where the simulator's history begins."""
    return ManualClock(wall_ns=1_763_900_000 * NS_PER_S, monotonic_ns=1000 * NS_PER_S)


@contextmanager
def _edges_replaced(venue: Venue, *, policy: Policy) -> Iterator[None]:
    """Replace the network and the policy file, and permit policies beyond the rungs, while a gateway starts."""

    def local(**options: Any) -> Any:
        return LocalClient(venue, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "BybitClient", local)
        patched.setattr(replay, "usable_policy", lambda _, **__: policy)
        patched.setattr(replay, "require_bounded_loss", lambda _: None)
        yield


def _nothing_to_lose() -> LiveLoss:
    nothing = Decimal(0)
    return LiveLoss(
        hostile=HostileLoss(usdt=nothing, fraction=nothing),
        stress=StressLoss(usdt=nothing, fraction=nothing),
        held_usdt=nothing,
        is_trusted=True,
    )


def _ring(policy: str, account: str) -> KeyRing:
    return ring_of(
        _PRIVATE,
        deployment="hostile",
        account=account,
        policy_hash=policy,
        baseline=Baseline(taken_at_ms=1, orders=(), positions=(), holdings=()),
    )


def _identity() -> Identity:
    return Identity(
        deployment="hostile",
        tag_key=b"t" * 32,
        virtual_keys={KEY: Secret(SECRET)},
        admin_tokens={role: Secret(role.value) for role in Role},
        ring_hash="r",
        ring_version=1,
    )


def _settings(account: str) -> GatewaySettings:
    return GatewaySettings.model_construct(
        environment="simulated",
        exchange="simulated",
        exchange_url="http://127.0.0.1:1",
        exchange_ws_url="ws://127.0.0.1:1",
        account=account,
        listen_port=1,
        admin_port=2,
        policy_file=Path("policy.toml"),
        **{name: Path(name) for name in ("state_dir", "journal_socket", "secrets_file", "ring_file")},
    )
