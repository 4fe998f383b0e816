"""Who is connected to a listener, and who has to go when there is no more room.

A limit that turns newcomers away lets anyone lock the rightful client out, with nothing but idle connections. So room
is made for each newcomer: first goes the stranger who came first, and only when there is no other stranger the guest
who has been silent longest. A guest is who has authenticated on the connection.

It does not tell rightful guests apart: who holds the credential can crowd out its other holders.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Connection = TypeVar("Connection", bound=Hashable)


class Guests(Generic[Connection]):
    """The connections of one listener, at most `most` of them."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        # Dictionaries as ordered sets: the first is the next to go.
        self._strangers: dict[Connection, None] = {}
        self._guests: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._strangers) + len(self._guests)

    def admit(self, newcomer: Connection) -> Connection | None:
        """Let a newcomer in, and return who is no longer counted and must be closed for it."""
        leaving = None
        if len(self) >= self._most:
            leaving = next(iter(self._strangers or self._guests))
            self.leave(leaving)
        self._strangers[newcomer] = None
        return leaving

    def recognise(self, connection: Connection) -> None:
        """Note that a connection has authenticated, now; one that has left stays away."""
        if connection in self._strangers or connection in self._guests:
            self.leave(connection)
            self._guests[connection] = None

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self._strangers.pop(connection, None)
        self._guests.pop(connection, None)
