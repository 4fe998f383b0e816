"""Warrants for a new log in the place of one that was lost: what they name, and the check that everybody makes himself.

The subject names the number that the new log gets, and how many rows of the old one the witness had seen, with the root
over them. So a warrant permits one beginning, behind one history, once. Whether it is in time is judged where the new
log is begun; afterwards the same bytes prove for ever that a person has ordered it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trade_core.trust.keys import NotTrusted
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import check_order, open_warrant
from trade_core.trust.warrant import Warrant, WarrantPurpose

AUDIENCE = "gateway"
"""Whose log it is; its witness and its writer read the same warrant over the gateway's shoulder."""
MAX_LOG_WARRANT_BYTES = 3072
"""One row of the journal must hold it, with the new log's first checkpoint beside it."""
FIRST_LOG = 1
_SUBJECT = re.compile(r"log:([1-9][0-9]{0,3}):([1-9][0-9]{0,15}):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSuccession:
    """The new log's number, and what it goes on from: `size` rows with this root, lower-case hexadecimal."""

    number: int
    size: int
    root: str
    warrant: Warrant


def log_subject(*, number: int, size: int, root: str) -> str:
    """The subject of a warrant that begins a new log behind the rows that the witness has seen."""
    return f"log:{number}:{size}:{root}"


def open_log_warrant(raw: bytes, *, ring: KeyRing) -> LogSuccession:
    """Verify a warrant for a new log of a ring's deployment; time is not judged. Raises NotTrusted: what is wrong."""
    if len(raw) > MAX_LOG_WARRANT_BYTES:
        raise NotTrusted(f"log warrant: {len(raw)} bytes, at most {MAX_LOG_WARRANT_BYTES}")
    signed = open_warrant(raw, ring=ring)
    warrant = signed.warrant
    check_order(signed, purpose=WarrantPurpose.LOG, audience=AUDIENCE, subject=warrant.subject)
    named = _SUBJECT.fullmatch(warrant.subject)
    if named is None:
        raise NotTrusted("log warrant: subject does not name a log, and the rows that it goes on from")
    return LogSuccession(number=int(named[1]), size=int(named[2]), root=named[3], warrant=warrant)
