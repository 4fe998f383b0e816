"""One WebSocket to the exchange, kept open: connect, log in, subscribe, ping, and begin again after any trouble.

Guarantees
- The other end must carry the mark of this process's environment; otherwise nothing it says is heard.
- `on_up` comes only after every subscription was confirmed, `on_down` after each loss, never two of one in a row.
- A peer that is silent after a ping is given up; waits between tries grow to a bound, and shrink only after a
  connection that lasted, so that a flapping peer is not flooded with connections.
Bounds: size of a message, queue of messages, every wait.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from trade_core.bybit.client import ENVIRONMENT_HEADER, SIMULATED_MARK
from trade_core.clock import NS_PER_S, Clock
from trade_core.closing import close_all
from trade_core.tls import tls_context

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_QUEUED_MESSAGES = 64  # beyond it the peer is made to wait, by TCP
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 5.0
PING_EVERY_S = 20.0  # the exchange drops silent connections
PONG_WITHIN_S = 10.0
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0  # 500 new connections in 5 min would be refused
LASTED_S = 10.0
_MAX_FRAMES_BEFORE_ANSWER = 10_000
log = logging.getLogger(__name__)


class StreamBroken(RuntimeError):
    """The connection cannot be used any longer; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Something to ask after connecting; the answer must be a success with the same `op`."""

    op: str
    args: tuple[str | int, ...]


class Stream:
    """Runs one subscription for ever. The callbacks are called in the order of what happened."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        is_simulated: bool,
        clock: Clock,
        operations: Callable[[], tuple[Operation, ...]],
        on_frame: Callable[[str], None],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
    ) -> None:
        self._name = name
        self._url = url
        self._is_simulated = is_simulated
        self._clock = clock
        self._operations = operations
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_down = on_down
        self._is_up = False
        self._connection: ClientConnection | None = None

    async def reconnect(self) -> None:
        """Drop the connection, if there is one: the next asks for whatever is to be asked by then."""
        if self._connection is not None:
            await self._connection.close()

    async def run(self) -> None:
        """Keep the stream until cancelled."""
        wait_s = FIRST_WAIT_S
        try:
            while True:
                began_ns = self._clock.monotonic_ns()
                reason = await self._live_once()
                if self._clock.monotonic_ns() - began_ns >= LASTED_S * NS_PER_S:
                    wait_s = FIRST_WAIT_S
                self._note_down(reason)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        finally:
            self._note_down("ended")

    async def _live_once(self) -> str:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection = await self._connect()
        except (OSError, TimeoutError, WebSocketException) as error:
            return f"no connection ({type(error).__name__})"
        except StreamBroken as error:
            return str(error)
        self._connection = connection
        try:
            await self._serve(connection)
        except (OSError, TimeoutError, WebSocketException) as error:
            return f"lost ({type(error).__name__})"
        except StreamBroken as error:
            return str(error)
        finally:
            self._connection = None
            await close_all(connection.close)
        return "closed"

    async def _connect(self) -> ClientConnection:
        connection = await connect(
            self._url,
            ssl=tls_context() if self._url.startswith("wss:") else None,
            proxy=None,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=MAX_QUEUED_MESSAGES,
            ping_interval=None,
            close_timeout=1,
        )
        mark = connection.response.headers.get(ENVIRONMENT_HEADER) if connection.response is not None else None
        if (mark == SIMULATED_MARK) is not self._is_simulated:
            await close_all(connection.close)
            raise StreamBroken("the other end is of another environment")
        return connection

    async def _serve(self, connection: ClientConnection) -> None:
        for number, operation in enumerate(self._operations()):
            request = {"req_id": f"{self._name}-{number}", "op": operation.op, "args": list(operation.args)}
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await connection.send(json.dumps(request))
                await self._await_answer(connection, operation.op)
        self._is_up = True
        self._on_up()
        log.info("the %s stream is up", self._name)
        await self._listen(connection)

    async def _await_answer(self, connection: ClientConnection, op: str) -> None:
        for _ in range(_MAX_FRAMES_BEFORE_ANSWER):
            text = _text(await connection.recv())
            answer = _operation_answer(text)
            if answer is None:
                self._on_frame(text)
            elif answer.get("op") == op:
                if answer.get("success") is True:
                    return
                raise StreamBroken(f"the exchange refused {op}")
        raise StreamBroken(f"no answer to {op}")

    async def _listen(self, connection: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        heard_at_s = loop.time()
        ping_at_s = heard_at_s + PING_EVERY_S
        while True:
            now_s = loop.time()
            if now_s >= ping_at_s:
                if now_s - heard_at_s > PING_EVERY_S + PONG_WITHIN_S:
                    raise StreamBroken("silent")
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await connection.send('{"op":"ping"}')
                ping_at_s = now_s + (PING_EVERY_S if now_s - heard_at_s < PING_EVERY_S else PONG_WITHIN_S)
            try:
                async with asyncio.timeout(max(ping_at_s - now_s, 0.001)):
                    text = _text(await connection.recv())
            except TimeoutError:
                continue
            heard_at_s = loop.time()
            if _operation_answer(text) is None:
                self._on_frame(text)

    def _note_down(self, reason: str) -> None:
        if self._is_up:
            self._is_up = False
            log.warning("the %s stream is down: %s", self._name, reason)
            self._on_down(reason)


def _text(message: str | bytes) -> str:
    return message if isinstance(message, str) else message.decode("utf-8", "replace")


def _operation_answer(text: str) -> dict[str, Any] | None:
    """Return the answer to an operation, or None when the frame is data (or nonsense, which is for who reads data)."""
    if '"topic"' in text:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and "op" in content else None
