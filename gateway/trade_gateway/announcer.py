"""Says over the alerts what a warrant is about to loosen, in the words that a person signed, before it takes effect.

A console or a terminal can show other words than those that a key signs; this is where people outside read the signed
ones. Each warrant is a matter of its own, so that none hides behind an earlier one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from trade_core.alerts.model import TEXT_CHARACTERS_MAX, Alert, Severity
from trade_core.trust.keys import NotTrusted

_NAME_CHARACTERS = 12
Announce = Callable[[str, bytes, str], None]
"""Tells what a warrant of these bytes brings about: the matter, the warrant, the words."""


def check_announceable(*, has_channel: bool) -> None:
    """Check that somebody outside can read what a warrant loosens before it does. Raises NotTrusted."""
    if not has_channel:
        raise NotTrusted("no channel of alerts is set up (setting alerts_file), so nobody could read what it loosens")


def announcing(tell: Callable[[Alert], None]) -> Announce:
    """Return what announces by an outbox."""

    def announce(matter: str, raw: bytes, words: str) -> None:
        name = hashlib.sha256(raw).hexdigest()[:_NAME_CHARACTERS]
        tell(Alert(subject=f"{matter}:{name}", severity=Severity.CRITICAL, text=words[:TEXT_CHARACTERS_MAX]))

    return announce
