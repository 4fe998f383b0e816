"""The trading desk: place, amend, cancel. A refused request changes nothing."""

from dataclasses import replace
from decimal import Decimal

from trade_simulator.accounts import Account
from trade_simulator.admission import admit, check_count, fit_reduce_only
from trade_simulator.conditionals import Conditionals
from trade_simulator.floor import Floor
from trade_simulator.instruments import Category, Instrument
from trade_simulator.margin import refresh_order_margin, release_order_margin
from trade_simulator.matching import Matcher
from trade_simulator.order_checks import (
    FALLING,
    RISING,
    check_base_quantity,
    check_placement,
    check_position_stops,
    check_price,
    check_price_limit,
    check_trigger_price,
    check_value,
    counts_quote,
)
from trade_simulator.orders import (
    OPEN_STATUSES,
    ZERO,
    AmendOrder,
    CancelAll,
    CancelOrder,
    CancelType,
    CreateType,
    MarketUnit,
    Order,
    OrderFilter,
    OrderStatus,
    OrderType,
    PlaceOrder,
    RejectReason,
    StopOrderType,
    TimeInForce,
    TpslMode,
    TriggerBy,
)
from trade_simulator.rejections import (
    LINK_ID_DUPLICATE,
    MISSING_FILTER,
    ORDER_NOT_FOUND,
    ORDER_NOT_MODIFIED,
    QUANTITY_BELOW_FILLED,
    Rejected,
    parameter_error,
)
from trade_simulator.settlement import release_spot


