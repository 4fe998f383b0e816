"""Warrants: a person's signed order to loosen something, for one audience, one subject and a few minutes.

The subject makes a warrant single use without memory: a release names the sequence of the latch row that it lifts,
a policy change the old and the new hash. The words are what the person was shown when signing.

Its bytes are what a security key signs: `signed_warrant` verifies them as received, and parses them here afterwards.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from trade_core.canonical import canonical_json
from trade_core.trust.keys import NotTrusted
from trade_core.trust.one_form import canonical_object
from trade_core.trust.statement import check_fields

WARRANT_VERSION = 1
MAX_LIFETIME_MS = 5 * 60 * 1000
MAX_ARMED_MS = 90 * 24 * 60 * 60 * 1000
"""A standing warrant lapses, so that a person looks at it again."""
MAX_WARRANT_BYTES = 2048
MAX_WORDS_CHARACTERS = 400
MAX_KILL_WORDS_CHARACTERS = 1000
"""Of what destroys, or is armed to: the words name every key and secret."""
MAX_NAME_CHARACTERS = 200
_INTEGERS = frozenset({"version", "expires_at_ms"})


class WarrantPurpose(Enum):
    """What a warrant may order."""

    RELEASE = "release"
    POLICY = "policy"
    RING = "ring"
    LOG = "log"
    KILL = "kill"
    ARM = "arm"
    DISARM = "disarm"
    DRILL = "drill"


_DESTROYING = frozenset({WarrantPurpose.KILL.value, WarrantPurpose.DRILL.value, WarrantPurpose.ARM.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Warrant:
    """One order of a person. `purpose` is a WarrantPurpose value; times are UTC milliseconds."""

    purpose: str
    version: int
    deployment: str
    environment: str
    audience: str
    account: str
    ring_hash: str
    subject: str
    nonce: str
    words: str
    expires_at_ms: int

    def content(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def most_words(purpose: str) -> int:
    """Return how many characters of words a warrant of this purpose may have."""
    return MAX_KILL_WORDS_CHARACTERS if purpose in _DESTROYING else MAX_WORDS_CHARACTERS


def warrant_bytes(warrant: Warrant) -> bytes:
    """Write a warrant in its one form, to be signed."""
    return canonical_json(warrant.content())


def parse_warrant(payload: bytes) -> Warrant:
    """Read a warrant from bytes whose signature was checked. Raises NotTrusted."""
    content = canonical_object(payload, what="warrant", most_bytes=MAX_WARRANT_BYTES)
    check_fields(content, what="warrant", fields=Warrant.__slots__, integers=_INTEGERS)
    return _checked(content)


def _checked(content: dict[str, Any]) -> Warrant:
    if content["version"] != WARRANT_VERSION:
        raise NotTrusted(f"warrant: version {content['version']} is not {WARRANT_VERSION}")
    if content["purpose"] not in {purpose.value for purpose in WarrantPurpose}:
        raise NotTrusted("warrant: purpose is not a known one")
    if len(content["words"]) > most_words(content["purpose"]) or not content["words"].isprintable():
        raise NotTrusted("warrant: words are too long or not plain text")
    for name in ("audience", "subject", "nonce"):
        if len(content[name]) > MAX_NAME_CHARACTERS or not content[name].isprintable():
            raise NotTrusted(f"warrant: {name} is too long or not plain text")
    return Warrant(**content)


def check_in_time(warrant: Warrant, *, now_ms: int, is_clock_trusted: bool = True) -> None:
    """Check that a warrant is still valid and was not made for longer than allowed. Raises NotTrusted.

    By a clock that is not trusted no time can be judged: that refuses everything but a kill.
    """
    if not is_clock_trusted:
        if warrant.purpose == WarrantPurpose.KILL.value:
            return
        raise NotTrusted("warrant: the clock is not trusted, so its time cannot be judged")
    left_ms = warrant.expires_at_ms - now_ms
    if left_ms <= 0:
        raise NotTrusted(f"warrant: expired {-left_ms} ms ago")
    if warrant.purpose == WarrantPurpose.ARM.value:
        if left_ms > MAX_ARMED_MS:
            raise NotTrusted("warrant: armed for more than ninety days")
    elif left_ms > MAX_LIFETIME_MS:
        raise NotTrusted("warrant: valid for more than five minutes")
