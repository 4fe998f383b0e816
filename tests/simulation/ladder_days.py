"""Synthetic days of an account, with what goes wrong before the watchdog sees it, judged by an oracle of the truth.

The account trades, is paid and charged, moves money in and out, and lives through calm and wild markets. Between it and
the watchdog: wild ticks of one or two samples, balances that nothing explains for a while, answers that are missing,
outages of minutes to hours, restarts. The oracle knows the true unit price at every minute, in floats, without units.

    missed breach   the true price stood at or below a rung for three good samples in a row, and it did not fire
    false           it fired although the true price, with every minute of the window in sight, never stood there
    false alert     false, of the daily or weekly rung
    false kill      false, of the monthly rung or that of the high-water mark

A peak is what three good samples in a row stood at, here as there: what nobody saw cannot be measured from. Whether a
rung was false is judged by every minute of the truth.

Money that moves while nobody looks is worth what its coin is worth at the next look. So the unit price has an error
after an outage with a flow in it; it is measured, and the oracle does not judge nearer to a rung than that.

`python -m simulation.ladder_days --days 1000 --seed 1` prints the figures.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from trade_watchdog.ceiling import CoinBalance, EquitySample, Finding
from trade_watchdog.equity import Book, LogEntry, LogMark, open_book, step
from trade_watchdog.ladder import RELEASABLE, WINDOW_MS, Change, Ladder, Move, Rung, Stage, Thresholds

MINUTE_MS = 60_000
DAY_MINUTES = 1440
START_MS = 1_700_000_000_000
FRACTIONS = {Rung.DAILY: 0.05, Rung.WEEKLY: 0.08, Rung.MONTHLY: 0.15, Rung.HIGH_WATER: 0.18}
THRESHOLDS = Thresholds(
    fractions={rung: Decimal(str(part)) for rung, part in FRACTIONS.items()}, trim_scale=Decimal("0.5")
)
FLOAT_MARGIN = 1e-9
"""Floats are no judge of an exact boundary; the unit tests are."""
PERIOD_DAYS = 40
"""An account begins anew so often: after a kill nothing more happens to an old one."""


@dataclass
class Account:
    """The truth: balances, price, log, and the unit price as the product of results between flows."""

    chance: random.Random
    minute: int = 0
    cash: float = 5000.0
    coin: float = 0.1
    price: float = 50_000.0
    log: list[LogEntry] = field(default_factory=list)
    unit_price: float = 1.0
    volatility: float = 0.0002

    def worth(self) -> float:
        return self.cash + self.coin * self.price

    def live(self) -> None:
        """Let a minute pass."""
        self.minute += 1
        if self.chance.random() < 1 / 720:
            self.volatility = self.chance.choice((0.00005, 0.0002, 0.0005, 0.0012))
        before = self.worth()
        self.price *= 1 + self.chance.gauss(0, self.volatility)
        if self.chance.random() < 1 / 30_000:
            self.price *= self.chance.uniform(0.75, 0.97)
        if self.chance.random() < 1 / 30:
            self._trade()
        self.unit_price *= self.worth() / before
        if self.chance.random() < 1 / 1000:
            self._flow()

    def _trade(self) -> None:
        wanted = self.chance.uniform(-0.3, 0.3) * self.worth()
        spent = max(-self.coin * self.price, min(self.cash * 0.9, wanted))
        self._book("TRADE", "BTC", round(spent / self.price, 8))
        self._book("TRADE", "USDT", -round(spent + abs(spent) * 0.0002, 8))

    def _flow(self) -> None:
        amount = round(self.chance.uniform(-0.3, 0.5) * self.cash, 8)
        self._book("TRANSFER_IN" if amount > 0 else "TRANSFER_OUT", "USDT", amount)

    def _book(self, kind: str, coin: str, change: float) -> None:
        if coin == "USDT":
            self.cash += change
        else:
            self.coin += change
        change_text = Decimal(f"{change:.8f}")
        self.log.append(
            LogEntry(
                entry_id=f"e{self.minute}-{len(self.log)}", kind=kind, coin=coin, change=change_text, at_ms=self.now_ms
            )
        )

    @property
    def now_ms(self) -> int:
        return START_MS + self.minute * MINUTE_MS

    def reading(self, *, price_factor: float = 1.0, cash_factor: float = 1.0) -> EquitySample:
        cash, coin = Decimal(f"{self.cash * cash_factor:.8f}"), Decimal(f"{self.coin:.8f}")
        value = coin * Decimal(f"{self.price * price_factor:.8f}")
        return EquitySample(
            equity_usdt=cash + value,
            coins=(
                CoinBalance(coin="USDT", wallet_balance=cash, equity=cash, value_usdt=cash),
                CoinBalance(coin="BTC", wallet_balance=coin, equity=coin, value_usdt=value),
            ),
            exchange_time_ms=self.now_ms,
            received_wall_ns=self.now_ms * 1_000_000,
            received_monotonic_ns=self.now_ms * 1_000_000,
        )


@dataclass
class Truth:
    """The oracle: what the true price did, minute by minute, and at the samples that were seen."""

    history: list[float] = field(default_factory=list)
    tops: dict[Rung, deque[tuple[int, float]]] = field(default_factory=lambda: {rung: deque() for rung in Rung})
    seen_tops: dict[Rung, deque[tuple[int, float]]] = field(default_factory=lambda: {rung: deque() for rung in Rung})
    good: list[float] = field(default_factory=list)
    breaching: dict[Rung, int] = field(default_factory=lambda: dict.fromkeys(Rung, 0))
    last_breach: dict[Rung, int] = field(default_factory=lambda: dict.fromkeys(Rung, -(10**9)))
    margin: float = FLOAT_MARGIN

    def note(self, price: float) -> None:
        """Take in a minute of the truth, whether anybody saw it or not."""
        self.history.append(price)
        for rung in Rung:
            self._top(self.tops, rung, price)
            if self._is_down(self.tops, rung, price, -self.margin):
                self.last_breach[rung] = len(self.history) - 1

    def _top(self, all_tops: dict[Rung, deque[tuple[int, float]]], rung: Rung, price: float) -> None:
        now, tops, window_ms = len(self.history) - 1, all_tops[rung], WINDOW_MS[rung]
        while tops and tops[-1][1] <= price:
            tops.pop()
        tops.append((now, price))
        while window_ms is not None and tops[0][0] < now - window_ms // MINUTE_MS:
            tops.popleft()

    def _is_down(self, all_tops: dict[Rung, deque[tuple[int, float]]], rung: Rung, price: float, margin: float) -> bool:
        return price <= all_tops[rung][0][1] * (1 - FRACTIONS[rung]) * (1 - margin)

    def rebase(self, rung: Rung) -> None:
        """A release re-bases a window."""
        for tops in (self.tops[rung], self.seen_tops[rung]):
            tops.clear()
            tops.append((len(self.history) - 1, self.history[-1]))
        self.breaching[rung] = 0

    def interrupted(self) -> None:
        """A sample that was not the truth, or a restart: good ones in a row begin anew."""
        self.breaching = dict.fromkeys(Rung, 0)
        self.good = []

    def seen(self, price: float) -> list[Rung]:
        """Take in a good sample; answers the rungs that must have fired by now."""
        self.good = [*self.good[-2:], price]
        if len(self.good) == 3:
            for rung in Rung:
                self._top(self.seen_tops, rung, min(self.good))
        for rung in Rung:
            is_down = bool(self.seen_tops[rung]) and self._is_down(self.seen_tops, rung, price, self.margin)
            self.breaching[rung] = self.breaching[rung] + 1 if is_down else 0
        return [rung for rung in Rung if self.breaching[rung] >= 3]


@dataclass
class Figures:
    """What a run measured."""

    days: int = 0
    samples: int = 0
    fired: dict[str, int] = field(default_factory=lambda: {rung.value: 0 for rung in Rung})
    false: dict[str, int] = field(default_factory=lambda: {rung.value: 0 for rung in Rung})
    missed: dict[str, int] = field(default_factory=lambda: {rung.value: 0 for rung in Rung})
    largest_price_error: float = 0.0
    untrusted: int = 0
    restarts: int = 0

    @property
    def false_alerts(self) -> int:
        return self.false["daily"] + self.false["weekly"]

    @property
    def false_kills(self) -> int:
        return self.false["monthly"] + self.false["high_water"]


class Channel:
    """What lies between account and watchdog; each trouble has a length in minutes."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._left = 0
        self._trouble = ""
        self._factor = 1.0

    def trouble(self) -> tuple[str, float]:
        if self._left == 0:
            self._trouble = ""
            self._begin()
        self._left = max(0, self._left - 1)
        return self._trouble, self._factor

    def _begin(self) -> None:
        rates = (("tick", 1 / 700, 2), ("balance", 1 / 4000, 8), ("missing", 1 / 500, 5), ("outage", 1 / 4000, 400))
        for name, rate, longest in rates:
            if self._chance.random() < rate:
                self._trouble, self._left = name, self._chance.randint(1, longest)
                self._factor = self._chance.choice((0.0001, 0.5, 0.8, 0.93, 1.08, 1.5, 10.0))
                return


