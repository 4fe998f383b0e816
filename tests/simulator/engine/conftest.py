"""Fixtures of the engine's tests."""

from collections.abc import Callable

import pytest
from simulator.engine.venue import Venue


@pytest.fixture
def venue() -> Venue:
    """Return a fresh exchange."""
    return Venue()


@pytest.fixture
def make_venue() -> Callable[..., Venue]:
    """Return the maker of exchanges with other settings."""
    return Venue
