"""Funding and liquidation of linear positions."""

from decimal import Decimal

from trade_simulator.accounts import Account
from trade_simulator.conditionals import Conditionals
from trade_simulator.engine_orders import closing_order
from trade_simulator.floor import Floor
from trade_simulator.instruments import Category
from trade_simulator.margin import (
    COLLATERAL,
    bust_price,
    margin_state,
    position_im,
    position_mm,
)
from trade_simulator.matching import Matcher
from trade_simulator.orders import (
    CancelType,
    CreateType,
)
from trade_simulator.positions import PositionState
from trade_simulator.records import MarginMode
from trade_simulator.settlement import Settlement


class Risk:
    """Watches the margins of all accounts."""

    def __init__(self, floor: Floor, matcher: Matcher, settlement: Settlement, conditionals: Conditionals) -> None:
        self._floor = floor
        self._matcher = matcher
        self._settlement = settlement
        self._conditionals = conditionals

    def settle_funding(self, symbol: str, rate: Decimal) -> None:
        """Exchange funding on every open position of a symbol; longs pay a positive rate."""
        for account in self._floor.accounts.values():
            for state in account.positions.values():
                if state.symbol == symbol and state.size:
                    self._settlement.settle_funding(account, state, rate)

    def check(self) -> None:
        """Liquidate whatever has used up its margin."""
        for account in self._floor.accounts.values():
            open_positions = [state for state in account.positions.values() if state.size]
            if not open_positions:
                if account.balance(COLLATERAL) < account.locked(COLLATERAL):
                    self._liquidate(account, [])
            elif account.margin_mode is MarginMode.ISOLATED:
                for state in open_positions:
                    if self._is_isolated_exhausted(account, state):
                        self._liquidate(account, [state])
            else:
                margins = margin_state(self._floor, account)
                if margins.wallet + margins.unrealised <= margins.position_mm:
                    self._liquidate(account, open_positions)

    def _is_isolated_exhausted(self, account: Account, state: PositionState) -> bool:
        instrument = self._floor.instruments[Category.LINEAR, state.symbol]
        mark = self._floor.quotes[instrument.key].mark
        backing = position_im(account, state) + state.unrealised(mark)
        return backing <= position_mm(instrument, state, mark)

    def _liquidate(self, account: Account, states: list[PositionState]) -> None:
        symbols = {state.symbol for state in states}
        for order in list(account.open_orders.values()):
            # Spot orders that hold collateral go too: it is needed now.
            touches = order.category is Category.LINEAR and order.symbol in symbols
            if order.is_open and (touches or order.locked_coin == COLLATERAL):
                self._conditionals.forget(order)
                self._matcher.finish(order, cancel_type=CancelType.ALL_BEFORE_LIQUIDATION)
        for state in states:
            order = closing_order(
                self._floor, account, state, quantity=abs(state.size), create_type=CreateType.BY_LIQUIDATION
            )
            account.remember(order)
            self._matcher.take_over(order, self._takeover_price(account, state))
        if not any(state.size for state in account.positions.values()):
            self._settlement.cover_bankruptcy(account)

    def _takeover_price(self, account: Account, state: PositionState) -> Decimal:
        instrument = self._floor.instruments[Category.LINEAR, state.symbol]
        mark = self._floor.quotes[instrument.key].mark
        bust = bust_price(account, instrument, state)
        if bust is None:
            return mark
        # An isolated position loses no more than its own margin.
        return max(mark, bust) if state.size > 0 else min(mark, bust)
