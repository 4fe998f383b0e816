"""`trade-gateway release --policy`: a person reads what a policy file loosens, signs, and hands the warrant over.

What is shown is computed here, from the file and from the policy in force, whose text must have the hash that the
gateway names: the gateway is asked, not believed.
"""

from __future__ import annotations

from typing import Any

from trade_core.canonical import canonical_json
from trade_core.errors import ConfigurationError
from trade_core.logs import neutralise
from trade_core.trust.policy_warrant import policy_subject
from trade_gateway.limits_view import losses, shown_loss
from trade_gateway.policy.bounds import COUNTS
from trade_gateway.policy.content import policy_of
from trade_gateway.policy.field_changes import changes_within, field_changes
from trade_gateway.policy.hostile_loss import HostileLoss, StressLoss
from trade_gateway.policy.limits import Counts, policy_hash
from trade_gateway.policy.model import Policy
from trade_gateway.policy_file import Look, usable_policy

_WORDS_CHARACTERS = 380
_REASON_CHARACTERS = 80
_SHORT_HASH = 12


def requested_policy(look: Look, state: dict[str, Any], *, counts: Counts = COUNTS) -> tuple[Policy, Policy]:
    """Return the policy in force and the file's. Raises ConfigurationError when the file asks for nothing."""
    old_hash = str(state.get("policy_hash"))
    described = state.get("policy")
    content = described.get("in_force") if isinstance(described, dict) else None
    old = policy_of(canonical_json(content).decode(), expected_hash=old_hash, counts=counts)
    new = usable_policy(look, counts=counts)
    changes = field_changes(old, new)
    if not changes:
        raise ConfigurationError("nothing to release: the policy file says what is in force")
    if not any(change.is_loosened for change in changes):
        raise ConfigurationError("nothing to release: the policy file only tightens, which takes no warrant")
    return old, new


def subject_of(old: Policy, new: Policy) -> str:
    """The subject of the warrant for the step."""
    return policy_subject(old_hash=policy_hash(old), new_hash=policy_hash(new))


def explained(old: Policy, new: Policy) -> str:
    """Say everything that the step does, a line each."""
    lines = [f"policy {policy_hash(old)}", f"    -> {policy_hash(new)}"]
    lines += [f"  {change}" for change in field_changes(old, new)]
    return "\n".join([*lines, f"  {_losses(old, new)}"])


def words_of(old: Policy, new: Policy, *, reason: str) -> str:
    """Say the step in the words that are signed and announced; the losses and the loosest first."""
    head = f"loosen policy {policy_hash(old)[:_SHORT_HASH]} to {policy_hash(new)[:_SHORT_HASH]}; {_losses(old, new)}; "
    given = neutralise(reason, limit=_REASON_CHARACTERS)
    room = _WORDS_CHARACTERS - len(head) - len(given) - len("reason: ; and 999 more")
    listed = "; ".join(changes_within(field_changes(old, new), characters=room))
    return neutralise(f"{head}reason: {given}; {listed}", limit=_WORDS_CHARACTERS)


def _losses(old: Policy, new: Policy) -> str:
    (hostile, stress), (new_hostile, new_stress) = losses(old, equity_usdt=None), losses(new, equity_usdt=None)
    return f"hostile loss {_loss(hostile)} -> {_loss(new_hostile)}, stress loss {_loss(stress)} -> {_loss(new_stress)}"


def _loss(loss: HostileLoss | StressLoss) -> str:
    shown = shown_loss(loss)
    return f"{shown['usdt']} USDT ({shown['fraction']})"
