"""May the watchdog hold these exchange keys? Pure; the facts are the exchange's answers about the keys themselves.

A watcher that could trade or pay out would be worth stealing, so anything but a read-only key is refused.
Source: Bybit V5 "Get API Key Information": readOnly 0 | 1, permissions by group, userID, isMaster, parentUid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN_CHARACTERS = 40


def excess_power(information: Mapping[str, Any], *, account: str) -> list[str]:
    """List what is wrong with a key for watching `account`; empty when it is right."""
    wrong = []
    if str(information.get("userID", "")) != account:
        wrong.append("it belongs to another account than the setting `account` names")
    # True == 1 in Python: only the number itself counts.
    if type(information.get("readOnly")) is not int or information.get("readOnly") != 1:
        wrong.append("it is not read-only")
    wrong.extend(_permission_faults(information.get("permissions")))
    return wrong


def excess_master_power(information: Mapping[str, Any], *, of_sub_account: Mapping[str, Any]) -> list[str]:
    """List what is wrong with a key for listing the keys of a sub-account, whose own key says who its master is."""
    wrong = []
    if information.get("isMaster") is not True:
        wrong.append("it is not a key of a master account")
    if str(information.get("userID", "")) != str(of_sub_account.get("parentUid", "")):
        wrong.append("its account is not the master of the watched one")
    if type(information.get("readOnly")) is not int or information.get("readOnly") != 1:
        wrong.append("it is not read-only")
    # A master's reading key may see its wallet, which moves nothing; what it could do is bounded by readOnly.
    return wrong


def _permission_faults(permissions: object) -> list[str]:
    if not isinstance(permissions, dict):
        return ["its permissions are not shown"]
    faults = []
    for group, granted in permissions.items():
        name = str(group)[:_SHOWN_CHARACTERS]
        if not isinstance(granted, list):
            faults.append(f"its permissions in {name} are not a list")
        elif group == "Wallet" and granted:
            faults.append(
                "it has Wallet permissions: " + ", ".join(str(item)[:_SHOWN_CHARACTERS] for item in granted[:8])
            )
        elif any("withdraw" in str(item).lower() for item in granted):
            faults.append(f"it may withdraw ({name})")
    return faults
