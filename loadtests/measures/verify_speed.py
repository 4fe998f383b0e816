"""How many rows a second `trade-journal verify` checks, from its start to its end: a long journal tells more."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rig.children import LoadTestFailed

COMMAND = Path(sys.executable).with_name("trade-journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One verification."""

    rows: int
    seconds: float

    @property
    def rows_per_s(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


def verify(journal_url: str, *, keys: Path) -> Verified:
    """Verify a journal. Raises LoadTestFailed when it is not good."""
    took_s, output = _timed([str(COMMAND), "verify", "--journal", journal_url, "--keys", str(keys), "--json"])
    verdict = json.loads(output)
    return Verified(rows=verdict["rows"], seconds=took_s)


def _timed(command: list[str]) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise LoadTestFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return time.perf_counter() - began, done.stdout
