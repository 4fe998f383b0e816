"""Server-side strategies: they exist, are listed and can be stopped; they do not trade here."""

from __future__ import annotations

from trade_simulator.algos import Algo, AlgoQuery, AlgoRequest
from trade_simulator.api.call import Call
from trade_simulator.api.permissions import require, require_writable
from trade_simulator.api.shapes import Shape, number, optional
from trade_simulator.orders import Side

MAX_PAGE = 50


def _require(call: Call) -> None:
    require_writable(call.caller)
    require(call.caller, "ContractTrade", "Order")


def create(call: Call) -> object:
    """Start a strategy."""
    _require(call)
    fields = call.fields
    algo = call.exchange.create_algo(
        call.uid,
        AlgoRequest(
            category=fields.required("category"),
            symbol=fields.symbol(),
            side=fields.required_choice("side", Side),
            size=fields.required_decimal("size"),
            strategy_type=fields.required("strategyType"),
            duration_s=fields.integer("duration", default=600),
            interval_s=fields.integer("interval", default=60),
            reduce_only=fields.boolean("reduceOnly"),
            limit_price=fields.decimal("limitPrice"),
        ),
    )
    return {"strategyId": algo.strategy_id, "result": None}


def strategies(call: Call) -> object:
    """List strategies, newest first."""
    fields = call.fields
    size = fields.integer("pageSize", default=20)
    begin_s = fields.optional_integer("beginTimeE0")
    end_s = fields.optional_integer("endTimeE0")
    page = call.exchange.algos(
        call.uid,
        AlgoQuery(
            strategy_id=fields.text("strategyId"),
            symbol=fields.text("symbol"),
            category=fields.text("category"),
            strategy_type=fields.text("strategyType"),
            status=fields.optional_integer("status"),
            start_ms=None if begin_s is None else begin_s * 1000,
            end_ms=None if end_s is None else end_s * 1000,
            limit=min(max(size, 1), MAX_PAGE),
            cursor=fields.text("cursor"),
        ),
    )
    return {"list": [_shape(algo) for algo in page.items], "nextCursor": page.next_cursor, "prevCursor": ""}


def stop(call: Call) -> object:
    """Stop a strategy."""
    _require(call)
    return {"strategyId": call.exchange.stop_algo(call.uid, call.fields.required("strategyId")).strategy_id}


def _shape(algo: Algo) -> Shape:
    ended = algo.terminate_type != 0
    return {
        "strategyId": algo.strategy_id,
        "category": algo.category,
        "symbol": algo.symbol,
        "side": str(algo.side),
        "size": number(algo.size),
        "duration": algo.duration_s,
        "status": algo.status,
        "executedDuration": (algo.updated_at_ms - algo.created_at_ms) // 1000,
        "executedSize": "0",
        "executedAvgPrice": "0",
        "executedStartTimeE3": str(algo.created_at_ms),
        "executedEndTimeE3": str(algo.updated_at_ms) if ended else "0",
        "createdTimeE3": str(algo.created_at_ms),
        "updatedTimeE3": str(algo.updated_at_ms),
        "isRandom": False,
        "limitPrice": optional(algo.limit_price),
        "reduceOnly": algo.reduce_only,
        "terminateType": algo.terminate_type,
        "terminateRemark": "RunningStop" if algo.terminate_type == 2 else "",
        "strategyName": "",
        "triggerCount": "0",
        "tradingCount": "0",
        "realizedPnl": "0",
        "strategyType": algo.strategy_type,
        "chasePrice": "",
        "chasePercentE4": "0",
        "chaseDistance": "0",
        "maxChasePrice": "",
        "chaseOrderPrice": "",
        "arbitrageOrders": [],
        "strategyPrefer": "",
        "isRebalance": False,
        "interval": algo.interval_s,
        "leverageType": 0,
        "postOnly": 0,
        "triggerPrice": "0",
        "isTriggered": False,
        "strategyTp": "",
        "strategySl": "",
        "orderType": "UNKNOWN",
        "orderPriceOffset": "",
        "positionValue": "",
        "filledPositionValue": "",
    }
