"""Who may write what: each peer of the journal writer has a socket of its own, and kinds of its own. Pure.

Guarantees
- A kind belongs to exactly one writer of rows: one peer, the journal writer itself, or another journal. A test holds
  that of every kind.
- What is not named for a peer is refused, so that a kind that is new belongs to nobody until somebody decides it.
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
        RowKind.KILL_REQUESTED,
    },
)
ELSEWHERE_KINDS: Final = WATCHDOG_KINDS | EXECUTOR_KINDS
KINDS_BY_PEER: Final[Mapping[Peer, frozenset[RowKind]]] = {
    Peer.GATEWAY: frozenset(RowKind) - SHIM_KINDS - WRITERS_OWN_KINDS - ELSEWHERE_KINDS,
    Peer.SHIM: SHIM_KINDS,
}
# The gateway is one process: a second one would trade on what it cannot know.
CONNECTIONS_BY_PEER: Final[Mapping[Peer, int]] = {Peer.GATEWAY: 1, Peer.SHIM: 4}
# Together within what the writer's queue takes, so that no peer can use up the room of another.
PENDING_ROWS_BY_PEER: Final[Mapping[Peer, int]] = {Peer.GATEWAY: 7680, Peer.SHIM: 512}
