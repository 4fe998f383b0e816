"""Linear positions: average entry, results and margins, exact to the last digit.

A position carries the value it was entered at (entry_value) rather than an average price, so that partial
closes release an exact share of it and no cent appears or disappears. The average price is only shown.
"""

from dataclasses import dataclass
from decimal import Decimal

from trade_simulator.orders import Side, TpslMode, TriggerBy


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What the exchange shows of one position; side is None when it is flat."""

    uid: str
    symbol: str
    base_coin: str
    settle_coin: str
    position_idx: int
    side: Side | None
    size: Decimal
    avg_price: Decimal
    position_value: Decimal
    leverage: Decimal
    # 0 cross, 1 isolated.
    trade_mode: int
    mark_price: Decimal
    liq_price: Decimal | None
    bust_price: Decimal | None
    position_im: Decimal
    position_mm: Decimal
    position_balance: Decimal
    unrealised_pnl: Decimal
    cur_realised_pnl: Decimal
    cum_realised_pnl: Decimal
    take_profit: Decimal | None
    stop_loss: Decimal | None
    trailing_stop: Decimal | None
    active_price: Decimal | None
    tp_trigger_by: TriggerBy
    sl_trigger_by: TriggerBy
    tpsl_mode: TpslMode
    risk_limit_value: Decimal
    created_at_ms: int
    updated_at_ms: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPnl:
    """The result of one order that closed a position or part of it; side is the closing order's."""

    uid: str
    symbol: str
    order_id: str
    side: Side
    order_type: str
    order_price: Decimal
    qty: Decimal
    closed_size: Decimal
    cum_entry_value: Decimal
    avg_entry_price: Decimal
    cum_exit_value: Decimal
    avg_exit_price: Decimal
    # Net of the closing fees and of the share of the opening fees.
    closed_pnl: Decimal
    open_fee: Decimal
    close_fee: Decimal
    fill_count: int
    leverage: Decimal
    exec_type: str
    created_at_ms: int
    updated_at_ms: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingStop:
    """A request to set, change or (with zero) remove the stops of a position. None leaves one alone."""

    symbol: str
    position_idx: int = 0
    tpsl_mode: TpslMode = TpslMode.FULL
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    trailing_stop: Decimal | None = None
    active_price: Decimal | None = None
    tp_trigger_by: TriggerBy = TriggerBy.LAST
    sl_trigger_by: TriggerBy = TriggerBy.LAST
    tp_size: Decimal | None = None
    sl_size: Decimal | None = None
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None
