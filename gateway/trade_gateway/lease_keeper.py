"""Keeps the watchdog's lease: what must fit before one counts, and how long it lives.

Guarantees
- Only a lease signed by the ring's lease key, for this deployment, environment, account, boot, policy and ring,
  with a generation above the last one, counts; and only as long as that policy is the authorised one.
- While the lease of one holder lives, another's is refused, whatever it says: two watchdogs do not push against each
  other, and the one that stands by leads once the other's lease has expired.
- It lives until its own expiry or 30 s after receipt on the monotonic clock, whichever is sooner.
- A restart forgets the lease: the boot nonce is new, so an old one cannot be replayed.
- Its checkpoint must be one that this gateway's journal signed just now; see `witnessed_log`. What it says of its
  watchdog's own journal must not contradict what was said before; see `watchdog_log`.
- Second prices count only when the lease that brought them does; see `second_prices`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from trade_core.clock import NS_PER_MS, NS_PER_S, Clock
from trade_core.errors import InvalidNumber
from trade_core.money import parse_decimal
from trade_core.trust.keys import NotTrusted
from trade_core.trust.lease import MAX_LIFETIME_S, Lease, open_lease
from trade_core.trust.ring import KeyRing, ring_hash
from trade_gateway.second_prices import SecondPrices
from trade_gateway.watchdog_log import WatchdogLog
from trade_gateway.witnessed_log import WitnessedLog
from trade_journal.log.ring_keys import watchdog_log_name


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A lease that counts until `dies_at_ns` (monotonic); `rows` of this journal the watchdog had seen when signing."""

    lease: Lease
    rows: int
    received_at_ns: int
    dies_at_ns: int


class LeaseKeeper:
    """Verifies leases against the pinned ring and remembers the last one that counted."""

    def __init__(
        self, *, ring: KeyRing, policy_hash: str, boot_nonce: str, clock: Clock, witnessed: WitnessedLog
    ) -> None:
        self._ring = ring
        self._ring_hash = ring_hash(ring)
        self.policy_hash = policy_hash  # the authorised one: what tightens it further is the gateway's own affair
        self._clock = clock
        self.boot_nonce = boot_nonce
        self.witnessed = witnessed
        self.held: HeldLease | None = None
        self.second = SecondPrices()
        self.watchdog_log = WatchdogLog(origin=watchdog_log_name(ring))

    def accept(self, raw: bytes) -> Lease:
        """Verify a signed lease and hold it.

        Raises NotTrusted, LogForked and WatchdogForked among it; the lease held before stays.
        """
        lease = open_lease(raw, lease_key=self._ring.lease_key)
        self._check_names(lease)
        if lease.generation <= self.generation:
            raise NotTrusted(f"lease: generation {lease.generation} does not rise above {self.generation}")
        self._check_holder(lease)
        _check_scale(lease.scale)
        wall_ns = self._clock.wall_ns()
        left_ns = lease.expires_at_ms * NS_PER_MS - wall_ns
        if left_ns <= 0:
            raise NotTrusted(f"lease: expired {-left_ns // NS_PER_MS} ms ago")
        checkpoint = self.witnessed.judge(lease.checkpoint)
        self.watchdog_log.judge(lease)
        now_ns = self._clock.monotonic_ns()
        dies_at_ns = now_ns + min(left_ns, MAX_LIFETIME_S * NS_PER_S)
        self.held = HeldLease(lease=lease, rows=checkpoint.size, received_at_ns=now_ns, dies_at_ns=dies_at_ns)
        self.witnessed.take(checkpoint)
        self.second.take(lease, wall_ns=wall_ns, monotonic_ns=now_ns)
        return lease

    def adopt_ring(self, ring: KeyRing) -> None:
        """Believe leases under another ring; the held one was given under the one before, and counts no more."""
        self._ring, self._ring_hash = ring, ring_hash(ring)
        if self.held is not None:
            self.held = replace(self.held, dies_at_ns=self._clock.monotonic_ns())

    def _check_holder(self, lease: Lease) -> None:
        if self.held is not None and self.held.lease.holder != lease.holder and self.is_fresh():
            left_s = self.expires_in_s()
            raise NotTrusted(
                f"lease: another watchdog, {self.held.lease.holder}, leads; its lease lives {left_s:.1f} s"
            )

    @property
    def generation(self) -> int:
        """The generation of the last lease that counted; 0 before the first."""
        return self.held.lease.generation if self.held is not None else 0

    @property
    def scale(self) -> Decimal:
        """The size factor of the last lease that counted; one before the first, when nothing adds risk anyway."""
        return parse_decimal(self.held.lease.scale) if self.held is not None else Decimal(1)

    def is_fresh(self) -> bool:
        """Tell whether a lease counts at this moment, on both clocks."""
        if self.held is None or self._clock.monotonic_ns() >= self.held.dies_at_ns:
            return False
        if self.held.lease.policy_hash != self.policy_hash:
            return False  # given for another policy: the watchdog has not seen the warrant of this one yet
        # The wall clock can only shorten a lease: set forward it expires, set back the monotonic bound holds.
        return self._clock.wall_ns() < self.held.lease.expires_at_ms * NS_PER_MS

    def age_s(self) -> float | None:
        """Seconds since the last lease arrived, or None before the first."""
        if self.held is None:
            return None
        return (self._clock.monotonic_ns() - self.held.received_at_ns) / NS_PER_S

    def expires_in_s(self) -> float:
        """Seconds that the held lease still lives; 0 when none does."""
        if self.held is None or not self.is_fresh():
            return 0.0
        return (self.held.dies_at_ns - self._clock.monotonic_ns()) / NS_PER_S

    def _check_names(self, lease: Lease) -> None:
        expected = {
            "deployment": self._ring.deployment,
            "environment": self._ring.environment,
            "account": self._ring.account,
            "boot_nonce": self.boot_nonce,
            "policy_hash": self.policy_hash,
            "ring_hash": self._ring_hash,
        }
        for name, wanted in expected.items():
            if getattr(lease, name) != wanted:
                raise NotTrusted(f"lease: {name} is not this gateway's")


def _check_scale(text: str) -> None:
    try:
        scale = parse_decimal(text)
    except InvalidNumber:
        raise NotTrusted("lease: scale is not a plain decimal number") from None
    if not 0 < scale <= 1:
        raise NotTrusted("lease: scale is not above 0 and at most 1")
