"""Warrants drafted: what a person is shown, the bytes that say the same, and who is asked to act on them. Pure.

Guarantees
- What is shown is what is signed: the words stand in the bytes, and the challenge is the hash of those very bytes.
  Nothing is cut off: what takes more words than a warrant has is not drafted.
- A draft names the ring, the subject and a moment that passes within five minutes, so that it can be used for nothing
  else and not later.
- Nothing here orders anything: the services verify who touched what, each by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, unique
from typing import Any, Final

from trade_core.clock import NS_PER_MS, NS_PER_S
from trade_core.errors import TradeError
from trade_core.logs import neutralise
from trade_core.trust.keys import NotTrusted
from trade_core.trust.release_subject import HIGH_WATER, parse_release_subject, release_subject
from trade_core.trust.release_terms import KILLED, WHY_CHARACTERS, ReleaseTerms, check_release_terms, release_words
from trade_core.trust.ring import KeyRing, ring_hash
from trade_core.trust.succession import AUDIENCE as RING_AUDIENCE
from trade_core.trust.succession import cancel_subject, next_ring, ring_subject
from trade_core.trust.warrant import (
    MAX_ARMED_MS,
    MAX_LIFETIME_MS,
    WARRANT_VERSION,
    Warrant,
    WarrantPurpose,
    most_words,
    warrant_bytes,
)
from trade_killswitch.console.facts import GatewayFacts

LIFETIME_MS: Final = MAX_LIFETIME_MS - 60_000
"""A minute less than is allowed, for clocks that differ."""
EXECUTOR: Final = "executor"
GATEWAY: Final = "gateway"
ARM: Final = WarrantPurpose.ARM.value
_PATHS: Final[Mapping[str, str]] = {"kill": "/kill", "drill": "/kill", "arm": "/arm", "disarm": "/disarm"}
_DAY_MS: Final = 24 * 60 * 60 * 1000
ARMED_DAYS_MAX: Final = MAX_ARMED_MS // _DAY_MS - 1
"""A day less than is allowed, for clocks that differ."""


class CannotDraft(TradeError):
    """There is nothing to sign now; the message says why."""


@unique
class Receiver(Enum):
    """Whom a signed warrant is handed to."""

    EXECUTOR = "executor"
    EXECUTOR_AND_GATEWAY = "executor_and_gateway"
    GATEWAY = "gateway"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One warrant to be signed: by how many different keys, for whom, and what else goes with it.

    `change` is a change of the ring that the warrant is about, else empty.
    """

    action: str
    payload: bytes
    words: str
    keys: int
    receiver: Receiver
    path: str
    change: bytes = b""


def draft_executor(
    action: str, told: Mapping[str, Any], *, ring: KeyRing, nonce: str, now_ns: int, armed_days: int = 0
) -> Draft:
    """Draft what the executor itself said that a warrant must name. Raises CannotDraft.

    `armed_days` is how long an automatic kill stays armed; what it is shows in the words.
    """
    subject, words, purpose = told.get("subject"), told.get("words"), told.get("purpose")
    if not isinstance(subject, str) or not isinstance(words, str) or purpose != action:
        raise CannotDraft("the kill executor does not say what a warrant must name")
    if told.get("ring_hash") != ring_hash(ring):
        raise CannotDraft("the kill executor has pinned another key ring than the one that the console knows")
    return _draft(
        action,
        purpose=WarrantPurpose(action),
        audience=EXECUTOR,
        subject=subject,
        words=words if action != ARM else f"{words} It lapses on {_day(now_ns, armed_days)}.",
        keys=1,
        # A gateway that has seen the warrant itself stays KILLED, and takes two keys to release.
        receiver=Receiver.EXECUTOR_AND_GATEWAY if action == WarrantPurpose.KILL.value else Receiver.EXECUTOR,
        path=_PATHS[action],
        ring=ring,
        nonce=nonce,
        now_ns=now_ns,
        lifetime_ms=armed_days * _DAY_MS if action == ARM else LIFETIME_MS,
    )


def _day(now_ns: int, days: int) -> str:
    return f"{datetime.fromtimestamp(now_ns // NS_PER_S + days * 86_400, tz=UTC):%Y-%m-%d %H:%M} UTC"


