"""What a sweep believes of the exchange's lists."""

from __future__ import annotations

from typing import Any

import pytest

from trade_core.errors import ExchangeAnswerInvalid
from trade_killswitch.working_orders import (
    BOOKS,
    SHELVES,
    SPOT,
    Book,
    Category,
    OrderFilter,
    Shelf,
    WorkingOrder,
    merged,
    parse_page,
)

LINEAR = Book(category=Category.LINEAR, settle_coin="USDT")


def row(**changed: Any) -> dict[str, Any]:
    """A plain order as the exchange lists it."""
    plain = {
        "orderId": "o1",
        "symbol": "XRPUSDT",
        "side": "Buy",
        "orderStatus": "New",
        "stopOrderType": "",
        "reduceOnly": False,
        "isLeverage": "0",
    }
    return {**plain, **changed}


def parsed(book: Book = LINEAR, order_filter: OrderFilter | None = None, **changed: Any) -> WorkingOrder:
    (order,) = parse_page([row(**changed)], Shelf(book=book, order_filter=order_filter))
    return order


def test_books_are_every_category_and_settle_coin_where_an_order_of_ours_could_be() -> None:
    assert [book.name for book in BOOKS] == ["spot", "linear/USDT", "linear/USDC", "inverse"]


def test_shelves_of_spot_are_all_kinds_together_and_each_alone() -> None:
    filters = [shelf.order_filter for shelf in SHELVES if shelf.book == SPOT]
    assert filters == [None, *OrderFilter]
    assert {kind.value for kind in OrderFilter} == {
        "Order",
        "StopOrder",
        "tpslOrder",
        "OcoOrder",
        "BidirectionalTpslOrder",
    }


@pytest.mark.parametrize("book", BOOKS[1:], ids=lambda book: book.name)
def test_shelves_of_derivatives_are_all_kinds_and_what_waits_for_a_trigger(book: Book) -> None:
    assert [shelf.order_filter for shelf in SHELVES if shelf.book == book] == [None, OrderFilter.STOP]


def test_plain_order_is_read_with_its_book_symbol_and_id() -> None:
    assert parsed() == WorkingOrder(
        book=LINEAR,
        symbol="XRPUSDT",
        order_id="o1",
        order_filter=OrderFilter.ORDER,
        is_conditional=False,
        is_reducing=False,
        is_waiting=False,
    )


@pytest.mark.parametrize("kind", list(OrderFilter), ids=str)
def test_order_of_a_filtered_list_is_of_that_kind(kind: OrderFilter) -> None:
    order = parsed(SPOT, kind)
    assert order.order_filter is kind
    assert order.is_conditional is (kind is not OrderFilter.ORDER)


@pytest.mark.parametrize("stop_type", ["Stop", "TakeProfit", "StopLoss", "tpslOrder", "OcoOrder", "something new"])
def test_order_with_a_stop_type_is_conditional_whatever_list_shows_it(stop_type: str) -> None:
    assert parsed(stopOrderType=stop_type).is_conditional is True


@pytest.mark.parametrize("stop_type", ["", "UNKNOWN", None, 1])
def test_order_without_a_stop_type_is_plain(stop_type: object) -> None:
    assert parsed(stopOrderType=stop_type).is_conditional is False


@pytest.mark.parametrize("value", [False, None, "true", 1, "True"])
def test_linear_order_reduces_only_when_the_exchange_says_true(value: object) -> None:
    assert parsed(reduceOnly=value).is_reducing is False
    assert parsed(reduceOnly=True).is_reducing is True


def test_linear_side_says_nothing_about_reducing() -> None:
    assert parsed(side="Sell").is_reducing is False


@pytest.mark.parametrize(
    ("side", "leverage", "expected"),
    [("Sell", "0", True), ("Sell", "1", False), ("Sell", "", False), ("Sell", None, False), ("Buy", "0", False)],
)
def test_spot_order_reduces_when_it_sells_without_borrowing(side: str, leverage: object, expected: bool) -> None:
    assert parsed(SPOT, side=side, isLeverage=leverage).is_reducing is expected


def test_spot_order_is_not_reducing_because_it_says_reduce_only() -> None:
    assert parsed(SPOT, reduceOnly=True).is_reducing is False


@pytest.mark.parametrize(
    ("conditional", "reducing", "expected"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_protective_is_what_has_a_trigger_and_only_reduces(conditional: bool, reducing: bool, expected: bool) -> None:
    order = parsed(stopOrderType="Stop" if conditional else "", reduceOnly=reducing)
    assert order.is_protective is expected


@pytest.mark.parametrize(("status", "expected"), [("Untriggered", True), ("New", False), ("Triggered", False)])
def test_waiting_is_what_has_not_triggered(status: str, expected: bool) -> None:
    assert parsed(orderStatus=status).is_waiting is expected


@pytest.mark.parametrize("status", ["Filled", "Cancelled", "Rejected", "PartiallyFilledCanceled", "Deactivated"])
def test_order_that_has_ended_is_left_out(status: str) -> None:
    assert parse_page([row(orderStatus=status)], Shelf(book=SPOT)) == []


@pytest.mark.parametrize("status", ["New", "PartiallyFilled", "Untriggered", "Triggered", "Invented", None])
def test_order_with_any_other_status_works(status: object) -> None:
    assert len(parse_page([row(orderStatus=status)], Shelf(book=SPOT))) == 1


@pytest.mark.parametrize("key", ["orderId", "symbol"])
@pytest.mark.parametrize("value", ["", None, 7, "x" * 65, "ü"])
def test_list_with_an_order_that_cannot_be_named_is_refused_by_the_name_of_the_field(key: str, value: object) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match=f"a listed order has no {key}"):
        parse_page([row(), row(**{key: value})], Shelf(book=SPOT))


@pytest.mark.parametrize("length", [1, 64])
def test_id_of_the_least_and_the_greatest_length_is_taken(length: int) -> None:
    assert parsed(orderId="x" * length).order_id == "x" * length


@pytest.mark.parametrize("rows", [None, {}, "list", 3])
def test_page_that_is_no_list_is_refused(rows: object) -> None:
    with pytest.raises(ExchangeAnswerInvalid, match="is no list"):
        parse_page(rows, Shelf(book=SPOT))


def test_page_that_holds_no_order_is_refused() -> None:
    with pytest.raises(ExchangeAnswerInvalid, match="something else"):
        parse_page([row(), "o2"], Shelf(book=SPOT))


def test_merged_knows_each_order_once_and_what_a_list_of_its_kind_says_wins() -> None:
    plain, kind = parsed(SPOT), parsed(SPOT, OrderFilter.TPSL)
    other = parsed(SPOT, orderId="o2")
    assert merged([[plain, other], [kind]]) == [kind, other]
    assert merged([[kind], [plain, other]]) == [kind, other]


def test_merged_keeps_the_first_of_two_kinds() -> None:
    first, second = parsed(SPOT, OrderFilter.STOP), parsed(SPOT, OrderFilter.OCO)
    assert merged([[first], [second]]) == [first]


def test_merged_takes_the_later_of_two_lists_of_plain_orders() -> None:
    first, second = parsed(SPOT), parsed(SPOT, side="Sell")
    assert merged([[first], [second]]) == [second]
