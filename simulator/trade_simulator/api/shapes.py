"""Rendering: orders and executions as Bybit writes them, in REST answers and stream messages alike.

Numbers of money, prices and quantities are texts; times in results are texts of milliseconds; what is unset is "".
"""

from __future__ import annotations

from decimal import Decimal

from trade_core.money import format_decimal
from trade_simulator.instruments import Category
from trade_simulator.orders import Execution, Order, OrderType, StopOrderType

# No quotient that the exchange shows has more digits after the point.
MAX_PLACES = 10
_QUANTUM = Decimal(1).scaleb(-MAX_PLACES)
Shape = dict[str, object]


def number(value: Decimal) -> str:
    """Write a number as the exchange does: plain, at most ten digits after the point."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_PLACES:
        value = value.quantize(_QUANTUM)
    return format_decimal(value)


def optional(value: Decimal | None, *, unset: str = "") -> str:
    """Write a number, or what the exchange shows when it is unset."""
    return unset if value is None else number(value)


def order_shape(order: Order) -> Shape:
    """Render an order as realtime and history list it."""
    is_spot = order.category is Category.SPOT
    unset_price = "0" if is_spot else ""
    is_market = order.order_type is OrderType.MARKET
    return {
        "orderId": order.order_id,
        "orderLinkId": order.order_link_id,
        "blockTradeId": "",
        "symbol": order.symbol,
        "price": number(order.price) if not is_market or order.price else "0",
        "qty": number(order.qty),
        "side": str(order.side),
        "isLeverage": "1" if order.is_leverage else ("0" if is_spot else ""),
        "positionIdx": order.position_idx,
        "orderStatus": str(order.status),
        "cancelType": str(order.cancel_type),
        "rejectReason": str(order.reject_reason),
        "avgPrice": optional(order.avg_price, unset="0" if order.is_open else unset_price),
        "leavesQty": number(order.leaves_qty),
        "leavesValue": number(order.leaves_value),
        "cumExecQty": number(order.cum_exec_qty),
        "cumExecValue": number(order.cum_exec_value),
        "cumExecFee": number(order.cum_exec_fee),
        "timeInForce": str(order.time_in_force),
        "orderType": str(order.order_type),
        "stopOrderType": str(order.stop_order_type),
        "orderIv": "",
        "marketUnit": str(order.market_unit),
        "triggerPrice": optional(order.trigger_price, unset=unset_price),
        "takeProfit": optional(order.take_profit, unset=unset_price),
        "stopLoss": optional(order.stop_loss, unset=unset_price),
        "tpTriggerBy": str(order.tp_trigger_by),
        "slTriggerBy": str(order.sl_trigger_by),
        "triggerDirection": order.trigger_direction,
        "triggerBy": str(order.trigger_by),
        "lastPriceOnCreated": number(order.last_price_on_created) if order.last_price_on_created else "",
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": order.close_on_trigger,
        "smpType": order.smp_type,
        "smpGroup": order.smp_group,
        "smpOrderId": order.smp_order_id,
        "tpslMode": str(order.tpsl_mode),
        "tpLimitPrice": optional(order.tp_limit_price, unset=unset_price),
        "slLimitPrice": optional(order.sl_limit_price, unset=unset_price),
        "placeType": "",
        "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "",
        "createdTime": str(order.created_at_ms),
        "updatedTime": str(order.updated_at_ms),
        "extraFees": "",
        "cumFeeDetail": {coin: number(fee) for coin, fee in order.cum_fee_detail.items()},
        "createType": str(order.create_type),
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
    }


def order_message(order: Order) -> Shape:
    """Render an order as the private stream sends it."""
    return order_shape(order) | {
        "category": str(order.category),
        "feeCurrency": order.fee_currency,
        "closedPnl": number(order.closed_pnl),
    }


def execution_shape(execution: Execution) -> Shape:
    """Render an execution as execution/list lists it."""
    is_spot = execution.category is Category.SPOT
    return {
        "symbol": execution.symbol,
        "orderId": execution.order_id,
        "orderLinkId": execution.order_link_id,
        "side": str(execution.side),
        "orderPrice": number(execution.order_price),
        "orderQty": number(execution.order_qty),
        "leavesQty": number(execution.leaves_qty),
        "createType": "" if is_spot else str(execution.create_type),
        "orderType": str(execution.order_type),
        "stopOrderType": str(execution.stop_order_type or ("" if is_spot else "UNKNOWN")),
        "execFee": number(execution.exec_fee),
        "execId": execution.exec_id,
        "execPrice": number(execution.exec_price),
        "execQty": number(execution.exec_qty),
        "execType": str(execution.exec_type),
        "execValue": number(execution.exec_value),
        "execTime": str(execution.executed_at_ms),
        "feeCurrency": execution.fee_currency,
        "isMaker": execution.is_maker,
        "feeRate": number(execution.fee_rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": number(execution.mark_price),
        "indexPrice": number(execution.index_price),
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": "" if is_spot else number(execution.closed_size),
        "extraFees": "",
        "seq": execution.seq,
    }


def execution_message(execution: Execution) -> Shape:
    """Render an execution as the private stream sends it."""
    return execution_shape(execution) | {
        "category": str(execution.category),
        "isLeverage": "1" if execution.is_leverage else "0",
        "marketUnit": str(execution.market_unit),
        "execPnl": number(execution.exec_pnl),
    }


def fast_execution_message(execution: Execution) -> Shape:
    """Render an execution as the fast stream sends it: only what is known first."""
    return {
        "category": str(execution.category),
        "symbol": execution.symbol,
        "execId": execution.exec_id,
        "execPrice": number(execution.exec_price),
        "execQty": number(execution.exec_qty),
        "orderId": execution.order_id,
        "isMaker": execution.is_maker,
        "orderLinkId": execution.order_link_id,
        "side": str(execution.side),
        "execTime": str(execution.executed_at_ms),
        "seq": execution.seq,
    }


def is_conditional(order: Order) -> bool:
    """Tell whether an order waits, or waited, for a trigger."""
    return order.stop_order_type is not StopOrderType.NONE
