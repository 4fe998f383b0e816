"""What a bot may say on a public stream: subscribe, unsubscribe and ping, for public topics. Pure.

The frame that goes upstream is built from what was understood, never from the bot's bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

MAX_FRAME_CHARACTERS = 16 * 1024
MAX_TOPICS = 200  # of one frame; ccxt asks for every symbol at once
_TOPIC = re.compile(
    r"(?:orderbook\.(?:1|50|200|500|1000)|publicTrade|tickers|kline\.(?:1|3|5|15|30|60|120|240|360|720|D|W|M))"
    r"\.[A-Z0-9]{1,30}",
    re.ASCII,
)
# Some clients name a request by all its topics with commas between them (bybit-api for Node.js).
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:,-]{1,8000}", re.ASCII)
# callerMethodName is a mark of ccxt's own, which the exchange ignores; it is dropped.
_KEYS = frozenset({"op", "args", "req_id", "callerMethodName"})
STREAM_PATHS = {"/v5/public/spot": "spot", "/v5/public/linear": "linear"}


class FrameRefused(ValueError):
    """A frame that is not one of the permitted ones; the message says why in our own words.

    What of the frame was understood, its request's name and its operation, is kept for the answer: clients wait for the
    one that carries it.
    """

    def __init__(self, reason: str, *, request_id: str | int | None = None, operation: Operation | None = None) -> None:
        super().__init__(reason)
        self.request_id = request_id
        self.operation = operation

    def render(self) -> str:
        """Write the answer to the client, in the form in which the exchange refuses a subscription."""
        content: dict[str, object] = {"success": False, "ret_msg": f"STREAM_FRAME_REFUSED: {self}", "conn_id": ""}
        if self.request_id is not None:
            content["req_id"] = self.request_id
        content["op"] = "error" if self.operation is None else self.operation.value
        return json.dumps(content, separators=(",", ":"))


class Operation(Enum):
    """What a client may ask of a public stream."""

    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    PING = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFrame:
    """One understood frame."""

    operation: Operation
    topics: tuple[str, ...]
    request_id: str | int | None

    def render(self) -> str:
        """Write the frame that goes to the exchange."""
        content: dict[str, object] = {"op": self.operation.value}
        if self.request_id is not None:
            content["req_id"] = self.request_id
        if self.operation is not Operation.PING:
            content["args"] = list(self.topics)
        return json.dumps(content, separators=(",", ":"))


def parse_client_frame(text: str) -> ClientFrame:
    """Parse a bot's frame. Raises FrameRefused."""
    if len(text) > MAX_FRAME_CHARACTERS:
        raise FrameRefused("frame too long")
    try:
        content = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise FrameRefused("frame is not one JSON object with each key once") from None
    if not isinstance(content, dict):
        raise FrameRefused("frame is not one JSON object with each key once")
    request_id = _request_id(content.get("req_id"))
    try:
        return _client_frame(content, request_id)
    except FrameRefused as refused:
        raise FrameRefused(str(refused), request_id=request_id, operation=_operation(content)) from None


def _client_frame(content: Mapping[str, object], request_id: str | int | None) -> ClientFrame:
    if not set(content) <= _KEYS:
        raise FrameRefused("frame has keys that are not permitted")
    operation = _operation(content)
    if operation is None:
        raise FrameRefused("operation is not subscribe, unsubscribe or ping")
    topics = () if operation is Operation.PING else _topics(content.get("args"))
    return ClientFrame(operation=operation, topics=topics, request_id=request_id)


def _operation(content: Mapping[str, object]) -> Operation | None:
    try:
        return Operation(content.get("op"))
    except ValueError:
        return None


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("duplicate key")
    return content


def _request_id(value: object) -> str | int | None:
    if value is None or (type(value) is int and 0 <= value < 2**53):
        return value
    if isinstance(value, str) and _REQUEST_ID.fullmatch(value):
        return value
    raise FrameRefused("req_id is not a plain text or number")


def _topics(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TOPICS:
        raise FrameRefused(f"args is not a list of 1 to {MAX_TOPICS} topics")
    for topic in value:
        if not isinstance(topic, str) or _TOPIC.fullmatch(topic) is None:
            raise FrameRefused("a topic is not a public one that is relayed")
    return tuple(value)
