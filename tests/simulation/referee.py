"""Judges a run after every step, from what left the processes and from the exchange's books; no figure of the product.

It knows which leases were handed over and what they say, which halts were answered, which releases a person signed, and
what stands at the exchange. From that it knows how restrictive the gateway must be at least, at every moment.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from simulation.calm import OF_CANCELS, OF_REFUSALS, OF_SWEEPS, Calm
from simulation.exchange_edge import SimulatedVenue, WalletTold
from simulation.gateway_process import GatewayProcess
from simulation.truth import Truth
from simulation.watchdog_process import Ears, WatchdogProcess
from simulation.wire import Trace

from trade_core.alerts.model import Message
from trade_core.clock import NS_PER_S, ManualClock
from trade_simulator.events import Event, OrderChanged
from trade_simulator.instruments import Category
from trade_simulator.orders import Order, OrderStatus, Side
from trade_watchdog.account_watch import Look
from trade_watchdog.effects import KillRequest
from trade_watchdog.ladder import Rung
from trade_watchdog.ladder_keeper import LadderKeeper

RANK: Final = {"ACTIVE": 0, "TRIMMED": 1, "REDUCE_ONLY": 2, "HALTED": 3, "KILLED": 4}
LEASE_MAX_NS: Final = 30 * NS_PER_S
RELEASE_DELAY_NS: Final = 60 * NS_PER_S
CANCELLED_WITHIN_NS: Final = 6 * NS_PER_S
SWEPT_WITHIN_NS: Final = 25 * NS_PER_S
REFUSED_WITHIN_NS: Final = 5 * NS_PER_S
PRICES_KEPT_NS: Final = 12 * NS_PER_S
ZERO: Final = Decimal(0)
Key = tuple[Category, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A lease as its own text says, and until when it can count."""

    generation: int
    boot_nonce: str
    ceiling: str
    scale: Decimal
    dies_at_ns: int
    expires_wall_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of the policy, in the referee's own words."""

    gross_usdt: Decimal
    order_usdt: Decimal
    symbol_usdt: Mapping[Key, Decimal]


@dataclass(slots=True)
class Figures:
    """What a run measured."""

    fired: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    drawdown_kills: int = 0
    sweeps: int = 0
    alerts: int = 0
    orders: int = 0
    refused_leases: int = 0
    worst_breach_to_refusing_s: float = 0.0
    breaches_timed: int = 0
    worst_fire_to_alert_s: float = 0.0