class Desk:
    """Commands of members about their orders."""

    def __init__(self, floor: Floor, matcher: Matcher, conditionals: Conditionals) -> None:
        self._floor = floor
        self._matcher = matcher
        self._conditionals = conditionals

    def place(self, account: Account, command: PlaceOrder) -> Order:
        """Accept an order and let it trade. Raises Rejected."""
        instrument = self._floor.instrument(command.category, command.symbol)
        quote = self._floor.quotes[instrument.key]
        if command.close_on_trigger:
            # What closes on its trigger can only ever reduce, whether or not the client says so.
            command = replace(command, reduce_only=True)
        if command.order_link_id and (command.category, command.order_link_id) in account.link_ids:
            raise LINK_ID_DUPLICATE.error(command.category)
        _check_position_idx(account, command)
        check_placement(instrument, command, quote)
        order = self._build(account, instrument, command)
        check_count(account, order)
        if order.status is OrderStatus.UNTRIGGERED:
            return self._hold(account, order)
        if order.reduce_only:
            fit_reduce_only(account, order)
        admit(self._floor, account, order)
        account.remember(order)
        self._matcher.activate(order)
        return order

    def amend(self, account: Account, command: AmendOrder) -> Order:
        """Change a working order. Raises Rejected."""
        order = self._find(account, command.category, command.symbol, command.order_id, command.order_link_id)
        instrument = self._floor.instruments[order.category, order.symbol]
        changed = self._amended(instrument, order, command)
        if order.status is OrderStatus.UNTRIGGERED:
            self._hold_amended(account, order, changed)
        else:
            self._readmit(account, order, changed)
        return order

    def cancel(self, account: Account, command: CancelOrder) -> Order:
        """Cancel a working order. Raises Rejected."""
        order = self._find(account, command.category, command.symbol, command.order_id, command.order_link_id)
        if command.order_filter is not None and command.order_filter is not order.order_filter:
            raise ORDER_NOT_FOUND.error(command.category)
        self._cancel(order)
        return order

    def cancel_all(self, account: Account, command: CancelAll) -> list[Order]:
        """Cancel every working order that a filter names. Raises Rejected when linear names no filter."""
        if command.category is Category.LINEAR and not (command.symbol or command.base_coin or command.settle_coin):
            raise MISSING_FILTER.error()
        if command.symbol:
            self._floor.instrument(command.category, command.symbol)
        chosen = [order for order in account.open_orders.values() if _is_meant(order, command)]
        for order in chosen[1::2] if command.is_partial else chosen:
            # Cancelling a position's stop may already have ended its twin.
            if order.is_open:
                self._cancel(order)
        return chosen

    def _cancel(self, order: Order) -> None:
        self._conditionals.forget(order)
        self._matcher.finish(order, cancel_type=CancelType.BY_USER, reject_reason=RejectReason.PER_CANCEL_REQUEST)

    def _find(self, account: Account, category: Category, symbol: str, order_id: str, order_link_id: str) -> Order:
        self._floor.instrument(category, symbol)
        if not order_id and not order_link_id:
            raise parameter_error("orderId or orderLinkId is required")
        by_link = account.link_ids.get((category, order_link_id))
        order = account.open_orders.get(order_id) if order_id else by_link
        if order is None or not order.is_open or (order.category, order.symbol) != (category, symbol):
            raise ORDER_NOT_FOUND.error(category)
        return order

    def _build(self, account: Account, instrument: Instrument, command: PlaceOrder) -> Order:
        floor = self._floor
        now_ms = floor.now_ms()
        is_linear = instrument.category is Category.LINEAR
        is_market = command.order_type is OrderType.MARKET
        time_in_force = command.time_in_force
        if is_market and time_in_force is TimeInForce.GTC:
            time_in_force = TimeInForce.IOC
        quote = floor.quotes[instrument.key]
        has_stops = bool(command.take_profit or command.stop_loss)
        return Order(
            uid=account.uid,
            category=instrument.category,
            symbol=instrument.symbol,
            base_coin=instrument.base_coin,
            settle_coin=instrument.settle_coin,
            order_id=floor.new_order_id(instrument.category),
            order_link_id=command.order_link_id,
            side=command.side,
            order_type=command.order_type,
            qty=command.qty,
            price=ZERO if is_market or command.price is None else command.price,
            time_in_force=time_in_force,
            status=OrderStatus.UNTRIGGERED if command.trigger_price is not None else OrderStatus.NEW,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            seq=floor.next_sequence(),
            leaves_qty=command.qty,
            market_unit=_market_unit(command),
            order_filter=_order_filter(command),
            position_idx=command.position_idx,
            # Spot has no positions, so there the flag means nothing.
            reduce_only=command.reduce_only and is_linear,
            close_on_trigger=command.close_on_trigger and is_linear,
            create_type=CreateType.BY_CLOSING if command.qty == 0 else CreateType.BY_USER,
            stop_order_type=_stop_order_type(command),
            trigger_price=command.trigger_price,
            trigger_direction=_direction(command, quote.last),
            trigger_by=_trigger_by(command),
            take_profit=command.take_profit or None,
            stop_loss=command.stop_loss or None,
            tp_trigger_by=command.tp_trigger_by,
            sl_trigger_by=command.sl_trigger_by,
            tpsl_mode=(command.tpsl_mode or TpslMode.FULL) if has_stops else TpslMode.NONE,
            tp_limit_price=command.tp_limit_price or None,
            sl_limit_price=command.sl_limit_price or None,
            tp_order_type=command.tp_order_type,
            sl_order_type=command.sl_order_type,
            last_price_on_created=quote.last,
            smp_type=command.smp_type,
        )

    def _hold(self, account: Account, order: Order) -> Order:
        # Spot take-profit and stop-loss orders occupy their coins at once; conditional orders do not.
        if order.order_filter is OrderFilter.TPSL_ORDER:
            admit(self._floor, account, order)
        account.remember(order)
        self._conditionals.watch(order)
        self._floor.touch_wallet(account.uid)
        self._floor.emit_order(order)
        return order

    def _amended(self, instrument: Instrument, order: Order, command: AmendOrder) -> Order:
        quote = self._floor.quotes[instrument.key]
        if command.price is not None:
            if order.order_type is OrderType.MARKET:
                raise parameter_error("price of a Market order can not be amended")
            check_price(instrument, command.price)
            if order.status is not OrderStatus.UNTRIGGERED:
                check_price_limit(instrument, order.side, command.price, quote)
        if command.qty is not None and order.market_unit is not MarketUnit.QUOTE:
            check_base_quantity(instrument, command.qty, maximum=instrument.max_limit_quantity)
        if command.qty is not None and command.qty <= order.cum_exec_qty:
            raise QUANTITY_BELOW_FILLED.error(order.category)
        changed = _with_changes(order, command)
        if changed == order:
            raise ORDER_NOT_MODIFIED.error()
        if not order.reduce_only and order.order_type is OrderType.LIMIT:
            check_value(instrument, changed.qty * changed.price)
        _check_amended_trigger(instrument, changed, command, quote.by(changed.trigger_by))
        check_position_stops(
            order.side, take_profit=changed.take_profit, stop_loss=changed.stop_loss,
            base_price=changed.price or quote.last,
        )  # fmt: skip
        return changed

    def _hold_amended(self, account: Account, order: Order, changed: Order) -> None:
        if order.order_filter is OrderFilter.TPSL_ORDER:
            self._swap_lock(account, order, changed)
        _copy_changes(order, changed)
        order.updated_at_ms = self._floor.now_ms()
        self._floor.emit_order(order)

    def _readmit(self, account: Account, order: Order, changed: Order) -> None:
        if changed.price == order.price and changed.leaves_qty <= order.leaves_qty:
            self._amend_in_place(account, order, changed)
            return
        if order.reduce_only:
            fit_reduce_only(account, changed)
        self._swap_lock(account, order, changed)
        _copy_changes(order, changed)
        order.updated_at_ms = self._floor.now_ms()
        self._matcher.requeue(order)

    def _amend_in_place(self, account: Account, order: Order, changed: Order) -> None:
        leaves = changed.leaves_qty
        if leaves != order.leaves_qty:
            self._matcher.shrink(order, leaves)
            if order.category is Category.SPOT:
                release_spot(account, order)
            else:
                refresh_order_margin(self._floor, account, order.symbol)
        _copy_changes(order, changed)
        order.updated_at_ms = self._floor.now_ms()
        self._floor.touch_wallet(account.uid)
        self._floor.emit_order(order)

    def _swap_lock(self, account: Account, order: Order, changed: Order) -> None:
        # The order gives back what it holds, then asks anew as changed; refused, it holds what it held.
        held, coin = order.locked_amount, order.locked_coin
        is_spot = order.category is Category.SPOT
        open_orders = dict(account.open_orders)
        if is_spot:
            if coin:
                account.lock_spot(order, coin, ZERO)
        else:
            release_order_margin(account, order)
        del account.open_orders[order.order_id]
        changed.locked_amount = ZERO
        try:
            admit(self._floor, account, changed)
            order.locked_coin, order.locked_amount = changed.locked_coin, changed.locked_amount
        except Rejected:
            if is_spot:
                account.lock_spot(order, coin, held)
            else:
                account.order_margin += held
                order.locked_amount = held
            raise
        finally:
            account.open_orders = open_orders


