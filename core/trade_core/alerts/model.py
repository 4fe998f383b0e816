"""What can be told to a person."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

TEXT_CHARACTERS_MAX: Final = 400


@unique
class Severity(Enum):
    """How urgent an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Order them: the higher, the more urgent."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that a person should know.

    `subject` names the condition from a closed set, such as `rung:daily`; alerts of one subject are one matter.
    `text` is plain words of ours, at most 400 characters, without secrets and foreign text. With
    `needs_acknowledgement` it is repeated until somebody acknowledges the subject.
    """

    subject: str
    severity: Severity
    text: str
    needs_acknowledgement: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHead:
    """Where a journal stands; a root that was told to people outside cannot be taken back by who rewrites the log."""

    size: int
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who tells it."""

    service: str
    environment: str
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An alert on its way: from whom, when it was raised (UTC), how often before, and the journal's head then."""

    sender: Sender
    alert: Alert
    at_ns: int
    repeats: int = 0
    head: JournalHead | None = None
