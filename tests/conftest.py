"""Orders the slow tests of `make test`, whose files go whole to one worker each: what shares a stack stays together.

The files with the longest time-outs come first, so that no worker is left with a long one at the end. Tests that need a
server of somebody's own (marker `outside`) are left out unless that marker is asked for.

A file that names nothing slow is not even imported when only the slow tests are asked for: each worker would otherwise
collect 11,000 tests to run 1,100 of them. Whoever asks for others sees to it that no slow test is in such a file.

A random test is judged by what it finds, not by how long an example of it takes: that is the machine's.

A process of the tests reads the certificates of all authorities once: httpx reads them anew for each client that is not
told otherwise, which takes 60 ms of computing, and a test that polls a loopback address makes a client a poll.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from httpx import create_ssl_context
from httpx._transports import default as httpx_transports
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
NAMES_OF_SLOW_TESTS = ("mark.slow", "journal_url")
"""What a file with a slow test says: the marker, or the fixture that brings PostgreSQL."""
DEFAULT_TIMEOUT_S = 600.0

_authorities = functools.cache(functools.partial(create_ssl_context, trust_env=False))


def _tls_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is True and cert is None:
        return _authorities()
    return create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)


httpx_transports.create_ssl_context = _tls_context

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let each of several workers begin to collect at another folder: the next one finds compiled what it compiled.

    In a fresh clone all of them would otherwise compile every file at the same time, each for a quarter of a minute.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or [Path(argument).absolute() for argument in config.args] != [HERE]:
        return
    folders = sorted(str(path) for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__")
    first = int(worker["workerid"].removeprefix("gw")) * len(folders) // worker["workercount"]
    config.args[:] = [*folders[first:], *folders[:first]]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a file out that has no slow test, when only those are asked for."""
    asks_for_slow = config.option.markexpr.split()[:1] == ["slow"]
    is_left_out = asks_for_slow and collection_path.match("test_*.py") and not _names_slow_tests(collection_path)
    return True if is_left_out else None


@functools.cache
def _names_slow_tests(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    return any(name in text for name in NAMES_OF_SLOW_TESTS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first, those of a folder together; the order within a file stays."""
    outside = (
        [] if "outside" in config.option.markexpr else [item for item in items if item.get_closest_marker("outside")]
    )
    if outside:
        config.hook.pytest_deselected(items=outside)
        items[:] = [item for item in items if item not in outside]
    for item in items:
        if item.get_closest_marker("slow") and not _names_slow_tests(item.path):
            raise pytest.UsageError(
                f"{item.nodeid} is slow, which its file must say: {' or '.join(NAMES_OF_SLOW_TESTS)}"
            )
    longest_s: dict[Path, float] = {}
    for item in items:
        longest_s[item.path] = max(longest_s.get(item.path, 0.0), _timeout_s(item.iter_markers("timeout")))
    items.sort(key=lambda item: (-longest_s[item.path], str(item.path)))


def _timeout_s(marks: Iterable[pytest.Mark]) -> float:
    return next((float(mark.args[0]) for mark in marks), DEFAULT_TIMEOUT_S)
