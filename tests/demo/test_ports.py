"""Ports: free ones by default, counted from a base when asked, and a message that helps when one is taken."""

import socket

import pytest
from ports import free_port_run

from trade_core.errors import ConfigurationError
from trade_demo.ports import HOST, PORT_NAMES, choose_ports


def numbers(base_port: int | None) -> list[int]:
    ports = choose_ports(base_port)
    return [getattr(ports, name) for name in PORT_NAMES]


def test_ports_without_base_are_free_and_different() -> None:
    found = numbers(None)
    assert len(set(found)) == len(PORT_NAMES)
    for port in found:
        with socket.create_server((HOST, port)):
            pass


def test_ports_with_base_count_upwards() -> None:
    base = free_port_run(len(PORT_NAMES))
    assert numbers(base) == list(range(base, base + len(PORT_NAMES)))


def test_ports_with_base_one_taken_names_port_listener_and_option() -> None:
    base = free_port_run(len(PORT_NAMES))
    with (
        socket.create_server((HOST, base + 3)),
        pytest.raises(ConfigurationError, match=rf"port {base + 3} \(gateway admin\).*--base-port"),
    ):
        choose_ports(base)
    assert numbers(base)[3] == base + 3
