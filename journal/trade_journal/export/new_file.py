"""A new file that is there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from trade_journal.errors import JournalUnavailable


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name beside a path; durable under its own name once the block has ended.

    A file that is there already is never replaced, and after an error nothing is left behind. Raises
    JournalUnavailable for a path that cannot be written to.
    """
    if os.path.lexists(path):
        raise JournalUnavailable(f"{path}: there already; nothing is overwritten", cause="exists")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalUnavailable(f"{path}: cannot be written: {error.strerror}", cause="unwritable") from error
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, path)
        _sync(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _rename(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)  # a rename would replace what has come there meanwhile
    except FileExistsError:
        raise JournalUnavailable(f"{path}: there already; nothing is overwritten", cause="exists") from None
    except OSError as error:  # a file system without links, such as that of a memory stick
        if os.path.lexists(path):
            raise JournalUnavailable(f"{path}: there already; nothing is overwritten", cause="exists") from error
        temporary.rename(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
