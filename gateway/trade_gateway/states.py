"""Who holds the gateway back, and how far: four holders, the most restrictive one wins.

Guarantees
- Without a fresh lease the state is REDUCE_ONLY or worse, asked at the moment of each decision.
- The operator latch only tightens, but for `release`, which only the state keeper calls, with a warrant in hand.
- Own faults come and go by themselves and never go beyond REDUCE_ONLY.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from trade_gateway.policy.trading_state import TradingState

_ACTIVE, _REDUCE_ONLY = TradingState.ACTIVE, TradingState.REDUCE_ONLY  # looked up several times an order otherwise


class Holder(Enum):
    """Who may hold the trading state down."""

    OPERATOR_LATCH = "operator_latch"
    WATCHDOG_CEILING = "watchdog_ceiling"
    LEASE = "lease"
    OWN_FAULTS = "own_faults"


class Fault(Enum):
    """What the gateway finds wrong with itself; each denies new risk until it is gone. The value is its reason."""

    KEY_UNVERIFIED = "the exchange key has not been checked yet"
    INSTRUMENTS_MISSING = "the exchange's instrument filters are not known"
    ACCOUNT_UNTRUSTED = "the account view is not trusted"
    REFERENCES_STALE = "a reference price is missing or stale"
    ORDERS_UNRECONCILED = "orders from before the restart are not reconciled yet"
    FEES_UNPROVED = "the exchange's fees are not known to be within highest_fee"
    LOSS_UNBOUNDED = "the hostile loss is not known to be within the rungs"
    SETTINGS_UNPINNED = "leverage, margin or position mode is not confirmed by the exchange"
    JOURNAL_UNWRITABLE = "the journal cannot be written"
    POLICY_FILE = "the policy file is missing or cannot be used"
    CLOCK_LEAPT = "the machine's clock leapt and is not trusted yet"
    SECURITY_KEYS_FEW = "fewer than two security keys are enrolled, so that nobody could release or kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One holder's present ceiling. `since_ns` is UTC."""

    ceiling: TradingState
    reason: str
    since_ns: int


class StateBoard:
    """The four holders. The lease's freshness is passed in by who asks, since it changes with time alone."""

    def __init__(self, *, at_ns: int) -> None:
        self._latch = Hold(ceiling=TradingState.ACTIVE, reason="", since_ns=at_ns)
        self._watchdog = Hold(ceiling=TradingState.REDUCE_ONLY, reason="no lease received yet", since_ns=at_ns)
        self._faults: dict[Fault, int] = {}
        self._details: dict[Fault, str] = {}

    def latch(self, ceiling: TradingState, *, reason: str, at_ns: int) -> bool:
        """Tighten the operator latch. Returns whether it changed; a looser ceiling changes nothing."""
        if ceiling <= self._latch.ceiling:
            return False
        self._latch = Hold(ceiling=ceiling, reason=reason, since_ns=at_ns)
        return True

    def release(self, *, at_ns: int) -> None:
        """Lift the operator latch."""
        self._latch = Hold(ceiling=TradingState.ACTIVE, reason="", since_ns=at_ns)

    def set_watchdog_ceiling(self, ceiling: TradingState, *, reason: str, at_ns: int) -> bool:
        """Take over the ceiling of a valid lease. Returns whether it changed."""
        if ceiling is self._watchdog.ceiling:
            return False
        self._watchdog = Hold(ceiling=ceiling, reason=reason, since_ns=at_ns)
        return True

    def raise_fault(self, fault: Fault, *, at_ns: int) -> bool:
        """Note a fault. Returns whether it is new."""
        if fault in self._faults:
            return False
        self._faults[fault] = at_ns
        return True

    def has_fault(self, fault: Fault) -> bool:
        """Tell whether a fault is there."""
        return fault in self._faults

    def clear_fault(self, fault: Fault) -> bool:
        """Note that a fault is gone. Returns whether it was there."""
        return self._faults.pop(fault, None) is not None

    def explain_fault(self, fault: Fault, detail: str) -> None:
        """Say more of a fault. It stands in the reason, also where the fault itself holds nothing back."""
        if detail:
            self._details[fault] = detail
        else:
            self._details.pop(fault, None)

    def holds(self, *, is_lease_fresh: bool, lease_lapsed_at_ns: int) -> dict[Holder, Hold]:
        """Return every holder's ceiling with its reason."""
        own = min(self._faults.values(), default=0)
        return {
            Holder.OPERATOR_LATCH: self._latch,
            Holder.WATCHDOG_CEILING: self._watchdog,
            Holder.LEASE: Hold(
                ceiling=TradingState.ACTIVE if is_lease_fresh else TradingState.REDUCE_ONLY,
                reason="" if is_lease_fresh else "no fresh lease from the watchdog",
                since_ns=lease_lapsed_at_ns,
            ),
            Holder.OWN_FAULTS: Hold(
                ceiling=TradingState.REDUCE_ONLY if self._faults else TradingState.ACTIVE,
                reason="; ".join(sorted(map(self._told, self._faults.keys() | self._details.keys()))),
                since_ns=own,
            ),
        }

    def _told(self, fault: Fault) -> str:
        return f"{fault.value}: {self._details[fault]}" if fault in self._details else fault.value

    def effective(self, *, is_lease_fresh: bool) -> TradingState:
        """Return the most restrictive ceiling of all holders."""
        lease = _ACTIVE if is_lease_fresh else _REDUCE_ONLY
        own = _REDUCE_ONLY if self._faults else _ACTIVE
        return max(self._latch.ceiling, self._watchdog.ceiling, lease, own)


class HaltBell:
    """A halt that counts before the event loop has latched it. Rung from one other thread, heard in the event loop.

    It rings until it has been heard as often as it was rung: hearing follows latching, so that there is no moment
    between the two in which neither counts.
    """

    __slots__ = ("_heard", "_rung")

    def __init__(self) -> None:
        self._rung = 0
        self._heard = 0

    @property
    def is_ringing(self) -> bool:
        """Tell whether a halt counts that is not latched yet."""
        return self._rung != self._heard

    def ring(self) -> None:
        """Halt, from now on."""
        self._rung += 1

    def hear(self) -> None:
        """Note that the halt of one ringing is latched."""
        self._heard += 1
