"""The key check: a key that can do more than look is refused."""

from __future__ import annotations

from typing import Any

import pytest

from trade_watchdog.key_check import excess_master_power, excess_power

GOOD: dict[str, Any] = {"userID": 1002, "readOnly": 1, "permissions": {"Spot": ["SpotTrade"], "Wallet": []}}


def test_read_only_key_of_the_account_is_right() -> None:
    assert excess_power(GOOD, account="1002") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"userID": 1003}, "another account"),
        ({"userID": None}, "another account"),
        ({"readOnly": 0}, "not read-only"),
        ({"readOnly": True}, "not read-only"),
        ({"readOnly": "1"}, "not read-only"),
        ({"readOnly": None}, "not read-only"),
        ({"permissions": None}, "not shown"),
        ({"permissions": []}, "not shown"),
        ({"permissions": {"Spot": "SpotTrade"}}, "not a list"),
        ({"permissions": {"Wallet": ["AccountTransfer"]}}, "Wallet permissions: AccountTransfer"),
        ({"permissions": {"Wallet": ["Withdraw"]}}, "Wallet permissions: Withdraw"),
        ({"permissions": {"Assets": ["Withdraw"]}}, "may withdraw"),
        ({"permissions": {"Assets": ["FiatWithdrawal"]}}, "may withdraw"),
    ],
)
def test_key_that_is_or_may_be_more_is_refused(change: dict[str, Any], words: str) -> None:
    (fault,) = excess_power({**GOOD, **change}, account="1002")
    assert words in fault


def test_answer_without_any_fact_is_refused_for_each() -> None:
    assert len(excess_power({}, account="1002")) == 3


MASTER = {"isMaster": True, "userID": 1001, "readOnly": 1, "permissions": {"Wallet": ["AccountTransfer"]}}


def test_reading_key_of_the_master_of_the_account_is_right() -> None:
    assert excess_master_power(MASTER, of_sub_account={"parentUid": "1001"}) == []


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"isMaster": False}, "it is not a key of a master account"),
        ({"isMaster": 1}, "it is not a key of a master account"),
        ({"userID": 1002}, "its account is not the master of the watched one"),
        ({"readOnly": 0}, "it is not read-only"),
        ({"readOnly": True}, "it is not read-only"),
    ],
)
def test_other_key_is_refused_as_the_masters(changes: dict[str, Any], wrong: str) -> None:
    assert excess_master_power({**MASTER, **changes}, of_sub_account={"parentUid": "1001"}) == [wrong]


def test_master_of_an_account_that_does_not_say_is_nobody() -> None:
    assert excess_master_power(MASTER, of_sub_account={}) == ["its account is not the master of the watched one"]
