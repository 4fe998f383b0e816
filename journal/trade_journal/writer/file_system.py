"""What kind of file system a journal would lie on, and whether a sync there means anything.

Memory is gone with the machine, and over a network neither the lock of the one writer nor SQLite's write-ahead log can
be relied on. Linux tells by its table of mounts; where there is none, nothing is known and nothing is said.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trade_core.errors import ConfigurationError

MOUNTS: Final = Path("/proc/self/mountinfo")
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_OVER_A_NETWORK: Final = frozenset({"9p", "cifs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs"})
_SQLITE: Final = "sqlite:///"
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_log = logging.getLogger(__name__)


def journal_folders(*, state_dir: Path, journal_url: str) -> dict[str, Path]:
    """Name the folders that a service keeps its state and a SQLite journal in, by its settings."""
    folders = {"state_dir": state_dir}
    if journal_url.startswith(_SQLITE):
        folders["journal_url"] = Path(journal_url.removeprefix(_SQLITE)).parent
    return folders


def require_durable(folders: Mapping[str, Path], *, environment: str) -> None:
    """Refuse folders, by the names of their settings, on which a sync keeps nothing. Raises ConfigurationError.

    Where nothing real is at stake, in the simulated environment, say so and go on.
    """
    for name, folder in folders.items():
        reason = why_not_durable(folder)
        if reason is None:
            continue
        if environment != "simulated":
            raise ConfigurationError(f"{name}: {reason}")
        _log.warning("%s: %s; only the simulated environment permits that", name, reason)


def why_not_durable(folder: Path, *, mounts: Path = MOUNTS) -> str | None:
    """Say why what is synced in a folder may be lost all the same, in words that name folder and file system."""
    try:
        table = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = file_system_of(_existing(folder), table)
    if kind in _IN_MEMORY:
        return f"{folder} lies on {kind}, which is memory: every row would be lost with the machine"
    if kind in _OVER_A_NETWORK:
        return f"{folder} lies on {kind}, over a network: neither locks nor syncs can be relied on there"
    return None


def file_system_of(folder: Path, table: str) -> str | None:
    """Find the type of the file system that a folder lies on, in a table of mounts (proc_pid_mountinfo(5)).

    The longest mount point counts, and of mounts on one point the last.
    """
    found: tuple[int, str] | None = None
    for line in table.splitlines():
        mounted, separator, source = line.partition(" - ")
        fields = mounted.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        depth = len(point.parts)
        if folder.is_relative_to(point) and (found is None or depth >= found[0]):
            found = depth, source.split(" ")[0]
    return None if found is None else found[1]


def _existing(folder: Path) -> Path:
    """Resolve the folder, or the nearest one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.resolve()
