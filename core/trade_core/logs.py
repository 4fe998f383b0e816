"""Log lines: one record a line, foreign text neutralised, no request URLs of our HTTP client."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter

from trade_core.clock import NS_PER_S, Clock, SystemClock

MAX_LINE_CHARACTERS = 2000
_log = logging.getLogger(__name__)
# These write whole URLs, which may hold tokens, or every connection; our own lines say what matters.
_QUIET = ("httpx", "httpcore", "uvicorn.access", "websockets", "asyncio", "ccxt")
# It warns of each malformed request: anybody could fill the disk with that.
_QUIETER = ("uvicorn.error",)
_REFUSALS_EVERY_S = 1


class _LineFormatter(logging.Formatter):
    """`2026-11-23T04:00:00.123Z INFO service message`, on one line whatever the message holds."""

    converter = staticmethod(time.gmtime)

    def __init__(self, service: str) -> None:
        super().__init__(
            fmt=f"%(asctime)s.%(msecs)03dZ %(levelname)s {service} %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        return neutralise(super().format(record), limit=MAX_LINE_CHARACTERS)


def neutralise(text: str, *, limit: int) -> str:
    """Escape control and non-printable characters and cut the text: foreign strings are data, not terminal codes."""
    shown = text if len(text) <= limit else text[:limit] + "..."
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in shown
    )


def configure_logging(service: str, *, level: str = "INFO") -> None:
    """Send the root logger's records to standard error in our format, and quieten chatty libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _QUIETER:
        logging.getLogger(name).setLevel(logging.ERROR)


class RefusalLog:
    """Tells what a listener refuses, in one line a second at most: whoever is refused must not fill the disk."""

    def __init__(self, listener: str, *, clock: Clock | None = None) -> None:
        self._listener = listener
        self._clock = clock or SystemClock()
        self._counts: Counter[str] = Counter()
        self._told_at_ns: int | None = None

    def note(self, code: str) -> None:
        """Note one refusal; `code` is of a closed set."""
        self._counts[code] += 1
        now_ns = self._clock.monotonic_ns()
        if self._told_at_ns is not None and now_ns - self._told_at_ns < _REFUSALS_EVERY_S * NS_PER_S:
            return
        self._told_at_ns = now_ns
        told = ", ".join(f"{code} x {count}" for code, count in sorted(self._counts.items()))
        _log.warning("%s refused requests: %s", self._listener, told)
        self._counts.clear()
