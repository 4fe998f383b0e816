"""A closing as a dialogue with a small market."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from killswitch.test_flatten_plan import FLATTEN, HOLD, coin, facts, long, market, order, thing

from trade_core.clock import NS_PER_S
from trade_killswitch.commands import AskTime, SendCancels, Wait
from trade_killswitch.flatten_flow import (
    CLOSE_WITHIN_S,
    LOOK_EVERY_S,
    POST_ONLY_S,
    STOP_LOOKS,
    Closing,
    PlaceExits,
    ReadOpen,
    Unreadable,
    flatten,
)
from trade_killswitch.flatten_plan import ExitOrder, OpenFacts, Settled, Style
from trade_killswitch.open_book import Market, Position
from trade_killswitch.sweep_plan import CancelOne
from trade_killswitch.working_orders import SPOT, Category, WorkingOrder

Fills = Callable[[ExitOrder, float], bool]
BEGAN_NS = 1_000 * NS_PER_S


class Talk:
    """An account that answers a closing: what it fills, a test says; what is cancelled is gone."""

    def __init__(
        self,
        first: OpenFacts,
        *,
        fills: Fills = lambda _, __: False,
        endings: Any = FLATTEN,
        is_read: Callable[[int], bool] = lambda _: True,
        read_takes_s: float = 0.0,
    ) -> None:
        self.facts = first
        self.fills, self.is_read, self.read_takes_s = fills, is_read, read_takes_s
        self.now_s = 0.0
        self.looks = 0
        self.placed: list[tuple[float, ExitOrder]] = []
        self.cancelled: list[tuple[float, str]] = []
        closing = Closing(endings=endings, baseline={}, quote_coin="USDT", slippage=Decimal("0.02"))
        self.settled = self._run(flatten(closing))

    def styles(self) -> list[str]:
        return [order.style.value for _, order in self.placed]

    def _run(self, flow: Any) -> Settled:
        given: Any = None
        while True:
            try:
                command = flow.send(given)
            except StopIteration as ended:
                settled: Settled = ended.value
                return settled
            given = self._answer(command)

    def _answer(self, command: Any) -> Any:
        match command:
            case AskTime():
                return BEGAN_NS + round(self.now_s * NS_PER_S)
            case Wait():
                self.now_s += command.seconds
            case ReadOpen():
                self.looks += 1
                self.now_s += self.read_takes_s
                return self.facts if self.is_read(self.looks) else None
            case SendCancels():
                assert command.calls
                ids = [call.order.order_id for call in command.calls if isinstance(call, CancelOne)]
                self.cancelled += [(self.now_s, order_id) for order_id in ids]
                left = tuple(one for one in self.facts.orders if one.order_id not in ids)
                self.facts = replace(self.facts, orders=left)
            case PlaceExits():
                assert command.orders
                for one in command.orders:
                    self.placed.append((self.now_s, one))
                    self._take(one)
        return None

    def _take(self, one: ExitOrder) -> None:
        if self.fills(one, self.now_s):
            positions = tuple(kept for kept in self.facts.positions if kept.symbol != one.symbol)
            is_spot = one.category is Category.SPOT
            coins = () if is_spot else self.facts.coins
            self.facts = replace(self.facts, positions=self.facts.positions if is_spot else positions, coins=coins)
        elif one.style is not Style.TAKE:
            self.facts = replace(self.facts, orders=(*self.facts.orders, self._working(one)))

    def _working(self, one: ExitOrder) -> WorkingOrder:
        book = SPOT if one.category is Category.SPOT else order().book
        is_stop = one.style is Style.STOP
        return order(one.symbol, book, is_stop=is_stop, order_id=f"ours-{len(self.placed)}")


def test_flat_account_is_flat_after_one_look() -> None:
    talk = Talk(facts())
    assert talk.settled == Settled()
    assert talk.settled.is_flat
    assert talk.looks == 1
    assert talk.placed == []


def test_position_that_fills_at_once_is_closed_post_only() -> None:
    talk = Talk(facts(long(), coins=(coin(),)), fills=lambda _, __: True)
    assert talk.settled.is_flat
    assert talk.styles() == ["post_only", "post_only"]
    assert {(one.category, one.is_sale) for _, one in talk.placed} == {(Category.LINEAR, True), (Category.SPOT, True)}
    assert talk.settled.took_s == LOOK_EVERY_S
    assert Talk(facts(long()), fills=lambda _, __: True, read_takes_s=0.12345).settled.took_s == 0.747


def test_order_rests_while_its_price_is_right_and_gives_way_after_its_time() -> None:
    talk = Talk(facts(long()), fills=lambda one, _: one.style is Style.TAKE)
    assert talk.styles() == ["post_only", "take"]
    assert talk.placed[1][0] == POST_ONLY_S
    assert talk.cancelled == [(POST_ONLY_S, "ours-1")]
    assert talk.settled.is_flat


class Moving(Talk):
    """A market whose ask moves at each look."""

    def _answer(self, command: Any) -> Any:
        if isinstance(command, ReadOpen):
            key = (Category.LINEAR, "XRPUSDT")
            moved: Market = market(ask=Decimal(100) + Decimal(self.looks) / 10)
            self.facts = replace(self.facts, markets={**self.facts.markets, key: moved})
        return super()._answer(command)


def test_order_follows_its_side_of_the_book() -> None:
    talk = Moving(facts(long()), fills=lambda one, _: one.price >= Decimal("100.2"))
    assert [one.price for _, one in talk.placed] == [Decimal(100), Decimal("100.1"), Decimal("100.2")]
    assert [order_id for _, order_id in talk.cancelled] == ["ours-1", "ours-2"]
    assert talk.settled.is_flat


def test_position_that_nobody_takes_is_named_and_gets_a_stop_at_the_end() -> None:
    talk = Talk(facts(long()))
    assert not talk.settled.is_flat
    assert talk.settled.open == (thing(),)
    assert talk.settled.stops == ("linear/USDT XRPUSDT",)
    assert talk.styles()[0] == "post_only"
    assert set(talk.styles()[1:-1]) == {"take"}
    assert talk.styles()[-1] == "stop"
    assert CLOSE_WITHIN_S <= talk.settled.took_s <= CLOSE_WITHIN_S + 2
    last_s = max(at_s for at_s, one in talk.placed if one.style is Style.TAKE)
    assert last_s == CLOSE_WITHIN_S - LOOK_EVERY_S
    # The orders of the last seconds are immediate: nothing but the stop is left working.
    assert [one.is_conditional for one in talk.facts.orders] == [True]


def test_stop_that_is_there_is_the_one_that_stays() -> None:
    talk = Talk(facts(long(), orders=(order(is_stop=True, order_id="own"),)))
    assert "stop" not in talk.styles()
    assert [one.order_id for one in talk.facts.orders] == ["own"]


def test_resting_exit_is_taken_back_when_nothing_can_be_priced_any_more() -> None:
    class Blind(Talk):
        def _answer(self, command: Any) -> Any:
            if isinstance(command, ReadOpen) and self.placed:
                self.facts = replace(self.facts, markets={})
            return super()._answer(command)

    talk = Blind(facts(long()))
    assert talk.styles() == ["post_only"]
    assert [order_id for _, order_id in talk.cancelled] == ["ours-1"]
    assert talk.facts.orders == ()
    assert talk.settled.stops == ()
    assert talk.settled.open == (thing(),)


def test_stops_of_closed_positions_go_and_others_stay() -> None:
    orders = (order(is_stop=True, order_id="of it"), order("ETHUSDT", is_stop=True, order_id="held"))
    endings = {**FLATTEN}
    seen = facts(long(), orders=orders)
    talk = Talk(seen, fills=lambda _, __: True, endings=endings)
    # Nothing is held, so both are of flat symbols once the position is closed.
    assert {order_id for _, order_id in talk.cancelled} == {"of it", "held"}
    assert talk.settled.is_flat
    assert talk.settled.stops == ()


def test_positions_that_are_held_are_left_with_their_stops() -> None:
    orders = (order(is_stop=True, order_id="kept"), order("ETHUSDT", is_stop=True, order_id="idle"))
    talk = Talk(facts(long(), coins=(coin(),), orders=orders), endings=HOLD)
    assert talk.placed == []
    assert [order_id for _, order_id in talk.cancelled] == ["idle"]
    assert [one.symbol for one in talk.settled.held] == ["XRPUSDT", "XRPUSDT"]
    assert talk.settled.open == ()
    assert not talk.settled.is_flat
    assert talk.settled.stops == ("linear/USDT XRPUSDT",)


def test_spot_stop_is_taken_back_so_that_its_coins_can_be_sold() -> None:
    stop = order(book=SPOT, is_stop=True, order_id="spot stop")
    talk = Talk(facts(coins=(coin(total="10", free="0"),), orders=(stop,)), fills=lambda _, __: True)
    assert talk.cancelled == [(0, "spot stop")]
    assert [one.quantity for _, one in talk.placed] == [Decimal(10)]
    assert talk.settled.is_flat


def test_stop_of_a_contract_stays_while_it_is_being_closed() -> None:
    talk = Talk(
        facts(long(), orders=(order(is_stop=True, order_id="own"),)), fills=lambda one, _: one.style is Style.TAKE
    )
    assert talk.cancelled == [(POST_ONLY_S, "ours-1"), (POST_ONLY_S + LOOK_EVERY_S, "own")]


def test_resting_spot_exit_is_asked_for_whole_again() -> None:
    mine = order(book=SPOT, order_id="mine")
    talk = Talk(facts(coins=(coin(total="10", free="4"),), orders=(mine,)), fills=lambda _, __: True)
    assert talk.cancelled == [(0, "mine")]
    assert [one.quantity for _, one in talk.placed] == [Decimal(10)]


def test_spot_coins_that_something_else_holds_are_sold_as_far_as_they_are_free() -> None:
    talk = Talk(facts(coins=(coin(total="10", free="4"),)), fills=lambda _, __: True)
    assert [one.quantity for _, one in talk.placed] == [Decimal(4)]


def test_account_that_is_unreadable_at_first_is_closed_when_it_can_be_read() -> None:
    talk = Talk(facts(long()), fills=lambda _, __: True, is_read=lambda look: look > 3)
    assert talk.settled.is_flat
    assert talk.placed[0][0] == 3 * LOOK_EVERY_S


def test_account_that_cannot_be_read_at_all_is_not_spoken_of() -> None:
    with pytest.raises(Unreadable):
        Talk(facts(), is_read=lambda _: False)


def test_account_that_becomes_unreadable_is_spoken_of_as_it_was_last_seen() -> None:
    talk = Talk(facts(long()), is_read=lambda look: look == 1)
    assert talk.settled.open == (thing(),)
    assert talk.styles() == ["post_only", *["stop"] * STOP_LOOKS]


def test_last_looks_at_stops_are_bounded() -> None:
    class Stubborn(Talk):
        def _answer(self, command: Any) -> Any:
            if isinstance(command, SendCancels):
                self.cancelled.append((self.now_s, "asked"))
                return None
            return super()._answer(command)

    talk = Stubborn(facts(orders=(order(is_stop=True),)))
    assert len(talk.cancelled) == STOP_LOOKS == 3
    assert talk.settled.stops == ("linear/USDT XRPUSDT",)
    assert talk.settled.is_flat
    assert talk.now_s == LOOK_EVERY_S * sum(range(STOP_LOOKS))


def test_exit_that_comes_again_is_for_the_same_side_and_position() -> None:
    short = long(is_long=False, position_idx=2)
    talk = Talk(facts(short, orders=(order(order_id="mine"),)), fills=lambda _, __: True)
    assert talk.cancelled == [(0, "mine")]
    assert [(one.is_sale, one.position_idx, one.quantity) for _, one in talk.placed] == [(False, 2, 3)]


def test_exit_that_did_not_stay_is_asked_for_again_at_the_same_price() -> None:
    class Gone(Talk):
        def _take(self, one: ExitOrder) -> None:
            """As an exchange that refuses what would take."""

    talk = Gone(facts(long()))
    assert talk.styles().count("post_only") == POST_ONLY_S / LOOK_EVERY_S
    assert len({one.price for _, one in talk.placed if one.style is Style.POST_ONLY}) == 1


def test_exit_that_cannot_be_taken_back_keeps_no_other_from_taking_and_is_no_stop() -> None:
    class Deaf(Talk):
        def _answer(self, command: Any) -> Any:
            return None if isinstance(command, SendCancels) else super()._answer(command)

    talk = Deaf(facts(long()))
    assert talk.styles().count("take") == (CLOSE_WITHIN_S - POST_ONLY_S) / LOOK_EVERY_S
    assert talk.settled.stops == ("linear/USDT XRPUSDT",)
    assert [one.is_conditional for one in talk.facts.orders] == [False, True]


def test_position_without_a_price_keeps_no_other_from_being_closed() -> None:
    seen = facts(long(), long("2", "ETHUSDT"))
    priced = {key: found for key, found in seen.markets.items() if key[1] == "ETHUSDT"}
    talk = Talk(replace(seen, markets=priced), fills=lambda _, __: True)
    assert [(one.symbol, one.style) for _, one in talk.placed] == [("ETHUSDT", Style.POST_ONLY)]
    assert [one.symbol for one in talk.settled.open] == ["XRPUSDT"]


@pytest.mark.parametrize(("step", "styles"), [("0.01", ["stop"]), ("10", [])])
def test_small_position_gets_a_stop_if_it_is_a_step_of_the_market(step: str, styles: list[str]) -> None:
    class Closed(Talk):
        def _take(self, one: ExitOrder) -> None:
            if one.style is Style.STOP:
                super()._take(one)

    key = (Category.LINEAR, "XRPUSDT")
    talk = Closed(replace(facts(long("0.5")), markets={key: market(step=Decimal(step))}))
    assert [style for style in talk.styles() if style == "stop"] == styles
    assert talk.settled.open == (thing("0.5"),)


def test_many_things_are_ordered_in_bounded_rounds() -> None:
    many: tuple[Position, ...] = tuple(long(symbol=f"S{number}USDT") for number in range(45))
    talk = Talk(facts(*many), fills=lambda _, __: True)
    assert talk.settled.is_flat
    assert len([1 for at_s, _ in talk.placed if at_s == 0]) == 40
    assert len(talk.placed) == 45
