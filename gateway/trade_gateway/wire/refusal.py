"""A refusal: one deny code with a few key=value details that are safe to show anywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trade_core.errors import TradeError
from trade_gateway.policy.deny_codes import DenyCode

MAX_DETAIL_CHARACTERS = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9 _.,:;=+/@#()\[\]-]")

Detail = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What was asked cannot be asked of this gateway. Nothing was sent."""

    code: DenyCode
    detail: Detail = ()


class Refused(TradeError):
    """Carries a refusal out of a parsing leaf to the parser's one public function, which returns it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code.name)
        self.refusal = refusal


def neutralised(value: object) -> str:
    """Write a foreign value in at most 64 plain ASCII characters.

    Control characters, quotes, markup, backslashes and everything beyond ASCII become `(uXXXX)`, so that the text is
    harmless on a terminal, in a page, in JSON and in a log line.
    """
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    shortened = text[: MAX_DETAIL_CHARACTERS + 1]
    plain = _UNSAFE.sub(lambda match: f"(u{ord(match.group()):04x})", shortened)
    return plain if len(plain) <= MAX_DETAIL_CHARACTERS else plain[: MAX_DETAIL_CHARACTERS - 3] + "..."


def refuse(code: DenyCode, **values: object) -> Refusal:
    """Make a refusal whose details are neutralised."""
    return Refusal(code=code, detail=detail_of(**values))


def detail_of(**values: object) -> Detail:
    """Return details in the order given, every value neutralised. Keys are ours, never foreign."""
    return tuple((key, neutralised(value)) for key, value in values.items())
