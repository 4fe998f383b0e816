"""The two codes that `init` makes for a person's paper: bootstrap and recovery.

They are shown once, at a terminal, and written nowhere; the ring gets the public halves of the keys they stand for. For
the simulated exchange they can be written to a file instead, which is what the demo and the tests do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trade_core.errors import ConfigurationError
from trade_core.secrets import Secret, write_secret_file
from trade_core.trust.keys import public_text
from trade_core.trust.printed_key import new_code, printed_key
from trade_core.trust.ring import SIMULATED
from trade_gateway.settings import GatewaySettings

BOOTSTRAP_LIFETIME_MS = 10 * 60 * 1000
SIMULATED_LIFETIME_MS = 24 * 60 * 60 * 1000
"""Nothing can be lost there, and whoever tries the demo may want to look around first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """Both codes; `expires_at_ms` is that of the bootstrap code, UTC milliseconds."""

    bootstrap: Secret
    recovery: Secret
    expires_at_ms: int

    def public(self, purpose: str) -> str:
        """Return the public half of what a code stands for: "bootstrap" or "recovery"."""
        code = {"bootstrap": self.bootstrap, "recovery": self.recovery}[purpose]
        return public_text(printed_key(code.reveal(), purpose=purpose))

    def write(self, path: Path) -> None:
        """Write both to a file that its owner alone can read."""
        content = {"bootstrap_code": self.bootstrap.reveal(), "recovery_code": self.recovery.reveal()}
        write_secret_file(path, content)


def new_codes(settings: GatewaySettings, *, codes_file: Path | None) -> Codes | None:
    """Make the codes; none on the simulated exchange when there is nobody to show them to.

    Raises ConfigurationError where they cannot be shown or must not be written.
    """
    is_simulated = settings.environment == SIMULATED
    if codes_file is not None and not is_simulated:
        raise ConfigurationError("--codes: codes are written to a file on the simulated exchange only")
    if codes_file is None and not sys.stdout.isatty():
        if is_simulated:
            return None
        raise ConfigurationError("init shows two codes once, for a person's paper: run it at a terminal")
    lifetime_ms = SIMULATED_LIFETIME_MS if is_simulated else BOOTSTRAP_LIFETIME_MS
    return Codes(
        bootstrap=Secret(new_code()),
        recovery=Secret(new_code()),
        expires_at_ms=time.time_ns() // 1_000_000 + lifetime_ms,
    )


def said(codes: Codes | None, *, codes_file: Path | None) -> Sequence[str]:
    """Say what a person must know of the codes."""
    if codes is None:
        return ["no codes: there was no terminal to show them at, so no security key can be enrolled here"]
    if codes_file is not None:
        return [f"bootstrap and recovery code: {codes_file}"]
    return [
        f"bootstrap code, enrols two security keys, for a short time and once:   {codes.bootstrap.reveal()}",
        f"recovery code, for cold storage; kills at once, enrols after 72 hours: {codes.recovery.reveal()}",
        "Write them down now: they are shown once and stand nowhere.",
    ]
