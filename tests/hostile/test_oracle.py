"""The oracle against sums that can be done by head."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hostile.oracle import DAY_NS, Oracle, Window

from trade_core.clock import NS_PER_S
from trade_simulator.events import Executed
from trade_simulator.instruments import Category
from trade_simulator.orders import ExecType, Side

D = Decimal


class Told:
    """An oracle that is told things, with time and index in the test's hand."""

    def __init__(self) -> None:
        self.now_ns = NS_PER_S
        self.price = D(100)
        self.reduce_only: set[str] = set()
        self.oracle = Oracle(
            uid="1",
            now_ns=lambda: self.now_ns,
            index=lambda _: self.price,
            max_divergence=D("0.01"),
            is_reduce_only=lambda order_id: order_id in self.reduce_only,
        )
        self.tell()

    def tell(self, price: str = "100", *, mark: str | None = None) -> None:
        self.price = D(price)
        self.oracle.note_index("BTC")
        self.oracle.note_told("BTC", D(price), D(mark or price))

    def fill(self, side: Side, quantity: str, price: str, *, fee: str = "0", **changes: Any) -> None:
        """Accept an order and fill it, a second later than the last."""
        self.now_ns += NS_PER_S
        self.oracle.note_accepted("t", "BTCUSDT")
        self.only_fill(side, quantity, price, fee=fee, **changes)

    def only_fill(self, side: Side, quantity: str, price: str, *, fee: str = "0", **changes: Any) -> None:
        seen: Any = _Seen(side=side, exec_qty=D(quantity), exec_price=D(price), exec_fee=D(fee), **changes)
        event = object.__new__(Executed)
        object.__setattr__(event, "uid", "1")
        object.__setattr__(event, "execution", seen)
        self.oracle.on_event(event)

    def worst(self) -> Window:
        window = self.oracle.worst(lambda _: D(1000))
        assert window is not None
        return window


class _Seen:
    def __init__(self, **fields: Any) -> None:
        self.category, self.symbol, self.base_coin = Category.SPOT, "BTCUSDT", "BTC"
        self.order_link_id, self.order_id, self.fee_currency = "t", "x", "USDT"
        self.exec_type = ExecType.TRADE
        self.__dict__.update(fields)


def test_oracle_counts_price_beyond_the_reference_and_fees() -> None:
    it = Told()
    it.fill(Side.BUY, "2", "103", fee="0.5")
    it.fill(Side.SELL, "2", "96", fee="0.25")
    assert (it.worst().strict, it.worst().loss, it.worst().fills) == (D("14.75"), D("14.75"), 2)


def test_oracle_takes_nothing_off_for_a_price_better_than_the_reference() -> None:
    it = Told()
    it.fill(Side.BUY, "2", "90")
    it.fill(Side.SELL, "2", "110")
    assert it.worst().strict == 0


def test_oracle_values_a_fee_in_coin_at_the_fill_s_price() -> None:
    it = Told()
    it.fill(Side.BUY, "2", "103", fee="0.01", fee_currency="BTC")
    assert it.worst().strict == 6 + D("1.03")


def test_oracle_measures_against_the_reference_at_acceptance_not_at_the_fill() -> None:
    it = Told()
    it.now_ns += NS_PER_S
    it.oracle.note_accepted("t", "BTCUSDT")
    it.now_ns += NS_PER_S
    it.tell("90")
    it.only_fill(Side.BUY, "1", "103")
    assert (it.worst().strict, it.worst().movement) == (3, 10)


def test_oracle_of_two_prices_in_the_instant_of_acceptance_takes_the_kinder() -> None:
    it = Told()
    it.now_ns += NS_PER_S
    it.tell("101")
    it.oracle.note_accepted("t", "BTCUSDT")
    it.only_fill(Side.BUY, "1", "103")
    it.only_fill(Side.SELL, "1", "97")
    assert it.worst().strict == 2 + 3


def test_oracle_does_not_take_a_price_with_a_far_mark_for_a_reference() -> None:
    it = Told()
    it.tell("90", mark="92")
    it.fill(Side.SELL, "1", "95")
    assert it.worst().strict == 5


@pytest.mark.parametrize(("apart_ns", "lost"), [(DAY_NS - NS_PER_S, 6), (DAY_NS, 3)])
def test_oracle_window_is_a_whole_day_with_both_its_ends(apart_ns: int, lost: int) -> None:
    it = Told()
    it.fill(Side.BUY, "1", "103")
    it.now_ns += apart_ns  # and the second between fills
    it.fill(Side.BUY, "1", "103")
    assert it.worst().loss == lost


def test_oracle_leaves_the_rise_since_exposure_was_counted_to_the_market() -> None:
    it = Told()
    it.fill(Side.BUY, "1", "100")
    it.now_ns += NS_PER_S
    it.tell("200")
    it.fill(Side.SELL, "1", "190")  # 5 % of 200, of which 100 was counted
    assert (it.worst().strict, it.worst().loss) == (10, 5)


def test_oracle_values_what_was_held_at_the_start_of_the_window_as_it_was_then() -> None:
    it = Told()
    it.fill(Side.BUY, "1", "100")
    it.now_ns += NS_PER_S
    it.tell("150")
    it.now_ns += 2 * DAY_NS
    it.tell("300")
    it.fill(Side.SELL, "1", "285")
    window = it.worst()
    assert (window.exposure, window.strict, window.loss) == (150, 15, D("7.5"))


def test_oracle_counts_coins_from_outside_as_held() -> None:
    it = Told()
    it.oracle.note_flow("BTC", D(3))
    it.now_ns += 2 * DAY_NS
    it.fill(Side.SELL, "1", "95")
    assert (it.worst().exposure, it.worst().loss) == (300, 5)


def test_oracle_knows_which_linear_fills_reduce() -> None:
    it = Told()
    it.reduce_only.add("x")
    it.fill(Side.BUY, "1", "100", category=Category.LINEAR, order_id="y")
    it.fill(Side.SELL, "1", "100", category=Category.LINEAR)
    assert [fill.is_reducing for fill in it.oracle.fills] == [False, True]


def test_oracle_does_not_accept_a_fill_that_nobody_accepted() -> None:
    it = Told()
    with pytest.raises(AssertionError, match="nobody accepted"):
        it.only_fill(Side.BUY, "1", "100", order_link_id="other")


def test_oracle_counts_liquidations_apart() -> None:
    it = Told()
    it.fill(Side.BUY, "1", "100", exec_type=ExecType.BUST_TRADE)
    assert (it.oracle.liquidations, it.oracle.fills) == (1, [])


def test_oracle_keeps_over_a_restart_what_was_told() -> None:
    it = Told()
    it.fill(Side.BUY, "1", "100")
    it.now_ns += NS_PER_S
    it.tell("120")
    it.now_ns += NS_PER_S
    it.oracle.note_killed(lost_s=0.5)
    it.fill(Side.SELL, "1", "100")
    assert it.worst().strict == 20


def test_oracle_of_what_was_told_in_the_moment_of_a_kill_takes_the_kindest_until_the_next_price() -> None:
    it = Told()
    it.now_ns += NS_PER_S
    it.tell("110")
    it.tell("120")
    it.now_ns += NS_PER_S // 2
    it.oracle.note_killed(lost_s=0.5)
    it.now_ns += NS_PER_S
    it.oracle.note_killed(lost_s=0.5)  # killed again before any price came
    it.fill(Side.SELL, "1", "100")
    assert it.worst().strict == 0
    it.tell("120")
    it.fill(Side.SELL, "1", "100")
    assert it.worst().strict == 20
