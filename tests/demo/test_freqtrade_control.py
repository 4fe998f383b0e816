"""Freqtrade's control: asked to start only when it does not trade, and patient while it comes up."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from trade_core.errors import ExchangeAnswerInvalid, ExchangeUnavailable
from trade_core.secrets import Secret
from trade_demo.freqtrade_control import FreqtradeAccess, FreqtradeControl

AUTHORIZED = "Basic " + base64.b64encode(b"trade:word").decode()


class Bot(HTTPServer):
    """A small server with freqtrade's two answers that matter here."""

    state = "paused"
    starts = 0


class Handler(BaseHTTPRequestHandler):
    server: Bot

    def do_GET(self) -> None:
        self._answer({"state": self.server.state} if self.path == "/api/v1/show_config" else None)

    def do_POST(self) -> None:
        if self.path == "/api/v1/start" and self.headers["Authorization"] == AUTHORIZED:
            self.server.starts += 1
            self.server.state = "running"
        self._answer({"status": "starting trader ..."})

    def _answer(self, content: dict[str, str] | None) -> None:
        is_allowed = self.headers["Authorization"] == AUTHORIZED and content is not None
        body = json.dumps(content).encode()
        self.send_response(200 if is_allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_bot() -> Iterator[Bot]:
    with Bot(("127.0.0.1", 0), Handler) as bot:
        thread = Thread(target=bot.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield bot
        finally:
            bot.shutdown()
            thread.join()


@contextmanager
def control_of(bot: Bot, password: str = "word") -> Iterator[FreqtradeControl]:
    access = FreqtradeAccess(url=f"http://127.0.0.1:{bot.server_port}", username="trade", password=Secret(password))
    yield FreqtradeControl(access)


async def test_control_paused_bot_is_started_once() -> None:
    with running_bot() as bot, control_of(bot) as control:
        assert await control.is_answering()
        assert await control.state() == "paused"
        assert await control.start_trading()
        assert await control.start_trading()
        assert (bot.state, bot.starts) == ("running", 1)
        await control.close()


async def test_control_wrong_password_starts_nothing() -> None:
    with running_bot() as bot, control_of(bot, password="other") as control:
        assert not await control.is_answering()
        assert not await control.start_trading()
        with pytest.raises(ExchangeAnswerInvalid):
            await control.start()
        assert bot.starts == 0
        await control.close()


async def test_control_bot_not_there_yet_is_not_answering() -> None:
    with running_bot() as bot:
        port_owner = bot
    with control_of(port_owner) as control:
        assert not await control.is_answering()
        assert not await control.start_trading()
        with pytest.raises(ExchangeUnavailable):
            await control.start()
        await control.close()