def account_days(days: int, seed: int) -> Figures:
    """Live through so many days, in accounts of PERIOD_DAYS each."""
    figures = Figures()
    for number, left in enumerate(range(days, 0, -PERIOD_DAYS)):
        _live(random.Random(f"{seed}-{number}"), min(left, PERIOD_DAYS), figures)
    return figures


def _live(chance: random.Random, days: int, figures: Figures) -> None:
    account, channel, truth = Account(chance), Channel(chance), Truth()
    ladder = Ladder(THRESHOLDS)
    kept: list[tuple[Rung | None, Decimal, int]] = []
    book: Book | None = None
    for _ in range(days * DAY_MINUTES):
        account.live()
        truth.note(account.unit_price)
        trouble, factor = channel.trouble()
        sample = _seen(account, trouble, factor)
        if sample is None:
            continue
        figures.samples += 1
        if book is None:
            if trouble == "":
                book = open_book(sample, mark=_mark(account))
                account.unit_price, truth.history[-1] = 1.0, 1.0
            continue
        made = step(book, sample, account.log, now_ns=sample.received_monotonic_ns)
        book = made.book
        if made.finding is not Finding.GOOD:
            figures.untrusted += 1
            continue
        del account.log[:-1]
        changes = ladder.take(
            price=book.price, at_ms=sample.exchange_time_ms, monotonic_ns=sample.received_monotonic_ns
        )
        if trouble == "":
            error = abs(float(book.price) / account.unit_price - 1)
            figures.largest_price_error = max(figures.largest_price_error, error)
            truth.margin = FLOAT_MARGIN + error
            _judge(ladder, truth, truth.seen(account.unit_price), figures)
        else:
            truth.interrupted()
        _count(changes, truth, figures)
        if _answer(ladder, truth):
            kept += [(rung, book.price, ladder.observed_ms) for rung in RELEASABLE]
        if ladder.confirmed_high is not None:
            kept.append((None, ladder.confirmed_high, ladder.observed_ms))
        if chance.random() < 1 / 3000:
            ladder = _restarted(ladder, kept, figures)
            truth.interrupted()
    figures.days += days


