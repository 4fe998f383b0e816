"""Says over the alerts what a warrant is about to loosen, in the words that a person signed, before it takes effect.

A console or a terminal can show other words than those that a key signs; this is where people outside read the signed
ones. Each warrant is a matter of its own, so that none hides behind an earlier one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from trade_core.alerts.model import TEXT_CHARACTERS_MAX, Alert, Severity
from trade_core.alerts.outbox import Fate
from trade_core.trust.keys import NotTrusted

_NAME_CHARACTERS = 12
HasReached = Callable[[], bool]
"""Tells whether a channel of alerts has taken an announcement."""
Announce = Callable[[str, bytes, str], HasReached]
"""Tells what a warrant of these bytes brings about: the matter, the warrant, the words."""
Told = Callable[[str], Mapping[str, str]]
"""Says of each channel what became of the newest message of a subject, as an outbox does."""


def to_nobody(_matter: str, _raw: bytes, _words: str) -> HasReached:
    """Announce where there is no channel, which waits for none: outside the simulation nothing is loosened there."""
    return lambda: True


def check_announceable(*, has_channel: bool) -> None:
    """Check that somebody outside can read what a warrant loosens before it does. Raises NotTrusted."""
    if not has_channel:
        raise NotTrusted("no channel of alerts is set up (setting alerts_file), so nobody could read what it loosens")


def announcing(tell: Callable[[Alert], None], *, told: Told, needs_channel: bool) -> Announce:
    """Return what announces by an outbox. Without any channel it counts as read, unless one is needed."""

    def announce(matter: str, raw: bytes, words: str) -> HasReached:
        subject = f"{matter}:{hashlib.sha256(raw).hexdigest()[:_NAME_CHARACTERS]}"
        tell(Alert(subject=subject, severity=Severity.CRITICAL, text=words[:TEXT_CHARACTERS_MAX]))

        def has_reached() -> bool:
            fates = told(subject)
            return Fate.DELIVERED.value in fates.values() if fates else not needs_channel

        return has_reached

    return announce
