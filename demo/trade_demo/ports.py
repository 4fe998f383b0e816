"""Which loopback port each listener of the stack gets."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, fields

from trade_core.errors import ConfigurationError

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """One port a listener, in the order in which --base-port counts."""

    simulator: int
    simulator_control: int
    gateway: int
    gateway_admin: int
    watchdog_admin: int
    freqtrade: int


PORT_NAMES = tuple(field.name for field in fields(Ports))


def choose_ports(base_port: int | None) -> Ports:
    """Return ports that are free at this moment: counted up from `base_port`, or any.

    Raises ConfigurationError that names the port, its listener and the option when one is taken. Another process
    may still take a free port before its listener does; that listener then says so itself.
    """
    with contextlib.ExitStack() as held:
        # All are held at once, so that the system cannot hand out one of them twice.
        numbers = [
            held.enter_context(_held(name, 0 if base_port is None else base_port + offset)).getsockname()[1]
            for offset, name in enumerate(PORT_NAMES)
        ]
    return Ports(**dict(zip(PORT_NAMES, numbers, strict=True)))


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
