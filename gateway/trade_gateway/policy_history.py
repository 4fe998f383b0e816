"""Which policy is in force, told by the key ring and the journal alone. The same code runs at restart and at work.

Guarantees
- It begins with the policy whose hash the ring names, and moves only by a row that it has judged itself: to a policy
  that loosens nothing, or by a warrant that it verifies again. A row that merely says so moves nothing.
- So no restart, redeploy or edited file loosens, and a wiped or shortened journal leads back to the ring's policy at
  most; that the watchdog notices, which keeps the warrants that it has seen.
- A warrant counts once, also when its row is copied behind a later one.
- A policy that the journal names and whose content cannot be read stops the start: to leave it out could loosen.

It has no clock and does no I/O. The journal's writer is taken to be the gateway; see the witness for the rest.
"""

from __future__ import annotations

import base64
import logging
from collections import OrderedDict
from dataclasses import dataclass

from trade_core.errors import ConfigurationError
from trade_core.trust.keys import NotTrusted
from trade_core.trust.policy_warrant import MAX_POLICY_WARRANTS, PolicyStep, open_policy_warrant
from trade_core.trust.ring import KeyRing
from trade_gateway.policy.bounds import COUNTS
from trade_gateway.policy.comparison import compare
from trade_gateway.policy.content import policy_of
from trade_gateway.policy.limits import Counts, policy_hash
from trade_gateway.policy.model import Policy, SymbolKey
from trade_journal.log.rows import Fields, Row, RowKind

