"""Long texts in rows: cut into pieces that a row may hold, and joined again by whoever reads them one after another."""

from __future__ import annotations

import base64

from trade_journal.log.rows import STRING_CHARACTERS_MAX


def warrant_parts(raw: bytes) -> list[str]:
    """Cut a warrant into texts that a row may hold."""
    return row_parts(base64.b64encode(raw).decode("ascii"))


def row_parts(text: str) -> list[str]:
    """Cut a long text into texts that a row may hold."""
    return [text[start : start + STRING_CHARACTERS_MAX] for start in range(0, len(text), STRING_CHARACTERS_MAX)]
