"""Makes and sends leases: each names one gateway at one boot and carries what the verdict allows.

Guarantees
- A lease is signed only for the deployment, environment, account and ring that this watchdog has pinned, and for the
  policy that they authorise; a gateway that names others gets none.
- Its generation is above every one that this watchdog or the gateway ever used, and on disk first.
- None is sent while the lease of another watchdog with the same keys lives; this one reads and witnesses meanwhile, and
  leads once that lease has expired.
- It lives LIFETIME_S, so that a dead watchdog means REDUCE_ONLY within that time.
- It carries a checkpoint of the gateway's journal that this watchdog has just borne out and cosigned; see
  `log_witness`. A proven fork is told and halts the gateway instead, each time anew while it lasts;
  then it is proved to who has not seen the rows, as far as signatures can.
- It carries the last checkpoint of this watchdog's own journal. A journal that never signed what it once told is not
  gone on with unsaid: see `LadderKeeper.recall`.
- It carries the second venue's prices as they stand; nothing here waits for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.clock import NS_PER_MS, Clock
from trade_core.errors import TradeError
from trade_core.money import format_decimal
from trade_core.trust.keys import NotTrusted
from trade_core.trust.lease import Lease, sign_lease
from trade_core.trust.ring import KeyRing, ring_hash
from trade_journal.errors import ForkProven, JournalError
from trade_watchdog.ceiling import Ceiling, Verdict, tightest
from trade_watchdog.gateway_link import GatewayLink, GatewayState
from trade_watchdog.identity import GenerationStore, GenerationUnavailable
from trade_watchdog.ladder_keeper import LadderKeeper
from trade_watchdog.log_witness import LogWitness
from trade_watchdog.policy_chain import PolicyChain
from trade_watchdog.releases import Releases, Told
from trade_watchdog.second_prices import SecondPrices

LIFETIME_S: Final = 20
PROOF_WITHIN_S: Final = 30.0
PROOFS_TRIED: Final = 3
_log = logging.getLogger(__name__)


class GatewayForked(TradeError):
    """The gateway has shown two histories; it gets no lease, and is told to halt."""


class Unwitnessed(TradeError):
    """No cosignature can be given now, and so no lease; the message says why."""


class StandsBy(TradeError):
    """Another watchdog with our keys leads; `wait_s` is when its lease will have expired if it sends no other."""

    def __init__(self, whose: str, *, wait_s: float) -> None:
        super().__init__(f"{whose}; its lease lives {wait_s:.0f} s")
        self.whose = whose
        self.wait_s = wait_s


class GatewayForeign(TradeError):
    """The gateway is not the one that this watchdog's ring names; it gets no lease."""


