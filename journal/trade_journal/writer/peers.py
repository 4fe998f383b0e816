"""Who may write what: each peer of the journal writer has a socket of its own, and kinds of its own. Pure.

Guarantees
- A kind belongs to exactly one writer of rows: one peer, the journal writer itself, or another journal. A test holds
  that of every kind.
- Every set is a list of names, so that a kind that is new belongs to nobody, and is refused, until somebody decides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, unique
from typing import Final

from trade_journal.log.rows import RowKind


@unique
class Peer(Enum):
    """Whose rows they are; the value is their actor."""

    GATEWAY = "gateway"
    SHIM = "shim"


# Kind by kind, never "all but": what is new is the gateway's only when it is named here.
GATEWAY_KINDS: Final = frozenset(
    {
        RowKind.PROCESS_STARTED,
        RowKind.PROCESS_STOPPED,
        RowKind.CONFIG_LOADED,
        RowKind.KEY_VERIFIED,
        RowKind.KEY_REFUSED,
        RowKind.STATE_CHANGED,
        RowKind.RELEASE_ANNOUNCED,
        RowKind.RELEASE_VOIDED,
        RowKind.RELEASE_REFUSED,
        RowKind.RING_ANNOUNCED,
        RowKind.RING_CHANGED,
        RowKind.RING_VOIDED,
        RowKind.RING_REFUSED,
        RowKind.POLICY_RECORDED,
        RowKind.POLICY_CHANGED,
        RowKind.POLICY_REFUSED,
        RowKind.BASELINE_TAKEN,
        RowKind.LEASE_GAINED,
        RowKind.LEASE_LOST,
        RowKind.LEASE_REFUSED,
        RowKind.WATCHDOG_REMEMBERED,
        RowKind.ORDER_INTENT,
        RowKind.ORDER_DENIED,
        RowKind.ORDER_OUTCOME,
        RowKind.ORDER_RESOLVED,
        RowKind.ORDER_FILLED,
        RowKind.ORDER_CANCELED_BY_GATEWAY,
        RowKind.DISASTER_STOP_INTENT,
        RowKind.DISASTER_STOP_OUTCOME,
        RowKind.DISASTER_STOP_RESOLVED,
        RowKind.DISASTER_STOP_FILLED,
        RowKind.THROTTLE_TRIPPED,
        RowKind.THROTTLE_REARMED,
        RowKind.ACCOUNT_TRUSTED,
        RowKind.ACCOUNT_DISTRUSTED,
        RowKind.REFERENCE_KEPT,
        RowKind.INSTRUMENT_KEPT,
        RowKind.CANCEL_INTENT,
        RowKind.CANCEL_ANSWERED,
        RowKind.CANCEL_OUTCOME,
        RowKind.READ_FORWARDED,
        RowKind.READ_ANSWERED,
        RowKind.READ_FAILED,
        RowKind.PIN_ANSWERED,
        RowKind.REQUEST_DENIED,
        RowKind.REQUEST_COUNTED,
        RowKind.STREAM_OPENED,
        RowKind.STREAM_DENIED,
        RowKind.INCIDENT_OPENED,
    },
)
SHIM_KINDS: Final = frozenset(
    {
        RowKind.SWING_TRADE_OPENED,
        RowKind.SWING_TRADE_CHANGED,
        RowKind.SWING_TRADE_CLOSED,
        RowKind.SWING_TRADE_LESSON,
        RowKind.INCIDENT_MITIGATED,
    },
)
# The second is written once, by the command that begins a new log, before any writer opens it.
WRITERS_OWN_KINDS: Final = frozenset({RowKind.JOURNAL_RECOVERED, RowKind.LOG_SUCCEEDED})
# Of journals that other services write: no peer of the gateway's journal may.
WATCHDOG_KINDS: Final = frozenset(
    {
        RowKind.CAPITAL_MOVEMENT_RECORDED,
        RowKind.EQUITY_SAMPLED,
        RowKind.EQUITY_FLOWED,
        RowKind.EQUITY_ABSORBED,
        RowKind.RUNG_FIRED,
        RowKind.RUNG_CLEARED,
        RowKind.RUNG_ACKNOWLEDGED,
        RowKind.RUNG_REBASED,
        RowKind.ACTION_DONE,
        RowKind.RECONCILIATION_RECORDED,
        RowKind.ACTION_FAILED,
    },
)
EXECUTOR_KINDS: Final = frozenset(
    {
        RowKind.SWEEP_STARTED,
        RowKind.SWEEP_ROUND,
        RowKind.SWEEP_PENDING,
        RowKind.SWEEP_PROVED,
        RowKind.FLATTEN_STARTED,
        RowKind.FLATTEN_ENDED,
        RowKind.KILL_REQUESTED,
        RowKind.CONSOLE_SIGNED_IN,
        RowKind.CONSOLE_REFUSED,
        RowKind.CONSOLE_ACTED,
        RowKind.KILL_ORDERED,
        RowKind.KILL_STEP,
        RowKind.KILL_KEYS_LISTED,
        RowKind.KILL_REPORTED,
        RowKind.KILL_JUDGED,
        RowKind.OWN_SAMPLES_REBASED,
        RowKind.STANDING_WARRANT_ARMED,
        RowKind.STANDING_WARRANT_DISARMED,
    },
)
ELSEWHERE_KINDS: Final = WATCHDOG_KINDS | EXECUTOR_KINDS
KINDS_BY_PEER: Final[Mapping[Peer, frozenset[RowKind]]] = {
    Peer.GATEWAY: GATEWAY_KINDS,
    Peer.SHIM: SHIM_KINDS,
}
# The gateway is one process: a second one would trade on what it cannot know.
CONNECTIONS_BY_PEER: Final[Mapping[Peer, int]] = {Peer.GATEWAY: 1, Peer.SHIM: 4}
# Together within what the writer's queue takes, so that no peer can use up the room of another.
PENDING_ROWS_BY_PEER: Final[Mapping[Peer, int]] = {Peer.GATEWAY: 7680, Peer.SHIM: 512}
