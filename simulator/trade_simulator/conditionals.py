"""Conditional orders: stops that wait for a price, and the take profit and stop loss of positions.

A position's own stops follow its size and vanish with it. A stop that was placed by itself stays until it
triggers or is cancelled, even when the position it was meant for is gone; it then finds nothing to reduce.
"""

from decimal import Decimal
from typing import Final

from trade_simulator.accounts import Account
from trade_simulator.admission import admit, fit_reduce_only
from trade_simulator.engine_orders import closing_order
from trade_simulator.floor import Floor, InstrumentKey, Quote
from trade_simulator.instruments import Category
from trade_simulator.matching import Matcher
from trade_simulator.order_checks import FALLING, RISING, check_position_stops, check_price
from trade_simulator.orders import (
    ZERO,
    CancelType,
    CreateType,
    Order,
    OrderFilter,
    OrderStatus,
    RejectReason,
    StopOrderType,
    TpslMode,
    TriggerBy,
)
from trade_simulator.positions import PositionState, TradingStop
from trade_simulator.rejections import NO_POSITION_FOR_STOP, TRADING_STOP_UNCHANGED, Rejected, parameter_error

# The documentation: partial mode holds at most twenty stops.
PARTIAL_STOPS_MAX: Final = 20
FULL_STOPS: Final = frozenset({StopOrderType.TAKE_PROFIT, StopOrderType.STOP_LOSS})
PARTIAL_STOPS: Final = frozenset({StopOrderType.PARTIAL_TAKE_PROFIT, StopOrderType.PARTIAL_STOP_LOSS})
POSITION_STOPS: Final = FULL_STOPS | PARTIAL_STOPS

_CREATE_TYPES: Final = {
    StopOrderType.TAKE_PROFIT: CreateType.BY_TAKE_PROFIT,
    StopOrderType.STOP_LOSS: CreateType.BY_STOP_LOSS,
    StopOrderType.PARTIAL_TAKE_PROFIT: CreateType.BY_PARTIAL_TAKE_PROFIT,
    StopOrderType.PARTIAL_STOP_LOSS: CreateType.BY_PARTIAL_STOP_LOSS,
    StopOrderType.TRAILING_STOP: CreateType.BY_TRAILING_STOP,
}


