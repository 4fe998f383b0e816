"""What the journal may and may not put in force, row by row."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from gateway.policy.parts import LINEAR_ETH, POLICY, SPOT_BTC
from gateway.policy_parts import LOOSER, MIXED, RING, TIGHTER, begun, changed, policy_warrant, recorded, ring_for, row
from trust_parts import FastKey, touch

from trade_core.errors import ConfigurationError
from trade_core.trust import policy_warrant as policy_warrants
from trade_core.trust.keys import NotTrusted
from trade_core.trust.policy_warrant import policy_subject
from trade_core.trust.ring import ring_hash
from trade_core.trust.signed_warrant import open_warrant
from trade_gateway import policy_history
from trade_gateway.policy.bounds import counts_at
from trade_gateway.policy.limits import policy_hash
from trade_gateway.policy.model import Policy, SymbolKey
from trade_gateway.policy_history import PolicyHistory, warrant_of
from trade_journal.log.rows import RowKind


def in_force(history: PolicyHistory) -> str:
    assert history.current is not None
    return history.current.policy_hash


def test_history_begins_with_the_ring_s_policy_and_no_other() -> None:
    history = PolicyHistory(ring=RING)
    assert not history.begin(LOOSER)
    assert not history.take(recorded(LOOSER))
    assert (history.current, history.is_anchored) == (None, False)
    assert history.begin(POLICY)
    assert (in_force(history), history.is_anchored) == (policy_hash(POLICY), False)
    assert not history.begin(POLICY)


def test_history_takes_the_anchor_and_knows_that_it_is_there() -> None:
    history = begun()
    assert history.is_anchored
    assert history.current is not None
    assert (history.current.authorised_hash, history.current.warrants) == (policy_hash(POLICY), ())
    assert not history.take(recorded(POLICY))


def test_history_takes_a_change_that_only_tightens_and_keeps_what_was_authorised() -> None:
    history = begun()
    history.take(recorded(TIGHTER))
    assert history.take(changed(POLICY, TIGHTER))
    assert history.current is not None
    assert in_force(history) == policy_hash(TIGHTER)
    assert history.current.authorised_hash == policy_hash(POLICY)
    assert not history.take(changed(POLICY, TIGHTER))


@pytest.mark.parametrize("looser", [LOOSER, MIXED])
def test_history_believes_no_row_that_merely_says_that_it_loosens_and_logs_it(
    looser: Policy, caplog: pytest.LogCaptureFixture
) -> None:
    history = begun()
    history.take(recorded(looser))
    assert not history.take(changed(POLICY, looser))
    assert in_force(history) == policy_hash(POLICY)
    assert "a looser policy in the journal is not believed" in caplog.text


@pytest.mark.parametrize("looser", [LOOSER, MIXED])
def test_history_takes_a_looser_policy_by_its_warrant(looser: Policy) -> None:
    history, raw = begun(), policy_warrant(POLICY, looser)
    history.take(recorded(looser))
    assert history.take(changed(POLICY, looser, raw))
    assert history.current is not None
    assert in_force(history) == history.current.authorised_hash == policy_hash(looser)
    assert history.current.warrants == (raw,)


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "release"},
        {"deployment": "d2"},
        {"environment": "live"},
        {"audience": "watchdog"},
        {"account": "1003"},
        {"ring_hash": "other"},
        {"subject": policy_subject(old_hash=policy_hash(TIGHTER), new_hash=policy_hash(LOOSER))},
        {"subject": policy_subject(old_hash=policy_hash(POLICY), new_hash=policy_hash(MIXED))},
    ],
)
def test_history_does_not_believe_a_warrant_of_something_else(change: dict[str, Any]) -> None:
    history = begun()
    history.take(recorded(LOOSER))
    assert not history.take(changed(POLICY, LOOSER, policy_warrant(POLICY, LOOSER, **change)))
    assert in_force(history) == policy_hash(POLICY)


def test_history_does_not_believe_a_warrant_of_another_key() -> None:
    history = begun()
    history.take(recorded(LOOSER))
    genuine = open_warrant(policy_warrant(POLICY, LOOSER), ring=RING).warrant
    assert not history.take(changed(POLICY, LOOSER, touch(genuine, by=[FastKey("stranger")])))


def test_history_believes_warrants_under_another_ring_alone() -> None:
    history, ring = begun(), replace(RING, version=2, previous_hash=ring_hash(RING))
    history.adopt_ring(ring)
    history.take(recorded(LOOSER))
    assert not history.take(changed(POLICY, LOOSER, policy_warrant(POLICY, LOOSER)))
    history.take(recorded(LOOSER))
    assert history.take(changed(POLICY, LOOSER, policy_warrant(POLICY, LOOSER, ring_hash=ring_hash(ring))))
    assert in_force(history) == policy_hash(LOOSER)


def test_history_believes_a_warrant_once_also_when_its_row_is_copied() -> None:
    history, raw = begun(), policy_warrant(POLICY, LOOSER)
    for policy in (LOOSER, POLICY):
        history.take(recorded(policy))
    assert history.take(changed(POLICY, LOOSER, raw))
    assert history.take(changed(LOOSER, POLICY))
    assert not history.take(changed(POLICY, LOOSER, raw))
    assert in_force(history) == policy_hash(POLICY)


def test_history_after_tightening_loosens_only_by_a_warrant_from_there() -> None:
    history = begun()
    for policy in (TIGHTER, POLICY):
        history.take(recorded(policy))
    assert history.take(changed(POLICY, TIGHTER))
    assert not history.take(changed(TIGHTER, POLICY))
    assert not history.take(changed(TIGHTER, POLICY, policy_warrant(POLICY, LOOSER)))
    assert history.take(changed(TIGHTER, POLICY, policy_warrant(TIGHTER, POLICY)))


def test_history_undoes_a_change_that_was_voided_while_it_was_written() -> None:
    history, raw = begun(), policy_warrant(POLICY, MIXED)
    history.take(recorded(MIXED))
    assert history.take(changed(POLICY, MIXED, raw))
    subject = policy_subject(old_hash=policy_hash(POLICY), new_hash=policy_hash(MIXED))
    assert not history.take(row(RowKind.RELEASE_VOIDED, {"subject": "latch:3"}))
    assert history.take(row(RowKind.RELEASE_VOIDED, {"subject": subject}))
    assert history.current is not None
    assert (in_force(history), history.current.authorised_hash) == (policy_hash(POLICY), policy_hash(POLICY))
    assert history.current.warrants == ()
    assert not history.take(row(RowKind.RELEASE_VOIDED, {"subject": subject}))
    assert not history.take(changed(POLICY, MIXED, raw))


def test_history_void_of_something_else_does_not_undo_a_tightening() -> None:
    history = begun()
    history.take(recorded(TIGHTER))
    history.take(changed(POLICY, TIGHTER))
    subject = policy_subject(old_hash=policy_hash(POLICY), new_hash=policy_hash(TIGHTER))
    assert not history.take(row(RowKind.RELEASE_VOIDED, {"subject": subject}))
    assert in_force(history) == policy_hash(TIGHTER)


def test_history_void_undoes_the_newest_change_only() -> None:
    history = begun()
    for policy in (LOOSER, TIGHTER):
        history.take(recorded(policy))
    assert history.take(changed(POLICY, LOOSER, policy_warrant(POLICY, LOOSER)))
    assert history.take(changed(LOOSER, TIGHTER))
    for after in (LOOSER, TIGHTER):
        subject = policy_subject(old_hash=policy_hash(POLICY), new_hash=policy_hash(after))
        assert not history.take(row(RowKind.RELEASE_VOIDED, {"subject": subject}))
    assert in_force(history) == policy_hash(TIGHTER)


def test_history_void_undoes_one_of_two_warrants_and_once() -> None:
    looser_still, first = replace(LOOSER, leverage=4), policy_warrant(POLICY, LOOSER)
    history = begun()
    for policy in (LOOSER, looser_still):
        history.take(recorded(policy))
    assert history.take(changed(POLICY, LOOSER, first))
    assert history.take(changed(LOOSER, looser_still, policy_warrant(LOOSER, looser_still)))
    for old, new, is_undone in [(LOOSER, looser_still, True), (LOOSER, looser_still, False), (POLICY, LOOSER, False)]:
        subject = policy_subject(old_hash=policy_hash(old), new_hash=policy_hash(new))
        assert history.take(row(RowKind.RELEASE_VOIDED, {"subject": subject})) is is_undone
    assert history.current is not None
    assert (in_force(history), history.current.warrants) == (policy_hash(LOOSER), (first,))


def test_history_that_lacks_a_content_or_its_beginning_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="does not hold its content"):
        begun().take(changed(POLICY, TIGHTER))
    with pytest.raises(ConfigurationError, match="never recorded"):
        PolicyHistory(ring=RING).take(changed(POLICY, TIGHTER))
    history = begun()
    history.take(row(RowKind.POLICY_RECORDED, {"hash": policy_hash(TIGHTER), "content": ["{}"]}))
    with pytest.raises(ConfigurationError, match="is not that of"):
        history.take(changed(POLICY, TIGHTER))


@pytest.mark.parametrize("parts", [None, 7, "{}"])
def test_history_takes_what_is_no_list_of_parts_for_no_content(parts: Any) -> None:
    history = begun()
    assert not history.take(row(RowKind.POLICY_RECORDED, {"hash": policy_hash(TIGHTER), "content": parts}))
    with pytest.raises(ConfigurationError, match="is not that of"):
        history.take(changed(POLICY, TIGHTER))


def test_history_whose_anchor_is_recorded_again_and_cannot_be_read_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="is not that of"):
        begun().take(row(RowKind.POLICY_RECORDED, {"hash": policy_hash(POLICY), "content": ["{}"]}))


def test_history_reads_the_policy_of_a_load_test_with_its_bounds_only() -> None:
    policy = replace(POLICY, max_open_orders=500)
    ring = ring_for(policy)
    with pytest.raises(ConfigurationError, match="max_open_orders"):
        PolicyHistory(ring=ring).take(recorded(policy))
    history = PolicyHistory(ring=ring, counts=counts_at(51))
    history.take(recorded(policy))
    assert in_force(history) == policy_hash(policy)


def without(*keys: SymbolKey) -> Policy:
    return replace(POLICY, symbols={key: limits for key, limits in POLICY.symbols.items() if key not in keys})


def test_history_knows_the_symbols_that_are_traded_no_more() -> None:
    fewer = without(LINEAR_ETH)
    history = begun()
    for policy in (fewer, POLICY):
        history.take(recorded(policy))
    assert history.former_symbols == frozenset()
    history.take(changed(POLICY, fewer))
    assert history.former_symbols == {LINEAR_ETH}
    history.take(changed(fewer, POLICY, policy_warrant(fewer, POLICY)))
    assert history.former_symbols == frozenset()


def test_history_knows_the_symbols_of_a_change_that_was_voided() -> None:
    fewer = without(LINEAR_ETH)
    history = PolicyHistory(ring=replace(RING, policy_hash=policy_hash(fewer)))
    for policy in (fewer, POLICY):
        history.take(recorded(policy))
    raw = policy_warrant(fewer, POLICY, ring_hash=ring_hash(replace(RING, policy_hash=policy_hash(fewer))))
    assert history.take(changed(fewer, POLICY, raw))
    subject = policy_subject(old_hash=policy_hash(fewer), new_hash=policy_hash(POLICY))
    assert history.take(row(RowKind.RELEASE_VOIDED, {"subject": subject}))
    assert history.former_symbols == {LINEAR_ETH}


def test_history_forgets_the_symbols_that_were_dropped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy_history.MAX_FORMER_SYMBOLS == 200
    monkeypatch.setattr(policy_history, "MAX_FORMER_SYMBOLS", 1)
    first, second = without(SPOT_BTC), without(SPOT_BTC, LINEAR_ETH)
    history = begun()
    for old, new, former in [(POLICY, first, SPOT_BTC), (first, second, LINEAR_ETH)]:
        history.take(recorded(new))
        history.take(changed(old, new))
        assert history.former_symbols == {former}


def test_history_refuses_more_warrants_than_a_state_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_history, "MAX_POLICY_WARRANTS", 0)
    assert policy_warrants.MAX_POLICY_WARRANTS == 64
    with pytest.raises(NotTrusted, match="new deployment"):
        begun().authorised_step(policy_warrant(POLICY, LOOSER), new_hash=policy_hash(LOOSER))


def test_history_that_has_not_begun_authorises_no_step() -> None:
    with pytest.raises(NotTrusted, match="does not lead from the policy in force"):
        PolicyHistory(ring=RING).authorised_step(policy_warrant(POLICY, LOOSER), new_hash=policy_hash(LOOSER))


def test_history_passes_over_rows_of_other_kinds() -> None:
    history = begun()
    assert not history.take(row(RowKind.ORDER_DENIED, {"new_hash": policy_hash(LOOSER)}))
    assert in_force(history) == policy_hash(POLICY)


def test_history_remembers_what_was_announced() -> None:
    history = begun()
    assert not history.take(row(RowKind.RELEASE_ANNOUNCED, {"subject": "x", "nonce": "n1"}))
    assert history.is_announced("n1")
    assert not history.is_announced("n2")


def test_history_of_another_ring_believes_nothing() -> None:
    history = PolicyHistory(ring=replace(ring_for(), policy_hash=policy_hash(TIGHTER)))
    assert not history.take(recorded(POLICY))
    assert not history.begin(POLICY)


@pytest.mark.parametrize(("later", "is_remembered"), [(7, True), (8, False)])
def test_history_remembers_eight_contents_that_no_change_named(later: int, *, is_remembered: bool) -> None:
    history = begun()
    history.take(recorded(TIGHTER))
    for number in range(later):
        history.take(recorded(replace(POLICY, duplicate_window_s=20 + number)))
    if is_remembered:
        assert history.take(changed(POLICY, TIGHTER))
    else:
        with pytest.raises(ConfigurationError, match="does not hold its content"):
            history.take(changed(POLICY, TIGHTER))


@pytest.mark.parametrize("value", [None, "text", ["!!"], ["a"], ["YQ==", "!"], ["\nYQ=="]])
def test_warrant_of_a_row_without_one_is_empty(value: Any) -> None:
    assert warrant_of({"warrant": value}) == b""


def test_looser_and_tighter_are_what_they_are_called() -> None:
    assert TIGHTER.collar < POLICY.collar == Decimal("0.003")
