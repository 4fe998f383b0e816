"""Second prices: what another venue says that coins are worth, as the watchdog's lease brought it.

Guarantees
- A price is as old as the worst case: its age when the lease was signed, or by our own clock when the lease arrived,
  whichever is more, and from then on the monotonic clock. No later lease makes an old observation young.
- Each lease replaces all that the one before it brought: a price that the watchdog left out is gone.
- Once a lease has named a venue, second prices stay expected until a restart, so that a watchdog which drops them is
  seen. What their absence means is decided in `policy.references`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from trade_core.clock import NS_PER_MS
from trade_core.money import parse_decimal
from trade_core.trust.lease import NO_VENUE, Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivedPrice:
    """A price in USDT and when it was true, on our monotonic clock."""

    price: Decimal
    at_ns: int


class SecondPrices:
    """The second prices of the last lease that counted."""

    def __init__(self) -> None:
        self.venue: str | None = None
        self.prices: Mapping[str, ArrivedPrice] = {}

    def take(self, lease: Lease, *, wall_ns: int, monotonic_ns: int) -> None:
        """Take over what a verified lease brought. The times are those of its arrival."""
        if lease.second_venue != NO_VENUE:
            self.venue = lease.second_venue
        latest_ms = max(lease.signed_at_ms, wall_ns // NS_PER_MS)
        self.prices = {
            seen.coin: ArrivedPrice(
                price=parse_decimal(seen.price), at_ns=monotonic_ns - (latest_ms - seen.seen_at_ms) * NS_PER_MS
            )
            for seen in lease.second_prices
        }
