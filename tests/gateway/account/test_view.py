"""Single turns of the account view; its whole behaviour is in test_view_model."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from gateway.account.model import seen_of
from gateway.parts import order_intent, tracked

from trade_core.clock import NS_PER_S
from trade_gateway.account import view as view_module
from trade_gateway.account.messages import ExecutionSeen, OrderSeen, PositionSeen, WalletSeen
from trade_gateway.account.trust import SETTLE_NS, Trusted, Untrusted
from trade_gateway.account.view import AccountView, Appeared, Change, Ended, Filled
from trade_gateway.ledger import OrderLedger, Phase, TrackedOrder
from trade_gateway.wire.intents import Category, Side

NOW_NS = NS_PER_S
WALLET = WalletSeen(coins={"BTC": Decimal(1), "USDT": Decimal(100)}, equity_usdt=Decimal(130), at_ms=1000)


class Scene:
    """A view that is trusted, over one order of ours."""

    def __init__(self, *, phase: Phase = Phase.WORKING, is_in_flow: bool = False) -> None:
        self.ledger = OrderLedger()
        self.view = AccountView(ledger=self.ledger)
        self.order: TrackedOrder = tracked("T1", intent=order_intent(quantity="1", price="100"))
        self.order.is_in_flow = is_in_flow
        self.ledger.reserve(self.order)
        if phase is Phase.WORKING:
            self.ledger.acknowledge("T1", "x1")
        self.view.trust_keeper.stream_up(at_ns=NOW_NS)
        self.read()

    def seen(self, status: str = "New", filled: str = "0", **changed: object) -> OrderSeen:
        seen = replace(seen_of(self.order.intent, "T1", "x1"), status=status, filled=Decimal(filled), value=None)
        return replace(seen, **changed)  # type: ignore[arg-type]

    def hear(self, seen: OrderSeen | ExecutionSeen | WalletSeen | PositionSeen) -> list[Change]:
        return self.view.hear(seen, now_ns=NOW_NS)

    def read(
        self, *, wallet: WalletSeen = WALLET, positions: tuple[PositionSeen, ...] = (), at_ns: int = NOW_NS
    ) -> None:
        reading = self.view.begin_reading(now_ns=at_ns)
        self.view.end_reading(reading, wallet=wallet, positions=positions, marks=self.ledger.fill_marks(), now_ns=at_ns)

    def is_trusted(self, *, at_ns: int = NOW_NS) -> bool:
        return isinstance(self.view.trust(now_ns=at_ns), Trusted)


def execution(number: int = 1, quantity: str = "0.4", **changed: object) -> ExecutionSeen:
    seen = ExecutionSeen(
        execution_id=f"e{number}",
        category=Category.SPOT,
        symbol="BTCUSDT",
        order_id="x1",
        tag="T1",
        quantity=Decimal(quantity),
        price=Decimal(99),
        is_trade=True,
    )
    return replace(seen, **changed)  # type: ignore[arg-type]


def quantities(changes: list[Change]) -> list[Decimal]:
    return [change.quantity for change in changes if isinstance(change, Filled)]


def test_view_fill_is_told_once_whoever_tells_it() -> None:
    it = Scene()
    assert quantities(it.hear(it.seen("PartiallyFilled", "0.4"))) == [Decimal("0.4")]
    assert it.hear(execution(1)) == []
    assert it.hear(it.seen("PartiallyFilled", "0.4")) == []
    assert quantities(it.hear(execution(2, "0.3"))) == [Decimal("0.3")]
    assert it.hear(execution(2, "0.3")) == []
    assert it.order.filled == Decimal("0.7")


def test_view_fill_has_the_price_of_its_execution() -> None:
    it = Scene()
    (change,) = it.hear(execution())
    assert isinstance(change, Filled)
    assert change.price == Decimal(99)


def test_view_fill_told_by_the_order_has_the_price_of_its_value() -> None:
    it = Scene()
    (first,) = it.hear(it.seen("PartiallyFilled", "0.5", value=Decimal(49)))
    (second,) = it.hear(it.seen("PartiallyFilled", "0.75", value=Decimal(74)))
    assert isinstance(first, Filled)
    assert isinstance(second, Filled)
    assert (first.price, second.price) == (Decimal(98), Decimal(100))


def test_view_order_whose_executions_are_its_whole_has_ended() -> None:
    it = Scene()
    changes = it.hear(execution(1, "1"))
    assert [type(change) for change in changes] == [Filled, Ended]
    assert it.order.phase is Phase.FINISHED
    assert it.hear(it.seen("Filled", "1")) == []


def test_view_late_new_does_not_revive_an_ended_order() -> None:
    it = Scene()
    it.hear(it.seen("Cancelled"))
    assert it.hear(it.seen("New")) == []
    assert it.ledger.open_count() == 0


def test_view_fill_after_the_end_still_counts() -> None:
    it = Scene()
    it.hear(it.seen("Cancelled"))
    assert quantities(it.hear(execution())) == [Decimal("0.4")]
    assert [order.claim for order in it.ledger.claims()] == [Decimal("0.4")]


@pytest.mark.parametrize("is_in_flow", [True, False])
def test_view_unknown_order_that_the_stream_shows_works(is_in_flow: bool) -> None:
    it = Scene(phase=Phase.UNRESOLVED, is_in_flow=is_in_flow)
    it.order.is_outcome_unknown = True
    assert not it.is_trusted()
    changes = it.hear(it.seen())
    assert it.order.phase is Phase.WORKING
    assert it.order.order_id == "x1"
    assert [type(change) for change in changes] == ([] if is_in_flow else [Appeared])
    assert it.is_trusted()


def test_view_unknown_order_that_the_stream_shows_cancelled_has_ended() -> None:
    it = Scene(phase=Phase.UNRESOLVED)
    assert [type(change) for change in it.hear(it.seen("Cancelled"))] == [Ended]
    assert it.ledger.find(order_id="x1", client_link_id=None) is it.order


def test_view_order_taken_for_not_placed_and_shown_live_appears_and_is_disowned() -> None:
    it = Scene(phase=Phase.UNRESOLVED)
    it.ledger.finish("T1", status="NotFound")
    assert [type(change) for change in it.hear(it.seen())] == [Appeared]
    assert it.order.is_disowned


def test_view_order_rejected_at_once_and_shown_so_later_changes_nothing() -> None:
    it = Scene(phase=Phase.UNRESOLVED)
    it.ledger.finish("T1", status="Rejected")
    assert it.hear(it.seen("Rejected")) == []
    assert not it.order.is_disowned


@pytest.mark.parametrize(
    "changed",
    [
        {"symbol": "ETHUSDT"},
        {"side": Side.SELL},
        {"quantity": Decimal(2)},
        {"price": Decimal(101)},
        {"category": Category.LINEAR},
        {"filled": Decimal("1.1")},
    ],
)
def test_view_order_shown_otherwise_than_it_was_sent_is_distrusted(changed: dict[str, object]) -> None:
    it = Scene()
    it.hear(it.seen(**changed))  # type: ignore[arg-type]
    assert not it.is_trusted()


def test_view_executions_beyond_the_quantity_are_distrusted() -> None:
    it = Scene()
    it.hear(execution(1, "1.1"))
    assert not it.is_trusted()


@pytest.mark.parametrize("changed", [{"tag": ""}, {"tag": "unknown"}, {"is_trade": False}, {"symbol": "ETHUSDT"}])
def test_view_execution_of_nobody_here_changes_nothing(changed: dict[str, object]) -> None:
    it = Scene()
    assert it.hear(execution(**changed)) == []  # type: ignore[arg-type]
    assert it.order.filled == 0


def test_view_wallet_keeps_coins_that_a_message_leaves_out() -> None:
    it = Scene()
    it.hear(WalletSeen(coins={"USDT": Decimal(50)}, equity_usdt=None, at_ms=1001))
    assert it.view.coins == {"BTC": Decimal(1), "USDT": Decimal(50)}
    assert it.view.equity_usdt == Decimal(130)


def test_view_wallet_that_is_older_than_what_is_known_is_ignored() -> None:
    it = Scene()
    it.hear(WalletSeen(coins={"BTC": Decimal(9)}, equity_usdt=Decimal(9), at_ms=999))
    assert it.view.coins["BTC"] == 1
    assert it.view.equity_usdt == Decimal(130)


def test_view_position_that_is_older_than_what_is_known_is_ignored() -> None:
    it = Scene()
    it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(1), sequence=8))
    it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(5), sequence=7))
    assert it.view.positions == {"BTCUSDT": Decimal(1)}
    it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(0), sequence=9))
    assert it.view.positions == {}


def test_view_reading_replaces_what_the_stream_had_lost() -> None:
    it = Scene()
    it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(1), sequence=8))
    it.read(wallet=replace(WALLET, coins={"USDT": Decimal(7)}), at_ns=2 * NOW_NS)
    assert it.view.coins == {"USDT": Decimal(7)}
    assert it.view.positions == {}


def test_view_reading_keeps_what_the_stream_said_meanwhile_and_newer() -> None:
    it = Scene()
    reading = it.view.begin_reading(now_ns=2 * NOW_NS)
    it.hear(WalletSeen(coins={"BTC": Decimal(3)}, equity_usdt=None, at_ms=2001))
    it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(3), sequence=9))
    it.view.end_reading(
        reading,
        wallet=replace(WALLET, at_ms=2000),
        positions=(PositionSeen(symbol="BTCUSDT", size=Decimal(2), sequence=8),),
        marks={},
        now_ns=2 * NOW_NS,
    )
    assert it.view.coins["BTC"] == 3
    assert it.view.positions == {"BTCUSDT": Decimal(3)}
    assert it.is_trusted(at_ns=2 * NOW_NS + 2 * SETTLE_NS)


@pytest.mark.parametrize("is_told", [True, False])
def test_view_reading_that_the_stream_does_not_confirm_is_a_gap(is_told: bool) -> None:
    it = Scene()
    told = replace(WALLET, coins={"BTC": Decimal(2), "USDT": Decimal(100)}, at_ms=2000)
    it.read(wallet=told, at_ns=2 * NOW_NS)
    assert it.is_trusted(at_ns=2 * NOW_NS)
    if is_told:
        it.hear(replace(told, at_ms=1999))
    assert it.is_trusted(at_ns=2 * NOW_NS + SETTLE_NS + 1) is is_told


def test_view_gap_ends_with_a_reading_that_agrees() -> None:
    it = Scene()
    it.read(positions=(PositionSeen(symbol="BTCUSDT", size=Decimal(1), sequence=1),), at_ns=2 * NOW_NS)
    trust = it.view.trust(now_ns=4 * NOW_NS)
    assert isinstance(trust, Untrusted)
    assert "position BTCUSDT" in trust.reason
    it.read(positions=(PositionSeen(symbol="BTCUSDT", size=Decimal(1), sequence=1),), at_ns=5 * NOW_NS)
    assert it.is_trusted(at_ns=5 * NOW_NS)


def test_view_order_of_somebody_else_counts_until_its_end() -> None:
    it = Scene()
    other = replace(it.seen(), tag="", order_id="y1")
    it.hear(other)
    it.hear(replace(other, status="PartiallyFilled", filled=Decimal("0.2")))
    it.hear(other)
    (held,) = it.view.foreign_orders
    assert held.filled == Decimal("0.2")
    it.hear(replace(other, status="Cancelled"))
    it.hear(other)
    assert it.view.foreign_orders == ()


def test_view_too_many_orders_of_others_are_distrusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "MAX_FOREIGN_ORDERS", 2)
    it = Scene()
    for number in range(2):
        it.hear(replace(it.seen(), tag="", order_id=f"y{number}"))
    assert it.is_trusted()
    it.hear(replace(it.seen(), tag="", order_id="y9"))
    assert not it.is_trusted()


def test_view_reading_of_spot_alone_leaves_positions_as_they_were() -> None:
    it = Scene()
    it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(2), sequence=1))
    reading = it.view.begin_reading(now_ns=NOW_NS)
    it.view.end_reading(reading, wallet=WALLET, positions=None, marks={}, now_ns=NOW_NS)
    assert it.view.positions == {"BTCUSDT": Decimal(2)}


@pytest.mark.parametrize("equity", [None, Decimal(0), Decimal("-0.01")])
def test_view_reading_without_an_equity_above_zero_leaves_none(equity: Decimal | None) -> None:
    it = Scene()
    it.read(wallet=replace(WALLET, equity_usdt=equity, coins={"BTC": Decimal(2), "USDT": Decimal(100)}))
    assert it.view.equity_usdt is None
    assert it.view.coins["BTC"] == 2
    it.read(wallet=replace(WALLET, equity_usdt=Decimal("0.01")))
    assert it.view.equity_usdt == Decimal("0.01")


@pytest.mark.parametrize("equity", [Decimal(0), Decimal(-1)])
def test_view_message_of_an_equity_that_is_not_above_zero_leaves_none(equity: Decimal) -> None:
    it = Scene()
    it.hear(WalletSeen(coins={}, equity_usdt=equity, at_ms=1001))
    assert it.view.equity_usdt is None


@pytest.mark.parametrize(
    ("heard", "heard_at_ms", "read", "found"),
    [
        ("7", 2001, "130", "7"),  # told after what was read
        ("7", 2001, None, "7"),
        ("7", 2000, "130", "130"),
        ("7", 1999, None, None),
        (None, 2001, "131", "131"),  # a message that says nothing of it
        (None, 2001, None, None),
    ],
)
def test_view_reading_keeps_the_equity_that_the_stream_told_meanwhile_when_it_is_newer(
    heard: str | None, heard_at_ms: int, read: str | None, found: str | None
) -> None:
    def amount(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    it = Scene()
    reading = it.view.begin_reading(now_ns=2 * NOW_NS)
    it.hear(WalletSeen(coins={}, equity_usdt=amount(heard), at_ms=heard_at_ms))
    wallet = replace(WALLET, at_ms=2000, equity_usdt=amount(read))
    it.view.end_reading(reading, wallet=wallet, positions=(), marks={}, now_ns=2 * NOW_NS)
    assert it.view.equity_usdt == amount(found)


def test_view_equity_told_before_a_reading_yields_to_it_whatever_its_time() -> None:
    it = Scene()
    it.hear(WalletSeen(coins={}, equity_usdt=Decimal(7), at_ms=5000))
    it.read(wallet=replace(WALLET, at_ms=2000))
    assert it.view.equity_usdt == 130


def test_view_remembers_executions_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "MAX_REMEMBERED", 2)
    it = Scene()
    for number in range(3):
        it.hear(execution(number, "0.1"))
    assert it.hear(execution(2, "0.1")) == []
    assert it.hear(execution(1, "0.1")) == []


def test_view_fill_that_came_while_the_wallet_was_asked_for_is_claimed_on() -> None:
    it = Scene()
    reading = it.view.begin_reading(now_ns=NOW_NS)
    marks = it.ledger.fill_marks()
    it.hear(it.seen("Filled", "1"))
    it.view.end_reading(reading, wallet=WALLET, positions=(), marks=marks, now_ns=NOW_NS)
    assert [order.claim for order in it.ledger.claims()] == [Decimal(1)]
    it.read()
    assert list(it.ledger.claims()) == []


def test_view_order_of_somebody_else_that_came_while_orders_were_asked_for_stays() -> None:
    it = Scene()
    reading = it.view.begin_reading(now_ns=NOW_NS)
    it.hear(replace(it.seen(), tag="", order_id="y1"))
    it.view.read_open_orders(Category.SPOT, [], reading, now_ns=NOW_NS)
    assert [order.order_id for order in it.view.foreign_orders] == ["y1"]
    it.view.read_open_orders(Category.SPOT, [], it.view.begin_reading(now_ns=NOW_NS), now_ns=NOW_NS)
    assert it.view.foreign_orders == ()


@pytest.mark.parametrize("is_told", [True, False])
def test_view_fill_that_a_reading_shows_first_must_be_told_by_the_stream(is_told: bool) -> None:
    it = Scene()
    reading = it.view.begin_reading(now_ns=NOW_NS)
    changes = it.view.read_open_orders(
        Category.SPOT, [it.seen("PartiallyFilled", "0.4", value=Decimal(36))], reading, now_ns=NOW_NS
    )
    assert [(change.quantity, change.price) for change in changes if isinstance(change, Filled)] == [
        (Decimal("0.4"), Decimal(90))
    ]
    if is_told:
        it.hear(it.seen("PartiallyFilled", "0.4"))
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1) is is_told


@pytest.mark.parametrize("is_told", [True, False])
def test_view_execution_that_a_reading_shows_first_must_be_told_by_the_stream(is_told: bool) -> None:
    it = Scene()
    assert quantities(it.view.read_execution(execution(), now_ns=NOW_NS)) == [Decimal("0.4")]
    assert it.view.read_execution(execution(), now_ns=NOW_NS) == []
    if is_told:
        it.hear(it.seen("PartiallyFilled", "0.4"))
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1) is is_told


@pytest.mark.parametrize("is_told", [True, False])
def test_view_end_that_a_question_shows_first_must_be_told_by_the_stream(is_told: bool) -> None:
    it = Scene()
    changes = it.view.read_order(it.order, order_id="x1", status="Cancelled", filled=Decimal(0), now_ns=NOW_NS)
    assert changes == [Ended(order=it.order, status="Cancelled")]
    assert it.ledger.open_count() == 0
    if is_told:
        it.hear(it.seen("Cancelled"))
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS)
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1) is is_told


def test_view_fill_that_a_flow_found_out_is_counted_once_at_the_orders_price() -> None:
    it = Scene()
    it.ledger.observe("T1", status="PartiallyFilled", filled=Decimal("0.4"))
    (change,) = it.view.count_fills(now_ns=NOW_NS)
    assert change == Filled(order=it.order, quantity=Decimal("0.4"), price=Decimal(100), total=Decimal("0.4"))
    assert it.view.count_fills(now_ns=NOW_NS) == []


@pytest.mark.parametrize("is_told", [True, False])
def test_view_order_of_somebody_else_that_a_reading_shows_first_must_be_told_by_the_stream(is_told: bool) -> None:
    it = Scene()
    other = replace(it.seen(), tag="", order_id="y1")
    it.view.read_open_orders(Category.SPOT, [other], it.view.begin_reading(now_ns=NOW_NS), now_ns=NOW_NS)
    assert it.view.foreign_orders == (other,)
    if is_told:
        it.hear(other)
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS)
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1) is is_told


def test_view_order_of_somebody_else_that_a_reading_shows_unchanged_is_no_news() -> None:
    it = Scene()
    other = replace(it.seen("PartiallyFilled", "0.2"), tag="", order_id="y1")
    it.hear(other)
    it.view.read_open_orders(Category.SPOT, [other], it.view.begin_reading(now_ns=NOW_NS), now_ns=NOW_NS)
    assert it.view.foreign_orders == (other,)
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


def test_view_wallet_message_brings_its_equity() -> None:
    it = Scene()
    it.hear(WalletSeen(coins={}, equity_usdt=Decimal(77), at_ms=1000))
    assert it.view.equity_usdt == Decimal(77)


def test_view_wallet_read_after_a_message_of_the_meantime_counts_when_it_is_newer() -> None:
    it = Scene()
    reading = it.view.begin_reading(now_ns=NOW_NS)
    it.hear(WalletSeen(coins={"BTC": Decimal(3)}, equity_usdt=None, at_ms=2000))
    newer = replace(WALLET, coins={"BTC": Decimal(4)}, at_ms=2000)
    it.view.end_reading(reading, wallet=newer, positions=(), marks={}, now_ns=NOW_NS)
    assert it.view.coins == {"BTC": Decimal(4)}
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


def test_view_has_the_bounds_that_were_decided() -> None:
    assert (view_module.MAX_FOREIGN_ORDERS, view_module.MAX_REMEMBERED) == (1_000, 20_000)


@pytest.mark.parametrize(
    ("is_in_flow", "is_outcome_unknown", "is_trusted"),
    [(True, False, True), (True, True, False), (False, False, False), (False, True, False)],
)
def test_view_is_trusted_while_an_order_is_merely_on_its_way(
    is_in_flow: bool, is_outcome_unknown: bool, is_trusted: bool
) -> None:
    it = Scene(phase=Phase.UNRESOLVED, is_in_flow=is_in_flow)
    it.order.is_outcome_unknown = is_outcome_unknown
    assert it.is_trusted() is is_trusted


@pytest.mark.parametrize("is_told", [True, False])
def test_view_end_of_somebody_elses_order_that_a_reading_shows_first_must_be_told(is_told: bool) -> None:
    it = Scene()
    other = replace(it.seen(), tag="", order_id="y1")
    it.hear(other)
    it.view.read_open_orders(Category.SPOT, [], it.view.begin_reading(now_ns=NOW_NS), now_ns=NOW_NS)
    if is_told:
        it.hear(replace(other, status="Cancelled"))
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1) is is_told


def test_view_order_taken_for_not_placed_and_shown_cancelled_with_a_fill_was_live() -> None:
    it = Scene(phase=Phase.UNRESOLVED)
    it.ledger.finish("T1", status="NotFound")
    changes = it.hear(it.seen("Cancelled", "0.4"))
    assert [type(change) for change in changes] == [Appeared, Filled, Ended]


def test_view_order_has_the_status_that_the_stream_tells() -> None:
    it = Scene()
    it.hear(it.seen("PartiallyFilled", "0.4"))
    assert it.order.status == "PartiallyFilled"


def test_view_order_that_fills_exactly_its_quantity_is_no_reason_for_distrust() -> None:
    it = Scene()
    it.hear(it.seen("Filled", "1"))
    assert it.is_trusted()


def test_view_fills_of_one_order_each_have_the_price_of_what_they_added() -> None:
    it = Scene()
    prices = [
        change.price
        for filled, value in (("0.001", "0.09"), ("0.5", "45.41"), ("0.75", "69.91"))
        for change in it.hear(it.seen("PartiallyFilled", filled, value=Decimal(value)))
        if isinstance(change, Filled)
    ]
    assert prices[0] == 90
    assert prices[1] == Decimal("45.32") / Decimal("0.499")
    assert prices[2] == 98


def test_view_execution_makes_an_unknown_order_work_when_it_names_it() -> None:
    it = Scene(phase=Phase.UNRESOLVED)
    it.hear(execution(1, "0.1", order_id=""))
    assert it.order.phase is Phase.UNRESOLVED
    it.hear(execution(2, "0.1"))
    assert it.order.phase is Phase.WORKING


@pytest.mark.parametrize("status", ["PartiallyFilled", "Filled"])
def test_view_fill_that_a_reading_shows_first_may_be_told_by_its_execution(status: str) -> None:
    it = Scene()
    quantity = "0.4" if status == "PartiallyFilled" else "1"
    it.view.read_order(it.order, order_id="x1", status=status, filled=Decimal(quantity), now_ns=NOW_NS)
    it.hear(execution(1, quantity))
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


def test_view_news_of_an_order_of_others_is_taken_at_the_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "MAX_FOREIGN_ORDERS", 1)
    it = Scene()
    other = replace(it.seen(), tag="", order_id="y1")
    it.hear(other)
    it.hear(replace(other, status="PartiallyFilled", filled=Decimal("0.2")))
    assert [order.filled for order in it.view.foreign_orders] == [Decimal("0.2")]
    assert it.is_trusted()


def test_view_wallet_message_that_is_old_and_says_otherwise_explains_nothing() -> None:
    it = Scene()
    it.read(wallet=replace(WALLET, coins={"BTC": Decimal(2), "USDT": Decimal(100)}, at_ms=2000))
    it.hear(WalletSeen(coins={"BTC": Decimal(9)}, equity_usdt=None, at_ms=1999))
    assert not it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


@pytest.mark.parametrize(("size", "is_trusted"), [(1, True), (2, False)])
def test_view_position_that_a_reading_shows_first_must_be_told_by_the_stream(size: int, is_trusted: bool) -> None:
    it = Scene()
    it.read(positions=(PositionSeen(symbol="BTCUSDT", size=Decimal(1), sequence=5),))
    it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(size), sequence=4))
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1) is is_trusted


def test_view_position_of_the_same_sequence_is_as_new() -> None:
    it = Scene()
    for size in (1, 2):
        it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(size), sequence=5))
    assert it.view.positions == {"BTCUSDT": Decimal(2)}
    assert [held.size for held in it.view.held_positions] == [Decimal(2)]
    it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(0), sequence=6))
    assert it.view.held_positions == ()


def test_view_lost_trust_is_not_regained_by_a_reading_that_differs() -> None:
    it = Scene()
    it.view.trust_keeper.distrust("nonsense", at_ns=NOW_NS)
    changed = replace(WALLET, coins={"BTC": Decimal(2), "USDT": Decimal(100)}, at_ms=2000)
    it.read(wallet=changed)
    assert not it.is_trusted()
    it.read(wallet=changed)
    assert it.is_trusted()


def test_view_counts_an_execution_again_that_its_bounded_memory_has_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "MAX_REMEMBERED", 1)
    it = Scene()
    for number in range(2):
        it.hear(execution(number, "0.1"))
    assert quantities(it.hear(execution(0, "0.1"))) == [Decimal("0.1")]


def test_view_takes_the_first_wallet_message_before_any_reading_and_whatever_its_time() -> None:
    view = AccountView(ledger=OrderLedger())
    view.hear(replace(WALLET, at_ms=0), now_ns=NOW_NS)
    assert view.coins == WALLET.coins


def test_view_notes_nothing_more_in_a_reading_that_has_ended() -> None:
    it = Scene()
    reading = it.view.begin_reading(now_ns=NOW_NS)
    it.view.end_reading(reading, wallet=WALLET, positions=(), marks={}, now_ns=NOW_NS)
    it.hear(it.seen(tag="", order_id="y1"))
    assert reading.heard_orders == set()


@pytest.mark.parametrize("status", ["New", "Cancelled"])
def test_view_order_keeps_the_id_that_it_was_acknowledged_with(status: str) -> None:
    it = Scene()
    it.hear(it.seen(status, order_id="x2"))
    assert it.order.order_id == "x1"


def test_view_whole_execution_that_does_not_name_its_order_leaves_its_outcome_unknown() -> None:
    it = Scene(phase=Phase.UNRESOLVED)
    it.hear(execution(1, "1", order_id=""))
    assert it.order.phase is Phase.UNRESOLVED
    assert not it.is_trusted()


def test_view_end_that_the_stream_has_told_stays_told_when_an_older_message_follows() -> None:
    it = Scene()
    it.hear(it.seen("Cancelled"))
    it.view.read_order(it.order, order_id="x1", status="Cancelled", filled=Decimal("0.4"), now_ns=NOW_NS)
    it.hear(it.seen("PartiallyFilled", "0.4"))
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


def test_view_execution_that_the_stream_repeats_tells_of_no_other_that_a_reading_has_shown() -> None:
    it = Scene()
    for number in range(2):
        it.view.read_execution(execution(number), now_ns=NOW_NS)
    it.hear(execution(0))
    assert not it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


def test_view_message_of_the_stream_that_is_behind_what_a_flow_found_out_is_no_gap() -> None:
    it = Scene()
    it.ledger.observe("T1", status="PartiallyFilled", filled=Decimal("0.7"))
    assert quantities(it.hear(it.seen("PartiallyFilled", "0.4"))) == [Decimal("0.4")]
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


def test_view_order_of_somebody_else_is_not_told_by_being_read_twice() -> None:
    it = Scene()
    for _ in range(2):
        other = it.seen(tag="", order_id="y1")
        it.view.read_open_orders(Category.SPOT, [other], it.view.begin_reading(now_ns=NOW_NS), now_ns=NOW_NS)
    assert not it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


def test_view_order_of_somebody_else_is_known_as_it_was_amended() -> None:
    it = Scene()
    it.hear(it.seen(tag="", order_id="y1"))
    amended = it.seen(tag="", order_id="y1", quantity=Decimal(2))
    it.hear(amended)
    assert it.view.foreign_orders == (amended,)


@pytest.mark.parametrize("is_told", [True, False])
def test_view_fill_of_somebody_elses_order_that_a_reading_shows_first_must_be_told(is_told: bool) -> None:
    it = Scene()
    it.hear(it.seen(tag="", order_id="y1"))
    more = it.seen("PartiallyFilled", "0.2", tag="", order_id="y1")
    it.view.read_open_orders(Category.SPOT, [more], it.view.begin_reading(now_ns=NOW_NS), now_ns=NOW_NS)
    if is_told:
        it.hear(more)
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1) is is_told


def test_view_reading_while_the_stream_was_silent_counts_whatever_its_time() -> None:
    it = Scene()
    it.hear(replace(WALLET, coins={"BTC": Decimal(3)}, at_ms=2000))
    it.read(wallet=replace(WALLET, at_ms=1999))
    assert it.view.coins == WALLET.coins
    assert not it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


@pytest.mark.parametrize("coins", [{"BTC": 1}, {"BTC": 1, "USDT": 100, "ETH": 1}])
def test_view_coin_that_only_the_reading_or_only_the_stream_knows_is_a_gap(coins: dict[str, int]) -> None:
    it = Scene()
    it.read(wallet=replace(WALLET, coins={coin: Decimal(amount) for coin, amount in coins.items()}))
    assert not it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)


@pytest.mark.parametrize(("listed", "size"), [((), 3), ((8,), 3), ((9,), 2), ((10,), 2)])
def test_view_position_told_while_positions_were_asked_for_stays_unless_the_list_is_as_new(
    listed: tuple[int, ...], size: int
) -> None:
    it = Scene()
    reading = it.view.begin_reading(now_ns=NOW_NS)
    it.hear(PositionSeen(symbol="BTCUSDT", size=Decimal(3), sequence=9))
    positions = [PositionSeen(symbol="BTCUSDT", size=Decimal(2), sequence=number) for number in listed]
    it.view.end_reading(reading, wallet=WALLET, positions=positions, marks={}, now_ns=NOW_NS)
    assert it.view.positions == {"BTCUSDT": Decimal(size)}
    assert it.is_trusted(at_ns=NOW_NS + SETTLE_NS + 1)
