"""The HTTP protocol of a Unix socket: that of every listener, for the users that were named and nobody else.

The kernel says which user is at the other end (unix(7), SO_PEERCRED); no header can. Whoever is not named is cut off
before a byte of his is read, and counted. The user id of an admitted caller stands in the scope under PEER_UID_KEY.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trade_core.guarded_protocol import guarded_protocol
from trade_core.unix_sockets import caller_of

PEER_UID_KEY = "trade.peer_uid"
PEER_REFUSED = "PEER_REFUSED"


def peer_protocol(
    on_refusal: Callable[[str], None], *, allowed_uids: Set[int], max_connections: int
) -> type[HttpToolsProtocol]:
    """Make the protocol class; `on_refusal` is called with a code for each connection or request refused."""
    base: Any = guarded_protocol(on_refusal, max_connections=max_connections)

    class PeerProtocol(base):  # type: ignore[misc]
        """One connection."""

        _is_stranger = False
        _uid = -1

        def connection_made(self, transport: asyncio.Transport) -> None:
            self._uid = caller_of(transport.get_extra_info("socket").fileno()).uid
            if self._uid not in allowed_uids:
                self._is_stranger = True
                on_refusal(PEER_REFUSED)
                transport.abort()
                return
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            if not self._is_stranger:
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            if not self._is_stranger:
                super().connection_lost(exc)

        def on_headers_complete(self) -> None:
            self.scope[PEER_UID_KEY] = self._uid
            super().on_headers_complete()

    return PeerProtocol
