"""Reads how the account stands: positions, margin mode, loans and the exchange's algorithms.

A reading is whole or it is none. It is the exchange's word alone, nothing of the gateway's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Protocol

from trade_core.errors import ExchangeAnswerInvalid
from trade_watchdog.audit.listing import borrowed_coins, held_coins, margin_mode, seen_algorithm, seen_position
from trade_watchdog.audit.posture import Posture, SeenAlgorithm, SeenPosition
from trade_watchdog.drop_copy import PAGES_MAX, entries, next_cursor

_LISTS: Final[tuple[Mapping[str, str], ...]] = (
    {"category": "linear", "settleCoin": "USDT"},
    {"category": "linear", "settleCoin": "USDC"},
    {"category": "inverse"},
)
_POSITIONS_A_PAGE: Final = 200
_STRATEGIES_A_PAGE: Final = 50


class PostureReading(Protocol):
    """What reads how the account stands. Raises as the drop copy does."""

    async def positions(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of positions."""
        ...

    async def wallet(self) -> Mapping[str, Any]:
        """Read the unified account's wallet."""
        ...

    async def account_settings(self) -> Mapping[str, Any]:
        """Read the settings of the account."""
        ...

    async def strategies(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read a page of the strategies that run on the exchange's side."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One reading: how the account stands, the coins that it holds, and all its linear positions, signed, by symbol."""

    posture: Posture
    coins: Mapping[str, Decimal]
    sizes: Mapping[str, Decimal]


async def read_posture(reading: PostureReading, *, adopted: Mapping[str, Decimal]) -> Standing:
    """Read how the account stands; the posture leaves out what is left of adopted positions, by symbol and size.

    What has been added to one since, or turned it, is in the posture. Raises as the reading does.
    """
    positions = [position async for position in _positions(reading)]
    wallet = await reading.wallet()
    posture = Posture(
        positions=tuple(more for position in positions if (more := _beyond(position, adopted)).size),
        margin_mode=margin_mode(await reading.account_settings()),
        borrowed=borrowed_coins(wallet),
        algorithms=tuple(await _algorithms(reading)),
    )
    sizes = {position.symbol: position.size for position in positions if position.category == "linear"}
    return Standing(posture=posture, coins=held_coins(wallet), sizes=sizes)


def _beyond(position: SeenPosition, adopted: Mapping[str, Decimal]) -> SeenPosition:
    """Take off what was there before; nothing is left of a position that has only become smaller."""
    was = adopted.get(position.symbol, Decimal(0))
    if was * position.size <= 0:
        return position
    more = max(abs(position.size) - abs(was), Decimal(0))
    return replace(position, size=more.copy_sign(position.size))


async def _positions(reading: PostureReading) -> AsyncIterator[SeenPosition]:
    for listed in _LISTS:
        cursor = ""
        for _ in range(PAGES_MAX):
            asked = {**listed, "limit": _POSITIONS_A_PAGE}
            result = await reading.positions({**asked, **({"cursor": cursor} if cursor else {})})
            for entry in entries(result):
                position = seen_position(entry, category=listed["category"])
                if position.size:
                    yield position
            cursor = next_cursor(result)
            if not cursor:
                break
        else:
            raise ExchangeAnswerInvalid(f"more than {PAGES_MAX} pages of positions")


async def _algorithms(reading: PostureReading) -> list[SeenAlgorithm]:
    # Newest first, those that have ended among them: what runs is on the first page, or there are too many to trade.
    result = await reading.strategies({"pageSize": _STRATEGIES_A_PAGE})
    found = [seen_algorithm(entry) for entry in entries(result)]
    return [algorithm for algorithm in found if algorithm is not None]
