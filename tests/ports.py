"""Loopback ports for tests, each given out once on this machine.

A port that the system hands out comes from the range of outgoing connections: between finding it free and listening on
it, any connection of a test that runs beside may take it. These lie below that range, and a lock on a file, which ends
with the process, keeps test runs that go on at the same time out of each other's way.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

HOST = "127.0.0.1"
LOWEST, HIGHEST = 10_000, 32_000
_LOCKS = Path(tempfile.gettempdir()) / f"trade-test-ports-{os.getuid()}"
_held: list[IO[bytes]] = []


def free_port() -> int:
    """Return a port that nobody listens on and that no other test is given while this process lives."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return several such ports."""
    choice = random.SystemRandom()
    found: list[int] = []
    while len(found) < count:
        port = choice.randrange(LOWEST, HIGHEST)
        if _is_locked_by_us(port):
            found.append(port)
    return found


def free_port_run(count: int) -> int:
    """Return the first of several such ports in a row."""
    choice = random.SystemRandom()
    while True:
        first = choice.randrange(LOWEST, HIGHEST - count)
        if all(_is_locked_by_us(port) for port in range(first, first + count)):
            return first


def _is_locked_by_us(port: int) -> bool:
    _LOCKS.mkdir(mode=0o700, exist_ok=True)
    lock = (_LOCKS / str(port)).open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.bind((HOST, port))
    except OSError:
        with suppress(OSError):
            lock.close()
        return False
    _held.append(lock)
    return True
