"""What the referee demands of the gateway: a lease that is on its way counts already, or not yet."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from simulation.clocks import new_clock
from simulation.referee import RANK, HeldLease, Referee

from trade_core.clock import NS_PER_S

BOOT = "boot"


def lease(ceiling: str | None, *, lives: bool = True) -> HeldLease | None:
    if ceiling is None:
        return None
    clock = new_clock()
    return HeldLease(
        generation=1,
        boot_nonce=BOOT,
        ceiling=ceiling,
        scale=Decimal(1),
        dies_at_ns=clock.monotonic_ns() + (NS_PER_S if lives else 0),
        expires_wall_ns=clock.wall_ns() + NS_PER_S,
    )


def referee(**facts: Any) -> Referee:
    clock = new_clock()
    running = SimpleNamespace(parts=SimpleNamespace(boot_nonce=BOOT))
    gateway: Any = SimpleNamespace(running=running, clock=clock)
    nobody: Any = None
    return Referee(clock=clock, venue=nobody, trace=nobody, limits=nobody, calm=nobody, gateway=gateway, **facts)


@pytest.mark.parametrize(
    ("held", "offered", "least"),
    [
        (None, None, "REDUCE_ONLY"),
        ("ACTIVE", None, "ACTIVE"),
        ("HALTED", None, "HALTED"),
        (None, "ACTIVE", "ACTIVE"),
        (None, "HALTED", "REDUCE_ONLY"),
        ("ACTIVE", "HALTED", "ACTIVE"),
        ("HALTED", "ACTIVE", "ACTIVE"),
        ("HALTED", "HALTED", "HALTED"),
    ],
)
def test_required_of_a_lease_on_its_way_is_the_freer_of_before_and_after(
    held: str | None, offered: str | None, least: str
) -> None:
    assert referee(held=lease(held), offered=lease(offered)).required() == RANK[least]


@pytest.mark.parametrize(("held", "least"), [("ACTIVE", "REDUCE_ONLY"), ("HALTED", "REDUCE_ONLY")])
def test_required_of_leases_that_have_ended_is_what_none_permits(held: str, least: str) -> None:
    assert referee(held=lease(held, lives=False), offered=lease(held, lives=False)).required() == RANK[least]


def test_required_of_a_recorded_halt_is_a_halt_whatever_the_lease_says() -> None:
    assert referee(held=lease("ACTIVE"), is_halted=True).required() == RANK["HALTED"]