@dataclass(slots=True, kw_only=True)
class LeaseSender:
    """What it takes to send a lease."""

    link: GatewayLink
    ring: KeyRing
    private_key: Ed25519PrivateKey
    holder: str
    generations: GenerationStore
    second: SecondPrices
    policies: PolicyChain
    witness: LogWitness
    releases: Releases
    keeper: LadderKeeper
    clock: Clock
    on_high_water: Callable[[bytes], None] = lambda _: None
    """Told of the release that re-bases the high-water mark, for who hands it to others; never raises."""
    on_fork: Callable[[str], None] = lambda _words: None
    on_fork_judged: Callable[[str, bytes], None] = lambda _words, _proof: None
    """Told after the halt, with a proof for who has not seen the rows; empty when there is none."""
    _proofs_left: int = PROOFS_TRIED

    async def send(self, verdict: Callable[[], Verdict]) -> Lease:
        """Read the gateway's state, sign a lease for it and have it counted; answers the lease.

        `verdict` is asked for last, when every row under the checkpoint has been seen and its releases have been told.

        Raises GatewayUnavailable, GatewayRefused, GatewayAnswerInvalid, GatewayForeign, GatewayForked, Unwitnessed,
        StandsBy, GenerationUnavailable.
        """
        state = await self.link.state()
        self._check_names(state)
        self._check_policy(state)
        self.second.want(state.coins)
        checkpoint = await self._cosigned()
        own = await self._own_checkpoint()
        self._check_turn(state)
        lease = self._lease(state, self._caught_up(verdict()), checkpoint=checkpoint, own_checkpoint=own)
        await self.link.send_lease(sign_lease(lease, self.private_key))
        return lease

    def _caught_up(self, verdict: Verdict) -> Verdict:
        if self.releases.is_at_end:
            return verdict
        waiting = Verdict(ceiling=Ceiling.REDUCE_ONLY, reason="the gateway's journal is still being read")
        return tightest(verdict, waiting)

    def _trigger_value(self, verdict: Verdict) -> str:
        return verdict.figure or self.keeper.trigger_value() if verdict.ceiling is Ceiling.HALTED else ""

    def adopt_ring(self, ring: KeyRing) -> None:
        """Vouch under another ring from now on, and believe what is ordered under it."""
        self.ring = ring
        self.witness.adopt_ring(ring)
        self.releases.adopt_ring(ring)
        self.policies.adopt_ring(ring)

    async def _cosigned(self) -> str:
        try:
            cosigned = await self.witness.cosigned(self.clock)
            self._proofs_left = PROOFS_TRIED
            rungs = await self.releases.read_on()
            if self.releases.is_at_end and self.keeper.began_with_rows is not None:
                told = self.releases.told
                self.keeper.recall(told, is_ours=told is None or await self._has_signed(told))
            if rungs:
                self.keeper.release(rungs)
            if self.releases.high_water:
                self.on_high_water(self.releases.high_water)
                self.releases.high_water = b""
            return cosigned.decode()
        except ForkProven as error:
            words = f"the gateway's journal forked: {error}"
            self.on_fork(words)
            try:
                await self.link.halt(f"journal forked: {error}")
            finally:
                await self._prove(words)
            raise GatewayForked(str(error)) from error
        except JournalError as error:
            raise Unwitnessed(str(error)) from error

    async def _prove(self, words: str) -> None:
        """Prove a fork to others, once: while it lasts it is found at each lease, and a proof reads the whole log."""
        if not self._proofs_left:
            return
        proof = await self._fork_proof()
        self._proofs_left = 0 if proof else self._proofs_left - 1
        self.on_fork_judged(words, proof)

    async def _fork_proof(self) -> bytes:
        """Prove the fork to others; empty when that cannot be done in time, since a halt is all that it takes here."""
        try:
            async with asyncio.timeout(PROOF_WITHIN_S):
                return await self.witness.fork_proof()
        except (TradeError, TimeoutError) as error:
            _log.warning("the fork cannot be proved to others: %s", error or type(error).__name__)
            return b""

    async def _has_signed(self, told: Told) -> bool:
        """Tell whether our own journal holds what we told the gateway last; of another watchdog's nothing is known."""
        if told.checkpoint is None or told.holder != self.holder:
            return True
        return await self.keeper.history.journal.has_signed(told.checkpoint)

    async def _own_checkpoint(self) -> str:
        try:
            return await self.keeper.history.last_signed()
        except JournalError as error:
            raise Unwitnessed(f"the watchdog's own journal cannot be signed: {error}") from error

    def _lease(self, state: GatewayState, verdict: Verdict, *, checkpoint: str, own_checkpoint: str) -> Lease:
        now_ms = self.clock.wall_ns() // NS_PER_MS
        return Lease(
            deployment=self.ring.deployment,
            environment=self.ring.environment,
            account=self.ring.account,
            boot_nonce=state.boot_nonce,
            generation=self.generations.next_above(state.generation),
            ceiling=verdict.ceiling.value,
            scale=format_decimal(verdict.scale),
            second_venue=self.second.venue_name,
            second_prices=self.second.for_lease(signed_at_ms=now_ms),
            checkpoint=checkpoint,
            policy_hash=self.policies.authorised_hash,
            ring_hash=ring_hash(self.ring),
            signed_at_ms=now_ms,
            expires_at_ms=now_ms + LIFETIME_S * 1000,
            holder=self.holder,
            memory_rows=self.keeper.history.journal.size,
            memory_checkpoint=own_checkpoint,
            # Not before we know what was told before: the gateway keeps what it hears last.
            trigger_value=self._trigger_value(verdict),
            peaks=self.keeper.told_peaks() if self.releases.is_at_end else (),
        )

    def _check_turn(self, state: GatewayState) -> None:
        """Stand by while the lease of another watchdog lives, or of one that has our name and is not us."""
        if state.lease_expires_in_s <= 0:
            return
        if state.lease_holder == self.holder and state.generation <= self.generations.value:
            return
        whose = (
            f"watchdog {state.lease_holder} leads" if state.lease_holder != self.holder else "a copy of this one leads"
        )
        raise StandsBy(whose, wait_s=state.lease_expires_in_s)

    def _check_names(self, state: GatewayState) -> None:
        expected = {
            "deployment": self.ring.deployment,
            "environment": self.ring.environment,
            "account": self.ring.account,
            "ring_hash": ring_hash(self.ring),
        }
        differing = [name for name, wanted in expected.items() if getattr(state, name) != wanted]
        if differing:
            raise GatewayForeign("the gateway differs from the pinned ring in: " + ", ".join(differing))

    def _check_policy(self, state: GatewayState) -> None:
        try:
            authorised_hash = self.policies.extend(state.policy_warrants)
        except NotTrusted as error:
            raise GatewayForeign(f"the gateway's policy is not authorised: {error}") from error
        except OSError as error:
            raise GenerationUnavailable(f"the policy warrants cannot be kept: {error.strerror}") from error
        if state.authorised_policy_hash != authorised_hash:
            raise GatewayForeign("the gateway names a policy that no warrant authorised")
