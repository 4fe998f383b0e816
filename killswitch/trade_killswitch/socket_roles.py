"""Who may ask the executor for what: three roles, and one table of what each may call. Pure.

Guarantees
- What does not stand in the table is refused to everybody: a route that is added without a line here answers nobody.
- The kernel says which user asks, never a header (`peer_protocol` of the core). Of whom it says nothing is nobody.
- A role is one user's. The executor's own user stands in for a role that no setting gives to another one.

A warrant that orders a kill may be brought by each of the three: it was verified here or it is none, and who is turned
away with a good one has not been killed. Evidence is the watchdog's to bring, since it is his signature that is on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, unique
from typing import Final


@unique
class Role(Enum):
    """Whom a user speaks for: a person at a terminal, the watchdog, or the console."""

    TERMINAL = "terminal"
    WATCHDOG = "watchdog"
    CONSOLE = "console"


Roles = frozenset[Role]
_EVERYBODY: Final[Roles] = frozenset(Role)
_PERSONS: Final[Roles] = frozenset({Role.TERMINAL, Role.CONSOLE})
MAY_BRING_EVIDENCE: Final[Roles] = frozenset({Role.WATCHDOG})
ALLOWED: Final[Mapping[tuple[str, str], Roles]] = {
    ("GET", "/status"): _EVERYBODY,
    ("GET", "/journal/rows"): _EVERYBODY,
    ("GET", "/journal/entries"): _EVERYBODY,
    ("GET", "/journal/checkpoint"): _EVERYBODY,
    ("POST", "/sweep"): _EVERYBODY,
    ("POST", "/kill"): _EVERYBODY,
    ("GET", "/metrics"): _PERSONS,
    ("GET", "/report"): _PERSONS,
    ("GET", "/draft"): _PERSONS,
    ("POST", "/resume"): _PERSONS,
    ("POST", "/arm"): _PERSONS,
    ("POST", "/disarm"): _PERSONS,
    ("POST", "/ring"): _PERSONS,
    ("POST", "/ack"): _PERSONS,
    ("POST", "/release"): frozenset({Role.WATCHDOG}),
    ("POST", "/flatten"): frozenset({Role.WATCHDOG}),
    ("POST", "/console/rows"): frozenset({Role.CONSOLE}),
}


def roles_by_user(*, own_uid: int, watchdog_uid: int | None, console_uid: int | None) -> Mapping[int, Roles]:
    """Return the roles of each user that may connect; of a user that is not set, the executor's own."""
    holders = {
        Role.TERMINAL: own_uid,
        Role.WATCHDOG: own_uid if watchdog_uid is None else watchdog_uid,
        Role.CONSOLE: own_uid if console_uid is None else console_uid,
    }
    users = frozenset(holders.values())
    return {user: frozenset(role for role, holder in holders.items() if holder == user) for user in users}


def permits(roles: Roles, *, method: str, path: str) -> bool:
    """Tell whether somebody of these roles may call this; without a line in the table nobody may."""
    return not roles.isdisjoint(ALLOWED.get((method, path), frozenset()))
