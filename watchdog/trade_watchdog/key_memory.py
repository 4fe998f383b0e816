"""What the expected keys could do when they were last seen, kept in a file, so that a change during a stop is told too.

Guarantees
- A file that is not there, or holds nothing of the form, is a first sight: nothing is compared, and the log says so.
- A file that cannot be written costs no more than that a change is told again after a start.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trade_core.secrets import write_atomically
from trade_watchdog.audit.key_inventory import KeyMark

MEMORY_FILE: Final = "known_keys.json"
_FILE_BYTES_MAX: Final = 64 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMemory:
    """The memory of one account's keys."""

    state_dir: Path

    def read(self) -> dict[str, KeyMark]:
        """Give the marks by the keys' public ids; empty at a first sight."""
        path = self.state_dir / MEMORY_FILE
        if not path.exists():
            return {}
        try:
            content = json.loads(path.read_bytes()[:_FILE_BYTES_MAX])["keys"]
            return {
                str(key): KeyMark(power=str(mark["power"]), addresses=str(mark["addresses"]))
                for key, mark in content.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            _log.warning("%s: holds no keys (%s); they are seen as for the first time", path, type(error).__name__)
            return {}

    def keep(self, marks: Mapping[str, KeyMark]) -> None:
        """Keep the marks. Never raises."""
        keys = {key: {"power": mark.power, "addresses": mark.addresses} for key, mark in sorted(marks.items())}
        path = self.state_dir / MEMORY_FILE
        try:
            write_atomically(path, json.dumps({"keys": keys}).encode() + b"\n", mode=0o600)
        except OSError as error:
            _log.warning("%s: cannot be written: %s; a change of a key may be told twice", path, error.strerror)