def _with_changes(order: Order, command: AmendOrder) -> Order:
    qty = order.qty if command.qty is None else command.qty
    return replace(
        order,
        qty=qty,
        leaves_qty=qty - order.cum_exec_qty,
        price=order.price if command.price is None else command.price,
        trigger_price=order.trigger_price if command.trigger_price is None else command.trigger_price,
        trigger_by=command.trigger_by or order.trigger_by,
        # A zero takes the stop away.
        take_profit=order.take_profit if command.take_profit is None else command.take_profit or None,
        stop_loss=order.stop_loss if command.stop_loss is None else command.stop_loss or None,
        tp_trigger_by=command.tp_trigger_by or order.tp_trigger_by,
        sl_trigger_by=command.sl_trigger_by or order.sl_trigger_by,
        tp_limit_price=order.tp_limit_price if command.tp_limit_price is None else command.tp_limit_price or None,
        sl_limit_price=order.sl_limit_price if command.sl_limit_price is None else command.sl_limit_price or None,
    )


def _copy_changes(order: Order, changed: Order) -> None:
    order.qty = changed.qty
    order.leaves_qty = changed.leaves_qty
    order.price = changed.price
    order.trigger_price = changed.trigger_price
    order.trigger_by = changed.trigger_by
    order.take_profit = changed.take_profit
    order.stop_loss = changed.stop_loss
    order.tp_trigger_by = changed.tp_trigger_by
    order.sl_trigger_by = changed.sl_trigger_by
    order.tp_limit_price = changed.tp_limit_price
    order.sl_limit_price = changed.sl_limit_price