class Conditionals:
    """Watches untriggered orders and position stops."""

    def __init__(self, floor: Floor, matcher: Matcher) -> None:
        self._floor = floor
        self._matcher = matcher
        self._watched: dict[InstrumentKey, dict[str, Order]] = {key: {} for key in floor.instruments}

    def watch(self, order: Order) -> None:
        """Wait for the trigger of an order."""
        self._watched[order.category, order.symbol][order.order_id] = order

    def forget(self, order: Order) -> None:
        """Stop waiting; when it is a position's own stop, the position no longer has it."""
        self._watched[order.category, order.symbol].pop(order.order_id, None)
        if order.stop_order_type in FULL_STOPS:
            account = self._floor.accounts[order.uid]
            state = account.positions[order.symbol, order.position_idx]
            if order.stop_order_type is StopOrderType.TAKE_PROFIT:
                state.take_profit = None
            else:
                state.stop_loss = None
            self._floor.touch_position(account.uid, order.symbol, order.position_idx)

    def check(self, key: InstrumentKey) -> None:
        """Trigger what the prices have reached."""
        watched = self._watched[key]
        quote = self._floor.quotes[key]
        for order in list(watched.values()):
            # An earlier trigger may have closed the position and with it this stop.
            if order.order_id in watched and _is_reached(order, quote):
                self._trigger(order)
        if key[0] is Category.LINEAR:
            self._check_trailing(key, quote)

    def on_fill(self, account: Account, order: Order) -> None:
        """Set the stops that came with an order, and make all stops fit the position."""
        state = account.positions[order.symbol, order.position_idx]
        opens = state.size * order.side.sign > 0
        if opens and (order.take_profit or order.stop_loss):
            if order.tpsl_mode is TpslMode.PARTIAL:
                if order.status is OrderStatus.FILLED:
                    self._attach_partial(account, state, order)
            else:
                self._set_full(account, state, take_profit=order.take_profit, stop_loss=order.stop_loss,
                               tp_by=order.tp_trigger_by, sl_by=order.sl_trigger_by)  # fmt: skip
        self._fit(account, state)

    def set_trading_stop(self, account: Account, command: TradingStop) -> None:
        """Set, change or remove the stops of a position. Raises Rejected."""
        instrument = self._floor.instrument(Category.LINEAR, command.symbol)
        state = account.position(command.symbol, command.position_idx)
        if state is None or state.side is None:
            raise NO_POSITION_FOR_STOP.error()
        quote = self._floor.quotes[instrument.key]
        for price in (command.take_profit, command.stop_loss, command.active_price, command.trailing_stop):
            if price:
                check_price(instrument, price)
        check_position_stops(
            state.side, take_profit=command.take_profit, stop_loss=command.stop_loss, base_price=quote.last
        )
        if command.tpsl_mode is TpslMode.PARTIAL:
            self._set_partial(account, state, command)
        else:
            self._set_full_checked(account, state, command)
        if command.trailing_stop is not None:
            state.trailing_stop = command.trailing_stop or None
            state.active_price = command.active_price or None
            state.trailing_extreme = None
        self._floor.touch_position(account.uid, state.symbol, state.position_idx)

    def _set_full_checked(self, account: Account, state: PositionState, command: TradingStop) -> None:
        wanted = (
            state.take_profit if command.take_profit is None else command.take_profit or None,
            state.stop_loss if command.stop_loss is None else command.stop_loss or None,
            state.trailing_stop if command.trailing_stop is None else command.trailing_stop or None,
        )
        if wanted == (state.take_profit, state.stop_loss, state.trailing_stop):
            raise TRADING_STOP_UNCHANGED.error()
        self._set_full(account, state, take_profit=wanted[0], stop_loss=wanted[1],
                       tp_by=command.tp_trigger_by, sl_by=command.sl_trigger_by)  # fmt: skip

    def _set_partial(self, account: Account, state: PositionState, command: TradingStop) -> None:
        wanted = [
            (kind, price, by, size, limit)
            for kind, price, by, size, limit in (
                (StopOrderType.PARTIAL_TAKE_PROFIT, command.take_profit, command.tp_trigger_by,
                 command.tp_size, command.tp_limit_price),
                (StopOrderType.PARTIAL_STOP_LOSS, command.stop_loss, command.sl_trigger_by,
                 command.sl_size, command.sl_limit_price),
            )
            if price
        ]  # fmt: skip
        step = self._floor.instruments[Category.LINEAR, state.symbol].quantity_step
        for _, _, _, size, _ in wanted:
            if size is None or size <= 0 or size > abs(state.size) or size % step:
                raise parameter_error("tpSize or slSize invalid")
        if not wanted and command.trailing_stop is None:
            raise TRADING_STOP_UNCHANGED.error()
        existing = [order for order in self._stops(account, state) if order.stop_order_type in PARTIAL_STOPS]
        if len(existing) + len(wanted) > PARTIAL_STOPS_MAX:
            raise Rejected(110061, "Under partial TP/SL mode, TP/SL set more than 20")
        for kind, price, by, size, limit in wanted:
            self._add_stop(account, state, kind, price=price or ZERO, by=by, quantity=size or ZERO, limit=limit)

    def _attach_partial(self, account: Account, state: PositionState, order: Order) -> None:
        pairs = (
            (StopOrderType.PARTIAL_TAKE_PROFIT, order.take_profit, order.tp_trigger_by, order.tp_limit_price),
            (StopOrderType.PARTIAL_STOP_LOSS, order.stop_loss, order.sl_trigger_by, order.sl_limit_price),
        )
        for kind, price, by, limit in pairs:
            existing = sum(stop.stop_order_type in PARTIAL_STOPS for stop in self._stops(account, state))
            if price and existing < PARTIAL_STOPS_MAX:
                self._add_stop(account, state, kind, price=price, by=by, quantity=order.cum_exec_qty, limit=limit)

    def _set_full(
        self, account: Account, state: PositionState, *, take_profit: Decimal | None, stop_loss: Decimal | None,
        tp_by: TriggerBy, sl_by: TriggerBy,
    ) -> None:  # fmt: skip
        for kind, price, by in (
            (StopOrderType.TAKE_PROFIT, take_profit, tp_by),
            (StopOrderType.STOP_LOSS, stop_loss, sl_by),
        ):
            current = next((stop for stop in self._stops(account, state) if stop.stop_order_type is kind), None)
            if current is not None and current.trigger_price == price:
                continue
            if current is not None:
                self.forget(current)
                self._matcher.finish(current, cancel_type=CancelType.BY_TPSL_TS_CLEAR)
            if price is not None:
                self._add_stop(account, state, kind, price=price, by=by, quantity=abs(state.size), limit=None)
        state.take_profit, state.stop_loss = take_profit, stop_loss
        state.tp_trigger_by, state.sl_trigger_by = tp_by, sl_by
        state.tpsl_mode = TpslMode.FULL

    def _stops(self, account: Account, state: PositionState) -> list[Order]:
        return [
            order
            for order in self._watched[Category.LINEAR, state.symbol].values()
            if order.uid == account.uid
            and order.position_idx == state.position_idx
            and order.stop_order_type in POSITION_STOPS
        ]

    def _fit(self, account: Account, state: PositionState) -> None:
        for order in self._stops(account, state):
            if state.size * order.side.sign >= 0:
                self.forget(order)
                self._matcher.finish(order, cancel_type=CancelType.BY_TPSL_TS_CLEAR)
            elif order.stop_order_type in FULL_STOPS and order.qty != abs(state.size):
                order.qty = order.leaves_qty = abs(state.size)
                order.updated_at_ms = self._floor.now_ms()
                self._floor.emit_order(order)
        if not state.size:
            state.take_profit = state.stop_loss = None
            state.trailing_stop = state.active_price = state.trailing_extreme = None

    def _add_stop(
        self, account: Account, state: PositionState, kind: StopOrderType, *, price: Decimal, by: TriggerBy,
        quantity: Decimal, limit: Decimal | None,
    ) -> None:  # fmt: skip
        order = self._closing_order(account, state, kind, quantity=quantity, limit=limit)
        order.status = OrderStatus.UNTRIGGERED
        order.trigger_price = price
        order.trigger_by = by or TriggerBy.LAST
        wins = kind in {StopOrderType.TAKE_PROFIT, StopOrderType.PARTIAL_TAKE_PROFIT}
        order.trigger_direction = RISING if wins == (state.size > 0) else FALLING
        account.remember(order)
        self.watch(order)
        self._floor.emit_order(order)

    def _closing_order(
        self, account: Account, state: PositionState, kind: StopOrderType, *, quantity: Decimal,
        limit: Decimal | None,
    ) -> Order:  # fmt: skip
        order = closing_order(
            self._floor, account, state, quantity=quantity, limit=limit, create_type=_CREATE_TYPES[kind]
        )
        order.order_filter = OrderFilter.STOP_ORDER
        order.close_on_trigger = True
        order.stop_order_type = kind
        order.tpsl_mode = TpslMode.FULL if kind in FULL_STOPS else TpslMode.PARTIAL
        return order

    def _trigger(self, order: Order) -> None:
        account = self._floor.accounts[order.uid]
        was_held = order.order_filter is OrderFilter.TPSL_ORDER
        self.forget(order)
        order.status = OrderStatus.TRIGGERED
        order.updated_at_ms = self._floor.now_ms()
        if order.create_type is CreateType.BY_USER:
            order.create_type = CreateType.BY_STOP_ORDER
        self._floor.emit_order(order)
        try:
            if order.reduce_only:
                fit_reduce_only(account, order)
            if not was_held:
                admit(self._floor, account, order)
        except Rejected:
            if order.reduce_only:
                self._matcher.finish(order, cancel_type=CancelType.BY_REDUCE_ONLY)
            else:
                self._matcher.finish(
                    order, status=OrderStatus.REJECTED, reject_reason=RejectReason.INSUFFICIENT_BALANCE
                )
            return
        self._matcher.activate(order)

    def _check_trailing(self, key: InstrumentKey, quote: Quote) -> None:
        for account in self._floor.accounts.values():
            for state in account.positions.values():
                if state.symbol == key[1] and state.trailing_stop and _trails_off(state, quote.last):
                    order = self._closing_order(
                        account, state, StopOrderType.TRAILING_STOP, quantity=abs(state.size), limit=None
                    )
                    account.remember(order)
                    self._matcher.activate(order)


def _is_reached(order: Order, quote: Quote) -> bool:
    price = quote.by(order.trigger_by)
    trigger = order.trigger_price or ZERO
    return price >= trigger if order.trigger_direction == RISING else price <= trigger


def _trails_off(state: PositionState, last: Decimal) -> bool:
    """Follow the price with a trailing stop; tell whether it has fallen back far enough."""
    sign = 1 if state.size > 0 else -1
    if state.trailing_extreme is None:
        if state.active_price is not None and (last - state.active_price) * sign < 0:
            return False
        state.trailing_extreme = last
    elif (last - state.trailing_extreme) * sign > 0:
        state.trailing_extreme = last
    return (state.trailing_extreme - last) * sign >= (state.trailing_stop or ZERO)
