"""Who may write what: every kind belongs to exactly one."""

from __future__ import annotations

from trade_journal.log.rows import RowKind
from trade_journal.writer.peers import (
    CONNECTIONS_BY_PEER,
    ELSEWHERE_KINDS,
    KINDS_BY_PEER,
    PENDING_ROWS_BY_PEER,
    WRITERS_OWN_KINDS,
    Peer,
)
from trade_journal.writer.writer import PENDING_ROWS_MAX


def test_every_kind_belongs_to_exactly_one_peer_the_writer_or_another_journal() -> None:
    for kind in RowKind:
        owners = [peer for peer in Peer if kind in KINDS_BY_PEER[peer]]
        assert len(owners) + (kind in WRITERS_OWN_KINDS) + (kind in ELSEWHERE_KINDS) == 1, kind


def test_shim_writes_trades_and_what_a_person_says_of_them_and_of_incidents() -> None:
    assert {kind.value for kind in KINDS_BY_PEER[Peer.SHIM]} == {
        "swing_trade:opened",
        "swing_trade:changed",
        "swing_trade:closed",
        "swing_trade:lesson",
        "incident:mitigated",
    }


def test_every_peer_has_its_bounds_and_together_they_fit_the_writer() -> None:
    assert KINDS_BY_PEER.keys() == CONNECTIONS_BY_PEER.keys() == PENDING_ROWS_BY_PEER.keys() == set(Peer)
    assert sum(PENDING_ROWS_BY_PEER.values()) <= PENDING_ROWS_MAX
    assert CONNECTIONS_BY_PEER[Peer.GATEWAY] == 1