def _check_amended_trigger(instrument: Instrument, changed: Order, command: AmendOrder, current: Decimal) -> None:
    if command.trigger_price is None:
        return
    if changed.status is not OrderStatus.UNTRIGGERED:
        raise parameter_error("triggerPrice of a triggered order can not be amended")
    check_price(instrument, command.trigger_price)
    check_trigger_price(command.trigger_price, direction=changed.trigger_direction, current=current)


def _check_position_idx(account: Account, command: PlaceOrder) -> None:
    if command.category is Category.SPOT:
        return
    allowed = {1, 2} if account.is_hedge_mode else {0}
    if command.position_idx not in allowed:
        raise parameter_error("position idx not match position mode")
    opens = 1 if command.side.sign > 0 else 2
    if account.is_hedge_mode and command.position_idx != opens and not command.reduce_only:
        raise parameter_error("an order against its hedge-mode position must be reduceOnly")


def _market_unit(command: PlaceOrder) -> MarketUnit:
    if command.category is not Category.SPOT or command.order_type is not OrderType.MARKET:
        return MarketUnit.NONE
    return MarketUnit.QUOTE if counts_quote(command) else MarketUnit.BASE


def _order_filter(command: PlaceOrder) -> OrderFilter:
    if command.category is Category.SPOT:
        return command.order_filter
    return OrderFilter.ORDER if command.trigger_price is None else OrderFilter.STOP_ORDER


def _stop_order_type(command: PlaceOrder) -> StopOrderType:
    if command.trigger_price is None:
        return StopOrderType.NONE
    is_tpsl = command.category is Category.SPOT and command.order_filter is OrderFilter.TPSL_ORDER
    return StopOrderType.TPSL_ORDER if is_tpsl else StopOrderType.STOP


def _direction(command: PlaceOrder, last: Decimal) -> int:
    if command.trigger_price is None:
        return 0
    if command.category is Category.LINEAR:
        return command.trigger_direction
    return RISING if command.trigger_price > last else FALLING


def _trigger_by(command: PlaceOrder) -> TriggerBy:
    if command.trigger_price is None:
        return TriggerBy.NONE
    return command.trigger_by or TriggerBy.LAST


def _is_meant(order: Order, command: CancelAll) -> bool:
    if order.category is not command.category or order.status not in OPEN_STATUSES:
        return False
    if command.stop_order_type is not None and order.stop_order_type is not command.stop_order_type:
        return False
    wanted_filter = command.order_filter
    if wanted_filter is None and order.category is Category.SPOT:
        # Bybit's documented default of spot; linear cancels all kinds.
        wanted_filter = OrderFilter.ORDER
    if wanted_filter is not None and order.order_filter is not wanted_filter:
        return False
    pairs = (
        (command.symbol, order.symbol),
        (command.base_coin, order.base_coin),
        (command.settle_coin, order.settle_coin),
    )
    return all(not wanted or wanted == actual for wanted, actual in pairs)
