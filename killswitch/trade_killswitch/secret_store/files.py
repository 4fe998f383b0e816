"""Secrets that stand in files of this machine, sealed or not: overwritten, unlinked, and looked for again.

Guarantees
- Destroying needs the right to write the file's folder; with the right to write the file it is overwritten first.
- A name that is a symbolic link is not followed: what it names is another's.
- A file that is not there counts as absent only if its folder is: one that is not mounted proves nothing.

A file system that copies on write, a snapshot or a backup keeps what was there: a sealed file is worth nothing without
its key, so let the key file be among those that a kill destroys, and keep it out of backups of the files.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from trade_killswitch.secret_store.port import Evidence, SecretStoreFailed

DESTROY_WITHIN_S: Final = 10.0
OVERWRITTEN_BYTES_MAX: Final = 1024 * 1024


class SecretFiles:
    """The files that the settings name; a secret's name is its absolute path."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Prepare; nothing is touched yet."""
        self._paths = {str(path): path for path in paths}

    @property
    def names(self) -> tuple[str, ...]:
        """The paths."""
        return tuple(self._paths)

    async def prove_ready(self) -> Evidence:
        """Show that each file is there and its folder may be written. Raises SecretStoreFailed."""
        return await _within(self._ready)

    async def destroy(self, name: str) -> Evidence:
        """Overwrite, unlink, and look again. Raises SecretStoreFailed."""
        return await _within(lambda: _destroy(self._paths[name]))

    async def revoke_access(self) -> Evidence:
        """Do nothing: a file gives nothing out."""
        return {}

    async def close(self) -> None:
        """Do nothing."""

    def _ready(self) -> Evidence:
        for path in self._paths.values():
            _require_file(path)
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise SecretStoreFailed(f"{path}: its folder may not be written, so that it could not be destroyed")
        return {"files": str(len(self._paths))}


async def _within(work: Callable[[], Evidence]) -> Evidence:
    try:
        async with asyncio.timeout(DESTROY_WITHIN_S):
            return await asyncio.to_thread(work)
    except TimeoutError:
        raise SecretStoreFailed(f"the disk took more than {DESTROY_WITHIN_S:g} s") from None


def _require_file(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise SecretStoreFailed(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise SecretStoreFailed(f"{path}: is no regular file")


def _destroy(path: Path) -> Evidence:
    if not path.parent.is_dir():
        raise SecretStoreFailed(f"{path}: its folder is not there; is something not mounted?")
    if not os.path.lexists(path):
        return {"overwritten": "was not there", "read_back": "absent"}
    _require_file(path)
    overwritten = _overwrite(path)
    try:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise SecretStoreFailed(f"{path}: {error.strerror}") from None
    if os.path.lexists(path):
        raise SecretStoreFailed(f"{path}: is there again after it was unlinked")
    return {"overwritten": overwritten, "read_back": "absent"}


def _overwrite(path: Path) -> str:
    """Write zeros over the file, and say whether; that it was not possible does not keep it from being unlinked."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return f"no ({error.strerror})"
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"\0" * min(os.fstat(descriptor).st_size, OVERWRITTEN_BYTES_MAX))
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        return f"no ({error.strerror})"
    return "yes"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
