"""Looking at the account: real ccxt against a small exchange, through to a unit price."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from trade_core.clock import SystemClock
from trade_core.secrets import Secret
from trade_watchdog.account_watch import OPENINGS_MAX, AccountWatch, Look
from trade_watchdog.ceiling import Finding
from trade_watchdog.exchange import WatchedExchange
from trade_watchdog.identity import ExchangeKey


@pytest_asyncio.fixture
async def watch(exchange: Any) -> AsyncIterator[AccountWatch]:
    """Watch the double's account, with nothing remembered."""
    key = ExchangeKey(key=Secret("watchkey"), secret=Secret("watchsecret"))
    connection = WatchedExchange(url=exchange.url, is_simulated=True, key=key, clock=SystemClock())
    yield AccountWatch(exchange=connection, clock=SystemClock())
    await connection.close()


def paths(exchange: Any) -> list[str]:
    return [path.rpartition("/")[2] for _method, path, _headers, _body in exchange.requests]


async def test_first_look_opens_the_book_between_two_equal_marks(watch: AccountWatch, exchange: Any) -> None:
    exchange.entry("DEPOSIT", "4000.5")
    look = await watch.look()
    assert look.finding is Finding.GOOD
    assert look.book is watch.book is not None
    assert (look.book.units, look.book.price, look.book.mark.entry_id) == (Decimal("4000.5"), 1, "entry-0")
    assert look.sample is not None
    assert paths(exchange) == ["wallet-balance", "transaction-log", "wallet-balance", "transaction-log"]


async def test_account_that_never_stands_still_opens_no_book(watch: AccountWatch, exchange: Any) -> None:
    answer = exchange.answer

    def busy(path: str, *rest: Any) -> Any:
        exchange.entry("TRADE", "1")
        return answer(path, *rest)

    exchange.answer = busy
    look = await watch.look()
    assert (look.finding, look.detail) == (Finding.UNEXPLAINED, "the account changes too fast to begin with")
    assert watch.book is None
    assert paths(exchange).count("transaction-log") == OPENINGS_MAX + 1


async def test_prices_that_move_need_one_request_and_balances_the_log(watch: AccountWatch, exchange: Any) -> None:
    await watch.look()
    exchange.requests.clear()
    exchange.equity = "3600.45"
    look = await watch.look()
    assert look.book is not None
    assert look.book.price == Decimal("0.9")
    assert paths(exchange) == ["wallet-balance"]
    exchange.flow("1000")
    look = await watch.look()
    assert paths(exchange) == ["wallet-balance", "wallet-balance", "transaction-log"]
    assert look.book is not None
    assert look.book.price == Decimal("0.9")
    assert [flow.amount for flow in look.flows] == [Decimal(1000)]


async def test_balance_that_nothing_explains_is_no_sample(watch: AccountWatch, exchange: Any) -> None:
    await watch.look()
    exchange.balance = exchange.equity = "3000"
    look = await watch.look()
    assert (look.finding, look.sample, look.detail) == (Finding.UNEXPLAINED, None, "-1000.5 USDT unexplained")
    exchange.entry("TRADE", "-1000.5")
    assert (await watch.look()).finding is Finding.GOOD


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"equity": "NaN"}, Finding.UNREADABLE),
        ({"equity": "0"}, Finding.NOT_POSITIVE),
        ({"mark": {}}, Finding.NOT_SIMULATED),
        ({"frozen_time_ms": 1}, Finding.CLOCKS_DISAGREE),
        ({"override": (503, {"content-type": "text/html"}, b"no")}, Finding.UNAVAILABLE),
        ({"coins": []}, Finding.CONTRADICTORY),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
async def test_answer_that_cannot_be_believed_is_a_finding(
    watch: AccountWatch, exchange: Any, change: dict[str, Any], finding: Finding, *, is_first: bool
) -> None:
    if not is_first:
        await watch.look()
    for name, value in change.items():
        setattr(exchange, name, value)
    before = watch.book
    look = await watch.look()
    assert (look.finding, look.sample) == (finding, None)
    assert watch.book is before


async def test_reading_that_turns_bad_while_the_book_is_opened_opens_none(watch: AccountWatch, exchange: Any) -> None:
    answer = exchange.answer

    def turning(path: str, *rest: Any) -> Any:
        made = answer(path, *rest)
        exchange.equity = "0"
        return made

    exchange.answer = turning
    assert (await watch.look()).finding is Finding.NOT_POSITIVE
    assert watch.book is None


