"""What a sweep does next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from trade_killswitch.sweep_plan import CALLS_A_ROUND, Call, CancelOne, CancelPlain, Plan, Reading, plan
from trade_killswitch.working_orders import BOOKS, SHELVES, SPOT, Book, OrderFilter, Shelf, WorkingOrder

_, USDT, USDC, INVERSE = BOOKS


NONE = {
    **{f"spot:{one.value}": 0 for one in OrderFilter},
    **{f"{book}:{kind}": 0 for book in ("linear/USDT", "linear/USDC", "inverse") for kind in ("Order", "StopOrder")},
}


def order(order_id: str, book: Book = USDT, **changed: object) -> WorkingOrder:
    plain = WorkingOrder(
        book=book,
        symbol="XRPUSDT",
        order_id=order_id,
        order_filter=OrderFilter.ORDER,
        is_conditional=False,
        is_reducing=False,
        is_waiting=False,
    )
    return replace(plain, **changed)  # type: ignore[arg-type]


def stop(order_id: str, book: Book = USDT, *, has_triggered: bool = False) -> WorkingOrder:
    return order(
        order_id,
        book,
        order_filter=OrderFilter.STOP,
        is_conditional=True,
        is_reducing=True,
        is_waiting=not has_triggered,
    )


def waiting(order_id: str, book: Book = USDT, kind: OrderFilter = OrderFilter.STOP) -> WorkingOrder:
    """An order that waits for its trigger and adds risk."""
    return order(order_id, book, order_filter=kind, is_conditional=True, is_waiting=True)


def planned(*orders: WorkingOrder, unread: Sequence[Shelf] = ()) -> Plan:
    """Plan for orders that the list of all kinds of their book shows."""
    readings = []
    for shelf in SHELVES:
        shown = [one for one in orders if one.book == shelf.book and shelf.order_filter is None]
        readings.append(Reading(shelf=shelf, orders=None if shelf in unread else tuple(shown)))
    return plan(readings)


def calls(*orders: WorkingOrder, unread: Sequence[Shelf] = ()) -> list[Call]:
    return list(planned(*orders, unread=unread).calls)


def test_empty_books_are_proved_and_call_nothing() -> None:
    assert planned() == Plan(calls=(), working=0, by_kind=NONE, kept=(), unread=())
    assert planned().is_proved is True


def test_orders_that_must_go_are_counted_by_their_kind_and_stops_are_not() -> None:
    shown = (order("1"), order("2"), waiting("3"), stop("4"), order("5", SPOT), waiting("6", SPOT, OrderFilter.OCO))
    found = planned(*shown)
    some = {"linear/USDT:Order": 2, "linear/USDT:StopOrder": 1, "spot:Order": 1, "spot:OcoOrder": 1}
    assert found.by_kind == {**NONE, **some}
    assert found.working == sum(found.by_kind.values())


def test_kind_that_was_not_read_is_no_proof_of_none_and_is_counted_where_it_shows() -> None:
    unread = [Shelf(book=SPOT, order_filter=OrderFilter.OCO), Shelf(book=SPOT, order_filter=OrderFilter.TPSL)]
    found = planned(waiting("6", SPOT, OrderFilter.OCO), unread=unread)
    without = {name: count for name, count in NONE.items() if name not in ("spot:OcoOrder", "spot:tpslOrder")}
    assert found.by_kind == {**without, "spot:OcoOrder": 1}


@pytest.mark.parametrize("book", BOOKS[:3], ids=lambda book: book.name)
def test_plain_orders_of_a_book_go_with_one_call(book: Book) -> None:
    found = planned(order("1", book), order("2", book, is_reducing=True))
    assert found.calls == (CancelPlain(book=book),)
    assert found.working == 2
    assert found.is_proved is False


def test_plain_orders_of_inverse_contracts_go_one_by_one() -> None:
    first, second = order("1", INVERSE), order("2", INVERSE)
    assert calls(first, second) == [CancelOne(order=first), CancelOne(order=second)]


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.name)
@pytest.mark.parametrize("kind", list(OrderFilter)[1:], ids=str)
def test_waiting_order_that_adds_risk_goes_by_its_id(book: Book, kind: OrderFilter) -> None:
    one = waiting("1", book, kind)
    assert calls(one) == [CancelOne(order=one)]


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.name)
def test_protective_stop_alone_is_kept_and_proves_the_book(book: Book) -> None:
    found = planned(stop("1", book))
    assert found == Plan(calls=(), working=0, by_kind=found.by_kind, kept=(stop("1", book),), unread=())
    assert found.is_proved is True


def test_stop_stays_while_the_plain_orders_beside_it_go_with_one_call() -> None:
    found = planned(order("1"), stop("2"), waiting("3"))
    assert found.calls == (CancelPlain(book=USDT), CancelOne(order=waiting("3")))
    assert found.kept == (stop("2"),)
    assert found.working == 2


def test_plain_orders_beside_a_triggered_stop_go_one_by_one() -> None:
    found = planned(order("1"), stop("2", has_triggered=True), stop("3"), order("4"))
    assert found.calls == (CancelOne(order=order("1")), CancelOne(order=order("4")))
    assert len(found.kept) == 2


def test_triggered_stop_changes_nothing_for_other_books() -> None:
    found = calls(order("1", SPOT), order("2", USDC), stop("3", has_triggered=True))
    assert found == [CancelPlain(book=SPOT), CancelPlain(book=USDC)]


@pytest.mark.parametrize("book", BOOKS[:3], ids=lambda book: book.name)
def test_book_whose_list_of_all_kinds_cannot_be_read_is_cancelled_unread(book: Book) -> None:
    found = planned(unread=[Shelf(book=book)])
    assert found == Plan(
        calls=(CancelPlain(book=book),), working=0, by_kind=found.by_kind, kept=(), unread=(Shelf(book=book),)
    )
    assert found.is_proved is False


def test_inverse_that_cannot_be_read_proves_nothing_and_calls_nothing() -> None:
    found = planned(unread=[Shelf(book=INVERSE)])
    assert found.calls == ()
    assert found.is_proved is False


def test_list_of_one_kind_that_cannot_be_read_proves_nothing_and_cancels_nothing_unread() -> None:
    found = planned(unread=[Shelf(book=SPOT, order_filter=OrderFilter.OCO)])
    assert found.calls == ()
    assert found.is_proved is False


def test_unread_book_is_cancelled_at_once_although_a_triggered_stop_was_seen() -> None:
    shelf = Shelf(book=USDT, order_filter=OrderFilter.STOP)
    readings = [Reading(shelf=one, orders=()) for one in SHELVES if one not in {shelf, Shelf(book=USDT)}]
    readings.append(Reading(shelf=shelf, orders=(stop("1", has_triggered=True), waiting("2"))))
    found = plan(readings)
    assert found.calls == (CancelPlain(book=USDT), CancelOne(order=waiting("2")))
    assert found.kept == (stop("1", has_triggered=True),)


def test_shelf_without_a_reading_is_unread() -> None:
    assert plan([]).unread == SHELVES
    assert plan([]).calls == tuple(CancelPlain(book=book) for book in BOOKS[:3])


def test_order_seen_on_two_shelves_is_one_order() -> None:
    both = [Shelf(book=SPOT), Shelf(book=SPOT, order_filter=OrderFilter.TPSL)]
    kind = waiting("1", SPOT, OrderFilter.TPSL)
    shown = {both[0]: (replace(kind, order_filter=OrderFilter.ORDER),), both[1]: (kind,)}
    found = plan([Reading(shelf=shelf, orders=shown.get(shelf, ())) for shelf in SHELVES])
    assert found.working == 1
    assert found.calls == (CancelOne(order=kind),)


def test_one_call_for_a_whole_book_comes_before_single_orders_of_any_book() -> None:
    found = calls(waiting("1", SPOT), order("2", USDC))
    assert found == [CancelPlain(book=USDC), CancelOne(order=waiting("1", SPOT))]


def test_calls_of_a_round_are_bounded_and_the_rest_still_counts() -> None:
    many = [order(str(number), INVERSE) for number in range(CALLS_A_ROUND + 5)]
    found = planned(*many)
    assert found.calls == tuple(CancelOne(order=one) for one in many[:CALLS_A_ROUND])
    assert found.working == CALLS_A_ROUND + 5
    assert CALLS_A_ROUND == 60
