"""What a kill does to secrets, as a port: show that it could destroy them, destroy them, end what was given out.

Guarantees of every store
- `destroy` returns when the secret was read back as absent and raises SecretStoreFailed else; to ask again is harmless.
- Nothing of a secret is read: destroying needs no right to read.
- Everything ends within a bound of its own; no answer is never taken for an absent secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from trade_core.errors import TradeError

Evidence: TypeAlias = Mapping[str, str]
"""Plain texts by name, for a report; never a secret."""


class SecretStoreFailed(TradeError):
    """A secret is not known to be gone; the message says what stands in the way, and asking again does no harm."""


class SecretStore(Protocol):
    """Secrets by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """What a kill destroys, as the settings say."""
        ...

    async def prove_ready(self) -> Evidence:
        """Show that each secret is there and could be destroyed now. Raises SecretStoreFailed naming what could not."""
        ...

    async def destroy(self, name: str) -> Evidence:
        """Destroy one of `names` and read it back as absent. Raises SecretStoreFailed."""
        ...

    async def revoke_access(self) -> Evidence:
        """End the logins, tokens and leases of those whose secrets these are; none are left then.

        Raises SecretStoreFailed.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
