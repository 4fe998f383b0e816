"""Running stacks for the integration tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for a module's tests, in state ACTIVE."""
    running = Stack(tmp_path_factory.mktemp("stack"))
    try:
        running.wait_for_state("ACTIVE")
        yield running
    finally:
        running.stop()


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of a test's own, to be broken."""
    running = Stack(tmp_path)
    try:
        running.wait_for_state("ACTIVE")
        yield running
    finally:
        running.stop()
