"""What the journal knows of the bot's trades: built from its rows, and asked what is news. Pure.

Guarantees
- The same row fed twice changes nothing, so that rows may be read again after any interruption.
- What the journal says already is no news; so nothing is written twice, whatever the shim remembers.
- A trade that contradicts the journal gives no rows and one sentence: what is written stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trade_core.clock import NS_PER_S
from trade_journal.log.rows import Fields, RowKind
from trade_journal.trades.bot_trades import BotTrade, changed_fields, closed_fields, opened_fields

LESSON_WITHIN_NS: Final = 7 * 24 * 3600 * NS_PER_S
TRADE_KINDS: Final = frozenset(
    {
        RowKind.SWING_TRADE_OPENED,
        RowKind.SWING_TRADE_CHANGED,
        RowKind.SWING_TRADE_CLOSED,
        RowKind.SWING_TRADE_LESSON,
    }
)
News = list[tuple[RowKind, Fields]]


class TradeContradicts(ValueError):
    """The bot's database says of a trade what cannot be true beside what the journal says."""


@dataclass(slots=True, kw_only=True)
class KnownTrade:
    """One trade as the journal's rows have it."""

    pair: str
    identity: tuple[str, str, str]
    holding: tuple[str, str, str]
    figures: tuple[str | None, str | None, int] | None = None
    has_lesson: bool = False

    @property
    def closed_at_ns(self) -> int | None:
        """Say when it ended; None while it is open."""
        return None if self.figures is None else self.figures[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlearned:
    """A trade that ended more than a week ago and has no lesson."""

    trade_id: str
    pair: str
    closed_at_ns: int


class TradeBook:
    """The trades of one journal."""

    def __init__(self, trades: dict[str, KnownTrade] | None = None) -> None:
        self.trades: dict[str, KnownTrade] = {} if trades is None else trades

    def feed(self, kind: RowKind, fields: Fields) -> None:
        """Take one row of the journal in; one of another kind, or of a trade without a beginning, says nothing."""
        trade_id = _text(fields, "trade_id")
        if kind is RowKind.SWING_TRADE_OPENED:
            self._open(trade_id, fields)
        known = self.trades.get(trade_id)
        if known is None:
            return
        if kind in (RowKind.SWING_TRADE_CHANGED, RowKind.SWING_TRADE_CLOSED):
            known.holding = _holding(fields)
        if kind is RowKind.SWING_TRADE_CLOSED:
            known.figures = (_optional(fields, "exit_price"), _optional(fields, "profit"), _time(fields))
        elif kind is RowKind.SWING_TRADE_LESSON:
            known.has_lesson = True

    def _open(self, trade_id: str, fields: Fields) -> None:
        if trade_id not in self.trades:
            pair = _text(fields, "pair")
            identity = (pair, _text(fields, "direction"), _text(fields, "entry_order_id"))
            self.trades[trade_id] = KnownTrade(pair=pair, identity=identity, holding=_holding(fields))

    def news(self, trade_id: str, trade: BotTrade) -> News:
        """Say which rows are missing of a trade. Raises TradeContradicts."""
        known = self.trades.get(trade_id)
        rows: News = []
        if known is None:
            rows.append((RowKind.SWING_TRADE_OPENED, opened_fields(trade_id, trade)))
        else:
            _check(trade_id, known, trade)
            if known.figures is not None:
                return []
        if trade.result is not None:
            rows.append((RowKind.SWING_TRADE_CLOSED, closed_fields(trade_id, trade, trade.result)))
        elif known is not None and known.holding != trade.holding:
            rows.append((RowKind.SWING_TRADE_CHANGED, changed_fields(trade_id, trade)))
        return rows

    def open_trades(self) -> list[str]:
        """Name the trades that have not ended."""
        return [trade_id for trade_id, known in self.trades.items() if known.figures is None]

    def unlearned(self, *, now_ns: int) -> list[Unlearned]:
        """List the trades that ended more than a week ago and have no lesson, the longest first."""
        found = [
            Unlearned(trade_id=trade_id, pair=known.pair, closed_at_ns=known.closed_at_ns)
            for trade_id, known in self.trades.items()
            if known.closed_at_ns is not None
            and not known.has_lesson
            and now_ns - known.closed_at_ns > LESSON_WITHIN_NS
        ]
        return sorted(found, key=lambda one: one.closed_at_ns)


def _check(trade_id: str, known: KnownTrade, trade: BotTrade) -> None:
    if known.identity != trade.identity:
        raise TradeContradicts(
            f"trade {trade_id} is {' '.join(trade.identity)} in the bot's database and {' '.join(known.identity)} in "
            "the journal: another database? Give its trades ids of their own with the setting trade_prefix"
        )
    if known.figures is None:
        return
    if trade.result is None:
        raise TradeContradicts(
            f"trade {trade_id} ({known.pair}) is open in the bot's database and closed in the journal"
        )
    if trade.result.figures != known.figures:
        found, written = trade.result.figures, known.figures
        raise TradeContradicts(
            f"trade {trade_id} ({known.pair}) has changed after it was closed: exit price and profit are {found[0]} "
            f"and {found[1]} in the bot's database, {written[0]} and {written[1]} in the journal, which stays as it is"
        )


def _holding(fields: Fields) -> tuple[str, str, str]:
    return _text(fields, "entry_price"), _text(fields, "entry_amount"), _text(fields, "exit_amount")


def _text(fields: Fields, name: str) -> str:
    return _optional(fields, name) or ""


def _optional(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _time(fields: Fields) -> int:
    value = fields.get("closed_at_ns")
    return value if isinstance(value, int) else 0
