"""The ASGI edge, driven by hand: bodies, bounds, and answers that nobody took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from trade_core.guarded_protocol import CONNECTION_KEY, RECOGNISE_KEY, TARGET_KEY
from trade_gateway import listener as listener_module
from trade_gateway.listener import Answer, BotListener
from trade_gateway.wire.request import MAX_BODY_BYTES, RawRequest

SCOPE = {
    "type": "http",
    "method": "POST",
    "headers": [(b"host", b"x")],
    "client": ("127.0.0.1", 5),
    TARGET_KEY: b"/v5/order/create#f",
}
DISCONNECT = {"type": "http.disconnect"}


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


class Judge:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[RawRequest] = []
        self.refused: list[str] = []
        self.undone = 0
        self.is_authenticated = False
        self.before_answer: Callable[[], None] = lambda: None

    async def answer(self, request: RawRequest) -> Answer:
        self.asked.append(request)
        self.before_answer()
        return Answer(body=b"{}", on_undelivered=self._undo, is_authenticated=self.is_authenticated)

    def refuse_unread(self, code: str) -> Answer:
        self.refused.append(code)
        return Answer(body=b"refused", closes=True)

    async def _undo(self) -> None:
        self.undone += 1


class Bot:
    """The other end: events that arrive, and what was written to it."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for event in events:
            self._events.put_nowait(event)
        self.written: list[dict[str, Any]] = []
        self.is_reading = True
        self.has_left = False
        self.has_sent_all = False

    def leave(self) -> None:
        self.has_left = True

    # The connection, as the protocol shows it.

    def whole_body(self) -> bytes | None:
        if not self.has_sent_all:
            return None
        return b"".join(self._events.get_nowait()["body"] for _ in range(self._events.qsize()))

    def is_gone(self) -> bool:
        return self.has_left

    def answer_at_once(self, status: int, headers: bytes, body: bytes) -> bool:
        if self.is_reading:
            lines = [tuple(line.split(b": ")) for line in headers.splitlines()]
            self.written.append({"type": "http.response.start", "status": status, "headers": lines})
            self.written.append({"type": "http.response.body", "body": body})
        return self.is_reading

    async def receive(self) -> dict[str, Any]:
        return await self._events.get()

    async def send(self, event: Any) -> None:
        if not self.is_reading:
            await asyncio.Event().wait()
        self.written.append(event)


async def serve(judge: Judge, bot: Bot, scope: dict[str, Any] | None = None) -> None:
    async def relay(scope: Any, receive: Any, send: Any) -> None:
        bot.written.append({"type": "relayed"})

    async with asyncio.timeout(60):
        whole = {**(scope or SCOPE), CONNECTION_KEY: bot}
        await BotListener(judge=judge, relay=relay)(whole, bot.receive, bot.send)


async def test_listener_hands_the_request_on_as_it_arrived() -> None:
    judge, bot = Judge(), Bot(body(b'{"a"', more=True), body(b":1}"))
    await serve(judge, bot)
    assert judge.asked == [
        RawRequest(
            method=b"POST",
            target=b"/v5/order/create#f",
            headers=((b"host", b"x"),),
            body=b'{"a":1}',
            client="127.0.0.1",
        )
    ]
    assert [event["type"] for event in bot.written] == ["http.response.start", "http.response.body"]
    assert bot.written[1]["body"] == b"{}"
    assert judge.undone == 0


async def test_listener_answer_states_its_length_and_keeps_the_connection() -> None:
    judge, bot = Judge(), Bot(body(b""))
    await serve(judge, bot)
    headers = dict(bot.written[0]["headers"])
    assert headers[b"content-length"] == b"2"
    assert b"connection" not in headers


@pytest.mark.parametrize(("length", "is_refused"), [(MAX_BODY_BYTES, False), (MAX_BODY_BYTES + 1, True)])
async def test_listener_body_has_a_bound(length: int, is_refused: bool) -> None:
    judge, bot = Judge(), Bot(body(b"x" * length))
    await serve(judge, bot)
    assert judge.refused == (["REQUEST_BODY_TOO_LARGE"] if is_refused else [])
    assert len(judge.asked) == (0 if is_refused else 1)


async def test_listener_endless_body_is_not_read_to_its_end() -> None:
    judge, bot = Judge(), Bot(*(body(b"x" * 1000, more=True) for _ in range(50)))
    await serve(judge, bot)
    assert judge.refused == ["REQUEST_BODY_TOO_LARGE"]
    assert bot._events.qsize() >= 45


async def test_listener_refusal_ends_the_connection() -> None:
    judge, bot = Judge(), Bot(body(b"x" * (MAX_BODY_BYTES + 1)))
    await serve(judge, bot)
    assert (b"connection", b"close") in bot.written[0]["headers"]


async def test_listener_slow_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "BODY_TIMEOUT_S", 0.02)
    judge, bot = Judge(), Bot(body(b"{", more=True))
    await serve(judge, bot)
    assert (judge.refused, judge.asked) == (["BODY_TOO_SLOW"], [])


async def test_listener_body_that_is_there_needs_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "BODY_TIMEOUT_S", -1.0)
    judge, bot = Judge(), Bot(body(b"{}"))
    bot.has_sent_all = True
    await serve(judge, bot)
    assert (judge.refused, len(judge.asked)) == ([], 1)


async def test_listener_client_that_leaves_in_its_body_is_counted() -> None:
    judge, bot = Judge(), Bot(body(b"{", more=True), DISCONNECT)
    await serve(judge, bot)
    assert (judge.refused, judge.asked) == (["CLIENT_GONE"], [])


async def test_listener_client_that_leaves_before_its_answer_gives_the_order_back() -> None:
    judge, bot = Judge(), Bot(body(b"{}"))
    judge.before_answer = bot.leave
    await serve(judge, bot)
    assert judge.undone == 1
    assert bot.written == []


async def test_listener_client_that_does_not_take_its_answer_gives_the_order_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_module, "WRITE_TIMEOUT_S", 0.02)
    judge, bot = Judge(), Bot(body(b"{}"))
    bot.is_reading = False
    await serve(judge, bot)
    assert judge.undone == 1


async def test_listener_refusal_that_nobody_takes_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "WRITE_TIMEOUT_S", 0.02)
    judge, bot = Judge(), Bot(body(b"x" * (MAX_BODY_BYTES + 1)))
    bot.is_reading = False
    await serve(judge, bot)
    assert judge.refused == ["REQUEST_BODY_TOO_LARGE"]


async def test_listener_stream_goes_to_the_relay() -> None:
    judge, bot = Judge(), Bot()
    await serve(judge, bot, {"type": "websocket"})
    assert bot.written == [{"type": "relayed"}]


async def test_listener_anything_else_is_ignored() -> None:
    judge, bot = Judge(), Bot()
    await serve(judge, bot, {"type": "lifespan"})
    assert (bot.written, judge.asked) == ([], [])


async def test_listener_answer_that_changes_nothing_needs_no_undoing() -> None:
    await Answer(body=b"").on_undelivered()


@pytest.mark.parametrize("is_authenticated", [False, True])
async def test_listener_tells_the_protocol_who_has_authenticated(is_authenticated: bool) -> None:
    judge, bot = Judge(), Bot(body(b"{}"))
    judge.is_authenticated = is_authenticated
    recognised: list[bool] = []
    await serve(judge, bot, {**SCOPE, RECOGNISE_KEY: lambda: recognised.append(True)})
    assert recognised == [True] * is_authenticated
