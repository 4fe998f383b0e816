"""One WebSocket: reads operations, sends frames in order, and lets faults act on both.

Bounds: a frame of 64 KiB in, a queue of 4096 frames out (a reader slower than that is cut off), silence of
`max_active_time` (10 minutes unless the client asked for 30 s to 10 min).
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs

from trade_simulator.api.connection import Receive, Scope, Send, abort, client_address
from trade_simulator.api.envelope import ENVIRONMENT_HEADER, encode
from trade_simulator.api.fields import parse_json
from trade_simulator.api.reception import Reception
from trade_simulator.faults import FRAME_MODES, Fault, FaultMode, Faults
from trade_simulator.rejections import Rejected
from trade_simulator.request_log import FRAME_METHOD, Entry, RequestLog

MAX_FRAME_BYTES = 64 * 1024
MAX_QUEUED_FRAMES = 4096
# No network answers sooner. Clients send an operation first and only then note whom its answer is for.
LATENCY_S = 0.02
MAX_SILENCE_S = 600
MIN_SILENCE_S = 30
SEND_TIMEOUT_S = 10
_ACTIVE_TIME = re.compile(r"([0-9]{1,3})([sm])", re.ASCII)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamContext:
    """What every session shares."""

    reception: Reception
    faults: Faults
    log: RequestLog
    base_latency_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame to send; topic frames carry data, the others answer operations."""

    text: str
    is_topic: bool


