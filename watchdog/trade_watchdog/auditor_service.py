"""Puts the audit together: its connections, what it remembers, and what it is given of the others."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from trade_core.clock import Clock
from trade_core.trust.policy_warrant import MAX_POLICY_WARRANTS
from trade_core.trust.ring import KeyRing
from trade_journal.writer.foreign_hand import ForeignHand
from trade_watchdog.audit.key_inventory import ExpectedKey, KeyRole
from trade_watchdog.audit.limit_audit import AuditedLimits, LimitsUnreadable, limits_of
from trade_watchdog.audit.order_audit import OrderAudit
from trade_watchdog.audit_mark import AuditMark
from trade_watchdog.audited_exchange import AuditedExchange
from trade_watchdog.auditor import Auditor
from trade_watchdog.collar_watch import CollarWatch
from trade_watchdog.drop_copy import DropCopy
from trade_watchdog.gateway_link import GatewayLink
from trade_watchdog.identity import ExchangeKey
from trade_watchdog.key_memory import KeyMemory
from trade_watchdog.ladder_keeper import LadderKeeper
from trade_watchdog.log_witness import LogWitness
from trade_watchdog.policy_chain import PolicyChain
from trade_watchdog.recheck import Recheck
from trade_watchdog.settings import WatchdogSettings
from trade_watchdog.turnover_watch import TurnoverWatch

POLICIES_KEPT: Final = MAX_POLICY_WARRANTS + 1


def make_auditor(
    settings: WatchdogSettings,
    *,
    ring: KeyRing,
    tag_key: bytes,
    audited: AuditedExchange,
    master: AuditedExchange,
    witness: LogWitness,
    link: GatewayLink,
    keeper: LadderKeeper,
    policies: PolicyChain,
    read_key: ExchangeKey,
    clock: Clock,
) -> Auditor:
    """Build the audit of one account."""

    read_limits = lru_cache(maxsize=POLICIES_KEPT)(limits_of)

    def limits_named(policy_hash: str) -> AuditedLimits | None:
        text = witness.policy_text(policy_hash)
        try:
            return None if text is None else read_limits(text)
        except LimitsUnreadable:
            return None  # `/state` says that the limits are not known, and nothing new is let through

    def recent_limits(since_ms: int) -> list[AuditedLimits] | None:
        found = [limits_named(policy_hash) for policy_hash in policies.authorised_since(since_ms)]
        known = [limits for limits in found if limits is not None]
        return known if len(known) == len(found) else None

    mark = AuditMark(state_dir=settings.state_dir, clock=clock)
    read_until_ms = mark.read()
    keys = KeyMemory(state_dir=settings.state_dir)
    orders = OrderAudit(
        journaled=witness.journaled,
        baseline=ring.baseline,
        tag_key=tag_key,
        deployment=ring.deployment,
        account=ring.account,
    )
    return Auditor(
        drop_copy=DropCopy(
            reading=audited,
            # What was before the baseline is not judged.
            read_until_ms=max(ring.baseline.taken_at_ms, read_until_ms or 0),
            is_mark=read_until_ms is not None,
        ),
        keep_mark=mark.keep,
        known_keys=keys.read(),
        keep_keys=keys.keep,
        audit=orders,
        turnover=TurnoverWatch(
            reading=audited, audit=orders, recent_limits=recent_limits, judged_until_ms=read_until_ms or 0
        ),
        collars=CollarWatch(reading=audited, audit=orders, recent_limits=recent_limits),
        keys=master,
        recheck=Recheck(source=link, open_copy=witness.reading),
        posture=audited,
        limits=lambda: limits_named(policies.authorised_hash),
        find_limits=lambda: witness.find_policy(policies.authorised_hash),
        prices=lambda: {} if keeper.book is None else keeper.book.prices,
        account=settings.account,
        expected_keys=expected_keys(settings, read_key=read_key),
        copy=witness,
        effects=keeper.effects,
        incidents=keeper.history,
        clock=clock,
        is_own_journal_touched=ForeignHand(journal=keeper.history.journal).is_new,
    )


def expected_keys(settings: WatchdogSettings, *, read_key: ExchangeKey) -> tuple[ExpectedKey, ...]:
    """Name the keys that the account should have. The public half of our own is in our secrets file."""
    known = [
        ExpectedKey(key=read_key.key.reveal(), role=KeyRole.READ),
        ExpectedKey(key=settings.order_key, role=KeyRole.ORDER),
    ]
    if settings.exit_key is not None:
        known.append(ExpectedKey(key=settings.exit_key, role=KeyRole.EXIT))
    return tuple(known)