@dataclass(slots=True)
class Referee(Ears):
    """The judge of one run."""

    clock: ManualClock
    venue: SimulatedVenue
    trace: Trace
    limits: Limits
    calm: Calm
    gateway: GatewayProcess
    watchdog: WatchdogProcess | None = None
    truth: Truth = field(default_factory=Truth)
    figures: Figures = field(default_factory=Figures)
    held: HeldLease | None = None
    offered: HeldLease | None = None
    is_halted: bool = False
    released_at_ns: int | None = None
    release_rungs: tuple[str, ...] = ()
    rogue_ids: set[str] = field(default_factory=set)
    rogue_planted: int = 0
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    unanswered: dict[str, int] = field(default_factory=dict)
    _stages: dict[str, str] = field(default_factory=dict)
    _prices: dict[str, deque[tuple[int, Decimal]]] = field(default_factory=dict)
    _adding_since_ns: int | None = None
    _breach: tuple[str, int] | None = None
    _fired_untold: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def fail(self, words: str) -> None:
        """Note that an invariant does not hold; the run ends at its next look."""
        if len(self.violations) > 20:
            return
        self.trace.note(f"VIOLATED {words}")
        self.violations.append(words)

    # How restrictive the gateway must be

    def _alive(self, lease: HeldLease | None) -> bool:
        running = self.gateway.running
        if lease is None or running is None or lease.boot_nonce != running.parts.boot_nonce:
            return False
        return self.clock.monotonic_ns() < lease.dies_at_ns and self.gateway.clock.wall_ns() < lease.expires_wall_ns

    def _rank(self, lease: HeldLease | None) -> int:
        return RANK[lease.ceiling] if lease is not None and self._alive(lease) else RANK["REDUCE_ONLY"]

    def required(self) -> int:
        """Return the rank that the gateway's state must have at least."""
        rank = self._rank(self.held)
        if self._alive(self.offered):  # it may count already, or not yet
            rank = min(rank, self._rank(self.offered))
        return max(rank, RANK["HALTED"]) if self.is_halted and not self._is_release_due() else rank

    def _is_release_due(self) -> bool:
        at_ns = self.released_at_ns
        return at_ns is not None and self.clock.monotonic_ns() - at_ns >= RELEASE_DELAY_NS

    def _scale(self) -> Decimal:
        scales = [
            lease.scale if lease.ceiling == "TRIMMED" else Decimal(1)
            for lease in (self.held, self.offered)
            if lease is not None and self._alive(lease)
        ]
        return max(scales, default=Decimal(1))

    def after_step(self) -> None:
        """Look at the gateway's state and at what works at the exchange."""
        running = self.gateway.running
        if running is None:
            return
        state = running.states.trading_state().name
        if RANK[state] < self.required():
            self.fail(f"the gateway is {state} and must be {self._name(self.required())} at least: loosened by itself")
        if RANK[state] < RANK["HALTED"] and self.is_halted and self._is_release_due():
            self.is_halted, self.released_at_ns = False, None
        if self._breach is not None and RANK[state] >= RANK["REDUCE_ONLY"]:
            self._time_breach()

    @staticmethod
    def _name(rank: int) -> str:
        return next(name for name, one in RANK.items() if one == rank)

    # Leases, halts and releases

    def lease_offered(self, signed: bytes) -> None:
        """A lease reaches the gateway."""
        content = json.loads(base64.b64decode(json.loads(signed)["payload"]))
        now_ns, wall_ns = self.clock.monotonic_ns(), self.gateway.clock.wall_ns()
        expires_ns = content["expires_at_ms"] * 1_000_000
        self.offered = HeldLease(
            generation=content["generation"],
            boot_nonce=content["boot_nonce"],
            ceiling=content["ceiling"],
            scale=Decimal(content["scale"]),
            dies_at_ns=now_ns + min(LEASE_MAX_NS, expires_ns - wall_ns),
            expires_wall_ns=expires_ns,
        )
        running = self.gateway.running
        is_of_now = running is not None and running.parts.boot_nonce == self.offered.boot_nonce
        is_newer = self.held is None or self.held.boot_nonce != self.offered.boot_nonce
        is_newer = is_newer or (self.held is not None and self.offered.generation > self.held.generation)
        if not (is_of_now and is_newer and self.offered.dies_at_ns > now_ns):
            self.offered = None  # it must not count, whatever the gateway says

    def lease_answered(self, signed: bytes, *, is_accepted: bool) -> None:
        """The gateway has answered a lease."""
        content = json.loads(base64.b64decode(json.loads(signed)["payload"]))
        offered, self.offered = self.offered, None
        if not is_accepted:
            self.figures.refused_leases += 1
            return
        if offered is None or offered.generation != content["generation"]:
            if self.held is None or self.held.generation < content["generation"]:
                self.fail(f"lease {content['generation']} counts and must not")
            return
        self.held = offered
        self.trace.note(f"lease {offered.generation} {offered.ceiling}")
        if offered.ceiling == "HALTED" and self.released_at_ns is None:
            running = self.gateway.running
            # A HALTED that was signed before its release was seen latches nothing anew.
            latched = running is not None and running.states.latched().name == "HALTED"
            # On a dead disk a restart forgets it, and the next lease says it again.
            self.is_halted |= running is not None and latched and running.states.is_latch_recorded

    def halt_answered(self) -> None:
        """The gateway has answered a halt."""
        self.is_halted, self.released_at_ns = True, None
        self.unanswered.clear()
        self.trace.note("halted")

    def must_halt(self, what: str) -> None:
        """Something happened for which the gateway must be halted, sooner or later."""
        self.trace.note(f"must halt {what}")
        self.unanswered[what] = self.clock.monotonic_ns()

    def rogue_comes(self, name: str) -> None:
        """An order is placed behind the gateway's back."""
        self.rogue_planted += 1
        self.must_halt(f"order {name}")

    def release_given(self, rungs: tuple[str, ...]) -> None:
        """A person's release was accepted."""
        self.released_at_ns, self.release_rungs = self.clock.monotonic_ns(), rungs

    # Orders

    def row_durable(self, body: bytes) -> None:
        """A row of the gateway's journal is durable."""
        if b'"order:intent"' in body or b'"disaster_stop:intent"' in body:
            fields = json.loads(body)["fields"]
            self.intents[fields["tag"]] = fields
            while len(self.intents) > 4000:
                del self.intents[next(iter(self.intents))]

    def order_leaves(self, raw: bytes) -> None:
        """The gateway writes an order to the exchange."""
        body = json.loads(raw)
        tag = body.get("orderLinkId", "")
        self.figures.orders += 1
        self.trace.note(f"order {tag} {body['symbol']} {body['side']} {body['qty']} {body.get('price')}")
        if tag in self.sent:
            self.fail(f"order {tag} is sent a second time")
        self.sent.add(tag)
        if tag not in self.intents:
            self.fail(f"order {tag} leaves without a durable row")
        if _adds(body["category"], body["side"], reduce_only=bool(body.get("reduceOnly"))):
            if self.required() > RANK["TRIMMED"]:
                self.fail(f"order {tag} adds risk while the state must be {self._name(self.required())}")
            self._check_exposure(body)

    def on_event(self, event: Event) -> None:
        """Something happened at the exchange."""
        if not isinstance(event, OrderChanged) or event.uid != self.venue.uid:
            return
        order = event.order
        self.trace.note(f"exchange {order.order_link_id} {order.status.value} {order.cum_exec_qty}")
        if order.status is OrderStatus.NEW and order.cum_exec_qty == 0:
            self._check_origin(order)

    def _check_origin(self, order: Order) -> None:
        if order.order_id in self.rogue_ids or order.order_link_id.startswith("rogue"):
            return
        row = self.intents.get(order.order_link_id)
        if row is None or order.order_link_id not in self.sent:
            self.fail(f"order {order.order_id} at the exchange has no intent: {order.order_link_id!r}")
            return
        differing = [
            name
            for name, there, here in (
                ("category", order.category.value, row["category"]),
                ("symbol", order.symbol, row["symbol"]),
                ("side", order.side.value, row["side"]),
                ("quantity", order.qty, Decimal(row["quantity"])),
                ("price", order.price, Decimal(row["price"])),
            )
            if there != here
        ]
        if differing:
            self.fail(f"order {order.order_link_id} is not what its row says: {', '.join(differing)}")

    def adding_orders(self) -> list[Order]:
        """List what works at the exchange and adds risk."""
        working = self.venue.exchange.accounts[self.venue.uid].known_orders.values()
        return [o for o in working if o.is_open and _adds(o.category.value, o.side.value, reduce_only=o.reduce_only)]

    def look_at_orders(self) -> None:
        """See that nothing that adds risk works for long when none may; called every second."""
        now_ns = self.clock.monotonic_ns()
        running = self.gateway.running
        may_work = running is not None and self.required() <= RANK["TRIMMED"]
        if may_work or not any(not o.order_link_id.startswith("rogue") for o in self.adding_orders()):
            self._adding_since_ns = None
            return
        if self._adding_since_ns is None:
            self._adding_since_ns = now_ns
        calm_ns = self.calm.since_ns(OF_CANCELS if running is not None else OF_SWEEPS)
        if calm_ns is None:
            return
        within_ns = CANCELLED_WITHIN_NS if running is not None else SWEPT_WITHIN_NS
        if now_ns - max(self._adding_since_ns, calm_ns) > within_ns:
            self.fail(f"an order that adds risk works {within_ns // NS_PER_S} s after none may")

    def _check_exposure(self, body: Mapping[str, Any]) -> None:
        account = self.venue.exchange.accounts[self.venue.uid]
        category, symbol = Category(body["category"]), str(body["symbol"])
        quantity, scale = Decimal(body["qty"]), self._scale()
        worth = {key: self._notional(account, key) for key in self.limits.symbol_usdt}
        worth[category, symbol] = self._notional(account, (category, symbol), more=(Side(body["side"]), quantity))
        price = self._lowest(symbol)
        wanted = {
            "order": (quantity * price, self.limits.order_usdt * scale),
            symbol: (worth[category, symbol], self.limits.symbol_usdt[category, symbol] * scale),
            "gross": (sum(worth.values(), ZERO), self.limits.gross_usdt * scale),
        }
        for name, (value, most) in wanted.items():
            if value > most:
                self.fail(f"{symbol}: {name} exposure {value:.2f} USDT is beyond {most:.2f}")

    def _notional(self, account: Any, key: Key, *, more: tuple[Side, Decimal] | None = None) -> Decimal:
        category, symbol = key
        buys = sells = ZERO
        for order in account.known_orders.values():
            if order.is_open and (order.category, order.symbol) == key and not order.reduce_only:
                if order.side is Side.BUY:
                    buys += order.leaves_qty
                else:
                    sells += order.leaves_qty
        if more is not None:
            buys, sells = (buys + more[1], sells) if more[0] is Side.BUY else (buys, sells + more[1])
        price = self._lowest(symbol)
        if category is Category.SPOT:
            return (self._held(symbol.removesuffix("USDT")) + buys) * price
        size = self._position(symbol)
        return max(abs(size + buys), abs(size - sells)) * price

    def _held(self, coin: str) -> Decimal:
        wallet = self.venue.exchange.wallet(self.venue.uid)
        return next((one.wallet_balance for one in wallet.coins if one.coin == coin), ZERO)

    def _position(self, symbol: str) -> Decimal:
        for position in self.venue.exchange.positions(self.venue.uid, category=Category.LINEAR, symbol=symbol):
            if position.size:
                return position.size if position.side is Side.BUY else -position.size
        return ZERO

    def _lowest(self, symbol: str) -> Decimal:
        """The lowest index price of the last seconds: what an older price decided is not blamed for the newer."""
        coin = symbol.removesuffix("USDT")
        return min(price for _, price in self._prices[coin])

    def price_moved(self, coin: str) -> None:
        """The index price of a coin is another."""
        now_ns = self.clock.monotonic_ns()
        kept = self._prices.setdefault(coin, deque())
        kept.append((now_ns, self.venue.index(coin)))
        while len(kept) > 1 and kept[1][0] < now_ns - PRICES_KEPT_NS:
            kept.popleft()
        self._note_breach()

    # The ladder

    def values(self) -> dict[str, Decimal]:
        """What each coin is worth at the exchange now."""
        wallet = self.venue.exchange.wallet(self.venue.uid)
        worth = {coin.coin: coin.usd_value / coin.equity for coin in wallet.coins if coin.equity}
        return {"USDT": Decimal(1), "BTC": self.venue.index("BTC"), **worth}

    def wallet_told(self, told: WalletTold) -> None:
        """An answer about the wallet leaves for the watchdog."""
        self.truth.told(told, self.values())

    def started(self) -> None:
        """A watchdog begins."""
        self.truth.restarted()
        self._stages.clear()

    def before_sample(self, look: Look) -> None:
        """The watchdog believes a sample."""
        assert look.sample is not None
        keeper = self.watchdog.keeper if self.watchdog is not None else None
        if keeper is not None and keeper.book is None:
            self.truth.began()
        if keeper is not None:
            self._stages = {reading.rung.value: reading.stage.value for reading in keeper.ladder.readings()}
        if not self.truth.believed(look.sample.exchange_time_ms, at_ns=look.sample.received_monotonic_ns):
            self.fail(f"the watchdog believes an equity of {look.sample.equity_usdt} that cannot be believed")

    def after_sample(self, keeper: LadderKeeper) -> None:
        """The watchdog has judged a sample."""
        for reading in keeper.ladder.readings():
            name, before, now = reading.rung.value, self._stages[reading.rung.value], reading.stage.value
            if before == "armed" and now == "armed" and self.truth.must_fire(name):
                self.fail(f"the {name} rung has not fired at the third sample")
            if before == "armed" and now == "fired":
                self._fired(name)
            if before != "armed" and now == "armed" and not self.truth.may_clear(name):
                self.fail(f"the {name} rung is armed again and has not recovered")
            if before != now:
                self.truth.changed(name)
            self._stages[name] = now

    def _fired(self, name: str) -> None:
        self.figures.fired[name] += 1
        self.trace.note(f"rung {name} fired")
        self._fired_untold[f"rung:{name}"] = self.clock.monotonic_ns()
        if not self.truth.may_fire(name):
            self.fail(f"the {name} rung fires and must not")

    def rebased(self, rungs: tuple[Rung, ...]) -> None:
        """The watchdog re-bases rungs."""
        for rung in rungs:
            if rung.value not in self.release_rungs:
                self.fail(f"the {rung.value} rung is re-based and nobody released it")
            self.truth.rebase(rung.value)

    def kill_asked(self, request: KillRequest) -> None:
        """The executor is asked for a kill."""
        self.figures.kills += 1
        self.trace.note(f"kill {request.condition.value}")
        match request.condition.value:
            case "drawdown" if self.figures.fired["high_water"]:
                self.figures.drawdown_kills += 1
                return
            case "rogue_order" if self.rogue_planted:
                return
        self.fail(f"a kill is asked for by {request.condition.value}, and nothing is there: {request.reason}")

    def swept(self, reason: str) -> None:
        """The executor is asked for a sweep."""
        self.figures.sweeps += 1
        self.trace.note(f"sweep {reason}")

    def alerted(self, message: Message) -> None:
        """People are told something."""
        self.figures.alerts += 1
        self.trace.note(f"alert {message.alert.subject}")
        if message.alert.subject.startswith("limit:"):
            self.fail(f"the audit calls a limit exceeded that the gateway keeps: {message.alert.text}")
        at_ns = self._fired_untold.pop(message.alert.subject, None)
        if at_ns is not None:
            took_s = (self.clock.monotonic_ns() - at_ns) / NS_PER_S
            self.figures.worst_fire_to_alert_s = max(self.figures.worst_fire_to_alert_s, took_s)

    # From a breach to a gateway that refuses

    def _note_breach(self) -> None:
        keeper = self.watchdog.keeper if self.watchdog is not None else None
        if self._breach is not None or keeper is None or self.required() > RANK["TRIMMED"]:
            return
        price = self.truth.price_now(self.venue.equity(), self.values())
        for reading in keeper.ladder.readings() if price is not None else ():
            if reading.stage.value == "armed" and self.truth.reached(reading.rung.value, price or 0.0):
                self._breach = (reading.rung.value, self.clock.monotonic_ns())
                return

    def _time_breach(self) -> None:
        assert self._breach is not None
        began_ns, self._breach = self._breach[1], None
        calm_ns = self.calm.since_ns(OF_REFUSALS)
        if calm_ns is None or calm_ns > began_ns:
            return
        took_s = (self.clock.monotonic_ns() - began_ns) / NS_PER_S
        self.figures.breaches_timed += 1
        self.figures.worst_breach_to_refusing_s = max(self.figures.worst_breach_to_refusing_s, took_s)

    def look_at_breach(self) -> None:
        """See that a breach had the gateway refuse in time; called every second. A breach that passed is forgotten."""
        if self._breach is None:
            return
        name, began_ns = self._breach
        price = self.truth.price_now(self.venue.equity(), self.values())
        calm_ns = self.calm.since_ns(OF_REFUSALS)
        if price is None or not self.truth.reached(name, price) or self.gateway.running is None or calm_ns is None:
            self._breach = None
        elif self.clock.monotonic_ns() - max(began_ns, calm_ns) > REFUSED_WITHIN_NS + 2 * NS_PER_S:
            self.fail(f"the {name} rung is breached and the gateway has not refused in time")
            self._breach = None


def _adds(category: str, side: str, *, reduce_only: bool) -> bool:
    return side == "Buy" if category == "spot" else not reduce_only
