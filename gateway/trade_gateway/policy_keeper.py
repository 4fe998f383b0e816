"""Keeps the policy in force true to the policy file, as far as the file may change it.

Guarantees
- A file that only tightens is in force within two looks: its row is durable first, then every part has it in one step.
- A file that loosens anything changes nothing. A warrant of a person for exactly this step, announced in words,
  puts it in force RELEASE_DELAY_S after a channel of alerts took that; a halt or another change of the file in
  between voids it.
- A file that is missing, unreadable, contradictory or beyond the rungs raises a fault until it is good again; the
  policy in force stays, and no risk is added.
- Each of these is a row when it is first seen, and stands in /state with its reason.

It does not decide what is loosening (`comparison`), nor what a restart believes (`policy_history`).
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from trade_core.clock import NS_PER_MS, Clock
from trade_core.trust.keys import NotTrusted
from trade_core.trust.policy_warrant import PolicyStep, open_policy_warrant
from trade_core.trust.ring import KeyRing
from trade_core.trust.signed_warrant import SignedWarrant
from trade_core.trust.warrant import check_in_time
from trade_gateway.announcer import Announce, check_announceable, to_nobody
from trade_gateway.countdown import UNHEARD, Countdown
from trade_gateway.limits_view import losses, shown_loss
from trade_gateway.policy.content import policy_text
from trade_gateway.policy.field_changes import changes_within, field_changes
from trade_gateway.policy.limits import policy_content
from trade_gateway.policy.model import Policy
from trade_gateway.policy_file import NOT_READ, FileStatus, FileVerdict, Look, Settling, judge_file, look_at
from trade_gateway.policy_history import InForce, PolicyHistory
from trade_gateway.recorder import Recorder
from trade_gateway.row_texts import row_parts, warrant_parts
from trade_gateway.state_keeper import RELEASE_DELAY_S
from trade_journal.log.rows import Fields, RowKind

LOOK_EVERY_S = 0.5
LOOK_WITHIN_S = 2.0
_ROW_CHARACTERS = 1500  # of changes in words; with a warrant of 4 KiB the row stays below its 8 KiB
_STATE_CHARACTERS = 4000
_MAX_TOLD = 256
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPolicy:
    """A looser policy that was announced and is not in force."""

    step: PolicyStep
    raw: bytes
    countdown: Countdown


class PolicyKeeper:
    """The file, the policy in force, and the ceremony between them."""

    def __init__(
        self,
        *,
        path: Path,
        ring: KeyRing,
        history: PolicyHistory,
        recorder: Recorder,
        clock: Clock,
        is_clock_trusted: Callable[[], bool],
        on_fault: Callable[[bool], None],
        on_change: Callable[[InForce], None],
    ) -> None:
        self._path = path
        self._ring = ring
        self._history = history
        self._recorder = recorder
        self._clock = clock
        self._is_clock_trusted = is_clock_trusted
        self._on_fault = on_fault
        self._on_change = on_change
        self.check_counters: Callable[[SignedWarrant], object] = lambda _: None  # refuses what a copied key signed
        self.announce: Announce = to_nobody  # tells people outside
        self.has_channel = True  # to tell them over
        self._settling = Settling()
        self._settled = NOT_READ
        self._judged: tuple[str, str, FileVerdict] | None = None
        self._pending: PendingPolicy | None = None
        self._looking: asyncio.Future[Look] | None = None
        self._voids = 0
        self._told: OrderedDict[str, None] = OrderedDict()

    @property
    def in_force(self) -> InForce:
        """The policy in force. Raises RuntimeError before the start has found one."""
        current = self._history.current
        if current is None:
            raise RuntimeError("no policy is in force yet")
        return current

    @property
    def is_file_in_force(self) -> bool:
        """Whether the file says what is in force."""
        return self._settled.status is FileStatus.IN_FORCE

    def adopt_ring(self, ring: KeyRing) -> None:
        """Believe warrants under another ring from now on."""
        self._ring = ring
        self._history.adopt_ring(ring)
        self.void(reason="the key ring changed", by="ring")

    async def anchor(self) -> bool:
        """Make sure that the journal holds the policy that the ring names; without it no change could be judged."""
        if not self._history.is_anchored:
            self._history.is_anchored = await self._record(self.in_force.policy, named=self.in_force.policy_hash)
        return self._history.is_anchored

    async def work(self) -> None:
        """Look at the file once and do what follows, from it and from time."""
        try:
            await self._work()
        except Exception:
            self._on_fault(True)  # who cannot look does not know what the file says
            raise

    async def _work(self) -> None:
        if not await self.anchor():
            return
        verdict = self._judge(await self._look())
        if self._settling.is_settled(verdict):
            await self._act(verdict)
        await self._finish_pending(verdict)

    async def _look(self) -> Look:
        """Read the file off the event loop; a disk that hangs holds one thread, and the file counts as unreadable."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(look_at, self._path))
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                return await asyncio.shield(self._looking)
        except TimeoutError:
            return Look(raw=b"", problem=f"the disk did not answer within {LOOK_WITHIN_S} s")

    async def _look_anew(self) -> Look:
        """Look at the file as it is now: a look that is under way may have seen what was there before."""
        earlier = self._looking
        if earlier is not None and not earlier.done():
            look = await self._look()
            if not earlier.done():
                return look  # a disk that hangs is waited for once
        return await self._look()

    def _judge(self, look: Look) -> FileVerdict:
        digest, in_force = look.digest, self.in_force
        if self._judged is None or self._judged[:2] != (digest, in_force.policy_hash):
            verdict = judge_file(
                look,
                in_force=in_force.policy,
                in_force_hash=in_force.policy_hash,
                counts=self._history.counts,
            )
            self._judged = (digest, in_force.policy_hash, verdict)
        return self._judged[2]

    async def _act(self, verdict: FileVerdict) -> None:
        self._settled = verdict
        pending = self._pending
        if pending is not None and verdict.policy_hash != pending.step.new_hash:
            self.void(reason="the policy file changed", by="file")
        match verdict.status:
            case FileStatus.IN_FORCE:
                self._on_fault(False)
            case FileStatus.TIGHTENS:
                await self._tighten(verdict)
            case FileStatus.NEEDS_WARRANT:
                self._on_fault(False)
                self._tell(verdict)
            case FileStatus.UNUSABLE:
                self._on_fault(True)
                self._tell(verdict)
            case FileStatus.NOT_READ:
                pass
            case _:
                assert_never(verdict.status)

    async def _tighten(self, verdict: FileVerdict) -> None:
        assert verdict.policy is not None
        if await self._change(verdict.policy, new_hash=str(verdict.policy_hash), warrant=None):
            self._on_fault(False)

    def _tell(self, verdict: FileVerdict) -> None:
        """Write one row of a file that is not taken, and no more of the same content."""
        in_force = self.in_force
        seen = f"{verdict.status.value} {verdict.digest} {in_force.policy_hash}"
        if seen in self._told:
            return
        self._told[seen] = None
        while len(self._told) > _MAX_TOLD:
            self._told.popitem(last=False)
        fields: dict[str, Any] = {
            "reason": verdict.reason or "it loosens, which takes a warrant",
            "old_hash": in_force.policy_hash,
            "new_hash": verdict.policy_hash,
        }
        if verdict.policy is not None:
            changes = field_changes(in_force.policy, verdict.policy)
            fields["changes"] = changes_within(changes, characters=_ROW_CHARACTERS)
        self._recorder.append_later(RowKind.POLICY_REFUSED, fields)
        log.warning("the policy file is not taken: %s", fields["reason"])

    async def accept(self, raw: bytes) -> dict[str, Any]:
        """Verify a policy warrant and announce its step. Raises NotTrusted, after a row that says why."""
        try:
            step, policy = await self._checked(raw)
        except NotTrusted as error:
            self._recorder.refuse(RowKind.RELEASE_REFUSED, str(error))
            log.warning("policy warrant refused: %s", error)
            raise
        self._history.announce(step.warrant.nonce)
        voids = self._voids
        if not await self._recorder.append_durable(RowKind.RELEASE_ANNOUNCED, self._announcement(step, policy)):
            raise NotTrusted("policy warrant: it cannot be announced while the journal cannot be written")
        if self._voids != voids:
            raise NotTrusted("policy warrant: a halt came while it was announced")
        has_reached = self.announce("policy", raw, f"in {RELEASE_DELAY_S} s, unless it is halted: {step.warrant.words}")
        now_ns = self._clock.monotonic_ns()
        countdown = Countdown(announced_at_ns=now_ns, delay_s=RELEASE_DELAY_S, has_reached=has_reached)
        countdown.look(now_ns)
        self._pending = PendingPolicy(step=step, raw=raw, countdown=countdown)
        log.warning("looser policy announced, in force in %d s unless halted: %s", RELEASE_DELAY_S, step.warrant.words)
        return {"policy_hash": self.in_force.policy_hash, "takes_effect_in_s": RELEASE_DELAY_S}

    async def _checked(self, raw: bytes) -> tuple[PolicyStep, Policy]:
        check_announceable(has_channel=self.has_channel)
        verdict = self._judge(await self._look_anew())
        if verdict.status is not FileStatus.NEEDS_WARRANT or verdict.policy is None:
            why = verdict.reason or f"the policy file's state is {verdict.status.value}"
            raise NotTrusted(f"policy warrant: there is nothing to put in force: {why}")
        step = self._history.authorised_step(raw, new_hash=str(verdict.policy_hash))
        if self._history.is_announced(step.warrant.nonce):
            raise NotTrusted("policy warrant: it was announced before; sign a new one")
        if not self._is_clock_trusted():
            raise NotTrusted("policy warrant: the clock is not trusted, so its time cannot be judged")
        check_in_time(step.warrant, now_ms=self._clock.wall_ns() // NS_PER_MS)
        self.check_counters(step.signed)
        return step, verdict.policy

    def _announcement(self, step: PolicyStep, policy: Policy) -> Fields:
        before, after = (losses(each, equity_usdt=None) for each in (self.in_force.policy, policy))
        return {
            "subject": step.warrant.subject,
            "nonce": step.warrant.nonce,
            "words": step.warrant.words,
            "delay_s": RELEASE_DELAY_S,
            "hostile_loss_usdt_before": shown_loss(before[0])["usdt"],
            "hostile_loss_usdt": shown_loss(after[0])["usdt"],
            "stress_loss_usdt_before": shown_loss(before[1])["usdt"],
            "stress_loss_usdt": shown_loss(after[1])["usdt"],
            "changes": changes_within(field_changes(self.in_force.policy, policy), characters=_ROW_CHARACTERS),
        }

    def void(self, *, reason: str, by: str) -> None:
        """Forget what is announced. Its row comes behind a change that may be on its way to the disk, and undoes it."""
        self._voids += 1
        pending, self._pending = self._pending, None
        if pending is not None:
            fields: Fields = {"subject": pending.step.warrant.subject, "reason": reason[:200], "by": by}
            self._recorder.append_later(RowKind.RELEASE_VOIDED, fields)
            log.warning("the announced policy is void: %s", reason)

    async def _finish_pending(self, verdict: FileVerdict) -> None:
        pending, now_ns = self._pending, self._clock.monotonic_ns()
        if pending is None:
            return
        pending.countdown.look(now_ns)
        if pending.countdown.is_unheard(now_ns):
            self.void(reason=UNHEARD, by="gateway")
        if not pending.countdown.is_due(now_ns):
            return
        step = pending.step
        is_as_announced = (self.in_force.policy_hash, verdict.policy_hash) == (step.old_hash, step.new_hash)
        if not is_as_announced or verdict.policy is None:
            self.void(reason="the policy file is not what was announced", by="file")
            return
        await self._change(verdict.policy, new_hash=step.new_hash, warrant=pending)

    async def _change(self, policy: Policy, *, new_hash: str, warrant: PendingPolicy | None) -> bool:
        """Write a change, content first, and put it in force once it is durable. A failure is tried again later."""
        old = self.in_force
        fields: dict[str, Any] = {
            "old_hash": old.policy_hash,
            "new_hash": new_hash,
            "changes": changes_within(field_changes(old.policy, policy), characters=_ROW_CHARACTERS),
        }
        if warrant is not None:
            fields["warrant"] = warrant_parts(warrant.raw)
        if not await self._record(policy, named=new_hash):
            return False
        if warrant is not None and self._pending is not warrant:
            return False  # voided while the content was written
        if not await self._recorder.append_durable(RowKind.POLICY_CHANGED, fields):
            return False
        if warrant is not None and self._pending is not warrant:
            return False  # voided while the row was written; the row that says so stands behind it
        self._pending = None
        if not self._history.change(fields):
            raise RuntimeError("a policy change that was judged good is not believed")
        self._settled = FileVerdict(status=FileStatus.IN_FORCE, policy=policy, policy_hash=new_hash)
        log.warning("policy %s is in force in the place of %s", new_hash, old.policy_hash)
        self._on_change(self.in_force)
        return True

    async def _record(self, policy: Policy, *, named: str) -> bool:
        text = policy_text(policy)
        is_durable = await self._recorder.append_durable(
            RowKind.POLICY_RECORDED, {"hash": named, "content": row_parts(text)}
        )
        if is_durable:
            self._history.record(text, named=named)
        return is_durable

    def describe(self) -> dict[str, Any]:
        """What /state says of the policy, the file and what is announced."""
        in_force, pending = self.in_force, self._pending
        return {
            "in_force": policy_content(in_force.policy),
            "authorised_hash": in_force.authorised_hash,
            "warrants": [base64.b64encode(raw).decode("ascii") for raw in in_force.warrants],
            "former_symbols": sorted(f"{category.value} {symbol}" for category, symbol in self._history.former_symbols),
            "file": self._describe_file(),
            "release_pending": None
            if pending is None
            else {
                "words": pending.step.warrant.words,
                "policy_hash": pending.step.new_hash,
                **pending.countdown.describe(self._clock.monotonic_ns()),
            },
        }

    def _describe_file(self) -> dict[str, Any]:
        settled, in_force = self._settled, self.in_force
        described: dict[str, Any] = {
            "status": settled.status.value,
            "reason": settled.reason,
            "policy_hash": settled.policy_hash,
            "changes": [],
            "needs": "",
        }
        if settled.policy is not None:
            changes = field_changes(in_force.policy, settled.policy)
            described["changes"] = changes_within(changes, characters=_STATE_CHARACTERS)
        if settled.status is FileStatus.NEEDS_WARRANT:
            described["needs"] = "a warrant of the operator: trade-gateway release --policy"
        if settled.status is FileStatus.UNUSABLE:
            described["needs"] = "a policy file that can be used; no risk is added until then"
        return described


def is_policy_warrant(raw: bytes, *, ring: KeyRing) -> bool:
    """Tell whether a body handed to the release endpoint is a policy warrant of this deployment."""
    try:
        open_policy_warrant(raw, ring=ring)
    except NotTrusted:
        return False
    return True
