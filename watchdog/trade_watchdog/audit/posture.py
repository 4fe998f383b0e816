"""Does the account stand as the gateway pins it? Pure: its settings, loans and algorithms in, alarms out.

Guarantees
- A loan, a running algorithm on the exchange's side, hedge mode, another margin mode and a position in inverse
  contracts are alarms whatever the policy says: the gateway never brings them about.
- A leverage other than the policy's is an alarm for a symbol with a position; the gateway denies entries until it is
  asked for again.
- What ran before the deployment began is not judged.
- Flat is said only of what was read and valued: a coin without a price is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, unique
from typing import Final

from trade_core.money import format_decimal

MARGIN_MODE: Final = "ISOLATED_MARGIN"
ONE_WAY: Final = 0
INVERSE: Final = "inverse"
QUOTES: Final = frozenset({"USDT", "USDC"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPosition:
    """A position: `size` in base coin (inverse contracts: in USD), above zero is long; `mark_price` in quote coin."""

    category: str
    symbol: str
    size: Decimal
    leverage: Decimal
    index: int
    mark_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAlgorithm:
    """A strategy that runs on the exchange's side, by its id there."""

    strategy_id: str
    symbol: str
    created_at_ms: int


DUST_USDT: Final = Decimal(10)
"""What fees leave of a coin; the exchange sells nothing worth less than half of it."""
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posture:
    """How the account stands. `borrowed` names the coins that are owed."""

    positions: tuple[SeenPosition, ...]
    margin_mode: str
    borrowed: tuple[str, ...]
    algorithms: tuple[SeenAlgorithm, ...]


@unique
class PostureAlarm(Enum):
    """What does not stand as it should."""

    ALGORITHM = "algorithm"
    BORROWED = "borrowed"
    MARGIN_MODE = "margin_mode"
    POSITION_MODE = "position_mode"
    LEVERAGE = "leverage"
    INVERSE_POSITION = "inverse_position"


HALTING: Final = frozenset(PostureAlarm) - {PostureAlarm.LEVERAGE}
"""Alarms that halt: nothing of ours does these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureFinding:
    """An alarm, what it is about (a symbol, coin, mode or id), words without foreign text but that name, and what was
    found of what is allowed."""

    alarm: PostureAlarm
    name: str
    detail: str
    figure: str


def is_flat(
    posture: Posture, *, coins: Mapping[str, Decimal], adopted: Mapping[str, Decimal], prices: Mapping[str, Decimal]
) -> bool:
    """Say whether nothing is held that was not there before, but quote coins and dust. What has no price is no dust.

    `coins` are all that is held, `adopted` what was there before, `prices` those of the coins in USDT.
    """
    if posture.positions:
        return False
    held = {coin: amount - adopted.get(coin, ZERO) for coin, amount in coins.items() if coin not in QUOTES}
    return all(amount <= 0 or (coin in prices and amount * prices[coin] < DUST_USDT) for coin, amount in held.items())


def examine_posture(posture: Posture, *, leverage: int | None, began_at_ms: int) -> list[PostureFinding]:
    """List what does not stand as it should. `leverage` is the policy's, None while none is known."""
    return [
        *_algorithms(posture.algorithms, began_at_ms),
        *(
            PostureFinding(
                alarm=PostureAlarm.BORROWED, name=coin, detail=f"{coin} is borrowed", figure=f"{coin} of none"
            )
            for coin in posture.borrowed
        ),
        *_margin_mode(posture),
        *(finding for position in posture.positions for finding in _position(position, leverage)),
    ]


def _algorithms(algorithms: Iterable[SeenAlgorithm], began_at_ms: int) -> Iterable[PostureFinding]:
    for algorithm in algorithms:
        if algorithm.created_at_ms >= began_at_ms:
            detail = f"an algorithm of the exchange trades {algorithm.symbol}"
            figure = f"{algorithm.strategy_id} of none"
            yield PostureFinding(alarm=PostureAlarm.ALGORITHM, name=algorithm.strategy_id, detail=detail, figure=figure)


def _margin_mode(posture: Posture) -> Iterable[PostureFinding]:
    if posture.positions and posture.margin_mode != MARGIN_MODE:
        detail = f"the margin mode is not {MARGIN_MODE} while a position is open"
        figure = f"{posture.margin_mode} of {MARGIN_MODE}"
        yield PostureFinding(alarm=PostureAlarm.MARGIN_MODE, name=posture.margin_mode, detail=detail, figure=figure)


def _position(position: SeenPosition, leverage: int | None) -> Iterable[PostureFinding]:
    if position.category == INVERSE:
        detail = f"a position in {position.symbol}, an inverse contract"
        figure = f"{format_decimal(position.size)} of 0"
        yield PostureFinding(alarm=PostureAlarm.INVERSE_POSITION, name=position.symbol, detail=detail, figure=figure)
        return
    if position.index != ONE_WAY:
        detail = f"{position.symbol} is in hedge mode"
        figure = f"index {position.index} of {ONE_WAY}"
        yield PostureFinding(alarm=PostureAlarm.POSITION_MODE, name=position.symbol, detail=detail, figure=figure)
    if leverage is not None and position.leverage != leverage:
        detail = f"{position.symbol} has another leverage than the policy's {leverage}"
        figure = f"{format_decimal(position.leverage)} of {leverage}"
        yield PostureFinding(alarm=PostureAlarm.LEVERAGE, name=position.symbol, detail=detail, figure=figure)
