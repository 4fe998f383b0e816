"""Which loopback port each listener of the stack gets."""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass, fields

from trade_core.errors import ConfigurationError

HOST = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections: one of those may take a port in the
# seconds between its choice here and its listener's start.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """One port a listener, in the order in which --base-port counts."""

    simulator: int
    simulator_control: int
    gateway: int
    gateway_admin: int
    watchdog_admin: int
    freqtrade: int
    console: int


def console_url(ports: Ports) -> str:
    """Return the console's address, by name: security keys do not know it by its number."""
    return f"http://localhost:{ports.console}"


PORT_NAMES = tuple(field.name for field in fields(Ports))


def choose_ports(base_port: int | None) -> Ports:
    """Return ports that are free at this moment: counted up from `base_port`, or any.

    Raises ConfigurationError that names the port, its listener and the option when one is taken. Another process
    may still take a free port before its listener does; that listener then says so itself.
    """
    with contextlib.ExitStack() as held:
        # All are held at once, so that none is chosen twice.
        numbers = [
            held.enter_context(_any_held(name) if base_port is None else _held(name, base_port + offset)).getsockname()[
                1
            ]
            for offset, name in enumerate(PORT_NAMES)
        ]
    return Ports(**dict(zip(PORT_NAMES, numbers, strict=True)))


def _any_held(name: str) -> socket.socket:
    choice = random.SystemRandom()
    for _ in range(_TRIES):
        with contextlib.suppress(ConfigurationError):
            return _held(name, choice.randrange(_LOWEST, _HIGHEST))
    return _held(name, 0)


def _held(name: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # As our listeners do: a port whose last connections are still closing is free.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        reader = name.replace("_", " ")
        raise ConfigurationError(
            f"port {port} ({reader}) cannot be used: {error.strerror}; choose other ports with --base-port, "
            "or leave it out to get free ones"
        ) from error
    return listener
