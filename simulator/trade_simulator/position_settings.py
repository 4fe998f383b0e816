"""Settings of positions: leverage, position mode, margin mode."""

from decimal import Decimal

from trade_simulator.accounts import Account
from trade_simulator.floor import Floor
from trade_simulator.instruments import Category
from trade_simulator.margin import margin_state, refresh_order_margin
from trade_simulator.records import MarginMode
from trade_simulator.rejections import (
    LEVERAGE_TOO_HIGH,
    LEVERAGE_UNCHANGED,
    MARGIN_INSUFFICIENT,
    MARGIN_MODE_FAILED,
    ORDERS_EXIST,
    POSITION_EXISTS,
    parameter_error,
)

ONE_WAY = 0
HEDGE = 3


def set_leverage(floor: Floor, account: Account, symbol: str, *, buy: Decimal, sell: Decimal) -> None:
    """Set the leverage of a symbol. Raises Rejected."""
    instrument = floor.instrument(Category.LINEAR, symbol)
    if not account.is_hedge_mode and buy != sell:
        raise parameter_error("buy leverage not equal sell leverage")
    for leverage in (buy, sell):
        if leverage < instrument.min_leverage or leverage % instrument.leverage_step:
            raise parameter_error("leverage invalid")
        if leverage > instrument.max_leverage:
            raise LEVERAGE_TOO_HIGH.error()
    before = account.leverage_of(symbol)
    if before == (buy, sell):
        raise LEVERAGE_UNCHANGED.error()
    account.leverage[symbol] = (buy, sell)
    refresh_order_margin(floor, account, symbol)
    needs_more = buy < before[0] or sell < before[1]
    if needs_more and margin_state(floor, account).free < 0:
        account.leverage[symbol] = before
        refresh_order_margin(floor, account, symbol)
        raise MARGIN_INSUFFICIENT.error()
    for state in account.positions.values():
        if state.symbol == symbol:
            floor.touch_position(account.uid, symbol, state.position_idx)


def switch_mode(floor: Floor, account: Account, *, symbol: str, coin: str, mode: int) -> None:
    """Set one-way or hedge mode, for the whole account. Raises Rejected.

    Asking for the mode that is set succeeds: clients do so at every start.
    """
    if symbol:
        floor.instrument(Category.LINEAR, symbol)
    if not symbol and coin not in {one.settle_coin for one in floor.instruments.values() if one.settle_coin}:
        raise parameter_error("symbol or coin is required")
    if mode not in {ONE_WAY, HEDGE}:
        raise parameter_error("mode invalid")
    if account.is_hedge_mode == (mode == HEDGE):
        return
    if any(state.size for state in account.positions.values()):
        raise POSITION_EXISTS.error()
    if any(order.category is Category.LINEAR for order in account.open_orders.values()):
        raise ORDERS_EXIST.error()
    account.is_hedge_mode = mode == HEDGE


def set_margin_mode(floor: Floor, account: Account, mode: MarginMode) -> None:
    """Set the margin mode of the whole account. Raises Rejected 3400045 when its margin would not do.

    Asking for the mode that is set succeeds: clients do so before every order.
    """
    if account.margin_mode is mode:
        return
    before = account.margin_mode
    account.margin_mode = mode
    if margin_state(floor, account).free < 0:
        account.margin_mode = before
        raise MARGIN_MODE_FAILED.error()
    floor.touch_wallet(account.uid)
    for state in account.positions.values():
        floor.touch_position(account.uid, state.symbol, state.position_idx)