async def test_coin_in_dispute_leaves_the_book_until_the_venues_agree(exchange: Any) -> None:
    second = {"BTC": Decimal(100)}
    key = ExchangeKey(key=Secret("watchkey"), secret=Secret("watchsecret"))
    connection = WatchedExchange(url=exchange.url, is_simulated=True, key=key, clock=SystemClock())
    watch = AccountWatch(exchange=connection, clock=SystemClock(), second=lambda: second)
    exchange.equity = "500"
    exchange.coins = [{"coin": "BTC", "walletBalance": "5", "equity": "5", "usdValue": "500"}]
    opened = await watch.look()
    assert opened.finding is Finding.GOOD
    second["BTC"] = Decimal(150)
    look = await watch.look()
    assert (look.finding, look.sample, look.book) == (Finding.DISPUTED, None, None)
    assert look.detail == "BTC is worth 100 USDT, and 150 at the second venue"
    assert watch.book is opened.book
    second.clear()
    assert (await watch.look()).finding is Finding.GOOD
    await connection.close()


async def test_offset_of_the_exchange_s_clock_is_told_of_every_answer(watch: AccountWatch, exchange: Any) -> None:
    assert watch.clock_offset_ms is None
    exchange.clock_offset_ms = 30_000
    assert (await watch.look()).finding is Finding.CLOCKS_DISAGREE
    assert watch.clock_offset_ms is not None
    assert 15_000 < watch.clock_offset_ms < 30_001


class Gone:
    """An account that held five BTC at 100 USDT, which left while nobody looked."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        exchange.coins = [self._coin("USDT", "500", "500"), self._coin("BTC", "5", "500")]
        exchange.equity = "1000"

    def leave(self) -> None:
        self._exchange.entry("TRANSFER_OUT", "-5", coin="BTC")
        self._exchange.coins = [self._coin("USDT", "500", "500")]
        self._exchange.equity = "500"

    @staticmethod
    def _coin(name: str, amount: str, value: str) -> dict[str, str]:
        return {"coin": name, "walletBalance": amount, "equity": amount, "usdValue": value}


async def look_of(watch: AccountWatch) -> Look:
    look = await watch.look()
    assert look.finding is Finding.GOOD, look
    return look


@pytest.mark.parametrize(("index", "price"), [("60", "0.8"), ("100", "1"), ("150", "1")])
async def test_coin_that_left_whole_counts_as_what_it_is_worth_now_and_never_more_than_before(
    watch: AccountWatch, exchange: Any, index: str, price: str
) -> None:
    """It fell while no watchdog looked, and left: the loss is the account's."""
    gone = Gone(exchange)
    await look_of(watch)
    exchange.tickers["BTCUSDT"] = [{"indexPrice": index, "markPrice": index}]
    gone.leave()
    look = await look_of(watch)
    assert look.book is not None
    assert look.book.price == Decimal(price)


async def test_coin_that_left_whole_and_has_no_index_counts_as_it_was_last_known(
    watch: AccountWatch, exchange: Any
) -> None:
    gone = Gone(exchange)
    await look_of(watch)
    gone.leave()
    look = await look_of(watch)
    assert look.book is not None
    assert look.book.price == 1


async def test_coin_whose_index_cannot_be_believed_is_asked_for_again(watch: AccountWatch, exchange: Any) -> None:
    gone = Gone(exchange)
    before = (await look_of(watch)).book
    gone.leave()
    exchange.tickers["BTCUSDT"] = [{"indexPrice": "60", "markPrice": "99"}]
    look = await watch.look()
    assert (look.finding, watch.book) == (Finding.UNAVAILABLE, before)
    exchange.tickers["BTCUSDT"] = [{"indexPrice": "60", "markPrice": "60"}]
    again = await look_of(watch)
    assert again.book is not None
    assert again.book.price == Decimal("0.8")


async def test_flow_of_a_coin_that_is_held_asks_for_no_price(watch: AccountWatch, exchange: Any) -> None:
    await look_of(watch)
    exchange.flow("1000")
    await look_of(watch)
    assert "tickers" not in paths(exchange)


async def test_prices_that_are_asked_for_are_bounded(
    watch: AccountWatch, exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trade_watchdog.account_watch.PRICES_ASKED_MAX", 0)
    gone = Gone(exchange)
    await look_of(watch)
    gone.leave()
    await look_of(watch)
    assert "tickers" not in paths(exchange)
