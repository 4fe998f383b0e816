"""What must hold after any sequence of commands."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from simulator.engine.venue import Venue

from trade_simulator.instruments import Category
from trade_simulator.orders import ExecType, OrderType, PlaceOrder, Side, TimeInForce
from trade_simulator.records import AccountType, MarginMode
from trade_simulator.rejections import Rejected

D = Decimal
SYMBOLS = ("BTCUSDT", "XRPUSDT")
members = st.sampled_from(("1", "2", "3"))
sides = st.sampled_from(list(Side))
symbols = st.sampled_from(SYMBOLS)


class Trading(RuleBasedStateMachine):
    """Members do whatever they like; refusals are fine, losing a cent is not."""

    def __init__(self) -> None:
        super().__init__()
        self.venue = Venue()
        self.transfers = 0
        self.spot_only = True

    @rule(
        uid=members, side=sides, symbol=symbols, category=st.sampled_from(list(Category)),
        lots=st.integers(1, 3000), offset=st.integers(-300, 300), time_in_force=st.sampled_from(list(TimeInForce)),
        is_market=st.booleans(), reduce_only=st.booleans(),
    )  # fmt: skip
    def place(self, *, uid, side, symbol, category, lots, offset, time_in_force, is_market, reduce_only):
        venue = self.venue
        instrument = venue.exchange.instruments[category, symbol]
        price = venue.best(side, category=category, symbol=symbol) + offset * instrument.tick_size
        unit = max(1, int(D(20) / (price * instrument.quantity_step)))
        command = PlaceOrder(
            category=category, symbol=symbol, side=side,
            order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
            qty=instrument.quantity_step * lots * unit, price=None if is_market else price,
            time_in_force=time_in_force, reduce_only=reduce_only,
        )  # fmt: skip
        self._try(lambda: venue.exchange.place(uid, command))
        self.spot_only = self.spot_only and category is Category.SPOT

    @rule(uid=members, symbol=symbols, side=sides, distance=st.integers(1, 200))
    def place_stop(self, uid, symbol, side, distance):
        venue = self.venue
        instrument = venue.exchange.instruments[Category.LINEAR, symbol]
        trigger = venue.best(Side.SELL, symbol=symbol) + (distance + 50) * instrument.tick_size
        unit = max(1, int(D(200) / (trigger * instrument.quantity_step)))
        command = PlaceOrder(
            category=Category.LINEAR, symbol=symbol, side=side, order_type=OrderType.MARKET,
            qty=instrument.quantity_step * unit, trigger_price=trigger, trigger_direction=1,
        )  # fmt: skip
        self._try(lambda: venue.exchange.place(uid, command))
        self.spot_only = False

    @rule(uid=members, data=st.data())
    def amend(self, uid, data):
        orders = list(self.venue.exchange.accounts[uid].open_orders.values())
        if not orders:
            return
        order = data.draw(st.sampled_from(orders))
        instrument = self.venue.exchange.instruments[order.category, order.symbol]
        price = order.price + data.draw(st.integers(-100, 100)) * instrument.tick_size
        qty = order.qty + data.draw(st.integers(-100, 100)) * instrument.quantity_step
        self._try(lambda: self.venue.amend(order, price=price, qty=qty))

    @rule(uid=members, data=st.data())
    def cancel(self, uid, data):
        orders = list(self.venue.exchange.accounts[uid].open_orders.values())
        if orders:
            self.venue.cancel(data.draw(st.sampled_from(orders)))

    @rule(uid=members, category=st.sampled_from(list(Category)), symbol=symbols)
    def cancel_all(self, uid, category, symbol):
        self.venue.cancel_all(uid, category, symbol=symbol)

    @rule(count=st.integers(1, 30))
    def tick(self, count):
        self.venue.tick(count)

    @rule(symbol=symbols, per_mille=st.integers(-60, 60))
    def jump(self, symbol, per_mille):
        price = self.venue.exchange.market.index_price(Category.LINEAR, symbol)
        self.venue.jump(price * (1000 + per_mille) / 1000, symbol)

    @rule(uid=members, leverage=st.sampled_from((1, 5, 50)), symbol=symbols)
    def set_leverage(self, uid, leverage, symbol):
        self._try(
            lambda: self.venue.exchange.set_leverage(
                uid, category=Category.LINEAR, symbol=symbol, buy_leverage=D(leverage), sell_leverage=D(leverage)
            )
        )

    @rule(uid=members, mode=st.sampled_from(list(MarginMode)))
    def set_margin_mode(self, uid, mode):
        self._try(lambda: self.venue.exchange.set_margin_mode(uid, mode))

    @rule(amount=st.decimals(1, 60_000, places=8), source=members, receiver=members)
    def transfer(self, amount, source, receiver):
        self.transfers += 1
        self._try(
            lambda: self.venue.exchange.universal_transfer(
                "1", transfer_id=f"00000000-0000-0000-0000-{self.transfers:012d}", coin="USDT", amount=amount,
                from_uid=source, to_uid=receiver, from_type=AccountType.UNIFIED, to_type=AccountType.FUND,
            )
        )  # fmt: skip

    @rule(uid=members, amount=st.integers(-30_000, 30_000).filter(bool))
    def flow(self, uid, amount):
        self._try(lambda: self.venue.exchange.flow(uid, coin="USDT", amount=D(amount)))

    @rule()
    def let_funding_come(self):
        self.venue.now_ms += 8 * 3_600_000
        self.venue.tick()

    @invariant()
    def money_is_conserved_books_are_not_crossed_and_locks_match(self):
        self.venue.assert_sound()

    @invariant()
    def positions_are_the_sum_of_their_executions(self):
        for account in self.venue.exchange.accounts.values():
            for symbol in SYMBOLS:
                signed = sum(
                    one.exec_qty * one.side.sign
                    for one in account.executions
                    if one.category is Category.LINEAR
                    and one.symbol == symbol
                    and one.exec_type is not ExecType.FUNDING
                )
                assert account.position_size(symbol, 0) == signed

    @invariant()
    def ledgers_add_up_to_balances(self):
        for account in self.venue.exchange.accounts.values():
            for coin, balance in account.balances.items():
                assert sum(one.change for one in account.ledger if one.currency == coin) == balance

    @invariant()
    def coins_without_margin_are_never_owed(self):
        for account in self.venue.exchange.accounts.values():
            for coin in ("BTC", "XRP"):
                assert account.balance(coin) >= account.locked(coin) >= 0

    @invariant()
    def reduce_only_orders_in_the_book_fit_the_position(self):
        for account in self.venue.exchange.accounts.values():
            for order in account.open_orders.values():
                if order.reduce_only and order.status.value in {"New", "PartiallyFilled"}:
                    size = account.position_size(order.symbol, 0)
                    assert size * order.side.sign < 0
                    assert order.leaves_qty <= abs(size)

    @precondition(lambda self: self.spot_only)
    @invariant()
    def spot_traders_never_owe_anything(self):
        for account in self.venue.exchange.accounts.values():
            assert account.balance("USDT") >= account.locked("USDT")

    def _try(self, action):
        before = self.venue.state()
        try:
            action()
        except Rejected:
            assert self.venue.state() == before


TestTrading = Trading.TestCase
TestTrading.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestTrading.pytestmark = pytest.mark.slow
