"""Order entry and order queries, shared by REST and the order WebSocket."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from trade_simulator.api.call import Call, listing, time_span
from trade_simulator.api.envelope import Answer
from trade_simulator.api.fields import UNLISTED_CATEGORIES, Fields
from trade_simulator.api.permissions import require_order_permission, require_writable
from trade_simulator.api.shapes import Shape, execution_shape, order_shape
from trade_simulator.instruments import Category
from trade_simulator.orders import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    ExecType,
    ExecutionQuery,
    MarketUnit,
    Order,
    OrderFilter,
    OrderQuery,
    OrderStatus,
    OrderType,
    PlaceOrder,
    Side,
    StopOrderType,
    TimeInForce,
    TpslMode,
    TriggerBy,
)
from trade_simulator.rejections import Rejected, parameter_error

LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
BATCH_LINEAR = 20
BATCH_SPOT = 10
MAX_LIMIT = 50
EXECUTIONS_LIMIT = 100


def _link_id(fields: Fields) -> str:
    link_id = fields.text("orderLinkId")
    if link_id and LINK_ID.fullmatch(link_id) is None:
        raise parameter_error("orderLinkId invalid")
    return link_id


def _trigger(fields: Fields, name: str) -> Decimal | None:
    """Read a price where "0" means none."""
    return fields.decimal(name) or None


def parse_place(fields: Fields, category: Category) -> PlaceOrder:
    """Read an order. Raises Rejected 10001 that names the field."""
    order_type = fields.required_choice("orderType", OrderType)
    return PlaceOrder(
        category=category,
        symbol=fields.symbol(),
        side=fields.required_choice("side", Side),
        order_type=order_type,
        qty=fields.required_decimal("qty"),
        price=None if order_type is OrderType.MARKET else fields.decimal("price"),
        time_in_force=fields.choice("timeInForce", TimeInForce, default=TimeInForce.GTC),
        order_link_id=_link_id(fields),
        reduce_only=fields.boolean("reduceOnly"),
        close_on_trigger=fields.boolean("closeOnTrigger"),
        position_idx=fields.integer("positionIdx"),
        is_leverage=bool(fields.integer("isLeverage")),
        market_unit=fields.choice("marketUnit", MarketUnit, default=MarketUnit.NONE),
        order_filter=fields.choice("orderFilter", OrderFilter, default=OrderFilter.ORDER),
        trigger_price=_trigger(fields, "triggerPrice"),
        trigger_direction=fields.integer("triggerDirection"),
        trigger_by=fields.choice("triggerBy", TriggerBy, default=TriggerBy.NONE),
        take_profit=_trigger(fields, "takeProfit"),
        stop_loss=_trigger(fields, "stopLoss"),
        tp_trigger_by=fields.choice("tpTriggerBy", TriggerBy, default=TriggerBy.NONE),
        sl_trigger_by=fields.choice("slTriggerBy", TriggerBy, default=TriggerBy.NONE),
        tpsl_mode=fields.choice("tpslMode", TpslMode, default=TpslMode.NONE),
        tp_limit_price=_trigger(fields, "tpLimitPrice"),
        sl_limit_price=_trigger(fields, "slLimitPrice"),
        tp_order_type=fields.choice("tpOrderType", OrderType, default=OrderType.MARKET),
        sl_order_type=fields.choice("slOrderType", OrderType, default=OrderType.MARKET),
        smp_type=fields.text("smpType", default="None"),
    )


def parse_amend(fields: Fields, category: Category) -> AmendOrder:
    """Read an amendment; "0" removes a take profit or stop loss, absence leaves it alone."""
    return AmendOrder(
        category=category,
        symbol=fields.symbol(),
        order_id=fields.text("orderId"),
        order_link_id=fields.text("orderLinkId"),
        qty=_trigger(fields, "qty"),
        price=_trigger(fields, "price"),
        trigger_price=_trigger(fields, "triggerPrice"),
        trigger_by=fields.optional_choice("triggerBy", TriggerBy),
        take_profit=fields.decimal("takeProfit"),
        stop_loss=fields.decimal("stopLoss"),
        tp_trigger_by=fields.optional_choice("tpTriggerBy", TriggerBy),
        sl_trigger_by=fields.optional_choice("slTriggerBy", TriggerBy),
        tp_limit_price=_trigger(fields, "tpLimitPrice"),
        sl_limit_price=_trigger(fields, "slLimitPrice"),
    )


def parse_cancel(fields: Fields, category: Category) -> CancelOrder:
    """Read a cancel request."""
    return CancelOrder(
        category=category,
        symbol=fields.symbol(),
        order_id=fields.text("orderId"),
        order_link_id=fields.text("orderLinkId"),
        order_filter=fields.optional_choice("orderFilter", OrderFilter),
    )


def _ids(order: Order) -> Shape:
    return {"orderId": order.order_id, "orderLinkId": order.order_link_id}


def create(call: Call) -> object:
    """Place an order; the answer acknowledges, the outcome follows on the stream."""
    category = require_order_permission(call)
    return _ids(call.exchange.place(call.uid, parse_place(call.fields, category)))


def amend(call: Call) -> object:
    """Change a working order."""
    category = require_order_permission(call)
    return _ids(call.exchange.amend(call.uid, parse_amend(call.fields, category)))


def cancel(call: Call) -> object:
    """Cancel a working order."""
    category = require_order_permission(call)
    return _ids(call.exchange.cancel(call.uid, parse_cancel(call.fields, category)))


def cancel_all(call: Call) -> object:
    """Cancel every working order of a filter; there are none in categories without instruments."""
    if call.fields.text("category") in UNLISTED_CATEGORIES:
        require_writable(call.caller)
        return {"list": [], "success": "1"}
    category = require_order_permission(call)
    fields = call.fields
    cancelled = call.exchange.cancel_all(
        call.uid,
        CancelAll(
            category=category,
            symbol=fields.text("symbol"),
            base_coin=fields.text("baseCoin"),
            settle_coin=fields.text("settleCoin"),
            order_filter=fields.optional_choice("orderFilter", OrderFilter),
            stop_order_type=fields.optional_choice("stopOrderType", StopOrderType),
            is_partial=call.is_partial,
        ),
    )
    return {"list": [_ids(order) for order in cancelled], "success": "1"}


def _batch(call: Call, one: Callable[[Fields, Category], Order], *, has_time: bool = False) -> Answer:
    """Do each request of a batch by itself: one that fails does not stop the others."""
    category = require_order_permission(call)
    most = BATCH_SPOT if category is Category.SPOT else BATCH_LINEAR
    results: list[Shape] = []
    codes: list[Shape] = []
    for index, fields in enumerate(call.fields.objects("request", most=most)):
        row: Shape = {"category": str(category), "symbol": "", "orderId": "", "orderLinkId": ""}
        if has_time:
            row["createAt"] = ""
        code: Shape = {"code": 0, "msg": "OK"}
        try:
            row["symbol"] = fields.text("symbol")
            row["orderLinkId"] = fields.text("orderLinkId")
            if index:
                call.charge(category)
            order = one(fields, category)
            row |= _ids(order)
            if has_time:
                row["createAt"] = str(order.created_at_ms)
        except Rejected as rejected:
            code = {"code": rejected.code, "msg": rejected.message}
        results.append(row)
        codes.append(code)
    return Answer(result={"list": results}, ext_info={"list": codes})


def create_batch(call: Call) -> Answer:
    """Place several orders of one category."""
    return _batch(
        call,
        lambda fields, category: call.exchange.place(call.uid, parse_place(fields, category)),
        has_time=True,
    )


def amend_batch(call: Call) -> Answer:
    """Change several orders of one category."""
    return _batch(call, lambda fields, category: call.exchange.amend(call.uid, parse_amend(fields, category)))


def cancel_batch(call: Call) -> Answer:
    """Cancel several orders of one category."""
    return _batch(call, lambda fields, category: call.exchange.cancel(call.uid, parse_cancel(fields, category)))


def _order_query(call: Call) -> OrderQuery:
    fields = call.fields
    start_ms, end_ms = time_span(fields)
    return OrderQuery(
        category=fields.category(),
        symbol=fields.text("symbol"),
        base_coin=fields.text("baseCoin"),
        settle_coin=fields.text("settleCoin"),
        order_id=fields.text("orderId"),
        order_link_id=fields.text("orderLinkId"),
        order_filter=fields.optional_choice("orderFilter", OrderFilter),
        order_status=fields.optional_choice("orderStatus", OrderStatus),
        open_only=fields.integer("openOnly"),
        start_ms=start_ms,
        end_ms=end_ms,
        limit=fields.limit(default=20, most=MAX_LIMIT),
        cursor=fields.text("cursor"),
    )


def realtime(call: Call) -> object:
    """List working orders, or the last closed ones."""
    query = _order_query(call)
    page = call.exchange.working_orders(call.uid, query)
    return listing(page, order_shape, category=str(query.category))


def history(call: Call) -> object:
    """List orders that ended."""
    query = _order_query(call)
    page = call.exchange.order_history(call.uid, query)
    return listing(page, order_shape, category=str(query.category))


def executions(call: Call) -> object:
    """List fills and funding settlements."""
    fields = call.fields
    start_ms, end_ms = time_span(fields)
    query = ExecutionQuery(
        category=fields.category(),
        symbol=fields.text("symbol"),
        base_coin=fields.text("baseCoin"),
        settle_coin=fields.text("settleCoin"),
        order_id=fields.text("orderId"),
        order_link_id=fields.text("orderLinkId"),
        exec_type=fields.optional_choice("execType", ExecType),
        start_ms=start_ms,
        end_ms=end_ms,
        limit=fields.limit(default=50, most=EXECUTIONS_LIMIT),
        cursor=fields.text("cursor"),
    )
    page = call.exchange.executions(call.uid, query)
    return listing(page, execution_shape, category=str(query.category))
