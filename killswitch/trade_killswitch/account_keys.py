"""The keys of the sub-account: which are deleted, in which order, and when one counts as refused. Pure.

Guarantees
- A list that holds a row without an id is unreadable as a whole: a key that cannot be named cannot be deleted, and must
  not be taken for nothing.
- Keys that can trade go before keys that only read, and the exit key is never among them: it goes alone, and last.
- A key counts as refused only when the exchange answers a request that names it exactly as it answers one that names a
  key which never was, with the words for an unknown key, and its list does not show it any more.

Source: Bybit V5 "Get Sub Account All API Keys": apiKey, readOnly, permissions; error 10003, HTTP 401 for unknown keys.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trade_core.errors import ExchangeAnswerInvalid

KEYS_MAX: Final = 100
"""Bybit lets a member hold 20; a list of more is no list of keys."""
UNKNOWN_KEY: Final = frozenset({"10003", "HTTP 401"})
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountKey:
    """One key by its public id."""

    key: str
    is_read_only: bool


def parse_keys(rows: Sequence[object]) -> list[AccountKey]:
    """Read the exchange's list of a sub-account's keys. Raises ExchangeAnswerInvalid."""
    if len(rows) > KEYS_MAX:
        raise ExchangeAnswerInvalid(f"the list of keys has {len(rows)} rows; at most {KEYS_MAX} are believed")
    keys: dict[str, AccountKey] = {}
    for row in rows:
        fields = row if isinstance(row, Mapping) else {}
        key = fields.get("apiKey")
        if not isinstance(key, str) or _KEY.fullmatch(key) is None:
            raise ExchangeAnswerInvalid("the list of keys holds one without an id")
        # The pages of the documentation show both a truth value and a number.
        keys[key] = AccountKey(key=key, is_read_only=fields.get("readOnly") in (True, 1))
    return list(keys.values())


def deletion_order(listed: Sequence[AccountKey], *, exit_key: str) -> list[str]:
    """Return the ids to delete, the first first, without the exit key."""
    others = [one for one in listed if one.key != exit_key]
    return [one.key for one in sorted(others, key=lambda one: one.is_read_only)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """How the exchange answers: to keys by id, and to one that never was. An answer is its code, or "no answer"."""

    answers: Mapping[str, str]
    to_unknown: str

    def not_refused(self, *, listed: Collection[str]) -> dict[str, str]:
        """Return the keys that are not proved dead, each with the reason; empty is the proof."""
        is_sound = self.to_unknown in UNKNOWN_KEY
        found = {}
        for key, answer in self.answers.items():
            if key in listed:
                found[key] = "is still listed"
            elif not is_sound or answer != self.to_unknown:
                found[key] = f"is answered with {answer}, and a key that never was with {self.to_unknown}"
        return found
