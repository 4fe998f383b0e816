"""The limit of open files decides how many connections there may be."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from trade_core.open_files import connections_within_limit
print(connections_within_limit(1000), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "soft_after"),
    [
        (1255, 4096, 1000, 1256),  # just below what is needed: raised
        (1256, 4096, 1000, 1256),
        (4000, 4096, 1000, 4000),  # more than enough: left alone
        (512, 1255, 999, 1255),  # the hard limit stands in the way
        (200, 260, 16, 260),
    ],
)
def test_connections_are_what_the_limit_leaves_room_for(
    soft: int, hard: int, connections: int, soft_after: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert [int(word) for word in shown.stdout.split()] == [connections, soft_after, hard]
