"""The key sentinel: what it says of each key, at, inside and beyond what is expected."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from trade_watchdog.audit.key_inventory import (
    ADDRESSES_MAX,
    ExpectedKey,
    KeyAlarm,
    KeyFinding,
    KeyRole,
    ListedKey,
    changed_keys,
    examine_keys,
    mark_of,
)

TRADING = {"ContractTrade": frozenset({"Order", "Position"}), "Spot": frozenset({"SpotTrade"})}
ORDER = ListedKey(
    key="ord1",
    is_read_only=False,
    permissions={**TRADING, "Wallet": frozenset()},
    addresses=frozenset({"192.0.2.7"}),
    days_left=None,
)
READ = replace(ORDER, key="read1", is_read_only=True, addresses=frozenset({"*"}))
EXIT = replace(ORDER, key="exit1")
EXPECTED = [
    ExpectedKey(key="ord1", role=KeyRole.ORDER),
    ExpectedKey(key="read1", role=KeyRole.READ),
    ExpectedKey(key="exit1", role=KeyRole.EXIT),
]


def found(*keys: ListedKey) -> list[KeyFinding]:
    expected = {key.key for key in keys} | {"stranger"}
    return examine_keys(keys, [known for known in EXPECTED if known.key in expected])


def test_expected_keys_within_their_roles_raise_nothing() -> None:
    assert examine_keys([ORDER, READ, EXIT], EXPECTED) == []


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        (replace(ORDER, key="stranger"), "nobody expects it; it may use ContractTrade, Spot"),
        (replace(READ, key="stranger"), "nobody expects it; it may read"),
        (replace(ORDER, key="stranger", permissions={}), "nobody expects it; it may do nothing"),
    ],
)
def test_key_that_nobody_expects_is_rogue_whatever_it_may(key: ListedKey, detail: str) -> None:
    assert examine_keys([key], []) == [
        KeyFinding(alarm=KeyAlarm.ROGUE, key="stranger", detail=detail, figure="stranger of none")
    ]


@pytest.mark.parametrize("role", [KeyRole.ORDER, KeyRole.EXIT])
def test_trading_key_with_more_than_trading_is_widened(role: KeyRole) -> None:
    wide = replace(
        ORDER,
        permissions={
            **TRADING,
            "Wallet": frozenset({"Withdraw", "AccountTransfer"}),
            "Spot": frozenset({"SpotTrade", "X"}),
            "Earn": frozenset(),
        },
    )
    assert examine_keys([wide], [ExpectedKey(key="ord1", role=role)]) == [
        KeyFinding(
            alarm=KeyAlarm.WIDENED,
            key="ord1",
            detail=f"the {role.value} key may more than it needs: Spot X; Wallet AccountTransfer, Withdraw",
            figure="Spot X; Wallet AccountTransfer, Withdraw of none",
        )
    ]


def test_reading_key_that_may_write_is_widened_and_unbound() -> None:
    assert [(item.alarm, item.detail) for item in found(replace(READ, is_read_only=False))] == [
        (KeyAlarm.WIDENED, "the read key may more than it needs: it is not read-only"),
        (KeyAlarm.UNBOUND, "the read key works from any address"),
    ]


def test_reading_key_with_wallet_permissions_is_widened() -> None:
    wide = replace(READ, permissions={"Wallet": frozenset({"AccountTransfer"})})
    assert [(item.alarm, item.detail) for item in found(wide)] == [
        (KeyAlarm.WIDENED, "the read key may more than it needs: it has Wallet permissions")
    ]


@pytest.mark.parametrize(
    "addresses",
    [
        set(),
        {"*"},
        {"0.0.0.0"},
        {"::"},
        {"::/0"},
        {"192.0.2.7", "0.0.0.0/0"},
        {"0.0.0.0/1", "128.0.0.0/1"},
        {"192.0.2.0/23"},
        {"2001:db8::/119"},
        {"somewhere"},
    ],
)
def test_trading_key_for_any_address_is_unbound(addresses: set[str]) -> None:
    assert found(replace(ORDER, addresses=frozenset(addresses))) == [
        KeyFinding(alarm=KeyAlarm.UNBOUND, key="ord1", detail="the order key works from any address")
    ]


@pytest.mark.parametrize(
    "addresses", [{"192.0.2.0/24"}, {"192.0.2.7/24"}, {"192.0.2.7", "2001:db8::1"}, {"2001:db8::/120"}]
)
def test_trading_key_for_a_few_addresses_is_bound(addresses: set[str]) -> None:
    assert found(replace(ORDER, addresses=frozenset(addresses))) == []
    assert ADDRESSES_MAX == 256


@pytest.mark.parametrize(
    ("days_left", "step"),
    [(14, 14), (8, 14), (7, 7), (4, 7), (3, 3), (2, 3), (1, 1), (0, 1)],
)
def test_key_that_ends_soon_is_told_by_the_step_it_has_reached(days_left: int, step: int) -> None:
    assert found(replace(READ, days_left=days_left)) == [
        KeyFinding(alarm=KeyAlarm.EXPIRING, key="read1", detail=f"the read key ends within {step} days", days=step)
    ]


def test_key_that_ends_later_is_not_told() -> None:
    assert found(replace(READ, days_left=15)) == []


def test_key_that_has_ended_is_told() -> None:
    assert found(replace(ORDER, days_left=-1)) == [
        KeyFinding(alarm=KeyAlarm.EXPIRING, key="ord1", detail="the order key has ended", days=0)
    ]


def test_expected_keys_that_are_gone_are_named_in_order() -> None:
    assert examine_keys([], EXPECTED[:2][::-1]) == [
        KeyFinding(alarm=KeyAlarm.MISSING, key="ord1", detail="the order key is not there any more"),
        KeyFinding(alarm=KeyAlarm.MISSING, key="read1", detail="the read key is not there any more"),
    ]


KNOWN = {key.key: mark_of(key) for key in (ORDER, READ)}


def changed(*keys: ListedKey) -> list[KeyFinding]:
    return changed_keys(keys, EXPECTED, known=KNOWN)


def test_keys_as_they_were_are_not_changed() -> None:
    assert changed(ORDER, READ) == []
    assert changed(replace(ORDER, permissions=dict(reversed(ORDER.permissions.items())), days_left=3)) == []
    assert changed(replace(ORDER, permissions={**TRADING, "Earn": frozenset()})) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"addresses": frozenset({"192.0.2.8"})}, "is bound to other addresses"),
        ({"addresses": frozenset({"192.0.2.7", "192.0.2.8"})}, "is bound to other addresses"),
        ({"addresses": frozenset()}, "is bound to other addresses"),
        ({"permissions": {"Spot": frozenset({"SpotTrade"})}}, "has other permissions"),
        ({"permissions": {**TRADING, "Spot": frozenset({"X"})}}, "has other permissions"),
        ({"is_read_only": True}, "has other permissions"),
        (
            {"is_read_only": True, "addresses": frozenset({"*"})},
            "has other permissions and is bound to other addresses",
        ),
    ],
)
def test_key_that_is_not_what_it_was_is_changed(changes: dict[str, Any], words: str) -> None:
    assert changed(replace(ORDER, **changes), READ) == [
        KeyFinding(alarm=KeyAlarm.CHANGED, key="ord1", detail=f"the order key {words} than before")
    ]


def test_key_that_was_never_seen_or_is_not_expected_is_not_changed() -> None:
    assert changed(EXIT) == []
    stranger = replace(ORDER, key="stranger")
    assert changed_keys([replace(stranger, addresses=frozenset())], [], known={"stranger": mark_of(stranger)}) == []


def test_marks_are_digests_that_stay_the_same_over_versions() -> None:
    mark = mark_of(replace(ORDER, permissions={"Spot": frozenset({"B", "A"})}, addresses=frozenset({"2", "1"})))
    assert mark.addresses == hashlib.sha256(b'["1", "2"]').hexdigest()
    assert mark.power == hashlib.sha256(b'[false, {"Spot": ["A", "B"]}]').hexdigest()
