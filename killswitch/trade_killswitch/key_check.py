"""Do the exit key and the revoker key have exactly the power they need? Pure; the facts are the exchange's own answers.

An exit key that can move money or manage keys is refused: the executor is there to take risk away, and whoever takes
the executor must not get more than that. One that cannot trade both spot and contracts cannot sweep both.
The revoker key belongs to the master account and may move money between its own accounts and nothing else: that is the
least with which the exchange lets a key delete others. It can make keys too, so nothing else may hold it.
Source: Bybit V5 "Get API Key Information": readOnly 0 | 1, permissions by group, ips, userID, isMaster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Cancelling and reducing takes the permission to trade; the exchange knows no smaller one.
NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "ContractTrade": frozenset({"Order", "Position"}),
    "Spot": frozenset({"SpotTrade"}),
}
REVOKING: Final[Mapping[str, frozenset[str]]] = {"Wallet": frozenset({"AccountTransfer"})}
ANY_ADDRESS: Final = frozenset({"*", "0.0.0.0", "0.0.0.0/0", "::", "::/0"})  # noqa: S104 - what an unbound key shows
_SHOWN_CHARACTERS: Final = 40


def excess_of_revoker(information: Mapping[str, Any], *, account: str) -> list[str]:
    """List what is wrong with a key for deleting the keys of `account`; empty when it is exactly right."""
    wrong = []
    if str(information.get("userID", "")) == account:
        wrong.append("it belongs to the sub-account: only its master's key can delete keys")
    if type(information.get("readOnly")) is not int or information.get("readOnly") != 0:
        wrong.append("it is read-only or does not say: it could delete nothing")
    if information.get("isMaster") is not True:
        wrong.append("it is not a master account's key")
    wrong.extend(_address_faults(information.get("ips")))
    wrong.extend(_permission_faults(information.get("permissions"), needs=REVOKING, purpose="revoke"))
    return wrong


def excess_power(information: Mapping[str, Any], *, account: str) -> list[str]:
    """List what is wrong with a key for sweeping `account`; empty when it is exactly right."""
    wrong = []
    if str(information.get("userID", "")) != account:
        wrong.append("it belongs to another account than the setting `account` names")
    if type(information.get("readOnly")) is not int or information.get("readOnly") != 0:
        wrong.append("it is read-only or does not say: it could cancel nothing")
    if information.get("isMaster") is not False:
        wrong.append("it is a master account's key; an exit key lives on the sub-account")
    wrong.extend(_address_faults(information.get("ips")))
    wrong.extend(_permission_faults(information.get("permissions"), needs=NEEDED, purpose="trade"))
    return wrong


def _address_faults(ips: object) -> list[str]:
    if not isinstance(ips, list) or not ips:
        return ["it is not bound to an address"]
    if any(not isinstance(ip, str) or ip in ANY_ADDRESS for ip in ips):
        return ["it is bound to any address"]
    return []


def _permission_faults(permissions: object, *, needs: Mapping[str, frozenset[str]], purpose: str) -> list[str]:
    if not isinstance(permissions, dict):
        return ["its permissions are not shown"]
    faults = []
    for group, granted in permissions.items():
        name = str(group)[:_SHOWN_CHARACTERS]
        if not isinstance(granted, list):
            faults.append(f"its permissions in {name} are not a list")
            continue
        needed = needs.get(str(group), frozenset())
        extra = sorted(str(item)[:_SHOWN_CHARACTERS] for item in granted if item not in needed)
        if extra:
            faults.append(f"it may do more than {purpose}: {name} {', '.join(extra)}")
    for group, needed in needs.items():
        granted = permissions.get(group)
        if isinstance(granted, list) and not needed <= set(map(str, granted)):
            faults.append(f"it lacks a permission of {group}, without which it cannot {purpose} everywhere")
    faults.extend(f"it has no permission of {group}" for group in needs if group not in permissions)
    return faults
