"""How the account stands: each alarm, and what is right beside it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from trade_watchdog.audit.posture import (
    DUST_USDT,
    HALTING,
    Posture,
    PostureAlarm,
    PostureFinding,
    SeenAlgorithm,
    SeenPosition,
    examine_posture,
    is_flat,
)

BEGAN_MS = 1_000
POSITION = SeenPosition(
    category="linear", symbol="BTCUSDT", size=Decimal("0.5"), leverage=Decimal(3), index=0, mark_price=Decimal(100)
)
GOOD = Posture(positions=(POSITION,), margin_mode="ISOLATED_MARGIN", borrowed=(), algorithms=())


def found(posture: Posture, *, leverage: int | None = 3) -> list[PostureFinding]:
    return examine_posture(posture, leverage=leverage, began_at_ms=BEGAN_MS)


def test_account_as_pinned_raises_nothing() -> None:
    assert found(GOOD) == []


def test_algorithm_since_the_beginning_is_an_alarm_and_an_older_one_is_not() -> None:
    algorithm = SeenAlgorithm(strategy_id="s1", symbol="BTCUSDT", created_at_ms=BEGAN_MS)
    assert found(
        replace(GOOD, algorithms=(algorithm, replace(algorithm, strategy_id="s0", created_at_ms=BEGAN_MS - 1)))
    ) == [
        PostureFinding(
            alarm=PostureAlarm.ALGORITHM,
            name="s1",
            detail="an algorithm of the exchange trades BTCUSDT",
            figure="s1 of none",
        )
    ]


def test_borrowed_coin_is_an_alarm() -> None:
    assert found(replace(GOOD, borrowed=("USDT",))) == [
        PostureFinding(alarm=PostureAlarm.BORROWED, name="USDT", detail="USDT is borrowed", figure="USDT of none")
    ]


def test_other_margin_mode_is_an_alarm_once_there_is_a_position() -> None:
    other = replace(GOOD, margin_mode="REGULAR_MARGIN")
    assert found(other) == [
        PostureFinding(
            alarm=PostureAlarm.MARGIN_MODE,
            name="REGULAR_MARGIN",
            detail="the margin mode is not ISOLATED_MARGIN while a position is open",
            figure="REGULAR_MARGIN of ISOLATED_MARGIN",
        )
    ]
    assert found(replace(other, positions=())) == []


@pytest.mark.parametrize("index", [1, 2])
def test_hedge_mode_is_an_alarm(index: int) -> None:
    assert found(replace(GOOD, positions=(replace(POSITION, index=index),))) == [
        PostureFinding(
            alarm=PostureAlarm.POSITION_MODE,
            name="BTCUSDT",
            detail="BTCUSDT is in hedge mode",
            figure=f"index {index} of 0",
        )
    ]


@pytest.mark.parametrize("leverage", ["2", "3.1", "100"])
def test_other_leverage_is_an_alarm_when_the_policy_is_known(leverage: str) -> None:
    other = replace(GOOD, positions=(replace(POSITION, leverage=Decimal(leverage)),))
    assert found(other) == [
        PostureFinding(
            alarm=PostureAlarm.LEVERAGE,
            name="BTCUSDT",
            detail="BTCUSDT has another leverage than the policy's 3",
            figure=f"{leverage} of 3",
        )
    ]
    assert found(other, leverage=None) == []


def test_position_in_inverse_contracts_is_an_alarm_whatever_its_leverage() -> None:
    inverse = replace(POSITION, category="inverse", symbol="BTCUSD", leverage=Decimal(50))
    assert found(replace(GOOD, positions=(inverse,))) == [
        PostureFinding(
            alarm=PostureAlarm.INVERSE_POSITION,
            name="BTCUSD",
            detail="a position in BTCUSD, an inverse contract",
            figure=f"{POSITION.size} of 0",
        )
    ]


def test_all_but_leverage_halts() -> None:
    assert set(PostureAlarm) - HALTING == {PostureAlarm.LEVERAGE}


FLAT = replace(GOOD, positions=())
PRICES = {"BTC": Decimal(100)}


def flat(posture: Posture = FLAT, *, adopted: str = "0", **coins: str) -> bool:
    held = {coin: Decimal(amount) for coin, amount in coins.items()}
    return is_flat(posture, coins=held, adopted={"BTC": Decimal(adopted)}, prices=PRICES)


def test_account_with_quote_coins_alone_is_flat() -> None:
    assert flat()
    assert flat(USDT="5000", USDC="1")


def test_account_with_a_position_is_not_flat() -> None:
    assert not flat(GOOD)


def test_coin_is_dust_below_the_bound_and_held_at_it() -> None:
    assert DUST_USDT == 10
    at = DUST_USDT / PRICES["BTC"]
    assert flat(BTC=f"{at - Decimal('0.0001')}")
    assert not flat(BTC=f"{at}")


def test_coin_without_a_price_is_held() -> None:
    assert not flat(XRP="0.000001")
    assert flat(XRP="0")


def test_coin_that_was_there_before_is_not_counted() -> None:
    assert flat(adopted="3", BTC="3")
    assert flat(adopted="3", BTC="1")
    assert not flat(adopted="3", BTC="3.2")
