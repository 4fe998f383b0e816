"""What a command says when a person ends it, or the operating system refuses it a file: one sentence, no traceback."""

from __future__ import annotations

import os
from typing import Final

EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells count it."""
INTERRUPTED: Final = "ended by Ctrl-C; run it again, it says what it finds already done"


def refused_by_system(error: OSError) -> str:
    """Name the file that the operating system refused, and its reason."""
    reason = error.strerror or type(error).__name__
    return reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"
