"""Stacks, and an attacker who holds the bot's credential."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.conftest import own_stack
from integration.stack import Stack

from redteam.attacker import Attacker

__all__ = ["own_stack"]
HERE = Path(__file__).parent
SHORT_FORMS = {"test_fuzz.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the attacks that start processes of their own, which take minutes, to `make redteam`.

    `make test` runs those on the standing stack, which are nine of ten, and the short form of the fuzzer.
    """
    for item in items:
        if not item.path.is_relative_to(HERE) or not item.get_closest_marker("slow"):
            continue
        stands = "standing_stack" in getattr(item, "fixturenames", ())
        if not stands and item.path.name not in SHORT_FORMS:
            item.add_marker(pytest.mark.attack)


@pytest.fixture(scope="package")
def standing_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all attacks that leave it as they found it: ACTIVE."""
    running = Stack(tmp_path_factory.mktemp("standing"))
    try:
        running.wait_for_state("ACTIVE")
        yield running
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def begins_active(request: pytest.FixtureRequest) -> None:
    """Let no attack on the standing stack begin before that is over what the one before left."""
    if "standing_stack" in request.fixturenames:
        stack: Stack = request.getfixturevalue("standing_stack")
        stack.wait_for_state("ACTIVE")


@pytest.fixture(scope="package")
def attacker(standing_stack: Stack) -> Iterator[Attacker]:
    """Someone with the virtual key."""
    someone = Attacker(standing_stack)
    yield someone
    someone.close()


@pytest.fixture
def own_attacker(own_stack: Stack) -> Iterator[Attacker]:
    """Someone with the virtual key on a stack of the test's own."""
    someone = Attacker(own_stack)
    yield someone
    someone.close()
