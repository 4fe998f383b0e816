"""A port that nobody listens on at the moment."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return it; another process may take it before the caller does, which is rare enough for tests."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
