"""Matching: how an order meets the book, rests in it, and leaves it.

Guarantees: price-time priority; a fill is booked on both sides before the next one is looked for; an order
that ends holds nothing of the wallet; no single reduce-only order is larger than the position it reduces.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from trade_simulator.accounts import Account
from trade_simulator.book import OrderBook, Resting
from trade_simulator.floor import Floor, InstrumentKey
from trade_simulator.instruments import Category, Instrument
from trade_simulator.margin import refresh_order_margin, release_order_margin
from trade_simulator.orders import (
    ZERO,
    CancelType,
    ExecType,
    MarketUnit,
    Order,
    OrderStatus,
    OrderType,
    RejectReason,
    Side,
    TimeInForce,
)
from trade_simulator.settlement import Settlement, Trade


class TradeRecorder(Protocol):
    """Who writes down public trades."""

    def record(self, key: InstrumentKey, *, ticks: int, lots: int, side: Side) -> None:
        """Write down one trade; side is the taker's."""


class Matcher:
    """Executes orders against the books."""

    def __init__(self, floor: Floor, settlement: Settlement, recorder: TradeRecorder) -> None:
        self._floor = floor
        self._settlement = settlement
        self._recorder = recorder
        self._resting: dict[str, Resting] = {}
        # Set by whoever keeps the stops of positions; called after a fill with the account and its order.
        self.on_fill: Callable[[Account, Order], None] = lambda _account, _order: None

    def activate(self, order: Order) -> None:
        """Let an admitted order trade, then rest or end; tell the order's new state once."""
        book = self._floor.books[order.category, order.symbol]
        refused = self._refusal(book, order)
        if refused is not None:
            self.finish(order, reject_reason=refused)
            return
        order.status = OrderStatus.PARTIALLY_FILLED if order.cum_exec_qty else OrderStatus.NEW
        self._take(book, order)
        if not order.is_open:
            self._end_filled(order)
        elif order.order_type is OrderType.MARKET:
            self._end_market(order)
        elif order.time_in_force in {TimeInForce.IOC, TimeInForce.FOK}:
            self.finish(order, reject_reason=RejectReason.NO_IMMEDIATE_QTY_TO_FILL)
        else:
            self._rest(book, order)
            self._refresh(order)
            self._floor.emit_order(order)
        if order.cum_exec_qty:
            self._after_fill(order)

    def finish(
        self,
        order: Order,
        *,
        cancel_type: CancelType = CancelType.UNKNOWN,
        reject_reason: RejectReason = RejectReason.NO_ERROR,
        status: OrderStatus | None = None,
    ) -> None:
        """End an open order without a further fill, free what it holds, and tell it."""
        was_untriggered = order.status is OrderStatus.UNTRIGGERED
        order.status = status or _ended_status(order, was_untriggered=was_untriggered)
        order.cancel_type = cancel_type
        order.reject_reason = reject_reason
        self._leave(order)

    def resting(self, order: Order) -> Resting | None:
        """Return the book entry of an order, None when it is not in the book."""
        return self._resting.get(order.order_id)

    def shrink(self, order: Order, leaves: Decimal) -> None:
        """Make a resting order smaller without losing its place."""
        entry = self._resting[order.order_id]
        instrument = self._floor.instruments[order.category, order.symbol]
        self._floor.books[instrument.key].resize(entry, to_lots(instrument, leaves))
        order.qty -= order.leaves_qty - leaves
        order.leaves_qty = leaves

    def requeue(self, order: Order) -> None:
        """Take an amended order out of the book and let it arrive anew."""
        self._unrest(order)
        self.activate(order)

    def take_over(self, order: Order, price: Decimal) -> None:
        """Let the liquidation engine fill an order outside the book."""
        trade = Trade(
            quantity=order.leaves_qty, price=price, is_maker=False, exec_type=ExecType.BUST_TRADE, with_house=True
        )
        self._settlement.settle(order, trade)
        self._end_filled(order)
        self._after_fill(order)

    def synthetic_take(self, key: InstrumentKey, side: Side, lots: int) -> None:
        """Let a synthetic taker hit the best price of the book."""
        book = self._floor.books[key]
        best = book.best_ticks(side.opposite)
        while lots > 0 and best is not None:
            entry = book.first(side.opposite)
            if entry is None or entry.ticks != best:
                return
            lots -= self._hit(book, entry, side, lots)

    def sweep(self, key: InstrumentKey, side: Side, ticks: int) -> None:
        """Fill all working orders of a side that the market has reached, at their own prices."""
        book = self._floor.books[key]
        for entry in book.orders_through(side, ticks):
            # A fill may have shrunk or ended later ones of the same member.
            if entry.order is not None and self._resting.get(entry.order.order_id) is entry:
                self._hit(book, entry, side.opposite, entry.lots)

    def enforce_reduce_only(self, account: Account, symbol: str, position_idx: int) -> None:
        """Cancel or shrink reduce-only orders that are larger than the position they reduce."""
        for order in list(account.open_orders.values()):
            if not order.reduce_only or (order.symbol, order.position_idx) != (symbol, position_idx):
                continue
            if order.order_id not in self._resting:
                continue
            size = account.position_size(symbol, position_idx)
            if size * order.side.sign >= 0:
                self.finish(order, cancel_type=CancelType.BY_REDUCE_ONLY)
            elif order.leaves_qty > abs(size):
                self.shrink(order, abs(size))
                order.updated_at_ms = self._floor.now_ms()
                self._floor.emit_order(order)

    def _refusal(self, book: OrderBook, order: Order) -> RejectReason | None:
        if order.time_in_force is TimeInForce.POST_ONLY:
            if order.order_type is OrderType.MARKET:
                return RejectReason.MARKET_ORDER_CANNOT_BE_POST_ONLY
            if book.crosses(order.side, to_ticks(book.instrument, order.price)):
                return RejectReason.POST_ONLY_WILL_TAKE_LIQUIDITY
        if order.time_in_force is TimeInForce.FOK and order.market_unit is not MarketUnit.QUOTE:
            wanted = to_lots(book.instrument, order.leaves_qty)
            limit = _limit_ticks(book.instrument, order)
            if book.available_lots(order.side, limit_ticks=limit, enough=wanted) < wanted:
                return RejectReason.NO_ENOUGH_QTY_TO_FILL
        return None

    def _take(self, book: OrderBook, order: Order) -> None:
        instrument = book.instrument
        limit = _limit_ticks(instrument, order)
        # Every round uses up a book entry or the order itself, so the loop ends.
        while order.leaves_qty > 0:
            entry = book.first(order.side.opposite)
            if entry is None:
                return
            if limit is not None and (entry.ticks - limit) * order.side.sign > 0:
                return
            lots = min(entry.lots, _wanted_lots(instrument, order, entry.ticks))
            if lots == 0:
                return
            maker = entry.order
            self._reduce(book, entry, lots, order.side)
            price, quantity = instrument.tick_size * entry.ticks, instrument.quantity_step * lots
            trade = Trade(
                quantity=quantity, price=price, is_maker=False, exec_type=ExecType.TRADE, with_house=maker is None
            )
            self._settlement.settle(order, trade)
            if maker is not None:
                self._settle_maker(maker, price=price, quantity=quantity, with_house=False)

    def _hit(self, book: OrderBook, entry: Resting, side: Side, lots: int) -> int:
        taken = min(lots, entry.lots)
        maker = entry.order
        self._reduce(book, entry, taken, side)
        if maker is not None:
            instrument = book.instrument
            self._settle_maker(
                maker,
                price=instrument.tick_size * entry.ticks,
                quantity=instrument.quantity_step * taken,
                with_house=True,
            )
        return taken

    def _reduce(self, book: OrderBook, entry: Resting, lots: int, side: Side) -> None:
        book.resize(entry, entry.lots - lots)
        self._recorder.record(book.instrument.key, ticks=entry.ticks, lots=lots, side=side)

    def _settle_maker(self, maker: Order, *, price: Decimal, quantity: Decimal, with_house: bool) -> None:
        trade = Trade(quantity=quantity, price=price, is_maker=True, exec_type=ExecType.TRADE, with_house=with_house)
        self._settlement.settle(maker, trade)
        if maker.is_open:
            maker.updated_at_ms = self._floor.now_ms()
            self._refresh(maker)
            self._floor.emit_order(maker)
        else:
            del self._resting[maker.order_id]
            self._end_filled(maker)
        self._after_fill(maker)

    def _end_filled(self, order: Order) -> None:
        order.leaves_qty = ZERO
        self._leave(order)

    def _end_market(self, order: Order) -> None:
        # A budget in quote coin is used up when it buys no further lot.
        if order.market_unit is MarketUnit.QUOTE and order.cum_exec_qty:
            book = self._floor.books[order.category, order.symbol]
            entry = book.first(order.side.opposite)
            if entry is not None and _wanted_lots(book.instrument, order, entry.ticks) == 0:
                order.status = OrderStatus.FILLED
                self._end_filled(order)
                return
        self.finish(order, reject_reason=RejectReason.NO_IMMEDIATE_QTY_TO_FILL)

    def _rest(self, book: OrderBook, order: Order) -> None:
        instrument = book.instrument
        entry = Resting(
            side=order.side,
            ticks=to_ticks(instrument, order.price),
            lots=to_lots(instrument, order.leaves_qty),
            order=order,
        )
        book.add(entry)
        self._resting[order.order_id] = entry

    def _unrest(self, order: Order) -> None:
        entry = self._resting.pop(order.order_id, None)
        if entry is not None:
            self._floor.books[order.category, order.symbol].remove(entry)

    def _leave(self, order: Order) -> None:
        account = self._floor.accounts[order.uid]
        self._unrest(order)
        order.updated_at_ms = self._floor.now_ms()
        account.close(order)
        if order.category is Category.SPOT:
            if order.locked_coin:
                account.lock_spot(order, order.locked_coin, ZERO)
            self._floor.touch_wallet(account.uid)
        else:
            release_order_margin(account, order)
            refresh_order_margin(self._floor, account, order.symbol)
        self._floor.emit_order(order)

    def _refresh(self, order: Order) -> None:
        if order.category is Category.LINEAR:
            refresh_order_margin(self._floor, self._floor.accounts[order.uid], order.symbol)
        else:
            self._floor.touch_wallet(order.uid)

    def _after_fill(self, order: Order) -> None:
        if order.category is Category.LINEAR:
            account = self._floor.accounts[order.uid]
            refresh_order_margin(self._floor, account, order.symbol)
            self.enforce_reduce_only(account, order.symbol, order.position_idx)
            self.on_fill(account, order)


def to_ticks(instrument: Instrument, price: Decimal) -> int:
    """Count the ticks of a price that is a whole number of them."""
    return int(price / instrument.tick_size)


def to_lots(instrument: Instrument, quantity: Decimal) -> int:
    """Count the lots of a quantity that is a whole number of them."""
    return int(quantity / instrument.quantity_step)


def _limit_ticks(instrument: Instrument, order: Order) -> int | None:
    return to_ticks(instrument, order.price) if order.order_type is OrderType.LIMIT else None


def _wanted_lots(instrument: Instrument, order: Order, ticks: int) -> int:
    if order.market_unit is MarketUnit.QUOTE:
        return int(order.leaves_qty / (instrument.tick_size * ticks * instrument.quantity_step))
    return to_lots(instrument, order.leaves_qty)


def _ended_status(order: Order, *, was_untriggered: bool) -> OrderStatus:
    if was_untriggered:
        return OrderStatus.DEACTIVATED
    if order.category is Category.SPOT and order.cum_exec_qty:
        return OrderStatus.PARTIALLY_FILLED_CANCELED
    return OrderStatus.CANCELLED
