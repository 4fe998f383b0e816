"""What the disk of the journal takes for one row of its own: an append and its fdatasync, with nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

ROW_BYTES = 500


class BareDisk:
    """A file that grows by a row at a time."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def rows_us(self, count: int) -> list[float]:
        """Append so many rows and return the microseconds that each took to be durable."""
        return [self._row_us() for _ in range(count)]

    def _row_us(self) -> float:
        began_ns = time.perf_counter_ns()
        os.write(self._descriptor, b"x" * ROW_BYTES)
        os.fdatasync(self._descriptor)
        return (time.perf_counter_ns() - began_ns) / 1000

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on: on one in memory a sync would cost nothing."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split(" ")
        if (str(folder) + "/").startswith(mount.rstrip("/") + "/") and len(mount) > len(best):
            best, kind = mount, found
    return kind
