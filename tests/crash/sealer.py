"""Seals a journal as a start of its writer does, for whoever breaks the disk beneath it.

It ends with 0 and says `sealed` or `nothing`, or with 2 and one sentence. Anything else is a defect.
"""

from __future__ import annotations

import sys

from journal.writing import KEYS, ORIGIN

from trade_journal.errors import JournalError
from trade_journal.store.sealing import seal_old_rows


def main(url: str) -> int:
    """Seal what can be sealed."""
    try:
        sealed = seal_old_rows(url, origin=ORIGIN, keys=KEYS, written_before_ns=2**62)
    except JournalError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("nothing\n" if sealed is None else "sealed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
