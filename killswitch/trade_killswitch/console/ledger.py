"""What persons did with the console, written into the kill executor's journal: the console keeps no journal of its own.

A row says who (the session), from where (address and browser), what was done, in which words it was shown, and how it
ended. An executor that takes no row holds up nothing that tightens; what loosens is refused then.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Final

from trade_core.logs import neutralise
from trade_killswitch.console.metrics import ConsoleMetrics
from trade_killswitch.console.sources import Asked, Unreadable

ROWS_PATH: Final = "/console/rows"
TEXT_CHARACTERS: Final = 400
DIGEST_DIGITS: Final = 16
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who does something: a session by its name, an address, and what the browser calls itself."""

    session: str
    address: str
    browser: str


class Ledger:
    """Writes the rows."""

    def __init__(self, executor: Asked, *, metrics: ConsoleMetrics) -> None:
        self._executor = executor
        self._metrics = metrics

    async def note(self, kind: str, person: Person, *, action: str, shown: str, result: str) -> bool:
        """Write a row; returns whether the executor's journal has it."""
        content = {
            "kind": kind,
            "session": person.session,
            "address": _text(person.address),
            "browser": _text(person.browser),
            "action": action,
            "shown": _text(shown),
            "result": _text(result),
        }
        try:
            answer = await self._executor.ask("POST", ROWS_PATH, json.dumps(content).encode())
        except Unreadable as error:
            said = str(error)
        else:
            if answer.status == 201:
                return True
            said = f"HTTP {answer.status} {answer.detail()}"
        self._metrics.rows_lost.inc()
        log.warning("the executor's journal has no row of %s by %s: %s", action, person.session, said)
        return False


def _text(text: str) -> str:
    """Cut a text to what a row takes; of what was longer the row tells length and hash, to be compared."""
    if len(text) <= TEXT_CHARACTERS:
        return neutralise(text, limit=TEXT_CHARACTERS)[: TEXT_CHARACTERS + 3] or "none"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]
    return f"{neutralise(text, limit=TEXT_CHARACTERS)[:TEXT_CHARACTERS]}... ({len(text)} characters, SHA-256 {digest})"
