"""How a SQLite file is opened by who must not change it: no file beside it is made, merged or taken away.

SQLite itself changes what it reads: whoever opens a file with a write-ahead log merges that into the file, or makes the
files that go with it, and where nobody may write, refuses. So, for a file that logs ahead:

| beside it | it is read |
|---|---|
| -shm, whether somebody has the file open or died with it | with the log's rows, through the -shm as it is |
| neither -shm nor a -wal with anything in it | as a file that nobody changes; if somebody begins to, that is an error |
| a -wal with rows and no -shm, as in a copy of two of the three files | from a private copy of both |

A change that was never finished (-journal) is not undone here, and nothing of it is passed over in silence. What lies
beside a file lies beside the file itself, not beside a link to it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from trade_journal.errors import JournalUnavailable

_VERSIONS: Final = slice(18, 20)  # how the file is written and read (SQLite's file format, section 1.3.3)
_LOGGED_AHEAD: Final = b"\x02\x02"


def evidence_uri(path: Path) -> str:
    """Return what SQLite opens a file with, to read all and change nothing. Raises JournalUnavailable, OSError."""
    if _has_content(_beside(path, "-journal")):
        raise JournalUnavailable(
            f"{path}-journal: a change of the file that was not finished; let its writer open it", cause="unfinished"
        )
    uri = f"{path.as_uri()}?mode=ro"
    if not _logs_ahead(path):
        return uri
    if _beside(path, "-shm").exists():
        return f"{uri}&readonly_shm=1"
    if is_unmerged(path):
        raise JournalUnavailable(
            f"{path}-wal: has rows that are not in the file, and there is no {path.name}-shm to read them by; "
            "copy both to another folder, and read them there",
            cause="unmerged",
        )
    return f"{uri}&immutable=1"


def is_unmerged(path: Path) -> bool:
    """Tell whether rows lie in a log beside a file that can be read only by changing it."""
    return _has_content(_beside(path, "-wal")) and not _beside(path, "-shm").exists()


def is_still(path: Path) -> bool:
    """Tell whether nobody has a file open that logs ahead, so that nothing but the file counts."""
    return not _beside(path, "-shm").exists() and not _beside(path, "-wal").exists()


def private_copy(path: Path) -> TemporaryDirectory[str]:
    """Copy a file and the log beside it, under the name that was given, to where they can be read. Raises OSError.

    Whoever asked removes the copy.
    """
    folder = TemporaryDirectory(prefix="trade-journal-")
    try:
        for ending in ("", "-wal"):
            shutil.copyfile(_beside(path, ending), Path(folder.name, path.name + ending))
        Path(folder.name, f"{path.name}-shm").touch()
    except BaseException:
        folder.cleanup()
        raise
    return folder


def _beside(path: Path, ending: str) -> Path:
    """Return where SQLite looks: it follows links."""
    real = path.resolve()
    return real.with_name(real.name + ending)


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _logs_ahead(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_VERSIONS.stop)[_VERSIONS] == _LOGGED_AHEAD
