"""Linear positions and their settings."""

from __future__ import annotations

from trade_simulator.api.call import Call, listing, time_span
from trade_simulator.api.permissions import require_position_permission
from trade_simulator.api.shapes import Shape, number, optional
from trade_simulator.instruments import Category
from trade_simulator.orders import TpslMode, TriggerBy
from trade_simulator.positions import ClosedPnl, Position, TradingStop
from trade_simulator.records import RecordQuery
from trade_simulator.rejections import MISSING_FILTER, parameter_error

MAX_POSITIONS = 200
MAX_RECORDS = 100


def position_shape(position: Position) -> Shape:
    """Render a position as position/list lists it."""
    return {
        "positionIdx": position.position_idx,
        "riskId": 1,
        "riskLimitValue": number(position.risk_limit_value),
        "symbol": position.symbol,
        "side": str(position.side) if position.side else "",
        "size": number(position.size),
        "avgPrice": number(position.avg_price),
        "positionValue": number(position.position_value) if position.side else "",
        "tradeMode": position.trade_mode,
        "positionStatus": "Normal",
        "autoAddMargin": 0,
        "adlRankIndicator": 2 if position.side else 0,
        "leverage": number(position.leverage),
        "breakEvenPrice": number(position.avg_price) if position.side else "",
        "positionBalance": number(position.position_balance),
        "markPrice": number(position.mark_price),
        "liqPrice": optional(position.liq_price),
        "bustPrice": optional(position.bust_price),
        "positionMM": number(position.position_mm),
        "positionMMByMp": number(position.position_mm),
        "positionIM": number(position.position_im),
        "positionIMByMp": number(position.position_im),
        "tpslMode": str(position.tpsl_mode),
        "takeProfit": optional(position.take_profit),
        "stopLoss": optional(position.stop_loss),
        "trailingStop": optional(position.trailing_stop, unset="0"),
        "unrealisedPnl": number(position.unrealised_pnl) if position.side else "",
        "curRealisedPnl": number(position.cur_realised_pnl),
        "cumRealisedPnl": number(position.cum_realised_pnl),
        "seq": position.seq,
        "isReduceOnly": False,
        "mmrSysUpdateTime": "",
        "leverageSysUpdatedTime": "",
        "sessionAvgPrice": "",
        "createdTime": str(position.created_at_ms),
        "updatedTime": str(position.updated_at_ms),
    }


def position_message(position: Position) -> Shape:
    """Render a position as the private stream sends it: some names and empty values differ from REST."""
    shape = position_shape(position)
    entry_price = shape.pop("avgPrice")
    shape["mmrSysUpdatedTime"] = shape.pop("mmrSysUpdateTime")
    shape["positionValue"] = shape["positionValue"] or "0"
    shape["unrealisedPnl"] = shape["unrealisedPnl"] or "0"
    return shape | {"entryPrice": entry_price, "category": "linear"}


def positions(call: Call) -> object:
    """List positions; a named symbol is listed even when flat."""
    fields = call.fields
    category = fields.category()
    if category is not Category.LINEAR:
        raise parameter_error("category invalid")
    symbol, settle_coin, base_coin = (fields.text(name) for name in ("symbol", "settleCoin", "baseCoin"))
    if not (symbol or settle_coin or base_coin):
        raise MISSING_FILTER.error()
    limit = fields.limit(default=20, most=MAX_POSITIONS)
    rows = call.exchange.positions(
        call.uid, category=category, symbol=symbol, settle_coin=settle_coin, base_coin=base_coin
    )
    return {
        "category": str(category),
        "list": [position_shape(row) for row in rows[:limit]],
        "nextPageCursor": "",
    }


def set_leverage(call: Call) -> object:
    """Set the leverage of a symbol."""
    require_position_permission(call.caller)
    call.exchange.set_leverage(
        call.uid,
        category=call.fields.category(),
        symbol=call.fields.symbol(),
        buy_leverage=call.fields.required_decimal("buyLeverage"),
        sell_leverage=call.fields.required_decimal("sellLeverage"),
    )
    return {}


def switch_mode(call: Call) -> object:
    """Switch between one-way (0) and hedge mode (3)."""
    require_position_permission(call.caller)
    if "mode" not in call.fields:
        raise parameter_error("mode is required")
    call.exchange.switch_mode(
        call.uid,
        category=call.fields.category(),
        symbol=call.fields.text("symbol"),
        coin=call.fields.text("coin"),
        mode=call.fields.integer("mode"),
    )
    return {}


def trading_stop(call: Call) -> object:
    """Set, change or remove the stops of a position."""
    require_position_permission(call.caller)
    fields = call.fields
    if fields.category() is not Category.LINEAR:
        raise parameter_error("category invalid")
    command = TradingStop(
        symbol=fields.symbol(),
        position_idx=fields.integer("positionIdx"),
        tpsl_mode=fields.choice("tpslMode", TpslMode, default=TpslMode.FULL),
        take_profit=fields.decimal("takeProfit"),
        stop_loss=fields.decimal("stopLoss"),
        trailing_stop=fields.decimal("trailingStop"),
        active_price=fields.decimal("activePrice"),
        tp_trigger_by=fields.choice("tpTriggerBy", TriggerBy, default=TriggerBy.LAST),
        sl_trigger_by=fields.choice("slTriggerBy", TriggerBy, default=TriggerBy.LAST),
        tp_size=fields.decimal("tpSize"),
        sl_size=fields.decimal("slSize"),
        tp_limit_price=fields.decimal("tpLimitPrice"),
        sl_limit_price=fields.decimal("slLimitPrice"),
    )
    call.exchange.trading_stop(call.uid, command)
    return {}


def closed_pnl(call: Call) -> object:
    """List the results of orders that closed positions."""
    fields = call.fields
    category = fields.category()
    if category is not Category.LINEAR:
        raise parameter_error("category invalid")
    start_ms, end_ms = time_span(fields)
    query = RecordQuery(
        category=category,
        symbol=fields.text("symbol"),
        start_ms=start_ms,
        end_ms=end_ms,
        limit=fields.limit(default=50, most=MAX_RECORDS),
        cursor=fields.text("cursor"),
    )
    return listing(call.exchange.closed_pnl(call.uid, query), _closed_shape, category=str(category))


def _closed_shape(row: ClosedPnl) -> Shape:
    return {
        "symbol": row.symbol,
        "orderId": row.order_id,
        "side": str(row.side),
        "orderType": row.order_type,
        "orderPrice": number(row.order_price),
        "qty": number(row.qty),
        "closedSize": number(row.closed_size),
        "cumEntryValue": number(row.cum_entry_value),
        "avgEntryPrice": number(row.avg_entry_price),
        "cumExitValue": number(row.cum_exit_value),
        "avgExitPrice": number(row.avg_exit_price),
        "closedPnl": number(row.closed_pnl),
        "openFee": number(row.open_fee),
        "closeFee": number(row.close_fee),
        "fillCount": str(row.fill_count),
        "leverage": number(row.leverage),
        "execType": row.exec_type,
        "createdTime": str(row.created_at_ms),
        "updatedTime": str(row.updated_at_ms),
    }
