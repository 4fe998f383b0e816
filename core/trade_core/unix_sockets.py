"""Unix sockets between processes: bound with a mode, reached by any path, the user at the other end known."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trade_core.errors import ConfigurationError

_PATH_BYTES_MAX: Final = 100  # sun_path holds 108 (unix(7))
_CREDENTIALS: Final = struct.Struct("3i")
_BACKLOG: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is at the other end, as the kernel vouches (unix(7), SO_PEERCRED)."""

    pid: int
    uid: int


def caller_of(descriptor: int) -> Caller:
    """Ask the kernel who connected."""
    with socket.socket(fileno=os.dup(descriptor)) as asked:
        pid, uid, _ = _CREDENTIALS.unpack(asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Caller(pid=pid, uid=uid)


def bind(path: Path, *, mode: int, setting: str) -> socket.socket:
    """Listen at a path, in place of a socket that was left there. Raises ConfigurationError that names the setting.

    Whoever calls holds something else that makes him the only one: a socket file says nothing of who listens.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if path.exists() and not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigurationError(f"{path}: is there and is no socket; move it or change the setting {setting}")
        path.unlink(missing_ok=True)
        with short_path(path) as short:
            mask = os.umask(0o777)  # it is nobody's until it has its mode
            try:
                listening.bind(short)
            finally:
                os.umask(mask)
        path.chmod(mode)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigurationError(f"{path}: cannot listen there (setting {setting}): {error.strerror}") from error
    except BaseException:
        listening.close()
        raise
    return listening


def connect(path: Path) -> socket.socket:
    """Connect to a path at once. Raises OSError."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        with short_path(path) as short:
            connected.connect(short)
    except BaseException:
        connected.close()
        raise
    return connected


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Name a path within what a socket's address holds: a long one through its open folder, while the context lasts."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        with suppress(OSError):
            os.close(folder)
