"""Which exit keys are taken."""

from __future__ import annotations

from typing import Any

import pytest

from trade_killswitch.key_check import excess_of_revoker, excess_power


def key(**changed: Any) -> dict[str, Any]:
    right = {
        "userID": 1002,
        "readOnly": 0,
        "isMaster": False,
        "ips": ["127.0.0.1"],
        "permissions": {
            "ContractTrade": ["Order", "Position"],
            "Spot": ["SpotTrade"],
            "Wallet": [],
            "Options": [],
        },
    }
    return {**right, **changed}


def faults(**changed: Any) -> list[str]:
    return excess_power(key(**changed), account="1002")


def permissions(**changed: Any) -> dict[str, Any]:
    return {**key()["permissions"], **changed}


def test_key_that_trades_spot_and_contracts_and_nothing_else_is_taken() -> None:
    assert faults() == []


@pytest.mark.parametrize("uid", [1003, "", None])
def test_key_of_another_account_is_refused(uid: object) -> None:
    assert faults(userID=uid) == ["it belongs to another account than the setting `account` names"]


def test_key_without_an_account_is_refused() -> None:
    nameless = key()
    del nameless["userID"]
    assert excess_power(nameless, account="1002") == ["it belongs to another account than the setting `account` names"]


@pytest.mark.parametrize("value", [1, True, False, None, "0"])
def test_key_that_is_read_only_or_does_not_say_is_refused(value: object) -> None:
    assert faults(readOnly=value) == ["it is read-only or does not say: it could cancel nothing"]


@pytest.mark.parametrize("value", [True, None, 0])
def test_key_of_a_master_account_is_refused(value: object) -> None:
    assert faults(isMaster=value) == ["it is a master account's key; an exit key lives on the sub-account"]


@pytest.mark.parametrize("ips", [[], None, "127.0.0.1"])
def test_key_without_an_address_is_refused(ips: object) -> None:
    assert faults(ips=ips) == ["it is not bound to an address"]


@pytest.mark.parametrize("ip", ["*", "0.0.0.0", "0.0.0.0/0", "::", "::/0", 7])
def test_key_that_is_bound_to_any_address_is_refused(ip: object) -> None:
    assert faults(ips=["127.0.0.1", ip]) == ["it is bound to any address"]


@pytest.mark.parametrize(
    ("group", "names", "told"),
    [
        ("Wallet", ["AccountTransfer"], "Wallet AccountTransfer"),
        ("Wallet", ["Withdraw", "AccountTransfer"], "Wallet AccountTransfer, Withdraw"),
        ("Options", ["OptionsTrade"], "Options OptionsTrade"),
        ("Earn", ["Earn"], "Earn Earn"),
        ("Spot", ["SpotTrade", "Margin"], "Spot Margin"),
        ("Invented", ["x" * 60], "Invented " + "x" * 40),
    ],
)
def test_key_that_may_do_more_than_trade_is_refused_by_name(group: str, names: list[str], told: str) -> None:
    assert faults(permissions=permissions(**{group: names})) == [f"it may do more than trade: {told}"]


def test_name_of_a_long_group_is_cut() -> None:
    assert faults(permissions=permissions(**{"g" * 60: ["x"]})) == [f"it may do more than trade: {'g' * 40} x"]


@pytest.mark.parametrize(("group", "rest"), [("ContractTrade", ["Order"]), ("ContractTrade", []), ("Spot", [])])
def test_key_that_cannot_sweep_everything_is_refused(group: str, rest: list[str]) -> None:
    assert faults(permissions=permissions(**{group: rest})) == [
        f"it lacks a permission of {group}, without which it cannot trade everywhere"
    ]


@pytest.mark.parametrize("group", ["ContractTrade", "Spot"])
def test_key_that_does_not_name_a_group_is_refused(group: str) -> None:
    shown = permissions()
    del shown[group]
    assert faults(permissions=shown) == [f"it has no permission of {group}"]


def test_permissions_that_are_no_list_are_refused() -> None:
    assert faults(permissions=permissions(Wallet="all")) == ["its permissions in Wallet are not a list"]
    assert faults(permissions=permissions(Spot="SpotTrade")) == ["its permissions in Spot are not a list"]


def test_permissions_that_are_no_list_hide_no_other_fault() -> None:
    rest = {group: names for group, names in permissions(Earn=["Earn"]).items() if group != "Wallet"}
    shown = {"Wallet": "all", **rest}
    assert faults(permissions=shown) == [
        "its permissions in Wallet are not a list",
        "it may do more than trade: Earn Earn",
    ]


@pytest.mark.parametrize("value", [None, [], "all"])
def test_permissions_that_are_not_shown_are_refused(value: object) -> None:
    assert faults(permissions=value) == ["its permissions are not shown"]


def test_every_fault_is_named() -> None:
    assert len(excess_power({}, account="1002")) == 5


REVOKER = {
    "userID": 1001,
    "readOnly": 0,
    "isMaster": True,
    "ips": ["127.0.0.1"],
    "permissions": {"Wallet": ["AccountTransfer"], "Spot": [], "ContractTrade": []},
}


def revoker_faults(**changed: Any) -> list[str]:
    return excess_of_revoker({**REVOKER, **changed}, account="1002")


def test_master_key_that_may_transfer_and_nothing_else_revokes() -> None:
    assert revoker_faults() == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"userID": 1002}, "it belongs to the sub-account: only its master's key can delete keys"),
        ({"readOnly": 1}, "it is read-only or does not say: it could delete nothing"),
        ({"readOnly": False}, "it is read-only or does not say: it could delete nothing"),
        ({"isMaster": False}, "it is not a master account's key"),
        ({"isMaster": 1}, "it is not a master account's key"),
        ({"ips": ["*"]}, "it is bound to any address"),
        ({"permissions": {"Wallet": ["AccountTransfer", "Withdraw"]}}, "it may do more than revoke: Wallet Withdraw"),
        (
            {"permissions": {"Wallet": ["AccountTransfer"], "Spot": ["SpotTrade"]}},
            "it may do more than revoke: Spot SpotTrade",
        ),
        (
            {"permissions": {"Wallet": []}},
            "it lacks a permission of Wallet, without which it cannot revoke everywhere",
        ),
        ({"permissions": {}}, "it has no permission of Wallet"),
    ],
)
def test_revoker_key_with_more_or_less_power_is_refused(changed: dict[str, Any], told: str) -> None:
    assert revoker_faults(**changed) == [told]
