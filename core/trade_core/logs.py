"""Log lines: one record a line, foreign text neutralised, no request URLs of our HTTP client."""

from __future__ import annotations

import logging
import sys
import time

MAX_LINE_CHARACTERS = 2000
# These write whole URLs, which may hold tokens, or every connection; our own lines say what matters.
_QUIET = ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "websockets", "asyncio", "ccxt")


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
