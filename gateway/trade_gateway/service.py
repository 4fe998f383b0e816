"""The gateway as one running thing: its parts put together, and the loops that keep them true.

It starts in REDUCE_ONLY with every fault raised; each fault is cleared by the loop that has proved it gone. The
exchange may be down at start or later: the process stays up, denies with a reason, and recovers by itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_S, Clock
from trade_core.secrets import Secret
from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import KeyRing, ring_hash
from trade_gateway.account_sync import AccountSync
from trade_gateway.clock_watch import ClockWatch
from trade_gateway.conductor import Conductor
from trade_gateway.egress import EgressBudget
from trade_gateway.identity import Identity, Role
from trade_gateway.judge import BotJudge
from trade_gateway.lease_keeper import LeaseKeeper
from trade_gateway.ledger import OrderLedger, Phase
from trade_gateway.metrics import Metrics
from trade_gateway.order_desk import OrderDesk
from trade_gateway.order_flow import resolve_order, withdraw_order
from trade_gateway.policy.limits import Policy, policy_hash
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.reads import Reads
from trade_gateway.recorder import Recorder
from trade_gateway.recovery import LATCH_HOLDER, recover
from trade_gateway.relay import Relay
from trade_gateway.rows_view import rendered_row
from trade_gateway.settings import GatewaySettings
from trade_gateway.startup import EXPECTED_TROUBLE, KeyRefused, load_instruments, pin_modes, verify_key
from trade_gateway.states import Fault, Holder, StateBoard
from trade_gateway.upstream import Upstream
from trade_journal.rows import Fields, RowKind
from trade_journal.writer import JournalWriter

_RETRY_S = 1.0
_RESOLVE_FOR_NS = 5 * NS_PER_S
_INSTRUMENTS_EVERY_S = 3600
_WATCH_STATE_EVERY_S = 0.25
_STOP_FLOWS_WITHIN_S = 2.0
log = logging.getLogger(__name__)


class Gateway:
    """Every part of one gateway process. `start` begins the loops, `stop` ends them."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        identity: Identity,
        ring: KeyRing,
        policy: Policy,
        order_key: tuple[Secret, Secret],
        journal: JournalWriter,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._policy_hash = policy_hash(policy)
        self._ring_hash = ring_hash(ring)
        self._ring = ring
        self._journal = journal
        self._clock = clock
        self.metrics = Metrics()
        self.recorder = Recorder(journal=journal, clock=clock, metrics=self.metrics, policy_hash=self._policy_hash)
        self._board = StateBoard(at_ns=clock.wall_ns())
        self._lease = LeaseKeeper(
            ring=ring, policy_hash=self._policy_hash, boot_nonce=secrets.token_hex(16), clock=clock
        )
        self._ledger = OrderLedger()
        self._clock_watch = ClockWatch(clock=clock)
        self._unrecorded_latch: Fields | None = None
        key, secret = order_key
        is_simulated = settings.environment == "simulated"
        self._private = BybitClient(
            base_url=settings.exchange_url, clock=clock, is_simulated=is_simulated, key=key, secret=secret
        )
        self._public = BybitClient(base_url=settings.exchange_url, clock=clock, is_simulated=is_simulated)
        upstream = Upstream(client=self._private, clock=clock)
        self._conductor = Conductor(recorder=self.recorder, upstream=upstream, clock=clock, permits=self.permits)
        self._account = AccountSync(
            client=self._private,
            upstream=upstream,
            ledger=self._ledger,
            recorder=self.recorder,
            clock=clock,
            categories=frozenset(category for category, _ in policy.symbols),
        )
        budget = EgressBudget(clock=clock)
        self._desk = OrderDesk(
            policy=policy,
            ledger=self._ledger,
            account=self._account,
            conductor=self._conductor,
            recorder=self.recorder,
            budget=budget,
            metrics=self.metrics,
            clock=clock,
            trading_state=self.trading_state,
            trimmed_scale=lambda: self._lease.scale,
            tag_key=identity.tag_key,
            deployment=identity.deployment,
            account_id=settings.account,
        )
        reads = Reads(private=self._private, public=self._public, ledger=self._ledger, budget=budget)
        self.judge = BotJudge(
            virtual_keys=identity.virtual_keys,
            policy=policy,
            desk=self._desk,
            reads=reads,
            recorder=self.recorder,
            metrics=self.metrics,
            clock=clock,
        )
        self.relay = Relay(
            exchange_ws_url=settings.exchange_ws_url,
            is_simulated=is_simulated,
            recorder=self.recorder,
            metrics=self.metrics,
        )
        self.admin_tokens: dict[Role, Secret] = dict(identity.admin_tokens)
        self.fatal: KeyRefused | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._last_state: TradingState | None = None
        self._was_lease_fresh = False
        self._lease_lapsed_at_ns = clock.wall_ns()
        self.recorder.on_unwritable = lambda: self._fault(Fault.JOURNAL_UNWRITABLE)

    async def start(self, *, stop: asyncio.Event) -> None:
        """Recover from the journal and begin the loops. `stop` is set when the process must end."""
        self._stop = stop
        recovered = await recover(self._journal, self._ledger, started_at_ns=self._clock.monotonic_ns())
        if recovered.latch > TradingState.ACTIVE:
            self._board.latch(recovered.latch, reason=recovered.latch_reason, at_ns=self._clock.wall_ns())
        await self.recorder.append_durable(
            RowKind.PROCESS_STARTED,
            {
                "boot_nonce": self._lease.boot_nonce,
                "ring_hash": self._ring_hash,
                "unfinished_orders": len(recovered.orders),
                "latch": self._board_latch().name,
            },
        )
        for fault in Fault:
            if fault is not Fault.JOURNAL_UNWRITABLE:
                self._fault(fault)
        loops: list[Callable[[], Awaitable[None]]] = [
            self._prove_exchange,
            self._keep_account,
            self._keep_resolving,
            self._keep_instruments,
            self._watch_state,
            self._keep_counts,
        ]
        self._tasks = [asyncio.create_task(self._supervised(loop)) for loop in loops]

    async def stop(self) -> None:
        """End the loops, let flows under way finish, and close the journal with its last row."""
        await self._conductor.drain(within_s=_STOP_FLOWS_WITHIN_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.recorder.flush_counts()
        await self.recorder.append_durable(RowKind.PROCESS_STOPPED, {"open_orders": self._ledger.open_count()})
        await self._private.aclose()
        await self._public.aclose()
        await self._journal.close()

    def trading_state(self) -> TradingState:
        """The effective state at this moment."""
        return self._board.effective(is_lease_fresh=self._lease.is_fresh())

    def permits(self, adds_risk: bool) -> bool:
        """The last question before a write: does the state still allow an order of this kind?"""
        limit = TradingState.TRIMMED if adds_risk else TradingState.HALTED
        return self.trading_state() <= limit

    def is_ready(self) -> bool:
        """Tell whether orders that add risk would be considered."""
        return self.trading_state() <= TradingState.TRIMMED

    async def halt(self, reason: str, *, by: str) -> dict[str, Any]:
        """Latch HALTED at once; the row follows."""
        now_ns = self._clock.wall_ns()
        changed = self._board.latch(TradingState.HALTED, reason=reason, at_ns=now_ns)
        in_flight = [o.tag for o in self._ledger.open_orders() if o.is_in_flow]
        if changed:
            await self._record_latch(TradingState.HALTED, reason=reason, by=by)
        return {"trading_state": self.trading_state().name, "in_flight": in_flight}

    async def accept_lease(self, raw: bytes) -> dict[str, Any]:
        """Verify and hold a lease. Raises NotTrusted, after a row that says why."""
        try:
            lease = self._lease.accept(raw)
        except NotTrusted as error:
            self.recorder.append_later(RowKind.LEASE_REFUSED, {"reason": str(error)[:200]})
            log.warning("lease refused: %s", error)
            raise
        ceiling = TradingState[lease.ceiling]
        now_ns = self._clock.wall_ns()
        reason = "" if ceiling is TradingState.ACTIVE else f"the watchdog's lease says {lease.ceiling}"
        if ceiling is TradingState.HALTED and self._board.latch(ceiling, reason=reason, at_ns=now_ns):
            await self._record_latch(ceiling, reason=reason, by="watchdog")
        self._board.set_watchdog_ceiling(ceiling, reason=reason, at_ns=now_ns)
        self._note_state()
        return {"generation": lease.generation, "trading_state": self.trading_state().name}

    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]:
        """Durable rows as the admin listener shows them."""
        return [rendered_row(row) for row in await self._journal.read(from_seq, limit)]

    def state(self) -> dict[str, Any]:
        """Everything a person or the watchdog wants to know; also brings the gauges up to date."""
        self._update_gauges()
        held = self._lease.held
        is_fresh = self._lease.is_fresh()
        holds = self._board.holds(is_lease_fresh=is_fresh, lease_lapsed_at_ns=self._lease_lapsed_at_ns)
        return {
            "environment": self._settings.environment,
            "deployment": self._ring.deployment,
            "account": self._settings.account,
            "boot_nonce": self._lease.boot_nonce,
            "trading_state": self.trading_state().name,
            "holders": {
                holder.value: {"ceiling": hold.ceiling.name, "reason": hold.reason, "since_ns": str(hold.since_ns)}
                for holder, hold in holds.items()
            },
            "lease": {
                "generation": self._lease.generation,
                "age_s": self._lease.age_s(),
                "expires_in_s": self._lease.expires_in_s(),
                "ceiling": held.lease.ceiling if held is not None else None,
            },
            "limits": self._limits(),
            "policy_hash": self._policy_hash,
            "ring_hash": self._ring_hash,
            "account_view": {"is_trusted": not self._account.is_stale(), "age_s": self._account.age_s()},
            "unknown_outcomes": [o.tag for o in self._ledger.open_orders() if o.phase is Phase.UNRESOLVED],
            "working_orders": self._ledger.open_count(),
            "journal": {
                "size": self._journal.size,
                "is_writable": self._journal.is_writable,
                "pending": self._journal.pending,
                "pending_count": self.recorder.pending_count,
            },
        }

    def _limits(self) -> dict[str, dict[str, str]]:
        return {
            "max_open_orders": {
                "value": str(self._policy.max_open_orders),
                "use": str(self._ledger.open_count()),
            },
            "max_order_notional_usdt": {"value": str(self._policy.max_order_notional_usdt), "use": ""},
            "min_order_notional_usdt": {"value": str(self._policy.min_order_notional_usdt), "use": ""},
        }

    def _update_gauges(self) -> None:
        self.metrics.trading_state.set(int(self.trading_state()))
        self.metrics.lease_remaining_seconds.set(self._lease.expires_in_s())
        self.metrics.working_orders.set(self._ledger.open_count())
        unknown = sum(1 for o in self._ledger.open_orders() if o.phase is Phase.UNRESOLVED)
        self.metrics.unknown_outcomes.set(unknown)
        self.metrics.journal_rows.set(self._journal.size)
        self.metrics.journal_is_writable.set(1 if self._journal.is_writable else 0)

    def _board_latch(self) -> TradingState:
        holds = self._board.holds(is_lease_fresh=False, lease_lapsed_at_ns=0)
        return holds[Holder.OPERATOR_LATCH].ceiling

    async def _record_latch(self, ceiling: TradingState, *, reason: str, by: str) -> None:
        self._unrecorded_latch = {"holder": LATCH_HOLDER, "ceiling": ceiling.name, "reason": reason, "by": by}
        await self._write_latch()
        log.warning("latched %s by %s: %s", ceiling.name, by, reason)

    async def _write_latch(self) -> None:
        """Write the latch's row; tried again until it is durable, since a restart knows of no other."""
        fields = self._unrecorded_latch
        is_durable = fields is None or await self.recorder.append_durable(RowKind.STATE_CHANGED, fields)
        if is_durable and self._unrecorded_latch is fields:
            self._unrecorded_latch = None

    def _fault(self, fault: Fault) -> None:
        if self._board.raise_fault(fault, at_ns=self._clock.wall_ns()):
            log.info("fault: %s", fault.value)
            self._note_state()

    def _clear(self, fault: Fault) -> None:
        if self._board.clear_fault(fault):
            log.info("no longer: %s", fault.value)
            self._note_state()

    def _note_state(self) -> None:
        """Write a row when the effective state, or the presence of a lease, is not what it was."""
        is_fresh = self._lease.is_fresh()
        if is_fresh != self._was_lease_fresh:
            self._was_lease_fresh = is_fresh
            self._lease_lapsed_at_ns = self._clock.wall_ns()
            kind = RowKind.LEASE_GAINED if is_fresh else RowKind.LEASE_LOST
            self.recorder.append_later(kind, {"generation": self._lease.generation})
        state = self.trading_state()
        if state is self._last_state:
            return
        before, self._last_state = self._last_state, state
        holds = self._board.holds(is_lease_fresh=is_fresh, lease_lapsed_at_ns=self._lease_lapsed_at_ns)
        reasons = "; ".join(hold.reason for hold in holds.values() if hold.ceiling is state and hold.reason)
        self.recorder.append_later(
            RowKind.STATE_CHANGED,
            {
                "holder": "effective",
                "before": before.name if before is not None else None,
                "ceiling": state.name,
                "reason": reasons[:400],
            },
        )
        log.info("trading state %s%s", state.name, f": {reasons}" if reasons else "")

    async def _supervised(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Keep one loop alive: what it did not expect is logged, and it begins again."""
        while not self._stop.is_set():
            try:
                await loop()
                return
            except KeyRefused as error:
                self.fatal = error
                self._stop.set()
                return
            except Exception:
                log.exception("a background loop failed and begins again")
                await asyncio.sleep(_RETRY_S)

    async def _until_done(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        """Try a step of the start until the exchange lets it succeed."""
        waited = False
        while not self._stop.is_set():
            try:
                await step()
            except EXPECTED_TROUBLE as error:
                if not waited:
                    log.warning("%s: waiting for the exchange: %s", what, error)
                waited = True
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def _prove_exchange(self) -> None:
        await self._until_done("key check", self._verify_key)
        await self._until_done("instruments", self._load_instruments)
        await self._until_done("pinning", self._pin)

    async def _verify_key(self) -> None:
        try:
            await verify_key(self._private, account=self._settings.account)
        except KeyRefused as error:
            await self.recorder.append_durable(RowKind.KEY_REFUSED, {"reason": str(error)[:400]})
            raise
        await self.recorder.append_durable(RowKind.KEY_VERIFIED, {"account": self._settings.account})
        self._clear(Fault.KEY_UNVERIFIED)

    async def _load_instruments(self) -> None:
        self._desk.instruments = await load_instruments(self._public, self._policy)
        self._clear(Fault.INSTRUMENTS_MISSING)

    async def _pin(self) -> None:
        await pin_modes(self._private, self._policy)
        self._clear(Fault.SETTINGS_UNPINNED)

    async def _keep_instruments(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(_INSTRUMENTS_EVERY_S)
            await self._until_done("instruments", self._load_instruments)

    async def _keep_account(self) -> None:
        was_down = False
        while not self._stop.is_set():
            try:
                await self._account.read()
            except (*EXPECTED_TROUBLE, KeyError, TypeError, AttributeError) as error:
                if not was_down:
                    log.warning("the account cannot be read: %s", error)
                was_down = True
            else:
                if was_down:
                    log.info("the account can be read again")
                was_down = False
            if self._account.is_stale():
                self._fault(Fault.ACCOUNT_STALE)
            else:
                self._clear(Fault.ACCOUNT_STALE)
            await self._account.wait_for_turn()

    async def _keep_resolving(self) -> None:
        while not self._stop.is_set():
            for order in self._ledger.unresolved():
                deadline_ns = self._clock.monotonic_ns() + _RESOLVE_FOR_NS
                await self._conductor.run(resolve_order(order, ledger=self._ledger, deadline_ns=deadline_ns))
            for order in self._ledger.open_orders():
                if order.is_disowned and order.phase is Phase.WORKING:
                    await self._conductor.run(withdraw_order(order, ledger=self._ledger))
                    self._account.request()
            if not self._ledger.unresolved():
                self._clear(Fault.ORDERS_UNRECONCILED)
            await asyncio.sleep(_RETRY_S)

    async def _watch_state(self) -> None:
        while not self._stop.is_set():
            self._note_state()
            if self._clock_watch.is_trusted():
                self._clear(Fault.CLOCK_LEAPT)
            else:
                self._fault(Fault.CLOCK_LEAPT)
            if self._journal.is_writable:
                self._clear(Fault.JOURNAL_UNWRITABLE)
                await self._write_latch()
            else:
                self._fault(Fault.JOURNAL_UNWRITABLE)
            await asyncio.sleep(_WATCH_STATE_EVERY_S)

    async def _keep_counts(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(1.0)
            self.recorder.flush_counts()
