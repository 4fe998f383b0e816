"""What the journal knows of the bot's trades, and what of the bot's database is news to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trade_journal.log.rows import Entry, Fields, RowKind, draft
from trade_journal.trades.bot_trades import BotTrade, Result
from trade_journal.trades.trade_book import LESSON_WITHIN_NS, TRADE_KINDS, TradeBook, TradeContradicts

OPEN = BotTrade(
    pair="BTC/USDT",
    direction="long",
    leverage="1",
    strategy="Sample",
    enter_tag="dip",
    entry_order_id="a",
    entry_price="100",
    entry_amount="2",
    opened_at_ns=5,
    amount="2",
    exit_amount="0",
    realized_profit="0",
    result=None,
)
RESULT = Result(
    exit_price="101",
    exit_reason="roi",
    closed_at_ns=9,
    profit="2",
    profit_ratio="0.01",
    currency="USDT",
    entry_fee=None,
    exit_fee=None,
)
PART = replace(OPEN, exit_amount="1", amount="1", realized_profit="1")
CLOSED = replace(OPEN, exit_amount="2", result=RESULT)


def book_of(*trades: BotTrade) -> TradeBook:
    book = TradeBook()
    for trade in trades:
        learn(book, "1", trade)
    return book


def learn(book: TradeBook, trade_id: str, trade: BotTrade) -> list[str]:
    news = book.news(trade_id, trade)
    for kind, fields in news:
        draft(Entry(at_ns=1, kind=kind, actor="shim", fields=fields))  # is a row
        book.feed(kind, fields)
    return [kind.value.removeprefix("swing_trade:") for kind, _ in news]


def test_trade_is_told_once_in_each_of_its_states() -> None:
    book = TradeBook()
    assert [learn(book, "1", trade) for trade in (OPEN, OPEN, PART, PART, CLOSED, CLOSED)] == [
        ["opened"],
        [],
        ["changed"],
        [],
        ["closed"],
        [],
    ]


def test_trade_that_was_seen_late_has_both_its_rows() -> None:
    assert learn(TradeBook(), "1", CLOSED) == ["opened", "closed"]


def test_rows_fed_again_change_nothing() -> None:
    book, news = TradeBook(), []
    for trade in (OPEN, PART, CLOSED):
        rows = book.news("1", trade)
        news += rows
        for kind, fields in rows:
            book.feed(kind, fields)
    before = repr(book.trades)
    for kind, fields in news:
        book.feed(kind, fields)
    assert book.news("1", CLOSED) == []
    assert repr(book.trades) == before


@pytest.mark.parametrize("kind", sorted(set(RowKind) - {RowKind.SWING_TRADE_OPENED}, key=lambda kind: kind.value))
def test_rows_of_trades_without_a_beginning_say_nothing(kind: RowKind) -> None:
    book = TradeBook()
    book.feed(kind, {"trade_id": "7", "entry_price": "1"})
    assert book.trades == {}
    assert (kind in TRADE_KINDS) == kind.value.startswith("swing_trade:")


@pytest.mark.parametrize("other", [{"pair": "ETH/USDT"}, {"direction": "short"}, {"entry_order_id": "b"}])
@pytest.mark.parametrize("known", [OPEN, CLOSED])
def test_another_trade_of_the_same_number_is_refused_with_the_setting(known: BotTrade, other: dict[str, str]) -> None:
    with pytest.raises(TradeContradicts, match="trade_prefix"):
        book_of(known).news("1", replace(OPEN, **other))


def test_trade_that_is_open_again_is_refused() -> None:
    with pytest.raises(TradeContradicts, match=r"trade 1 \(BTC/USDT\) is open in the bot's database and closed"):
        book_of(CLOSED).news("1", OPEN)


@pytest.mark.parametrize(
    "changed", [{"profit": "3"}, {"exit_price": "102"}, {"exit_price": None}, {"closed_at_ns": 10}]
)
def test_trade_that_changed_after_its_end_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(TradeContradicts, match="has changed after it was closed"):
        book_of(CLOSED).news("1", replace(CLOSED, result=replace(RESULT, **changed)))


def lesson(trade_id: str) -> Fields:
    return {"trade_id": trade_id, "lesson": "wait"}


def test_trades_without_a_lesson_are_listed_after_a_week_the_longest_first() -> None:
    book = TradeBook()
    for trade_id, closed_at_ns in (("late", 20), ("early", 10), ("learned", 10)):
        learn(book, trade_id, replace(CLOSED, result=replace(RESULT, closed_at_ns=closed_at_ns)))
    learn(book, "open", OPEN)
    book.feed(RowKind.SWING_TRADE_LESSON, lesson("learned"))
    assert book.unlearned(now_ns=10 + LESSON_WITHIN_NS) == []
    assert [one.trade_id for one in book.unlearned(now_ns=11 + LESSON_WITHIN_NS)] == ["early"]
    assert [one.trade_id for one in book.unlearned(now_ns=21 + LESSON_WITHIN_NS)] == ["early", "late"]
    assert book.open_trades() == ["open"]


def test_row_of_odd_fields_is_taken_without_a_complaint() -> None:
    book = TradeBook()
    book.feed(RowKind.SWING_TRADE_OPENED, {"trade_id": "1", "pair": 5})
    book.feed(RowKind.SWING_TRADE_CLOSED, {"trade_id": "1", "closed_at_ns": "never"})
    assert book.trades["1"].closed_at_ns == 0