MAX_FORMER_SYMBOLS = 200
"""Symbols that were traded once and may still be held; each is one more price and instrument to follow."""
_MAX_RECORDED = 8  # contents that no change has named yet: a change follows its content at once
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A policy and what led to it. `authorised_hash` is the ring's, or the newest warrant's."""

    policy: Policy
    policy_hash: str
    authorised_hash: str
    warrants: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Authorised:
    """A change by a warrant of this subject. A halt that came while its row was written voids it."""

    subject: str
    before: InForce
    after: InForce


class PolicyHistory:
    """The policy in force and the way to it."""

    def __init__(self, *, ring: KeyRing, counts: Counts = COUNTS) -> None:
        self._ring = ring
        self.counts = counts
        self._current: InForce | None = None
        self._voidable: _Authorised | None = None  # the newest change, if a warrant made it
        self._recorded: OrderedDict[str, str] = OrderedDict()
        self._used_nonces: set[str] = set()
        self._announced_nonces: set[str] = set()
        self._former: OrderedDict[SymbolKey, None] = OrderedDict()
        self.is_anchored = False

    @property
    def current(self) -> InForce | None:
        """The policy in force; None while neither the journal nor a file has shown the ring's."""
        return self._current

    @property
    def former_symbols(self) -> frozenset[SymbolKey]:
        """Symbols of earlier policies that the one in force does not trade: what is held of them may be sold."""
        return frozenset(self._former)

    def begin(self, policy: Policy) -> bool:
        """Begin with a policy that a file shows. False, and nothing happens, unless the ring names it."""
        if self._current is not None or policy_hash(policy) != self._ring.policy_hash:
            return False
        named = self._ring.policy_hash
        self._current = InForce(policy=policy, policy_hash=named, authorised_hash=named, warrants=())
        return True

    def take(self, row: Row) -> bool:
        """Take in one row of the journal; True when it put another policy in force. Raises ConfigurationError."""
        match row.kind:
            case RowKind.POLICY_RECORDED:
                return self._take_content(row.fields)
            case RowKind.POLICY_CHANGED:
                return self.change(row.fields)
            case RowKind.RELEASE_ANNOUNCED:
                self.announce(str(row.fields.get("nonce")))
                return False
            case RowKind.RELEASE_VOIDED:
                return self._take_void(row.fields)
            case _:
                return False

    def adopt_ring(self, ring: KeyRing) -> None:
        """Believe warrants under another ring from now on; the policy in force stays."""
        self._ring = ring

    def announce(self, nonce: str) -> None:
        """Remember that a warrant was announced: whatever becomes of it, it is not announced again."""
        self._announced_nonces.add(nonce)

    def is_announced(self, nonce: str) -> bool:
        """Tell whether a warrant was announced before, before a restart too."""
        return nonce in self._announced_nonces

    def record(self, text: str, *, named: str) -> None:
        """Remember a policy's content for the change that names it."""
        self._recorded[named] = text
        while len(self._recorded) > _MAX_RECORDED:
            self._recorded.popitem(last=False)

    def change(self, fields: Fields) -> bool:
        """Put another policy in force if the row's content proves that it may be. Raises ConfigurationError."""
        new_hash = str(fields.get("new_hash"))
        current = self._current
        if current is None:
            raise ConfigurationError("policy: the journal changes one that it never recorded")
        policy = self._content(new_hash)
        if new_hash == current.policy_hash:
            return False
        if not compare(current.policy, policy).loosened:
            tighter = InForce(
                policy=policy,
                policy_hash=new_hash,
                authorised_hash=current.authorised_hash,
                warrants=current.warrants,
            )
            self._move(current, tighter)
            return True
        raw = warrant_of(fields)
        try:
            step = self.authorised_step(raw, new_hash=new_hash)
        except NotTrusted as error:
            log.warning("a looser policy in the journal is not believed: %s", error)
            return False
        self._used_nonces.add(step.warrant.nonce)
        looser = InForce(
            policy=policy, policy_hash=new_hash, authorised_hash=new_hash, warrants=(*current.warrants, raw)
        )
        self._move(current, looser)
        self._voidable = _Authorised(subject=step.warrant.subject, before=current, after=looser)
        return True

    def authorised_step(self, raw: bytes, *, new_hash: str) -> PolicyStep:
        """Verify that a warrant permits the step from the policy in force to another. Raises NotTrusted."""
        current = self._current
        step = open_policy_warrant(raw, ring=self._ring)
        if current is None or (step.old_hash, step.new_hash) != (current.policy_hash, new_hash):
            raise NotTrusted("policy warrant: it does not lead from the policy in force to this one")
        if step.warrant.nonce in self._used_nonces:
            raise NotTrusted("policy warrant: it was used before")
        if len(current.warrants) >= MAX_POLICY_WARRANTS:
            raise NotTrusted(f"policy warrant: {MAX_POLICY_WARRANTS} led here already; make a new deployment")
        return step

    def _take_content(self, fields: Fields) -> bool:
        named, parts = str(fields.get("hash")), fields.get("content")
        text = "".join(str(part) for part in parts) if isinstance(parts, list) else ""
        self.record(text, named=named)
        if named != self._ring.policy_hash:
            return False
        self.is_anchored = True
        return self.begin(self._content(named))

    def _take_void(self, fields: Fields) -> bool:
        """Undo the newest change if a halt came while its row was written: it never was in force."""
        newest = self._voidable
        if newest is None or fields.get("subject") != newest.subject:
            return False
        self._move(newest.after, newest.before)
        return True

    def _content(self, named: str) -> Policy:
        text = self._recorded.get(named)
        if text is None:
            raise ConfigurationError(f"policy: the journal names {named} and does not hold its content")
        return policy_of(text, expected_hash=named, counts=self.counts)

    def _move(self, before: InForce, to: InForce) -> None:
        self._current, self._voidable = to, None
        for key in before.policy.symbols:
            self._former[key] = None
        for key in to.policy.symbols:
            self._former.pop(key, None)
        while len(self._former) > MAX_FORMER_SYMBOLS:
            self._former.popitem(last=False)


def warrant_of(fields: Fields) -> bytes:
    """Join the warrant that a row holds in parts; empty when it holds none that can be joined."""
    parts = fields.get("warrant")
    if not isinstance(parts, list):
        return b""
    try:
        return base64.b64decode("".join(str(part) for part in parts), validate=True)
    except ValueError:
        return b""
