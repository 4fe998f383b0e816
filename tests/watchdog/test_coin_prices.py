"""When two venues do not agree on a coin: at, just past and far past the bounds, and what is not judged."""

from __future__ import annotations

from decimal import Decimal

import pytest

from trade_watchdog.ceiling import CoinBalance, EquitySample
from trade_watchdog.coin_prices import Dispute, find_dispute, held_coins


def sample(*coins: tuple[str, str, str], equity: str = "1000") -> EquitySample:
    """Make a reading of coins, each with its amount and its value in USDT."""
    return EquitySample(
        equity_usdt=Decimal(equity),
        coins=tuple(
            CoinBalance(coin=coin, wallet_balance=Decimal(0), equity=Decimal(amount), value_usdt=Decimal(value))
            for coin, amount, value in coins
        ),
        exchange_time_ms=1,
        received_wall_ns=1,
        received_monotonic_ns=1,
    )


@pytest.mark.parametrize(
    ("second", "is_disputed"),
    [
        ("100", False),
        ("103", False),
        ("103.0001", True),
        ("97.0874", False),
        ("97.087", True),
        ("1", True),
        ("900", True),
    ],
)
def test_coin_is_in_dispute_beyond_three_percent_of_the_lower_price(second: str, *, is_disputed: bool) -> None:
    found = find_dispute(sample(("BTC", "5", "500"), equity="500"), {"BTC": Decimal(second)})
    wanted = Dispute(coin="BTC", price=Decimal(100), second_price=Decimal(second))
    assert found == (wanted if is_disputed else None)


@pytest.mark.parametrize(("equity", "is_disputed"), [("2000", False), ("1999.99", True)])
def test_coin_is_in_dispute_when_it_moves_the_equity_by_more_than_a_hundredth(
    equity: str, *, is_disputed: bool
) -> None:
    assert (find_dispute(sample(("BTC", "1", "100"), equity=equity), {"BTC": Decimal(120)}) is not None) is is_disputed


def test_coin_that_is_owed_is_judged_by_what_it_would_move() -> None:
    owed = sample(("USDT", "2000", "2000"), ("BTC", "-5", "-500"), equity="1500")
    assert find_dispute(owed, {"BTC": Decimal(120)}) == Dispute(
        coin="BTC", price=Decimal(100), second_price=Decimal(120)
    )


def test_first_coin_in_dispute_is_named() -> None:
    read = sample(("ETH", "1", "100"), ("BTC", "2", "200"), ("XRP", "3", "300"))
    assert find_dispute(read, {"ETH": Decimal(100), "BTC": Decimal(150), "XRP": Decimal(1)}) == Dispute(
        coin="BTC", price=Decimal(100), second_price=Decimal(150)
    )


def test_coin_without_a_second_price_or_of_which_there_is_none_is_not_judged() -> None:
    assert find_dispute(sample(("BTC", "1", "100"), ("ETH", "0", "0")), {"ETH": Decimal(7)}) is None


def test_held_coins_are_those_of_a_hundredth_and_never_the_quote_coin() -> None:
    read = sample(("USDT", "900", "900"), ("BTC", "1", "10"), ("ETH", "1", "9.99"), ("XRP", "-1", "-10"))
    assert held_coins(read) == {"BTC", "XRP"}
