"""Notices that somebody else has written to a journal, by what its writer counts.

The writer is the only one that may. It notices any other hand at its next commit, or a second later, by what SQLite
counts; which row was touched, `trade-journal verify` finds at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Counting(Protocol):
    """A journal that is open for writing."""

    @property
    def foreign_writes(self) -> int:
        """Count how often the writer's run found another hand."""
        ...


@dataclass(slots=True, kw_only=True)
class ForeignHand:
    """Looks at the writer's count. A writer that was begun anew counts from 0 again."""

    journal: Counting
    _known: int = 0

    def is_new(self) -> bool:
        """Tell whether the writer has found another hand since the last look."""
        known, self._known = self._known, self.journal.foreign_writes
        return self._known > known
