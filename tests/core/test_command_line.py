"""Every command that is ended by hand, or refused a file by the system, says so in one sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import pytest

import trade_gateway.cli
import trade_journal.writer.writer_cli
import trade_killswitch.cli
import trade_killswitch.console.cli
import trade_simulator.security_key.command
import trade_watchdog.cli
from trade_core.command_line import EXIT_INTERRUPTED, INTERRUPTED, refused_by_system

EXIT_FAILURE = 1
COMMANDS = [
    (trade_gateway.cli, "load_settings", ["--config", "x"]),
    (trade_watchdog.cli, "load_settings", ["--config", "x"]),
    (trade_killswitch.cli, "load_settings", ["--config", "x"]),
    (trade_killswitch.console.cli, "load_settings", ["--config", "x"]),
    (trade_journal.writer.writer_cli, "load_settings", ["--config", "x"]),
    (trade_simulator.security_key.command, "read_described", ["sign", "--ring", "x", "w", "--file", "f"]),
]


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture(params=COMMANDS, ids=lambda command: command[0].__name__)
def failing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """Run a command whose first step fails."""
    module: ModuleType
    arguments: Sequence[str]
    module, step, arguments = request.param

    def run(error: BaseException) -> int:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(module, step, fail)
        if step == "read_described":
            monkeypatch.setattr(module, "_key", lambda _: None)
            monkeypatch.setattr(module, "_payload", lambda _: b"")
        code: int = module.main(arguments)
        return code

    return run


def test_command_ended_by_hand_says_so_and_is_no_success(
    failing: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(KeyboardInterrupt()) == EXIT_INTERRUPTED
    said = capsys.readouterr().err
    assert INTERRUPTED in said
    assert len(said.splitlines()) == 1


def test_command_that_the_system_refuses_a_file_names_it(
    failing: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(PermissionError(13, "Permission denied", "/where/it/is")) == EXIT_FAILURE
    said = capsys.readouterr().err
    assert "/where/it/is: Permission denied" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", b"/a/b"), "/a/b: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("odd"), "OSError"),
    ],
)
def test_refusal_of_the_system_is_said_with_what_is_known(error: OSError, said: str) -> None:
    assert refused_by_system(error) == said