def _seen(account: Account, trouble: str, factor: float) -> EquitySample | None:
    match trouble:
        case "tick":
            return account.reading(price_factor=factor)
        case "balance":
            return account.reading(cash_factor=factor)
        case "missing" | "outage":
            return None
        case _:
            return account.reading()


def _mark(account: Account) -> LogMark:
    return LogMark(entry_id=account.log[-1].entry_id if account.log else "", at_ms=account.now_ms)


def _judge(ladder: Ladder, truth: Truth, due: list[Rung], figures: Figures) -> None:
    stages = ladder.memory().stages
    for rung in due:
        if stages[rung] is Stage.ARMED:
            figures.missed[rung.value] += 1
            truth.breaching[rung] = 0


def _count(changes: tuple[Change, ...], truth: Truth, figures: Figures) -> None:
    for change in changes:
        if change.move is Move.FIRED:
            figures.fired[change.rung.value] += 1
            # Three samples, a minute apart each, and what troubles between them can take.
            figures.false[change.rung.value] += len(truth.history) - truth.last_breach[change.rung] > 15


def _answer(ladder: Ladder, truth: Truth) -> bool:
    """Do what a person does: acknowledge, and release a halt by re-basing every window; the oracle forgets as much."""
    ladder.acknowledge(Rung.DAILY)
    if ladder.memory().stages[Rung.MONTHLY] is not Stage.FIRED:
        return False
    for rung in RELEASABLE:
        ladder.rebase(rung)
        truth.rebase(rung)
    return True


def _restarted(ladder: Ladder, kept: list[tuple[Rung | None, Decimal, int]], figures: Figures) -> Ladder:
    """Build the ladder anew from what a journal would hold of it."""
    figures.restarts += 1
    again = Ladder(THRESHOLDS)
    for rung, price, observed_ms in kept:
        if rung is None:
            again.recall_peak(price, observed_ms=observed_ms)
        else:
            again.recall_rebase(rung, price, observed_ms=observed_ms)
    again.restore(ladder.memory())
    return again


def lines(figures: Figures) -> Iterator[str]:
    """Say the figures."""
    yield f"{figures.days} account-days, {figures.samples} samples, {figures.restarts} restarts"
    yield f"untrusted samples: {figures.untrusted}"
    yield f"largest error of the unit price: {figures.largest_price_error:.1e}"
    for name in ("fired", "false", "missed"):
        counts = getattr(figures, name)
        yield f"{name}: " + ", ".join(f"{rung} {count}" for rung, count in counts.items())


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    for line in lines(account_days(arguments.days, arguments.seed)):
        print(line)
    print(f"seed {arguments.seed}, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
