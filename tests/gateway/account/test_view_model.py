"""The view against a model exchange: whatever is lost, late, doubled or out of order, it never knows too little."""

from __future__ import annotations

from decimal import Decimal

from gateway.account.model import LINEAR, SPOT, ZERO, ModelExchange
from gateway.house import LIMITS
from gateway.parts import order_intent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trade_core.clock import NS_PER_S
from trade_gateway.account.activity import Activity
from trade_gateway.account.tally import tally
from trade_gateway.account.trust import Trusted
from trade_gateway.account.view import AccountView, Change, Filled
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.wire.intents import Category, Side

QUANTITIES = st.sampled_from([Decimal("0.1"), Decimal("0.3"), Decimal("0.5"), Decimal(1)])
STEPS = st.lists(st.sampled_from(["fill", "fill told", "cancel", "deliver", "drop", "double", "late"]), max_size=4)


class ViewAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.exchange = ModelExchange()
        self.ledger = OrderLedger()
        self.view = AccountView(ledger=self.ledger)
        self.activity = Activity(limits=LIMITS)
        self.now_ns = NS_PER_S
        self.tags = 0
        self.counted: dict[str, Decimal] = {}
        self.view.trust_keeper.stream_up(at_ns=self.now_ns)
        self.reading_steps([])

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            if isinstance(change, Filled):
                tag = change.order.tag
                self.counted[tag] = self.counted.get(tag, ZERO) + change.quantity
                self.activity.count_fill(change, at_ns=self.now_ns)

    def step(self, name: str, choose: int, quantity: Decimal = Decimal("0.3")) -> None:
        """Do one thing that may happen at any moment."""
        self.now_ns += 1_000_000
        working, said = self.exchange.working(), self.exchange.said
        if name in {"fill", "fill told", "cancel"} and working:
            order = working[choose % len(working)]
            if name == "cancel":
                self.exchange.cancel(order.order_id)
            else:
                self.exchange.fill(order.order_id, quantity)
            if name == "fill told":  # the order is told at once, and what it did to the account is on its way
                self.apply(self.view.hear(self.exchange.orders[order.order_id], now_ns=self.now_ns))
        elif said and name not in {"fill", "fill told", "cancel"}:
            at = choose % len(said) if name == "late" else 0
            message = said[at] if name == "double" else said.pop(at)
            if name != "drop":
                self.apply(self.view.hear(message, now_ns=self.now_ns))
        self.never_too_little()

    def reading_steps(self, gaps: list[list[str]]) -> None:
        """Read everything, with things happening in between."""
        view = self.view
        waits = iter([*gaps, [], [], [], [], []])

        def meanwhile() -> None:
            for number, name in enumerate(next(waits)):
                self.step(name, number)

        self.now_ns += 1_000_000
        reading = view.begin_reading(now_ns=self.now_ns)
        meanwhile()
        for category in Category:
            tracked = [
                o for o in self.ledger.open_orders() if o.intent.category is category and o.phase is Phase.WORKING
            ]
            listed = [order for order in self.exchange.working() if order.category is category]
            meanwhile()
            self.apply(view.read_open_orders(category, listed, reading, now_ns=self.now_ns))
            for order in tracked:
                if order.phase is Phase.WORKING and order.tag not in {seen.tag for seen in listed}:
                    shown = self.exchange.orders[order.order_id or ""]
                    self.apply(
                        view.read_order(
                            order,
                            order_id=shown.order_id,
                            status=shown.status,
                            filled=shown.filled,
                            now_ns=self.now_ns,
                        )
                    )
        for execution in self.exchange.executions[-100:]:
            self.apply(view.read_execution(execution, now_ns=self.now_ns))
        self.apply(view.count_fills(now_ns=self.now_ns))
        marks = self.ledger.fill_marks()
        meanwhile()
        self.exchange.now_ms += 1
        wallet, positions = self.exchange.wallet(), [self.exchange.position_seen()]
        meanwhile()
        view.end_reading(reading, wallet=wallet, positions=positions, marks=marks, now_ns=self.now_ns)
        self.never_too_little()

    @rule(
        key=st.sampled_from([SPOT, LINEAR]),
        side=st.sampled_from(list(Side)),
        quantity=QUANTITIES,
        end=st.sampled_from(["acknowledged", "lost answer", "lost request", "rejected", "taken at once"]),
    )
    def order(self, key: tuple[Category, str], side: Side, quantity: Decimal, end: str) -> None:
        self.tags += 1
        tag = f"t{self.tags}"
        intent = order_intent(category=key[0], symbol=key[1], side=side, quantity=str(quantity), price="100")
        order = TrackedOrder(tag=tag, intent=intent, adds_risk=True)
        self.ledger.reserve(order)
        self.never_too_little()
        if end == "rejected":
            self.ledger.finish(tag, status="Rejected")
            return
        if end != "lost request":
            order_id = self.exchange.place(order, intent, tag)
            if end == "taken at once":
                self.exchange.fill(order_id, quantity)
            if end != "lost answer":
                self.ledger.acknowledge(tag, order_id)
        else:
            self.ledger.finish(tag, status="NotFound")
        order.is_in_flow = False
        order.is_outcome_unknown = end == "lost answer"

    @rule(quantity=QUANTITIES, side=st.sampled_from(list(Side)))
    def order_of_somebody_else(self, quantity: Decimal, side: Side) -> None:
        intent = order_intent(category=LINEAR[0], symbol=LINEAR[1], side=side, quantity=str(quantity))
        self.exchange.place(None, intent, "")

    @rule(name=st.sampled_from(["fill", "cancel"]), choose=st.integers(0, 50), quantity=QUANTITIES)
    def happen(self, name: str, choose: int, quantity: Decimal) -> None:
        self.step(name, choose, quantity)

    @rule(amount=st.sampled_from([Decimal(1), Decimal("0.25")]))
    def deposit(self, amount: Decimal) -> None:
        self.exchange.flow(amount)

    @precondition(lambda self: self.exchange.said)
    @rule(name=st.sampled_from(["deliver", "deliver", "drop", "double", "late"]), choose=st.integers(0, 50))
    def message(self, name: str, choose: int) -> None:
        self.step(name, choose)

    @rule(gaps=st.lists(STEPS, max_size=5))
    def reading(self, gaps: list[list[str]]) -> None:
        self.reading_steps(gaps)

    @rule()
    def disconnect(self) -> None:
        self.view.trust_keeper.stream_down("test", at_ns=self.now_ns)
        self.exchange.said.clear()
        assert not isinstance(self.view.trust(now_ns=self.now_ns), Trusted)
        self.view.trust_keeper.stream_up(at_ns=self.now_ns)

    @rule()
    def quiescence(self) -> None:
        """Everything still on its way is lost, and two readings later the view is the truth and is trusted."""
        self.exchange.said.clear()
        self.now_ns += 2 * NS_PER_S
        for _ in range(3):
            self.resolve()
            self.reading_steps([])
            self.now_ns += 2 * NS_PER_S
            self.view.trust(now_ns=self.now_ns)
        self.reading_steps([])
        exchange, view = self.exchange, self.view
        assert isinstance(view.trust(now_ns=self.now_ns), Trusted), view.trust(now_ns=self.now_ns)
        assert view.coins == exchange.coins
        assert view.positions.get(LINEAR[1], ZERO) == exchange.position
        own = {o.tag: o.filled for o in self.ledger.open_orders()}
        assert own == {o.tag: o.filled for o in exchange.working() if o.tag}
        assert {o.order_id: o for o in view.foreign_orders} == {o.order_id: o for o in exchange.working() if not o.tag}
        assert sum(self.counted.values()) == sum((o.filled for o in exchange.orders.values() if o.tag), ZERO)
        assert [o for o in self.ledger.claims() if o.phase is Phase.FINISHED] == []

    def resolve(self) -> None:
        """Ask for what is unknown, as the resolver does."""
        for order in self.ledger.unresolved():
            (shown,) = [seen for seen in self.exchange.orders.values() if seen.tag == order.tag]
            changes = self.view.read_order(
                order, order_id=shown.order_id, status=shown.status, filled=shown.filled, now_ns=self.now_ns
            )
            self.apply(changes)

    def never_too_little(self) -> None:
        """Own orders' worst case is at least the truth, on both sides, at every moment."""
        exchange, view = self.exchange, self.view
        claims = list(self.ledger.claims())
        own = tally(claims)
        buys, sells = own.buys, own.sells
        mine = [order for order in exchange.working() if order.tag]

        def left(key: tuple[Category, str], side: Side) -> Decimal:
            orders = (o for o in mine if (o.category, o.symbol) == key and o.side is side)
            return sum((o.quantity - o.filled for o in orders), ZERO)

        # What somebody else's orders and deposits move is seen when it is told; nobody could claim it before.
        held = view.coins.get("BTC", ZERO) + self.exchange.deposited
        assert held + buys.get(SPOT, ZERO) >= exchange.coins["BTC"] + left(SPOT, Side.BUY)
        position = view.positions.get(LINEAR[1], ZERO)
        assert position + buys.get(LINEAR, ZERO) + self.exchange.moved_by_others >= exchange.position + left(
            LINEAR, Side.BUY
        )
        assert position - sells.get(LINEAR, ZERO) - self.exchange.moved_by_others <= exchange.position - left(
            LINEAR, Side.SELL
        )
        used = self.activity.turnover_usdt(own.pending_usdt, at_ns=self.now_ns)
        todo = sum(((o.quantity - o.filled) * o.price for o in mine), ZERO)
        assert used >= exchange.bought + todo

    @invariant()
    def fills_are_counted_once(self) -> None:
        truth = {o.tag: o.filled for o in self.exchange.orders.values() if o.tag}
        for tag, counted in self.counted.items():
            assert counted <= truth[tag]


TestViewAgainstModel = ViewAgainstModel.TestCase
TestViewAgainstModel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
