"""The gateway as one running thing: its parts put together, and the loops that keep them true.

It starts in REDUCE_ONLY with every fault raised; each fault is cleared by the loop that has proved it gone. The
exchange may be down at start or later: the process stays up, denies with a reason, and recovers by itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Set
from contextlib import suppress
from typing import Any

from trade_core.alerts.model import Alert
from trade_core.bybit.client import BybitClient
from trade_core.clock import Clock
from trade_core.errors import ConfigurationError, ExchangeUnavailable
from trade_core.ring_keeper import RingKeeper, published_rings
from trade_core.secrets import Secret
from trade_core.settings import shown_settings
from trade_core.trust.keys import NotTrusted
from trade_core.trust.log_warrant import FIRST_LOG
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.ring_book import ring_named
from trade_core.trust.signed_warrant import open_warrant
from trade_gateway.account.activity import Activity, ActivityLimits
from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.private_stream import private_stream
from trade_gateway.account.reference_feed import ReferenceFeed
from trade_gateway.account.reference_memory import ReferenceMemory
from trade_gateway.account.resync import AccountSync
from trade_gateway.announcer import announcing
from trade_gateway.baseline import Strangers, baseline_rows, shown_baseline, stranger_fields
from trade_gateway.conductor import Conductor
from trade_gateway.disaster_keeper import DisasterKeeper
from trade_gateway.egress import EgressBudget
from trade_gateway.exchange_proof import ExchangeProof
from trade_gateway.fee_proof import FeeProof
from trade_gateway.gauges import update_gauges
from trade_gateway.identity import Identity, Role
from trade_gateway.instrument_memory import InstrumentMemory
from trade_gateway.judge import BotJudge
from trade_gateway.ledger import OrderLedger, Phase
from trade_gateway.limits_view import (
    held_usdt,
    limits_in_use,
    losses,
    require_bounded_loss,
    shown_loss,
)
from trade_gateway.loss_guard import LiveLoss, LossGuard
from trade_gateway.metrics import Metrics
from trade_gateway.order_care import OrderCare
from trade_gateway.order_desk import OrderDesk
from trade_gateway.policy.facts import AccountFacts
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import NOTHING_PERMITTED, SymbolKey
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy_file import look_at, usable_policy
from trade_gateway.policy_history import InForce, PolicyHistory, warrant_of
from trade_gateway.policy_keeper import LOOK_EVERY_S, PolicyKeeper, is_policy_warrant
from trade_gateway.reads import Reads
from trade_gateway.recorder import Recorder
from trade_gateway.recovery import recover
from trade_gateway.relay import Relay
from trade_gateway.second_view import describe_venue
from trade_gateway.settings import GatewaySettings
from trade_gateway.startup import EXPECTED_TROUBLE, KeyRefused
from trade_gateway.state_keeper import StateKeeper
from trade_gateway.states import Fault
from trade_gateway.tags import TagMaker
from trade_gateway.upstream import Upstream
from trade_gateway.wire.authentication import SpentSignatures, spent_capacity
from trade_gateway.wire.request import hosts_of
from trade_gateway.witnessed_log import WitnessedLog
from trade_journal.errors import JournalUnavailable
from trade_journal.log.log_succession import check_succession
from trade_journal.log.rendering import rendered_row
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import Row, RowKind
from trade_journal.writer.journal import Journal

_RETRY_S = 1.0
_WATCH_STATE_EVERY_S = 0.25
_CHECKPOINT_EVERY_S = 5
_WARM_EVERY_S = 5
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
        order_key: tuple[Secret, Secret],
        journal: Journal,
        clock: Clock,
        tell: Callable[[Alert], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        # Until `start` has learned from the journal which policy is in force, nothing is permitted.
        policy = self._policy = NOTHING_PERMITTED
        self._ring, self._ring_hash = ring, ring_hash(ring)
        self._journal = journal
        self._clock = clock
        self.metrics = Metrics()
        self.recorder = Recorder(journal=journal, clock=clock, metrics=self.metrics, policy_hash=ring.policy_hash)
        self._boot_nonce = secrets.token_hex(16)
        keys = gateway_log_keys(ring)
        assert keys.witness is not None
        self._log_number = FIRST_LOG
        self._witnessed = WitnessedLog(
            log=keys.log, witness=keys.witness, clock=clock, witnessed_size=journal.witnessed_size
        )
        self.states = StateKeeper(
            ring=ring,
            order_key=order_key[0].reveal(),  # its id: the exchange's list shows it to every key
            policy_hash=ring.policy_hash,
            boot_nonce=self._boot_nonce,
            clock=clock,
            recorder=self.recorder,
            witnessed=self._witnessed,
            has_signed=journal.has_signed,
        )
        self.states.on_witnessed = self._keep_cosigned
        self._cosigned = b""
        self._ledger = OrderLedger()
        key, secret = order_key
        self._private = BybitClient(
            base_url=settings.exchange_http, clock=clock, is_simulated=settings.is_simulated, key=key, secret=secret
        )
        self._public = BybitClient(base_url=settings.exchange_http, clock=clock, is_simulated=settings.is_simulated)
        upstream = Upstream(client=self._private, clock=clock)
        self._conductor = Conductor(recorder=self.recorder, upstream=upstream, clock=clock, permits=self.states.permits)
        self._activity = Activity(limits=ActivityLimits.of(policy))
        self._keeper = AccountKeeper(ledger=self._ledger, activity=self._activity, recorder=self.recorder, clock=clock)
        self._private_stream = private_stream(
            exchange_ws_url=settings.exchange_streams,
            is_simulated=settings.is_simulated,
            clock=clock,
            key=key,
            secret=secret,
            keeper=self._keeper,
        )
        self._memory = ReferenceMemory(
            recorder=self.recorder,
            within=lambda: self._policy.exit_collar / 2,
            is_writable=lambda: self._journal.is_writable,
        )
        self._references = ReferenceFeed(
            symbols=policy.symbols,
            client=self._public,
            clock=clock,
            max_age_s=policy.reference_max_age_s,
            max_divergence=policy.reference_max_divergence,
            second_prices=lambda: self.states.lease.second.prices,
            on_good=self._memory.note,
        )
        self._ticker_stream = self._references.stream(
            exchange_ws_url=settings.exchange_streams, is_simulated=settings.is_simulated
        )
        self._account = AccountSync(
            client=self._private,
            upstream=upstream,
            ledger=self._ledger,
            keeper=self._keeper,
            clock=clock,
            categories=frozenset(category for category, _ in policy.symbols),
        )
        budget = EgressBudget(clock=clock, orders_per_s=settings.orders_per_s)
        self._desk = OrderDesk(
            policy=policy,
            ledger=self._ledger,
            account=self._account,
            conductor=self._conductor,
            recorder=self.recorder,
            budget=budget,
            metrics=self.metrics,
            clock=clock,
            market=self._references.facts,
            first_price=self._references.wait_for_first,
            trading_state=self.states.trading_state,
            trimmed_scale=lambda: self.states.lease.scale,
            tag_key=identity.tag_key,
            deployment=identity.deployment,
            account_id=settings.account,
        )
        self.judge = BotJudge(
            virtual_keys=identity.virtual_keys,
            hosts=hosts_of(settings.listen_host),
            policy=policy,
            desk=self._desk,
            reads=Reads(private=self._private, public=self._public, ledger=self._ledger, budget=budget),
            recorder=self.recorder,
            metrics=self.metrics,
            clock=clock,
            spent=SpentSignatures(capacity=spent_capacity(settings.orders_per_s)),
            halt=lambda reason: self.states.latch(TradingState.HALTED, reason=reason, by="gateway"),
        )
        self.relay = Relay(
            exchange_ws_url=settings.exchange_streams,
            is_simulated=settings.is_simulated,
            hosts=hosts_of(settings.listen_host),
            recorder=self.recorder,
            metrics=self.metrics,
            clock=clock,
        )
        self._strangers = Strangers(ring.baseline)
        self.admin_tokens: dict[Role, Secret] = dict(identity.admin_tokens)
        self.fatal: KeyRefused | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self.recorder.on_unwritable = lambda: self.states.set_fault(Fault.JOURNAL_UNWRITABLE, is_there=True)
        self.states.on_released = self._rearm
        self._care = OrderCare(
            ledger=self._ledger,
            conductor=self._conductor,
            clock=clock,
            is_reduced=lambda: self.states.is_reduced,
            time_to_live_s=lambda: self._policy.order_time_to_live_s,
            permits_symbol=lambda key: key in self._policy.symbols,
            is_flat=lambda symbol, since_ns: self._keeper.is_flat(symbol, since_ns=since_ns),
            on_changed=self._account.request,
        )
        self._disaster = DisasterKeeper(
            fraction=lambda: self._policy.disaster_stop_fraction,
            ledger=self._ledger,
            keeper=self._keeper,
            conductor=self._conductor,
            recorder=self.recorder,
            clock=clock,
            tags=TagMaker(key=identity.tag_key, deployment=identity.deployment, account=settings.account),
            instruments=lambda: self._desk.instruments,
            trading_state=self.states.trading_state,
            on_changed=self._account.request,
        )
        self._proof = ExchangeProof(
            private=self._private,
            public=self._public,
            ticker_stream=self._ticker_stream,
            account=settings.account,
            recorder=self.recorder,
            faults=self.states,
            on_instruments=self._take_instruments,
        )
        self._filters = InstrumentMemory(recorder=self.recorder, is_writable=lambda: self._journal.is_writable)
        self._fees = FeeProof(client=self._private, clock=clock, recorder=self.recorder, faults=self.states)
        self._history = PolicyHistory(ring=ring, counts=settings.policy_counts)
        self._policies = PolicyKeeper(
            path=settings.policy_file,
            ring=ring,
            history=self._history,
            recorder=self.recorder,
            clock=clock,
            is_clock_trusted=self.states.is_clock_trusted,
            on_fault=lambda is_there: self.states.set_fault(Fault.POLICY_FILE, is_there=is_there),
            on_change=self._put_in_force,
        )
        self._rings = RingKeeper(
            folder=settings.state_dir,
            first=ring,
            record=lambda kind, fields: self.recorder.append_durable(RowKind(kind), fields),
            clock=clock,
            is_clock_trusted=self.states.is_clock_trusted,
            on_ring=self._adopt_new_ring,
        )
        self._announce_over(tell)
        self.states.check_counters = self._policies.check_counters = self._rings.check_counters
        self.states.on_latched = lambda reason, by: self._policies.void(reason=reason, by=by)

    def _announce_over(self, tell: Callable[[Alert], None]) -> None:
        """Have what loosens told outside; with real money nothing is loosened that nobody there can read."""
        self.states.announce = self._policies.announce = self._announce = announcing(tell)
        has_channel = self._settings.is_simulated or self._settings.alerts_file is not None
        self.states.has_channel = self._policies.has_channel = has_channel

    async def start(self, *, stop: asyncio.Event) -> None:
        """Recover from the journal and begin the loops. `stop` is set when the process must end.

        Raises ConfigurationError when no policy can be in force: the gateway then has nothing to trade by.
        """
        self._stop = stop
        recovered = await recover(
            self._journal,
            self._ledger,
            activity=self._activity,
            started_at_ns=self._clock.monotonic_ns(),
            is_release=self.states.is_release,
            on_row=self._replay,
        )
        self._adopt_ring(self._rings.ring)
        if len(self._rings.book.rings) > 1:  # the first stands in the ring file itself
            self._publish_rings()
        in_force = self._begin_policy()
        self.recorder.policy_hash = in_force.policy_hash
        self.states.restore(recovered)
        await self.recorder.append_durable(
            RowKind.PROCESS_STARTED,
            {
                "boot_nonce": self._boot_nonce,
                "ring_hash": self._ring_hash,
                "unfinished_orders": len(recovered.orders),
                "latch": self.states.latched().name,
            },
        )
        self.recorder.append_later(RowKind.CONFIG_LOADED, {"settings": shown_settings(self._settings)})
        if not recovered.has_baseline:
            # A crash between these rows writes them again: the last one says that they are all there.
            for fields in baseline_rows(self._ring):
                await self.recorder.append_durable(RowKind.BASELINE_TAKEN, fields)
        await self._policies.anchor()
        self._put_in_force(in_force)
        self._keeper.on_fee = self._fees.note_charged
        self._filters.restore(recovered.instruments)
        self._proof.remember(recovered.instruments)
        self._memory.restore(recovered.references)
        self._references.restore(recovered.references)  # of the coins that the policy makes it follow
        for fault in Fault:
            if fault not in {Fault.JOURNAL_UNWRITABLE, Fault.CLOCK_LEAPT}:
                self.states.set_fault(fault, is_there=True)
        hostile, stress = losses(self._policy, equity_usdt=None)
        log.info(
            "at %s USDT a hostile bot loses at most %s USDT a day, and one market gap %s USDT",
            self._policy.allocated_capital_usdt,
            shown_loss(hostile)["usdt"],
            shown_loss(stress)["usdt"],
        )
        loss_guard = LossGuard(
            losses_now=self._losses_now, clock=self._clock, recorder=self.recorder, faults=self.states
        )
        loops: list[Callable[[], Awaitable[None]]] = [
            self._proof.run,
            self._fees.run,
            loss_guard.run,
            self._private_stream.run,
            self._ticker_stream.run,
            self._references.keep_reading,
            self._memory.keep,
            self._keep_account,
            self._keep_resolving,
            self._keep_withdrawing,
            self._keep_disaster_stops,
            self._keep_policy,
            self._watch_state,
            self._keep_counts,
            self._keep_checkpoints,
            self._keep_warm,
        ]
        self._tasks = [asyncio.create_task(self._supervised(loop)) for loop in loops]

    async def stop(self) -> None:
        """End the loops, let flows under way finish, and close the journal with its last row."""
        await self._conductor.drain(within_s=_STOP_FLOWS_WITHIN_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.recorder.flush_counts()
        if self._tasks:  # a start that was refused leaves no row: an empty journal must stay one that can be begun
            await self._memory.finish()
            await self.recorder.append_durable(RowKind.PROCESS_STOPPED, {"open_orders": self._ledger.open_count()})
        await self._private.aclose()
        await self._public.aclose()
        await self._journal.close()

    def is_ready(self) -> bool:
        """Tell whether orders that add risk would be considered."""
        return self.states.trading_state() <= TradingState.TRIMMED

    def is_quiet(self) -> bool:
        """Tell whether no order is under way."""
        return not self._conductor.orders_under_way

    def ring_halt(self) -> None:
        """Halt at once, before `hear_halt` latches it. The one thing here that another thread may call."""
        self.states.bell.ring()

    def hear_halt(self, reason: str, *, by: str) -> None:
        """Latch the halt that was rung for."""
        self.states.hear_bell(reason=reason, by=by)

    async def halt(self, reason: str, *, by: str) -> dict[str, Any]:
        """Latch HALTED at once; name what is still on the wire, and say whether a restart would know of the halt."""
        await self.states.latch(TradingState.HALTED, reason=reason, by=by)
        in_flight = [o.tag for o in self._ledger.open_orders() if o.is_in_flow]
        return {
            "trading_state": self.states.trading_state().name,
            "in_flight": in_flight,
            "is_recorded": self.states.is_latch_recorded,
        }

    async def accept_lease(self, raw: bytes) -> dict[str, Any]:
        """Verify and hold a lease. Raises NotTrusted."""
        return await self.states.accept_lease(raw)

    async def accept_release(self, raw: bytes) -> dict[str, Any]:
        """Verify and announce a release of the latch, or of a looser policy. Raises NotTrusted."""
        if is_policy_warrant(raw, ring=self._ring):
            return await self._policies.accept(raw)
        return await self.states.accept_release(raw)

    async def accept_kill(self, raw: bytes) -> dict[str, Any]:
        """Latch KILLED by a kill warrant. Raises NotTrusted."""
        return await self.states.accept_kill(raw)

    async def accept_ring(self, raw: bytes) -> dict[str, Any]:
        """Take the next key ring, or the warrant that cancels one that waits. Raises NotTrusted."""
        answer = await self._rings.accept(raw)
        waiting = self._rings.book.waiting
        when = "counts now" if waiting is None else "counts in 72 h, unless a security key cancels it"
        ring = self._rings.ring if waiting is None else waiting.ring
        labels = ", ".join(credential.label for credential in ring.credentials)
        self._announce("ring", raw, f"a key ring with the security keys {labels} {when}")
        return answer

    def _adopt_new_ring(self, ring: KeyRing) -> None:
        self._adopt_ring(ring)
        self._publish_rings()

    def _adopt_ring(self, ring: KeyRing) -> None:
        """Give a ring to every part that believes by one, in one step between two decisions."""
        self._ring, self._ring_hash = ring, ring_hash(ring)
        self.states.adopt_ring(ring)
        self._policies.adopt_ring(ring)

    def _publish_rings(self) -> None:
        """Let commands that draft warrants know the ring that counts; nothing is believed by that file."""
        try:
            published_rings(self._rings.book, beside=self._settings.ring_file)
        except OSError as error:
            log.error("the key rings cannot be published beside %s: %s", self._settings.ring_file, error.strerror)

    def _replay(self, row: Row) -> None:
        if "warrant" in row.fields:
            self._adopt_ring_of(row)
        if row.kind is RowKind.LOG_SUCCEEDED:
            try:
                self._log_number = check_succession(row, ring=self._ring, number=self._log_number).number
            except NotTrusted as error:
                raise ConfigurationError(f"the journal goes on in a new log that nobody has ordered: {error}") from None
            self._witnessed.follow(gateway_log_keys(self._ring, number=self._log_number).log)
        if row.kind is RowKind.RING_CHANGED:
            ring = ring_named(self._rings.book, str(row.fields.get("new_hash"))) or self._rings.recover(row.fields)
            if ring is not None:
                self._adopt_ring(ring)  # what follows was ordered under it
        self._replay_policy(row)

    def _adopt_ring_of(self, row: Row) -> None:
        """Go on to the ring that a row's warrant names, where the row of that ring is among those that were lost."""
        raw, rings = warrant_of(row.fields), self._rings.book.rings
        for ring in rings[rings.index(self._ring) + 1 :]:
            with suppress(NotTrusted):
                open_warrant(raw, ring=ring)
                self._adopt_ring(ring)

    def _replay_policy(self, row: Row) -> None:
        if self._history.take(row) and self._history.current is not None:
            # Fills of that time are counted by the limits of that time.
            self._activity.limit(ActivityLimits.of(self._history.current.policy))

    def _begin_policy(self) -> InForce:
        """Return the policy that the journal tells, or at the first start the file's, if the ring names it."""
        path = self._settings.policy_file
        current = self._history.current
        if current is None:
            try:
                policy = usable_policy(look_at(path), counts=self._history.counts)
            except ConfigurationError as error:
                raise ConfigurationError(f"{path}: {error}") from error
            if not self._history.begin(policy):
                raise ConfigurationError(
                    f"{path}: is not the policy that the key ring names, and the journal does not hold that one yet"
                )
            current = self._policies.in_force
        require_bounded_loss(current.policy)
        return current

    def _put_in_force(self, in_force: InForce) -> None:
        """Give a policy to every part that decides by one, in one step between two decisions."""
        policy, former = in_force.policy, self._history.former_symbols
        self._policy = policy
        self.recorder.policy_hash = in_force.policy_hash
        self.states.lease.policy_hash = in_force.authorised_hash
        self._desk.policy, self._desk.former_symbols = policy, former
        self.judge.policy = policy
        self._activity.limit(ActivityLimits.of(policy))
        self._account.follow(category for category, _ in (*policy.symbols, *former))
        has_new_coins = self._references.follow(
            policy.symbols,
            former=former,
            max_age_s=policy.reference_max_age_s,
            max_divergence=policy.reference_max_divergence,
        )
        self._memory.renew()
        self._proof.require(policy, former=former, has_new_coins=has_new_coins)
        self._fees.require(policy)

    def _take_instruments(self, known: Mapping[SymbolKey, Instrument], not_traded: Set[SymbolKey]) -> None:
        self._desk.take_instruments(known, not_traded)
        traded = known.keys() - not_traded
        self._fees.take_traded(traded)
        self._filters.keep({key: known[key] for key in traded})

    def _rearm(self) -> None:
        for note in self._activity.rearm_all():
            self.recorder.append_later(note.kind, note.fields)

    async def rows(self, from_seq: int, limit: int) -> list[dict[str, Any]]:
        """Durable rows as the admin listener shows them."""
        return [rendered_row(row) for row in await self._journal.read(from_seq, limit)]

    async def entries(self, from_seq: int, limit: int) -> bytes:
        """The bytes of durable rows, a line each: what the journal's tree is over."""
        return b"".join(row.body + b"\n" for row in await self._journal.stored(from_seq, limit))

    async def checkpoint(self) -> bytes:
        """Sign and keep a checkpoint over all rows. Raises JournalError."""
        began_ns = self._clock.monotonic_ns()
        note = await self._journal.checkpoint()
        self._witnessed.remember(note, began_ns=began_ns)
        return note

    def cosigned(self) -> bytes:
        """Return the last checkpoint of this run that the witness has cosigned; empty before the first lease."""
        return self._cosigned

    def _keep_cosigned(self, note: bytes) -> None:
        self._cosigned = note
        self._journal.keep_cosigned(note)

    def state(self) -> dict[str, Any]:
        """Everything a person or the watchdog wants to know; also brings the gauges up to date."""
        facts, market = self._facts(), self._references.facts()
        held = held_usdt(self._policy, facts, market, former=self._history.former_symbols)
        hostile, stress = losses(self._policy, equity_usdt=facts.equity_usdt, held_usdt=held)
        root_size, root = self._witnessed.last_signed()
        self.metrics.hostile_loss_usdt.set(float(hostile.usdt))
        self.metrics.loss_unbounded.set(1 if self.states.has_fault(Fault.LOSS_UNBOUNDED) else 0)
        self.metrics.stress_loss_usdt.set(float(stress.usdt))
        self.metrics.policy_file_in_force.set(1 if self._policies.is_file_in_force else 0)
        update_gauges(
            self.metrics,
            states=self.states,
            ledger=self._ledger,
            keeper=self._keeper,
            references=self._references,
            disaster=self._disaster,
            journal=self._journal,
        )
        return {
            "environment": self._settings.environment,
            "deployment": self._ring.deployment,
            "account": self._settings.account,
            "boot_nonce": self._boot_nonce,
            **self.states.describe(),
            "limits": limits_in_use(self._policy, facts, market),
            "max_hostile_loss": shown_loss(hostile),
            "stress_loss": shown_loss(stress),
            "policy_hash": self.recorder.policy_hash,
            "policy": self._policies.describe(),
            "ring_hash": self._ring_hash,
            "ring": self._rings.describe(),
            "baseline": shown_baseline(self._ring.baseline),
            "account_view": self._keeper.describe(),
            "references": self._references.describe(),
            "second_venue": describe_venue(self.states.lease.second, self._references),
            "unknown_outcomes": [o.tag for o in self._ledger.open_orders() if o.phase is Phase.UNRESOLVED],
            "working_orders": self._ledger.open_count(),
            "working_stops": sum(facts.working_stops.values()),
            "disaster_stops": self._disaster.describe(),
            "journal": {
                "size": self._journal.size,
                "root": root.hex(),
                "root_size": root_size,
                "witnessed_size": self._witnessed.witnessed_size,
                "is_writable": self._journal.is_writable,
                "emergency_rows": self._journal.emergency_rows,
                "pending": self._journal.pending,
                "pending_count": self.recorder.pending_count,
            },
        }

    def _facts(self) -> AccountFacts:
        return self._account.facts(frozenset(self._desk.leverage_unpinned), MessageLevel.FREE)

    def _losses_now(self) -> LiveLoss | None:
        facts = self._facts()
        if facts.equity_usdt is None:
            return None
        held = held_usdt(self._policy, facts, self._references.facts(), former=self._history.former_symbols)
        hostile, stress = losses(self._policy, equity_usdt=facts.equity_usdt, held_usdt=held)
        return LiveLoss(hostile=hostile, stress=stress, held_usdt=held, is_trusted=facts.is_trusted)

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

    async def _keep_policy(self) -> None:
        while not self._stop.is_set():
            await self._policies.work()
            await self._rings.work()
            await asyncio.sleep(LOOK_EVERY_S)

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
            self._note_account()
            await self._account.wait_for_turn()

    async def _keep_resolving(self) -> None:
        while not self._stop.is_set():
            is_all_known = await self._care.resolve_round()
            self.states.set_fault(Fault.ORDERS_UNRECONCILED, is_there=not is_all_known)
            await asyncio.sleep(_RETRY_S)

    async def _keep_withdrawing(self) -> None:
        self.states.on_reduced = self._care.want_round
        self._ledger.on_working = self._care.look_at
        while not self._stop.is_set():
            self._care.withdraw_round()
            await self._care.wait_for_round()

    async def _keep_disaster_stops(self) -> None:
        while not self._stop.is_set():
            await self._disaster.run_round()
            await self._disaster.wait_for_round()

    def _note_account(self) -> None:
        """Raise or clear what streams and readings are the cause of. An unknown outcome denies, it is no fault."""
        self._keeper.note_trust()
        for seen in self._strangers.news(self._keeper.view.foreign_orders):
            self.recorder.append_later(RowKind.INCIDENT_OPENED, stranger_fields(seen))
        self.states.set_fault(Fault.ACCOUNT_UNTRUSTED, is_there=self._keeper.is_blind())
        self.states.set_fault(Fault.REFERENCES_STALE, is_there=self._references.is_stale())

    async def _watch_state(self) -> None:
        while not self._stop.is_set():
            self._note_account()
            await self.states.work(is_journal_writable=self._journal.is_writable)
            await asyncio.sleep(_WATCH_STATE_EVERY_S)

    async def _keep_checkpoints(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(_CHECKPOINT_EVERY_S)
            with suppress(JournalUnavailable):  # the fault is raised elsewhere; the next round tries again
                await self.checkpoint()

    async def _keep_warm(self) -> None:
        """Hold a connection ready, so that an order does not wait for one to be made."""
        while not self._stop.is_set():
            with suppress(ExchangeUnavailable):  # said elsewhere; an order would be told so by itself
                await self._private.warm()
            await asyncio.sleep(_WARM_EVERY_S)

    async def _keep_counts(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(1.0)
            self.recorder.flush_due_counts()
