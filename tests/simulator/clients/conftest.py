"""One simulator process for the tests of each file with real clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simulator.support import Simulation, running


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    """A running simulator without rate limits: the tests are faster than any trader."""
    with running(tmp_path_factory.mktemp("simulator")) as started:
        started.control("POST", "limits", {"enabled": False})
        yield started
