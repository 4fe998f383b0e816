"""Tells a warrant that was only drafted from one that was signed, for commands that hand signed ones over."""

from __future__ import annotations

from typing import Final

from trade_core.trust.keys import NotTrusted
from trade_core.trust.warrant import parse_warrant

UNSIGNED: Final = "is a draft that nobody has signed; sign it first: trade-kill --sign FILE --ring FILE --out SIGNED"


def is_unsigned(raw: bytes) -> bool:
    """Tell whether these are the bytes of a warrant without any signature."""
    try:
        parse_warrant(raw)
    except NotTrusted:
        return False
    return True
