"""The stream client against a small real WebSocket server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from ws_double import WsDouble, ws_double

from trade_core.clock import SystemClock
from trade_gateway.account import stream as stream_module
from trade_gateway.account.stream import Operation, Stream

PATH = "/v5/private"
OPERATIONS = (Operation(op="auth", args=("k", 1, "s")), Operation(op="subscribe", args=("order",)))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second thoughts between tries."""
    monkeypatch.setattr(stream_module, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(stream_module, "LONGEST_WAIT_S", 0.05)


@dataclass
class Listener:
    said: list[str] = field(default_factory=list)
    task: asyncio.Task[None] = field(init=False)

    def up(self) -> None:
        self.said.append("up")

    def down(self, reason: str) -> None:
        self.said.append(f"down: {reason}")

    def frame(self, text: str) -> None:
        self.said.append(text)

    async def until(self, is_true: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(60):
            while not is_true(self.said):  # noqa: ASYNC110 - the stream's doing
                await asyncio.sleep(0.005)


@asynccontextmanager
async def streaming(double: WsDouble, *, is_simulated: bool = True) -> AsyncIterator[Listener]:
    listener = Listener()
    stream = Stream(
        name="test",
        url=double.url + PATH,
        is_simulated=is_simulated,
        clock=SystemClock(),
        operations=lambda: OPERATIONS,
        on_frame=listener.frame,
        on_up=listener.up,
        on_down=listener.down,
    )
    listener.task = asyncio.create_task(stream.run())
    try:
        yield listener
    finally:
        listener.task.cancel()
        with suppress(asyncio.CancelledError):
            await listener.task


def is_up(said: list[str]) -> bool:
    return "up" in said


async def test_stream_is_up_once_every_operation_is_confirmed_in_order() -> None:
    async with ws_double() as double, streaming(double) as listener:
        await listener.until(is_up)
        assert double.ops() == ["auth", "subscribe"]
        assert double.heard[0][1]["args"] == ["k", 1, "s"]
        assert listener.said == ["up"]


async def test_stream_hands_on_data_and_keeps_answers_to_itself() -> None:
    async with ws_double() as double, streaming(double) as listener:
        await listener.until(is_up)
        await double.say({"topic": "order", "data": [1]})
        await double.say({"op": "pong", "args": []})
        await double.say("no json")
        await listener.until(lambda said: len(said) == 3)
        assert json.loads(listener.said[1]) == {"topic": "order", "data": [1]}
        assert listener.said[2] == "no json"


async def test_stream_hands_on_data_that_comes_before_the_confirmation() -> None:
    async with ws_double() as double:
        double.said_after["subscribe"] = ['{"topic": "order", "data": []}']
        async with streaming(double) as listener:
            await listener.until(is_up)
            assert listener.said == ['{"topic": "order", "data": []}', "up"]


async def test_stream_that_breaks_is_down_and_comes_up_again() -> None:
    async with ws_double() as double, streaming(double) as listener:
        await listener.until(is_up)
        await double.drop()
        await listener.until(lambda said: said.count("up") == 2)
        kinds = [said.partition(":")[0] for said in listener.said]
        assert kinds == ["up", "down", "up"]


@pytest.mark.parametrize("op", ["auth", "subscribe"])
async def test_stream_refused_is_never_up_and_tries_again(op: str) -> None:
    async with ws_double() as double:
        double.refused.add(op)
        async with streaming(double) as listener:
            await double.until_heard(op, times=2)
            assert listener.said == []
            double.refused.clear()
            await listener.until(is_up)


async def test_stream_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "ANSWER_TIMEOUT_S", 0.05)
    async with ws_double() as double:
        double.unanswered.add("subscribe")
        async with streaming(double) as listener:
            await double.until_heard("subscribe", times=2)
            assert listener.said == []


@pytest.mark.parametrize("mark", [{}, {"X-Trade-Environment": "OTHER"}])
async def test_stream_without_the_mark_of_the_simulated_environment_is_not_heard(mark: dict[str, str]) -> None:
    async with ws_double() as double:
        double.mark = mark
        async with streaming(double) as listener:
            async with asyncio.timeout(60):
                while double.connected < 3:  # noqa: ASYNC110 - the stream's doing
                    await asyncio.sleep(0.005)
            assert double.heard == []
            assert listener.said == []


async def test_stream_of_a_real_exchange_needs_no_mark() -> None:
    async with ws_double() as double:
        double.mark = {}
        async with streaming(double, is_simulated=False) as listener:
            await listener.until(is_up)


async def test_stream_of_a_real_exchange_refuses_a_simulated_one() -> None:
    async with ws_double() as double, streaming(double, is_simulated=False) as listener:
        async with asyncio.timeout(60):
            while double.connected < 2:  # noqa: ASYNC110 - the stream's doing
                await asyncio.sleep(0.005)
        assert double.heard == []
        assert listener.said == []


async def test_stream_that_cannot_connect_waits_and_comes_up() -> None:
    async with ws_double() as double:
        double.is_refusing = True
        async with streaming(double) as listener:
            await asyncio.sleep(0)
            double.is_refusing = False
            await listener.until(is_up)


async def test_stream_pings_and_gives_up_a_silent_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(stream_module, "PONG_WITHIN_S", 0.05)
    async with ws_double() as double, streaming(double) as listener:
        await listener.until(is_up)
        await double.until_heard("ping", times=3)
        assert listener.said == ["up"]
        double.unanswered.add("ping")
        await listener.until(lambda said: "down: silent" in said)


async def test_stream_pings_in_the_midst_of_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "PING_EVERY_S", 0.05)
    async with ws_double() as double, streaming(double) as listener:
        await listener.until(is_up)
        async with asyncio.timeout(60):
            while "ping" not in double.ops():
                await double.say({"topic": "order", "data": []})
                await asyncio.sleep(0.005)


