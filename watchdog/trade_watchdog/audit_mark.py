"""How far the drop copy was judged, kept in a file: a start goes on from there, and not from when it happens to be.

Guarantees
- What is kept was read and judged to the end: nothing before it waits for the journal, or for a halt.
- Without the file, or with one that holds no mark, everything since the baseline is read again, as far as the exchange
  remembers it. A file that cannot be written costs no more than that.
- A mark ahead of the exchange's time is believed up to that time only; see `drop_copy`.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trade_core.clock import NS_PER_S, Clock
from trade_core.secrets import write_atomically

MARK_FILE: Final = "audited.json"
KEEP_EVERY_S: Final = 10
AGAIN_MS: Final = 60_000
"""A start reads this much again: what was judged in the moment of a death may not have been acted on."""
_FILE_BYTES_MAX: Final = 256
_TIME_MS_MAX: Final = 2**53

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class AuditMark:
    """The mark of one account."""

    state_dir: Path
    clock: Clock
    _kept_at_ns: int | None = None
    _failure: str = ""

    def read(self) -> int | None:
        """Say up to where a start need not read again, UTC milliseconds of the exchange; None without a mark."""
        path = self.state_dir / MARK_FILE
        if not path.exists():
            return None
        try:
            value = json.loads(path.read_bytes()[:_FILE_BYTES_MAX])["read_until_ms"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s: holds no mark (%s); everything is read again", path, type(error).__name__)
            return None
        if type(value) is not int or not 0 < value < _TIME_MS_MAX:
            _log.warning("%s: holds no time; everything is read again", path)
            return None
        return value - AGAIN_MS

    def keep(self, read_until_ms: int) -> None:
        """Keep a mark, at most once in KEEP_EVERY_S. Never raises."""
        now_ns = self.clock.monotonic_ns()
        if self._kept_at_ns is not None and now_ns - self._kept_at_ns < KEEP_EVERY_S * NS_PER_S:
            return
        self._kept_at_ns = now_ns
        content = json.dumps({"read_until_ms": read_until_ms}).encode() + b"\n"
        try:
            write_atomically(self.state_dir / MARK_FILE, content, mode=0o600)
        except OSError as error:
            failure = f"{self.state_dir / MARK_FILE}: cannot be written: {error.strerror}"
            if failure != self._failure:
                _log.warning("%s; the next start reads further back", failure)
            self._failure = failure
