"""Keeps the last good reference of each coin in the journal, for the time between a restart and the first prices.

Guarantees
- Of each coin the journal's last row says a price and how far the last good reference may have gone from it: as far as
  half of the exit collar, and not at all after an orderly stop. What goes further is written at once.
- A row holds only coins that went further. Rows are APART_S apart, so that no market can flood the journal.

What it does not know after a crash: prices that came in the moment before, which was APART_S and a commit long at most,
or while the journal could not be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from trade_core.money import format_decimal
from trade_gateway.policy.references import KeptReference
from trade_gateway.recorder import Recorder
from trade_journal.log.rows import Fields, RowKind

APART_S = 0.25
_MAX_COINS = 100
"""A row holds no more; a policy has fewer."""
_NOTHING = (Decimal(1), Decimal(0))


class ReferenceMemory:
    """What the journal knows of the references. `within` answers how far one may go before it is written again."""

    def __init__(self, *, recorder: Recorder, within: Callable[[], Decimal], is_writable: Callable[[], bool]) -> None:
        self._recorder = recorder
        self._within = within
        self._is_writable = is_writable
        self._covered: dict[str, tuple[Decimal, Decimal]] = {}
        self._latest: dict[str, Decimal] = {}
        self._moved = asyncio.Event()

    def restore(self, references: Mapping[str, KeptReference]) -> None:
        """Begin with what the journal has."""
        self._cover(references)

    def renew(self) -> None:
        """Write everything again: another policy has another exit collar."""
        self._covered.clear()
        if self._latest:
            self._moved.set()

    def note(self, coin: str, price: Decimal) -> None:
        """Take in a good reference."""
        self._latest[coin] = price
        lowest, highest = self._covered.get(coin, _NOTHING)
        if not lowest <= price <= highest:
            self._moved.set()

    async def keep(self) -> None:
        """Write what has moved, for ever."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            moved = [coin for coin in self._latest if not self._is_covered(coin)]
            if not (self._is_writable() and await self._write(moved, within=self._within())):
                self._moved.set()
            await asyncio.sleep(APART_S)

    async def finish(self) -> None:
        """Write every reference as it stands at the end."""
        await self._write(list(self._latest), within=Decimal(0))

    def _is_covered(self, coin: str) -> bool:
        lowest, highest = self._covered.get(coin, _NOTHING)
        return lowest <= self._latest[coin] <= highest

    async def _write(self, coins: Sequence[str], *, within: Decimal) -> bool:
        """Make a row of the present prices durable. Returns whether it is."""
        prices = {coin: format_decimal(self._latest[coin]) for coin in coins[:_MAX_COINS]}
        fields: Fields = {"within": format_decimal(within), "prices": prices}
        if not await self._recorder.append_durable(RowKind.REFERENCE_KEPT, fields):
            return False
        self._cover(kept_references(fields))
        return len(prices) == len(coins)

    def _cover(self, references: Mapping[str, KeptReference]) -> None:
        self._covered |= {coin: (kept.lowest, kept.highest) for coin, kept in references.items()}


def kept_references(fields: Fields) -> dict[str, KeptReference]:
    """Read the references of a row."""
    prices, within = fields["prices"], Decimal(str(fields["within"]))
    assert isinstance(prices, Mapping)
    return {coin: KeptReference(price=Decimal(str(price)), within=within) for coin, price in prices.items()}
