"""What a service's command says by its exit code; systemd and scripts go by it."""

from __future__ import annotations

from typing import Final

EXIT_CLEAN: Final = 0
EXIT_FAILURE: Final = 1
EXIT_REFUSED: Final = 2
"""It must not run as it is set up: starting it again changes nothing."""
