"""Topics: which there are on the public streams, and the answers to subscriptions on every stream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trade_simulator.instruments import Category
from trade_simulator.market.series import Interval
from trade_simulator.rejections import parameter_error

BOOK_DEPTHS = (1, 50, 200, 1000)
# Characters of all topics of one subscription.
MAX_ARGUMENT_CHARACTERS = 21_000
MAX_SPOT_ARGUMENTS = 10


class TopicKind(StrEnum):
    """What a public topic carries."""

    BOOK = "orderbook"
    TICKER = "tickers"
    KLINE = "kline"
    TRADE = "publicTrade"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTopic:
    """A parsed public topic; depth or interval are set where the kind has one."""

    name: str
    kind: TopicKind
    category: Category
    symbol: str
    depth: int = 0
    interval: Interval = Interval.M1


def parse_public_topic(name: str, category: Category) -> PublicTopic | None:
    """Parse the name of a public topic; None when there is no such topic."""
    parts = name.split(".")
    match parts:
        case [TopicKind.TICKER | TopicKind.TRADE as kind, symbol]:
            return PublicTopic(name=name, kind=TopicKind(kind), category=category, symbol=symbol)
        case [TopicKind.BOOK, depth, symbol] if depth in {str(one) for one in BOOK_DEPTHS}:
            return PublicTopic(name=name, kind=TopicKind.BOOK, category=category, symbol=symbol, depth=int(depth))
        case [TopicKind.KLINE, interval, symbol] if interval in set(Interval):
            return PublicTopic(
                name=name,
                kind=TopicKind.KLINE,
                category=category,
                symbol=symbol,
                interval=Interval(interval),
            )
    return None


def arguments(message: dict[str, Any]) -> list[str]:
    """Read the topics of a subscription. Raises Rejected 10001."""
    value = message.get("args")
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise parameter_error("args must be a list of topics")
    if sum(len(one) for one in value) > MAX_ARGUMENT_CHARACTERS:
        raise parameter_error("args is too long")
    return value
