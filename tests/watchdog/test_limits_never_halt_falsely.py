"""What the gateway's own rules permit is never found by the audit: turnover and collar, against the gateway's code."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from watchdog.audit_world import WIDE

from trade_gateway.policy.turnover import Turnover, turnover_notional, turnover_share
from trade_watchdog.audit.collar_audit import MINUTE_MS, IndexCandle, covering, examine_collar, minutes_of
from trade_watchdog.audit.sightings import SeenExecution, SeenOrder
from trade_watchdog.audit.turnover_audit import TurnoverCount, examine_turnover, pending_usdt

BEGAN_MS = 1_700_000_000_000
NS_PER_MS = 1_000_000
LIMITS = replace(
    WIDE,
    allocated_capital_usdt=Decimal(1000),
    turnover_budget_24h=Decimal("0.5"),
    collar=Decimal("0.005"),
    reference_max_divergence=Decimal("0.01"),
    reference_max_age_s=10,
)
BUDGET = Decimal(500)


def seen_order(order_id: str, *, quantity: Decimal, price: Decimal, created_at_ms: int, side: str = "Buy") -> SeenOrder:
    return SeenOrder(
        category="linear",
        symbol="BTCUSDT",
        order_id=order_id,
        link_id="",
        side=side,
        quantity=quantity,
        price=price,
        trigger_price=None,
        is_reduce_only=False,
        is_leverage=False,
        create_type="",
        status="New",
        filled=Decimal(0),
        created_at_ms=created_at_ms,
    )


@dataclass
class Tracked:
    """An order, how the gateway values it, and what it knows of its fills."""

    order: SeenOrder
    notional: Decimal
    counted: Decimal = Decimal(0)
    is_working: bool = True

    def pending(self) -> Decimal:
        total = max(self.order.quantity, self.order.filled) if self.is_working else self.order.filled
        left = max(total - self.counted, Decimal(0))
        return turnover_share(left, whole=self.order.quantity, notional=self.notional, price=self.order.price)


@dataclass
class Scene:
    """A gateway that judges by its own rule, an exchange that fills, and an audit that looks."""

    now_ms: int = BEGAN_MS
    ahead_ms: int = 0  # the gateway's clock, of the exchange's
    turnover: Turnover = field(default_factory=Turnover)
    orders: list[Tracked] = field(default_factory=list)
    executions: list[SeenExecution] = field(default_factory=list)
    count: TurnoverCount = field(default_factory=TurnoverCount)
    worked: set[str] = field(default_factory=set)
    permitted: int = 0
    is_read: bool = False  # the executions, since the last look at the orders

    def ask(self, quantity: Decimal, price: Decimal, reference: Decimal) -> None:
        notional = turnover_notional(quantity=quantity, price=price, reference_price=reference)
        used = self.turnover.used_usdt(at_ns=(self.now_ms + self.ahead_ms) * NS_PER_MS)
        if used + sum((known.pending() for known in self.orders), Decimal(0)) + notional > BUDGET:
            return
        self.permitted += 1
        made = seen_order(f"o-{self.permitted}", quantity=quantity, price=price, created_at_ms=self.now_ms)
        self.orders.append(Tracked(order=made, notional=notional))

    def fill(self, number: int, part: Decimal) -> None:
        known = self.orders[number % len(self.orders)]
        quantity = (known.order.quantity - known.order.filled) * part
        if not known.is_working or not quantity:
            return
        known.order = replace(known.order, filled=known.order.filled + quantity)
        self.executions.append(
            SeenExecution(
                category="linear",
                symbol="BTCUSDT",
                execution_id=f"e-{len(self.executions)}",
                order_id=known.order.order_id,
                link_id="",
                side="Buy",
                quantity=quantity,
                price=known.order.price,
                fee=Decimal(0),
                order_quantity=known.order.quantity,
                order_price=known.order.price,
                execution_type="Trade",
                create_type="",
                executed_at_ms=self.now_ms,
            )
        )

    def learn(self) -> None:
        """Let the gateway count what has filled, at the moment at which it learns of it."""
        for known in self.orders:
            fresh = known.order.filled - known.counted
            if fresh:
                share = turnover_share(
                    fresh, whole=known.order.quantity, notional=known.notional, price=known.order.price
                )
                self.turnover.add(share, at_ns=(self.now_ms + self.ahead_ms) * NS_PER_MS)
                known.counted = known.order.filled

    def cancel(self, number: int) -> None:
        self.orders[number % len(self.orders)].is_working = False

    def look(self) -> None:
        """Look at the orders, a while after the executions were read, perhaps."""
        if not self.is_read:
            self.read_executions()
        self.is_read = False
        working = [known.order for known in self.orders if known.is_working]
        lasting = [order for order in working if order.order_id in self.worked]
        self.worked = {order.order_id for order in working}
        used = self.count.used_usdt() + pending_usdt(lasting, self.count)
        assert examine_turnover(used, [LIMITS]) is None

    def read_executions(self) -> None:
        self.count.take(self.executions, now_ms=self.now_ms)
        self.is_read = True


STEPS = st.one_of(
    st.tuples(st.just("pass"), st.integers(0, 4 * 3_600_000)),
    st.tuples(st.just("ask"), st.tuples(st.integers(1, 30), st.integers(90, 110), st.integers(90, 110))),
    st.tuples(st.just("fill"), st.tuples(st.integers(0, 99), st.sampled_from(["0.25", "0.5", "1"]))),
    st.tuples(st.just("learn"), st.none()),
    st.tuples(st.just("set clock"), st.integers(-10_000, 10_000)),
    st.tuples(st.just("cancel"), st.integers(0, 99)),
    st.tuples(st.just("executions"), st.none()),
    st.tuples(st.just("look"), st.none()),
)


def play(scene: Scene, name: str, what: object) -> None:
    """Take one step."""
    match name, what:
        case "pass", int(passed_ms):
            scene.now_ms += passed_ms
        case "ask", (quantity, price, reference):
            scene.ask(Decimal(quantity) / 10, Decimal(price), Decimal(reference))
        case "fill", (number, part) if scene.orders:
            scene.fill(number, Decimal(part))
        case "cancel", int(number) if scene.orders:
            scene.cancel(number)
        case "set clock", int(ahead_ms):
            scene.ahead_ms = ahead_ms
        case "learn", _:
            scene.learn()
        case "executions", _:
            scene.read_executions()
        case "look", _:
            scene.look()
        case _:
            pass


@settings(deadline=None)
@given(st.lists(STEPS, min_size=10, max_size=120))
def test_turnover_that_the_gateway_permits_is_never_found(steps: list[tuple[str, object]]) -> None:
    scene = Scene()
    for name, what in steps:
        play(scene, name, what)
    scene.look()


def candles_of(path: list[Decimal], *, told: list[bool]) -> list[IndexCandle]:
    """Fold a path of one price a second into minutes; of those between the ends of a minute only some are told."""
    found = []
    for start in range(0, len(path), 60):
        minute = path[start : start + 60]
        known = [price for place, price in enumerate(minute) if told[place] or place in {0, len(minute) - 1}]
        found.append(
            IndexCandle(
                start_ms=BEGAN_MS // MINUTE_MS * MINUTE_MS + start * 1000, lowest=min(known), highest=max(known)
            )
        )
    return found


@settings(deadline=None)
@given(
    steps=st.lists(st.integers(-30, 30), min_size=600, max_size=600),
    told=st.lists(st.booleans(), min_size=60, max_size=60),
    decided_s=st.integers(120, 560),
    age_s=st.integers(0, 10),
    late_s=st.integers(0, 30),
    is_buy=st.booleans(),
)
def test_price_at_the_gateway_s_bound_is_never_found(
    *, steps: list[int], told: list[bool], decided_s: int, age_s: int, late_s: int, is_buy: bool
) -> None:
    # At most 0.03 % a second: what is not told of a minute lies within what the sources may differ by.
    path, price = [], Decimal(100)
    for step in steps:
        price = max(Decimal(50), price * (1 + Decimal(step) / 100_000))
        path.append(price)
    told_each = [told[place] or not place % 15 for place in range(60)]
    reference = path[decided_s - age_s]
    bound = reference * (1 + LIMITS.collar) if is_buy else reference * (1 - LIMITS.collar)
    began_ms = BEGAN_MS // MINUTE_MS * MINUTE_MS
    order = seen_order(
        "o-1",
        quantity=Decimal(1),
        price=bound,
        created_at_ms=began_ms + (decided_s + late_s) * 1000,
        side="Buy" if is_buy else "Sell",
    )
    covered = covering(candles_of(path, told=told_each), minutes_of(order, [LIMITS]))
    if covered is not None:
        assert examine_collar(order, covered, [LIMITS]) is None
