"""Booking of executions: wallets, positions, fees, ledger and the house on the other side.

Every amount is booked exactly once on each side, so that the sum over all members, the house and the fees
never changes but by deposits and withdrawals.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Final

from trade_simulator.accounts import Account
from trade_simulator.events import Executed
from trade_simulator.floor import Floor
from trade_simulator.instruments import Category, Instrument
from trade_simulator.margin import COLLATERAL
from trade_simulator.orders import (
    ZERO,
    CreateType,
    ExecType,
    Execution,
    MarketUnit,
    Order,
    OrderStatus,
    OrderType,
    Side,
    StopOrderType,
)
from trade_simulator.positions import Close, ClosedPnl, PositionState, apply_execution
from trade_simulator.records import TransactionLog, TransactionType

# Fees and funding are charged to ten digits; fees round up, against the member.
FEE_QUANTUM: Final = Decimal("0.0000000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One fill as the settlement sees it."""

    quantity: Decimal
    price: Decimal
    is_maker: bool
    exec_type: ExecType
    # The other side is a synthetic participant or the liquidation engine, not a member.
    with_house: bool

    @property
    def value(self) -> Decimal:
        """Return the traded value in quote coin."""
        return self.quantity * self.price


class Settlement:
    """Books fills and funding."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def settle(self, order: Order, trade: Trade) -> None:
        """Book one fill of an order, and tell of the execution."""
        floor = self._floor
        account = floor.accounts[order.uid]
        instrument = floor.instruments[order.category, order.symbol]
        rate = instrument.maker_fee_rate if trade.is_maker else instrument.taker_fee_rate
        if order.category is Category.SPOT:
            fee, close = self._settle_spot(account, order, instrument, trade, rate), None
        else:
            fee, close = self._settle_linear(account, order, instrument, trade, rate)
        coin = _fee_coin(instrument, order.side)
        _fill(order, trade, fee=fee, coin=coin)
        if order.category is Category.SPOT and order.locked_coin:
            release_spot(account, order)
        floor.house.collect_fee(coin, fee)
        floor.touch_wallet(account.uid)
        execution = self._execution(order, instrument, trade, fee=fee, rate=rate, coin=coin, close=close)
        account.executions.append(execution)
        if close is not None:
            self._after_linear(account, order, execution, close, fee)
        else:
            self._log_spot(account, execution, instrument)
        floor.emit(Executed(uid=account.uid, execution=execution))

    def settle_funding(self, account: Account, state: PositionState, rate: Decimal) -> None:
        """Charge (or pay) funding on a position at the mark price."""
        floor = self._floor
        instrument = floor.instruments[Category.LINEAR, state.symbol]
        mark = floor.quotes[instrument.key].mark
        value = abs(state.size) * mark
        cost = (state.size * mark * rate).quantize(FEE_QUANTUM, rounding=ROUND_HALF_UP)
        account.add(COLLATERAL, -cost)
        floor.house.add(COLLATERAL, cost)
        state.cur_realised -= cost
        state.cum_realised -= cost
        account.cum_realised -= cost
        side = Side.BUY if state.size > 0 else Side.SELL
        execution = Execution(
            uid=account.uid,
            category=Category.LINEAR,
            symbol=state.symbol,
            base_coin=instrument.base_coin,
            settle_coin=instrument.settle_coin,
            exec_id=floor.new_id(),
            order_id=floor.new_id(),
            order_link_id="",
            side=side,
            order_type=OrderType.MARKET,
            stop_order_type=StopOrderType.NONE,
            order_price=ZERO,
            order_qty=ZERO,
            leaves_qty=ZERO,
            exec_type=ExecType.FUNDING,
            exec_price=mark,
            exec_qty=abs(state.size),
            exec_value=value,
            exec_fee=cost,
            fee_rate=rate,
            fee_currency=COLLATERAL,
            is_maker=False,
            mark_price=mark,
            index_price=floor.quotes[instrument.key].index,
            closed_size=ZERO,
            exec_pnl=ZERO,
            create_type=CreateType.BY_USER,
            is_leverage=False,
            market_unit=MarketUnit.NONE,
            executed_at_ms=floor.now_ms(),
            seq=floor.next_sequence(),
        )
        account.executions.append(execution)
        self.log(
            account, kind=TransactionType.SETTLEMENT, currency=COLLATERAL, funding=-cost, change=-cost,
            execution=execution, size=state.size,
        )  # fmt: skip
        floor.touch_wallet(account.uid)
        floor.touch_position(account.uid, state.symbol, state.position_idx)
        floor.emit(Executed(uid=account.uid, execution=execution))

    def cover_bankruptcy(self, account: Account) -> None:
        """Let the insurance pay what a liquidated account still owes."""
        owed = -account.balance(COLLATERAL)
        if owed <= 0:
            return
        account.add(COLLATERAL, owed)
        self._floor.house.add(COLLATERAL, -owed)
        self.log(account, kind=TransactionType.BONUS, currency=COLLATERAL, cash_flow=owed, change=owed)
        self._floor.touch_wallet(account.uid)

    def log(
        self,
        account: Account,
        *,
        kind: TransactionType,
        currency: str,
        change: Decimal,
        cash_flow: Decimal = ZERO,
        funding: Decimal = ZERO,
        fee: Decimal = ZERO,
        size: Decimal = ZERO,
        execution: Execution | None = None,
    ) -> None:
        """Write one ledger entry about a balance that has just changed."""
        sequence = self._floor.next_sequence()
        account.ledger.append(
            TransactionLog(
                uid=account.uid,
                entry_id=f"{account.uid}_{execution.symbol if execution else currency}_{sequence}",
                category=execution.category if execution else None,
                symbol=execution.symbol if execution else "",
                side=execution.side if execution else None,
                kind=kind,
                currency=currency,
                qty=execution.exec_qty if execution else abs(change),
                size=size,
                trade_price=execution.exec_price if execution else ZERO,
                funding=funding,
                fee=fee,
                fee_rate=execution.fee_rate if execution else ZERO,
                cash_flow=cash_flow,
                change=change,
                cash_balance=account.balance(currency),
                trade_id=execution.exec_id if execution else "",
                order_id=execution.order_id if execution else "",
                order_link_id=execution.order_link_id if execution else "",
                at_ms=self._floor.now_ms(),
                seq=sequence,
            )
        )

    def _settle_spot(
        self, account: Account, order: Order, instrument: Instrument, trade: Trade, rate: Decimal
    ) -> Decimal:
        sign = order.side.sign
        received = trade.quantity if sign > 0 else trade.value
        fee = (received * rate).quantize(FEE_QUANTUM, rounding=ROUND_UP)
        account.add(instrument.base_coin, trade.quantity * sign)
        account.add(instrument.quote_coin, -trade.value * sign)
        account.add(_fee_coin(instrument, order.side), -fee)
        if trade.with_house:
            self._floor.house.add(instrument.base_coin, -trade.quantity * sign)
            self._floor.house.add(instrument.quote_coin, trade.value * sign)
        return fee

    def _settle_linear(
        self, account: Account, order: Order, instrument: Instrument, trade: Trade, rate: Decimal
    ) -> tuple[Decimal, Close]:
        floor, sign = self._floor, order.side.sign
        state = self.position_of(account, instrument.symbol, order.position_idx)
        fee = (trade.value * rate).quantize(FEE_QUANTUM, rounding=ROUND_UP)
        close = apply_execution(state, side=order.side, quantity=trade.quantity, price=trade.price, fee=fee)
        state.updated_at_ms = floor.now_ms()
        state.seq = floor.next_sequence()
        account.add(COLLATERAL, close.realised - fee)
        account.cum_realised += close.realised - fee
        if trade.with_house:
            sizes = floor.house.linear_sizes
            sizes[instrument.symbol] = sizes.get(instrument.symbol, ZERO) - trade.quantity * sign
            floor.house.add(COLLATERAL, trade.value * sign)
        floor.touch_position(account.uid, instrument.symbol, order.position_idx)
        return fee, close

    def position_of(self, account: Account, symbol: str, position_idx: int) -> PositionState:
        """Return the position of a symbol, a flat one if there never was any."""
        key = (symbol, position_idx)
        if key not in account.positions:
            now_ms = self._floor.now_ms()
            account.positions[key] = PositionState(
                symbol=symbol, position_idx=position_idx, created_at_ms=now_ms, updated_at_ms=now_ms,
                seq=self._floor.next_sequence(),
            )  # fmt: skip
        return account.positions[key]

    def _execution(
        self, order: Order, instrument: Instrument, trade: Trade, *, fee: Decimal, rate: Decimal, coin: str,
        close: Close | None,
    ) -> Execution:  # fmt: skip
        floor = self._floor
        quote = floor.quotes[instrument.key]
        return Execution(
            uid=order.uid,
            category=order.category,
            symbol=order.symbol,
            base_coin=order.base_coin,
            settle_coin=order.settle_coin,
            exec_id=floor.new_id(),
            order_id=order.order_id,
            order_link_id=order.order_link_id,
            side=order.side,
            order_type=order.order_type,
            stop_order_type=order.stop_order_type,
            order_price=order.price,
            order_qty=order.qty,
            leaves_qty=order.leaves_qty,
            exec_type=trade.exec_type,
            exec_price=trade.price,
            exec_qty=trade.quantity,
            exec_value=trade.value,
            exec_fee=fee,
            fee_rate=rate,
            fee_currency=coin,
            is_maker=trade.is_maker,
            mark_price=quote.mark,
            index_price=quote.index,
            closed_size=close.quantity if close else ZERO,
            exec_pnl=close.realised if close else ZERO,
            create_type=order.create_type,
            is_leverage=order.is_leverage,
            market_unit=order.market_unit,
            executed_at_ms=floor.now_ms(),
            seq=floor.next_sequence(),
        )

    def _log_spot(self, account: Account, execution: Execution, instrument: Instrument) -> None:
        sign = execution.side.sign
        flows = {
            instrument.base_coin: execution.exec_qty * sign,
            instrument.quote_coin: -execution.exec_value * sign,
        }
        for coin, flow in flows.items():
            fee = execution.exec_fee if coin == execution.fee_currency else ZERO
            self.log(
                account, kind=TransactionType.TRADE, currency=coin, cash_flow=flow, fee=fee,
                change=flow - fee, execution=execution,
            )  # fmt: skip

    def _after_linear(self, account: Account, order: Order, execution: Execution, close: Close, fee: Decimal) -> None:
        order.closed_pnl += close.realised
        is_bust = execution.exec_type is ExecType.BUST_TRADE
        self.log(
            account,
            kind=TransactionType.LIQUIDATION if is_bust else TransactionType.TRADE,
            currency=COLLATERAL,
            cash_flow=close.realised,
            fee=fee,
            change=close.realised - fee,
            size=account.position_size(order.symbol, order.position_idx),
            execution=execution,
        )
        if close.quantity:
            account.record_close(_closed_result(account, order, execution, close, fee))


def _fee_coin(instrument: Instrument, side: Side) -> str:
    if instrument.category is Category.LINEAR:
        return COLLATERAL
    return instrument.base_coin if side is Side.BUY else instrument.quote_coin


def _fill(order: Order, trade: Trade, *, fee: Decimal, coin: str) -> None:
    order.cum_exec_qty += trade.quantity
    order.cum_exec_value += trade.value
    order.cum_exec_fee += fee
    order.cum_fee_detail[coin] = order.cum_fee_detail.get(coin, ZERO) + fee
    order.fee_currency = coin
    order.leaves_qty -= trade.value if order.market_unit is MarketUnit.QUOTE else trade.quantity
    order.status = OrderStatus.PARTIALLY_FILLED if order.leaves_qty > 0 else OrderStatus.FILLED


def release_spot(account: Account, order: Order) -> None:
    """Make a spot order hold only what its remaining quantity needs."""
    if order.side is Side.SELL or order.market_unit is MarketUnit.QUOTE:
        held = order.leaves_qty
    else:
        held = order.leaves_qty * order.price
    account.lock_spot(order, order.locked_coin, min(held, order.locked_amount))


def _closed_result(account: Account, order: Order, execution: Execution, close: Close, fee: Decimal) -> ClosedPnl:
    before = account.closed_results.get(order.order_id)
    quantity = close.quantity + (before.closed_size if before else ZERO)
    entry_value = close.entry_value + (before.cum_entry_value if before else ZERO)
    exit_value = close.exit_value + (before.cum_exit_value if before else ZERO)
    # An execution that turns the position round pays only part of its fee for closing.
    closing_fee = (fee * close.quantity / execution.exec_qty).quantize(FEE_QUANTUM)
    close_fee = closing_fee + (before.close_fee if before else ZERO)
    open_fee = close.open_fees + (before.open_fee if before else ZERO)
    buy, sell = account.leverage_of(order.symbol)
    return ClosedPnl(
        uid=account.uid,
        symbol=order.symbol,
        order_id=order.order_id,
        side=order.side,
        order_type=order.order_type.value,
        order_price=order.price,
        qty=order.qty,
        closed_size=quantity,
        cum_entry_value=entry_value,
        avg_entry_price=entry_value / quantity,
        cum_exit_value=exit_value,
        avg_exit_price=exit_value / quantity,
        closed_pnl=(exit_value - entry_value) * -order.side.sign - open_fee - close_fee,
        open_fee=open_fee,
        close_fee=close_fee,
        fill_count=1 + (before.fill_count if before else 0),
        # A buy closes a short, so the other side's leverage was at work.
        leverage=sell if order.side is Side.BUY else buy,
        exec_type=execution.exec_type.value,
        created_at_ms=before.created_at_ms if before else execution.executed_at_ms,
        updated_at_ms=execution.executed_at_ms,
        seq=execution.seq,
    )
