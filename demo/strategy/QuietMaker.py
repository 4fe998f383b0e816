# Copyright (C) 2026 the Trade authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file runs inside freqtrade, which is GPL-3.0, and is licensed under the GNU General Public License,
# version 3 or (at your option) any later version: <https://www.gnu.org/licenses/gpl-3.0.html>.
# It comes without any warranty. Nothing else in this repository imports it, and it is in no wheel.
"""A sample strategy that trades often, in small amounts, and only as a maker. It is meant to be watched, not to earn.

When flat it rests a PostOnly buy on the best bid. Once filled it waits `hold_s`, or for a small profit, and
rests a PostOnly sell on the best ask. The prices come from the configuration (`price_side: same`, order book
level 1), not from here. An order that the market has left behind, or that does not fill in time, is cancelled and
sent again at the new best price. Long only, spot and futures.

It keeps its turnover small by itself: buys of the last ten minutes stay below a fifth of the equity, so that
buys and sells together stay below half of it, and they are spread over the time. When the next buy would pass that,
the pair rests for a minute.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from freqtrade.persistence import Order, Trade
from freqtrade.strategy import IStrategy
from pandas import DataFrame

TURNOVER_WINDOW = timedelta(minutes=10)
# A third of the budget each third of the window, so that it is not spent at once and followed by silence.
PACE_WINDOW = TURNOVER_WINDOW / 3
BUY_TURNOVER_FRACTION = Decimal("0.2")
REST = timedelta(minutes=1)


class QuietMaker(IStrategy):
    """Buy at the bid, hold for half a minute, sell at the ask. Freqtrade calls every callback by keywords."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    can_short = False
    startup_candle_count = 2
    process_only_new_candles = True

    # Leave with a profit of 0.3 % after fees at any time; otherwise custom_exit ends the trade.
    minimal_roi = {"0": 0.003}  # noqa: RUF012 - freqtrade's interface wants a plain attribute
    # Watched by freqtrade itself, and exited with a limit order: see the configuration.
    stoploss = -0.05
    hold_s = 30
    patience_s = 10

    def populate_indicators(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        return dataframe

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        dataframe["enter_long"] = 1
        dataframe["enter_tag"] = "flat_at_the_bid"  # a strategy with reasons names them here; the journal keeps them
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        dataframe["exit_long"] = 0
        return dataframe

    def custom_exit(self, *, trade: Trade, current_time: datetime, **_others) -> str | None:
        """End a trade that has been held long enough since its last fill."""
        filled_at = trade.date_last_filled_utc
        if filled_at is not None and current_time - filled_at >= timedelta(seconds=self.hold_s):
            return "held_long_enough"
        return None

    def check_entry_timeout(self, *, pair: str, order: Order, current_time: datetime, **_others) -> bool:
        """Give up a buy that the best bid has left behind; freqtrade then sends a new one."""
        return self._is_left_behind(pair, order, current_time, side="bids")

    def check_exit_timeout(self, *, pair: str, order: Order, current_time: datetime, **_others) -> bool:
        """Give up a sell that the best ask has left behind; freqtrade then sends a new one."""
        return self._is_left_behind(pair, order, current_time, side="asks")

    def confirm_trade_entry(self, *, pair: str, amount: float, rate: float, current_time: datetime, **_others) -> bool:
        """Refuse a buy that would take the recent buys over their part of the equity, or that comes too soon."""
        budget = Decimal(str(self.wallets.get_total_stake_amount())) * BUY_TURNOVER_FRACTION
        wanted = Decimal(str(amount)) * Decimal(str(rate))
        in_pace = self._buys_since(current_time - PACE_WINDOW)
        fits_pace = in_pace == 0 or in_pace + wanted <= budget * PACE_WINDOW.seconds / TURNOVER_WINDOW.seconds
        if fits_pace and self._buys_since(current_time - TURNOVER_WINDOW) + wanted <= budget:
            return True
        self.lock_pair(pair, until=datetime.now(UTC) + REST, reason="turnover budget used up")
        return False

    def leverage(self, **_others) -> float:
        """Return the leverage that the gateway's policy pins; any other is denied."""
        return float(self.config.get("pinned_leverage", 1))

    def _is_left_behind(self, pair: str, order: Order, now: datetime, *, side: str) -> bool:
        if now - order.order_date_utc < timedelta(seconds=self.patience_s):
            return False
        levels = self.dp.orderbook(pair, 1)[side]
        if not levels:
            return False
        best = levels[0][0]
        return best > order.safe_price if side == "bids" else best < order.safe_price

    def _buys_since(self, start: datetime) -> Decimal:
        trades = Trade.get_trades_proxy(open_date=start)
        orders = [order for trade in trades for order in trade.orders if order.ft_order_side == "buy"]
        return sum((_counted_usdt(order) for order in orders), start=Decimal(0))


def _counted_usdt(order: Order) -> Decimal:
    """Return what a buy counts: whole while it works, only its filled part once it has ended."""
    amount = order.safe_amount if order.ft_is_open else order.safe_filled
    return Decimal(str(amount)) * Decimal(str(order.safe_price))
