"""Margins of an account: what its positions and working orders need, and what is left. Pure but for reading.

Only USDT is collateral: other coins count towards equity, never towards margin (as on an account whose
owner switched their collateral off).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Final

from trade_simulator.accounts import Account
from trade_simulator.floor import Floor
from trade_simulator.instruments import Category, Instrument
from trade_simulator.orders import ZERO, Order, OrderStatus, Side
from trade_simulator.positions import Position, PositionState
from trade_simulator.records import CoinView, MarginMode, WalletView

MARGIN_QUANTUM: Final = Decimal("0.00000001")
COLLATERAL: Final = "USDT"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginState:
    """The margins of an account in USDT."""

    wallet: Decimal
    spot_locked: Decimal
    unrealised: Decimal
    position_im: Decimal
    position_mm: Decimal
    order_im: Decimal
    counts_profit: bool

    @property
    def free(self) -> Decimal:
        """Return what new linear orders may use; negative when the account is already short."""
        unrealised = self.unrealised if self.counts_profit else min(self.unrealised, ZERO)
        return self.wallet + unrealised - self.spot_locked - self.position_im - self.order_im

    @property
    def spendable(self) -> Decimal:
        """Return what may leave the wallet: profits that are not realised do not count."""
        spoken_for = self.spot_locked + self.position_im + self.order_im
        return max(self.wallet + min(self.unrealised, ZERO) - spoken_for, ZERO)


def margin_state(floor: Floor, account: Account) -> MarginState:
    """Sum up the margins of an account at the mark prices."""
    unrealised = initial = maintenance = ZERO
    for state in account.positions.values():
        if state.size:
            instrument = floor.instruments[Category.LINEAR, state.symbol]
            mark = floor.quotes[instrument.key].mark
            unrealised += state.unrealised(mark)
            initial += position_im(account, state)
            maintenance += position_mm(instrument, state, mark)
    return MarginState(
        wallet=account.balance(COLLATERAL),
        spot_locked=account.locked(COLLATERAL),
        unrealised=unrealised,
        position_im=initial,
        position_mm=maintenance,
        order_im=account.order_margin,
        counts_profit=account.margin_mode is MarginMode.REGULAR,
    )


def position_im(account: Account, state: PositionState) -> Decimal:
    """Return the initial margin of a position at the leverage of its side."""
    buy, sell = account.leverage_of(state.symbol)
    leverage = buy if state.size > 0 else sell
    return (state.entry_value / leverage).quantize(MARGIN_QUANTUM, rounding=ROUND_UP)


def position_mm(instrument: Instrument, state: PositionState, mark: Decimal) -> Decimal:
    """Return the maintenance margin of a position."""
    value = abs(state.size) * mark
    return (value * instrument.maintenance_margin_rate).quantize(MARGIN_QUANTUM, rounding=ROUND_UP)


def order_margins(account: Account, instrument: Instrument, orders: Iterable[Order]) -> dict[str, Decimal]:
    """Return what every working linear order of a symbol holds, in the order of their age.

    Orders against a position hold nothing for the part that closes it; the oldest come first.
    """
    capacity: dict[tuple[int, Side], Decimal] = {}
    for state in account.positions.values():
        if state.symbol == instrument.symbol and state.side is not None:
            capacity[state.position_idx, state.side.opposite] = abs(state.size)
    margins: dict[str, Decimal] = {}
    for order in orders:
        if order.reduce_only:
            margins[order.order_id] = ZERO
            continue
        key = (order.position_idx, order.side)
        closing = min(capacity.get(key, ZERO), order.leaves_qty)
        capacity[key] = capacity.get(key, ZERO) - closing
        margins[order.order_id] = opening_margin(
            account, instrument, order.side, value=(order.leaves_qty - closing) * order.price
        )
    return margins


def opening_margin(account: Account, instrument: Instrument, side: Side, *, value: Decimal) -> Decimal:
    """Return the initial margin and the fee that opening a value needs."""
    buy, sell = account.leverage_of(instrument.symbol)
    leverage = buy if side is Side.BUY else sell
    needed = value / leverage + value * instrument.taker_fee_rate
    return needed.quantize(MARGIN_QUANTUM, rounding=ROUND_UP)


def working_linear_orders(account: Account, symbol: str) -> list[Order]:
    """Return the orders of a symbol that are in the book, oldest first."""
    return [
        order
        for order in account.open_orders.values()
        if order.symbol == symbol and order.category is Category.LINEAR and order.status is not OrderStatus.UNTRIGGERED
    ]


def refresh_order_margin(floor: Floor, account: Account, symbol: str) -> None:
    """Make the orders of a symbol hold what they need now."""
    orders = working_linear_orders(account, symbol)
    margins = order_margins(account, floor.instruments[Category.LINEAR, symbol], orders)
    for order in orders:
        needed = margins[order.order_id]
        if needed != order.locked_amount:
            account.order_margin += needed - order.locked_amount
            order.locked_coin = COLLATERAL
            order.locked_amount = needed
    floor.touch_wallet(account.uid)


def release_order_margin(account: Account, order: Order) -> None:
    """Free what a linear order holds."""
    account.order_margin -= order.locked_amount
    order.locked_amount = ZERO


def liquidation_price(floor: Floor, account: Account, state: PositionState) -> Decimal | None:
    """Estimate the mark price at which a position is liquidated, all other prices standing still."""
    instrument = floor.instruments[Category.LINEAR, state.symbol]
    rate = instrument.maintenance_margin_rate
    if account.margin_mode is MarginMode.ISOLATED:
        backing = position_im(account, state)
    else:
        margins = margin_state(floor, account)
        mark = floor.quotes[instrument.key].mark
        others = margins.unrealised - state.unrealised(mark)
        other_mm = margins.position_mm - position_mm(instrument, state, mark)
        backing = margins.wallet - margins.spot_locked + others - other_mm
    if state.size > 0:
        price = (state.entry_value - backing) / (state.size * (1 - rate))
    else:
        price = (state.entry_value + backing) / (-state.size * (1 + rate))
    return instrument.nearest_price(price) if price > 0 else None


def bust_price(account: Account, instrument: Instrument, state: PositionState) -> Decimal | None:
    """Return the price at which an isolated position has used up its margin; None in cross margin."""
    if account.margin_mode is not MarginMode.ISOLATED:
        return None
    backing = position_im(account, state)
    price = (state.entry_value - backing * (1 if state.size > 0 else -1)) / abs(state.size)
    return max(instrument.nearest_price(price), instrument.tick_size)


def position_view(floor: Floor, account: Account, state: PositionState) -> Position:
    """Describe a position at the mark price."""
    instrument = floor.instruments[Category.LINEAR, state.symbol]
    mark = floor.quotes[instrument.key].mark
    is_open = state.size != 0
    buy, sell = account.leverage_of(state.symbol)
    initial = position_im(account, state) if is_open else ZERO
    return Position(
        uid=account.uid,
        symbol=state.symbol,
        base_coin=instrument.base_coin,
        settle_coin=instrument.settle_coin,
        position_idx=state.position_idx,
        side=state.side,
        size=abs(state.size),
        avg_price=state.entry_value / abs(state.size) if is_open else ZERO,
        position_value=state.entry_value,
        leverage=sell if state.size < 0 else buy,
        trade_mode=1 if account.margin_mode is MarginMode.ISOLATED else 0,
        mark_price=mark,
        liq_price=liquidation_price(floor, account, state) if is_open else None,
        bust_price=bust_price(account, instrument, state) if is_open else None,
        position_im=initial,
        position_mm=position_mm(instrument, state, mark) if is_open else ZERO,
        position_balance=initial,
        unrealised_pnl=state.unrealised(mark) if is_open else ZERO,
        cur_realised_pnl=state.cur_realised,
        cum_realised_pnl=state.cum_realised,
        take_profit=state.take_profit,
        stop_loss=state.stop_loss,
        trailing_stop=state.trailing_stop,
        active_price=state.active_price,
        tp_trigger_by=state.tp_trigger_by,
        sl_trigger_by=state.sl_trigger_by,
        tpsl_mode=state.tpsl_mode,
        risk_limit_value=instrument.risk_limit_value,
        created_at_ms=state.created_at_ms,
        updated_at_ms=state.updated_at_ms,
        seq=state.seq,
    )


def wallet_view(floor: Floor, account: Account) -> WalletView:
    """Describe the unified wallet of an account."""
    margins = margin_state(floor, account)
    coins = tuple(
        _coin_view(floor, account, margins, coin)
        for coin, balance in account.balances.items()
        if balance or account.locked(coin) or coin == COLLATERAL
    )
    margin_balance = margins.wallet + margins.unrealised
    initial = margins.position_im + margins.order_im
    return WalletView(
        uid=account.uid,
        coins=coins,
        total_equity=sum((view.usd_value for view in coins), ZERO),
        total_wallet_balance=sum((view.wallet_balance * floor.index_price(view.coin) for view in coins), ZERO),
        total_margin_balance=margin_balance,
        total_available_balance=max(margins.free, ZERO),
        total_perp_upl=margins.unrealised,
        total_initial_margin=initial,
        total_maintenance_margin=margins.position_mm,
        account_im_rate=_rate(initial, margin_balance),
        account_mm_rate=_rate(margins.position_mm, margin_balance),
    )


def _coin_view(floor: Floor, account: Account, margins: MarginState, coin: str) -> CoinView:
    is_collateral = coin == COLLATERAL
    balance = account.balance(coin)
    unrealised = margins.unrealised if is_collateral else ZERO
    free = margins.spendable if is_collateral else max(balance - account.locked(coin), ZERO)
    return CoinView(
        coin=coin,
        equity=balance + unrealised,
        usd_value=(balance + unrealised) * floor.index_price(coin),
        wallet_balance=balance,
        locked=account.locked(coin),
        total_order_im=margins.order_im if is_collateral else ZERO,
        total_position_im=margins.position_im if is_collateral else ZERO,
        total_position_mm=margins.position_mm if is_collateral else ZERO,
        unrealised_pnl=unrealised,
        cum_realised_pnl=account.cum_realised if is_collateral else ZERO,
        available_to_withdraw=free,
        is_collateral=is_collateral,
    )


def _rate(part: Decimal, whole: Decimal) -> Decimal:
    return (part / whole).quantize(Decimal("0.0001")) if whole > 0 else ZERO
