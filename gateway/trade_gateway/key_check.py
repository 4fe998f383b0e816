"""Does the order key have exactly the power it needs? Pure; the facts are the exchange's answer about the key itself.

A key that can do more is refused: whoever steals the gateway's memory must not get more than the gateway had.
Source: Bybit V5 "Get API Key Information": readOnly 0 | 1, permissions by group, ips, userID, isMaster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trade_gateway.wire.intents import Category

# All that placing and cancelling orders and pinning leverage takes.
NEEDED = {"ContractTrade": frozenset({"Order", "Position"}), "Spot": frozenset({"SpotTrade"})}
PERMISSION_GROUPS = {Category.SPOT: "Spot", Category.LINEAR: "ContractTrade"}
ANY_ADDRESS = frozenset({"*", "0.0.0.0", "0.0.0.0/0", "::/0"})  # noqa: S104 - what an unbound key shows, not a bind


def excess_power(information: Mapping[str, Any], *, account: str) -> list[str]:
    """List what is wrong with a key for placing orders of `account`; empty when it is exactly right."""
    wrong = []
    if str(information.get("userID", "")) != account:
        wrong.append("it belongs to another account than the setting `account` names")
    if information.get("readOnly") != 0:
        wrong.append("it is read-only or does not say")
    if information.get("isMaster") is not False:
        wrong.append("it is a master account's key; trading keys live on a sub-account")
    wrong.extend(_address_faults(information.get("ips")))
    wrong.extend(_permission_faults(information.get("permissions")))
    return wrong


def _address_faults(ips: object) -> list[str]:
    if not isinstance(ips, list) or not ips:
        return ["it is not bound to an address"]
    if any(not isinstance(ip, str) or ip in ANY_ADDRESS for ip in ips):
        return ["it is bound to any address"]
    return []


def _permission_faults(permissions: object) -> list[str]:
    if not isinstance(permissions, dict):
        return ["its permissions are not shown"]
    faults = []
    for group, granted in permissions.items():
        if not isinstance(granted, list):
            faults.append(f"its permissions in {str(group)[:40]} are not a list")
            continue
        extra = sorted(str(item)[:40] for item in granted if item not in NEEDED.get(str(group), frozenset()))
        if extra:
            faults.append(f"it may do more than trade: {str(group)[:40]} {', '.join(extra)}")
    if not any(permissions.get(group) for group in NEEDED):
        faults.append("it may not trade")
    return faults
