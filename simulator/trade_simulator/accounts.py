"""Accounts: who they are, what they own, what is locked."""

from dataclasses import dataclass, field
from decimal import Decimal

from trade_simulator.records import MarginMode


@dataclass(slots=True, kw_only=True)
class Account:
    """One member: a master (parent_uid "") or a sub-account."""

    uid: str
    parent_uid: str
    name: str
    created_at_ms: int
    is_frozen: bool = False
    margin_mode: MarginMode = MarginMode.REGULAR
    is_hedge_mode: bool = False
    # Unified and funding wallets: coin to balance.
    balances: dict[str, Decimal] = field(default_factory=dict)
    funding_balances: dict[str, Decimal] = field(default_factory=dict)

    @property
    def is_master(self) -> bool:
        """Tell whether this is a master account."""
        return not self.parent_uid
