"""Topics of the public streams."""

from __future__ import annotations

import pytest

from trade_simulator.instruments import Category
from trade_simulator.market.series import Interval
from trade_simulator.rejections import Rejected
from trade_simulator.stream.topics import TopicKind, arguments, parse_public_topic


@pytest.mark.parametrize("depth", [1, 50, 200, 1000])
def test_book_topic_of_a_served_depth_is_parsed(depth: int) -> None:
    topic = parse_public_topic(f"orderbook.{depth}.BTCUSDT", Category.SPOT)
    assert topic is not None
    assert (topic.kind, topic.depth, topic.symbol) == (TopicKind.BOOK, depth, "BTCUSDT")


def test_kline_topic_is_parsed() -> None:
    topic = parse_public_topic("kline.D.BTCUSDT", Category.LINEAR)
    assert topic is not None
    assert topic.interval is Interval.DAY


@pytest.mark.parametrize(
    "name",
    [
        "",
        "orderbook",
        "orderbook.2.BTCUSDT",
        "orderbook.01.BTCUSDT",
        "kline.7.BTCUSDT",
        "tickers",
        "tickers.A.B",
        "x.A",
    ],
)
def test_name_of_no_topic_is_not_parsed(name: str) -> None:
    assert parse_public_topic(name, Category.SPOT) is None


@pytest.mark.parametrize("args", [None, [], "tickers.BTCUSDT", [1], [["a"]], ["x" * 21_001]])
def test_arguments_that_are_no_list_of_topics_are_refused(args: object) -> None:
    with pytest.raises(Rejected) as refused:
        arguments({"args": args})
    assert refused.value.code == 10001
