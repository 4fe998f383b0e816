"""What the ladder must say, computed from the exchange's own books; it shares no code with the ladder.

The unit price is the equity that the exchange had, in units that flows trade. Two bounds are kept beside one another:

    must    three true samples in a row, a second apart, stood at or below the rung, measured from a peak at or above
            which three true samples in a row had stood: the rung has fired, in the very step that took the third
    may     the true price stands at or below the rung now, measured from the highest true price of the window, and the
            last three samples that were delivered, wild ones among them, stood there too: it may have fired

Between the two lies only what wild samples do to the count. Floats are compared with a margin of one in 10^9; after a
watchdog died, which forgets at most a hundredth of a percent of a peak, with a margin of 1.2 in 10^4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from simulation.exchange_edge import Wallet, WalletTold

HOUR_MS: Final = 3_600_000
OBSERVED_STEP_MAX_MS: Final = 600_000
WINDOWS_MS: Final[Mapping[str, int | None]] = {
    "daily": 24 * HOUR_MS,
    "weekly": 168 * HOUR_MS,
    "monthly": 720 * HOUR_MS,
    "high_water": None,
}
FRACTIONS: Final[Mapping[str, float]] = {"daily": 0.05, "weekly": 0.08, "monthly": 0.15, "high_water": 0.18}
RECOVERED: Final = 0.75
IN_A_ROW: Final = 3
APART_NS: Final = 1_000_000_000
MARGIN: Final = 1e-9
FORGOTTEN: Final = 1.2e-4


@dataclass(slots=True)
class _Tops:
    """Falling queue of (observed ms, price): its head is the highest of the window."""

    window_ms: int | None
    kept: deque[tuple[int, float]] = field(default_factory=deque)

    def note(self, price: float, at_ms: int) -> None:
        while self.kept and self.kept[-1][1] <= price:
            self.kept.pop()
        self.kept.append((at_ms, price))
        while self.window_ms is not None and self.kept[0][0] < at_ms - self.window_ms:
            self.kept.popleft()

    def clear(self, price: float, at_ms: int) -> None:
        self.kept.clear()
        self.kept.append((at_ms, price))

    @property
    def peak(self) -> float | None:
        return self.kept[0][1] if self.kept else None


@dataclass(slots=True)
class _Row:
    """Samples in a row, each a second after the one counted before."""

    count: int = 0
    counted_ns: int = 0

    def take(self, *, holds: bool, at_ns: int) -> None:
        if not holds:
            self.count = 0
        elif self.count == 0 or at_ns - self.counted_ns >= APART_NS:
            self.count += 1
            self.counted_ns = at_ns


@dataclass(slots=True, kw_only=True)
class Judged:
    """What is known of one rung."""

    surely: _Tops
    perhaps: _Tops
    must: _Row = field(default_factory=_Row)
    may: _Row = field(default_factory=_Row)


def _judged(name: str) -> Judged:
    # The product measures windows in time that it observed, in buckets; an hour and 2 % either way is beyond both.
    window_ms = WINDOWS_MS[name]
    narrow = None if window_ms is None else window_ms * 98 // 100 - HOUR_MS
    wide = None if window_ms is None else window_ms * 102 // 100 + HOUR_MS
    return Judged(surely=_Tops(narrow), perhaps=_Tops(wide))


@dataclass(slots=True)
class Truth:
    """The oracle. Tell it every flow, every answer about the wallet, and which of them the watchdog believed."""

    units: Decimal | None = None
    price: float = 1.0
    margin: float = MARGIN
    rungs: dict[str, Judged] = field(default_factory=lambda: {name: _judged(name) for name in FRACTIONS})
    _flows: list[tuple[str, Decimal]] = field(default_factory=list)
    _told: dict[int, tuple[WalletTold, Decimal, int]] = field(default_factory=dict)
    _good: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=IN_A_ROW))
    _observed_ms: int = 0
    _at_ms: int = 0

    def flowed(self, coin: str, amount: Decimal) -> None:
        """Money came from outside, or went."""
        self._flows.append((coin, amount))

    def told(self, told: WalletTold, value_of: Mapping[str, Decimal]) -> None:
        """An answer about the wallet left the exchange; `value_of` is what a coin is worth there now."""
        came = sum((amount * value_of[coin] for coin, amount in self._flows), Decimal(0))
        self._told[told.at_ms] = (told, came, len(self._flows))
        while len(self._told) > 64:
            del self._told[next(iter(self._told))]
        if self.units is not None:
            price = float((told.true_usdt - came) / self.units)
            for rung in self.rungs.values():
                rung.perhaps.note(price, self._observed_ms + min(told.at_ms - self._at_ms, OBSERVED_STEP_MAX_MS))

    def price_now(self, equity_usdt: Decimal, value_of: Mapping[str, Decimal]) -> float | None:
        """Say what a unit is worth at this moment."""
        if self.units is None:
            return None
        came = sum((amount * value_of[coin] for coin, amount in self._flows), Decimal(0))
        return float((equity_usdt - came) / self.units)

    def reached(self, name: str, price: float) -> bool:
        """Tell whether a price surely lies at or below a rung."""
        peak = self.rungs[name].surely.peak
        return peak is not None and price <= peak * (1 - FRACTIONS[name]) * (1 - self.margin)

    def restarted(self) -> None:
        """A watchdog began anew: what it counts in a row begins anew, and it may have forgotten the least of a peak."""
        self.margin = FORGOTTEN
        self._good.clear()
        for rung in self.rungs.values():
            rung.must, rung.may = _Row(), _Row()

    def began(self) -> None:
        """A watchdog without any memory: the next sample is worth one."""
        self.units = None
        self.rungs = {name: _judged(name) for name in FRACTIONS}

    def believed(self, at_ms: int, *, at_ns: int) -> bool:
        """The watchdog believes an answer, by its exchange time; False when there was none that it could believe."""
        found = self._told.get(at_ms)
        if found is None:
            return False
        told, came, flows = found
        self._observed_ms += min(max(at_ms - self._at_ms, 0), OBSERVED_STEP_MAX_MS)
        self._at_ms = at_ms
        if self.units is None:
            self.units = told.true_usdt
            came = Decimal(0)
        price = float((told.true_usdt - came) / self.units)
        said = float((told.said_usdt - came) / self.units)
        if flows:
            self.units = told.true_usdt / ((told.true_usdt - came) / self.units)
            del self._flows[:flows]
            self._told.clear()
        self.price = price
        self._count(price, said, is_true=told.kind is Wallet.TRUE, at_ns=at_ns)
        return True

    def _count(self, price: float, said: float, *, is_true: bool, at_ns: int) -> None:
        if not is_true:
            self._good.clear()
        elif not self._good or at_ns - self._good[-1][0] >= APART_NS:
            self._good.append((at_ns, price))
        for name, rung in self.rungs.items():
            rung.perhaps.note(price, self._observed_ms)
            if len(self._good) == IN_A_ROW:
                rung.surely.note(min(value for _, value in self._good), self._observed_ms)
            peak = rung.perhaps.peak
            assert peak is not None
            is_maybe = said <= peak * (1 - FRACTIONS[name]) * (1 + self.margin)
            rung.may.take(holds=is_maybe, at_ns=at_ns)
            if not is_true:
                rung.must.count = 0
            else:
                rung.must.take(holds=self.reached(name, price), at_ns=at_ns)

    def must_fire(self, name: str) -> bool:
        """Tell whether an armed rung must have fired by now."""
        return self.rungs[name].must.count >= IN_A_ROW

    def may_fire(self, name: str) -> bool:
        """Tell whether an armed rung may fire now."""
        rung = self.rungs[name]
        peak = rung.perhaps.peak
        is_down = peak is not None and self.price <= peak * (1 - FRACTIONS[name]) * (1 + self.margin)
        return is_down and rung.may.count >= IN_A_ROW

    def is_down(self, name: str) -> bool:
        """Tell whether the true price perhaps lies at or below a rung."""
        peak = self.rungs[name].perhaps.peak
        return peak is not None and self.price <= peak * (1 - FRACTIONS[name]) * (1 + self.margin)

    def may_clear(self, name: str) -> bool:
        """Tell whether a rung that clears itself may be armed again now."""
        peak = self.rungs[name].surely.peak
        return peak is None or self.price >= peak * (1 - FRACTIONS[name] * RECOVERED) * (1 - self.margin)

    def changed(self, name: str) -> None:
        """The rung entered another stage: what it counts begins anew."""
        self.rungs[name].must, self.rungs[name].may = _Row(), _Row()

    def rebase(self, name: str) -> None:
        """A release re-bases a window at the last price."""
        for tops in (self.rungs[name].surely, self.rungs[name].perhaps):
            tops.clear(self.price, self._observed_ms)
        self.changed(name)