async def test_stream_message_beyond_the_bound_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "MAX_MESSAGE_BYTES", 1000)
    async with ws_double() as double, streaming(double) as listener:
        await listener.until(is_up)
        await double.say("x" * 1001)
        await listener.until(lambda said: any(text.startswith("down") for text in said))
        assert not any("xxx" in text for text in listener.said)


async def test_stream_that_ends_is_down_once() -> None:
    async with ws_double() as double:
        async with streaming(double) as listener:
            await listener.until(is_up)
        assert listener.said == ["up", "down: ended"]


async def test_stream_that_is_to_reconnect_asks_anew() -> None:
    async with ws_double() as double:
        listener, topics = Listener(), ["order"]
        stream = Stream(
            name="test",
            url=double.url + PATH,
            is_simulated=True,
            clock=SystemClock(),
            operations=lambda: (Operation(op="subscribe", args=tuple(topics)),),
            on_frame=listener.frame,
            on_up=listener.up,
            on_down=listener.down,
        )
        await stream.reconnect()  # nothing is there to be dropped yet
        task = asyncio.create_task(stream.run())
        await listener.until(is_up)
        topics.append("wallet")
        await stream.reconnect()
        await listener.until(lambda said: said.count("up") == 2)
        assert double.heard[-1][1]["args"] == ["order", "wallet"]
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_stream_that_is_cancelled_twice_leaves_no_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ClientConnection] = []

    async def connecting(*args: Any, **kwargs: Any) -> ClientConnection:
        made.append(await connect(*args, **kwargs))
        return made[0]

    monkeypatch.setattr(stream_module, "connect", connecting)
    async with ws_double() as double:
        async with streaming(double) as listener:
            await listener.until(is_up)
            double.connections[0].transport.pause_reading()  # it never answers that the stream is closed
            listener.task.cancel()
            await asyncio.sleep(0)
        assert made[0].transport.is_closing()
