"""Keeps the last known filters of each symbol in the journal, so that a restart can still send exits by them.

Guarantees
- What was read and is otherwise than the journal has it gets a row; what is the same gets none.
- Nothing is taken for kept while the journal cannot be written: the next reading tries again.
- What comes back after a restart is for exits alone, until the exchange has said it anew (`exchange_proof`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from trade_core.money import format_decimal
from trade_gateway.policy.instruments import Instrument
from trade_gateway.policy.model import SymbolKey
from trade_gateway.recorder import Recorder
from trade_gateway.wire.intents import Category
from trade_journal.log.rows import Fields, RowKind


class InstrumentMemory:
    """What the journal knows of filters."""

    def __init__(self, *, recorder: Recorder, is_writable: Callable[[], bool]) -> None:
        self._recorder = recorder
        self._is_writable = is_writable
        self._kept: dict[SymbolKey, Instrument] = {}

    def restore(self, kept: Mapping[SymbolKey, Instrument]) -> None:
        """Begin with what the journal has."""
        self._kept = dict(kept)

    def keep(self, known: Mapping[SymbolKey, Instrument]) -> None:
        """Write what is news."""
        if not self._is_writable():
            return
        for key, instrument in known.items():
            if self._kept.get(key) != instrument:
                self._kept[key] = instrument
                self._recorder.append_later(RowKind.INSTRUMENT_KEPT, instrument_fields(instrument))


def instrument_fields(instrument: Instrument) -> Fields:
    """Give the fields of a row of filters."""
    return {
        "category": instrument.category.value,
        "symbol": instrument.symbol,
        "base_coin": instrument.base_coin,
        "quote_coin": instrument.quote_coin,
        "tick_size": format_decimal(instrument.tick_size),
        "quantity_step": format_decimal(instrument.quantity_step),
        "min_quantity": format_decimal(instrument.min_quantity),
        "max_quantity": format_decimal(instrument.max_quantity),
        "min_notional": format_decimal(instrument.min_notional),
    }


def kept_instrument(fields: Fields) -> tuple[SymbolKey, Instrument]:
    """Read the filters of a row."""
    instrument = Instrument(
        category=Category(str(fields["category"])),
        symbol=str(fields["symbol"]),
        base_coin=str(fields["base_coin"]),
        quote_coin=str(fields["quote_coin"]),
        tick_size=Decimal(str(fields["tick_size"])),
        quantity_step=Decimal(str(fields["quantity_step"])),
        min_quantity=Decimal(str(fields["min_quantity"])),
        max_quantity=Decimal(str(fields["max_quantity"])),
        min_notional=Decimal(str(fields["min_notional"])),
    )
    return (instrument.category, instrument.symbol), instrument
