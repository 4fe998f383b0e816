"""What a person says in one line of a trade or an incident: checked and neutralised before it becomes a row."""

from __future__ import annotations

from typing import Final

from trade_core.errors import TradeError
from trade_core.logs import neutralise
from trade_journal.log.rows import STRING_CHARACTERS_MAX

REMARK_CHARACTERS_MAX: Final = 400


class RemarkRefused(TradeError):
    """A remark that is not written: the message says why."""


def checked_remark(text: str, *, what: str) -> str:
    """Give a remark as it may stand in a row; `what` names it in a refusal. Raises RemarkRefused."""
    remark = text.strip()
    if not remark:
        raise RemarkRefused(f"{what} is empty")
    if len(remark) > REMARK_CHARACTERS_MAX:
        raise RemarkRefused(f"{what} has {len(remark)} characters; at most {REMARK_CHARACTERS_MAX}")
    shown = neutralise(remark, limit=REMARK_CHARACTERS_MAX)
    if len(shown) > STRING_CHARACTERS_MAX:
        raise RemarkRefused(f"{what} has too many characters that cannot be printed")
    return shown
