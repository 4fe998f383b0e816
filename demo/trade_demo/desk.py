"""What a person has at hand in the folder of a run: commands and files under the names that the pages use.

Each process has a virtual environment of its own, and a command works in the right one only; settings lie in a folder a
process. With `bin` in the path, `trade-kill --status --config executor.toml` works in the folder of the run as it is
printed in the runbook.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trade_demo.files import CONSOLE, EXECUTOR, JOURNAL_WRITER, SHIM, Files
from trade_demo.process import service_command

BIN: Final = "bin"
COMMANDS: Final[Mapping[str, str]] = {
    "trade-console": "console",
    "trade-gateway": "gateway",
    "trade-journal": "journal",
    "trade-journal-writer": "journal",
    "trade-kill": "killswitch",
    "trade-kill-executor": "killswitch",
    "trade-security-key": "simulator",
    "trade-watchdog": "watchdog",
}
"""Each command, and the environment that has what it needs."""
_SETTINGS: Final = ("gateway", "watchdog", JOURNAL_WRITER, EXECUTOR, CONSOLE, SHIM)


def lay_out(files: Files) -> str:
    """Link commands and files into the folder of the run; answers how a shell gets there.

    The links of what is made later lead nowhere until then. Raises ProcessFailed when a command is not installed.
    """
    folder = files.root / BIN
    folder.mkdir(mode=0o700)
    for command, environment in COMMANDS.items():
        (folder / command).symlink_to(service_command(environment, command))
    for service in _SETTINGS:
        _link(files, files.settings(service))
    _link(files, files.executor_socket)
    _link(files, files.root / JOURNAL_WRITER / "gateway.db")
    return f'cd {files.root} && PATH="$PWD/{BIN}:$PATH"'


def _link(files: Files, target: Path) -> None:
    (files.root / target.name).symlink_to(target)
