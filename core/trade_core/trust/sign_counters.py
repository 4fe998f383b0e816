"""The counters that security keys show: one that does not rise was shown by a copy of the key. Pure.

Each verifier keeps its own and makes them durable. A kill goes on whatever the counter says, and alarms; everything
else is refused. A key that always shows 0 has no counter (WebAuthn Level 3, section 6.1.1) and is not judged by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trade_core.trust.assertion import Touch
from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import SignedWarrant
from trade_core.trust.statement import check_fields
from trade_core.trust.warrant import WarrantPurpose


@dataclass(frozen=True, slots=True, kw_only=True)
class SignCounters:
    """The highest counter seen of each credential id."""

    seen: Mapping[str, int] = field(default_factory=dict)

    def content(self) -> dict[str, int]:
        """Return the counters as plain values, to be kept."""
        return dict(self.seen)

    def not_risen(self, signed: SignedWarrant) -> tuple[str, ...]:
        """Name the security keys of a warrant whose counter did not rise since it was last seen."""
        return tuple(touch.credential.label for touch in signed.touches if not self._has_risen(touch))

    def _has_risen(self, touch: Touch) -> bool:
        last = self.seen.get(touch.credential.credential_id)
        return last is None or touch.counter > last or touch.counter == last == 0

    def check(self, signed: SignedWarrant) -> tuple[str, ...]:
        """Refuse a warrant by a key whose counter did not rise; of a kill, answer their names to alarm with."""
        suspects = self.not_risen(signed)
        if suspects and signed.warrant.purpose != WarrantPurpose.KILL.value:
            raise NotTrusted(f"warrant: the counter of {suspects[0]!r} did not rise; was the security key copied?")
        return suspects

    def after(self, signed: SignedWarrant) -> SignCounters:
        """Return the counters once a warrant was taken; none ever falls."""
        risen = dict(self.seen)
        for touch in signed.touches:
            named = touch.credential.credential_id
            risen[named] = max(risen.get(named, touch.counter), touch.counter)
        return SignCounters(seen=risen)

    def within(self, ring: KeyRing) -> SignCounters:
        """Return the counters of the keys that a ring still names."""
        named = {credential.credential_id for credential in ring.credentials}
        return SignCounters(seen={key: value for key, value in self.seen.items() if key in named})


def parse_counters(content: dict[str, Any]) -> SignCounters:
    """Read counters from what was kept. Raises NotTrusted."""
    check_fields(content, what="sign counters", fields=content, integers=frozenset(content))
    return SignCounters(seen=content)
