"""The sample strategy inside the real freqtrade: small turnover, short trades, the pinned leverage."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
FREQTRADE = Path(sys.prefix).parent / "freqtrade" / "bin" / "python"
STRATEGIES = Path(__file__).parents[2] / "demo" / "strategy"

# Runs in freqtrade's environment: a database in memory with buys at several ages, and the strategy's answers.
PROGRAM = """
import json, sys
from datetime import UTC, datetime, timedelta
sys.path.insert(0, sys.argv[1])
from freqtrade.persistence import Order, PairLocks, Trade, init_db
from QuietMaker import QuietMaker
init_db("sqlite://")
PairLocks.timeframe = "1m"
now = datetime.now(UTC)

def buy(number, usdt, *, minutes_ago, filled=1.0, is_open=False):
    opened = now - timedelta(minutes=minutes_ago)
    trade = Trade(pair="BTC/USDT", stake_amount=usdt, amount=usdt / 100, open_rate=100.0, is_open=True,
                  exchange="bybit", fee_open=0.001, fee_close=0.001, open_date=opened)
    order = Order(ft_order_side="buy", ft_pair="BTC/USDT", ft_is_open=is_open, order_id=str(number),
                  status="closed",
                  symbol="BTC/USDT", order_type="limit", side="buy", price=100.0, average=100.0, ft_price=100.0,
                  amount=usdt / 100, ft_amount=usdt / 100, filled=usdt / 100 * filled, order_date=opened,
                  order_filled_date=opened)
    trade.orders.append(order)
    Trade.session.add(trade)
    Trade.commit()
    return trade

class Wallets:
    def get_total_stake_amount(self):
        return 4000.0

strategy = QuietMaker({"pinned_leverage": 3})
strategy.wallets = Wallets()

def ask(usdt):
    return strategy.confirm_trade_entry(pair="ETH/USDT", order_type="limit", amount=usdt / 10, rate=10.0,
        time_in_force="PO", current_time=now, entry_tag=None, side="long")

answers = {"leverage": strategy.leverage(pair="x", side="long"), "empty": [ask(800), ask(800.01)]}
buy(9, 200, minutes_ago=3.3)
answers["paced"] = [ask(66.66), ask(66.67)]
Trade.session.query(Order).delete()
Trade.session.query(Trade).delete()
Trade.commit()
answers["locked"] = PairLocks.is_pair_locked("ETH/USDT")
trade = buy(1, 500, minutes_ago=5)
buy(2, 10000, minutes_ago=11)
buy(3, 400, minutes_ago=4, filled=0.25)
buy(4, 100, minutes_ago=4, filled=0.0, is_open=True)
answers["used"] = [ask(100), ask(100.01)]
filled_at = trade.date_last_filled_utc
answers["held"] = [strategy.custom_exit(pair="BTC/USDT", trade=trade, current_time=filled_at + timedelta(seconds=age),
    current_rate=100.0, current_profit=0.0) for age in (0, 29.9, 30, 31)]

class Data:
    def orderbook(self, pair, levels):
        return {"bids": [[self.best, 1.0]] if self.best else [], "asks": [[self.best, 1.0]] if self.best else []}

strategy.dp = Data()

def left_behind(check, age, best):
    strategy.dp.best = best
    order = trade.orders[0]
    return check(pair="BTC/USDT", trade=trade, order=order, current_time=order.order_date_utc + timedelta(seconds=age))

buy_check, sell_check = strategy.check_entry_timeout, strategy.check_exit_timeout
cases = [(9.9, 200.0), (10, 100.1), (10, 100.0), (10, 99.9), (10, None)]
answers["buy_left_behind"] = [left_behind(buy_check, *case) for case in cases]
answers["sell_left_behind"] = [left_behind(sell_check, *case) for case in cases]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    command = [FREQTRADE, "-B", "-c", PROGRAM, STRATEGIES]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    found: dict[str, Any] = json.loads(outcome.stdout.splitlines()[-1])
    return found


def test_strategy_first_buy_is_confirmed_up_to_a_fifth_of_the_equity(answers: dict[str, Any]) -> None:
    assert answers["empty"] == [True, False]


def test_strategy_spreads_its_buys_over_the_time(answers: dict[str, Any]) -> None:
    # A third of the budget of 800 in a third of the ten minutes, of which 200 are used.
    assert answers["paced"] == [True, False]


def test_strategy_refused_pair_rests(answers: dict[str, Any]) -> None:
    assert answers["locked"] is True


def test_strategy_counts_filled_and_working_buys_of_ten_minutes_only(answers: dict[str, Any]) -> None:
    # 500 filled, 100 of 400 filled before the cancel, 100 working; the buy of eleven minutes ago no longer counts.
    assert answers["used"] == [True, False]


def test_strategy_exits_once_it_has_held_long_enough(answers: dict[str, Any]) -> None:
    assert answers["held"] == [None, None, "held_long_enough", "held_long_enough"]


def test_strategy_gives_up_an_order_that_the_best_price_has_left_behind(answers: dict[str, Any]) -> None:
    # Too young, best price above, the same, below, empty book; the order stands at 100.
    assert answers["buy_left_behind"] == [False, True, False, False, False]
    assert answers["sell_left_behind"] == [False, False, False, True, False]


def test_strategy_asks_for_the_pinned_leverage(answers: dict[str, Any]) -> None:
    assert answers["leverage"] == 3
