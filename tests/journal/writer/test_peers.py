"""Who may write what: every kind belongs to exactly one."""

from __future__ import annotations

import pytest

from trade_journal.log.rows import RowKind
from trade_journal.writer.peers import (
    CONNECTIONS_BY_PEER,
    ELSEWHERE_KINDS,
    EXECUTOR_KINDS,
    GATEWAY_KINDS,
    KINDS_BY_PEER,
    PENDING_ROWS_BY_PEER,
    SHIM_KINDS,
    WATCHDOG_KINDS,
    WRITERS_OWN_KINDS,
    Peer,
)
from trade_journal.writer.writer import PENDING_ROWS_MAX

# The sets together must be all kinds, which says something of a new kind only while none of them is made of the others.
EVERY_SET = [GATEWAY_KINDS, SHIM_KINDS, WRITERS_OWN_KINDS, WATCHDOG_KINDS, EXECUTOR_KINDS]
NOT_FOR_THE_GATEWAY = {"kill", "standing_warrant", "console", "sweep", "equity", "rung", "action", "swing_trade"}


def test_every_kind_belongs_to_exactly_one_peer_the_writer_or_another_journal() -> None:
    for kind in RowKind:
        assert sum(kind in kinds for kinds in EVERY_SET) == 1, kind
    assert ELSEWHERE_KINDS == WATCHDOG_KINDS | EXECUTOR_KINDS
    assert {Peer.GATEWAY: GATEWAY_KINDS, Peer.SHIM: SHIM_KINDS} == KINDS_BY_PEER


@pytest.mark.parametrize("kind", [kind for kind in RowKind if kind.value.partition(":")[0] in NOT_FOR_THE_GATEWAY])
def test_gateway_may_not_write_what_executor_console_watchdog_and_shim_say(kind: RowKind) -> None:
    assert kind not in KINDS_BY_PEER[Peer.GATEWAY]


def test_gateways_kinds_are_named_and_not_what_is_left_over(pytestconfig: pytest.Config) -> None:
    source = (pytestconfig.rootpath / "journal/trade_journal/writer/peers.py").read_text()
    assert "frozenset(RowKind)" not in source


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
