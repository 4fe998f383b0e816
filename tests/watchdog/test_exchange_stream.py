"""The streams through ccxt, against a small real WebSocket server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from ws_double import WsDouble, ws_double

from trade_core.errors import ExchangeUnavailable, TradeError
from trade_core.secrets import Secret
from trade_watchdog.exchange import KeyRefusedByExchange
from trade_watchdog.exchange_stream import ACCOUNT_TOPICS, PRICES_PATH, ExchangeStream
from trade_watchdog.identity import ExchangeKey


@pytest_asyncio.fixture
async def server() -> AsyncIterator[WsDouble]:
    async with ws_double() as double:
        yield double


@pytest_asyncio.fixture
async def stream(server: WsDouble) -> AsyncIterator[ExchangeStream]:
    made = ExchangeStream(url=server.url, is_simulated=True, key=ExchangeKey(key=Secret("k"), secret=Secret("s")))
    yield made
    await made.close()


class Told(list[tuple[str, Mapping[str, Any]]]):
    """What was delivered."""

    def __call__(self, topic: str, entry: Mapping[str, Any]) -> None:
        self.append((topic, entry))

    async def count(self, number: int) -> None:
        async with asyncio.timeout(60):
            while len(self) < number:  # noqa: ASYNC110 - the other end's doing
                await asyncio.sleep(0.005)


async def test_account_is_followed_after_a_login(server: WsDouble, stream: ExchangeStream) -> None:
    told = Told()
    task = asyncio.create_task(stream.follow_account(told))
    await server.until_heard("subscribe", times=len(ACCOUNT_TOPICS))
    assert server.ops("/v5/private")[0] == "auth"
    assert [said["args"] for _, said in server.heard[1:]] == [[topic] for topic in ACCOUNT_TOPICS]
    await server.say({"topic": "order", "data": [{"orderId": "1"}, 7]})
    await server.say({"topic": "wallet", "data": {"coin": []}})
    await told.count(3)
    assert told == [("order", {"orderId": "1"}), ("order", {}), ("wallet", {"coin": []})]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_prices_are_followed_without_a_login_and_a_contract_that_is_not_there_is_left_out(
    server: WsDouble, stream: ExchangeStream
) -> None:
    told = Told()
    server.refused = {"subscribe"}
    task = asyncio.create_task(stream.follow_prices(frozenset({"BTCUSDT", "ABCUSDT"}), told))
    await server.until_heard("subscribe", times=2)
    await server.say({"topic": "tickers.BTCUSDT", "data": {"markPrice": "1"}}, path=PRICES_PATH)
    await told.count(1)
    assert told == [("tickers.BTCUSDT", {"markPrice": "1"})]
    assert server.ops() == ["subscribe", "subscribe"]
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_contract_that_comes_later_is_asked_for_by_itself(server: WsDouble, stream: ExchangeStream) -> None:
    first = asyncio.create_task(stream.follow_prices(frozenset({"BTCUSDT"}), Told()))
    await server.until_heard("subscribe")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(stream.follow_prices(frozenset({"BTCUSDT", "ETHUSDT"}), Told()))
    await server.until_heard("subscribe", times=2)
    assert [said["args"] for _, said in server.heard] == [["tickers.BTCUSDT"], ["tickers.ETHUSDT"]]
    assert server.connected == 1
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_connection_that_breaks_ends_the_stream_and_it_can_be_followed_again(
    server: WsDouble, stream: ExchangeStream
) -> None:
    task = asyncio.create_task(stream.follow_account(Told()))
    await server.until_heard("subscribe", times=len(ACCOUNT_TOPICS))
    await server.drop()
    with pytest.raises(ExchangeUnavailable, match="the stream has ended"):
        await asyncio.wait_for(task, 60)
    task = asyncio.create_task(stream.follow_account(Told()))
    await server.until_heard("subscribe", times=2 * len(ACCOUNT_TOPICS))
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("said", ["[]", "7", "null", "not json", '{"topic": 5, "data": []}', '{"op": "other"}'])
async def test_frame_that_is_none_ends_nothing(server: WsDouble, stream: ExchangeStream, said: str) -> None:
    told = Told()
    task = asyncio.create_task(stream.follow_account(told))
    await server.until_heard("subscribe", times=len(ACCOUNT_TOPICS))
    await server.say(said)
    await server.say({"topic": "wallet", "data": [{}]})
    await told.count(1)
    assert told == [("wallet", {})]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_login_that_is_refused_is_the_keys(server: WsDouble, stream: ExchangeStream) -> None:
    server.refused = {"auth"}
    for times in (1, 2):
        with pytest.raises(KeyRefusedByExchange):
            await asyncio.wait_for(stream.follow_account(Told()), 60)
        assert server.ops() == ["auth"] * times


async def test_subscription_of_the_account_that_is_refused_ends_the_stream(
    server: WsDouble, stream: ExchangeStream
) -> None:
    server.refused = {"subscribe"}
    with pytest.raises(ExchangeUnavailable):
        await asyncio.wait_for(stream.follow_account(Told()), 60)


@pytest.mark.parametrize("mark", [{}, {"X-Trade-Environment": "LIVE"}])
async def test_stream_without_the_mark_is_not_followed(
    server: WsDouble, stream: ExchangeStream, mark: dict[str, str]
) -> None:
    server.mark = mark
    with pytest.raises(TradeError):
        await asyncio.wait_for(stream.follow_account(Told()), 60)
    assert server.ops() == []


async def test_real_stream_that_says_it_is_simulated_is_not_followed(server: WsDouble) -> None:
    stream = ExchangeStream(url=server.url, is_simulated=False, key=ExchangeKey(key=Secret("k"), secret=Secret("s")))
    with pytest.raises(ExchangeUnavailable):
        await asyncio.wait_for(stream.follow_account(Told()), 60)
    server.mark = {}
    task = asyncio.create_task(stream.follow_account(Told()))
    await server.until_heard("auth")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stream.close()


async def test_exchange_that_admits_nobody_ends_the_stream(server: WsDouble, stream: ExchangeStream) -> None:
    server.is_refusing = True
    with pytest.raises(ExchangeUnavailable):
        await asyncio.wait_for(stream.follow_prices(frozenset({"BTCUSDT"}), Told()), 60)
