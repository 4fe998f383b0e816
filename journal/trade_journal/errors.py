"""What can go wrong with a journal: a closed tree. Whoever must journal before acting treats every one as "refuse"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

from trade_core.errors import ConfigurationError, TradeError


class JournalError(TradeError):
    """The root of everything that the journal raises."""


class RowRefused(JournalError):
    """The caller's row breaks the rules of rows (kind, names, types, sizes): a defect of the caller, never stored."""


FOREIGN_WRITE: Final = "foreign_write"
"""The cause of a JournalUnavailable when somebody beside the one writer has changed the journal's file."""


class JournalUnavailable(JournalError):
    """The row is not known to be durable: the journal is failed, stalled or closed. Act as if it was not written.

    ``cause`` is a word for rows and metrics, such as ``sqlite_full``.
    """

    def __init__(self, message: str, *, cause: str = "unavailable") -> None:
        super().__init__(message)
        self.cause = cause


class RowUncovered(JournalUnavailable):
    """A row that is there and that no checkpoint covers yet: it can be proven in some seconds, by a running writer."""


class JournalDoubtful(JournalUnavailable):
    """The commit of this row was under way when it failed, so the row may be on disk all the same.

    ``is_written`` tells which, once the journal has been read again; a writer that is closed before never tells.
    """

    def __init__(self, message: str, *, cause: str, is_written: asyncio.Future[bool]) -> None:
        super().__init__(message, cause=cause)
        self.is_written = is_written


class JournalFull(JournalUnavailable):
    """The writer's bounded queue has no room: rows arrive faster than the disk takes them, or the disk stands still."""


class JournalRefused(JournalError, ConfigurationError):
    """A journal that is not opened: not ours, newer than this code, in use, or not where it should be."""


class KeysUnknown(JournalRefused):
    """Public keys that are not those of the journal: nothing can be said of it. Names the keys found and expected."""


class JournalDamaged(JournalRefused):
    """A journal of ours whose rows contradict themselves: a gap, a wrong leaf hash, a body that is not a row."""


class NoteRefused(JournalError):
    """A signed note, checkpoint or cosignature that must not be believed; the message says which part and why."""


class Withheld(JournalError):
    """A checkpoint that the witness does not cosign, because it cannot bear it out; the message says why."""


class ForkProven(JournalError):
    """Proof that a log has shown two histories: a root that it signed and its own rows contradict."""
