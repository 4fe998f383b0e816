"""Which orders close what is open."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from trade_killswitch.flatten_plan import (
    NAMES_MAX,
    ExitOrder,
    OpenFacts,
    Settled,
    Style,
    Thing,
    exit_order,
    idle_stops,
    named,
    open_things,
    resting_exits,
    stop_order,
    stops_of,
)
from trade_killswitch.kill_order import Ending
from trade_killswitch.open_book import Coin, Market, Position
from trade_killswitch.working_orders import BOOKS, SPOT, Book, Category, OrderFilter, WorkingOrder

FLATTEN = dict.fromkeys(Category, Ending.FLATTEN)
HOLD = dict.fromkeys(Category, Ending.HOLD)
USDT = BOOKS[1]
SLIPPAGE = Decimal("0.02")


def market(**changed: Any) -> Market:
    values: dict[str, Any] = {
        "bid": Decimal("99.9"),
        "ask": Decimal("100.1"),
        "reference": Decimal(100),
        "tick": Decimal("0.1"),
        "step": Decimal("0.01"),
        "quantity_max": Decimal(50),
        "quantity_min": Decimal("0.02"),
        "notional_min": Decimal(5),
    }
    return Market(**{**values, **changed})


def long(size: str = "3", symbol: str = "XRPUSDT", **changed: Any) -> Position:
    values: dict[str, Any] = {
        "category": Category.LINEAR, "symbol": symbol, "is_long": True, "size": Decimal(size), "position_idx": 0
    }  # fmt: skip
    return Position(**{**values, **changed})


def coin(name: str = "XRP", total: str = "10", free: str | None = None, value: str = "1000") -> Coin:
    return Coin(
        coin=name, total=Decimal(total), free=Decimal(total if free is None else free), value_usd=Decimal(value)
    )


def order(
    symbol: str = "XRPUSDT",
    book: Book = USDT,
    *,
    is_stop: bool = False,
    order_id: str = "1",
    is_reducing: bool = True,
) -> WorkingOrder:
    return WorkingOrder(
        book=book,
        symbol=symbol,
        order_id=order_id,
        order_filter=OrderFilter.ORDER,
        is_conditional=is_stop,
        is_reducing=is_reducing,
        is_waiting=is_stop,
    )


def facts(
    *positions: Position, coins: tuple[Coin, ...] = (), orders: tuple[WorkingOrder, ...] = (), **markets: Market
) -> OpenFacts:
    known = {(Category.LINEAR, one.symbol): market() for one in positions}
    known |= {(Category.SPOT, f"{one.coin}USDT"): market() for one in coins}
    known |= {(Category(name.split("_")[0]), name.split("_")[1]): value for name, value in markets.items()}
    return OpenFacts(positions=positions, coins=coins, markets=known, orders=orders)


def sorted_things(seen: OpenFacts, endings: Any = FLATTEN, **baseline: str) -> Any:
    return open_things(
        seen,
        endings=endings,
        baseline={name: Decimal(value) for name, value in baseline.items()},
        quote_coin="USDT",
    )


def thing(quantity: str = "3", **changed: Any) -> Thing:
    values: dict[str, Any] = {"category": Category.LINEAR, "symbol": "XRPUSDT", "quantity": Decimal(quantity)}
    return Thing(**{**values, **changed})


def test_positions_and_coins_are_sorted_by_what_becomes_of_them() -> None:
    seen = facts(long(), long("2", "ETHUSDT", is_long=False, position_idx=2), coins=(coin(), coin("USDT", "500")))
    both = sorted_things(seen)
    assert both.to_close == (
        thing(),
        Thing(category=Category.LINEAR, symbol="ETHUSDT", quantity=Decimal(2), is_long=False, position_idx=2),
        Thing(category=Category.SPOT, symbol="XRPUSDT", quantity=Decimal(10), free=Decimal(10)),
    )
    assert both.held == ()
    assert not both.is_flat
    held = sorted_things(seen, {**HOLD, Category.SPOT: Ending.FLATTEN})
    assert [one.category for one in held.to_close] == [Category.SPOT]
    assert [one.symbol for one in held.held] == ["XRPUSDT", "ETHUSDT"]
    assert held.all == held.to_close + held.held
    assert sorted_things(facts()).is_flat


def test_what_was_there_before_is_left_alone() -> None:
    seen = facts(coins=(coin(total="10", free="9"), coin("ETH", "1")))
    both = sorted_things(seen, XRP="4", ETH="1")
    assert [(one.symbol, one.quantity, one.free) for one in both.to_close] == [("XRPUSDT", Decimal(6), Decimal(6))]
    assert sorted_things(seen, XRP="10", ETH="2").is_flat
    # What was owed then, and is held now, all came later.
    assert sorted_things(facts(coins=(coin(),)), XRP="-5").to_close[0].quantity == Decimal(10)


def test_coins_that_orders_hold_are_not_free() -> None:
    assert sorted_things(facts(coins=(coin(free="2"),))).to_close[0].free == Decimal(2)
    assert sorted_things(facts(coins=(coin(free="-1"),))).to_close[0].free == Decimal(0)


@pytest.mark.parametrize(
    ("total", "is_dust"),
    [("0.009", True), ("0.019", True), ("0.049", True), ("0.05", False), ("0.0599", False)],
)
def test_too_little_to_be_sold_is_dust(total: str, is_dust: bool) -> None:
    both = sorted_things(facts(coins=(coin(total=total),)))
    assert both.is_flat is is_dust
    assert bool(both.dust) is is_dust


def test_dust_is_named_and_coins_without_a_market_go_by_their_worth() -> None:
    assert sorted_things(facts(coins=(coin(total="0.0090"),))).dust == ("XRP 0.009",)
    assert sorted_things(facts(coins=(coin(total="0.01"),), spot_XRPUSDT=market(quantity_min=Decimal(0)))).dust
    for value, is_dust in (("4.99", True), ("5", False)):
        seen = OpenFacts(positions=(), coins=(coin("AIR", value=value),), markets={}, orders=())
        assert bool(sorted_things(seen).dust) is is_dust
    unpriced = facts(coins=(coin(total="0.02"),), spot_XRPUSDT=market(reference=None))
    assert sorted_things(unpriced).dust == ()


@pytest.mark.parametrize(
    ("style", "is_long", "changed", "price"),
    [
        (Style.TAKE, True, {}, "98"),
        (Style.TAKE, False, {}, "102"),
        (Style.TAKE, True, {"reference": Decimal("100.03")}, "98.1"),  # 98.0294: up, nearer to the reference
        (Style.TAKE, False, {"reference": Decimal("100.03")}, "102"),  # 102.0306: down
        (Style.POST_ONLY, True, {}, "100.1"),
        (Style.POST_ONLY, False, {}, "99.9"),
        (Style.POST_ONLY, True, {"ask": Decimal("100.12")}, "100.2"),
        (Style.POST_ONLY, False, {"bid": Decimal("99.88")}, "99.8"),
        (Style.POST_ONLY, True, {"ask": Decimal(50)}, "98"),  # a cleared book does not drag us down
        (Style.POST_ONLY, False, {"bid": Decimal(150)}, "102"),
        (Style.POST_ONLY, True, {"ask": None}, "100"),
        (Style.POST_ONLY, False, {"bid": None}, "100"),
    ],
)
def test_price_stays_within_the_slippage_of_the_reference(
    style: Style, is_long: bool, changed: dict[str, Any], price: str
) -> None:
    made = exit_order(thing(is_long=is_long), market(**changed), style=style, slippage=SLIPPAGE)
    assert made is not None
    assert made.price == Decimal(price)
    assert made.is_sale is is_long


def test_quantity_is_what_is_open_in_whole_steps_and_at_most_what_one_order_takes() -> None:
    def quantity(one: Thing, **changed: Any) -> Decimal | None:
        made = exit_order(one, market(**changed), style=Style.TAKE, slippage=SLIPPAGE)
        return None if made is None else made.quantity

    assert quantity(thing("3.019")) == Decimal("3.01")
    assert quantity(thing("70")) == Decimal(50)
    assert quantity(thing("0.009")) is None
    assert quantity(thing("9", free=Decimal(4))) == Decimal(4)
    assert quantity(thing("9", free=Decimal(0))) is None


def test_order_has_the_name_and_the_side_of_what_it_closes() -> None:
    one = thing(is_long=False, position_idx=2)
    assert exit_order(one, market(), style=Style.TAKE, slippage=SLIPPAGE) == ExitOrder(
        category=Category.LINEAR,
        symbol="XRPUSDT",
        is_sale=False,
        quantity=Decimal(3),
        price=Decimal(102),
        style=Style.TAKE,
        position_idx=2,
    )
    assert one.key == (Category.LINEAR, "XRPUSDT", 2)


def test_nothing_is_priced_without_a_reference() -> None:
    assert exit_order(thing(), None, style=Style.TAKE, slippage=SLIPPAGE) is None
    assert exit_order(thing(), market(reference=None), style=Style.POST_ONLY, slippage=SLIPPAGE) is None
    low = market(reference=Decimal("0.05"), bid=Decimal("0.05"))
    assert exit_order(thing(is_long=False), low, style=Style.POST_ONLY, slippage=SLIPPAGE) is None


@pytest.mark.parametrize(
    ("is_long", "reference", "price"),
    [(True, "100", "98"), (False, "100", "102"), (True, "100.03", "98.1"), (False, "100.03", "102")],
)
def test_position_that_stays_open_gets_a_stop_at_the_slippage(is_long: bool, reference: str, price: str) -> None:
    one = thing("70", is_long=is_long, position_idx=1)
    seen = facts(long(), linear_XRPUSDT=market(reference=Decimal(reference)))
    assert stop_order(one, seen, distance=SLIPPAGE) == ExitOrder(
        category=Category.LINEAR,
        symbol="XRPUSDT",
        is_sale=is_long,
        quantity=Decimal(50),
        price=Decimal(price),
        style=Style.STOP,
        position_idx=1,
    )


def test_stop_that_is_there_is_kept_and_none_is_invented() -> None:
    assert stop_order(thing(), facts(long(), orders=(order(is_stop=True),)), distance=SLIPPAGE) is None
    other = facts(long(), orders=(order("ETHUSDT", is_stop=True), order(is_stop=True, is_reducing=False)))
    assert stop_order(thing(), other, distance=SLIPPAGE) is not None
    assert stop_order(thing(), facts(), distance=SLIPPAGE) is None
    assert stop_order(thing(), facts(long(), linear_XRPUSDT=market(reference=None)), distance=SLIPPAGE) is None
    coins = thing(category=Category.SPOT, free=Decimal(3))
    assert stop_order(coins, facts(coins=(coin(),)), distance=SLIPPAGE) is None


def test_stops_and_resting_exits_are_told_apart_by_symbol_and_category() -> None:
    orders = (
        order(order_id="plain"),
        order(order_id="stop", is_stop=True),
        order(order_id="adding stop", is_stop=True, is_reducing=False),
        order(order_id="other", symbol="ETHUSDT"),
        order(order_id="spot", book=SPOT),
    )
    assert [one.order_id for one in stops_of(thing(), orders)] == ["stop"]
    assert [one.order_id for one in resting_exits(thing(), orders)] == ["plain"]
    assert [one.order_id for one in resting_exits(thing(category=Category.SPOT), orders)] == ["spot"]


def test_stops_of_symbols_in_which_nothing_is_open_are_idle() -> None:
    orders = (
        order(order_id="needed", is_stop=True),
        order(order_id="idle", symbol="ETHUSDT", is_stop=True),
        order(order_id="spot idle", book=SPOT, is_stop=True),
        order(order_id="no stop", symbol="ETHUSDT"),
    )
    seen = facts(long(), orders=orders)
    for endings in (FLATTEN, HOLD):
        assert [one.order_id for one in idle_stops(seen, sorted_things(seen, endings))] == ["idle", "spot idle"]


def test_things_are_named_for_people() -> None:
    spot = Thing(category=Category.SPOT, symbol="BTCUSDT", quantity=Decimal("0.5000"))
    assert named((thing("3.0"), thing("2", is_long=False), spot)) == (
        "linear XRPUSDT 3 long, linear XRPUSDT 2 short, spot BTCUSDT 0.5"
    )
    assert named(()) == ""
    assert " and " not in named((thing(),) * NAMES_MAX)
    assert named((thing(),) * (NAMES_MAX + 2)).endswith(" and 2 more")


def test_account_is_flat_when_nothing_but_dust_is_left() -> None:
    assert Settled(dust=("XRP 1",)).is_flat
    assert not Settled(open=(thing(),)).is_flat
    assert not Settled(held=(thing(),)).is_flat


def test_coins_behind_the_quote_coin_and_behind_those_of_the_baseline_are_sold_too() -> None:
    seen = facts(coins=(coin("USDT", "500"), coin("BTC", "1"), coin("ETH", "0.5", value="1"), coin("XRP", "10")))
    both = sorted_things(seen, BTC="1", ETH="2")
    assert [one.symbol for one in both.to_close] == ["XRPUSDT"]
    assert both.dust == ()


def test_coins_that_are_owed_are_no_thing_and_no_dust() -> None:
    both = sorted_things(facts(coins=(coin("BTC", "-1"), coin("ETH", "0"), coin("XRP", "0.5"))))
    assert (both.dust, [one.symbol for one in both.to_close]) == ((), ["XRPUSDT"])


def test_coins_that_round_down_to_nothing_are_dust_also_where_there_is_no_least_order() -> None:
    seen = facts(coins=(coin("XRP", "0.009"),), spot_XRPUSDT=market(quantity_min=Decimal(0), notional_min=Decimal(0)))
    assert sorted_things(seen).dust == ("XRP 0.009",)
    seen = facts(coins=(coin("XRP", "0.019"),), spot_XRPUSDT=market(notional_min=Decimal(0)))
    assert sorted_things(seen).dust == ("XRP 0.019",)


def test_small_quantities_and_small_prices_are_orders() -> None:
    small = exit_order(thing("0.5"), market(), style=Style.TAKE, slippage=SLIPPAGE)
    assert small is not None
    assert (small.quantity, small.position_idx) == (Decimal("0.5"), 0)
    cheap = market(reference=Decimal("0.5"), bid=None, ask=None, tick=Decimal("0.01"))
    made = exit_order(thing(), cheap, style=Style.TAKE, slippage=SLIPPAGE)
    assert made is not None
    assert made.price == Decimal("0.49")


def test_order_says_no_side_of_a_position_unless_it_is_told_one() -> None:
    plain = ExitOrder(
        category=Category.SPOT,
        symbol="XRPUSDT",
        is_sale=True,
        quantity=Decimal(1),
        price=Decimal(1),
        style=Style.TAKE,
    )
    assert plain.position_idx == 0


def test_line_names_as_many_things_as_was_decided() -> None:
    assert NAMES_MAX == 20
