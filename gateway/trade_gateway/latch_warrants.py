"""What a warrant must say to lift the operator latch, or to set it to KILLED.

Guarantees
- A release names the latch row that it lifts, and us; after a kill, or when it re-bases the high-water mark, two
  different security keys have signed it. What a person must say to be true stands in the words (`release_terms`).
- A kill is ordered of the executor by a warrant, or told by the executor's notice of a kill that a standing warrant
  allowed. A standing warrant alone kills nothing, and a clock that is not trusted refuses no kill.

Nothing is remembered and nothing asked here: time, ring and latch are given.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from trade_core.trust.keys import NotTrusted
from trade_core.trust.kill_notice import check_notice_time, is_kill_notice, open_kill_notice
from trade_core.trust.policy_warrant import AUDIENCE
from trade_core.trust.release_subject import HIGH_WATER, parse_release_subject
from trade_core.trust.release_terms import ReleaseTerms, check_release_terms
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import SignedWarrant, check_order, open_warrant, require_two_keys
from trade_core.trust.warrant import WarrantPurpose, check_in_time
from trade_gateway.policy.trading_state import TradingState

KILL_AUDIENCE: Final = "executor"
"""Who a kill is ordered of; the gateway reads the same warrant over the executor's shoulder."""


def check_release(
    signed: SignedWarrant, *, latch_sequence: int, latch: TradingState, killed_keys: Collection[str]
) -> ReleaseTerms:
    """Check that a warrant is for us and this latch, and read what the person says to be true. Raises NotTrusted.

    `latch_sequence` is the number of the latch's row. Which rungs it re-bases besides is the watchdog's affair, and
    whether it is in time the caller's.
    """
    subject = parse_release_subject(signed.warrant.subject)
    if subject.sequence != latch_sequence:
        raise NotTrusted("warrant: subject is not what it must be here")
    check_order(signed, purpose=WarrantPurpose.RELEASE, audience=AUDIENCE, subject=signed.warrant.subject)
    if latch >= TradingState.KILLED or HIGH_WATER in subject.rungs:
        require_two_keys(signed)
    return check_release_terms(signed.warrant.words, ceiling=latch.name, killed_keys=killed_keys)


def checked_kill(raw: bytes, *, ring: KeyRing, now_ms: int, is_clock_trusted: bool) -> str:
    """Verify what orders a kill, and say what was signed. Raises NotTrusted."""
    if is_kill_notice(raw):
        notice = open_kill_notice(raw, ring=ring)
        check_notice_time(notice, now_ms=now_ms, is_clock_trusted=is_clock_trusted)
        return f"killed automatically, as armed: {notice.standing.warrant.words}"
    signed = open_warrant(raw, ring=ring)
    check_order(signed, purpose=WarrantPurpose.KILL, audience=KILL_AUDIENCE, subject=signed.warrant.subject)
    check_in_time(signed.warrant, now_ms=now_ms, is_clock_trusted=is_clock_trusted)
    return f"killed: {signed.warrant.words}"
