"""What the console's routes work with, and who a request is of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi import HTTPException, Request

from trade_core.clock import Clock
from trade_killswitch.console.ledger import Ledger, Person
from trade_killswitch.console.metrics import ConsoleMetrics
from trade_killswitch.console.sign_in import CodeBook, Session, Sessions, WrongCodes
from trade_killswitch.console.sources import Asked
from trade_killswitch.console.watch import Watch

SIGNED_IN: Final = "console:signed_in"
REFUSED: Final = "console:refused"
ACTED: Final = "console:acted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the application works with."""

    watch: Watch
    gateway: Asked
    watchdog: Asked
    executor: Asked
    codes: CodeBook
    wrong_codes: WrongCodes
    sessions: Sessions
    ledger: Ledger
    metrics: ConsoleMetrics
    origin: str
    clock: Clock


def cookie_name(origin: str) -> str:
    """Name the cookie after the port, since cookies know no ports and two consoles may share a machine."""
    port = origin.rpartition(":")[2]
    if origin.startswith("https:"):
        # The browser itself sees that such a cookie came over TLS, from this host, for all of it.
        return f"__Host-trade_console_{port if port.isdigit() else '443'}"
    return f"trade_console_{port}"


def session_check(parts: Parts) -> Callable[[Request], Awaitable[Session]]:
    """Return the dependency that turns away whoever has no session."""

    async def check(request: Request) -> Session:
        session = session_of(request, parts)
        if session is None:
            raise HTTPException(401, "sign in first: trade-console code prints a code")
        return session

    return check


def session_of(request: Request, parts: Parts) -> Session | None:
    """Find the session of a request."""
    token = request.cookies.get(cookie_name(parts.origin))
    return None if token is None else parts.sessions.find(token)


def person_of(request: Request, session_name: str) -> Person:
    """Say who asks."""
    address = request.client.host if request.client else "unknown"
    return Person(session=session_name, address=address, browser=request.headers.get("user-agent", ""))
