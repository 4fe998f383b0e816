"""Prices from a small exchange's REST and stream, on a clock in the test's hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from http_double import Asked, envelope, http_double, reply
from ws_double import ws_double

from trade_core.bybit.client import BybitClient
from trade_core.clock import NS_PER_S, Clock, ManualClock, SystemClock
from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable, TradeError
from trade_gateway.account import reference_feed
from trade_gateway.account.reference_feed import FIRST_PRICES_WITHIN_S, PUBLIC_LINEAR_PATH, ReferenceFeed
from trade_gateway.policy.references import SECOND_MAX_AGE_S, Flaw, KeptReference, Source, Unusable, Usable
from trade_gateway.second_prices import ArrivedPrice
from trade_gateway.wire.intents import Category

SYMBOLS = [(Category.SPOT, "BTCUSDT"), (Category.LINEAR, "BTCUSDT"), (Category.SPOT, "ETHUSDT")]
MAX_AGE_S = 5


@dataclass
class Feed:
    feed: ReferenceFeed
    clock: Clock
    tickers: dict[str, dict[str, Any]]
    spot: dict[str, dict[str, Any]] = field(default_factory=dict)
    instead: list[bytes | None] = field(default_factory=list)
    second: dict[str, ArrivedPrice] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    meanwhile: Callable[[], object] = lambda: None
    good: list[tuple[str, Decimal]] = field(default_factory=list)

    def answer(self, asked: Asked) -> bytes | None:
        self.asked.append(asked)
        self.meanwhile()
        if self.instead:
            return self.instead[0]
        if asked.parameter("symbol") in self.refused:
            return envelope({}, ret_code=10016)
        listed = self.spot if asked.parameter("category") == "spot" else self.tickers
        ticker = listed.get(asked.parameter("symbol") or "")
        return envelope({"list": [] if ticker is None else [ticker]})

    def say(self, symbol: str = "BTCUSDT", **data: Any) -> None:
        self.feed.hear_frame(json.dumps({"topic": f"tickers.{symbol}", "type": "delta", "data": data}))

    def judged(self, coin: str = "BTC") -> Any:
        return self.feed.judge()[coin]


def kept(price: str) -> KeptReference:
    return KeptReference(price=Decimal(price), within=Decimal("0.002"))


def ticker(symbol: str, index: str, mark: str) -> dict[str, Any]:
    return {"symbol": symbol, "indexPrice": index, "markPrice": mark, "lastPrice": "1", "bid1Price": "1"}


@asynccontextmanager
async def feeding(clock: Clock) -> AsyncIterator[Feed]:
    async with http_double() as double:
        client = BybitClient(base_url=double.url, clock=clock, is_simulated=True)
        second: dict[str, ArrivedPrice] = {}
        good: list[tuple[str, Decimal]] = []
        feed = ReferenceFeed(
            symbols=SYMBOLS,
            client=client,
            clock=clock,
            max_age_s=MAX_AGE_S,
            max_divergence=Decimal("0.01"),
            second_prices=lambda: second,
            on_good=lambda coin, price: good.append((coin, price)),
        )
        made = Feed(
            feed=feed,
            clock=clock,
            tickers={
                "BTCUSDT": ticker("BTCUSDT", "30000", "30010"),
                "ETHUSDT": ticker("ETHUSDT", "2000", "2001"),
            },
            second=second,
            good=good,
        )
        double.answer = made.answer
        try:
            yield made
        finally:
            await client.aclose()


async def test_feed_has_nothing_before_it_was_told(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        assert it.judged() == Unusable(flaw=Flaw.MISSING, source=Source.INDEX)
        assert it.feed.is_stale()
        assert it.feed.age_s("BTC") is None
        assert it.feed.coins == ("BTC", "ETH")


async def test_feed_reads_index_and_mark_and_no_traded_price(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        facts = it.feed.facts()
        assert facts.coins["BTC"].reference == Usable(price=Decimal(30000))
        assert facts.coins["BTC"].mark == Decimal(30010)
        assert facts.coins["ETH"].reference == Usable(price=Decimal(2000))
        assert not it.feed.is_stale()
        assert {asked.parameter("category") for asked in it.asked} == {"linear"}


@pytest.mark.parametrize(("age_ns", "is_usable"), [(MAX_AGE_S * NS_PER_S, True), (MAX_AGE_S * NS_PER_S + 1, False)])
async def test_feed_prices_age(clock: ManualClock, age_ns: int, is_usable: bool) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        clock.advance(age_ns)
        assert isinstance(it.judged(), Usable) is is_usable
        assert it.feed.is_stale() is not is_usable
        assert it.feed.facts().coins["BTC"].last_good == (Decimal(30000) if is_usable else None)
        assert it.feed.age_s("BTC") == age_ns / NS_PER_S


async def test_feed_takes_over_what_was_the_last_good_reference_before_a_restart(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        it.feed.restore({"BTC": kept("29000"), "DOGE": kept("1")})
        coin = it.feed.facts().coins["BTC"]
        assert isinstance(coin.reference, Unusable)
        assert (coin.last_good, coin.kept) == (29_000, kept("29000"))
        assert it.good == []
        await it.feed.read()
        coin = it.feed.facts().coins["BTC"]
        assert (coin.last_good, coin.kept) == (30_000, None)
        assert it.good == [("BTC", 30_000), ("ETH", 2000)]
        it.feed.restore({"BTC": kept("29000")})  # what is known better stays
        coin = it.feed.facts().coins["BTC"]
        assert (coin.last_good, coin.kept) == (30_000, None)
        assert "DOGE" not in it.feed.facts().coins


async def test_feed_lets_an_exit_wait_for_the_first_price_after_a_restart(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        it.feed.restore({"BTC": kept("29000"), "ETH": kept("1900")})
        waiting = asyncio.create_task(it.feed.wait_for_first("BTCUSDT"))
        it.say(symbol="ETHUSDT", indexPrice="2000", markPrice="2000")
        it.say(indexPrice="30000")  # no reference without a mark
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        it.say(markPrice="30000")
        await waiting
        assert it.feed.facts().coins["BTC"].kept is None


async def test_feed_lets_no_exit_wait_that_has_a_price_or_waited_long_enough(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.wait_for_first("BTCUSDT")  # never restarted
        it.feed.restore({"BTC": kept("29000")})
        await it.feed.wait_for_first("ETHUSDT")  # nothing is known of it: it is denied at once
        clock.advance(int(FIRST_PRICES_WITHIN_S * NS_PER_S))
        await it.feed.wait_for_first("BTCUSDT")
        assert it.feed.facts().coins["BTC"].kept is not None


async def test_feed_that_stays_silent_ends_the_wait_by_itself(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_feed, "FIRST_PRICES_WITHIN_S", 0.001)
    async with feeding(SystemClock()) as it:
        it.feed.restore({"BTC": kept("29000")})
        await it.feed.wait_for_first("BTCUSDT")
        assert it.feed.facts().coins["BTC"].last_good == 29_000


async def test_feed_remembers_the_last_good_reference(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.feed.judge()
        clock.advance(3600 * NS_PER_S)
        coin = it.feed.facts().coins["BTC"]
        assert coin.reference == Unusable(flaw=Flaw.STALE, source=Source.INDEX)
        assert coin.last_good == Decimal(30000)


async def test_feed_delta_confirms_only_what_it_names(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        clock.advance(MAX_AGE_S * NS_PER_S)
        it.say(indexPrice="30020", lastPrice="5")
        clock.advance(NS_PER_S)
        assert it.judged() == Unusable(flaw=Flaw.STALE, source=Source.MARK)
        it.say(markPrice="30021")
        assert it.judged() == Usable(price=Decimal(30020))


async def test_feed_answer_that_was_slow_is_older_than_what_the_stream_said_meanwhile(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        it.meanwhile = lambda: (clock.advance(NS_PER_S), it.say(indexPrice="30100", markPrice="30100"))
        await it.feed.read()
        assert it.judged() == Usable(price=Decimal(30100))


@pytest.mark.parametrize("text", ["NaN", "", "-1", "0", "1e5", 30000, None, {}])
async def test_feed_nonsense_is_no_price(clock: ManualClock, text: Any) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.say(indexPrice=text)
        if text is None:  # as if it was not named
            assert isinstance(it.judged(), Usable)
        else:
            assert it.judged() == Unusable(flaw=Flaw.INVALID, source=Source.INDEX)
            assert it.feed.is_stale()


@pytest.mark.parametrize(
    "frame",
    [
        "no json",
        "[]",
        '{"topic": 5, "data": {"indexPrice": "1"}}',
        '{"topic": "tickers.BTCUSDT", "data": [1]}',
        '{"topic": "tickers.DOGEUSDT", "data": {"indexPrice": "1"}}',
        '{"topic": "orderbook.1.BTCUSDT", "data": {"indexPrice": "1"}}',
    ],
)
async def test_feed_frames_of_other_kinds_change_nothing(clock: ManualClock, frame: str) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.feed.hear_frame(frame)
        assert it.judged() == Usable(price=Decimal(30000))


async def test_feed_mark_that_diverges_denies_and_is_not_stale(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.say(markPrice="31000")
        assert it.judged() == Unusable(flaw=Flaw.DIVERGES, source=Source.MARK)
        assert not it.feed.is_stale()
        assert it.feed.describe()["BTC"] == {
            "price": "30000",
            "age_s": 0.0,
            "status": "mark diverges",
            "second": {"price": None, "age_s": None, "divergence": None, "status": "missing"},
        }


def arrived(clock: ManualClock, price: str, *, age_ns: int = 0) -> ArrivedPrice:
    return ArrivedPrice(price=Decimal(price), at_ns=clock.monotonic_ns() - age_ns)


async def test_feed_second_price_that_diverges_denies_until_it_is_near_again(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.second["BTC"] = arrived(clock, "31000")
        assert it.judged() == Unusable(flaw=Flaw.DIVERGES, source=Source.SECOND)
        assert not it.feed.is_stale()
        it.second.clear()  # silence is no agreement
        assert it.judged() == Unusable(flaw=Flaw.DIVERGES, source=Source.SECOND)
        it.second["BTC"] = arrived(clock, "30001")
        assert it.judged() == Usable(price=Decimal(30000))
        it.second.clear()
        assert it.judged() == Usable(price=Decimal(30000))


async def test_feed_second_price_that_diverges_denies_no_other_coin(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.second["BTC"] = arrived(clock, "31000")
        assert it.judged("ETH") == Usable(price=Decimal(2000))


async def test_feed_exits_go_on_by_the_index_when_the_second_venue_diverges(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.feed.judge()
        it.second["BTC"] = arrived(clock, "31000")
        it.say(indexPrice="29000", markPrice="29000")
        coin = it.feed.facts().coins["BTC"]
        assert isinstance(coin.reference, Unusable)
        assert coin.last_good == Decimal(29000)


async def test_feed_shows_the_second_price_beside_the_index(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.second["BTC"] = arrived(clock, "30300.0", age_ns=2 * NS_PER_S)
        shown = it.feed.describe()["BTC"]["second"]
        assert shown == {"price": "30300", "age_s": 2.0, "divergence": "0.010000", "status": "usable"}
        clock.advance(SECOND_MAX_AGE_S * NS_PER_S)
        assert it.feed.describe()["BTC"]["second"]["status"] == "stale"


def book(bid: Any, ask: Any, *, symbol: str = "ETHUSDT") -> dict[str, Any]:
    return {"symbol": symbol, "bid1Price": bid, "ask1Price": ask, "lastPrice": "1", "usdIndexPrice": "1"}


async def test_feed_coin_without_a_contract_lives_on_the_second_price_near_its_own_book(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        it.tickers.pop("ETHUSDT")
        it.spot["ETHUSDT"] = book("1999", "2000")
        await it.feed.read()
        assert it.judged("ETH") == Unusable(flaw=Flaw.MISSING, source=Source.SECOND)
        assert not it.feed.is_stale()
        it.second["ETH"] = arrived(clock, "2000")
        assert it.judged("ETH") == Usable(price=Decimal(2000))
        assert it.feed.describe()["ETH"]["second"]["divergence"] == "0.000250"
        it.second["ETH"] = arrived(clock, "2100")
        assert it.judged("ETH") == Unusable(flaw=Flaw.DIVERGES, source=Source.SECOND)
        assert it.judged("BTC") == Usable(price=Decimal(30000))


@pytest.mark.parametrize(
    ("bid", "ask"),
    [("2000", "2000"), ("2001", "2000"), ("0", "2000"), ("-1", "2000"), ("", "2000"), (2000, 2001), (None, None)],
)
async def test_feed_spot_book_that_is_empty_or_crossed_denies(clock: ManualClock, bid: Any, ask: Any) -> None:
    async with feeding(clock) as it:
        it.tickers.pop("ETHUSDT")
        it.spot["ETHUSDT"] = book(bid, ask)
        it.second["ETH"] = arrived(clock, "2000")
        await it.feed.read()
        assert it.judged("ETH") == Unusable(flaw=Flaw.INVALID, source=Source.SPOT)
        assert not it.feed.is_stale()


async def test_feed_coin_that_is_listed_nowhere_denies(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        it.tickers.pop("ETHUSDT")
        it.second["ETH"] = arrived(clock, "2000")
        await it.feed.read()
        assert it.judged("ETH") == Unusable(flaw=Flaw.MISSING, source=Source.SPOT)
        it.spot["ETHUSDT"] = book("1999", "2000", symbol="BTCUSDT")  # an answer about another symbol
        await it.feed.read()
        assert it.judged("ETH") == Unusable(flaw=Flaw.MISSING, source=Source.SPOT)


async def test_feed_spot_book_ages(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        it.tickers.pop("ETHUSDT")
        it.spot["ETHUSDT"] = book("1999", "2000")
        await it.feed.read()
        it.second["ETH"] = arrived(clock, "2000")
        clock.advance(MAX_AGE_S * NS_PER_S)
        assert it.judged("ETH") == Usable(price=Decimal(2000))
        clock.advance(1)
        assert it.judged("ETH") == Unusable(flaw=Flaw.STALE, source=Source.SPOT)


async def test_feed_asks_for_no_spot_book_of_a_coin_that_has_a_contract(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.tickers.pop("ETHUSDT")
        await it.feed.read()
        assert {asked.parameter("category") for asked in it.asked} == {"linear"}


async def test_feed_contract_that_was_there_once_is_not_forgotten_for_an_empty_answer(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        it.tickers.clear()
        clock.advance((MAX_AGE_S + 1) * NS_PER_S)
        await it.feed.read()
        assert it.judged() == Unusable(flaw=Flaw.STALE, source=Source.INDEX)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (None, ExchangeUnavailable),
        (reply(b"", status=503), ExchangeUnavailable),
        (envelope({"list": None}), ExchangeAnswerInvalid),
        (envelope({}, ret_code=10016), ExchangeAnswerInvalid),
    ],
)
async def test_feed_that_cannot_be_read_says_so(clock: ManualClock, raw: bytes | None, error: type[TradeError]) -> None:
    async with feeding(clock) as it:
        it.instead = [raw]
        with pytest.raises(error):
            await it.feed.read()


async def test_feed_goes_on_reading_through_trouble(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_feed, "READ_EVERY_S", 0.01)
    async with feeding(clock) as it:
        it.instead = [reply(b"", status=503)]
        task = asyncio.create_task(it.feed.keep_reading())
        async with asyncio.timeout(60):
            while len(it.asked) < 3:  # noqa: ASYNC110 - the loop's doing
                await asyncio.sleep(0.005)
            it.instead.clear()
            while it.feed.is_stale():  # noqa: ASYNC110 - the loop's doing
                await asyncio.sleep(0.005)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_feed_stream_asks_for_the_tickers_of_contracts_that_exist(clock: ManualClock) -> None:
    async with feeding(clock) as it, ws_double() as double:
        it.tickers.pop("ETHUSDT")
        await it.feed.read()
        stream = it.feed.stream(exchange_ws_url=double.url, is_simulated=True)
        task = asyncio.create_task(stream.run())
        await double.until_heard("subscribe")
        assert double.heard[0][1]["args"] == ["tickers.BTCUSDT"]
        await double.say(
            {"topic": "tickers.BTCUSDT", "type": "snapshot", "data": ticker("BTCUSDT", "30500", "30500")},
            path=PUBLIC_LINEAR_PATH,
        )
        async with asyncio.timeout(60):
            while it.judged() != Usable(price=Decimal(30500)):  # noqa: ASYNC110 - the stream's doing
                await asyncio.sleep(0.005)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_feed_follows_other_symbols_and_bounds_from_one_moment_to_the_next(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        await it.feed.read()
        former = [(Category.SPOT, "BTCUSDT"), (Category.LINEAR, "ETHUSDT")]
        bounds: dict[str, Any] = {"max_age_s": 1, "max_divergence": Decimal("0.01")}
        assert not it.feed.follow(SYMBOLS, former=former, **bounds)
        assert it.feed.follow([(Category.SPOT, "XRPUSDT")], former=former, **bounds)
        assert it.feed.coins == ("BTC", "ETH", "XRP")
        assert it.feed._operations()[0].args == ("tickers.XRPUSDT",)
        clock.advance(2 * NS_PER_S)
        assert it.judged() == Unusable(flaw=Flaw.STALE, source=Source.INDEX)
        assert it.feed.is_stale()  # for XRP alone
        it.tickers = {"XRPUSDT": ticker("XRPUSDT", "1", "1")}
        await it.feed.read()
        assert not it.feed.is_stale()


async def test_feed_reads_on_when_a_former_coin_is_delisted(clock: ManualClock) -> None:
    async with feeding(clock) as it:
        bounds: dict[str, Any] = {"max_age_s": 1, "max_divergence": Decimal("0.01")}
        it.feed.follow([(Category.SPOT, "ETHUSDT")], former=[(Category.SPOT, "BTCUSDT")], **bounds)
        it.refused.add("BTCUSDT")
        await it.feed.read()
        assert it.judged("ETH") == Usable(price=Decimal(2000))
