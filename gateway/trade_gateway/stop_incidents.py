"""Tells a person that a position has no protective stop, since the one that the bot wanted was not placed.

One incident a symbol and minute at most: freqtrade asks again every five seconds. Only symbols with a position count,
so there are as many as there are positions.
"""

from __future__ import annotations

from trade_core.clock import NS_PER_S, Clock
from trade_gateway.recorder import Recorder
from trade_journal.log.rows import Fields, RowKind

AGAIN_AFTER_NS = 60 * NS_PER_S


class StopIncidents:
    """The incidents of stops that were not placed."""

    def __init__(self, *, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._told_at_ns: dict[str, int] = {}

    def note(self, symbol: str, *, has_position: bool, reason: str) -> None:
        """Note a stop that was not placed. `reason` is a deny code, or the exchange's own code."""
        now_ns = self._clock.monotonic_ns()
        told_at_ns = self._told_at_ns.get(symbol)
        if not has_position or (told_at_ns is not None and now_ns - told_at_ns < AGAIN_AFTER_NS):
            return
        self._told_at_ns[symbol] = now_ns
        fields: Fields = {
            "type": "protective stop not placed",
            "severity": "critical",
            "symbol": symbol,
            "reason": reason,
        }
        self._recorder.append_later(RowKind.INCIDENT_OPENED, fields)
