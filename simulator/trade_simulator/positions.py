"""Linear positions: average entry, results and margins, exact to the last digit.

A position carries the value it was entered at (entry_value) rather than an average price, so that partial
closes release an exact share of it and no cent appears or disappears. The average price is only shown.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trade_simulator.orders import ZERO, Side, TpslMode, TriggerBy

ENTRY_QUANTUM: Final = Decimal("0.000000000001")


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


@dataclass(slots=True, kw_only=True)
class PositionState:
    """A position as the engine keeps it: size is signed, entry_value is what the open size was bought for."""

    symbol: str
    position_idx: int
    created_at_ms: int
    updated_at_ms: int
    seq: int
    size: Decimal = ZERO
    entry_value: Decimal = ZERO
    # Opening fees of the open size, released with it into the closed result.
    open_fees: Decimal = ZERO
    cur_realised: Decimal = ZERO
    cum_realised: Decimal = ZERO
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    trailing_stop: Decimal | None = None
    active_price: Decimal | None = None
    # The best price since the trailing stop became active; None until then.
    trailing_extreme: Decimal | None = None
    tp_trigger_by: TriggerBy = TriggerBy.NONE
    sl_trigger_by: TriggerBy = TriggerBy.NONE
    tpsl_mode: TpslMode = TpslMode.FULL

    @property
    def side(self) -> Side | None:
        """Return the direction, None when flat."""
        if not self.size:
            return None
        return Side.BUY if self.size > 0 else Side.SELL

    def unrealised(self, mark_price: Decimal) -> Decimal:
        """Return the result of closing all at a price, before fees."""
        value = self.size * mark_price
        return value - self.entry_value if self.size > 0 else value + self.entry_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """What an execution closed: zeros when it only opened."""

    quantity: Decimal
    entry_value: Decimal
    exit_value: Decimal
    realised: Decimal
    open_fees: Decimal


def apply_execution(state: PositionState, *, side: Side, quantity: Decimal, price: Decimal, fee: Decimal) -> Close:
    """Book an execution into a position and return what it closed.

    The fee is shared between the closing and the opening part in proportion. The released entry value is
    rounded to twelve digits; the rest stays in the position, so the sum is exact.
    """
    signed = quantity * side.sign
    closing = min(quantity, abs(state.size)) if state.size * signed < 0 else ZERO
    opening = quantity - closing
    close = _close(state, side=side, closing=closing, price=price)
    open_fee = (fee * opening / quantity).quantize(ENTRY_QUANTUM) if opening != quantity else fee
    state.size += signed
    state.entry_value += opening * price
    state.open_fees += open_fee
    state.cur_realised += close.realised - fee
    state.cum_realised += close.realised - fee
    return close


def _close(state: PositionState, *, side: Side, closing: Decimal, price: Decimal) -> Close:
    if not closing:
        return Close(quantity=ZERO, entry_value=ZERO, exit_value=ZERO, realised=ZERO, open_fees=ZERO)
    size = abs(state.size)
    entry_value, fees = state.entry_value, state.open_fees
    if closing != size:
        entry_value = (entry_value * closing / size).quantize(ENTRY_QUANTUM)
        fees = (fees * closing / size).quantize(ENTRY_QUANTUM)
    exit_value = closing * price
    state.entry_value -= entry_value
    state.open_fees -= fees
    # A sell closes a long: what it brings less what it cost. A buy closes a short: the other way round.
    realised = exit_value - entry_value if side is Side.SELL else entry_value - exit_value
    return Close(quantity=closing, entry_value=entry_value, exit_value=exit_value, realised=realised, open_fees=fees)
