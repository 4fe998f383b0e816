"""The log of everything that clients sent: tests and acceptance checks read it as the exchange's own record."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from trade_core.clock import Clock

# About 50 MB at most with ordinary bodies; the oldest entries leave first and `n` shows the gap.
MAX_ENTRIES = 100_000
MAX_BODY_CHARACTERS = 16_384
# Requests that the HTTP parser refused carry this method: there is no better one to give.
UNPARSED_METHOD = "?"
FRAME_METHOD = "WS"


@dataclass(slots=True, kw_only=True)
class Entry:
    """One HTTP request or WebSocket frame. `ret_code` is None until answered, and stays so if never answered."""

    n: int
    at_ns: int
    method: str
    path: str
    query: str
    body: str
    key: str
    ret_code: int | None = None

    def as_json(self) -> dict[str, object]:
        """Give the entry in the names of the control interface."""
        return {
            "n": self.n,
            "at_ns": self.at_ns,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "body": self.body,
            "key": self.key,
            "ret_code": self.ret_code,
        }


class RequestLog:
    """Entries in order of arrival, numbered from 1 without gaps for the life of the process."""

    __slots__ = ("_clock", "_entries", "_next")

    def __init__(self, *, clock: Clock, capacity: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self._next = 1

    def append(self, *, method: str, path: str, query: str = "", body: str = "", key: str = "") -> Entry:
        """Record an arrival; the caller fills in `ret_code` when it answers."""
        entry = Entry(
            n=self._next,
            at_ns=self._clock.wall_ns(),
            method=method,
            path=path,
            query=query,
            body=body[:MAX_BODY_CHARACTERS],
            key=key,
        )
        self._next += 1
        self._entries.append(entry)
        return entry

    def since(self, number: int) -> list[Entry]:
        """List the entries whose number is greater than the one given, oldest first."""
        return [entry for entry in self._entries if entry.n > number]

    def clear(self) -> None:
        """Forget the entries; numbering goes on."""
        self._entries.clear()


def shown(raw: bytes) -> str:
    """Decode what a client sent for the log: bytes outside UTF-8 stay visible instead of failing."""
    return raw[: MAX_BODY_CHARACTERS * 4].decode("utf-8", errors="backslashreplace")
