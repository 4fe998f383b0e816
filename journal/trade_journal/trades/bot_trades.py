"""A trade of the bot as its database says, and the rows that tell of it. Pure.

Guarantees
- A trade that has bought or sold nothing yet has no row: freqtrade removes such trades again.
- Numbers are the bot's doubles as the shortest text that reads back as the same double, without an exponent; one that
  is not finite is refused, and so is a trade whose values are not of the kind that they should be.
- Texts of the bot (pair, tags, reasons, strategy, ids) are data: control characters are escaped, and they are cut.

The figures are the bot's own. Nobody has checked them: what the exchange did stands in the gateway's rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from trade_core.logs import neutralise
from trade_core.money import format_decimal
from trade_journal.log.rows import Fields

# Freqtrade cuts tags at 255 characters. A row's text holds 512, and an escaped character may take ten.
TEXT_CHARACTERS_MAX: Final = 255
_ESCAPED_CHARACTERS_MAX: Final = 500
_SUM_DIGITS: Final = 15  # of a sum of doubles, all that is sure
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_MICROSECOND: Final = 1000


class TradeRefused(ValueError):
    """A trade of the bot that makes no sense; the message says which value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotTrade:
    """One trade that has at least one fill. Amounts are of the base coin, prices of the quote coin a base coin."""

    pair: str
    direction: str
    leverage: str
    strategy: str
    enter_tag: str
    entry_order_id: str
    entry_price: str
    entry_amount: str
    opened_at_ns: int
    amount: str
    exit_amount: str
    realized_profit: str | None
    result: Result | None

    @property
    def identity(self) -> tuple[str, str, str]:
        """What never changes of a trade: another one with its number is of another database."""
        return self.pair, self.direction, self.entry_order_id

    @property
    def holding(self) -> tuple[str, str, str]:
        """What changes when the bot buys more or sells a part."""
        return self.entry_price, self.entry_amount, self.exit_amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a trade ended. `profit` is of the stake currency and has the fees in it, as the bot counts them."""

    exit_price: str | None
    exit_reason: str
    closed_at_ns: int
    profit: str | None
    profit_ratio: str | None
    currency: str
    entry_fee: str | None
    exit_fee: str | None

    @property
    def figures(self) -> tuple[str | None, str | None, int]:
        """What must not change any more."""
        return self.exit_price, self.profit, self.closed_at_ns


def opened_fields(trade_id: str, trade: BotTrade) -> Fields:
    """Say that a trade began: the fields of `swing_trade:opened`."""
    return {
        **_holding_fields(trade_id, trade),
        "direction": trade.direction,
        "leverage": trade.leverage,
        "strategy": trade.strategy,
        "enter_tag": trade.enter_tag,
        "entry_order_id": trade.entry_order_id,
        "opened_at_ns": trade.opened_at_ns,
    }


def changed_fields(trade_id: str, trade: BotTrade) -> Fields:
    """Say that the bot bought more or sold a part: the fields of `swing_trade:changed`."""
    return {**_holding_fields(trade_id, trade), "realized_profit": trade.realized_profit}


def closed_fields(trade_id: str, trade: BotTrade, result: Result) -> Fields:
    """Say how a trade ended: the fields of `swing_trade:closed`."""
    return {
        **_holding_fields(trade_id, trade),
        "exit_price": result.exit_price,
        "exit_reason": result.exit_reason,
        "closed_at_ns": result.closed_at_ns,
        "profit": result.profit,
        "profit_ratio": result.profit_ratio,
        "currency": result.currency,
        "entry_fee": result.entry_fee,
        "exit_fee": result.exit_fee,
    }


def _holding_fields(trade_id: str, trade: BotTrade) -> dict[str, str | int | None]:
    return {
        "trade_id": trade_id,
        "pair": trade.pair,
        "entry_price": trade.entry_price,
        "entry_amount": trade.entry_amount,
        "exit_amount": trade.exit_amount,
        "amount": trade.amount,
    }


def foreign_text(name: str, value: object) -> str:
    """Take a text of others as data: escaped and cut. None is the empty text. Raises TradeRefused for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TradeRefused(f"{name} is a {type(value).__name__} and no text")
    return neutralise(value, limit=TEXT_CHARACTERS_MAX)[:_ESCAPED_CHARACTERS_MAX]


def number_text(name: str, value: object) -> str:
    """Write a number of the bot as text that reads back as the same double. Raises TradeRefused."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TradeRefused(f"{name} is a {type(value).__name__} and no number")
    if not math.isfinite(value):
        raise TradeRefused(f"{name} is {value}")
    return format_decimal(Decimal(repr(value)))


def optional_number_text(name: str, value: object) -> str | None:
    """As `number_text`, where the bot may know none."""
    return None if value is None else number_text(name, value)


def sum_text(name: str, value: object) -> str:
    """Write a sum of the bot's doubles without the noise of adding them; none is 0. Raises TradeRefused."""
    text = number_text(name, 0 if value is None else value)
    return format_decimal(Decimal(f"{Decimal(text):.{_SUM_DIGITS}g}"))


def time_ns(name: str, value: object) -> int:
    """Read a time of the bot's database, UTC without saying so, in nanoseconds. Raises TradeRefused."""
    try:
        at = datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None:
        raise TradeRefused(f"{name} is no time: {ascii(value)[:40]}")
    return (at - _EPOCH) // timedelta(microseconds=1) * _NS_PER_MICROSECOND
