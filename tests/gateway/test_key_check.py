from __future__ import annotations

from typing import Any

import pytest

from trade_gateway.key_check import excess_power

RIGHT: dict[str, Any] = {
    "userID": 1002,
    "readOnly": 0,
    "isMaster": False,
    "ips": ["192.0.2.7"],
    "permissions": {"ContractTrade": ["Order", "Position"], "Spot": ["SpotTrade"], "Wallet": []},
}


def faults(**changed: Any) -> list[str]:
    return excess_power({**RIGHT, **changed}, account="1002")


def test_key_with_exactly_the_power_it_needs_is_accepted() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    "permissions", [{"Spot": ["SpotTrade"]}, {"ContractTrade": ["Order"]}, {"ContractTrade": ["Order", "Position"]}]
)
def test_key_with_less_is_accepted_when_it_may_trade(permissions: dict[str, list[str]]) -> None:
    assert faults(permissions=permissions) == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"userID": 1003}, "another account"),
        ({"userID": None}, "another account"),
        ({"readOnly": 1}, "read-only"),
        ({"readOnly": None}, "read-only"),
        ({"readOnly": "0"}, "read-only"),
        ({"isMaster": True}, "master"),
        ({"isMaster": None}, "master"),
        ({"isMaster": 0}, "master"),
        ({"ips": []}, "not bound"),
        ({"ips": None}, "not bound"),
        ({"ips": "192.0.2.7"}, "not bound"),
        ({"ips": ["*"]}, "any address"),
        ({"ips": ["192.0.2.7", "*"]}, "any address"),
        ({"ips": ["0.0.0.0"]}, "any address"),
        ({"ips": [None]}, "any address"),
        ({"permissions": None}, "not shown"),
        ({"permissions": []}, "not shown"),
        ({"permissions": {}}, "may not trade"),
        ({"permissions": {"Spot": []}}, "may not trade"),
        ({"permissions": {"Wallet": []}}, "may not trade"),
        ({"permissions": {"Spot": "SpotTrade"}}, "not a list"),
    ],
)
def test_key_with_a_fault_is_refused_with_its_reason(changed: dict[str, Any], reason: str) -> None:
    assert any(reason in fault for fault in faults(**changed))


@pytest.mark.parametrize("name", RIGHT)
def test_key_that_does_not_show_a_fact_is_refused(name: str) -> None:
    assert excess_power({key: value for key, value in RIGHT.items() if key != name}, account="1002")


@pytest.mark.parametrize(
    ("group", "granted"),
    [
        ("Wallet", "AccountTransfer"),
        ("Wallet", "SubMemberTransfer"),
        ("Wallet", "Withdraw"),
        ("Options", "OptionsTrade"),
        ("Derivatives", "DerivativesTrade"),
        ("Exchange", "ExchangeHistory"),
        ("CopyTrading", "CopyTrading"),
        ("BlockTrade", "BlockTrade"),
        ("Earn", "Earn"),
        ("Affiliate", "Affiliate"),
        ("Spot", "SpotMargin"),
        ("ContractTrade", "Everything"),
        ("NeverSeen", "Anything"),
    ],
)
def test_key_that_may_do_more_is_refused_by_name(group: str, granted: str) -> None:
    (fault,) = faults(
        permissions={**RIGHT["permissions"], group: [granted]} | ({} if group == "Spot" else {"Spot": ["SpotTrade"]})
    )
    assert "more than trade" in fault
    assert group in fault
    assert granted in fault


def test_key_with_every_fault_names_them_all() -> None:
    assert len(excess_power({}, account="1002")) == 5


def test_key_fault_shows_little_of_a_foreign_text() -> None:
    assert all(len(fault) < 200 for fault in faults(permissions={"x" * 9999: ["y" * 9999]}))
