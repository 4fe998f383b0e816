"""An automatic kill, as the executor tells the gateway of it: its own word beside the warrant that armed it. Pure.

A notice is a statement {at_ms, warrant} that bears the executor's signature; `warrant` is base64 of the whole standing
warrant, as a security key touched it.

Guarantees
- It takes both: the touch of a person, who allowed such a kill, and the executor's word of this minute that it began.
  Who found either of them written down can latch nothing with it.
- By a clock that is not trusted no time is judged, and a kill is refused for nothing that cannot be judged.

Not judged here: whether what it was armed for came about. That was the executor's affair, and he may err to this side.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.trust.keys import NotTrusted, decode_base64
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import SignedWarrant, check_order, open_warrant
from trade_core.trust.statement import check_fields, open_statement, sign_statement
from trade_core.trust.warrant import WarrantPurpose, check_in_time

NOTICE_PURPOSE: Final = "kill-notice/v1"
NOTICE_AGE_MS_MAX: Final = 60_000
CLOCKS_APART_MS_MAX: Final = 5_000
"""How far ahead the executor's clock may be; the two need not run on one machine."""
EXECUTOR: Final = "executor"
_FIELDS: Final = ("at_ms", "warrant")


@dataclass(frozen=True, slots=True, kw_only=True)
class KillNotice:
    """A notice whose two signatures were checked. `at_ms` is when the executor made it (UTC)."""

    standing: SignedWarrant
    at_ms: int


def kill_notice(standing: bytes, *, now_ms: int, private_key: Ed25519PrivateKey) -> bytes:
    """Write a notice of a kill that the standing warrant `standing` allowed; the key is that of the executor's log."""
    content = {"at_ms": now_ms, "warrant": base64.b64encode(standing).decode("ascii")}
    return sign_statement(content, private_key, purpose=NOTICE_PURPOSE)


def is_kill_notice(raw: bytes) -> bool:
    """Tell whether bytes mean to be a notice, by their form alone; nothing is believed by it."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "payload" in content


def open_kill_notice(raw: bytes, *, ring: KeyRing) -> KillNotice:
    """Verify a notice and the standing warrant in it against the pinned ring. Raises NotTrusted."""
    if not ring.executor_key:
        raise NotTrusted("kill notice: the key ring names no executor")
    content = open_statement(raw, what="kill notice", purpose=NOTICE_PURPOSE, public_key=ring.executor_key)
    check_fields(content, what="kill notice", fields=_FIELDS, integers=frozenset({"at_ms"}))
    envelope = decode_base64(content["warrant"], length=None, what="kill notice warrant")
    standing = open_warrant(envelope, ring=ring)
    check_order(standing, purpose=WarrantPurpose.ARM, audience=EXECUTOR, subject=standing.warrant.subject)
    return KillNotice(standing=standing, at_ms=content["at_ms"])


def check_notice_time(notice: KillNotice, *, now_ms: int, is_clock_trusted: bool) -> None:
    """Check that a notice is of this minute and its standing warrant has not lapsed. Raises NotTrusted."""
    if not is_clock_trusted:
        return
    age_ms = now_ms - notice.at_ms
    if not -CLOCKS_APART_MS_MAX <= age_ms <= NOTICE_AGE_MS_MAX:
        raise NotTrusted(f"kill notice: made {age_ms} ms ago, and it counts for a minute")
    check_in_time(notice.standing.warrant, now_ms=now_ms)
