"""The parts of a gateway, each given what it needs, and what a change of policy, ring or instruments reaches."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Set

from trade_core.alerts.model import Alert
from trade_core.bybit.client import BybitClient
from trade_core.clock import Clock
from trade_core.ring_keeper import RingKeeper, published_rings
from trade_core.secrets import Secret
from trade_core.trust.ring import KeyRing, ring_hash
from trade_gateway.account.activity import Activity, ActivityLimits
from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.private_stream import private_stream
from trade_gateway.account.reference_feed import ReferenceFeed
from trade_gateway.account.reference_memory import ReferenceMemory
from trade_gateway.account.resync import AccountSync
from trade_gateway.announcer import Told, announcing
from trade_gateway.baseline import Strangers
from trade_gateway.conductor import Conductor
from trade_gateway.disaster_keeper import DisasterKeeper
from trade_gateway.egress import EgressBudget
from trade_gateway.exchange_proof import ExchangeProof
from trade_gateway.fee_proof import FeeProof
from trade_gateway.identity import Identity
from trade_gateway.instrument_memory import InstrumentMemory
from trade_gateway.judge import BotJudge
from trade_gateway.ledger import OrderLedger
from trade_gateway.limits_view import (
    held_usdt,
    losses,
)
from trade_gateway.loss_guard import LiveLoss
from trade_gateway.metrics import Metrics
from trade_gateway.order_care import OrderCare
from trade_gateway.order_desk import OrderDesk
from trade_gateway.policy.facts import AccountFacts
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import NOTHING_PERMITTED, SymbolKey
from trade_gateway.policy.throttles import MessageLevel
from trade_gateway.policy.trading_state import TradingState
from trade_gateway.policy_history import InForce, PolicyHistory
from trade_gateway.policy_keeper import PolicyKeeper
from trade_gateway.reads import Reads
from trade_gateway.recorder import Recorder
from trade_gateway.relay import Relay
from trade_gateway.settings import GatewaySettings
from trade_gateway.state_keeper import StateKeeper
from trade_gateway.states import Fault
from trade_gateway.tags import TagMaker
from trade_gateway.upstream import Upstream
from trade_gateway.wire.authentication import SpentSignatures, spent_capacity
from trade_gateway.wire.request import hosts_of
from trade_gateway.witnessed_log import WitnessedLog
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import Fields, RowKind
from trade_journal.writer.journal import Journal

log = logging.getLogger(__name__)


class Parts:
    """What one gateway is made of. `policy` and `ring` are those in force; all the rest stays."""

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
        told: Told = lambda _: {},
    ) -> None:
        self.settings = settings
        # Until `start` has learned from the journal which policy is in force, nothing is permitted.
        policy = self.policy = NOTHING_PERMITTED
        self.ring, self.ring_hash = ring, ring_hash(ring)
        self.journal = journal
        self.clock = clock
        self.metrics = Metrics()
        self.recorder = Recorder(journal=journal, clock=clock, metrics=self.metrics, policy_hash=ring.policy_hash)
        self.boot_nonce = secrets.token_hex(16)
        keys = gateway_log_keys(ring)
        assert keys.witness is not None
        self.witnessed = WitnessedLog(
            log=keys.log, witness=keys.witness, clock=clock, witnessed_size=journal.witnessed_size
        )
        self.states = StateKeeper(
            ring=ring,
            order_key=order_key[0].reveal(),  # its id: the exchange's list shows it to every key
            policy_hash=ring.policy_hash,
            boot_nonce=self.boot_nonce,
            clock=clock,
            recorder=self.recorder,
            witnessed=self.witnessed,
            has_signed=journal.has_signed,
        )
        self.states.on_witnessed = self._keep_cosigned
        self.cosigned = b""
        self.ledger = OrderLedger()
        key, secret = order_key
        self.private = BybitClient(
            base_url=settings.exchange_http, clock=clock, is_simulated=settings.is_simulated, key=key, secret=secret
        )
        self.public = BybitClient(base_url=settings.exchange_http, clock=clock, is_simulated=settings.is_simulated)
        upstream = Upstream(client=self.private, clock=clock)
        self.conductor = Conductor(recorder=self.recorder, upstream=upstream, clock=clock, permits=self.states.permits)
        self.activity = Activity(limits=ActivityLimits.of(policy))
        self.keeper = AccountKeeper(ledger=self.ledger, activity=self.activity, recorder=self.recorder, clock=clock)
        self.private_stream = private_stream(
            exchange_ws_url=settings.exchange_streams,
            is_simulated=settings.is_simulated,
            clock=clock,
            key=key,
            secret=secret,
            keeper=self.keeper,
        )
        self.memory = ReferenceMemory(
            recorder=self.recorder,
            within=lambda: self.policy.exit_collar / 2,
            is_writable=lambda: journal.is_writable,
        )
        self.references = ReferenceFeed(
            symbols=policy.symbols,
            client=self.public,
            clock=clock,
            max_age_s=policy.reference_max_age_s,
            max_divergence=policy.reference_max_divergence,
            second_prices=lambda: self.states.lease.second.prices,
            on_good=self.memory.note,
        )
        self.ticker_stream = self.references.stream(
            exchange_ws_url=settings.exchange_streams, is_simulated=settings.is_simulated
        )
        self.account = AccountSync(
            client=self.private,
            upstream=upstream,
            ledger=self.ledger,
            keeper=self.keeper,
            clock=clock,
            categories=frozenset(category for category, _ in policy.symbols),
        )
        budget = EgressBudget(clock=clock, orders_per_s=settings.orders_per_s)
        self.desk = OrderDesk(
            policy=policy,
            ledger=self.ledger,
            account=self.account,
            conductor=self.conductor,
            recorder=self.recorder,
            budget=budget,
            metrics=self.metrics,
            clock=clock,
            market=self.references.facts,
            first_price=self.references.wait_for_first,
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
            desk=self.desk,
            reads=Reads(private=self.private, public=self.public, ledger=self.ledger, budget=budget),
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
        self.strangers = Strangers(ring.baseline)
        self.recorder.on_unwritable = lambda: self.states.set_fault(Fault.JOURNAL_UNWRITABLE, is_there=True)
        self.states.on_released = self._rearm
        self.care = OrderCare(
            ledger=self.ledger,
            conductor=self.conductor,
            clock=clock,
            is_reduced=lambda: self.states.is_reduced,
            time_to_live_s=lambda: self.policy.order_time_to_live_s,
            permits_symbol=lambda key: key in self.policy.symbols,
            is_flat=lambda symbol, since_ns: self.keeper.is_flat(symbol, since_ns=since_ns),
            on_changed=self.account.request,
        )
        self.disaster = DisasterKeeper(
            fraction=lambda: self.policy.disaster_stop_fraction,
            ledger=self.ledger,
            keeper=self.keeper,
            conductor=self.conductor,
            recorder=self.recorder,
            clock=clock,
            tags=TagMaker(key=identity.tag_key, deployment=identity.deployment, account=settings.account),
            instruments=lambda: self.desk.instruments,
            trading_state=self.states.trading_state,
            on_changed=self.account.request,
        )
        self.proof = ExchangeProof(
            private=self.private,
            public=self.public,
            ticker_stream=self.ticker_stream,
            account=settings.account,
            recorder=self.recorder,
            faults=self.states,
            on_instruments=self.take_instruments,
        )
        self.filters = InstrumentMemory(recorder=self.recorder, is_writable=lambda: journal.is_writable)
        self.fees = FeeProof(client=self.private, clock=clock, recorder=self.recorder, faults=self.states)
        self.history = PolicyHistory(ring=ring, counts=settings.policy_counts)
        self.policies = PolicyKeeper(
            path=settings.policy_file,
            ring=ring,
            history=self.history,
            recorder=self.recorder,
            clock=clock,
            is_clock_trusted=self.states.is_clock_trusted,
            on_fault=lambda is_there: self.states.set_fault(Fault.POLICY_FILE, is_there=is_there),
            on_change=self.put_in_force,
        )
        self.rings = RingKeeper(
            folder=settings.state_dir,
            first=ring,
            record=self._record_ring,
            clock=clock,
            is_clock_trusted=self.states.is_clock_trusted,
            on_ring=self.adopt_new_ring,
        )
        self._announce_over(tell, told)
        self.states.check_counters = self.policies.check_counters = self.rings.check_counters
        self.states.on_latched = lambda reason, by: self.policies.void(reason=reason, by=by)

    def _announce_over(self, tell: Callable[[Alert], None], told: Told) -> None:
        """Have what loosens told outside; with real money nothing is loosened that nobody there can read."""
        announce = announcing(tell, told=told, needs_channel=not self.settings.is_simulated)
        self.states.announce = self.policies.announce = self.announce = announce
        has_channel = self.settings.is_simulated or self.settings.alerts_file is not None
        self.states.has_channel = self.policies.has_channel = has_channel

    async def _record_ring(self, kind: str, fields: Fields) -> bool:
        if RowKind(kind) is RowKind.RING_REFUSED:
            self.recorder.refuse(RowKind.RING_REFUSED, str(fields["reason"]))
            return True
        return await self.recorder.append_durable(RowKind(kind), fields)

    def adopt_new_ring(self, ring: KeyRing) -> None:
        """Adopt a ring that was taken just now, and publish it."""
        self.adopt_ring(ring)
        self.publish_rings()

    def adopt_ring(self, ring: KeyRing) -> None:
        """Give a ring to every part that believes by one, in one step between two decisions."""
        self.ring, self.ring_hash = ring, ring_hash(ring)
        self.states.adopt_ring(ring)
        self.policies.adopt_ring(ring)

    def publish_rings(self) -> None:
        """Let commands that draft warrants know the ring that counts; nothing is believed by that file."""
        try:
            published_rings(self.rings.book, beside=self.settings.ring_file)
        except OSError as error:
            log.error("the key rings cannot be published beside %s: %s", self.settings.ring_file, error.strerror)

    def put_in_force(self, in_force: InForce) -> None:
        """Give a policy to every part that decides by one, in one step between two decisions."""
        policy, former = in_force.policy, self.history.former_symbols
        self.policy = policy
        self.recorder.policy_hash = in_force.policy_hash
        self.states.lease.policy_hash = in_force.authorised_hash
        self.desk.policy, self.desk.former_symbols = policy, former
        self.judge.policy = policy
        self.activity.limit(ActivityLimits.of(policy))
        self.account.follow(category for category, _ in (*policy.symbols, *former))
        has_new_coins = self.references.follow(
            policy.symbols,
            former=former,
            max_age_s=policy.reference_max_age_s,
            max_divergence=policy.reference_max_divergence,
        )
        self.memory.renew()
        self.proof.require(policy, former=former, has_new_coins=has_new_coins)
        self.fees.require(policy)

    def take_instruments(self, known: Mapping[SymbolKey, Instrument], not_traded: Set[SymbolKey]) -> None:
        """Give the exchange's filters to every part that decides by them."""
        self.desk.take_instruments(known, not_traded)
        traded = known.keys() - not_traded
        self.fees.take_traded(traded)
        self.filters.keep({key: known[key] for key in traded})

    def facts(self) -> AccountFacts:
        """Answer what is known of the account now."""
        return self.account.facts(frozenset(self.desk.leverage_unpinned), MessageLevel.FREE)

    def losses_now(self) -> LiveLoss | None:
        """Answer what could be lost from where the account stands; None while its equity is not known."""
        facts = self.facts()
        if facts.equity_usdt is None:
            return None
        held = held_usdt(self.policy, facts, self.references.facts(), former=self.history.former_symbols)
        hostile, stress = losses(self.policy, equity_usdt=facts.equity_usdt, held_usdt=held)
        return LiveLoss(hostile=hostile, stress=stress, held_usdt=held, is_trusted=facts.is_trusted)

    async def checkpoint(self) -> bytes:
        """Sign and keep a checkpoint over all rows. Raises JournalError."""
        began_ns = self.clock.monotonic_ns()
        note = await self.journal.checkpoint()
        self.witnessed.remember(note, began_ns=began_ns)
        return note

    def _rearm(self) -> None:
        for note in self.activity.rearm_all():
            self.recorder.append_later(note.kind, note.fields)

    def _keep_cosigned(self, note: bytes) -> None:
        self.cosigned = note
        self.journal.keep_cosigned(note)