class Session(ABC):
    """The life of one connection."""

    stream: ClassVar[str]

    def __init__(self, scope: Scope, receive: Receive, send: Send, context: StreamContext) -> None:
        self.connection_id = secrets.token_hex(10)
        self.address = client_address(scope)
        self.context = context
        self._scope = scope
        self._receive = receive
        self._send = send
        self._frames: deque[Frame] = deque()
        self._held: Frame | None = None
        self._arrived = asyncio.Event()
        self._entry: Entry | None = None
        self._silence_s = silence_s(scope["query_string"])

    @abstractmethod
    def operate(self, message: dict[str, Any]) -> None:
        """Carry out one operation and answer it."""

    @abstractmethod
    def refuse(self, code: int, text: str, message: dict[str, Any]) -> None:
        """Answer an operation that failed."""

    def closed(self) -> None:  # noqa: B027 - most sessions leave nothing behind
        """Forget the session wherever it was known."""

    @property
    def logged_key(self) -> str:
        """Give the key that the request log shows for the session's frames."""
        return ""

    async def run(self) -> None:
        """Serve the connection until either side ends it."""
        await self._send(
            {"type": "websocket.accept", "headers": [ENVIRONMENT_HEADER]},
        )
        writer = asyncio.create_task(self._write())
        try:
            await self._read()
        finally:
            self.closed()
            writer.cancel()
            await asyncio.wait([writer])

    def answer(self, message: dict[str, Any], *, code: int = 0) -> None:
        """Send the answer to the current operation."""
        if self._entry is not None:
            self._entry.ret_code = code
        if FaultMode.LOSE_RESPONSE in self.context.faults.take(self.stream, (FaultMode.LOSE_RESPONSE,)):
            return
        self._offer(Frame(text=encode(message).decode(), is_topic=False))

    def acknowledgement(self, message: dict[str, Any], *, ret_msg: str, success: bool = True) -> dict[str, object]:
        """Give the answer of the public and private streams to an operation."""
        return {
            "success": success,
            "ret_msg": ret_msg,
            "conn_id": self.connection_id,
            "req_id": request_id(message),
            "op": request_id(message, "op"),
        }

    def publish(self, text: str) -> None:
        """Send data of a topic."""
        self._offer(Frame(text=text, is_topic=True))

    def cut(self) -> None:
        """Close the connection at once, as a broken network does."""
        abort(self._scope)

    def now_ms(self) -> int:
        """Give the exchange's time."""
        return self.context.reception.clock.now_ms()

    def _offer(self, frame: Frame) -> None:
        if len(self._frames) >= MAX_QUEUED_FRAMES:
            _LOG.warning("a %s client reads too slowly and is cut off", self.stream)
            self.cut()
            return
        self._frames.append(frame)
        self._arrived.set()

    async def _read(self) -> None:
        while True:
            try:
                message = await asyncio.wait_for(self._receive(), self._silence_s)
            except TimeoutError:
                await self._send({"type": "websocket.close", "code": 1000})
                return
            if message["type"] == "websocket.disconnect":
                return
            if message["type"] == "websocket.receive":
                await asyncio.sleep(max(LATENCY_S, self.context.base_latency_ms / 1000))
                self._take(message.get("text") or (message.get("bytes") or b"").decode("utf-8", "replace"))

    def _take(self, text: str) -> None:
        self._entry = self.context.log.append(
            method=FRAME_METHOD, path=self._scope["path"], body=text, key=self.logged_key
        )
        message: dict[str, Any] = {}
        try:
            message = parse_json(text.encode())
            self._entry.key = self._entry.key or _key_of_login(message)
            faults = self.context.faults.take(self.stream, (FaultMode.ERROR, FaultMode.CLOSE))
            if FaultMode.CLOSE in faults:
                self.cut()
                return
            if FaultMode.ERROR in faults:
                fault = faults[FaultMode.ERROR]
                raise Rejected(fault.ret_code, fault.message)
            self.operate(message)
        except Rejected as rejected:
            self.refuse(rejected.code, rejected.message, message)
        except Exception:  # noqa: BLE001 - the task boundary of one frame: answered as the exchange would
            _LOG.exception("a frame on %s failed inside the simulator", self.stream)
            self.refuse(10016, "Server error.", message)

    async def _write(self) -> None:
        while True:
            await self._arrived.wait()
            while self._frames:
                frame = self._frames.popleft()
                faults = self.context.faults.take(self.stream, self._frame_modes(frame))
                await self._send_through(frame, faults)
            self._arrived.clear()

    def _frame_modes(self, frame: Frame) -> frozenset[FaultMode]:
        if frame.is_topic:
            return FRAME_MODES
        return FRAME_MODES - {FaultMode.GAP, FaultMode.REORDER}

    async def _send_through(self, frame: Frame, faults: dict[FaultMode, Fault]) -> None:
        if FaultMode.DELAY in faults:
            await asyncio.sleep(faults[FaultMode.DELAY].delay_ms / 1000)
        if FaultMode.DROP in faults or FaultMode.GAP in faults:
            return
        if FaultMode.REORDER in faults and self._held is None:
            self._held = frame
            return
        await self._send_text(frame)
        if FaultMode.DUPLICATE in faults:
            await self._send_text(frame)
        if self._held is not None and frame.is_topic:
            held, self._held = self._held, None
            await self._send_text(held)

    async def _send_text(self, frame: Frame) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._send({"type": "websocket.send", "text": frame.text})
        except TimeoutError:
            self.cut()
        except (RuntimeError, OSError):
            # The connection closed under us; the reader sees the disconnect and ends the session.
            self._frames.clear()


def _key_of_login(message: dict[str, Any]) -> str:
    """Give the key that an `auth` operation names, so that the log shows failed logins with theirs."""
    arguments = message.get("args")
    if message.get("op") == "auth" and isinstance(arguments, list) and arguments and isinstance(arguments[0], str):
        return arguments[0]
    return ""


def silence_s(query: bytes) -> int:
    """Read `max_active_time` of a stream's address, such as 30s or 5m; anything else counts as 10 minutes."""
    values = parse_qs(query.decode("latin-1")).get("max_active_time", [])
    found = _ACTIVE_TIME.fullmatch(values[0]) if values else None
    if found is None:
        return MAX_SILENCE_S
    seconds = int(found.group(1)) * (60 if found.group(2) == "m" else 1)
    return min(max(seconds, MIN_SILENCE_S), MAX_SILENCE_S)


def request_id(message: dict[str, Any], name: str = "req_id") -> str:
    """Give a text that a client put into an operation, its id unless another is named; "" without one."""
    value = message.get(name)
    return value if isinstance(value, str) else ""
