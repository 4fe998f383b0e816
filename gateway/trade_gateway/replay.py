"""What the journal's rows tell a gateway at its start beside its orders: log, watchdog, key rings and policy."""

from __future__ import annotations

from contextlib import suppress

from trade_core.errors import ConfigurationError
from trade_core.trust.keys import NotTrusted
from trade_core.trust.log_warrant import FIRST_LOG
from trade_core.trust.ring_book import ring_named
from trade_core.trust.signed_warrant import open_warrant
from trade_gateway.account.activity import ActivityLimits
from trade_gateway.limits_view import (
    require_bounded_loss,
)
from trade_gateway.parts import Parts
from trade_gateway.policy_file import look_at, usable_policy
from trade_gateway.policy_history import InForce, warrant_of
from trade_journal.log.log_succession import check_succession
from trade_journal.log.ring_keys import gateway_log_keys
from trade_journal.log.rows import Row, RowKind


class Replay:
    """Takes the rows in their order, and then answers the policy to begin with."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._log_number = FIRST_LOG

    def take(self, row: Row) -> None:
        """Take the next row. Raises ConfigurationError for a new log that nobody has ordered."""
        parts = self._parts
        if "warrant" in row.fields:
            self._adopt_ring_of(row)
        if row.kind is RowKind.LOG_SUCCEEDED:
            try:
                self._log_number = check_succession(row, ring=parts.ring, number=self._log_number).number
            except NotTrusted as error:
                raise ConfigurationError(f"the journal goes on in a new log that nobody has ordered: {error}") from None
            parts.witnessed.follow(gateway_log_keys(parts.ring, number=self._log_number).log)
        if row.kind is RowKind.WATCHDOG_REMEMBERED:
            parts.states.lease.watchdog_log.replay(row.fields)
        if row.kind is RowKind.RING_CHANGED:
            ring = ring_named(parts.rings.book, str(row.fields.get("new_hash"))) or parts.rings.recover(row.fields)
            if ring is not None:
                parts.adopt_ring(ring)  # what follows was ordered under it
        self._take_policy(row)

    def begin_policy(self) -> InForce:
        """Return the policy that the journal tells, or at the first start the file's, if the ring names it."""
        parts = self._parts
        path = parts.settings.policy_file
        current = parts.history.current
        if current is None:
            try:
                policy = usable_policy(look_at(path), counts=parts.history.counts)
            except ConfigurationError as error:
                raise ConfigurationError(f"{path}: {error}") from error
            if not parts.history.begin(policy):
                raise ConfigurationError(
                    f"{path}: is not the policy that the key ring names, and the journal does not hold that one yet"
                )
            current = parts.policies.in_force
        require_bounded_loss(current.policy)
        return current

    def _adopt_ring_of(self, row: Row) -> None:
        """Go on to the ring that a row's warrant names, where the row of that ring is among those that were lost."""
        parts = self._parts
        raw, rings = warrant_of(row.fields), parts.rings.book.rings
        for ring in rings[rings.index(parts.ring) + 1 :]:
            with suppress(NotTrusted):
                open_warrant(raw, ring=ring)
                parts.adopt_ring(ring)

    def _take_policy(self, row: Row) -> None:
        parts = self._parts
        if parts.history.take(row) and parts.history.current is not None:
            # Fills of that time are counted by the limits of that time.
            parts.activity.limit(ActivityLimits.of(parts.history.current.policy))
