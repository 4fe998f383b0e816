"""Unitised equity: the price of a unit of the account, which trading moves and no flow of money does. Pure.

An account is worth units x price. A flow (deposit, withdrawal, transfer, airdrop) buys or sells units at the price just
before it, so that it changes the units and not the price. Everything else is a result and moves the price: trades,
fees, rebates, funding, interest, and what is not realised yet.

Guarantees
- Every change of a coin's wallet balance is explained by entries of the exchange's own log, or the step is not
  trusted: the price stands still, and whoever asks gets no sample.
- What stays unexplained for UNEXPLAINED_MAX_S counts as a loss if it is one. If it is a gain it buys units, as a flow
  does: what nobody can explain never raises the price.
- An entry of a kind that this module does not know is a flow when it brings money in and a loss when it takes some out.
- Prices are rounded down and units up to 18 digits after the point: rounding never hides a loss.

How entries and balance are matched: both are read one after the other, so the log may already know what the balance
does not show yet. Of the entries that are new, the longest beginning that leads exactly to the balances is applied; the
rest is left for the next reading.

It does not judge whether the reading itself is fresh and of one piece; see `ceiling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from types import MappingProxyType
from typing import Final

from trade_core.clock import NS_PER_S
from trade_watchdog.ceiling import EquitySample, Finding

UNEXPLAINED_MAX_S: Final = 10 * 60
DUST_USDT: Final = Decimal("0.01")
"""What balances may differ by in all from the sum of the entries: the exchange rounds."""
QUANTUM: Final = Decimal("1e-18")
_EXACT: Final = Context(prec=64)
_ZERO: Final = Decimal(0)

FLOW_KINDS: Final = frozenset(
    {
        "TRANSFER_IN",
        "TRANSFER_OUT",
        "DEPOSIT",
        "WITHDRAW",
        "AIRDROP",
        "BONUS",
        "BONUS_RECOLLECT",
        "BONUS_TRANSFER_IN",
        "BONUS_TRANSFER_OUT",
        "TRANSFER_IN_INS_LOAN",
        "TRANSFER_OUT_INS_LOAN",
    }
)
"""Kinds of the log that move money between the account and elsewhere. Source: Bybit V5, enum "type(uta-translog)"."""
RESULT_KINDS: Final = frozenset(
    {
        "TRADE",
        "SETTLEMENT",
        "DELIVERY",
        "LIQUIDATION",
        "ADL",
        "INTEREST",
        "FEE_REFUND",
        "CURRENCY_BUY",
        "CURRENCY_SELL",
    }
)
"""Kinds that are results of trading and holding. Source as above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of the exchange's transaction log: by how much it changed the wallet balance of a coin, and when."""

    entry_id: str
    kind: str
    coin: str
    change: Decimal
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMark:
    """Up to where the log has been applied: an entry, "" before the first, and the time (UTC ms) to read from."""

    entry_id: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Money that came (positive) or went, worth `value_usdt` at the prices of the reading that first showed it."""

    entry_id: str
    kind: str
    coin: str
    amount: Decimal
    value_usdt: Decimal
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The account in units: what is remembered from one reading to the next.

    `balances` are wallet balances by coin, as explained so far, and `prices` what a coin was last worth.
    """

    units: Decimal
    price: Decimal
    balances: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]
    mark: LogMark
    unexplained_since_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a reading made of the book.

    Only with the finding GOOD is the price a sample; else it is the old one. `unexplained_usdt` is what the balances
    differ by from the entries; when GOOD it has been absorbed, as a loss or as units.
    """

    book: Book
    finding: Finding
    flows: tuple[Flow, ...] = ()
    unexplained_usdt: Decimal = _ZERO


def open_book(reading: EquitySample, *, mark: LogMark) -> Book:
    """Begin: one unit for each USDT, at a price of one. `mark` is the newest entry that the reading holds."""
    return Book(
        units=reading.equity_usdt,
        price=Decimal(1),
        balances=_balances(reading),
        prices=_prices(reading, {}),
        mark=mark,
    )


def needs_log(book: Book, reading: EquitySample) -> bool:
    """Tell whether a wallet balance has changed, so that the log must be read to explain it."""
    return any(book.balances.get(coin, _ZERO) != amount for coin, amount in _union(book, reading).items())


def unpriced_coins(book: Book, reading: EquitySample, entries: Sequence[LogEntry]) -> frozenset[str]:
    """Name the coins that came or went and that the reading does not price, since none is left.

    What they were worth when they were last held may be days old: whoever can should ask.
    """
    priced = {coin.coin for coin in reading.coins if coin.equity}
    return frozenset(entry.coin for entry in _after(book.mark, entries) if _is_flow(entry)) - priced


def step(
    book: Book,
    reading: EquitySample,
    entries: Sequence[LogEntry],
    *,
    now_ns: int,
    asked_prices: Mapping[str, Decimal] = MappingProxyType({}),
) -> Step:
    """Take in a reading and the log's entries from the mark on, oldest first. `now_ns` is monotonic.

    The reading's equity must be above zero. `asked_prices` are what coins that it does not price are worth now, in
    USDT: of that and what was last known the lower counts, so that an answer about a coin that left raises nothing.
    """
    asked = {coin: min(price, book.prices.get(coin, price)) for coin, price in asked_prices.items()}
    prices = _prices(reading, {**book.prices, **asked})
    fresh = _after(book.mark, entries)
    applied, left_usdt = _explained(book, reading, fresh, prices)
    if applied is None:
        since_ns = now_ns if book.unexplained_since_ns is None else book.unexplained_since_ns
        if now_ns - since_ns < UNEXPLAINED_MAX_S * NS_PER_S:
            waiting = replace(book, unexplained_since_ns=since_ns)
            return Step(book=waiting, finding=Finding.UNEXPLAINED, unexplained_usdt=left_usdt)
        applied = len(fresh)
    taken = fresh[:applied]
    flows = tuple(_flow(entry, prices) for entry in taken if _is_flow(entry))
    came_usdt = sum((flow.value_usdt for flow in flows), max(left_usdt, _ZERO))
    price = _price(book, reading.equity_usdt - came_usdt)
    if price <= 0:
        return Step(book=book, finding=Finding.NOT_POSITIVE, unexplained_usdt=left_usdt)
    units = book.units if came_usdt == 0 else _units(reading.equity_usdt, price)
    balances = _balances(reading)
    settled = Book(
        units=units,
        price=price,
        balances=balances,
        prices={coin: known for coin, known in prices.items() if coin in balances},
        mark=_mark(book.mark, taken),
    )
    return Step(book=settled, finding=Finding.GOOD, flows=flows, unexplained_usdt=left_usdt)


def _explained(
    book: Book, reading: EquitySample, fresh: Sequence[LogEntry], prices: Mapping[str, Decimal]
) -> tuple[int | None, Decimal]:
    """Count the entries that lead to the balances, None when no beginning of them does, and say what is left over."""
    found: int | None = None
    left_usdt = _ZERO
    left = {coin: amount - book.balances.get(coin, _ZERO) for coin, amount in _union(book, reading).items()}
    for count, differences in enumerate(_beginnings(left, fresh)):
        if _is_dust(differences, prices):
            found, left_usdt = count, _worth(differences, prices)
    return found, left_usdt if found is not None else _worth(left, prices)


def _beginnings(left: dict[str, Decimal], fresh: Sequence[LogEntry]) -> Iterator[Mapping[str, Decimal]]:
    """Give what stays unexplained after none, one, two ... of the entries; `left` ends as that after all of them."""
    yield left
    for entry in fresh:
        left[entry.coin] = left.get(entry.coin, _ZERO) - entry.change
        yield left


def _is_dust(differences: Mapping[str, Decimal], prices: Mapping[str, Decimal]) -> bool:
    """Tell whether what differs is worth next to nothing; what has no price is worth anything."""
    differing = {coin: amount for coin, amount in differences.items() if amount}
    if any(coin not in prices for coin in differing):
        return False
    return sum((abs(amount * prices[coin]) for coin, amount in differing.items()), _ZERO) <= DUST_USDT


def _worth(differences: Mapping[str, Decimal], prices: Mapping[str, Decimal]) -> Decimal:
    return sum((amount * prices.get(coin, _ZERO) for coin, amount in differences.items()), _ZERO)


def _is_flow(entry: LogEntry) -> bool:
    return entry.kind in FLOW_KINDS or (entry.kind not in RESULT_KINDS and entry.change > 0)


def _flow(entry: LogEntry, prices: Mapping[str, Decimal]) -> Flow:
    # A coin that no reading ever held came and went between two of them: both ways are worth the same nothing.
    value_usdt = entry.change * prices.get(entry.coin, _ZERO)
    return Flow(
        entry_id=entry.entry_id,
        kind=entry.kind,
        coin=entry.coin,
        amount=entry.change,
        value_usdt=value_usdt,
        at_ms=entry.at_ms,
    )


def _after(mark: LogMark, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
    """Drop what has been applied: everything up to the marked entry, or what is not newer when that is not listed."""
    for index, entry in enumerate(entries):
        if entry.entry_id == mark.entry_id:
            return entries[index + 1 :]
    return [entry for entry in entries if entry.at_ms > mark.at_ms]


def _mark(before: LogMark, taken: Sequence[LogEntry]) -> LogMark:
    return LogMark(entry_id=taken[-1].entry_id, at_ms=taken[-1].at_ms) if taken else before


def _price(book: Book, equity_usdt: Decimal) -> Decimal:
    return _EXACT.divide(equity_usdt, book.units).quantize(QUANTUM, rounding=ROUND_FLOOR, context=_EXACT)


def _units(equity_usdt: Decimal, price: Decimal) -> Decimal:
    return _EXACT.divide(equity_usdt, price).quantize(QUANTUM, rounding=ROUND_CEILING, context=_EXACT)


def _balances(reading: EquitySample) -> dict[str, Decimal]:
    return {coin.coin: coin.wallet_balance for coin in reading.coins}


def _prices(reading: EquitySample, known: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return what each coin is worth; of what the account no longer holds, what it was worth last."""
    seen = {coin.coin: _EXACT.divide(coin.value_usdt, coin.equity) for coin in reading.coins if coin.equity}
    return {**known, **seen}


def _union(book: Book, reading: EquitySample) -> dict[str, Decimal]:
    """Return the reading's balances, with zero for coins that it no longer names."""
    return {**dict.fromkeys(book.balances, _ZERO), **_balances(reading)}
