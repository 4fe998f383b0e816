"""HTTP listeners of a service: several uvicorn servers that start and end together.

Guarantees: a taken port is refused with the name of the setting that changes it; SIGTERM and SIGINT end every
listener within the grace time; a listener never outlives the others. One that `has_own_thread` is served in an event
loop of its own, so that no work of the others delays it; its application must know that it runs beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from trade_core import unix_sockets
from trade_core.errors import ConfigurationError

GRACE_S = 3
_BACKLOG = 2048


class PortTaken(ConfigurationError):
    """Another process listens on the port; the message names the setting to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One address, the application behind it and the name of the setting that its port comes from."""

    app: Any
    host: str
    port: int
    setting: str
    http: Any = "httptools"
    max_connections: int = 1024
    has_own_thread: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixListener:
    """A Unix socket, its mode, the application behind it and the name of the setting that its path comes from.

    `http` says which users may speak: see `peer_protocol`.
    """

    app: Any
    path: Path
    mode: int
    setting: str
    http: Any
    max_connections: int = 64
    has_own_thread: bool = False
    options: dict[str, Any] = field(default_factory=dict)


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to us, so that several can share a process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(listener: Listener | UnixListener) -> socket.socket:
    """Bind the listener's address. Raises PortTaken or ConfigurationError that names address and setting."""
    if isinstance(listener, UnixListener):
        return unix_sockets.bind(listener.path, mode=listener.mode, setting=listener.setting)
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((listener.host, listener.port))
        # Listen at once: two processes may both bind with SO_REUSEADDR, but only one can listen.
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        address = f"{listener.host}:{listener.port}"
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {listener.port} on {listener.host} is taken by another process; "
                f"end it or change the setting {listener.setting}"
            ) from error
        raise ConfigurationError(
            f"cannot listen on {address} (setting {listener.setting}): {error.strerror}"
        ) from error
    sock.setblocking(False)
    return sock


def _server(listener: Listener | UnixListener) -> _Server:
    options: dict[str, Any] = {
        "log_config": None,
        "access_log": False,
        "lifespan": "off",
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": GRACE_S,
        "limit_concurrency": listener.max_connections,
        "ws": "websockets-sansio",
        "loop": "none",
    }
    options.update(listener.options)
    return _Server(uvicorn.Config(listener.app, http=listener.http, **options))


async def serve(
    listeners: Sequence[Listener | UnixListener],
    *,
    stop: asyncio.Event,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve all listeners until `stop` is set or SIGTERM or SIGINT arrives. Raises PortTaken, ConfigurationError.

    `on_ready` is called once every listener accepts connections.
    """
    sockets = _bind_all(listeners)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    servers = [_server(listener) for listener in listeners]
    tasks = [
        asyncio.create_task(_served(listener, server, sock))
        for listener, server, sock in zip(listeners, servers, sockets, strict=True)
    ]
    try:
        await _wait_started(servers, tasks, stop)
        if on_ready is not None and not stop.is_set():
            on_ready()
        await _wait_any(stop, tasks)
        for task in tasks:
            if task.done():
                task.result()  # a listener that failed must not look like a clean end
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.wait(tasks, timeout=GRACE_S + 2)
        for task in tasks:
            task.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        for sock in sockets:
            sock.close()
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()  # a listener that broke is a failure of the service, not a clean end


async def _served(listener: Listener | UnixListener, server: _Server, sock: socket.socket) -> None:
    """Serve here, or in a thread with an event loop of the kind of this one."""
    if not listener.has_own_thread:
        await server.serve(sockets=[sock])
        return
    new_loop = type(asyncio.get_running_loop())

    def serve_here() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(server.serve(sockets=[sock]))

    await asyncio.to_thread(serve_here)


def _bind_all(listeners: Sequence[Listener | UnixListener]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for listener in listeners:
            sockets.append(bind(listener))
    except ConfigurationError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def _wait_started(servers: Sequence[_Server], tasks: Sequence[asyncio.Task[None]], stop: asyncio.Event) -> None:
    while not all(server.started for server in servers):
        if stop.is_set() or any(task.done() for task in tasks):
            return
        await asyncio.sleep(0.005)


async def _wait_any(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
