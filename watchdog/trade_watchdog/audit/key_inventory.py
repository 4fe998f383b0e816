"""Are the account's keys those that there should be? Pure: the exchange's list and the expected keys in, alarms out.

Guarantees
- A key that nobody expects is ROGUE, whatever it may do: a key that only reads today is widened tomorrow.
- An expected key that may do more than its role allows is WIDENED, and one that can trade from any address, or from
  more than ADDRESSES_MAX at once, UNBOUND.
- An expected key that may something else, or is bound to other addresses, than when it was last seen is CHANGED, also
  where that is narrower: who can rebind a key can do it again.
- A list that cannot be read as one raises no alarm and clears none: it is the reader's error.

It does not see the master's own keys: nobody can list those.
Source: Bybit V5 "Get Sub Account All API Keys": apiKey, readOnly, permissions by group, ips ("*" for any), deadlineDay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from ipaddress import ip_network
from typing import Final

WARN_AT_DAYS: Final = (1, 3, 7, 14)
ADDRESSES_MAX: Final = 256
"""The widest network that a key may be bound to: a provider's small block. Half of the internet is no binding."""


@unique
class KeyRole(Enum):
    """What a key of the sub-account is for."""

    ORDER = "order"  # the gateway's: adds risk
    EXIT = "exit"  # the kill executor's: cancels and reduces
    READ = "read"  # the watchdog's


_TRADING: Final[Mapping[str, frozenset[str]]] = {
    "ContractTrade": frozenset({"Order", "Position"}),
    "Spot": frozenset({"SpotTrade"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedKey:
    """One key as the exchange lists it. `days_left` is None for one that does not end, and below 0 for an ended one."""

    key: str
    is_read_only: bool
    permissions: Mapping[str, frozenset[str]]
    addresses: frozenset[str]
    days_left: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedKey:
    """One key that there should be, by its public id."""

    key: str
    role: KeyRole


@unique
class KeyAlarm(Enum):
    """What is wrong with a key."""

    ROGUE = "rogue"
    WIDENED = "widened"
    UNBOUND = "unbound"
    EXPIRING = "expiring"
    CHANGED = "changed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFinding:
    """An alarm about one key. `days` is the warning step of an EXPIRING key, else None.

    `figure` says what was found of what is allowed, empty where nothing is counted.
    """

    alarm: KeyAlarm
    key: str
    detail: str
    days: int | None = None
    figure: str = ""


def examine_keys(listed: Iterable[ListedKey], expected: Iterable[ExpectedKey]) -> list[KeyFinding]:
    """List what is wrong with the keys of the account; empty when they are as they should be."""
    roles = {known.key: known.role for known in expected}
    seen = list(listed)
    findings = [finding for key in seen for finding in _key_findings(key, roles.get(key.key))]
    gone = roles.keys() - {key.key for key in seen}
    findings.extend(
        KeyFinding(alarm=KeyAlarm.MISSING, key=key, detail=f"the {roles[key].value} key is not there any more")
        for key in sorted(gone)
    )
    return findings


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMark:
    """What a key may and from where, each as a digest: enough to see that it is not what it was."""

    power: str
    addresses: str


def mark_of(key: ListedKey) -> KeyMark:
    """Digest what a key may and from where."""
    power = [key.is_read_only, {group: sorted(granted) for group, granted in key.permissions.items() if granted}]
    return KeyMark(power=_digest(power), addresses=_digest(sorted(key.addresses)))


def changed_keys(
    listed: Iterable[ListedKey], expected: Iterable[ExpectedKey], *, known: Mapping[str, KeyMark]
) -> list[KeyFinding]:
    """List the expected keys that are not what they were; one that was never seen is not among them."""
    roles = {one.key: one.role for one in expected}
    seen = {key.key: mark_of(key) for key in listed if key.key in roles and key.key in known}
    return [
        KeyFinding(alarm=KeyAlarm.CHANGED, key=name, detail=f"the {roles[name].value} key {words}")
        for name, mark in seen.items()
        if (words := _difference(known[name], mark))
    ]


def _difference(before: KeyMark, now: KeyMark) -> str:
    told = ["has other permissions"] if now.power != before.power else []
    told += ["is bound to other addresses"] if now.addresses != before.addresses else []
    return f"{' and '.join(told)} than before" if told else ""


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _key_findings(key: ListedKey, role: KeyRole | None) -> Iterable[KeyFinding]:
    if role is None:
        detail = f"nobody expects it; it may {_powers(key)}"
        yield KeyFinding(alarm=KeyAlarm.ROGUE, key=key.key, detail=detail, figure=f"{key.key} of none")
        return
    excess = _excess(key, role)
    if excess:
        detail = f"the {role.value} key may more than it needs: {excess}"
        yield KeyFinding(alarm=KeyAlarm.WIDENED, key=key.key, detail=detail, figure=f"{excess} of none")
    if not key.is_read_only and not (key.addresses and all(map(_is_narrow, key.addresses))):
        yield KeyFinding(alarm=KeyAlarm.UNBOUND, key=key.key, detail=f"the {role.value} key works from any address")
    if key.days_left is not None:
        yield from _ending(key.key, role, key.days_left)


def _is_narrow(address: str) -> bool:
    """Tell whether an entry of a key's list is one address or a small network; what cannot be read is neither."""
    try:
        network = ip_network(address, strict=False)
    except ValueError:
        return False
    return network.num_addresses <= ADDRESSES_MAX and not network.network_address.is_unspecified


def _ending(key: str, role: KeyRole, days_left: int) -> Iterable[KeyFinding]:
    step = next((days for days in WARN_AT_DAYS if days_left <= days), None)
    if step is not None:
        words = "has ended" if days_left < 0 else f"ends within {step} days"
        detail = f"the {role.value} key {words}"
        yield KeyFinding(alarm=KeyAlarm.EXPIRING, key=key, detail=detail, days=step if days_left >= 0 else 0)


def _excess(key: ListedKey, role: KeyRole) -> str:
    if role is KeyRole.READ:
        if not key.is_read_only:
            return "it is not read-only"
        return "it has Wallet permissions" if key.permissions.get("Wallet") else ""
    beyond = {group: granted - _TRADING.get(group, frozenset()) for group, granted in sorted(key.permissions.items())}
    return "; ".join(f"{group} {', '.join(sorted(names))}" for group, names in beyond.items() if names)


def _powers(key: ListedKey) -> str:
    if key.is_read_only:
        return "read"
    groups = [group for group, granted in sorted(key.permissions.items()) if granted]
    return "use " + ", ".join(groups) if groups else "do nothing"
