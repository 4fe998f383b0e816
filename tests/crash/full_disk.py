"""A disk of a few megabytes under the journal writer's folder, to be filled and emptied. It needs root: mount(8)."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.stack import Stack

SIZE = "16m"
_FILLER = "filler"
_CHUNK = bytes(64 * 1024)


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Write until there is no room for one more byte."""
        with (self.folder / _FILLER).open("ab", buffering=0) as file:
            for piece in (_CHUNK, b"x" * 512, b"x"):
                try:
                    while True:
                        file.write(piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """Make room again."""
        (self.folder / _FILLER).unlink()


@contextmanager
def small_disk_under_the_writer(stack: Stack) -> Iterator[SmallDisk]:
    """Move the journal writer of a stack onto a small disk, and let it run there until the context ends."""
    command: list[str] = stack.description["processes"]["journal-writer"]["command"]
    folder = Path(command[command.index("--config") + 1]).parent
    stack.kill("journal-writer")
    stack.reap("journal-writer")
    moved = folder.with_name("moved")
    shutil.copytree(folder, moved, ignore=shutil.ignore_patterns("*.sock"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", folder], check=True)
    try:
        shutil.copytree(moved, folder, dirs_exist_ok=True)
        for path in folder.rglob("*"):
            os.utime(path)
        # What was a hole in the copy must be blocks again, as the writer made them.
        segment = folder / "state" / "emergency.segment"
        segment.write_bytes(segment.read_bytes())
        stack.restart("journal-writer")
        yield SmallDisk(folder)
    finally:
        stack.stop()
        subprocess.run(["umount", "--lazy", folder], check=True)
