"""Reading of orders, executions and records: filters, time windows and pages."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, Protocol, TypeVar

from trade_simulator.accounts import Account
from trade_simulator.instruments import Category
from trade_simulator.orders import (
    Execution,
    ExecutionQuery,
    Order,
    OrderQuery,
)
from trade_simulator.paging import Page, paginate
from trade_simulator.positions import ClosedPnl
from trade_simulator.records import (
    Deposit,
    RecordQuery,
    TransactionLog,
    Transfer,
    Withdrawal,
)
from trade_simulator.rejections import MISSING_FILTER, parameter_error

# The realtime page remembers this many closed orders.
REALTIME_CLOSED_MAX: Final = 500
WINDOW_MAX_MS: Final = 7 * 86_400_000
# Moves of money may be asked for thirty days at once.
MONEY_WINDOW_MAX_MS: Final = 30 * 86_400_000


class _Sequenced(Protocol):
    @property
    def seq(self) -> int: ...


R = TypeVar("R", bound=_Sequenced)


def working_orders(account: Account, query: OrderQuery) -> Page[Order]:
    """List working orders, or the last closed ones; a query by id finds both. Raises Rejected 10001."""
    by_id = bool(query.order_id or query.order_link_id)
    has_filter = bool(query.symbol or query.base_coin or query.settle_coin)
    if query.category is Category.LINEAR and not has_filter:
        raise MISSING_FILTER.error()
    if query.open_only not in {0, 1, 2}:
        raise parameter_error("openOnly invalid")
    working = [order for order in account.open_orders.values() if order.category is query.category]
    same_category = (order for order in reversed(account.closed_orders) if order.category is query.category)
    closed = list(islice(same_category, REALTIME_CLOSED_MAX))
    not_by_id = closed if query.open_only else working
    return _order_page(working + closed if by_id else not_by_id, query)


def order_history(account: Account, query: OrderQuery) -> Page[Order]:
    """List orders that have ended. Raises Rejected 10001."""
    check_window(query.start_ms, query.end_ms, maximum_ms=WINDOW_MAX_MS)
    chosen = [
        order
        for order in account.closed_orders
        if order.category is query.category and _within(order.created_at_ms, query.start_ms, query.end_ms)
    ]
    return _order_page(chosen, query)


def executions(account: Account, query: ExecutionQuery) -> Page[Execution]:
    """List executions. Raises Rejected 10001."""
    check_window(query.start_ms, query.end_ms, maximum_ms=WINDOW_MAX_MS)
    chosen = (
        one
        for one in reversed(account.executions)
        if one.category is query.category
        and _all_match(
            (query.symbol, one.symbol),
            (query.base_coin, one.base_coin),
            (query.settle_coin, one.settle_coin),
            (query.order_id, one.order_id),
            # An order id wins over a link id.
            ("" if query.order_id else query.order_link_id, one.order_link_id),
        )
        and (query.exec_type is None or query.exec_type is one.exec_type)
        and _within(one.executed_at_ms, query.start_ms, query.end_ms)
    )
    return _page(chosen, limit=query.limit, cursor=query.cursor)


def transaction_log(account: Account, query: RecordQuery) -> Page[TransactionLog]:
    """List ledger entries. Raises Rejected 10001."""
    check_window(query.start_ms, query.end_ms, maximum_ms=WINDOW_MAX_MS)
    chosen = (
        one
        for one in reversed(account.ledger)
        if (query.category is None or query.category is one.category)
        and (query.kind is None or query.kind is one.kind)
        and _all_match((query.coin, one.currency), (query.symbol, one.symbol))
        and (not query.base_coin or one.symbol.startswith(query.base_coin))
        and _within(one.at_ms, query.start_ms, query.end_ms)
    )
    return _page(chosen, limit=query.limit, cursor=query.cursor)


def closed_results(account: Account, query: RecordQuery) -> Page[ClosedPnl]:
    """List the results of closing orders. Raises Rejected 10001."""
    check_window(query.start_ms, query.end_ms, maximum_ms=WINDOW_MAX_MS)
    chosen = (
        one
        for one in reversed(account.closed_results.values())
        if _all_match((query.symbol, one.symbol)) and _within(one.updated_at_ms, query.start_ms, query.end_ms)
    )
    return _page(chosen, limit=query.limit, cursor=query.cursor)


def transfers(account: Account, query: RecordQuery, *, is_universal: bool) -> Page[Transfer]:
    """List transfers of one kind. Raises Rejected 10001."""
    check_window(query.start_ms, query.end_ms, maximum_ms=MONEY_WINDOW_MAX_MS)
    chosen = (
        one
        for one in reversed(account.transfers)
        if one.is_universal is is_universal
        and _all_match((query.record_id, one.transfer_id), (query.coin, one.coin))
        and _within(one.at_ms, query.start_ms, query.end_ms)
    )
    return _page(chosen, limit=query.limit, cursor=query.cursor)


def withdrawals(account: Account, query: RecordQuery) -> Page[Withdrawal]:
    """List withdrawals. Raises Rejected 10001."""
    check_window(query.start_ms, query.end_ms, maximum_ms=MONEY_WINDOW_MAX_MS)
    chosen = (
        one
        for one in reversed(account.withdrawals)
        if _all_match(
            (query.record_id, one.withdraw_id), (query.coin, one.coin), (query.transaction_id, one.transaction_id)
        )
        and _within(one.created_at_ms, query.start_ms, query.end_ms)
    )
    return _page(chosen, limit=query.limit, cursor=query.cursor)


def deposits(account: Account, query: RecordQuery) -> Page[Deposit]:
    """List deposits. Raises Rejected 10001."""
    check_window(query.start_ms, query.end_ms, maximum_ms=MONEY_WINDOW_MAX_MS)
    chosen = (
        one
        for one in reversed(account.deposits)
        if _all_match(
            (query.record_id, one.deposit_id), (query.coin, one.coin), (query.transaction_id, one.transaction_id)
        )
        and _within(one.at_ms, query.start_ms, query.end_ms)
    )
    return _page(chosen, limit=query.limit, cursor=query.cursor)


def check_window(start_ms: int | None, end_ms: int | None, *, maximum_ms: int) -> None:
    """Check that a time window is not upside down or too long. Raises Rejected 10001."""
    if start_ms is None or end_ms is None:
        return
    if start_ms > end_ms:
        raise parameter_error("startTime should not be after endTime")
    if end_ms - start_ms > maximum_ms:
        raise parameter_error(f"endTime - startTime should not exceed {maximum_ms // 86_400_000} days")


def _order_page(orders: Sequence[Order], query: OrderQuery) -> Page[Order]:
    chosen = [
        order
        for order in orders
        if _all_match(
            (query.symbol, order.symbol),
            (query.base_coin, order.base_coin),
            (query.settle_coin, order.settle_coin),
            (query.order_id, order.order_id),
            ("" if query.order_id else query.order_link_id, order.order_link_id),
        )
        and (query.order_filter is None or query.order_filter is order.order_filter)
        and (query.order_status is None or query.order_status is order.status)
    ]
    chosen.sort(key=lambda order: -order.seq)
    return _page(chosen, limit=query.limit, cursor=query.cursor)


def _page(newest_first: Iterable[R], *, limit: int, cursor: str) -> Page[R]:
    return paginate(newest_first, sequence_of=lambda record: record.seq, limit=limit, cursor=cursor)


def _all_match(*pairs: tuple[str, str]) -> bool:
    return all(not wanted or wanted == actual for wanted, actual in pairs)


def _within(at_ms: int, start_ms: int | None, end_ms: int | None) -> bool:
    return (start_ms is None or at_ms >= start_ms) and (end_ms is None or at_ms <= end_ms)
