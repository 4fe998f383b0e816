"""Calls a person when somebody else has written to the executor's own journal, and says so until the next start.

It takes nothing from a kill: whoever could stop one by touching a file would have been given a way to. It is named
where people and the watchdog look: in `/status` and among the parts of readiness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from trade_journal.log.rows import RowKind
from trade_journal.writer.foreign_hand import Counting, ForeignHand
from trade_killswitch.own_samples import READY
from trade_killswitch.recorder import Recorder

LOOK_EVERY_S: Final = 1.0
SUBJECT: Final = "journal:foreign_write"
WORDS: Final = "somebody else has written to the executor's journal: verify it with trade-journal verify"


class JournalGuard:
    """Looks at one journal. `words` are READY, or what was found."""

    def __init__(self, *, journal: Counting, recorder: Recorder, tell: Callable[[str, str], None]) -> None:
        """Begin to look; `tell` calls a person with a subject and a text, and returns at once."""
        self._hand = ForeignHand(journal=journal)
        self._recorder = recorder
        self._tell = tell
        self.words = READY

    async def keep_looking(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Tell of each time that is new, and open an incident."""
        if not self._hand.is_new():
            return
        self.words = WORDS
        self._tell(SUBJECT, WORDS)
        fields = {"type": "foreign write", "severity": "critical", "reason": WORDS}
        await self._recorder.record(RowKind.INCIDENT_OPENED, fields)