def draft_release(
    gateway: GatewayFacts, *, terms: ReleaseTerms, rungs: Sequence[str], ring: KeyRing, nonce: str, now_ns: int
) -> Draft:
    """Draft the release of the gateway's latch, in whose words `terms` stand. Raises CannotDraft.

    Of a kill it takes two keys, and so does one that names the highest point, from which the kill is measured.
    """
    if not gateway.latch_subject:
        raise CannotDraft(f"nothing to release: the gateway is {gateway.trading_state} and not latched")
    held = next((hold for hold in gateway.holds if hold.holder == "operator_latch"), None)
    try:
        sequence = parse_release_subject(gateway.latch_subject).sequence
        subject = release_subject(sequence, rungs=rungs)
        named = parse_release_subject(subject).rungs
        ceiling = held.ceiling if held is not None else gateway.trading_state
        why = neutralise(held.reason if held is not None else "unknown", limit=WHY_CHARACTERS)
        words = release_words(ceiling=ceiling, why=why, rungs=named, terms=terms)
        check_release_terms(words, ceiling=ceiling, killed_keys=gateway.killed_keys)
    except (NotTrusted, ValueError) as error:
        raise CannotDraft(str(error)) from None
    return _draft(
        "release",
        purpose=WarrantPurpose.RELEASE,
        audience=GATEWAY,
        subject=subject,
        words=words,
        keys=2 if ceiling == KILLED or HIGH_WATER in named else 1,
        receiver=Receiver.GATEWAY,
        path="/release",
        ring=ring,
        nonce=nonce,
        now_ns=now_ns,
    )


def draft_ring(change: bytes, *, words: str, keys: int, ring: KeyRing, nonce: str, now_ns: int) -> Draft:
    """Draft a next ring. Raises CannotDraft for a change that makes none."""
    try:
        offered = next_ring(ring, change)
    except NotTrusted as error:
        raise CannotDraft(str(error)) from None
    return _draft(
        "ring",
        purpose=WarrantPurpose.RING,
        audience=RING_AUDIENCE,
        subject=ring_subject(ring, offered),
        words=words,
        keys=keys,
        receiver=Receiver.EVERYBODY,
        path="/ring",
        ring=ring,
        nonce=nonce,
        now_ns=now_ns,
        change=change,
    )


def draft_ring_cancel(change: bytes, *, ring: KeyRing, nonce: str, now_ns: int) -> Draft:
    """Draft the cancelling of a ring that waits. Raises CannotDraft."""
    try:
        offered = next_ring(ring, change)
    except NotTrusted as error:
        raise CannotDraft(str(error)) from None
    labels = ", ".join(credential.label for credential in offered.credentials)
    return _draft(
        "ring_cancel",
        purpose=WarrantPurpose.RING,
        audience=RING_AUDIENCE,
        subject=cancel_subject(ring, offered),
        words=f"cancel the key ring that waits, whose keys would be: {labels}",
        keys=1,
        receiver=Receiver.EVERYBODY,
        path="/ring",
        ring=ring,
        nonce=nonce,
        now_ns=now_ns,
    )


def _draft(
    action: str,
    *,
    purpose: WarrantPurpose,
    audience: str,
    subject: str,
    words: str,
    keys: int,
    receiver: Receiver,
    path: str,
    ring: KeyRing,
    nonce: str,
    now_ns: int,
    change: bytes = b"",
    lifetime_ms: int = LIFETIME_MS,
) -> Draft:
    most = most_words(purpose.value)
    plain = neutralise(words, limit=most)
    if len(plain) > most:
        raise CannotDraft(f"it takes more than {most} characters to say, and nothing is signed that is not said")
    warrant = Warrant(
        purpose=purpose.value,
        version=WARRANT_VERSION,
        deployment=ring.deployment,
        environment=ring.environment,
        audience=audience,
        account=ring.account,
        ring_hash=ring_hash(ring),
        subject=subject,
        nonce=nonce,
        words=plain,
        expires_at_ms=now_ns // NS_PER_MS + lifetime_ms,
    )
    return Draft(
        action=action,
        payload=warrant_bytes(warrant),
        words=plain,
        keys=keys,
        receiver=receiver,
        path=path,
        change=change,
    )
